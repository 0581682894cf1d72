// SPDX-License-Identifier: Apache-2.0
// Whether a service's packets go to its pods or to nodes (KUBERNETES.md 3.1), and why.
#pragma once

#include "controlplane/kubernetes/gateway_routes.h"
#include "controlplane/kubernetes/slice_targets.h"

#include <set>
#include <string>
#include <vector>

namespace sluice::kubernetes {

// What the choice depends on.
struct DeliveryInput {
  Delivery wish = Delivery::kAuto;
  bool is_annotated = false;              // the service's own wish; false: the configuration's
  bool has_node_ports = false;            // for each port
  const GatewayRoutes* routes = nullptr;  // null: unknown
  // Those in which the service has addresses: of a dual-stack pod behind a gateway that has one
  // family only, the other address is never used, and no route to it is needed.
  std::set<Family> families{};
};

// Pods are chosen when all endpoints that are used are routed, not some: packets to the others
// would go by the default route, which knows nothing of pods, and be lost. For the same reason the
// two ways are never mixed: a node passes on to all endpoints, so those with a route would be
// counted twice. Where there are no node ports either, those with a route are served all the same:
// fewer endpoints are better than none, and kUnreached says so.
[[nodiscard]] DeliveryChoice choose_delivery(const DeliveryInput& input,
                                             const TargetsByAddress& pods);

// Takes away what has no route. Returns the ports, by their places in the spec, that have lost all
// of their usable endpoints by it.
std::vector<int> leave_out_unrouted(const GatewayRoutes& routes, const std::set<Family>& families,
                                    TargetsByAddress& pods);

}  // namespace sluice::kubernetes
