// SPDX-License-Identifier: Apache-2.0
// describe service: all that is known about it, for people, as kubectl lays it out.
#include "controlplane/cli/session.h"
#include "controlplane/cli/views.h"

#include <fmt/format.h>

namespace sluice::cli {
namespace {

using Gateway = v1::Gateway::StubInterface;

constexpr std::size_t kColumn = 26;

void add(std::string& text, const std::string& name, const std::string& value) {
  text += fmt::format("{:<{}}{}\n", name + ":", kColumn, value.empty() ? "<none>" : value);
}

template <typename Pairs>
std::string pairs_of(const Pairs& pairs) {
  std::vector<std::string> parts;
  for (const auto& [key, value] : pairs) {
    parts.push_back(fmt::format("{}={}", key, value));
  }
  return join(parts);
}

template <typename Values>
std::string list_of(const Values& values) {
  return join({values.begin(), values.end()});
}

void add_ports(std::string& text, const v1::Service& service) {
  for (const v1::ServicePort& port : service.spec().ports()) {
    const std::string name = port.name().empty() ? "<unset>" : port.name();
    add(text, "Port", fmt::format("{}  {}/{}", name, port.port(), port.protocol()));
    add(text, "TargetPort", fmt::format("{}/{}", port.target_port(), port.protocol()));
    if (port.node_port() != 0) {
      add(text, "NodePort", fmt::format("{}  {}/{}", name, port.node_port(), port.protocol()));
    }
    std::string usable;
    std::string others;
    for (const v1::EndpointStatus& endpoint : service.status().endpoints()) {
      if (endpoint.service_port() != port.name()) {
        continue;
      }
      const bool ipv6 = endpoint.address().find(':') != std::string::npos;
      const std::string address = fmt::format("{}{}{}:{}", ipv6 ? "[" : "", endpoint.address(),
                                              ipv6 ? "]" : "", endpoint.port());
      if (endpoint.state() == "active") {
        usable += (usable.empty() ? "" : ",") + address;
      } else {
        others += fmt::format("{}{} ({})", others.empty() ? "" : ", ", address,
                              endpoint.reason().empty() ? endpoint.state() : endpoint.reason());
      }
    }
    add(text, "Endpoints", usable);
    if (!others.empty()) {
      add(text, "Not usable", others);
    }
  }
}

void add_conditions(std::string& text, const v1::ServiceStatus& status) {
  Table table{{"TYPE", "STATUS", "REASON", "MESSAGE"}, {}};
  for (const v1::Condition& condition : status.conditions()) {
    table.rows.push_back(
        {condition.type(), condition.status(), condition.reason(), condition.message()});
  }
  text += "Conditions:\n" + render(table);
}

}  // namespace

std::string describe_text(const v1::Service& service, const v1::ListEventsResponse& events,
                          Time now) {
  const v1::ServiceSpec& spec = service.spec();
  std::vector<std::string> ingress;
  for (const auto& each : service.status().load_balancer().ingress()) {
    ingress.push_back(each.ip());
  }
  std::string text;
  add(text, "Name", service.metadata().name());
  add(text, "Namespace", service.metadata().namespace_());
  add(text, "Labels", pairs_of(service.metadata().labels()));
  add(text, "Annotations", pairs_of(service.metadata().annotations()));
  add(text, "Selector", pairs_of(spec.selector()));
  add(text, "Type", spec.type());
  add(text, "IP Families", list_of(spec.ip_families()));
  add(text, "IPs", list_of(spec.cluster_ips()));
  add(text, "External IPs", list_of(spec.external_ips()));
  add(text, "LoadBalancer Ingress", join(ingress));
  add_ports(text, service);
  add(text, "Session Affinity", spec.session_affinity());
  add(text, "External Traffic Policy", spec.external_traffic_policy());
  add(text, "Internal Traffic Policy", spec.internal_traffic_policy());
  add(text, "Forwarding", service.status().forwarding_mode());
  if (!spec.forwarding().delivery().empty()) {
    add(text, "Delivery",
        fmt::format("{}: {}", spec.forwarding().delivery(), spec.forwarding().delivery_reason()));
  }
  add_conditions(text, service.status());
  if (events.events().empty()) {
    add(text, "Events", "");
  } else {
    text += "Events:\n" + render(table_of(events, now));
  }
  return text;
}

int describe(const Session& session) {
  int code = kOk;
  for (const std::string& name : session.options.names) {
    v1::GetServiceRequest request;
    request.set_provider(session.options.provider.value_or(""));
    request.mutable_name()->set_name(name);
    request.mutable_name()->set_namespace_(session.options.namespace_filter());
    v1::Service service;
    v1::ListEventsRequest about;
    about.set_provider(request.provider());
    *about.mutable_service() = request.name();
    v1::ListEventsResponse events;
    auto error = call(session, &Gateway::GetService, request, service);
    if (!error) {
      error = call(session, &Gateway::ListEvents, about, events);
    }
    if (error) {
      code = report(session, *error);
      continue;
    }
    session.out << describe_text(service, events, std::chrono::system_clock::now());
  }
  return code;
}

}  // namespace sluice::cli
