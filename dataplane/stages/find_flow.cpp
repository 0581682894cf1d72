// SPDX-License-Identifier: Apache-2.0
// Is there a flow? One pass each over the packets of a family: hash and bucket prefetch; tag
// compare and entry prefetch; key compare. A hit whose entry was judged by this snapshot's epochs
// and whose binding still stands is carried in that last pass, which is the whole way of nearly
// every packet; the others are judged again, once, and go on.
#include "dataplane/stages/decisions.h"
#include "dataplane/stages/pipeline.h"
#include "dataplane/stages/rewrite.h"
#include "dataplane/state/aging.h"
#include "dataplane/state/tcp_state.h"

namespace sluice {
namespace {

struct Lane {
  std::uint32_t count = 0;
  std::array<Packet*, kBurstMax> packets;
};

template <Family F>
bool stands(const FlowHot<F>& flow, const Snapshot& snapshot) {
  return snapshot.bindings->state_of_flow(flow.binding_slot).keeps_flows(flow.incarnation) &&
         flow.policy_epoch == snapshot.policy_epoch && flow.route_epoch == snapshot.route_epoch &&
         flow.state <= FlowState::kTcpEstablished;
}

bool is_new_connection(const Packet& packet, FlowRef ref) {
  return ref.direction() == Direction::kFromClient &&
         (packet.tcp_flags & (kTcpSyn | kTcpAck | kTcpRst)) == kTcpSyn;
}

// A SYN on a connection that has closed is a new one with the same tuple (RFC 9293 §3.10.7.4,
// TIME-WAIT); so is one towards a backend that went away before it answered.
template <Family F>
bool opens_anew(const Packet& packet, FlowRef ref, const FlowHot<F>& flow,
                const Snapshot& snapshot) {
  const bool unanswered =
      flow.state == FlowState::kTcpHalfOpen && (flow.flags & kFlowReplied) == 0 &&
      snapshot.bindings->state(flow.binding_slot).state() == BindingState::kRemoved;
  return (has_closed(flow.state) || unanswered) && is_new_connection(packet, ref);
}

// What the removal of its endpoint means for a flow. TCP: the end, where its service says so. UDP
// clients never say that they are done, so their flow moves as soon as another endpoint serves.
template <Family F>
bool ends_with_endpoint(FlowRef ref, const FlowHot<F>& flow, const Snapshot& snapshot) {
  if (flow.protocol == kProtocolTcp) {
    return snapshot.bindings->at(flow.binding_slot).resets;
  }
  if (flow.protocol != kProtocolUdp || ref.direction() != Direction::kFromClient) {
    return false;
  }
  const ServicePort* service =
      snapshot.service_at(IpAddress(flow.frontend), {flow.frontend_port.host(), flow.protocol});
  return service != nullptr && service->maglev != nullptr;
}

// A flow whose client a change has shut out ends here, with its packet; whichever side sent it.
template <Family F>
bool shut_out(Packet& packet, FlowRef ref, const Snapshot& snapshot, LcoreState& state) {
  FlowTable<F>& flows = state.flows<F>();
  const FlowHot<F>& flow = flows.hot(ref.index());
  const Drop reason = refusal_since(flow, flows.cold(ref.index()), snapshot);
  if (reason == Drop::kNone) {
    return false;
  }
  packet.service = service_of(flow, flows.cold(ref.index()), snapshot);
  packet.has_service = true;
  packet.decide_drop(reason);
  close_flow(flows, ref.index(), state.now_ms, state.counters);
  return true;
}

// What a packet gets whose flow does not stand as it is: the flow, or none.
template <Family F>
[[gnu::noinline]] FlowRef judge(Packet& packet, FlowRef ref, const Snapshot& snapshot,
                                LcoreState& state) {
  FlowTable<F>& flows = state.flows<F>();
  FlowHot<F>& flow = flows.hot(ref.index());
  // First, as whoever is shut out is told nothing of his flow either.
  if (flow.state != FlowState::kQuarantine && shut_out<F>(packet, ref, snapshot, state)) {
    return kNoFlow;
  }
  if (is_over(ref, flow, snapshot)) {
    // What an ICMP error says must not end a flow (RFC 5508 REQ-6).
    const bool ends = flow.state != FlowState::kQuarantine && packet.kind != PacketKind::kIcmpError;
    const bool tcp = flow.protocol == kProtocolTcp;
    if (ends && tcp) {
      revoke_flow(flows, ref.index(), state.now_ms, state.counters);
    } else if (ends) {
      close_flow(flows, ref.index(), state.now_ms, state.counters);
    }
    if (ends && tcp && !is_new_connection(packet, ref)) {
      packet.service = service_of(flow, flows.cold(ref.index()), snapshot);
      packet.has_service = packet.service != nullptr;
      packet.decide_drop(Drop::kEndpointGone);
    } else if (ref.direction() == Direction::kFromBackend) {
      // Nobody else's, even if it bears a client's address.
      packet.decide_drop(packet.kind == PacketKind::kIcmpError ? Drop::kIcmpNoFlow
                                                               : Drop::kFlowClosed);
    }
    return kNoFlow;
  }
  if (opens_anew(packet, ref, flow, snapshot)) {
    packet.replaces = ref;
    return kNoFlow;
  }
  flow.policy_epoch = snapshot.policy_epoch;
  if (flow.route_epoch != snapshot.route_epoch) {
    flow.route_epoch = snapshot.route_epoch;
    flow.next_hop = {kNoNextHop, kNoNextHop};
  }
  return ref;
}

// A packet for whose flow nothing changes by it, translated and forwarded here and now: all an
// established flow costs. False, and the packet is as it was, for any that asks for more: errors
// and fragments, TCP that opens or closes, a TTL used up, a next hop that is not known or too
// narrow.
template <Family F>
[[gnu::always_inline]] inline bool carry(Packet& packet, FlowTable<F>& flows,
                                         const NextHopTable& next_hops, std::uint32_t now_ms) {
  const std::uint32_t index = packet.flow.index();
  FlowHot<F>& flow = flows.hot(index);
  expect_count(flows, index);
  const std::size_t from = at(packet.flow.direction());
  const NextHop& next_hop = next_hops.at(flow.next_hop[from]);
  const std::uint32_t bytes = flow.bytes[from] + packet.l3_length;
  if (packet.kind != PacketKind::kTransport || next_hop.state != NextHop::State::kReachable ||
      packet.l3_length > next_hop.mtu || bytes >= kFoldAtBytes ||
      (packet.protocol == kProtocolTcp && tcp_may_change(flow.state, packet.tcp_flags)) ||
      !rewrite_addresses(packet, flow)) [[unlikely]] {
    return false;
  }
  rewrite_ports(packet, flow);
  count_packet(flow, packet.flow.direction(), bytes, now_ms);
  write_ethernet(packet.mbuf, next_hop, ether_type_of(F));
  packet.decide(Verdict::kTransmit, next_hop.port);
  return true;
}

template <Family F>
[[gnu::always_inline]] inline void begin(Packet& packet, Lane& lane, const FlowTable<F>& flows) {
  packet.hash = flows.hash_of(packet.key<F>());
  flows.prefetch_bucket(packet.hash);
  lane.packets[lane.count++] = &packet;
}

// How many of them were carried.
template <Family F>
std::uint32_t find_flows(const Lane& lane, const Snapshot& snapshot, LcoreState& state) {
  FlowTable<F>& flows = state.flows<F>();
  for (std::uint32_t i = 0; i < lane.count; ++i) {
    Packet& packet = *lane.packets[i];
    packet.flow = flows.candidate(packet.hash);
  }
  const NextHopTable& next_hops = *snapshot.next_hops;
  const std::uint32_t now_ms = state.now_ms;
  std::uint32_t carried = 0;
  for (std::uint32_t i = 0; i < lane.count; ++i) {
    Packet& packet = *lane.packets[i];
    packet.flow = flows.confirm(packet.key<F>(), packet.hash, packet.flow);
    if (!packet.flow.valid()) {
      continue;
    }
    FlowHot<F>& flow = flows.hot(packet.flow.index());
    if (stands(flow, snapshot)) [[likely]] {
      carried += carry(packet, flows, next_hops, now_ms) ? 1 : 0;
    } else {
      packet.flow = judge<F>(packet, packet.flow, snapshot, state);
    }
  }
  return carried;
}

}  // namespace

template <Family F>
bool is_over(FlowRef ref, const FlowHot<F>& flow, const Snapshot& snapshot) {
  if (flow.state == FlowState::kQuarantine) {
    return true;
  }
  const BindingStateByte binding = snapshot.bindings->state(flow.binding_slot);
  const bool stale =
      binding.state() == BindingState::kFree || binding.incarnation() != flow.incarnation;
  return stale ||
         (binding.state() == BindingState::kRemoved && ends_with_endpoint(ref, flow, snapshot));
}

template bool is_over(FlowRef, const FlowHot<Family::kIpv4>&, const Snapshot&);
template bool is_over(FlowRef, const FlowHot<Family::kIpv6>&, const Snapshot&);

template <Family F>
const ServicePort* service_of(const FlowHot<F>& flow, const FlowCold& cold,
                              const Snapshot& snapshot) {
  const ServicePort* service =
      snapshot.service_at(IpAddress(flow.frontend), {flow.frontend_port.host(), flow.protocol});
  return service != nullptr && service->id == cold.service_port ? service : nullptr;
}

template const ServicePort* service_of(const FlowHot<Family::kIpv4>&, const FlowCold&,
                                       const Snapshot&);
template const ServicePort* service_of(const FlowHot<Family::kIpv6>&, const FlowCold&,
                                       const Snapshot&);

template <Family F>
Drop refusal_since(const FlowHot<F>& flow, const FlowCold& cold, const Snapshot& snapshot) {
  if (flow.policy_epoch == snapshot.policy_epoch) {
    return Drop::kNone;
  }
  const ServicePort* service = service_of(flow, cold, snapshot);
  return service == nullptr ? Drop::kNone : refusal(*service, IpAddress(flow.client));
}

template Drop refusal_since(const FlowHot<Family::kIpv4>&, const FlowCold&, const Snapshot&);
template Drop refusal_since(const FlowHot<Family::kIpv6>&, const FlowCold&, const Snapshot&);

std::uint32_t find_flow(Burst& burst, const Snapshot& snapshot, LcoreState& state) {
  Lane ipv4;
  Lane ipv6;
  for (std::uint32_t i = 0; i < burst.count; ++i) {
    Packet& packet = burst.packets[i];
    if (packet.verdict != Verdict::kPending || packet.kind > PacketKind::kIcmpError) [[unlikely]] {
      continue;
    }
    if (packet.family == Family::kIpv4) [[likely]] {
      begin(packet, ipv4, state.flows4);
    } else {
      begin(packet, ipv6, state.flows6);
    }
  }
  return find_flows<Family::kIpv4>(ipv4, snapshot, state) +
         find_flows<Family::kIpv6>(ipv6, snapshot, state);
}

}  // namespace sluice
