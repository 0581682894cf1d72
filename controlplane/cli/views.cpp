// SPDX-License-Identifier: Apache-2.0
#include "controlplane/cli/views.h"

#include <fmt/format.h>

#include <algorithm>

namespace sluice::cli {
namespace {

std::string number(std::uint64_t value) {
  return std::to_string(value);
}

void append(Row& row, Row more) {
  std::move(more.begin(), more.end(), std::back_inserter(row));
}

std::string namespace_of(const std::string& name_space) {
  return name_space.empty() ? "default" : name_space;
}

void add_distinct(std::vector<std::string>& parts, const std::string& part) {
  if (!part.empty() && std::find(parts.begin(), parts.end(), part) == parts.end()) {
    parts.push_back(part);
  }
}

bool is_pending(const v1::Service& service) {
  const auto& conditions = service.status().conditions();
  return std::any_of(conditions.begin(), conditions.end(), [](const v1::Condition& condition) {
    return condition.type() == "AddressesAssigned" && condition.status() == "False";
  });
}

std::string cluster_ip_of(const v1::Service& service) {
  const v1::ServiceSpec& spec = service.spec();
  return spec.cluster_ips().empty() ? "<none>" : spec.cluster_ips(0);
}

// VIPs, then external addresses.
std::string external_ips_of(const v1::Service& service) {
  std::vector<std::string> addresses;
  for (const auto& ingress : service.status().load_balancer().ingress()) {
    add_distinct(addresses, ingress.ip());
  }
  if (addresses.empty() && service.spec().type() == "LoadBalancer") {
    for (const std::string& address : service.spec().load_balancer_ips()) {
      add_distinct(addresses, address);
    }
  }
  for (const std::string& address : service.spec().external_ips()) {
    add_distinct(addresses, address);
  }
  if (!addresses.empty()) {
    return join(addresses);
  }
  return service.spec().type() == "LoadBalancer" && is_pending(service) ? "<pending>" : "<none>";
}

std::string ports_of(const v1::Service& service) {
  std::vector<std::string> ports;
  for (const auto& port : service.spec().ports()) {
    const std::string node = port.node_port() == 0 ? "" : fmt::format(":{}", port.node_port());
    ports.push_back(fmt::format("{}{}/{}", port.port(), node,
                                port.protocol().empty() ? "TCP" : port.protocol()));
  }
  return join(ports);
}

std::string backends_of(const v1::Service& service) {
  const auto& endpoints = service.status().endpoints();
  const auto active = std::count_if(endpoints.begin(), endpoints.end(), [](const auto& endpoint) {
    return endpoint.state() == "active";
  });
  const int total = endpoints.empty() ? service.spec().endpoints_size() : endpoints.size();
  return fmt::format("{}/{}", active, total);
}

std::string why_not_served(const v1::Service& service) {
  for (const auto& frontend : service.status().frontends()) {
    if (!frontend.served() && !frontend.reason().empty()) {
      return frontend.reason();
    }
  }
  for (const auto& condition : service.status().conditions()) {
    if (condition.status() == "False") {
      return condition.message().empty() ? condition.reason() : condition.message();
    }
  }
  return {};
}

std::string state_of(const v1::Service& service) {
  const auto& frontends = service.status().frontends();
  const auto served = std::count_if(frontends.begin(), frontends.end(),
                                    [](const auto& frontend) { return frontend.served(); });
  if (served != 0 && served == frontends.size()) {
    return "Serving";
  }
  const std::string state =
      served == 0 ? "NotServed" : fmt::format("Serving {} of {}", served, frontends.size());
  const std::string reason = why_not_served(service);
  return reason.empty() ? state : fmt::format("{}: {}", state, reason);
}

std::string age_of(const google::protobuf::Timestamp& created, Time now) {
  if (created.seconds() == 0) {
    return {};
  }
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch());
  return duration_text(seconds - std::chrono::seconds(created.seconds()));
}

// The provider's own word for it, and why.
std::string delivery_of(const v1::Service& service) {
  const v1::Forwarding& forwarding = service.spec().forwarding();
  if (forwarding.delivery().empty()) {
    return "<none>";
  }
  return forwarding.delivery_reason().empty()
             ? forwarding.delivery()
             : fmt::format("{} ({})", forwarding.delivery(), forwarding.delivery_reason());
}

Row traffic_header() {
  return {"PACKETS-IN", "BYTES-IN", "PACKETS-OUT", "BYTES-OUT"};
}

template <typename Counters>
Row traffic_of(const Counters& counters) {
  return {number(counters.packets_in()), number(counters.bytes_in()),
          number(counters.packets_out()), number(counters.bytes_out())};
}

std::string link_of(const v1::Port& port) {
  if (!port.link_up()) {
    return "down";
  }
  return port.speed_mbps() == 0 ? "up" : fmt::format("up {}M", port.speed_mbps());
}

std::string joined(const google::protobuf::RepeatedPtrField<std::string>& parts) {
  return join({parts.begin(), parts.end()});
}

void add_line(std::string& text, std::string_view name, const std::string& value) {
  if (!value.empty()) {
    text += render({fmt::format("{}:", name), value}, {14, 0});
  }
}

// What the device was asked for and took, or did not, with its answer.
std::string requests_of(const v1::Port& port, bool accepted) {
  std::vector<std::string> words;
  for (const v1::NicRequest& request : port.requests()) {
    if (request.accepted() == accepted) {
      words.push_back(request.answer().empty()
                          ? request.what()
                          : fmt::format("{} ({})", request.what(), request.answer()));
    }
  }
  return join(words);
}

// Of the device's first hashes, how many are software's.
std::string hashes_of(const v1::Port& port) {
  const std::uint64_t all = port.hashes_equal() + port.hashes_different();
  return all == 0 ? "" : fmt::format("{}/{}", port.hashes_equal(), all);
}

}  // namespace

