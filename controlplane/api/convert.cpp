// SPDX-License-Identifier: Apache-2.0
#include "controlplane/api/convert.h"

namespace sluice::api {
namespace {

template <typename T>
std::optional<bool> optional_of(bool has, T value) {
  return has ? std::optional<bool>(value) : std::nullopt;
}

// Fields of the final shape whose behaviour is not built yet and whose mere presence says that it
// is wanted. Those that have a word for today's behaviour are judged by model/validate.
std::vector<std::string> later_fields(const v1::Service& service) {
  const v1::ServiceSpec& spec = service.spec();
  std::vector<std::string> fields;
  const auto note = [&fields](bool set, std::string path) {
    if (set) {
      fields.push_back(std::move(path));
    }
  };
  note(spec.health_check_node_port() != 0, "spec.healthCheckNodePort");
  return fields;
}

model::EndpointInput to_input(const v1::Endpoint& endpoint) {
  const v1::EndpointConditions& conditions = endpoint.conditions();
  model::EndpointInput input;
  input.addresses.assign(endpoint.addresses().begin(), endpoint.addresses().end());
  input.conditions = {optional_of(conditions.has_ready(), conditions.ready()),
                      optional_of(conditions.has_serving(), conditions.serving()),
                      optional_of(conditions.has_terminating(), conditions.terminating())};
  input.hostname = endpoint.hostname();
  input.node_name = endpoint.node_name();
  input.zone = endpoint.zone();
  input.network = endpoint.network();
  input.ports.insert(endpoint.ports().begin(), endpoint.ports().end());
  input.labels.insert(endpoint.labels().begin(), endpoint.labels().end());
  if (endpoint.has_weight()) {
    input.weight = endpoint.weight();
  }
  return input;
}

void fill(const model::Endpoint& endpoint, v1::Endpoint& message) {
  message.add_addresses(to_string(endpoint.address));
  if (endpoint.conditions != model::Conditions{}) {
    v1::EndpointConditions& conditions = *message.mutable_conditions();
    if (endpoint.conditions.ready) {
      conditions.set_ready(*endpoint.conditions.ready);
    }
    if (endpoint.conditions.serving) {
      conditions.set_serving(*endpoint.conditions.serving);
    }
    if (endpoint.conditions.terminating) {
      conditions.set_terminating(*endpoint.conditions.terminating);
    }
  }
  message.set_hostname(endpoint.hostname);
  message.set_node_name(endpoint.node_name);
  message.set_zone(endpoint.zone);
  for (const auto& [name, port] : endpoint.ports) {
    (*message.mutable_ports())[name] = port;
  }
  message.mutable_labels()->insert(endpoint.labels.begin(), endpoint.labels.end());
  if (endpoint.weight != 1) {
    message.set_weight(endpoint.weight);
  }
}

void fill(const model::ServiceOptions& options, v1::ServiceSpec& spec) {
  for (const IpPrefix& prefix : options.source_ranges) {
    spec.add_load_balancer_source_ranges(to_string(prefix));
  }
  for (const IpPrefix& prefix : options.deny_source_ranges) {
    spec.mutable_forwarding()->add_deny_source_ranges(to_string(prefix));
  }
  spec.set_session_affinity(options.affinity_seconds == 0 ? "None" : "ClientIP");
  if (options.affinity_seconds != 0) {
    spec.mutable_session_affinity_config()->mutable_client_ip()->set_timeout_seconds(
        static_cast<std::int32_t>(options.affinity_seconds));
  }
  if ((options.udp_ms | options.tcp_established_ms | options.tcp_transitory_ms) != 0) {
    const auto text = [](std::uint32_t ms) { return ms == 0 ? "" : model::duration_text(ms); };
    v1::Timers& timers = *spec.mutable_forwarding()->mutable_timers();
    timers.set_udp(text(options.udp_ms));
    timers.set_tcp_established(text(options.tcp_established_ms));
    timers.set_tcp_transitory(text(options.tcp_transitory_ms));
  }
  spec.mutable_forwarding()->set_mss_clamp(options.mss_clamp);
  if (options.drain_deadline_ms != 0) {
    spec.mutable_forwarding()->set_drain_deadline(model::duration_text(options.drain_deadline_ms));
  }
  spec.mutable_forwarding()->set_on_endpoint_removal(options.reset_on_removal ? "reset" : "keep");
}

const char* word_of(model::ServiceType type) {
  switch (type) {
    case model::ServiceType::kNodePort:
      return "NodePort";
    case model::ServiceType::kLoadBalancer:
      return "LoadBalancer";
    case model::ServiceType::kExternalName:
      return "ExternalName";
    case model::ServiceType::kClusterIp:
      break;
  }
  return "ClusterIP";
}

const char* word_of(ForwardingMode mode) {
  return mode == ForwardingMode::kDnat ? "DNAT" : "FULL_NAT";
}

const char* word_of(model::FamilyPolicy policy) {
  switch (policy) {
    case model::FamilyPolicy::kSingleStack:
      return "SingleStack";
    case model::FamilyPolicy::kPreferDualStack:
      return "PreferDualStack";
    case model::FamilyPolicy::kRequireDualStack:
      return "RequireDualStack";
    case model::FamilyPolicy::kUnset:
      break;
  }
  return "";
}

void fill_spec(const model::Service& service, v1::ServiceSpec& spec) {
  spec.set_type(word_of(service.type));
  const auto policy = [](bool local) { return local ? "Local" : "Cluster"; };
  if (service.type == model::ServiceType::kNodePort ||
      service.type == model::ServiceType::kLoadBalancer || !service.external_ips.empty()) {
    spec.set_external_traffic_policy(policy(service.external_local));
  }
  if (service.type != model::ServiceType::kExternalName) {
    spec.set_internal_traffic_policy(policy(service.internal_local));
  }
  if (service.type == model::ServiceType::kLoadBalancer) {
    spec.set_allocate_load_balancer_node_ports(service.allocates_node_ports);
  }
  spec.set_load_balancer_class(service.load_balancer_class);
  spec.mutable_selector()->insert(service.choice.selector.begin(), service.choice.selector.end());
  spec.set_publish_not_ready_addresses(service.choice.publish_not_ready);
  spec.set_external_name(service.external_name);
  spec.mutable_forwarding()->set_mode(service.mode_left ? "" : word_of(service.mode));
  spec.mutable_forwarding()->set_no_endpoints(service.refuses ? "refuse" : "drop");
  spec.mutable_forwarding()->set_delivery(service.delivery);
  spec.mutable_forwarding()->set_delivery_reason(service.delivery_reason);
  fill(service.options, spec);
  if (!service.vips_chosen) {
    for (const IpAddress& vip : service.vips) {
      spec.add_load_balancer_ips(to_string(vip));
    }
  }
  for (const IpAddress& address : service.cluster_ips) {
    spec.add_cluster_ips(to_string(address));
  }
  if (service.no_cluster_ip) {
    spec.set_cluster_ip("None");
    spec.add_cluster_ips("None");
  } else if (!service.cluster_ips.empty()) {
    spec.set_cluster_ip(to_string(service.cluster_ips[0]));
  }
  for (const IpAddress& address : service.external_ips) {
    spec.add_external_ips(to_string(address));
  }
  for (const Family family : service.families) {
    spec.add_ip_families(to_string(family));
  }
  spec.set_ip_family_policy(word_of(service.family_policy));
  for (const model::ServicePortSpec& port : service.ports) {
    v1::ServicePort& message = *spec.add_ports();
    message.set_name(port.name);
    message.set_protocol(model::name_of_protocol(port.protocol));
    message.set_port(port.port);
    message.set_target_port(port.target_port);
    message.set_node_port(port.node_port);
    message.set_app_protocol(port.app_protocol);
  }
  for (const model::Endpoint& endpoint : service.endpoints) {
    if (service.external_name.empty()) {  // else the name's, not the writer's
      fill(endpoint, *spec.add_endpoints());
    }
  }
}

void fill_status(const runtime::ServiceView& view, v1::ServiceStatus& status) {
  status.set_revision(view.revision);
  status.set_epoch(view.epoch);
  status.set_forwarding_mode(word_of(view.service.mode));
  bool serving = false;
  const std::vector<model::FrontendAddress> frontends = frontends_of(view.service);
  for (const runtime::PortView& port : view.ports) {
    serving = serving || (port.served && (frontends.empty() || has_node_ports(view.service)));
    for (const auto& [address, kind] : frontends) {
      if (address.family != port.family) {
        continue;
      }
      const bool shut = kind == model::FrontendKind::kCluster && view.service.internal_local;
      serving = serving || (port.served && !shut);
      v1::Frontend& frontend = *status.add_frontends();
      frontend.set_address(to_string(address));
      frontend.set_port(port.key.port);
      frontend.set_protocol(model::name_of_protocol(port.key.protocol));
      frontend.set_service_port(port.name);
      frontend.set_served(port.served && !shut);
      if (!port.served) {
        frontend.set_reason(port.endpoints.empty() ? "no endpoint of this family"
                                                   : "no endpoint is ready");
      } else if (shut) {
        frontend.set_reason("internalTrafficPolicy is Local, and no endpoint is on a gateway");
      }
    }
    for (const runtime::EndpointView& seen : port.endpoints) {
      v1::EndpointStatus& endpoint = *status.add_endpoints();
      endpoint.set_address(to_string(seen.endpoint.address));
      endpoint.set_port(seen.endpoint.port);
      endpoint.set_service_port(port.name);
      endpoint.set_state(name_of(seen.endpoint));
      endpoint.set_reason(seen.endpoint.reason());
    }
  }
  for (const IpAddress& vip : view.service.vips) {
    v1::LoadBalancerIngress& ingress = *status.mutable_load_balancer()->add_ingress();
    ingress.set_ip(to_string(vip));
    ingress.set_ip_mode("VIP");
  }
  v1::Condition& programmed = *status.add_conditions();
  programmed.set_type("Programmed");
  programmed.set_status("True");
  programmed.set_reason("Published");
  const std::string& pending = view.service.pending.why;
  v1::Condition& assigned = *status.add_conditions();
  assigned.set_type("AddressesAssigned");
  assigned.set_status(pending.empty() ? "True" : "False");
  assigned.set_reason(pending.empty() ? "Assigned" : "NoFreeAddress");
  assigned.set_message(pending);
  v1::Condition& condition = *status.add_conditions();
  condition.set_type("Serving");
  condition.set_status(serving ? "True" : "False");
  condition.set_reason(serving ? "EndpointsReady" : "NoReadyEndpoint");
}

}  // namespace

model::ServiceInput to_input(const v1::Service& service) {
  const v1::ServiceSpec& spec = service.spec();
  model::ServiceInput input;
  input.name = {service.metadata().namespace_(), service.metadata().name()};
  input.labels.insert(service.metadata().labels().begin(), service.metadata().labels().end());
  input.annotations.insert(service.metadata().annotations().begin(),
                           service.metadata().annotations().end());
  input.type = spec.type();
  input.load_balancer_ips.assign(spec.load_balancer_ips().begin(), spec.load_balancer_ips().end());
  input.load_balancer_ip = spec.load_balancer_ip();
  input.cluster_ip = spec.cluster_ip();
  input.cluster_ips.assign(spec.cluster_ips().begin(), spec.cluster_ips().end());
  input.external_ips.assign(spec.external_ips().begin(), spec.external_ips().end());
  input.ip_families.assign(spec.ip_families().begin(), spec.ip_families().end());
  input.ip_family_policy = spec.ip_family_policy();
  if (spec.has_allocate_load_balancer_node_ports()) {
    input.allocate_node_ports = spec.allocate_load_balancer_node_ports();
  }
  input.mode = spec.forwarding().mode();
  input.network = spec.forwarding().network();
  input.no_endpoints = spec.forwarding().no_endpoints();
  input.session_affinity = spec.session_affinity();
  input.external_traffic_policy = spec.external_traffic_policy();
  input.internal_traffic_policy = spec.internal_traffic_policy();
  input.has_affinity_config = spec.has_session_affinity_config();
  if (spec.session_affinity_config().client_ip().has_timeout_seconds()) {
    input.affinity_seconds = spec.session_affinity_config().client_ip().timeout_seconds();
  }
  input.udp_timer = spec.forwarding().timers().udp();
  input.tcp_established_timer = spec.forwarding().timers().tcp_established();
  input.tcp_transitory_timer = spec.forwarding().timers().tcp_transitory();
  input.mss_clamp = spec.forwarding().mss_clamp();
  input.drain_deadline = spec.forwarding().drain_deadline();
  input.on_endpoint_removal = spec.forwarding().on_endpoint_removal();
  input.delivery = spec.forwarding().delivery();
  input.delivery_reason = spec.forwarding().delivery_reason();
  input.load_balancer_class = spec.load_balancer_class();
  input.selector.insert(spec.selector().begin(), spec.selector().end());
  input.publish_not_ready = spec.publish_not_ready_addresses();
  input.external_name = spec.external_name();
  input.source_ranges.assign(spec.load_balancer_source_ranges().begin(),
                             spec.load_balancer_source_ranges().end());
  input.deny_source_ranges.assign(spec.forwarding().deny_source_ranges().begin(),
                                  spec.forwarding().deny_source_ranges().end());
  for (const v1::ServicePort& port : spec.ports()) {
    input.ports.push_back({port.name(), port.protocol(), port.port(), port.target_port(),
                           port.node_port(), port.app_protocol()});
  }
  input.endpoints.reserve(static_cast<std::size_t>(spec.endpoints_size()));
  for (const v1::Endpoint& endpoint : spec.endpoints()) {
    input.endpoints.push_back(to_input(endpoint));
  }
  input.later = later_fields(service);
  return input;
}

model::Identity to_identity(const v1::ObjectMeta& metadata) {
  model::Identity identity;
  identity.uid = metadata.uid();
  identity.resource_version = metadata.resource_version();
  if (metadata.has_creation_timestamp()) {
    // The gateway's are whole seconds; -1 is none of them.
    const auto& created = metadata.creation_timestamp();
    identity.created_seconds = created.nanos() == 0 ? created.seconds() : -1;
  }
  return identity;
}

model::ServiceName to_name(const v1::ServiceName& name) {
  return {name.namespace_().empty() ? "default" : name.namespace_(), name.name()};
}

void fill(const model::ServiceName& name, v1::ServiceName& message) {
  message.set_namespace_(name.space);
  message.set_name(name.name);
}

void fill(const runtime::ServiceView& view, v1::Service& message) {
  v1::ObjectMeta& metadata = *message.mutable_metadata();
  metadata.set_name(view.service.name.name);
  metadata.set_namespace_(view.service.name.space);
  metadata.mutable_labels()->insert(view.service.labels.begin(), view.service.labels.end());
  metadata.mutable_annotations()->insert(view.service.annotations.begin(),
                                         view.service.annotations.end());
  metadata.set_uid(view.uid);
  metadata.set_resource_version(std::to_string(view.revision));
  metadata.mutable_creation_timestamp()->set_seconds(view.created_seconds);
  fill_spec(view.service, *message.mutable_spec());
  fill_status(view, *message.mutable_status());
}

void fill(const runtime::ServiceView& view, v1::ServiceEntry& message) {
  message.set_provider(view.provider);
  fill(view, *message.mutable_service());
  v1::ServiceCounters& counters = *message.mutable_counters();
  counters.set_flows_active(view.totals.flows_active());
  counters.set_flows_opened(view.totals.flows_opened);
  counters.set_packets_in(view.totals.packets_in);
  counters.set_bytes_in(view.totals.bytes_in);
  counters.set_packets_out(view.totals.packets_out);
  counters.set_bytes_out(view.totals.bytes_out);
  counters.set_drops(view.totals.drops);
}

void fill(const runtime::ServiceReport& report, v1::ServiceReport& message) {
  fill(report.name, *message.mutable_name());
  message.set_reason(report.reason);
  message.set_message(report.message);
}

void fill(const runtime::ServiceView& view, v1::ListBackendsResponse& message) {
  for (const runtime::PortView& port : view.ports) {
    for (const runtime::EndpointView& seen : port.endpoints) {
      v1::Backend& backend = *message.add_backends();
      backend.set_provider(view.provider);
      fill(view.service.name, *backend.mutable_service());
      backend.set_service_port(port.name);
      backend.set_protocol(model::name_of_protocol(port.key.protocol));
      backend.set_address(to_string(seen.endpoint.address));
      backend.set_port(seen.endpoint.port);
      backend.set_weight(seen.endpoint.weight);
      backend.set_state(name_of(seen.endpoint));
      backend.set_reason(seen.endpoint.reason());
      backend.set_slot(seen.endpoint.slot);
      backend.set_flows_active(seen.totals.flows_active());
      backend.set_flows_opened(seen.totals.flows_opened);
      backend.set_packets_in(seen.totals.packets_in);
      backend.set_bytes_in(seen.totals.bytes_in);
      backend.set_packets_out(seen.totals.packets_out);
      backend.set_bytes_out(seen.totals.bytes_out);
    }
  }
}

std::string name_of(const model::CompiledEndpoint& endpoint) {
  switch (endpoint.state) {
    case BindingState::kActive:
      return "active";
    case BindingState::kDraining:
      return "draining";
    case BindingState::kRemoved:
      return "removed";
    case BindingState::kFree:
      break;
  }
  return "unused";
}

}  // namespace sluice::api
