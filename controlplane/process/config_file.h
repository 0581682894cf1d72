// SPDX-License-Identifier: Apache-2.0
// The configuration file of a daemon: one message of the API, and what its validator makes of it.
#pragma once

#include "controlplane/manifest/manifest.h"
#include "controlplane/model/result.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace sluice::process {

// "PROGRAM: FILE: FAULT" on standard error, a line each.
void tell(const std::string& program, const std::string& file,
          const std::vector<manifest::Fault>& faults);
void tell(const std::string& program, const std::string& file,
          const std::vector<model::Fault>& faults);

// `validate`: const Message& -> model::Result<Value>. Nothing: every fault has been told.
template <typename Message, typename Value>
std::optional<Value> read_config(const std::string& program, const std::string& file,
                                 model::Result<Value> (*validate)(const Message&)) {
  Message message;
  if (const auto faults = manifest::read_file(file, message); !faults.empty()) {
    tell(program, file, faults);
    return std::nullopt;
  }
  model::Result<Value> checked = validate(message);
  if (!checked) {
    tell(program, file, checked.error().faults);
    return std::nullopt;
  }
  return std::move(*checked);
}

}  // namespace sluice::process
