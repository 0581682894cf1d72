// SPDX-License-Identifier: Apache-2.0
// Answers about flows and packets, from the lcore's own tables by the stages' own code. Runs on the
// lcore in bounded slices; it may allocate, since nothing of it is on a packet's way.
#include "dataplane/net/checksum.h"
#include "dataplane/net/headers.h"
#include "dataplane/stages/decisions.h"
#include "dataplane/stages/pipeline.h"
#include "dataplane/state/aging.h"

#include <cstring>

namespace sluice {
namespace {

template <Family F>
FlowRow row_of(const FlowHot<F>& flow, const FlowCold& cold, std::uint32_t now_ms,
               std::uint32_t lcore) {
  const std::uint32_t idle = now_ms - flow.last_seen_ms;
  const std::uint32_t timeout = timeout_ms(flow, cold);
  FlowRow row;
  row.protocol = flow.protocol;
  row.client = {IpAddress(flow.client), flow.client_port.host()};
  row.frontend = {IpAddress(flow.frontend), flow.frontend_port.host()};
  row.snat = {IpAddress(flow.snat), flow.snat_port.host()};
  row.backend = {IpAddress(flow.backend), flow.backend_port.host()};
  row.state = facts_of(flow.state).name;
  row.lcore = lcore;
  row.binding_slot = flow.binding_slot;
  row.service_port = cold.service_port;
  row.idle_ms = idle;
  row.expires_ms = idle < timeout ? timeout - idle : 0;
  row.packets_in = cold.packets_in + flow.packets[0];
  row.bytes_in = cold.bytes_in + flow.bytes[0];
  row.packets_out = cold.packets_out + flow.packets[1];
  row.bytes_out = cold.bytes_out + flow.bytes[1];
  return row;
}

// Cheap, whatever the filter: it is asked of up to 64 entries between two bursts.
template <Family F>
bool passes(const FlowFilter& filter, const FlowHot<F>& flow, const FlowCold& cold) {
  if ((filter.client && *filter.client != IpAddress(flow.client)) ||
      (filter.backend && *filter.backend != IpAddress(flow.backend))) {
    return false;
  }
  if (filter.state && *filter.state != flow.state) {
    return false;
  }
  return filter.service_ports.empty() || (cold.service_port < filter.service_ports.size() &&
                                          filter.service_ports[cold.service_port]);
}

template <Family F>
void collect(const FlowFilter& filter, std::uint32_t begin, std::uint32_t end,
             const LcoreState& state, std::uint32_t lcore, std::size_t room,
             std::vector<FlowRow>& rows) {
  const FlowTable<F>& flows = state.flows<F>();
  for (std::uint32_t i = begin; i < end && i < flows.high_water() && room > 0; ++i) {
    const FlowHot<F>& flow = flows.hot(i);
    if (flow.state == FlowState::kFree || flow.state == FlowState::kQuarantine) {
      continue;
    }
    if (passes(filter, flow, flows.cold(i))) {
      rows.push_back(row_of(flow, flows.cold(i), state.now_ms, lcore));
      --room;
    }
  }
}

template <Family F>
std::uint64_t end_flows(const FlowFilter& filter, std::uint32_t begin, std::uint32_t end,
                        LcoreState& state) {
  FlowTable<F>& flows = state.flows<F>();
  std::uint64_t ended = 0;
  for (std::uint32_t i = begin; i < end && i < flows.high_water(); ++i) {
    const FlowHot<F>& flow = flows.hot(i);
    if (flow.state != FlowState::kFree && flow.state != FlowState::kQuarantine &&
        passes(filter, flow, flows.cold(i))) {
      revoke_flow(flows, i, state.now_ms, state.counters);
      ++ended;
    }
  }
  return ended;
}

const char* name_of_state(BindingState state) {
  switch (state) {
    case BindingState::kActive:
      return "active";
    case BindingState::kDraining:
      return "draining";
    case BindingState::kRemoved:
    case BindingState::kFree:
      break;
  }
  return "removed";
}

// A frame such as the query describes, on the stack: an Ethernet header for the port, IP, and a TCP
// SYN or an empty UDP datagram.
class Specimen {
 public:
  // `mbuf` is made to show the frame, for as long as this lives.
  Specimen(const ExplainQuery& query, const MacAddress& mac, rte_mbuf& mbuf) {
    const bool ipv4 = query.destination.address.is_ipv4();
    auto* ethernet = reinterpret_cast<EthernetHeader*>(frame_);
    *ethernet = {mac, MacAddress{}, ipv4 ? kEtherTypeIpv4 : kEtherTypeIpv6};
    const std::size_t l4 =
        sizeof(EthernetHeader) + (ipv4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header));
    const std::size_t l4_length =
        query.protocol == kProtocolTcp ? sizeof(TcpHeader) : sizeof(UdpHeader);
    write_transport(query, l4);
    if (ipv4) {
      write_ipv4(query, l4_length);
    } else {
      write_ipv6(query, l4_length);
    }
    mbuf.buf_addr = frame_;
    mbuf.buf_len = sizeof(frame_);
    mbuf.nb_segs = 1;
    mbuf.data_len = static_cast<std::uint16_t>(l4 + l4_length);
    mbuf.pkt_len = mbuf.data_len;
  }

