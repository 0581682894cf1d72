// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/address.h"
#include "dataplane/snapshot/services.h"

#include <algorithm>
#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

// Services as values. `*Input` is what somebody wrote, unchecked; validate() makes the others of
// it, in which every invariant of proto/sluice/v1/service.proto holds.
namespace sluice::model {

struct ServiceName {
  std::string space;  // namespace
  std::string name;

  friend auto operator<=>(const ServiceName&, const ServiceName&) = default;
  template <typename H>
  friend H AbslHashValue(H hash, const ServiceName& of) {
    return H::combine(std::move(hash), of.space, of.name);
  }
};
inline std::string to_string(const ServiceName& name) {
  return name.space + "/" + name.name;
}

struct Conditions {
  std::optional<bool> ready;
  std::optional<bool> serving;
  std::optional<bool> terminating;

  friend bool operator==(const Conditions&, const Conditions&) = default;
};

struct ServicePortInput {
  std::string name;
  std::string protocol;
  std::int64_t port = 0;
  std::int64_t target_port = 0;
  std::int64_t node_port = 0;
  std::string app_protocol;
};

struct EndpointInput {
  std::vector<std::string> addresses;
  Conditions conditions;
  std::string hostname;
  std::string node_name;
  std::string zone;
  std::string network;
  std::map<std::string, std::int64_t> ports;
  std::optional<std::int64_t> weight;
  std::map<std::string, std::string> labels{};
};

struct ServiceInput {
  ServiceName name;
  std::map<std::string, std::string> labels;
  std::map<std::string, std::string> annotations;
  std::string type;
  std::vector<std::string> load_balancer_ips;
  std::string load_balancer_ip;
  std::string cluster_ip;
  std::vector<std::string> cluster_ips;
  std::vector<std::string> external_ips;
  std::vector<std::string> ip_families;
  std::string ip_family_policy;
  std::optional<bool> allocate_node_ports;
  std::string mode;
  std::string network;
  std::string no_endpoints;
  std::string session_affinity;
  std::string external_traffic_policy;
  std::string internal_traffic_policy;
  std::string load_balancer_class;
  std::map<std::string, std::string> selector;
  bool publish_not_ready = false;
  std::string external_name;
  std::vector<std::string> source_ranges;
  std::vector<std::string> deny_source_ranges;
  bool has_affinity_config = false;
  std::optional<std::int64_t> affinity_seconds;
  std::string udp_timer;
  std::string tcp_established_timer;
  std::string tcp_transitory_timer;
  std::uint32_t mss_clamp = 0;
  std::string drain_deadline;
  std::string on_endpoint_removal;
  std::string delivery;
  std::string delivery_reason;
  std::vector<ServicePortInput> ports;
  std::vector<EndpointInput> endpoints;
  std::vector<std::string> later;  // paths of fields that are set and not built yet
};

struct ServicePortSpec {
  std::string name;
  std::uint8_t protocol = 0;  // IP protocol number
  std::uint16_t port = 0;
  std::uint16_t target_port = 0;
  std::string app_protocol;
  std::uint16_t node_port = 0;  // given, or chosen by the gateway and then kept; 0: none

  friend bool operator==(const ServicePortSpec&, const ServicePortSpec&) = default;
};

struct Endpoint {
  IpAddress address;
  Conditions conditions;
  std::string hostname;
  std::string node_name;
  std::string zone;
  std::map<std::string, std::uint16_t>
      ports;  // overrides of target_port, by port name; 0: not there
  std::uint16_t weight = 1;
  std::vector<std::pair<std::string, std::string>> labels{};  // sorted

  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

// What the gateway gives a service and nobody else sets: absent in a write, or as it is stored.
struct Identity {
  std::string uid;
  std::optional<std::int64_t> created_seconds{};  // Unix time
  std::string resource_version{};                 // the provider's revision that last changed it

  [[nodiscard]] bool empty() const {
    return uid.empty() && !created_seconds && resource_version.empty();
  }
};

// Which field each VIP was written in, for faults: "loadBalancerIPs[1]". It says nothing about the
// service, so services that differ in it only are equal.
struct VipFields {
  std::vector<std::string> names;  // by index of Service::vips; may be shorter
  bool given = false;              // any, right or wrong

