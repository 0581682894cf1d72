// SPDX-License-Identifier: Apache-2.0
#include "bench/pktgen/trial.h"

#include <algorithm>

namespace sluice::pktgen {
namespace {

double ratio_lost(std::uint64_t given, std::uint64_t came) {
  return given <= came ? 0 : static_cast<double>(given - came) / static_cast<double>(given);
}

}  // namespace

double TrialResult::loss_ratio() const {
  if (intended() == 0) {
    return 1;
  }
  const double forward = ratio_lost(intended(), forwarded);
  // What the backends' port did not take is lost too.
  return plan.replies ? std::max(forward, ratio_lost(forwarded, replied)) : forward;
}

}  // namespace sluice::pktgen