 private:
  void write_ipv4(const ExplainQuery& query, std::size_t l4_length) {
    auto* ip = reinterpret_cast<Ipv4Header*>(frame_ + sizeof(EthernetHeader));
    ip->version_ihl = 0x45;
    ip->total_length = Be16::from_host(static_cast<std::uint16_t>(sizeof(Ipv4Header) + l4_length));
    ip->time_to_live = 64;
    ip->protocol = query.protocol;
    ip->source = query.source.address.v4();
    ip->destination = query.destination.address.v4();
    ip->checksum.raw = checksum_finish(
        checksum_sum({reinterpret_cast<const std::uint8_t*>(ip), sizeof(Ipv4Header)}));
  }
  void write_ipv6(const ExplainQuery& query, std::size_t l4_length) {
    auto* ip = reinterpret_cast<Ipv6Header*>(frame_ + sizeof(EthernetHeader));
    ip->version_class_flow = Be32::from_host(0x6000'0000);
    ip->payload_length = Be16::from_host(static_cast<std::uint16_t>(l4_length));
    ip->next_header = query.protocol;
    ip->hop_limit = 64;
    ip->source = query.source.address.v6();
    ip->destination = query.destination.address.v6();
  }
  void write_transport(const ExplainQuery& query, std::size_t offset) {
    const Be16 source = Be16::from_host(query.source.port);
    const Be16 destination = Be16::from_host(query.destination.port);
    if (query.protocol == kProtocolTcp) {
      auto* tcp = reinterpret_cast<TcpHeader*>(frame_ + offset);
      tcp->source_port = source;
      tcp->destination_port = destination;
      tcp->data_offset = 0x50;
      tcp->flags = kTcpSyn;
    } else {
      auto* udp = reinterpret_cast<UdpHeader*>(frame_ + offset);
      *udp = {source, destination, Be16::from_host(sizeof(UdpHeader)), Be16{}};
    }
  }

  alignas(8) std::uint8_t frame_[sizeof(EthernetHeader) + sizeof(Ipv6Header) + sizeof(TcpHeader)]{};
};

void explain_drop(Explanation& answer, Drop reason, const std::string& step) {
  answer.verdict = Explanation::Verdict::kDrop;
  answer.drop_reason = name_of(reason);
  answer.steps.push_back(step);
}

void explain_way(Explanation& answer, const IpAddress& destination, const Snapshot& snapshot) {
  const Way way = way_to(destination, snapshot);
  if (!way.routed) {
    explain_drop(answer, Drop::kNoRoute, "forward: no route to " + to_string(destination));
    return;
  }
  answer.next_hop = way.neighbour;
  answer.next_hop_port = way.port;
  const NextHop& next_hop = snapshot.next_hops->at(way.next_hop);
  if (way.next_hop != kNoNextHop && next_hop.state == NextHop::State::kReachable) {
    answer.verdict = Explanation::Verdict::kForward;
    answer.next_hop_mac = next_hop.header.destination;
    answer.steps.push_back("forward: to " + to_string(way.neighbour) + " at " +
                           to_string(next_hop.header.destination));
  } else if (next_hop.state == NextHop::State::kHost) {
    answer.verdict = Explanation::Verdict::kPunt;
    answer.steps.push_back("forward: to the gateway's own kernel");
  } else {
    answer.verdict = Explanation::Verdict::kHold;
    answer.steps.push_back("forward: waits until the neighbour " + to_string(way.neighbour) +
                           " answers");
  }
}

template <Family F>
void explain_flow(Explanation& answer, FlowRef ref, const Snapshot& snapshot,
                  const LcoreState& state) {
  const FlowHot<F>& flow = state.flows<F>().hot(ref.index());
  answer.live_flow = true;
  answer.has_flow = true;
  answer.from_backend = ref.direction() == Direction::kFromBackend;
  answer.flow = row_of(flow, state.flows<F>().cold(ref.index()), state.now_ms, answer.lcore);
  const BindingStateByte binding = snapshot.bindings->state(flow.binding_slot);
  answer.backend_state = name_of_state(
      binding.incarnation() == flow.incarnation ? binding.state() : BindingState::kRemoved);
  answer.steps.push_back("find_flow: " + answer.flow.state + " flow, from the " +
                         (answer.from_backend ? "backend" : "client"));
  explain_way(answer, IpAddress(answer.from_backend ? flow.client : flow.backend), snapshot);
}

// Whether a flow of a DNAT service keeps its client's address, and why not.
template <Family F>
bool explain_dnat(Explanation& answer, const FlowHot<F>& flow, const Way& back,
                  const Snapshot& snapshot, const FlowTable<F>& flows) {
  const Way there = way_to(IpAddress(flow.backend), snapshot);
  if (client_tuple(flow, false, there, back, flows)) {
    answer.flow.snat = answer.flow.client;
    answer.steps.emplace_back("admit_flow: DNAT, the client's address is kept");
    return true;
  }
  answer.steps.emplace_back(returns_through_us(there, back)
                                ? "admit_flow: another flow has the client's tuple towards this "
                                  "backend, so FULL_NAT instead of DNAT"
                                : "admit_flow: DNAT would be answered past us, so FULL_NAT");
  return false;
}

// What admit_flow would refuse the flow for, and true if it would.
template <Family F>
bool explain_refusal(Explanation& answer, const FlowHot<F>& flow, const ServicePort& service,
                     const Snapshot& snapshot, const LcoreState& state) {
  const FlowTable<F>& flows = state.flows<F>();
  const IpAddress client(flow.client);
  const Way back = way_to(client, snapshot);
  const bool keeps_client =
      service.mode == ForwardingMode::kDnat && explain_dnat(answer, flow, back, snapshot, flows);
  if (!back.routed) {
    explain_drop(answer, Drop::kNoRoute,
                 "admit_flow: no route back to the client " + to_string(client));
  } else if (service.quotas.any() && !state.quotas.has_room(service.quotas, QuotaKind::kFlows)) {
    explain_drop(answer, Drop::kFlowQuota,
                 "admit_flow: provider or namespace has all live flows that its quota allows");
  } else if (service.quotas.any() && !keeps_client &&
             !state.quotas.has_room(service.quotas, QuotaKind::kSnatPorts)) {
    explain_drop(answer, Drop::kSnatPortQuota,
                 "admit_flow: provider or namespace has all SNAT ports that its quota allows");
  } else if (!keeps_client &&
             !state.snat.has_room(snat_addresses<F>(snapshot), *snapshot.ownership, flows, flow)) {
    explain_drop(answer, Drop::kSnatExhausted,
                 "admit_flow: no SNAT address and port is free towards this backend");
  } else if (flows.size() == flows.capacity() && flows.count(FlowList::kEvicted) == 0) {
    explain_drop(answer, Drop::kFlowTableFull, "admit_flow: the flow table is full");
  } else {
    return false;
  }
  return true;
}

// Who chooses, and by what.
std::string words_of_choice(const ServicePort& service, const AffinityAnswer& affinity,
                            const Choice& choice) {
  const std::string backend = to_string(choice.binding->address, choice.binding->port);
  if (service.affinity_ms == 0) {
    return "admit_flow: Maglev picks " + backend;
  }
  const std::string lcore = "lcore " + std::to_string(affinity.lcore);
  return affinity.remembered
             ? "admit_flow: the client's affinity, which " + lcore + " keeps, is with " + backend
             : "admit_flow: Maglev picks " + backend + ", and " + lcore +
                   " will keep the client's affinity with it";
}

template <Family F>
void explain_new(Explanation& answer, const ExplainQuery& query, const Packet& packet,
                 const Snapshot& snapshot, const LcoreState& state) {
  const ServicePort& service = *packet.service;
  const std::uint8_t keeper = snapshot.ownership->of_client(IpAddress(packet.key<F>().source));
  if (service.affinity_ms != 0 && keeper != state.number && !query.affinity) {
    answer.affinity_keeper = keeper;
  }
  const Choice choice =
      choose_binding(service, packet.key<F>(), snapshot, state,
                     query.affinity ? std::optional(query.affinity->binding) : std::nullopt);
  answer.affinity =
      query.affinity.value_or(AffinityAnswer{name_of(choice), choice.by_affinity, answer.lcore});
  answer.has_flow = true;
  answer.flow.protocol = packet.protocol;
  answer.flow.client = {IpAddress(packet.key<F>().source), packet.key<F>().source_port.host()};
  answer.flow.frontend = {IpAddress(packet.key<F>().destination),
                          packet.key<F>().destination_port.host()};
  answer.flow.backend = {choice.binding->address, choice.binding->port};
  answer.flow.binding_slot = choice.slot;
  answer.flow.service_port = service.id;
  answer.backend_state = name_of_state(choice.binding->state.state());
  answer.steps.push_back(words_of_choice(service, answer.affinity, choice));
  if (!explain_refusal(answer, new_flow<F>(packet, choice, snapshot, state.now_ms), service,
                       snapshot, state)) {
    explain_way(answer, choice.binding->address, snapshot);
  }
}

const char* name_of_answer(Answer answer) {
  switch (answer) {
    case Answer::kReset:
      return "a TCP reset";
    case Answer::kPortUnreachable:
      return "ICMP port unreachable";
    case Answer::kProtocolUnreachable:
      return "ICMP protocol unreachable";
    case Answer::kTimeExceeded:
      return "ICMP time exceeded";
    case Answer::kPacketTooBig:
      return "ICMP packet too big";
    case Answer::kEcho:
    case Answer::kNone:
    case Answer::kCount:
      break;
  }
  return "";
}

void explain_verdict(Explanation& answer, const Packet& packet, const Snapshot& snapshot) {
  switch (packet.verdict) {
    case Verdict::kDrop:
      explain_drop(answer, packet.drop,
                   "classify: " +
                       std::string(kDropNames[static_cast<std::size_t>(packet.drop)].description));
      if (const Answer told = answer_to_drop(packet, snapshot); told != Answer::kNone) {
        answer.steps.push_back(std::string("refuse: its sender is told, by ") +
                               name_of_answer(told));
      }
      break;
    case Verdict::kPunt:
      answer.verdict = Explanation::Verdict::kPunt;
      answer.steps.emplace_back("classify: the kernel's");
      break;
    case Verdict::kTransmit:
    case Verdict::kHandOver:
    case Verdict::kHold:
    case Verdict::kHoldFragment:
    case Verdict::kFragment:
    case Verdict::kPending:
      answer.verdict = Explanation::Verdict::kForward;
      break;
  }
}

template <Family F>
void explain_packet(Explanation& answer, const ExplainQuery& query, Burst& burst,
                    const Snapshot& snapshot, const LcoreState& state) {
  Packet& packet = burst.packets[0];
  const FlowRef ref = state.flows<F>().find(packet.key<F>());
  if (ref.valid() && !is_over(ref, state.flows<F>().hot(ref.index()), snapshot)) {
    explain_flow<F>(answer, ref, snapshot, state);
    const Drop refused = refusal_since(state.flows<F>().hot(ref.index()),
                                       state.flows<F>().cold(ref.index()), snapshot);
    if (refused != Drop::kNone) {
      explain_drop(answer, refused, "find_flow: the flow ends, its client is shut out by now");
    }
    return;
  }
  answer.steps.emplace_back("find_flow: no flow");
  classify(burst, snapshot);
  if (packet.has_service) {
    answer.has_flow = true;
    answer.flow.service_port = packet.service->id;
    answer.flow.frontend = {IpAddress(packet.key<F>().destination),
                            packet.key<F>().destination_port.host()};
  }
  if (packet.verdict == Verdict::kPending) {
    explain_new<F>(answer, query, packet, snapshot, state);
  } else {
    explain_verdict(answer, packet, snapshot);
  }
}

}  // namespace

Explanation explain(const ExplainQuery& query, const Snapshot& snapshot, const LcoreState& state,
                    std::uint32_t lcore) {
  Explanation answer;
  answer.lcore = lcore;
  rte_mbuf mbuf{};
  const Specimen specimen(query, snapshot.ports[query.port].mac, mbuf);
  Burst burst;
  burst.add(&mbuf, query.port, false);
  parse(burst, snapshot);
  answer.owner = owner_of(burst.packets[0], snapshot).value_or(state.number) == state.number;
  answer.steps.emplace_back("parse: " + to_string(query.source.address, query.source.port) +
                            " to " + to_string(query.destination.address, query.destination.port));
  if (burst.packets[0].verdict != Verdict::kPending) {
    explain_verdict(answer, burst.packets[0], snapshot);
  } else if (query.destination.address.is_ipv4()) {
    explain_packet<Family::kIpv4>(answer, query, burst, snapshot, state);
  } else {
    explain_packet<Family::kIpv6>(answer, query, burst, snapshot, state);
  }
  return answer;
}

std::uint64_t delete_flows(const FlowFilter& filter, Family family, std::uint32_t begin,
                           std::uint32_t end, LcoreState& state) {
  return family == Family::kIpv4 ? end_flows<Family::kIpv4>(filter, begin, end, state)
                                 : end_flows<Family::kIpv6>(filter, begin, end, state);
}

void collect_flows(const FlowFilter& filter, Family family, std::uint32_t begin, std::uint32_t end,
                   const LcoreState& state, std::uint32_t lcore, std::size_t room,
                   std::vector<FlowRow>& rows) {
  if (family == Family::kIpv4) {
    collect<Family::kIpv4>(filter, begin, end, state, lcore, room, rows);
  } else {
    collect<Family::kIpv6>(filter, begin, end, state, lcore, room, rows);
  }
}

}  // namespace sluice
