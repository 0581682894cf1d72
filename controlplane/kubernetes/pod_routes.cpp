// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/pod_routes.h"

#include "controlplane/model/validate.h"

#include <algorithm>
#include <map>
#include <set>

namespace sluice::kubernetes {

std::vector<v1::ProviderRoute> pod_routes_of(const Nodes& nodes) {
  std::map<std::string, const Node*> in_order;
  for (const auto& [name, node] : nodes) {
    in_order.emplace(name, &node);
  }
  std::vector<v1::ProviderRoute> routes;
  std::set<IpPrefix> seen;
  for (const auto& [name, node] : in_order) {
    for (const std::string& text : node->pod_cidrs) {
      const auto destination = parse_prefix(text);
      if (!destination || destination->length == 0) {
        continue;  // the gateway would take none of the routes
      }
      const auto gateway = std::find_if(node->internal_ips.begin(), node->internal_ips.end(),
                                        [&](const IpAddress& address) {
                                          return address.family == destination->address.family &&
                                                 model::is_usable_unicast(address);
                                        });
      if (gateway != node->internal_ips.end() && seen.insert(*destination).second) {
        v1::ProviderRoute& route = routes.emplace_back();
        route.set_destination(to_string(*destination));
        route.set_gateway(to_string(*gateway));
      }
    }
  }
  return routes;
}

}  // namespace sluice::kubernetes
