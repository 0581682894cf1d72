// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/slice_targets.h"

#include "controlplane/model/validate.h"

#include <string_view>
#include <tuple>

namespace sluice::kubernetes {
namespace {

// One (address, port) may stand in several slices, in states that differ: a slice is not written at
// once with its siblings. One copy that does not terminate wins (2.1); after that the order is any,
// but not that of the slices, which means nothing.
bool goes_before(const SliceEndpoint& one, const SliceEndpoint& other) {
  const auto text = [](const std::string* name) {
    return name == nullptr ? std::string_view() : std::string_view(*name);
  };
  const auto rank = [&](const SliceEndpoint& endpoint) {
    return std::tuple(is_terminating(endpoint), !is_ready(endpoint),
                      !is_true_or_absent(endpoint.serving), endpoint.ready, endpoint.serving,
                      endpoint.terminating, text(endpoint.node_name), text(endpoint.zone),
                      text(endpoint.hostname), text(endpoint.hinted_zones));
  };
  return rank(one) < rank(other);
}

// Which of the service's ports a slice's port is, or -1.
int port_of(const SlicePort& port, const v1::ServiceSpec& spec) {
  for (int i = 0; i < spec.ports_size(); ++i) {
    if (spec.ports(i).name() == port.name && spec.ports(i).protocol() == port.protocol) {
      return i;
    }
  }
  return -1;
}

}  // namespace

TargetsByAddress targets_of(const Slices& slices, const v1::ServiceSpec& spec,
                            std::set<IpAddress>& bad) {
  TargetsByAddress found;
  for (const auto& slice : slices) {
    for (const SlicePort& port : slice->ports) {
      const int index = port_of(port, spec);
      if (index < 0) {
        continue;
      }
      for (const SliceEndpoint& endpoint : slice->endpoints) {
        if (!model::is_usable_unicast(endpoint.address)) {
          bad.insert(endpoint.address);
          continue;
        }
        const SliceEndpoint*& state = found[endpoint.address][{index, port.port}];
        if (state == nullptr || goes_before(endpoint, *state)) {
          state = &endpoint;
        }
      }
    }
  }
  return found;
}

}  // namespace sluice::kubernetes
