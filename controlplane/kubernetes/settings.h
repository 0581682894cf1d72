// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/client/channel.h"
#include "controlplane/kubernetes/cluster_access.h"
#include "controlplane/kubernetes/translate.h"
#include "controlplane/model/result.h"

#include <chrono>
#include <string>
#include <vector>

#include "sluice/v1/kubernetes.pb.h"

namespace sluice::kubernetes {

// proto/sluice/v1/kubernetes.proto, checked.
struct Settings {
  std::string provider;
  std::vector<std::string> gateways;
  client::TlsFiles tls;
  std::string kubeconfig;
  std::string context;
  std::string lease_namespace;  // empty: of the access
  std::string log_level = "info";
  TranslateSettings translate;
  bool routes_pods_by_nodes = false;             // see pod_routes_of()
  std::chrono::milliseconds node_health{5'000};  // how often nodes are asked; 0: never
  // How long a service that goes keeps its addresses at the least.
  std::chrono::milliseconds release_delay{0};
  // How long it is waited for a gateway that is away, which cannot say that it serves a service no
  // more. Not in the configuration.
  std::chrono::milliseconds leave_max{60'000};
};

// The Lease of its adapters: in the namespace that is configured, or that of the access.
[[nodiscard]] std::string lease_namespace_of(const Settings& settings, const ClusterAccess& access);
[[nodiscard]] std::string lease_name_of(const Settings& settings);

// All faults, not the first.
model::Result<Settings> validate(const v1::KubernetesConfig& config);

}  // namespace sluice::kubernetes
