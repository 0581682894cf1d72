// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/delivery.h"

#include <algorithm>

namespace sluice::kubernetes {
namespace {

using Counts = std::map<PortFamily, Count>;

Counts count(const TargetsByAddress& pods, const std::set<Family>& families) {
  Counts counts;
  for (const auto& [address, targets] : pods) {
    if (families.contains(address.family)) {
      for (const auto& [target, state] : targets) {
        counts[{address.family, target.port}].add(*state);
      }
    }
  }
  return counts;
}

// The addresses of endpoints that a gateway would use now, in their order; of all when it would use
// none: those have flows yet, or are about to be used.
std::vector<IpAddress> wanted(const TargetsByAddress& pods, const std::set<Family>& families) {
  const Counts counts = count(pods, families);
  std::vector<IpAddress> all;
  std::vector<IpAddress> used;
  for (const auto& [address, targets] : pods) {
    if (!families.contains(address.family)) {
      continue;
    }
    all.push_back(address);
    if (std::any_of(targets.begin(), targets.end(), [&, family = address.family](const auto& each) {
          return counts.at({family, each.first.port}).uses(*each.second);
        })) {
      used.push_back(address);
    }
  }
  return used.empty() ? all : used;
}

// A reason holds while endpoints come and go, so none of them is in it: with nodes behind it a
// service is not written anew for each of its pods.
DeliveryChoice by_routes(const DeliveryInput& input, const std::vector<IpAddress>& addresses) {
  using Why = DeliveryChoice::Why;
  std::set<const IpPrefix*> destinations;
  std::vector<IpAddress> lacking;
  for (const IpAddress& address : addresses) {
    if (const IpPrefix* destination = input.routes->find(address)) {
      destinations.insert(destination);
    } else {
      lacking.push_back(address);
    }
  }
  if (lacking.empty()) {
    return {Delivery::kEndpoint,
            Why::kRouted,
            destinations.size() == 1
                ? "the gateway has a route to " + to_string(**destinations.begin())
                : "the gateway has routes to all of its pods",
            {}};
  }
  const std::string only = "the gateway has only its default route to ";
  const std::string reason = only + (destinations.empty() ? "its pods" : "some of its pods");
  if (input.has_node_ports) {
    return {Delivery::kNode, Why::kNotRouted, reason, lacking.front()};
  }
  return {Delivery::kEndpoint, Why::kUnreached, reason + ", and it has no node ports",
          lacking.front()};
}

}  // namespace

DeliveryChoice choose_delivery(const DeliveryInput& input, const TargetsByAddress& pods) {
  using Why = DeliveryChoice::Why;
  const std::string who = input.is_annotated ? std::string(kDeliveryAnnotation) + " says so"
                                             : "the adapter's configuration says so";
  if (input.wish == Delivery::kEndpoint ||
      (input.wish == Delivery::kNode && input.has_node_ports)) {
    return {input.wish, input.is_annotated ? Why::kAnnotated : Why::kConfigured, who, {}};
  }
  if (input.routes == nullptr) {
    return {Delivery::kEndpoint, Why::kRoutesUnknown, "the gateway has not told its routes", {}};
  }
  const std::vector<IpAddress> addresses = wanted(pods, input.families);
  if (addresses.empty()) {
    return {Delivery::kEndpoint, Why::kNoEndpoints, "it has no endpoint", {}};
  }
  return by_routes(input, addresses);
}

std::vector<int> leave_out_unrouted(const GatewayRoutes& routes, const std::set<Family>& families,
                                    TargetsByAddress& pods) {
  const Counts before = count(pods, families);
  std::erase_if(pods, [&](const auto& each) { return routes.find(each.first) == nullptr; });
  const Counts after = count(pods, families);
  const auto usable_ports = [](const Counts& counts) {
    std::set<int> ports;
    for (const auto& [key, of] : counts) {
      if (of.usable() != 0) {
        ports.insert(key.second);
      }
    }
    return ports;
  };
  const std::set<int> had = usable_ports(before);
  const std::set<int> has = usable_ports(after);
  std::vector<int> lost;
  std::set_difference(had.begin(), had.end(), has.begin(), has.end(), std::back_inserter(lost));
  return lost;
}

}  // namespace sluice::kubernetes
