// SPDX-License-Identifier: Apache-2.0
// The handlers that look into the dataplane: ports, flows, drops, status, explain.
#include "controlplane/api/convert.h"
#include "controlplane/api/error.h"
#include "controlplane/api/gateway_service.h"
#include "dataplane/net/headers.h"

#include <charconv>

namespace sluice::api {
namespace {

constexpr std::uint32_t kFlowsDefault = 1'000;
constexpr std::uint32_t kFlowsMax = 100'000;

std::string text_of(const SocketAddress& at) {
  return to_string(at.address, at.port);
}

// "ADDRESS", "ADDRESS:PORT", "[V6]:PORT".
std::optional<SocketAddress> parse_socket_address(const std::string& text) {
  if (const auto address = parse_ip(text)) {
    return SocketAddress{*address, 0};
  }
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos) {
    return std::nullopt;
  }
  std::string host = text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  const auto address = parse_ip(host);
  std::uint16_t port = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data() + colon + 1, end, port);
  if (!address || error != std::errc{} || stop != end) {
    return std::nullopt;
  }
  return SocketAddress{*address, port};
}

model::Result<ExplainQuery> to_query(const v1::ExplainRequest& request,
                                     const model::Config& config) {
  model::Faults faults;
  ExplainQuery query;
  const auto source = parse_socket_address(request.source());
  const auto destination = parse_socket_address(request.destination());
  if (!source) {
    faults.add("source", "'" + request.source() + "' is not ADDRESS or ADDRESS:PORT");
  }
  if (!destination) {
    faults.add("destination", "'" + request.destination() + "' is not ADDRESS or ADDRESS:PORT");
  }
  if (source && destination && source->address.family != destination->address.family) {
    faults.add("destination", "source and destination are of two families");
  }
  if (request.protocol() == "UDP") {
    query.protocol = kProtocolUdp;
  } else if (request.protocol().empty() || request.protocol() == "TCP") {
    query.protocol = kProtocolTcp;
  } else {
    faults.add("protocol", "'" + request.protocol() + "' is not a protocol; use TCP or UDP");
  }
  bool found = request.port().empty();
  for (std::size_t i = 0; i < config.ports.size(); ++i) {
    if (config.ports[i].name == request.port()) {
      query.port = static_cast<std::uint8_t>(i);
      found = true;
    }
  }
  if (!found) {
    faults.add("port", "there is no port '" + request.port() + "'; see get ports");
  }
  if (!faults.empty()) {
    return faults.to_error();
  }
  query.source = *source;
  query.destination = *destination;
  return query;
}

// Not DEADLINE_EXCEEDED: that would say that the gateway did not answer.
grpc::Status no_answer() {
  return to_status({.code = model::Code::kResourceExhausted,
                    .message = "an lcore did not answer within " +
                               std::to_string(Dataplane::kPatience.count()) +
                               " s; try again, and see the turns of the lcores in status"});
}

const char* name_of(Explanation::Verdict verdict) {
  switch (verdict) {
    case Explanation::Verdict::kForward:
      return "forward";
    case Explanation::Verdict::kDrop:
      return "drop";
    case Explanation::Verdict::kAnswer:
      return "answer";
    case Explanation::Verdict::kPunt:
      return "punt";
    case Explanation::Verdict::kHold:
      return "hold";
  }
  return "";
}

// The filters of a list or deletion that say something by themselves.
template <typename Request>
FlowFilter address_filter(const Request& request, model::Faults& faults) {
  FlowFilter filter;
  const auto address = [&](const std::string& text, const char* field) -> std::optional<IpAddress> {
    const auto parsed = parse_ip(text);
    if (!text.empty() && !parsed) {
      faults.add(field, "'" + text + "' is not an IP address");
    }
    return parsed;
  };
  filter.client = address(request.client(), "client");
  filter.backend = address(request.backend(), "backend");
  if (!request.state().empty()) {
    for (const FlowStateFacts& facts : kFlowStates) {
      if (facts.name == request.state() && facts.state != FlowState::kFree &&
          facts.state != FlowState::kQuarantine) {
        filter.state = facts.state;
      }
    }
    if (!filter.state) {
      faults.add("state", "'" + request.state() + "' is not a state of a flow; use udp, " +
                              "half_open, established, closing, time_wait or reset");
    }
  }
  return filter;
}

}  // namespace

// Adds whose flows they are; nothing when there is no such service.
std::optional<FlowFilter> GatewayService::service_filter(const std::string& provider,
                                                         const v1::ServiceName& service,
                                                         FlowFilter filter) {
  model::ServiceName name{service.namespace_(), service.name()};
  if (name.space.empty() && !name.name.empty()) {
    name.space = "default";
  }
  if (!provider.empty() || !name.space.empty() || !name.name.empty()) {
    filter.service_ports = reconciler_.service_ports(provider, name);
    if (filter.service_ports.empty()) {
      return std::nullopt;
    }
  }
  return filter;
}

