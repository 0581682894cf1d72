// SPDX-License-Identifier: Apache-2.0
// Cluster objects -> a service of the provider. Pure: it joins and says what the cluster says;
// which of the endpoints serve is the gateway's choice (its model/compile), and which addresses a
// service has is decided elsewhere.
#pragma once

#include "controlplane/kubernetes/objects.h"
#include "controlplane/model/address_pool.h"

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "sluice/v1/service.pb.h"

namespace sluice::kubernetes {

class GatewayRoutes;
class NodeHealth;

inline constexpr const char* kLoadBalancerClass = "sluice.dev/gateway";
inline constexpr const char* kAnnotationPrefix = "sluice.dev/";
// Written by the adapter beside its finalizer, so that a service is known as its own when it is no
// LoadBalancer any more and so has no class.
inline constexpr const char* kProviderAnnotation = "sluice.dev/provider";
inline constexpr const char* kDeliveryAnnotation = "sluice.dev/delivery";
inline constexpr const char* kLoadBalancerIpsAnnotation = "sluice.dev/load-balancer-ips";
inline constexpr const char* kOnEndpointRemovalAnnotation = "sluice.dev/on-endpoint-removal";

// Where packets of a service go from the gateway: to its pods, or to a node's port; or, as a wish,
// to whichever of them the gateway reaches (KUBERNETES.md 3.1).
enum class Delivery : std::uint8_t { kAuto, kEndpoint, kNode };

struct DeliveryChoice {
  enum class Why : std::uint8_t {
    kAnnotated,
    kConfigured,
    kRouted,         // to the pods: all that are used are routed
    kNotRouted,      // to nodes: some are not
    kUnreached,      // some are not, and there are no node ports
    kNoEndpoints,    // to the pods, for now: there is none by which to choose
    kRoutesUnknown,  // to the pods, for now
  };
  Delivery delivery = Delivery::kEndpoint;  // never kAuto
  Why why = Why::kNoEndpoints;
  std::string reason;                 // a short sentence
  std::optional<IpAddress> unrouted;  // one that has no route
};

struct TranslateSettings {
  bool default_class = false;  // LoadBalancer services without a class are ours
  bool expose_cluster_ips = false;
  bool expose_node_ports = true;
  std::vector<model::AddressRange> external_ips{};  // those that services may name as externalIPs
  Delivery delivery = Delivery::kAuto;              // of services that do not say
  std::string zone{};  // of the gateway; empty: topology hints are ignored
};

using Nodes = std::unordered_map<std::string, Node>;
using Slices = std::vector<std::shared_ptr<const EndpointSlice>>;

// What is around a service, as the gateway sees it that the translation is for. For one call.
struct Surroundings {
  const Nodes& nodes;
  const GatewayRoutes* routes = nullptr;  // null: not known
  const NodeHealth* health = nullptr;     // null: nodes are not asked
  bool loses_clients = false;  // services with externalTrafficPolicy Local are FULL_NAT there
};

// What a user should know of her service: becomes a Warning event.
struct Finding {
  std::string reason;   // CamelCase
  std::string message;  // one sentence, with the way out

  friend bool operator==(const Finding&, const Finding&) = default;
};

struct Translation {
  std::optional<v1::Service> service;  // none: nothing of it is served, see `why_not`
  std::string why_not;
  std::vector<Finding> findings;
  std::vector<PortError> port_errors;
  std::optional<DeliveryChoice> delivery{};  // none: nothing is delivered, or to a name
};

// What a service is to this adapter.
enum class Claim : std::uint8_t {
  kOurs,     // a LoadBalancer of our class, or an external name that wants VIPs
  kServed,   // served here without VIPs: ClusterIP and NodePort
  kNotOurs,  // another implementation's, or nobody's to serve
};
[[nodiscard]] Claim claim_of(const Service& service, const TranslateSettings& settings);

// `vips`: those that the service has; none: it is served where else it can be.
[[nodiscard]] Translation translate(const Service& service, const Slices& slices,
                                    const Surroundings& around, const std::vector<IpAddress>& vips,
                                    const TranslateSettings& settings);

// Of its status (3.2). "Proxy": clients within the cluster come to the gateway too, which alone
// reads the ranges of an annotation; those of the field every proxy holds itself. "VIP": they go
// the short way.
[[nodiscard]] const char* ip_mode_of(const Service& service);

// Addresses that a service asks for, in the order of the fields; none: any will do. What is no
// address is a finding; nothing: none of them is one, so that it cannot have what it asks for.
[[nodiscard]] std::optional<std::vector<IpAddress>> requested_vips(const Service& service,
                                                                   std::vector<Finding>& findings);

}  // namespace sluice::kubernetes
