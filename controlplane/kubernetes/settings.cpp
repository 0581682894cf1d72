// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/settings.h"

#include "controlplane/client/channel.h"
#include "controlplane/model/config.h"
#include "controlplane/model/validate.h"

#include <algorithm>

namespace sluice::kubernetes {
namespace {

constexpr const char* kLevels[] = {"error", "warning", "info", "debug"};

void check_gateways(const v1::KubernetesConfig& config, const client::TlsFiles& tls,
                    model::Faults& faults) {
  if (config.gateways().empty()) {
    faults.add("gateways", "none is given; name at least one, like unix:/run/sluice/sluice.sock");
  }
  for (int i = 0; i < config.gateways_size(); ++i) {
    const std::string path = "gateways[" + std::to_string(i) + "]";
    const std::string& gateway = config.gateways(i);
    const std::string fault = client::connect(gateway, tls).fault;
    if (!fault.empty()) {
      faults.add(path, fault);
    }
    if (std::find(config.gateways().begin(), config.gateways().begin() + i, gateway) !=
        config.gateways().begin() + i) {
      faults.add(path, "'" + gateway + "' is given twice; remove one");
    }
  }
}

void check_delivery(const v1::KubernetesConfig& config, Settings& settings, model::Faults& faults) {
  const std::string& delivery = config.delivery();
  if (delivery == "endpoint" || delivery == "node") {
    settings.translate.delivery = delivery == "node" ? Delivery::kNode : Delivery::kEndpoint;
  } else if (!delivery.empty() && delivery != "auto") {
    faults.add("delivery", "'" + delivery + "' is unknown; use 'auto', 'endpoint' or 'node'");
  }
  settings.routes_pods_by_nodes = config.pod_routes() == "nodes";
  if (!config.pod_routes().empty() && !settings.routes_pods_by_nodes) {
    faults.add("podRoutes", "'" + config.pod_routes() + "' is unknown; use 'nodes', or none");
  }
}

void check_node_health(const v1::KubernetesConfig& config, Settings& settings,
                       model::Faults& faults) {
  const std::string& text = config.node_health_interval();
  if (text.empty()) {
    return;
  }
  constexpr std::uint64_t kLeastUs = 1'000'000;
  constexpr std::uint64_t kMostUs = 300'000'000;
  const auto us = model::parse_duration_us(text);
  if (!us || (*us != 0 && (*us < kLeastUs || *us > kMostUs))) {
    faults.add("nodeHealthInterval",
               "'" + text + "' is not a duration from 1s to 5m; write it like 5s, or 0s for never");
    return;
  }
  settings.node_health = std::chrono::milliseconds(*us / 1'000);
}

void check_release_delay(const v1::KubernetesConfig& config, Settings& settings,
                         model::Faults& faults) {
  const std::string& text = config.release_delay();
  if (text.empty()) {
    return;
  }
  constexpr std::uint64_t kMostUs = 600'000'000;
  const auto us = model::parse_duration_us(text);
  if (!us || *us > kMostUs) {
    faults.add("releaseDelay", "'" + text + "' is not a duration up to 10m; write it like 15s");
    return;
  }
  settings.release_delay = std::chrono::milliseconds(*us / 1'000);
}

}  // namespace

std::string lease_namespace_of(const Settings& settings, const ClusterAccess& access) {
  const std::string& space =
      settings.lease_namespace.empty() ? access.space : settings.lease_namespace;
  return space.empty() ? "default" : space;
}

std::string lease_name_of(const Settings& settings) {
  return "sluice-k8s-" + settings.provider;
}

model::Result<Settings> validate(const v1::KubernetesConfig& config) {
  model::Faults faults;
  Settings settings;
  settings.provider = config.provider();
  if (!model::is_label(config.provider())) {
    faults.add("provider", "'" + config.provider() +
                               "' is not a name; give the cluster one of a-z, 0-9 and '-'");
  } else if (config.provider() == "cli") {
    faults.add("provider", "'cli' is sluicectl's; give the cluster a name of its own");
  }
  settings.tls = {config.tls().certificate_authority(), config.tls().client_certificate(),
                  config.tls().client_key()};
  check_gateways(config, settings.tls, faults);
  settings.gateways.assign(config.gateways().begin(), config.gateways().end());
  settings.kubeconfig = config.kubeconfig();
  settings.context = config.context();
  settings.lease_namespace = config.lease_namespace();
  if (!config.lease_namespace().empty() && !model::is_label(config.lease_namespace())) {
    faults.add("leaseNamespace", "'" + config.lease_namespace() + "' is not a namespace's name");
  }
  if (config.kubeconfig().empty() && !config.context().empty()) {
    faults.add("context", "it is of a kubeconfig, and none is given; name one");
  }
  settings.translate.default_class = config.default_class();
  settings.translate.expose_cluster_ips = config.expose_cluster_ips();
  settings.translate.expose_node_ports =
      !config.has_expose_node_ports() || config.expose_node_ports();
  for (int i = 0; i < config.external_ip_ranges_size(); ++i) {
    const std::string& text = config.external_ip_ranges(i);
    if (const auto range = model::parse_address_range(text)) {
      settings.translate.external_ips.push_back(*range);
    } else {
      faults.add(
          "externalIpRanges[" + std::to_string(i) + "]",
          "'" + text + "' is no range; write it like 198.51.100.0/24 or 2001:db8::1-2001:db8::9");
    }
  }
  settings.translate.zone = config.zone();
  check_delivery(config, settings, faults);
  check_node_health(config, settings, faults);
  check_release_delay(config, settings, faults);
  const std::string& level = config.log().level();
  if (!level.empty()) {
    settings.log_level = level;
    if (std::find(std::begin(kLevels), std::end(kLevels), level) == std::end(kLevels)) {
      faults.add("log.level",
                 "'" + level + "' is unknown; use 'error', 'warning', 'info' or 'debug'");
    }
  }
  if (!faults.empty()) {
    return faults.to_error();
  }
  return settings;
}

}  // namespace sluice::kubernetes