grpc::Status GatewayService::DeleteFlows(grpc::ServerContext* /*context*/,
                                         const v1::DeleteFlowsRequest* request,
                                         v1::DeleteFlowsResponse* response) {
  model::Faults faults;
  FlowFilter asked = address_filter(*request, faults);
  const bool filtered = !request->provider().empty() || !request->client().empty() ||
                        !request->backend().empty() || !request->state().empty() ||
                        !request->service().namespace_().empty() ||
                        !request->service().name().empty();
  if (filtered == request->all()) {
    faults.add("all", filtered ? "it excludes every filter; leave one of them out"
                               : "no filter is given; give one, or all to end every flow");
  }
  if (!faults.empty()) {
    return to_status(faults.to_error());
  }
  const auto filter = service_filter(request->provider(), request->service(), std::move(asked));
  if (!filter) {
    return grpc::Status::OK;
  }
  const auto deleted = inspector_.delete_flows(*filter);
  if (!deleted) {
    return no_answer();
  }
  response->set_deleted(*deleted);
  return grpc::Status::OK;
}

grpc::Status GatewayService::ListPorts(grpc::ServerContext* /*context*/,
                                       const v1::ListPortsRequest* /*request*/,
                                       v1::ListPortsResponse* response) {
  for (const PortState& state : inspector_.ports()) {
    v1::Port& port = *response->add_ports();
    port.set_name(state.name);
    port.set_device(state.device);
    port.set_driver(state.driver);
    port.set_mac(to_string(state.mac));
    port.set_link_up(state.link_up);
    port.set_speed_mbps(state.speed_mbps);
    port.set_mtu(state.mtu);
    port.set_twin(state.twin);
    port.set_steering(state.steering);
    port.set_rx_packets(state.rx_packets);
    port.set_rx_bytes(state.rx_bytes);
    port.set_tx_packets(state.tx_packets);
    port.set_tx_bytes(state.tx_bytes);
    port.set_rx_missed(state.rx_missed);
    port.set_rx_errors(state.rx_errors);
    port.set_tx_errors(state.tx_errors);
    port.set_tx_dropped(state.tx_dropped);
    port.set_punted(state.punted);
    port.set_injected(state.injected);
    for (const std::string& offload : state.offloads) {
      port.add_offloads(offload);
    }
    for (const NicRequest& request : state.requests) {
      v1::NicRequest& told = *port.add_requests();
      told.set_what(request.what);
      told.set_accepted(request.accepted);
      told.set_answer(request.answer);
    }
    port.set_hashes_equal(state.hashes_equal);
    port.set_hashes_different(state.hashes_different);
    port.set_link_changes(state.link_changes);
    if (!state.twin.empty()) {
      port.set_rp_filter(runtime::rp_filter_of(state.twin));
    }
  }
  return grpc::Status::OK;
}

grpc::Status GatewayService::ListFlows(grpc::ServerContext* /*context*/,
                                       const v1::ListFlowsRequest* request,
                                       v1::ListFlowsResponse* response) {
  model::Faults faults;
  FlowFilter asked = address_filter(*request, faults);
  if (request->limit() > kFlowsMax) {
    faults.add("limit", std::to_string(request->limit()) + " is more than 100000");
  }
  if (!faults.empty()) {
    return to_status(faults.to_error());
  }
  const auto filter = service_filter(request->provider(), request->service(), std::move(asked));
  if (!filter) {
    return grpc::Status::OK;
  }
  bool truncated = false;
  const std::uint32_t limit = request->limit() == 0 ? kFlowsDefault : request->limit();
  const auto rows = inspector_.flows(*filter, limit, &truncated);
  if (!rows) {
    return no_answer();
  }
  std::vector<std::uint32_t> ids;
  for (const FlowRow& row : *rows) {
    ids.push_back(row.service_port);
  }
  const auto owners = reconciler_.owners_of(ids);
  for (const FlowRow& row : *rows) {
    v1::Flow& flow = *response->add_flows();
    const auto owner = owners.find(row.service_port);
    if (owner != owners.end()) {
      flow.set_provider(owner->second.provider);
      fill(owner->second.name, *flow.mutable_service());
    }
    flow.set_protocol(model::name_of_protocol(row.protocol));
    flow.set_client(text_of(row.client));
    flow.set_frontend(text_of(row.frontend));
    flow.set_snat(text_of(row.snat));
    flow.set_backend(text_of(row.backend));
    flow.set_state(row.state);
    flow.set_lcore(row.lcore);
    flow.set_idle_seconds(row.idle_ms / 1000);
    flow.set_expires_seconds(row.expires_ms / 1000);
    flow.set_packets_in(row.packets_in);
    flow.set_bytes_in(row.bytes_in);
    flow.set_packets_out(row.packets_out);
    flow.set_bytes_out(row.bytes_out);
  }
  response->set_truncated(truncated);
  return grpc::Status::OK;
}

