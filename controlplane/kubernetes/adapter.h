// SPDX-License-Identifier: Apache-2.0
// The adapter whole: three reflectors into one state of the cluster, one sender out of it for each
// gateway, and, while it holds the Lease, a controller that writes back.
#pragma once

#include "controlplane/kubernetes/cluster_access.h"
#include "controlplane/kubernetes/cluster_state.h"
#include "controlplane/kubernetes/controller.h"
#include "controlplane/kubernetes/credentials.h"
#include "controlplane/kubernetes/gateway_sender.h"
#include "controlplane/kubernetes/leader_election.h"
#include "controlplane/kubernetes/node_health.h"
#include "controlplane/kubernetes/reflector.h"
#include "controlplane/kubernetes/settings.h"

#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace sluice::kubernetes {

class Adapter {
 public:
  Adapter(const Settings& settings, const ClusterAccess& access);
  ~Adapter();
  Adapter(const Adapter&) = delete;
  Adapter& operator=(const Adapter&) = delete;

 private:
  void changed(const std::vector<ServiceName>& names);
  WantedService wanted(std::size_t gateway, const ServiceName& name, const GatewayRoutes* routes);
  void note_delivery(std::size_t gateway, const ServiceName& name,
                     const std::optional<DeliveryChoice>& choice);
  ProviderRoutes pod_routes();
  [[nodiscard]] std::shared_ptr<const GatewayRoutes> known_routes() const;
  [[nodiscard]] std::vector<ProbeTarget> ask_whom();
  void nodes_changed(const NodeHealthProber::Changes& changes);
  void start_sender(std::size_t gateway);
  std::optional<std::vector<model::AddressPool>> ask_pools();
  std::string ask_forwarding_mode(const ServiceName& name);

  const Settings settings_;
  const ClusterAccess access_;
  Credentials credentials_;
  ClusterState state_;
  std::mutex pod_routes_mutex_;
  std::shared_ptr<const Nodes> routed_nodes_;  // those of pod_routes_
  ProviderRoutes pod_routes_;
  // Which way each service takes to its backends, as it was translated last.
  struct Way {
    std::uint64_t to_nodes = 0;  // gateways from where it goes to nodes, a bit each
    DeliveryChoice::Why why{};   // at the first gateway
  };
  std::mutex ways_mutex_;
  absl::flat_hash_map<ServiceName, Way> ways_;
  std::unique_ptr<NodeHealthProber> health_;  // null: nodes are not asked
  std::vector<std::shared_ptr<v1::Gateway::StubInterface>> gateways_;
  std::vector<std::unique_ptr<GatewayLink>> pool_links_;  // the controller's thread asks
  std::unique_ptr<Controller> controller_;
  std::vector<std::unique_ptr<GatewaySender>> senders_;
  std::unique_ptr<LeaderElection> election_;
  std::vector<std::unique_ptr<Reflector>> reflectors_;  // the first to end
};

}  // namespace sluice::kubernetes
