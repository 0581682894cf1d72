// SPDX-License-Identifier: Apache-2.0
// The endpoints of a service as the gateway takes them: pods, or nodes.
#pragma once

#include "controlplane/kubernetes/node_health_view.h"
#include "controlplane/kubernetes/slice_targets.h"

#include <deque>
#include <string>

namespace sluice::kubernetes {

// The ready endpoints that hints for topology keep from `zone` (2.8) take no new flows: their
// states become ones of `passed`, which has to outlive `pods`.
void narrow(TargetsByAddress& pods, const std::string& zone, std::deque<SliceEndpoint>& passed);

// Pods: an endpoint for each address, once for all ports for which it is in one state. What the
// ports of `spec` lack is their target port.
void add_pods(const TargetsByAddress& pods, v1::ServiceSpec& spec);

// 2.4: it stays, is not excluded by its label, and no autoscaler is about to take it away.
[[nodiscard]] bool may_be_next_hop(const Node& node);

// Nodes: those that may be a next hop, all alike; with externalTrafficPolicy Local those that
// have an endpoint, by how many. Each port and family by itself: where it has no usable endpoint,
// no node is behind it. With Local and endpoints that none of these nodes has, clients are dropped.
// A node that is better left alone, as it says itself (`health`; null: nobody is asked) or because
// all that it has is draining, is told as a draining endpoint: its flows go on, new ones go there
// only when that is so of all of them.
void add_nodes(const Service& service, const TargetsByAddress& pods, const Nodes& nodes,
               const NodeHealth* health, v1::ServiceSpec& spec);

}  // namespace sluice::kubernetes
