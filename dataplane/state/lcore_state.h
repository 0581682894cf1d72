// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/state/affinity.h"
#include "dataplane/state/answer_limits.h"
#include "dataplane/state/counters.h"
#include "dataplane/state/flow_table.h"
#include "dataplane/state/fragments.h"
#include "dataplane/state/hash_trust.h"
#include "dataplane/state/quotas.h"
#include "dataplane/state/snat_ports.h"

#include <cstdint>

namespace sluice {

// Everything that exactly one lcore writes and its stages read.
struct LcoreState {
  FlowTable<Family::kIpv4> flows4;
  FlowTable<Family::kIpv6> flows6;
  SnatPorts snat;
  LcoreCounters& counters;
  std::uint8_t number = 0;   // of this lcore, as Ownership counts them
  std::uint32_t now_ms = 0;  // monotonic; set by the worker once per turn, wraps
  Affinity affinity{};
  AnswerLimits answers{};
  Fragments fragments{};
  HashTrust hashes{};
  LcoreQuotas quotas{};

  template <Family F>
  [[nodiscard]] FlowTable<F>& flows() {
    if constexpr (F == Family::kIpv4) {
      return flows4;
    } else {
      return flows6;
    }
  }
  template <Family F>
  [[nodiscard]] const FlowTable<F>& flows() const {
    if constexpr (F == Family::kIpv4) {
      return flows4;
    } else {
      return flows6;
    }
  }
};

}  // namespace sluice
