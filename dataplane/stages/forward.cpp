// SPDX-License-Identifier: Apache-2.0
// Out where? The flow knows its next hops; one that it does not know yet, or no longer, is looked
// up. A neighbour without a MAC makes the packet wait, and the worker ask.
#include "dataplane/net/headers.h"
#include "dataplane/stages/decisions.h"
#include "dataplane/stages/pipeline.h"
#include "dataplane/stages/rewrite.h"

namespace sluice {
namespace {

// One that will never fit, as far as is known, does not wait: its sender is told at once.
void hold(Packet& packet, std::uint8_t port, const IpAddress& neighbour, std::uint16_t mtu) {
  if (packet.l3_length > mtu && !may_fragment(packet.at<EthernetHeader>(0))) {
    packet.next_hop_mtu = mtu;
    packet.decide_drop(Drop::kMtuExceeded);
    return;
  }
  packet.decide(Verdict::kHold, port);
  packet.neighbour = neighbour;
  // Kept in the frame itself, so that a held packet is complete but for the addresses.
  packet.at<EthernetHeader>(0)->ether_type = ether_type_of(packet.family);
}

// The next hop, or kNoNextHop when a verdict was found instead.
template <Family F>
NextHopIndex look_up(Packet& packet, FlowHot<F>& flow, const Snapshot& snapshot) {
  const bool from_client = packet.flow.direction() == Direction::kFromClient;
  const IpAddress destination(from_client ? flow.backend : flow.client);
  const Way way = way_to(destination, snapshot);
  if (!way.routed) {
    packet.decide_drop(Drop::kNoRoute);
  } else if (way.next_hop == kNoNextHop) {
    hold(packet, way.port, way.neighbour, snapshot.ports[way.port].mtu);
  } else {
    flow.next_hop[at(packet.flow.direction())] = way.next_hop;
  }
  return way.next_hop;
}

// What is larger than the way out takes goes in fragments, if its sender lets it (RFC 1812
// §4.2.2.7; IPv6 has no such thing). Their identification is ours: many senders share the address.
[[gnu::noinline]] void forward_large(Packet& packet, const NextHop& next_hop, LcoreState& state) {
  packet.next_hop_mtu = next_hop.mtu;
  if (!may_fragment(packet.at<EthernetHeader>(0))) {
    packet.decide_drop(Drop::kMtuExceeded);
    return;
  }
  if (packet.kind != PacketKind::kFirstFragment && packet.kind != PacketKind::kLaterFragment) {
    packet.mbuf->hash.usr = state.fragments.next_identification();
    exchange_identification(packet);
  }
  write_ethernet(packet.mbuf, next_hop, ether_type_of(packet.family));
  packet.decide(Verdict::kFragment, next_hop.port);
}

template <Family F>
void forward_packet(Packet& packet, const Snapshot& snapshot, LcoreState& state) {
  FlowHot<F>& flow = state.flows<F>().hot(packet.flow.index());
  NextHopIndex index = flow.next_hop[at(packet.flow.direction())];
  if (index == kNoNextHop) [[unlikely]] {
    index = look_up(packet, flow, snapshot);
    if (packet.verdict != Verdict::kPending) {
      return;
    }
  }
  const NextHop& next_hop = snapshot.next_hops->at(index);
  if (next_hop.state == NextHop::State::kReachable) [[likely]] {
    if (packet.l3_length > next_hop.mtu) [[unlikely]] {
      forward_large(packet, next_hop, state);
      return;
    }
    write_ethernet(packet.mbuf, next_hop, ether_type_of(F));
    packet.decide(Verdict::kTransmit, next_hop.port);
  } else if (next_hop.state == NextHop::State::kHost) {
    write_ethernet(packet.mbuf, next_hop, ether_type_of(F));
    packet.decide(Verdict::kPunt, next_hop.port);
  } else {
    hold(packet, next_hop.port, next_hop.address, next_hop.mtu);
  }
}

}  // namespace

void forward(Burst& burst, const Snapshot& snapshot, LcoreState& state) {
  for (std::uint32_t i = 0; i < burst.count; ++i) {
    Packet& packet = burst.packets[i];
    if (!packet.flow.valid() || packet.verdict != Verdict::kPending) {
      continue;
    }
    if (packet.family == Family::kIpv4) {
      forward_packet<Family::kIpv4>(packet, snapshot, state);
    } else {
      forward_packet<Family::kIpv6>(packet, snapshot, state);
    }
  }
}

bool release(HeldPacket& held, const Snapshot& snapshot) {
  const NextHopIndex index = snapshot.next_hops->find(held.out_port, held.neighbour);
  const NextHop& next_hop = snapshot.next_hops->at(index);
  if (index == kNoNextHop || next_hop.state != NextHop::State::kReachable) {
    return false;
  }
  write_ethernet(held.mbuf, next_hop, rte_pktmbuf_mtod(held.mbuf, EthernetHeader*)->ether_type);
  held.mtu = next_hop.mtu;
  return true;
}

}  // namespace sluice
