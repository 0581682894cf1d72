// SPDX-License-Identifier: Apache-2.0
// What the slices of a service have behind its ports, each address and port once: of this both
// kinds of delivery are made.
#pragma once

#include "controlplane/kubernetes/translate.h"

#include <map>
#include <set>
#include <utility>

namespace sluice::kubernetes {

struct Target {
  int port;              // of the service, by its place in the spec
  std::uint16_t number;  // where the endpoint listens
  friend auto operator<=>(const Target&, const Target&) = default;
};
// The states are of the slices, which outlive this.
using Targets = std::map<Target, const SliceEndpoint*>;
using TargetsByAddress = std::map<IpAddress, Targets>;

[[nodiscard]] inline bool is_terminating(const SliceEndpoint& endpoint) {
  return endpoint.terminating == Condition::kTrue;
}
[[nodiscard]] inline bool is_ready(const SliceEndpoint& endpoint) {
  return is_true_or_absent(endpoint.ready);
}
[[nodiscard]] inline bool serves_while_terminating(const SliceEndpoint& endpoint) {
  return is_terminating(endpoint) && is_true_or_absent(endpoint.serving);
}

// Joins the slices' ports to those of `spec` by (name, protocol). `bad`: addresses that no packet
// can be sent to; they are left out, as for one of them a gateway would refuse the whole service.
[[nodiscard]] TargetsByAddress targets_of(const Slices& slices, const v1::ServiceSpec& spec,
                                          std::set<IpAddress>& bad);

// Endpoints that may be used: the ready ones, or else the draining ones (2.2).
struct Count {
  std::uint32_t all = 0;  // with those that are neither of these
  std::uint32_t ready = 0;
  std::uint32_t draining = 0;

  void add(const SliceEndpoint& endpoint) {
    ++all;
    if (is_ready(endpoint)) {
      ++ready;
    } else if (serves_while_terminating(endpoint)) {
      ++draining;
    }
  }
  [[nodiscard]] std::uint32_t usable() const { return ready != 0 ? ready : draining; }
  // Whether an endpoint is among those that are used, all of them having been added.
  [[nodiscard]] bool uses(const SliceEndpoint& endpoint) const {
    return ready != 0 ? is_ready(endpoint) : serves_while_terminating(endpoint);
  }
};
// A gateway chooses for each port, by its place in the spec, and family by itself.
using PortFamily = std::pair<Family, int>;

}  // namespace sluice::kubernetes