  [[nodiscard]] std::string at(std::size_t vip) const {
    return vip < names.size() ? names[vip] : "loadBalancerIPs[" + std::to_string(vip) + "]";
  }
  friend bool operator==(const VipFields&, const VipFields&) { return true; }
};

// Why a service has fewer VIPs than it wants; empty: it has them. The gateway's finding, so
// services that differ in it only are equal.
struct Pending {
  std::string why;
  friend bool operator==(const Pending&, const Pending&) { return true; }
};

// How many families a service has when the gateway chooses its addresses, as in Kubernetes.
enum class FamilyPolicy : std::uint8_t {
  kUnset,
  kSingleStack,
  kPreferDualStack,
  kRequireDualStack
};

// What a client outside reaches it by: each of the first three has what those before it have; the
// last has VIPs, and its endpoints are a name's addresses.
enum class ServiceType : std::uint8_t { kClusterIp, kNodePort, kLoadBalancer, kExternalName };

// Which of its endpoints a service uses.
struct EndpointChoice {
  std::map<std::string, std::string> selector{};  // labels that they have; empty: all
  bool publish_not_ready = false;                 // each counts as ready

  friend bool operator==(const EndpointChoice&, const EndpointChoice&) = default;
};

// How a service treats its clients and their flows.
struct ServiceOptions {
  std::vector<IpPrefix> source_ranges;  // as they were given; empty: everybody
  std::vector<IpPrefix> deny_source_ranges;
  std::uint32_t affinity_seconds = 0;  // 0: no affinity
  // 0: as the gateway has them.
  std::uint32_t udp_ms = 0;
  std::uint32_t tcp_established_ms = 0;
  std::uint32_t tcp_transitory_ms = 0;
  std::uint16_t mss_clamp = 0;          // 0: none
  std::uint32_t drain_deadline_ms = 0;  // 0: none
  bool reset_on_removal = false;        // TCP flows of an endpoint that is gone

  friend bool operator==(const ServiceOptions&, const ServiceOptions&) = default;
};

struct Service {
  ServiceName name;
  std::map<std::string, std::string> labels;
  std::map<std::string, std::string> annotations;
  ServiceType type = ServiceType::kLoadBalancer;
  std::vector<IpAddress> vips;  // of types kLoadBalancer and kExternalName
  VipFields vip_fields;
  bool vips_chosen = false;            // by the gateway, from its pools
  std::vector<IpAddress> cluster_ips;  // given, or chosen by the gateway and then kept
  bool cluster_ips_chosen = false;     // by the gateway, and as it has given them
  bool no_cluster_ip = false;          // and none is to be chosen
  std::vector<IpAddress> external_ips;
  Pending pending;
  std::vector<Family> families;  // distinct, as they were given
  FamilyPolicy family_policy = FamilyPolicy::kUnset;
  bool allocates_node_ports = false;  // every port has one
  ServiceOptions options;
  std::vector<ServicePortSpec> ports;
  std::vector<Endpoint> endpoints;
  ForwardingMode mode = ForwardingMode::kFullNat;
  bool mode_left = false;       // it follows from the traffic policy and the gateway
  bool external_local = false;  // externalTrafficPolicy: clients' addresses are to be kept
  bool internal_local = false;  // internalTrafficPolicy: no endpoint is local to a gateway
  EndpointChoice choice;
  std::string load_balancer_class;
  std::string external_name;  // of type kExternalName: its endpoints are this name's addresses
  bool refuses = false;       // clients, while no endpoint is usable
  std::string delivery;       // its provider's word, kept; as is why
  std::string delivery_reason;

  friend bool operator==(const Service&, const Service&) = default;
};

[[nodiscard]] inline bool has_vips(const Service& service) {
  return service.type == ServiceType::kLoadBalancer || service.type == ServiceType::kExternalName;
}

// An address on which a service's ports are served.
enum class FrontendKind : std::uint8_t { kVip, kExternal, kCluster };
struct FrontendAddress {
  IpAddress address;
  FrontendKind kind = FrontendKind::kVip;

  // Whether the service's source ranges hold here, as kube-proxy has it.
  [[nodiscard]] bool is_filtered() const { return kind != FrontendKind::kCluster; }
  friend bool operator==(const FrontendAddress&, const FrontendAddress&) = default;
};
// All of a service, VIPs first.
std::vector<FrontendAddress> frontends_of(const Service& service);
// Families in which its ports are served, IPv4 first: those of its addresses; without any, for node
// ports and port-forward, the one that it names, or both.
std::vector<Family> families_of(const Service& service);
[[nodiscard]] inline bool has_node_ports(const Service& service) {
  return std::any_of(service.ports.begin(), service.ports.end(),
                     [](const ServicePortSpec& port) { return port.node_port != 0; });
}
// The field of each in a service's spec, for faults: "loadBalancerIPs[0]", "externalIPs[1]".
std::string frontend_field(const Service& service, std::size_t frontend);

// Address, port and protocol: what has one holder in the whole gateway.
struct FrontendKey {
  IpAddress address;
  PortKey key;

  friend auto operator<=>(const FrontendKey&, const FrontendKey&) = default;
};
std::string to_string(const FrontendKey& key);
// "TCP", "UDP".
std::string name_of_protocol(std::uint8_t protocol);

}  // namespace sluice::model
