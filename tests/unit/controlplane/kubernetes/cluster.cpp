// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/controlplane/kubernetes/cluster.h"

#include "controlplane/api/convert.h"
#include "controlplane/model/allocate.h"
#include "controlplane/model/compile.h"
#include "controlplane/model/validate.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <gtest/gtest.h>

namespace sluice::kubernetes {
namespace {

std::string joined(const std::vector<std::string>& parts, const char* between = ", ") {
  std::string text;
  for (const std::string& part : parts) {
    text += (text.empty() ? "" : between) + part;
  }
  return text;
}

template <typename Texts>
std::string field(const char* name, const Texts& texts) {
  return texts.empty() ? ""
                       : std::string(" ") + name + "=" + joined({texts.begin(), texts.end()}, ",");
}

// As the gateway has it: an override, or what the service port says, or its own number.
int target_of(const v1::Endpoint& endpoint, const v1::ServicePort& port) {
  const auto own = endpoint.ports().find(port.name());
  if (own != endpoint.ports().end()) {
    return own->second;
  }
  return port.target_port() == 0 ? port.port() : port.target_port();
}

std::string marks_of(const v1::Endpoint& endpoint) {
  const v1::EndpointConditions& from = endpoint.conditions();
  const auto letter = [](bool has, bool value) { return !has ? "-" : value ? "T" : "F"; };
  const std::string marks = std::string(letter(from.has_ready(), from.ready())) +
                            letter(from.has_serving(), from.serving()) +
                            letter(from.has_terminating(), from.terminating());
  return (marks == "TTF" || marks == "---" ? "" : "[" + marks + "]") +
         (endpoint.has_weight() ? "*" + std::to_string(endpoint.weight()) : "");
}

model::Service validated(const v1::Service& service, model::Faults& faults) {
  return model::validate(api::to_input(service), "s", faults);
}

}  // namespace

IpAddress ip(const std::string& text) {
  return parse_ip(text).value();
}

const std::string* kept(std::string_view name) {
  static Names names;
  return names.intern(name);
}

SliceEndpoint endpoint(const std::string& address, const State& state, std::string_view node) {
  SliceEndpoint made;
  made.address = ip(address);
  made.ready = state.ready;
  made.serving = state.serving;
  made.terminating = state.terminating;
  made.node_name = kept(node);
  return made;
}

SliceEndpoint hinted(const std::string& address, std::string_view zones, const State& state) {
  SliceEndpoint made = endpoint(address, state);
  made.hinted_zones = kept(zones);
  return made;
}

std::shared_ptr<const EndpointSlice> slice(std::vector<SlicePort> ports,
                                           std::vector<SliceEndpoint> endpoints) {
  EndpointSlice made;
  made.name = {"shop", "web-1"};
  made.service = "web";
  made.ports = std::move(ports);
  made.endpoints = std::move(endpoints);
  return std::make_shared<const EndpointSlice>(std::move(made));
}

Node node(const std::string& name, const std::vector<std::string>& internal_ips) {
  Node made;
  made.meta.name = {"", name};
  for (const std::string& address : internal_ips) {
    made.internal_ips.push_back(ip(address));
  }
  return made;
}

Service service() {
  Service made;
  made.meta.name = {"shop", "web"};
  made.meta.uid = "u1";
  made.type = "LoadBalancer";
  made.cluster_ips = {"10.96.0.10"};
  made.ip_families = {"IPv4"};
  made.ip_family_policy = "SingleStack";
  made.load_balancer_class = kLoadBalancerClass;
  made.ports = {{"http", "TCP", 80, 30'080, ""}, {"dns", "UDP", 53, 30'053, ""}};
  made.session_affinity = "None";
  made.external_traffic_policy = "Cluster";
  made.internal_traffic_policy = "Cluster";
  return made;
}

Cluster::Cluster() : service(kubernetes::service()), vips{ip("203.0.113.10")} {
  settings.external_ips = {*model::parse_address_range("192.0.2.0/24"),
                           *model::parse_address_range("2001:db8::/32")};
  set_endpoints({endpoint("10.0.0.1", kReady, "a"), endpoint("10.0.0.2", kReady, "b")});
  nodes.emplace("a", node("a", {"192.168.0.1"}));
  nodes.emplace("b", node("b", {"192.168.0.2"}));
}

Translation Cluster::translated() const {
  return translate(service, slices,
                   {.nodes = nodes,
                    .routes = routes ? &*routes : nullptr,
                    .health = &health,
                    .loses_clients = loses_clients},
                   vips, settings);
}

NodeHealth::State Health::kube_proxy(const std::string& node) const {
  const auto at = proxies.find(node);
  return at == proxies.end() ? State::kUnknown : at->second;
}

NodeHealth::State Health::local(const std::string& node, const ServiceName& service) const {
  const auto at = locals.find(node);
  return at == locals.end() || service != ServiceName{"shop", "web"} ? State::kUnknown : at->second;
}

void Cluster::set_endpoints(std::vector<SliceEndpoint> endpoints) {
  slices = {slice({{"http", "TCP", 8'080}, {"dns", "UDP", 5'353}}, std::move(endpoints))};
}

void Cluster::annotate(const std::string& key, const std::string& value) {
  service.meta.annotations[key] = value;
}

void Cluster::become(const std::string& type) {
  service.type = type;
  service.load_balancer_class.reset();
  vips.clear();
  if (type != "NodePort") {
    service.external_traffic_policy.clear();
    for (ServicePort& port : service.ports) {
      port.node_port = 0;
    }
  }
}

void Cluster::expose_name() {
  become("ExternalName");
  service.external_name = "api.example.com";
  service.cluster_ips.clear();
  service.ip_families.clear();
  service.ip_family_policy.clear();
  service.internal_traffic_policy.clear();
  annotate(model::kExposeExternalNameAnnotation, "true");
  slices.clear();
  vips = {ip("203.0.113.10")};
}

void expect_rows(const std::vector<Row>& rows, const Read& read) {
  for (const Row& row : rows) {
    SCOPED_TRACE(row.claim);
    Cluster cluster;
    row.change(cluster);
    const Translation made = cluster.translated();
    EXPECT_EQ(read(made), row.expected);
    if (made.service) {
      EXPECT_EQ(faults_at_gateway(*made.service), "") << made.service->ShortDebugString();
    }
  }
}

std::string fate(const Translation& made) {
  return made.service ? "served" : "none: " + made.why_not;
}

std::string reach(const Translation& made) {
  if (!made.service) {
    return fate(made);
  }
  const v1::ServiceSpec& spec = made.service->spec();
  return spec.type() + field("vips", spec.load_balancer_ips()) +
         field("external", spec.external_ips()) + field("cluster", spec.cluster_ips());
}

std::string ports(const Translation& made) {
  if (!made.service) {
    return fate(made);
  }
  std::vector<std::string> parts;
  for (const v1::ServicePort& port : made.service->spec().ports()) {
    parts.push_back(port.name() + " " + std::to_string(port.port()) + "/" + port.protocol() +
                    (port.node_port() == 0 ? "" : " " + std::to_string(port.node_port())) +
                    (port.app_protocol().empty() ? "" : " (" + port.app_protocol() + ")"));
  }
  return joined(parts);
}

std::string findings(const Translation& made) {
  std::vector<std::string> parts;
  for (const Finding& finding : made.findings) {
    parts.push_back(finding.reason + ": " + finding.message);
  }
  return joined(parts, "; ");
}

std::string reasons(const Translation& made) {
  std::vector<std::string> parts;
  for (const Finding& finding : made.findings) {
    parts.push_back(finding.reason);
  }
  for (const PortError& error : made.port_errors) {
    parts.push_back(std::to_string(error.port) + "/" + error.protocol + " " + error.error);
  }
  return joined(parts);
}

std::string behind(const Translation& made) {
  if (!made.service) {
    return fate(made);
  }
  std::vector<std::string> parts;
  for (const v1::ServicePort& port : made.service->spec().ports()) {
    std::vector<std::string> targets;
    for (const v1::Endpoint& endpoint : made.service->spec().endpoints()) {
      if (const int target = target_of(endpoint, port); target != 0) {
        targets.push_back(to_string(ip(endpoint.addresses(0)), static_cast<std::uint16_t>(target)) +
                          marks_of(endpoint));
      }
    }
    parts.push_back(port.name() + " " + joined(targets));
  }
  return joined(parts, "; ");
}

std::string chosen(const Translation& made) {
  if (!made.service) {
    return fate(made);
  }
  model::Faults faults;
  const model::Service service = validated(*made.service, faults);
  std::vector<std::string> parts;
  for (const model::ServicePortSpec& port : service.ports) {
    std::vector<std::string> targets;
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
      std::vector<const model::Endpoint*> members;
      std::vector<std::uint16_t> numbers;
      for (const model::Endpoint& each : service.endpoints) {
        const auto own = each.ports.find(port.name);
        const std::uint16_t number = own == each.ports.end() ? port.target_port : own->second;
        if (each.address.family == family && number != 0) {
          members.push_back(&each);
          numbers.push_back(number);
        }
      }
      const std::vector<model::Chosen> choice = model::choose_endpoints(members, service.choice);
      for (std::size_t i = 0; i < members.size(); ++i) {
        if (choice[i].active) {
          targets.push_back(sluice::to_string(members[i]->address, numbers[i]));
        }
      }
    }
    parts.push_back(port.name + " " + joined(targets));
  }
  return joined(parts, "; ");
}

std::string serialized(const v1::Service& service) {
  std::string text;
  google::protobuf::io::StringOutputStream out(&text);
  google::protobuf::io::CodedOutputStream coded(&out);
  coded.SetSerializationDeterministic(true);
  service.SerializeToCodedStream(&coded);
  coded.Trim();
  return text;
}

std::string faults_at_gateway(const v1::Service& service) {
  model::Faults faults;
  validated(service, faults);
  std::vector<std::string> parts;
  for (const auto* kind : {&faults.invalid, &faults.unimplemented}) {
    for (const auto& fault : *kind) {
      parts.push_back(fault.path + ": " + fault.message);
    }
  }
  return joined(parts, "\n");
}

}  // namespace sluice::kubernetes
