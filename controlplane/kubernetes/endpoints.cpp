// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/endpoints.h"

#include <absl/strings/str_split.h>
#include <algorithm>
#include <tuple>
#include <vector>

namespace sluice::kubernetes {
namespace {

bool names(const std::string* hinted, const std::string& zone) {
  if (hinted == nullptr) {
    return false;
  }
  const std::vector<std::string> zones = absl::StrSplit(*hinted, ' ');
  return std::find(zones.begin(), zones.end(), zone) != zones.end();
}

// What one endpoint of the gateway will be: an address, its state, and by port of the service the
// port it listens on, 0 for none.
struct Joined {
  IpAddress address;
  const SliceEndpoint* state = nullptr;
  std::vector<std::uint16_t> targets;
};

bool are_alike(const SliceEndpoint& one, const SliceEndpoint& other) {
  return std::tie(one.ready, one.serving, one.terminating) ==
         std::tie(other.ready, other.serving, other.terminating);
}

// As few as say it: ports of one address go together while their states are alike.
std::vector<Joined> join(const TargetsByAddress& found, const v1::ServiceSpec& spec) {
  const auto ports = static_cast<std::size_t>(spec.ports_size());
  std::vector<Joined> joined;
  for (const auto& [address, targets] : found) {
    const std::size_t begin = joined.size();
    for (const auto& [target, state] : targets) {
      const auto port = static_cast<std::size_t>(target.port);
      auto at = std::find_if(joined.begin() + static_cast<std::ptrdiff_t>(begin), joined.end(),
                             [&, wanted = state](const Joined& each) {
                               return each.targets[port] == 0 && are_alike(*each.state, *wanted);
                             });
      if (at == joined.end()) {
        at = joined.insert(at, {address, state, std::vector<std::uint16_t>(ports, 0)});
      }
      at->targets[port] = target.number;
    }
  }
  return joined;
}

void set_conditions(const SliceEndpoint& from, v1::EndpointConditions& to) {
  if (from.ready != Condition::kAbsent) {
    to.set_ready(from.ready == Condition::kTrue);
  }
  if (from.serving != Condition::kAbsent) {
    to.set_serving(from.serving == Condition::kTrue);
  }
  if (from.terminating != Condition::kAbsent) {
    to.set_terminating(from.terminating == Condition::kTrue);
  }
}

// What the first endpoint has stands for the port; those that differ say so themselves.
void set_target_ports(const std::vector<Joined>& joined, v1::ServiceSpec& spec) {
  for (int i = 0; i < spec.ports_size(); ++i) {
    const auto at = std::find_if(joined.begin(), joined.end(), [&](const Joined& each) {
      return each.targets[static_cast<std::size_t>(i)] != 0;
    });
    if (at != joined.end()) {
      spec.mutable_ports(i)->set_target_port(at->targets[static_cast<std::size_t>(i)]);
    }
  }
}

void add_endpoint(const Joined& from, v1::ServiceSpec& spec) {
  v1::Endpoint& made = *spec.add_endpoints();
  made.add_addresses(to_string(from.address));
  set_conditions(*from.state, *made.mutable_conditions());
  if (from.state->hostname != nullptr) {
    made.set_hostname(*from.state->hostname);
  }
  if (from.state->node_name != nullptr) {
    made.set_node_name(*from.state->node_name);
  }
  if (from.state->zone != nullptr) {
    made.set_zone(*from.state->zone);
  }
  for (int i = 0; i < spec.ports_size(); ++i) {
    const std::int32_t port = from.targets[static_cast<std::size_t>(i)];
    if (port == 0 || port != spec.ports(i).target_port()) {
      (*made.mutable_ports())[spec.ports(i).name()] = port;
    }
  }
}

}  // namespace

// Hints count, for each port and family by itself, when all ready endpoints have them and one names
// the zone (2.8). The ready ones that do not take no new flows then. They serve, so they keep
// those that they have: a hint that comes must not end what is under way (2.7).
void narrow(TargetsByAddress& pods, const std::string& zone, std::deque<SliceEndpoint>& passed) {
  struct Hints {
    bool all_have = true;
    bool any_here = false;
  };
  std::map<PortFamily, Hints> hints;
  for (const auto& [address, targets] : pods) {
    for (const auto& [target, state] : targets) {
      if (is_ready(*state)) {
        Hints& of = hints[{address.family, target.port}];
        of.all_have = of.all_have && state->hinted_zones != nullptr;
        of.any_here = of.any_here || names(state->hinted_zones, zone);
      }
    }
  }
  for (auto& [address, targets] : pods) {
    for (auto& [target, state] : targets) {
      const Hints& of = hints[{address.family, target.port}];
      if (of.all_have && of.any_here && is_ready(*state) && !names(state->hinted_zones, zone)) {
        SliceEndpoint& endpoint = passed.emplace_back(*state);
        endpoint.ready = Condition::kFalse;
        endpoint.serving = Condition::kTrue;
        state = &endpoint;
      }
    }
  }
}

void add_pods(const TargetsByAddress& pods, v1::ServiceSpec& spec) {
  const std::vector<Joined> joined = join(pods, spec);
  set_target_ports(joined, spec);
  for (const Joined& each : joined) {
    add_endpoint(each, spec);
  }
}

}  // namespace sluice::kubernetes
