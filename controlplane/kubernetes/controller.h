// SPDX-License-Identifier: Apache-2.0
// What the holder of the Lease does for each service: gives it addresses, has the gateways serve
// them, and tells the cluster. Level-driven: each step looks at how things are and goes on from
// there, so that it does not matter which change was missed.
//
//   mark (finalizer) -> address -> served by a gateway -> status         and back, when it goes
#pragma once

#include "controlplane/kubernetes/addresses.h"
#include "controlplane/kubernetes/backoff.h"
#include "controlplane/kubernetes/cluster_state.h"
#include "controlplane/kubernetes/cluster_writer.h"
#include "controlplane/kubernetes/gateway_answers.h"
#include "controlplane/kubernetes/gateway_routes.h"
#include "controlplane/kubernetes/gateway_sender.h"
#include "controlplane/kubernetes/leader_election.h"
#include "controlplane/kubernetes/node_health_view.h"
#include "controlplane/kubernetes/settings.h"

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace sluice::kubernetes {

class Controller {
 public:
  struct Outside {
    // Services whose addresses have changed; their gateways should know.
    std::function<void(const std::vector<ServiceName>&)> addressed;
    // Pools of the gateways; nothing: none of them answers.
    std::function<std::optional<std::vector<model::AddressPool>>()> pools;
    // Whether a gateway has all that it was sent; by its number.
    std::function<bool(std::size_t gateway)> in_step;
    // Whether what it has is not known; by its number. One that is just busy is not away.
    std::function<bool(std::size_t gateway)> is_away;
    // Whether it tells the network where the addresses are; by its number.
    std::function<bool(std::size_t gateway)> announces;
    // Of the first gateway that has told its routes; null: none has. May be empty.
    std::function<std::shared_ptr<const GatewayRoutes>()> routes{};
    // "FULL_NAT" or "DNAT", as the gateways carry a service that they serve; empty: none of them
    // answers. May be empty itself.
    std::function<std::string(const ServiceName&)> forwarding_mode{};
    const NodeHealth* health = nullptr;  // null: nodes are not asked
  };
  Controller(const Settings& settings, std::string identity, ClusterState& state,
             const ClusterAccess& access, Credentials& credentials, Outside outside);
  ~Controller();
  Controller(const Controller&) = delete;
  Controller& operator=(const Controller&) = delete;

  // Its thread ends; it may still be told and asked things.
  void stop();

  // Any thread.
  void changed(const std::vector<ServiceName>& names);
  void sent(std::size_t gateway, const std::vector<Sent>& sent, bool all);
  // Until then, unless it is told again.
  void set_leads(LeaderElection::Leads leads, std::chrono::steady_clock::time_point until);
  [[nodiscard]] bool leads() const;
  // As assigned here, or, without the Lease, as the cluster's status has it.
  [[nodiscard]] std::vector<IpAddress> vips_of(const Service& service) const;

 private:
  using Clock = std::chrono::steady_clock;
  using Names = absl::flat_hash_set<ServiceName>;
  static constexpr std::chrono::milliseconds kTurn{500};
  static constexpr std::chrono::milliseconds kAfterStale{1'000};
  enum class Ack { kWaiting, kServed, kRefused };

  // controller.cpp
  void run();
  [[nodiscard]] bool still_leads() const;
  bool await_work(Names& names);
  void take_due(Names& names);
  [[nodiscard]] std::vector<const ServiceName*> in_order(const Names& names) const;
  void take_over();
  void step_down();
  bool refresh_pools();
  bool publish(const ServiceName& name, const std::vector<IpAddress>& vips,
               const std::string& uid = {});
  void again(const ServiceName& name, std::chrono::milliseconds in);
  void after(ClusterWriter::Written written, const ServiceName& name);

  // controller_service.cpp
  void reconcile(const ServiceName& name);
  void set_up(const ServiceView& view);
  void tear_down(const Service& service);
  void tell_of_served(const ServiceView& view);
  // For services with externalTrafficPolicy Local; of the gateways, so one answer is for all.
  bool loses_clients(const Service& service, const std::vector<IpAddress>& vips);
  Translation translated(const ServiceView& view, const std::vector<IpAddress>& vips);
  void tell_of_delivery(const Service& service, const std::optional<DeliveryChoice>& choice);
  std::vector<IpAddress> give_addresses(const Service& service,
                                        const std::vector<IpAddress>& requested,
                                        std::vector<Finding>& findings);
  // `may_choose`: its addresses are not those that it asked for.
  Ack acknowledged(const Service& service, const std::vector<IpAddress>& vips, bool may_choose,
                   std::vector<Finding>& findings);
  void write_status(const Service& service, const std::vector<IpAddress>& vips, Ack ack,
                    const std::vector<PortError>& errors);
  [[nodiscard]] bool is_gone(const ServiceName& name);
  [[nodiscard]] bool have_let_go(const ServiceName& name, Clock::time_point since,
                                 const std::optional<IpAddress>& address) const;
  void tell_of_away(Clock::time_point since, const std::string& what) const;
  void free_address(const ServiceName& name);
  void hold_back(const ServiceName& name, const std::vector<IpAddress>& vips);
  void free_unmarked(const ServiceName& name);
  void free_held_back();
  void wake_pending();
  void tell(const Service& service, std::vector<Finding> findings);

  const Settings settings_;
  ClusterState& state_;
  const Outside outside_;
  std::atomic<bool> stop_{false};

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  Names dirty_;
  bool leads_ = false;
  Clock::time_point leads_until_{};
  bool lapsed_ = false;  // it did not lead for a moment, and does again
  // Since when others may not write any more; what is known of the cluster has to be as new. None:
  // nobody else has written.
  std::optional<Clock::time_point> took_over_;
  bool assigns_ = false;  // vips_ is what counts
  struct Published {
    std::vector<IpAddress> vips;
    std::string uid;  // of the service that has them, not of one that has its name later
  };
  absl::flat_hash_map<ServiceName, Published> vips_;
  GatewayAnswers answers_;

  // The controller's thread alone.
  ClusterWriter writer_;
  Addresses addresses_;
  bool led_ = false;
  std::optional<std::vector<model::AddressPool>> pools_;
  Clock::time_point pools_asked_{};
  Clock::time_point avoided_since_{};
  absl::flat_hash_map<ServiceName, Clock::time_point> later_;
  Names pending_;  // wait for an address
  Backoff backoff_;
  Clock::time_point paused_until_{};
  Names failed_at_;  // by the server, and not yet written
  absl::flat_hash_map<ServiceName, Clock::time_point> leaving_;               // since
  std::map<std::pair<IpAddress, ServiceName>, Clock::time_point> held_back_;  // since
  absl::flat_hash_map<ServiceName, std::set<std::pair<std::string, std::string>>> told_;
  absl::flat_hash_map<ServiceName, std::pair<Delivery, DeliveryChoice::Why>> delivered_;
  bool loses_clients_ = false;
  Clock::time_point mode_asked_{};
  std::thread thread_;
};

}  // namespace sluice::kubernetes
