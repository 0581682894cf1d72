// SPDX-License-Identifier: Apache-2.0
#include "controlplane/model/result.h"

namespace sluice::model {

Error Faults::to_error() const {
  Error error;
  error.code = invalid.empty() ? Code::kUnimplemented : Code::kInvalidArgument;
  error.faults = invalid;
  error.faults.insert(error.faults.end(), unimplemented.begin(), unimplemented.end());
  const std::string rest =
      error.faults.size() > 1 ? " (and " + std::to_string(error.faults.size() - 1) + " more)" : "";
  error.message = error.faults.front().path + ": " + error.faults.front().message + rest;
  return error;
}

}  // namespace sluice::model