std::string text_of(const v1::ServiceName& name) {
  return name.namespace_().empty() || name.namespace_() == "default"
             ? name.name()
             : fmt::format("{}/{}", name.namespace_(), name.name());
}

ServiceColumns service_columns(const Options& options) {
  return {options.output == Output::kWide, options.all_namespaces};
}

Row service_header(ServiceColumns columns) {
  Row row = columns.namespaces ? Row{"NAMESPACE"} : Row{};
  append(row, {"NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE", "BACKENDS"});
  if (columns.wide) {
    append(row, {"PROVIDER", "FLOWS", "OPENED"});
    append(row, traffic_header());
    append(row, {"DROPS", "MODE", "DELIVERY", "REVISION", "EPOCH"});
  }
  row.emplace_back("STATE");
  return row;
}

Row service_row(const v1::ServiceEntry& entry, ServiceColumns columns, Time now) {
  const v1::Service& service = entry.service();
  const auto& meta = service.metadata();
  Row row = columns.namespaces ? Row{namespace_of(meta.namespace_())} : Row{};
  append(row, {meta.name(), service.spec().type().empty() ? "ClusterIP" : service.spec().type(),
               cluster_ip_of(service), external_ips_of(service), ports_of(service),
               age_of(meta.creation_timestamp(), now), backends_of(service)});
  if (columns.wide) {
    const std::string& mode = service.status().forwarding_mode();
    append(row, {entry.provider(), number(entry.counters().flows_active()),
                 number(entry.counters().flows_opened())});
    append(row, traffic_of(entry.counters()));
    append(row, {number(entry.counters().drops()), mode.empty() ? "FULL_NAT" : mode,
                 delivery_of(service), number(service.status().revision()),
                 number(service.status().epoch())});
  }
  row.push_back(state_of(service));
  if (entry.has_report()) {
    row.back() += fmt::format("; {}: {}", entry.report().reason(), entry.report().message());
  }
  return row;
}

// One that the gateway has not been asked to serve; all that is known is why.
Row unserved_row(const v1::ServiceEntry& entry, ServiceColumns columns, std::size_t size) {
  const auto& meta = entry.service().metadata();
  Row row(size, "<none>");
  std::size_t at = 0;
  if (columns.namespaces) {
    row[at++] = namespace_of(meta.namespace_());
  }
  row[at] = meta.name();
  if (columns.wide) {
    row[at + 7] = entry.provider();
  }
  row.back() = fmt::format("NotServed: {}: {}", entry.report().reason(), entry.report().message());
  return row;
}

Table table_of(const v1::ListServicesResponse& response, ServiceColumns columns, Time now) {
  Table table{service_header(columns), {}};
  for (const auto& entry : response.services()) {
    table.rows.push_back(service_row(entry, columns, now));
  }
  for (const auto& entry : response.unserved()) {
    table.rows.push_back(unserved_row(entry, columns, table.header.size()));
  }
  return table;
}