grpc::Status GatewayService::ListDrops(grpc::ServerContext* /*context*/,
                                       const v1::ListDropsRequest* /*request*/,
                                       v1::ListDropsResponse* response) {
  const runtime::Inspector::Drops drops = inspector_.drops();
  for (const DropName& known : kDropNames) {
    if (known.drop == Drop::kNone) {
      continue;
    }
    v1::Drop& drop = *response->add_drops();
    drop.set_reason(std::string(known.name));
    drop.set_description(std::string(known.description));
    drop.set_packets(drops.packets[static_cast<std::size_t>(known.drop)]);
    drop.set_answered(drops.answered[static_cast<std::size_t>(known.drop)]);
  }
  return grpc::Status::OK;
}

grpc::Status GatewayService::GetStatus(grpc::ServerContext* /*context*/,
                                       const v1::GetStatusRequest* /*request*/,
                                       v1::GatewayStatus* response) {
  const runtime::StatusView view = reconciler_.status();
  response->set_name(name_);
  response->set_version(version_);
  response->mutable_started()->set_seconds(started_seconds_);
  response->set_role(view.standing.standby ? "standby" : "active");
  response->set_draining(view.standing.draining);
  response->set_address_conflicts(view.address_conflicts);
  response->set_epoch(view.epoch);
  response->set_services(view.services);
  response->set_backends(view.backends);
  response->set_next_hops(view.next_hops);
  response->set_routes(view.routes);
  response->set_publish_p50_ns(view.publish_p50_ns);
  response->set_publish_p99_ns(view.publish_p99_ns);
  response->set_publish_max_ns(view.publish_max_ns);
  response->set_idle(inspector_.idle());
  response->set_flows_ipv4_max(config_.flows_ipv4);
  response->set_flows_ipv6_max(config_.flows_ipv6);
  for (const runtime::LcoreView& seen : inspector_.lcores()) {
    v1::LcoreStatus& lcore = *response->add_lcores();
    lcore.set_lcore(seen.lcore);
    lcore.set_epoch_seen(seen.epoch_seen);
    lcore.set_turns(seen.turns);
    lcore.set_idle_turns(seen.idle_turns);
    lcore.set_packets(seen.packets);
    lcore.set_flows_ipv4(seen.flows_ipv4);
    lcore.set_flows_ipv6(seen.flows_ipv6);
    lcore.set_held_packets(seen.held_packets);
    lcore.set_handed_over(seen.handed_over);
    lcore.set_stalled(view.stalled.contains(seen.lcore));
    lcore.set_affinity_evicted(seen.affinity_evicted);
    lcore.set_half_open(seen.half_open);
    lcore.set_half_open_evicted(seen.half_open_evicted);
    lcore.set_held_fragments(seen.held_fragments);
    lcore.set_fragmented(seen.fragmented);
    lcore.set_busy_permille(static_cast<std::uint32_t>(seen.busy_permille));
    lcore.set_ended_evicted(seen.ended_evicted);
    lcore.set_snat_quarantine_broken(seen.snat_quarantine_broken);
  }
  return grpc::Status::OK;
}

grpc::Status GatewayService::Explain(grpc::ServerContext* /*context*/,
                                     const v1::ExplainRequest* request,
                                     v1::ExplainResponse* response) {
  const auto query = to_query(*request, config_);
  if (!query) {
    return to_status(query.error());
  }
  const auto answer = inspector_.explain(*query);
  if (!answer) {
    return no_answer();
  }
  response->set_verdict(name_of(answer->verdict));
  response->set_drop_reason(answer->drop_reason);
  response->set_live_flow(answer->live_flow);
  response->set_direction(answer->from_backend ? "from backend" : "from client");
  response->set_lcore(answer->lcore);
  if (answer->has_flow) {
    const FlowRow& flow = answer->flow;
    const auto owners = reconciler_.owners_of({flow.service_port});
    if (const auto owner = owners.find(flow.service_port); owner != owners.end()) {
      response->set_provider(owner->second.provider);
      fill(owner->second.name, *response->mutable_service());
      response->set_service_port(owner->second.port);
    }
    response->set_frontend(text_of(flow.frontend));
    response->set_backend(answer->backend_state.empty() ? "" : text_of(flow.backend));
    response->set_backend_state(answer->backend_state);
    response->set_snat(flow.snat.port != 0 ? text_of(flow.snat) : "");
    response->set_flow_state(flow.state);
  }
  if (answer->next_hop) {
    response->set_next_hop(to_string(*answer->next_hop) +
                           (answer->next_hop_mac ? " at " + to_string(*answer->next_hop_mac) : "") +
                           " via " + config_.ports[answer->next_hop_port].name);
  }
  for (const std::string& step : answer->steps) {
    response->add_steps(step);
  }
  return grpc::Status::OK;
}

}  // namespace sluice::api
