// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/endpoints.h"
#include "controlplane/model/validate.h"

#include <algorithm>
#include <tuple>
#include <vector>

namespace sluice::kubernetes {
namespace {

constexpr const char* kExcludeNode = "node.kubernetes.io/exclude-from-external-load-balancers";
constexpr std::uint32_t kWeightMax = 100;

// Of one port of the service in one family.
struct Counts {
  Count all;
  std::map<std::string, Count> by_node;
};
using CountsOf = std::map<PortFamily, Counts>;

CountsOf count(const TargetsByAddress& pods) {
  CountsOf counts;
  for (const auto& [address, targets] : pods) {
    for (const auto& [target, state] : targets) {
      Counts& of = counts[{address.family, target.port}];
      of.all.add(*state);
      if (state->node_name != nullptr) {
        of.by_node[*state->node_name].add(*state);
      }
    }
  }
  return counts;
}

// What a node gets of what comes to one port.
struct Share {
  enum class Kind : std::uint8_t {
    kNone,
    kUnready,   // its endpoints are there and none is usable: flows that it has go on
    kDraining,  // likewise, and new ones when there is nobody else
    kReady,
  };
  Kind kind = Kind::kNone;
  std::uint32_t weight = 1;
  friend auto operator<=>(const Share&, const Share&) = default;
};

// A node at its address of one family, with its share of each port of the service.
struct Hop {
  std::string node;
  IpAddress address;
  std::vector<Share> shares;
};

// Nodes by name, each at the first of its addresses of a family, its primary one. One to which no
// packet can be sent is passed over, as for it a gateway would refuse the whole service.
std::vector<Hop> hops_of(const Nodes& nodes, int ports) {
  std::map<std::string, const Node*> in_order;
  for (const auto& [name, node] : nodes) {
    in_order.emplace(name, &node);
  }
  std::vector<Hop> hops;
  for (const auto& [name, node] : in_order) {
    std::set<Family> seen;
    for (const IpAddress& address : node->internal_ips) {
      if (may_be_next_hop(*node) && model::is_usable_unicast(address) &&
          seen.insert(address.family).second) {
        hops.push_back({name, address, std::vector<Share>(static_cast<std::size_t>(ports))});
      }
    }
  }
  return hops;
}

// healthCheckNodePort is of LoadBalancers with Local alone, and answers for the proxy too (2.4).
bool says_down(const NodeHealth* health, const std::string& node, const Service& service,
               bool is_local) {
  if (health == nullptr) {
    return false;
  }
  const auto state = is_local && service.health_check_node_port != 0
                         ? health->local(node, service.meta.name)
                         : health->kube_proxy(node);
  return state == NodeHealth::State::kDown;
}

// Weights end at 100; more endpoints than that are scaled for all nodes alike, so that each keeps
// its part, and one that has any the least weight there is.
void scale(std::vector<Hop>& hops, Family family, std::size_t port) {
  std::uint64_t most = 0;
  for (const Hop& hop : hops) {
    most = hop.address.family == family ? std::max<std::uint64_t>(most, hop.shares[port].weight)
                                        : most;
  }
  if (most <= kWeightMax) {
    return;
  }
  for (Hop& hop : hops) {
    std::uint32_t& weight = hop.shares[port].weight;
    if (hop.address.family == family) {
      weight = static_cast<std::uint32_t>(
          std::max<std::uint64_t>((weight * std::uint64_t{kWeightMax} + most / 2) / most, 1));
    }
  }
}

// `here`: endpoints on the node, `all`: everywhere.
Share share_of(const Count& here, const Count& all, bool is_local, bool is_down) {
  // Whichever node it is, with Cluster its proxy chooses among all endpoints.
  const Count& count = is_local ? here : all;
  if (count.usable() == 0) {
    return {count.all == 0 ? Share::Kind::kNone : Share::Kind::kUnready};
  }
  const bool drains = is_down || (is_local && here.ready == 0);
  return {drains ? Share::Kind::kDraining : Share::Kind::kReady, is_local ? here.usable() : 1};
}

void share(const CountsOf& counts, bool is_local, const std::set<std::string>& down,
           std::vector<Hop>& hops) {
  for (const auto& [key, of] : counts) {
    const auto port = static_cast<std::size_t>(key.second);
    for (Hop& hop : hops) {
      if (hop.address.family != key.first) {
        continue;
      }
      const auto at = of.by_node.find(hop.node);
      const Count here = at == of.by_node.end() ? Count{} : at->second;
      hop.shares[port] = share_of(here, of.all, is_local, down.contains(hop.node));
    }
    scale(hops, key.first, port);
  }
}

// One endpoint for the ports that have a share in common.
void add_node(const Hop& hop, bool is_local, v1::ServiceSpec& spec) {
  for (const Share& share : std::set<Share>(hop.shares.begin(), hop.shares.end())) {
    if (share.kind == Share::Kind::kNone) {
      continue;
    }
    v1::Endpoint& made = *spec.add_endpoints();
    made.add_addresses(to_string(hop.address));
    made.set_node_name(hop.node);
    if (is_local) {
      made.set_weight(share.weight);
    }
    if (share.kind != Share::Kind::kReady) {
      const bool drains = share.kind == Share::Kind::kDraining;
      made.mutable_conditions()->set_ready(false);
      made.mutable_conditions()->set_serving(drains);
      made.mutable_conditions()->set_terminating(drains);
    }
    for (int i = 0; i < spec.ports_size(); ++i) {
      if (hop.shares[static_cast<std::size_t>(i)] != share) {
        (*made.mutable_ports())[spec.ports(i).name()] = 0;
      }
    }
  }
}

}  // namespace

bool may_be_next_hop(const Node& node) {
  const auto excluded = node.meta.labels.find(kExcludeNode);
  const bool is_excluded = excluded != node.meta.labels.end() && excluded->second != "false";
  return !node.meta.deleting && !node.to_be_deleted && !is_excluded;
}

void add_nodes(const Service& service, const TargetsByAddress& pods, const Nodes& nodes,
               const NodeHealth* health, v1::ServiceSpec& spec) {
  const bool is_local = service.external_traffic_policy == "Local";
  const CountsOf counts = count(pods);
  std::vector<Hop> hops = hops_of(nodes, spec.ports_size());
  std::set<std::string> down;
  for (const Hop& hop : hops) {
    if (says_down(health, hop.node, service, is_local)) {
      down.insert(hop.node);
    }
  }
  share(counts, is_local, down, hops);
  for (const Hop& hop : hops) {
    add_node(hop, is_local, spec);
  }
  const bool any_usable = std::any_of(
      counts.begin(), counts.end(), [](const auto& each) { return each.second.all.usable() != 0; });
  const bool any_allowed = std::any_of(hops.begin(), hops.end(), [](const Hop& hop) {
    return std::any_of(hop.shares.begin(), hop.shares.end(),
                       [](const Share& share) { return share.kind > Share::Kind::kUnready; });
  });
  if (is_local && any_usable && !any_allowed) {
    spec.mutable_forwarding()->set_no_endpoints("drop");  // there are some, none is allowed (3.4)
  }
}

}  // namespace sluice::kubernetes