Table table_of(const v1::ListBackendsResponse& response, bool wide) {
  Table table{{"NAMESPACE", "SERVICE", "PORT", "BACKEND", "WEIGHT", "STATE", "FLOWS", "OPENED"},
              {}};
  if (wide) {
    append(table.header, traffic_header());
    append(table.header, {"SLOT", "PROVIDER"});
  }
  table.header.emplace_back("REASON");
  for (const auto& backend : response.backends()) {
    const bool is_ipv6 = backend.address().find(':') != std::string::npos;
    Row row = {namespace_of(backend.service().namespace_()),
               backend.service().name(),
               backend.service_port().empty()
                   ? backend.protocol()
                   : fmt::format("{}/{}", backend.service_port(), backend.protocol()),
               is_ipv6 ? fmt::format("[{}]:{}", backend.address(), backend.port())
                       : fmt::format("{}:{}", backend.address(), backend.port()),
               number(backend.weight()),
               backend.state(),
               number(backend.flows_active()),
               number(backend.flows_opened())};
    if (wide) {
      append(row, traffic_of(backend));
      append(row, {number(backend.slot()), backend.provider()});
    }
    row.push_back(backend.reason());
    table.rows.push_back(std::move(row));
  }
  return table;
}

Table table_of(const v1::ListPortsResponse& response, bool wide) {
  Table table{{"NAME", "LINK", "MTU", "MAC", "TWIN", "DEVICE", "RX", "TX", "MISSED", "TX-DROPPED"},
              {}};
  if (wide) {
    append(table.header,
           {"DRIVER", "RX-BYTES", "TX-BYTES", "RX-ERRORS", "TX-ERRORS", "PUNTED", "INJECTED",
            "OFFLOADS", "LINK-CHANGES", "HASHES", "ACCEPTED", "REFUSED", "RP-FILTER"});
  }
  table.header.emplace_back("STEERING");
  for (const auto& port : response.ports()) {
    Row row = {port.name(),
               link_of(port),
               number(port.mtu()),
               port.mac(),
               port.twin(),
               port.device(),
               number(port.rx_packets()),
               number(port.tx_packets()),
               number(port.rx_missed()),
               number(port.tx_dropped())};
    if (wide) {
      append(row, {port.driver(), number(port.rx_bytes()), number(port.tx_bytes()),
                   number(port.rx_errors()), number(port.tx_errors()), number(port.punted()),
                   number(port.injected()), joined(port.offloads()), number(port.link_changes()),
                   hashes_of(port), requests_of(port, true), requests_of(port, false),
                   number(port.rp_filter())});
    }
    row.push_back(port.steering());
    table.rows.push_back(std::move(row));
  }
  return table;
}

