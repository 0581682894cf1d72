// SPDX-License-Identifier: Apache-2.0
// What is said of a drop? Every drop has a name and a count, and one of its service where that is
// known. Where a sender can do something about it he is told as well: a TCP reset or an ICMP error,
// made of his own packet and sent back the way it came, at a bounded rate. The drop keeps its name
// and count then, and counts as answered too.
#include "dataplane/net/headers.h"
#include "dataplane/stages/decisions.h"
#include "dataplane/stages/pipeline.h"
#include "dataplane/stages/refusal.h"

namespace sluice {
namespace {

// A port that nobody serves: RFC 9293 §3.10.7.1 for TCP (a reset is never answered by one), RFC
// 1122 §3.2.2.1 for the others.
Answer unreachable(const Packet& packet) {
  if (packet.kind > PacketKind::kFirstFragment) {
    return packet.kind == PacketKind::kOtherProtocol ? Answer::kProtocolUnreachable : Answer::kNone;
  }
  if (packet.protocol != kProtocolTcp) {
    return Answer::kPortUnreachable;
  }
  return (packet.tcp_flags & kTcpRst) == 0 ? Answer::kReset : Answer::kNone;
}

// RFC 1812 §4.3.2.7, RFC 4443 §2.4 e: nothing about an ICMP error, a later fragment or what came in
// a link-layer broadcast. Destinations are ours, so they are unicast; sources were judged before.
bool may_be_told(const Packet& packet) {
  return packet.kind != PacketKind::kIcmpError && packet.kind != PacketKind::kLaterFragment &&
         packet.kind != PacketKind::kEchoFragment &&
         !packet.at<EthernetHeader>(0)->destination.is_multicast();
}

Answer answer_to_reason(const Packet& packet, const Snapshot& snapshot) {
  switch (packet.drop) {
    case Drop::kTcpNoFlow:
      return (packet.tcp_flags & kTcpRst) == 0 ? Answer::kReset : Answer::kNone;
    case Drop::kSnatNoFlow:
    case Drop::kFlowClosed:
    case Drop::kEndpointGone:
      return packet.protocol == kProtocolTcp ? unreachable(packet) : Answer::kNone;
    case Drop::kNoBackend:
      return packet.has_service && packet.service->refuses ? unreachable(packet) : Answer::kNone;
    case Drop::kUnknownPort:
      return snapshot.refuse_unknown_ports ? unreachable(packet) : Answer::kNone;
    case Drop::kTtlExpired:
      return Answer::kTimeExceeded;
    case Drop::kMtuExceeded:
      return Answer::kPacketTooBig;
    default:
      return Answer::kNone;
  }
}

// Under DNAT a backend's packet is addressed to the client, in whose name we say nothing: the VIP
// says it.
template <Family F>
void speak_as_vip(FlowKey<F>& key, FlowRef ref, const FlowTable<F>& flows) {
  const FlowHot<F>& flow = flows.hot(ref.index());
  if (ref.direction() == Direction::kFromBackend && flow.keeps_client()) {
    key.destination = flow.frontend;
  }
}

void speak_as_vip(Packet& packet, const LcoreState& state) {
  if (!packet.flow.valid()) {
    return;
  }
  if (packet.family == Family::kIpv4) {
    speak_as_vip<Family::kIpv4>(packet.key4, packet.flow, state.flows4);
  } else {
    speak_as_vip<Family::kIpv6>(packet.key6, packet.flow, state.flows6);
  }
}

[[gnu::noinline]] void answer_with(Packet& packet, Answer answer, const Snapshot& snapshot,
                                   LcoreState& state) {
  if (!may_be_told(packet) || !state.answers.take(answer, state.now_ms)) {
    return;
  }
  if (packet.drop == Drop::kMtuExceeded) {
    undo_translation(packet, state);
  }
  speak_as_vip(packet, state);
  if (!write_refusal(packet, answer, snapshot.ports[packet.rx_port].mac)) {
    return;
  }
  state.counters.answered[static_cast<std::size_t>(packet.drop)].add(1);
  packet.decide(packet.from_host ? Verdict::kPunt : Verdict::kTransmit, packet.rx_port);
}

[[gnu::noinline]] void tell(Packet& packet, const Snapshot& snapshot, LcoreState& state) {
  const Answer answer = answer_to_reason(packet, snapshot);
  // A flood costs no more than this.
  if (answer == Answer::kNone || state.answers.is_spent(answer, state.now_ms)) {
    return;
  }
  answer_with(packet, answer, snapshot, state);
}

}  // namespace

Answer answer_to_drop(const Packet& packet, const Snapshot& snapshot) {
  const Answer answer = answer_to_reason(packet, snapshot);
  return answer != Answer::kNone && may_be_told(packet) ? answer : Answer::kNone;
}

void refuse(Burst& burst, const Snapshot& snapshot, LcoreState& state) {
  for (std::uint32_t i = 0; i < burst.count; ++i) {
    Packet& packet = burst.packets[i];
    if (packet.verdict != Verdict::kDrop) [[likely]] {
      continue;
    }
    state.counters.count(packet.drop);
    if (packet.has_service) {
      state.counters.services[packet.service->id].drops.add(1);
    }
    tell(packet, snapshot, state);
  }
}

}  // namespace sluice
