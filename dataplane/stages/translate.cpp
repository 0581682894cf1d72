// SPDX-License-Identifier: Apache-2.0
// Becomes what? Addresses, ports, TTL and checksums, by the two tuples and the two precomputed
// deltas of the flow; then the flow's own account of the packet.
#include "dataplane/net/checksum.h"
#include "dataplane/net/headers.h"
#include "dataplane/net/tcp_options.h"
#include "dataplane/stages/decisions.h"
#include "dataplane/stages/pipeline.h"
#include "dataplane/stages/rewrite.h"
#include "dataplane/state/aging.h"
#include "dataplane/state/tcp_state.h"

namespace sluice {
namespace {

template <Family F>
void count(const Packet& packet, FlowHot<F>& flow, LcoreState& state) {
  const Direction from = packet.flow.direction();
  const std::uint32_t bytes = flow.bytes[at(from)] + packet.l3_length;
  expect_count(state.flows<F>(), packet.flow.index());
  count_packet(flow, from, bytes, state.now_ms);
  if (bytes >= kFoldAtBytes) [[unlikely]] {
    fold_counters(state.flows<F>(), packet.flow.index(), state.counters);
  }
}

template <Family F>
void account(const Packet& packet, FlowHot<F>& flow, LcoreState& state) {
  count(packet, flow, state);
  if (packet.protocol == kProtocolTcp && tcp_may_change(flow.state, packet.tcp_flags)) {
    const TcpView next =
        tcp_next({flow.state, flow.flags}, packet.flow.direction(), tcp_event(packet.tcp_flags));
    if ((flow.flags & kFlowClampMss) != 0 && (packet.tcp_flags & kTcpSyn) != 0) {
      clamp_mss(packet.at<TcpHeader>(packet.l4_offset),
                state.flows<F>().cold(packet.flow.index()).mss_max);
    }
    if (next.state != flow.state) {
      state.flows<F>().set_state(packet.flow.index(), next.state);
    }
    flow.flags = next.flags;
  }
}

template <Family F>
void translate_packet(Packet& packet, LcoreState& state) {
  FlowHot<F>& flow = state.flows<F>().hot(packet.flow.index());
  if (!rewrite_addresses(packet, flow)) {
    packet.decide_drop(Drop::kTtlExpired);
    return;
  }
  rewrite_ports(packet, flow);
  account(packet, flow, state);
}

// The checksum in the first fragment covers the whole datagram, which a delta does not mind.
template <Family F>
void translate_fragment(Packet& packet, LcoreState& state) {
  FlowHot<F>& flow = state.flows<F>().hot(packet.flow.index());
  if (!rewrite_addresses(packet, flow)) {
    packet.decide_drop(Drop::kTtlExpired);
    return;
  }
  exchange_identification(packet);
  if (packet.kind == PacketKind::kFirstFragment) {
    rewrite_ports(packet, flow);
    account(packet, flow, state);
  } else {
    count(packet, flow, state);
  }
}

// Not accounted: an error neither refreshes a flow nor closes it (RFC 5508 REQ-6).
void translate_icmp(Packet& packet, const LcoreState& state) {
  const std::uint32_t index = packet.flow.index();
  const bool done = packet.family == Family::kIpv4
                        ? translate_error(packet, state.flows4.hot(index))
                        : translate_error(packet, state.flows6.hot(index));
  if (!done) {
    packet.decide_drop(Drop::kTtlExpired);
  }
}

// Apart, so that whole packets pay for one comparison only.
[[gnu::noinline]] void translate_other(Packet& packet, LcoreState& state) {
  if (packet.kind == PacketKind::kIcmpError) {
    translate_icmp(packet, state);
  } else if (packet.family == Family::kIpv4) {
    translate_fragment<Family::kIpv4>(packet, state);
  } else {
    translate_fragment<Family::kIpv6>(packet, state);
  }
}

}  // namespace

void exchange_identification(Packet& packet) {
  const std::uint32_t next = packet.mbuf->hash.usr;
  if (packet.family == Family::kIpv4) {
    auto* ip = packet.at<Ipv4Header>(packet.l3_offset);
    const Be16 before = ip->identification;
    const Be16 after = Be16::from_host(static_cast<std::uint16_t>(next));
    ip->identification = after;
    ip->checksum = checksum_update(ip->checksum, ChecksumDelta::exchange(before.raw, after.raw));
    packet.mbuf->hash.usr = before.host();
  } else {
    auto* header = packet.at<Fragment6Header>(packet.fragment_header);
    packet.mbuf->hash.usr = Be32{header->identification}.host();
    header->identification = Be32::from_host(next);
  }
}

void translate(Burst& burst, LcoreState& state) {
  for (std::uint32_t i = 0; i < burst.count; ++i) {
    Packet& packet = burst.packets[i];
    if (!packet.flow.valid() || packet.verdict != Verdict::kPending) {
      continue;
    }
    if (packet.kind != PacketKind::kTransport) [[unlikely]] {
      translate_other(packet, state);
    } else if (packet.family == Family::kIpv4) {
      translate_packet<Family::kIpv4>(packet, state);
    } else {
      translate_packet<Family::kIpv6>(packet, state);
    }
  }
}

}  // namespace sluice