Table table_of(const v1::ListFlowsResponse& response, bool wide) {
  Table table{
      {"SERVICE", "PROTOCOL", "CLIENT", "FRONTEND", "SNAT", "BACKEND", "STATE", "IDLE", "EXPIRES"},
      {}};
  if (wide) {
    append(table.header, traffic_header());
    append(table.header, {"LCORE", "PROVIDER"});
  }
  for (const auto& flow : response.flows()) {
    Row row = {text_of(flow.service()),
               flow.protocol(),
               flow.client(),
               flow.frontend(),
               flow.snat(),
               flow.backend(),
               flow.state(),
               duration_text(std::chrono::seconds(flow.idle_seconds())),
               duration_text(std::chrono::seconds(flow.expires_seconds()))};
    if (wide) {
      append(row, traffic_of(flow));
      append(row, {number(flow.lcore()), flow.provider()});
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

Table table_of(const v1::ListDropsResponse& response, bool wide) {
  Table table{{"REASON", "PACKETS", "ANSWERED", "DESCRIPTION"}, {}};
  for (const auto& drop : response.drops()) {
    if (wide || drop.packets() != 0) {
      table.rows.push_back(
          {drop.reason(), number(drop.packets()), number(drop.answered()), drop.description()});
    }
  }
  return table;
}

Table table_of(const v1::ListAddressPoolsResponse& response) {
  Table table{{"NAME", "ADDRESSES", "IN-USE", "AUTO-ASSIGN"}, {}};
  for (const auto& pool : response.pools()) {
    table.rows.push_back({pool.name(), joined(pool.addresses()), number(pool.in_use()),
                          pool.auto_assign() ? "yes" : "no"});
  }
  return table;
}

// The age is the last time's, and of how many since when.
Table table_of(const v1::ListEventsResponse& response, Time now) {
  Table table{{"TYPE", "REASON", "AGE", "SERVICE", "MESSAGE"}, {}};
  for (const auto& event : response.events()) {
    const std::string age = age_of(event.last_seen(), now);
    table.rows.push_back(
        {event.type(), event.reason(),
         event.count() < 2
             ? age
             : fmt::format("{} (x{} over {})", age, event.count(), age_of(event.first_seen(), now)),
         event.has_service() ? text_of(event.service()) : "<none>", event.message()});
  }
  return table;
}

std::string text_of(const v1::GatewayStatus& status, Time now) {
  std::string text;
  add_line(text, "Gateway", status.name());
  add_line(text, "Version", status.version());
  add_line(text, "Up", age_of(status.started(), now));
  add_line(text, "Role", status.draining() ? status.role() + ", draining" : status.role());
  if (status.address_conflicts() != 0) {
    add_line(text, "Conflicts",
             fmt::format("{} claims of our addresses by others; see get events",
                         status.address_conflicts()));
  }
  add_line(text, "Epoch", number(status.epoch()));
  add_line(text, "Services", number(status.services()));
  add_line(text, "Backends", number(status.backends()));
  add_line(text, "Next hops", number(status.next_hops()));
  add_line(text, "Routes", number(status.routes()));
  add_line(text, "Publishing",
           status.publish_max_ns() == 0
               ? std::string("nothing published yet")
               : fmt::format("p50 {}, p99 {}, max {} (last 1,000 transactions)",
                             nanoseconds_text(status.publish_p50_ns()),
                             nanoseconds_text(status.publish_p99_ns()),
                             nanoseconds_text(status.publish_max_ns())));
  add_line(text, "Idle lcore", status.idle());
  Table table{{"LCORE", "EPOCH", "PACKETS", "FLOWS-IPV4", "FLOWS-IPV6", "HALF-OPEN", "EVICTED",
               "HELD", "FRAGMENTS", "HANDED-OVER", "BUSY"},
              {}};
  for (const auto& lcore : status.lcores()) {
    const auto of_max = [](std::uint64_t flows, std::uint64_t flows_max) {
      return flows_max == 0 ? number(flows) : fmt::format("{} of {}", flows, flows_max);
    };
    table.rows.push_back(
        {number(lcore.lcore()), number(lcore.epoch_seen()), number(lcore.packets()),
         of_max(lcore.flows_ipv4(), status.flows_ipv4_max()),
         of_max(lcore.flows_ipv6(), status.flows_ipv6_max()), number(lcore.half_open()),
         number(lcore.half_open_evicted() + lcore.ended_evicted()), number(lcore.held_packets()),
         number(lcore.held_fragments()), number(lcore.handed_over()),
         lcore.stalled() ? std::string("STALLED")
                         : fmt::format("{:.1f}%", lcore.busy_permille() / 10.0)});
  }
  text += '\n';
  text += render(table);
  return text;
}

std::string text_of(const v1::ExplainResponse& response) {
  std::string text;
  add_line(text, "Verdict",
           response.drop_reason().empty()
               ? response.verdict()
               : fmt::format("{}: {}", response.verdict(), response.drop_reason()));
  add_line(text, "Flow",
           response.live_flow() ? fmt::format("live{}{}", response.flow_state().empty() ? "" : ", ",
                                              response.flow_state())
                                : std::string("none yet; this is what a new one gets"));
  add_line(text, "Direction", response.direction());
  if (!response.service().name().empty()) {
    add_line(text, "Service",
             fmt::format("{}{}{} (provider {})", text_of(response.service()),
                         response.service_port().empty() ? "" : ", port ", response.service_port(),
                         response.provider()));
  }
  add_line(text, "Frontend", response.frontend());
  add_line(text, "Backend",
           response.backend_state().empty()
               ? response.backend()
               : fmt::format("{} ({})", response.backend(), response.backend_state()));
  const bool is_new = response.snat().empty() && !response.live_flow();
  add_line(text, "SNAT",
           is_new && !response.backend().empty() ? "chosen when the flow opens" : response.snat());
  add_line(text, "Lcore", number(response.lcore()));
  add_line(text, "Next hop", response.next_hop());
  if (!response.steps().empty()) {
    text += "Steps:\n";
    for (const std::string& step : response.steps()) {
      text += fmt::format("  {}", render({step}, {}));
    }
  }
  return text;
}

}  // namespace sluice::cli
