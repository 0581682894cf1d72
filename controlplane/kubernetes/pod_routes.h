// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/kubernetes/translate.h"

#include <vector>

#include "sluice/v1/gateway.pb.h"

namespace sluice::kubernetes {

// Each Node's podCIDRs by way of its first InternalIP of the same family; what a node has no such
// pair of is passed over. A node that is about to go keeps its routes: its pods are still there
// until it is gone. Of two nodes with one podCIDR, which no sound cluster has, the first by name
// has the route, as a destination may be there once. In the nodes' order by name.
[[nodiscard]] std::vector<v1::ProviderRoute> pod_routes_of(const Nodes& nodes);

}  // namespace sluice::kubernetes
