// SPDX-License-Identifier: Apache-2.0
// What of a cluster's objects the adapter reads: raw, as the API server has them, nothing chosen.
#pragma once

#include "controlplane/model/service.h"
#include "dataplane/net/address.h"

#include <absl/container/node_hash_set.h>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::kubernetes {

using model::ServiceName;

// Names that many endpoints have in common, each kept once and for good. One thread adds; what
// it has handed out may be read anywhere.
class Names {
 public:
  // Null for an empty one.
  const std::string* intern(std::string_view name) {
    return name.empty() ? nullptr : &*names_.emplace(name).first;
  }

 private:
  absl::node_hash_set<std::string> names_;
};

struct ObjectMeta {
  ServiceName name;  // of a Node: without a namespace
  std::string uid;
  std::string resource_version;  // opaque; good for equality only
  std::map<std::string, std::string> labels;
  std::map<std::string, std::string> annotations;
  std::vector<std::string> finalizers;
  bool deleting = false;  // has a deletionTimestamp
};

struct ServicePort {
  std::string name;
  std::string protocol;  // "TCP" where the object has none
  std::int64_t port = 0;
  std::int64_t node_port = 0;  // 0: none
  std::string app_protocol;
};

// Why one port of a LoadBalancer is not served: status.loadBalancer.ingress[].ports[].error.
struct PortError {
  std::int64_t port = 0;
  std::string protocol;
  std::string error;  // CamelCase

  friend bool operator==(const PortError&, const PortError&) = default;
};

struct LoadBalancerIngress {
  std::string ip;
  std::string ip_mode;
  std::vector<PortError> ports{};

  friend bool operator==(const LoadBalancerIngress&, const LoadBalancerIngress&) = default;
};

// As metav1.Condition, of a status.
struct StatusCondition {
  std::string type;
  std::string status;  // "True", "False", "Unknown"
  std::string reason;
  std::string message;
  std::string last_transition_time;
  std::string json;  // all of it, for who writes the others' back as they were
};

struct Service {
  ObjectMeta meta;
  std::string type;  // "ClusterIP" where the object has none
  std::vector<std::string> cluster_ips;
  std::vector<std::string> ip_families;
  std::string ip_family_policy;
  std::vector<std::string> external_ips;
  std::string load_balancer_ip;
  std::optional<std::string> load_balancer_class;
  std::vector<std::string> source_ranges;
  std::vector<ServicePort> ports;
  std::string session_affinity;
  std::optional<std::int64_t> affinity_seconds;
  std::string external_traffic_policy;
  std::string internal_traffic_policy;
  std::int64_t health_check_node_port = 0;
  std::string external_name;
  std::vector<LoadBalancerIngress> ingress;  // of status.loadBalancer
  std::vector<StatusCondition> conditions;   // of status
};

// Empty: it has none of this name.
[[nodiscard]] inline std::string annotation_of(const Service& service, const char* key) {
  const auto at = service.meta.annotations.find(key);
  return at == service.meta.annotations.end() ? "" : at->second;
}

// Three-valued, as in discovery.k8s.io/v1: absent is not the same as false.
enum class Condition : std::uint8_t { kAbsent, kFalse, kTrue };
[[nodiscard]] inline bool is_true_or_absent(Condition condition) {
  return condition != Condition::kFalse;
}

// Half a million of them are held at once. The names are of a Names.
struct SliceEndpoint {
  IpAddress address;  // addresses[0], the only one that counts
  Condition ready = Condition::kAbsent;
  Condition serving = Condition::kAbsent;
  Condition terminating = Condition::kAbsent;
  const std::string* hostname = nullptr;
  const std::string* node_name = nullptr;
  const std::string* zone = nullptr;
  const std::string* hinted_zones = nullptr;  // several are apart by ' '
  const std::string* hinted_nodes = nullptr;
};

struct SlicePort {
  std::string name;
  std::string protocol;
  std::uint16_t port = 0;

  friend bool operator==(const SlicePort&, const SlicePort&) = default;
};

struct EndpointSlice {
  ServiceName name;
  std::string service;           // of its label; in the same namespace
  bool headless = false;         // labelled so, or of addressType FQDN: not for a proxy
  std::vector<SlicePort> ports;  // those with a number
  std::vector<SliceEndpoint> endpoints;
};

struct Node {
  ObjectMeta meta;
  std::vector<IpAddress> internal_ips;
  std::vector<IpAddress> external_ips;
  std::vector<std::string> pod_cidrs;
  bool to_be_deleted = false;  // tainted ToBeDeletedByClusterAutoscaler
};

}  // namespace sluice::kubernetes
