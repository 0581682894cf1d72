// SPDX-License-Identifier: Apache-2.0
// A cluster as the tests of the translation describe it, and readers of what becomes of it.
#pragma once

#include "controlplane/kubernetes/gateway_routes.h"
#include "controlplane/kubernetes/node_health_view.h"
#include "controlplane/kubernetes/translate.h"

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::kubernetes {

[[nodiscard]] IpAddress ip(const std::string& text);
// Lives for good, as the names of a slice do; null for "".
[[nodiscard]] const std::string* kept(std::string_view name);

struct State {
  Condition ready;
  Condition serving;
  Condition terminating;
};
inline constexpr Condition kAbsent = Condition::kAbsent;
inline constexpr Condition kNo = Condition::kFalse;
inline constexpr Condition kYes = Condition::kTrue;
inline constexpr State kReady{kYes, kYes, kNo};
inline constexpr State kDraining{kNo, kYes, kYes};
inline constexpr State kStarting{kNo, kNo, kNo};

[[nodiscard]] SliceEndpoint endpoint(const std::string& address, const State& state = kReady,
                                     std::string_view node = "");
[[nodiscard]] SliceEndpoint hinted(const std::string& address, std::string_view zones,
                                   const State& state = kReady);
[[nodiscard]] std::shared_ptr<const EndpointSlice> slice(std::vector<SlicePort> ports,
                                                         std::vector<SliceEndpoint> endpoints);
[[nodiscard]] Node node(const std::string& name, const std::vector<std::string>& internal_ips);
// shop/web: a LoadBalancer of our class, ports http 80/TCP and dns 53/UDP, node ports 30080, 30053.
[[nodiscard]] Service service();

// What nodes say when they are asked; those that are not named here say nothing.
struct Health final : NodeHealth {
  [[nodiscard]] State kube_proxy(const std::string& node) const override;
  [[nodiscard]] State local(const std::string& node, const ServiceName& service) const override;
  std::map<std::string, State> proxies;
  std::map<std::string, State> locals;  // of shop/web
};

// All that a translation is made of. As it comes: service(), a VIP, http at 8080 and dns at 5353 of
// 10.0.0.1 on node a and 10.0.0.2 on node b.
struct Cluster {
  Cluster();
  [[nodiscard]] Translation translated() const;
  // In place of the slices: one with both ports and these.
  void set_endpoints(std::vector<SliceEndpoint> endpoints);
  void annotate(const std::string& key, const std::string& value);
  // The service becomes one of `type`, as the API server leaves it: with no field of another type.
  void become(const std::string& type);
  // An ExternalName that is exposed.
  void expose_name();

  Service service;
  Slices slices;
  Nodes nodes;
  std::vector<IpAddress> vips;
  std::optional<GatewayRoutes> routes;  // as it comes: not known
  Health health;
  bool loses_clients = false;
  TranslateSettings settings;  // externalIPs may be of 192.0.2.0/24 and 2001:db8::/32
};

struct Row {
  const char* claim;
  std::function<void(Cluster&)> change;
  std::string expected;
};
using Read = std::function<std::string(const Translation&)>;
// Changes a fresh cluster by each row, and expects that `read` finds what the row says, and that a
// gateway would take the result.
void expect_rows(const std::vector<Row>& rows, const Read& read);

// Readers. Without a service: "none: " and why.
[[nodiscard]] std::string fate(const Translation& made);      // "served"
[[nodiscard]] std::string reach(const Translation& made);     // type and addresses
[[nodiscard]] std::string ports(const Translation& made);     // "http 80/TCP 30080, dns 53/UDP"
[[nodiscard]] std::string findings(const Translation& made);  // "Reason: message"
[[nodiscard]] std::string reasons(const Translation& made);   // of findings and port errors
// Where packets may go, raw: "http 10.0.0.1:8080, 10.0.0.2:8080; dns 10.0.0.1:5353"; what is not
// ready in so many words is marked by its conditions, as in "10.0.0.3:8080[F-T]", and a weight by
// "*2".
[[nodiscard]] std::string behind(const Translation& made);
// Where new flows go by the gateway's choice, in the same form.
[[nodiscard]] std::string chosen(const Translation& made);

// In an order of its own, so that equal services are equal texts.
[[nodiscard]] std::string serialized(const v1::Service& service);
// What a gateway finds wrong with it.
[[nodiscard]] std::string faults_at_gateway(const v1::Service& service);

}  // namespace sluice::kubernetes
