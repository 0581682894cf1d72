// SPDX-License-Identifier: Apache-2.0
#include "dataplane/lcore/worker.h"

#include "dataplane/lcore/fragmentation.h"
#include "dataplane/lcore/random.h"
#include "dataplane/net/headers.h"

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include <algorithm>
#include <ctime>
#include <sys/prctl.h>

namespace sluice {
namespace {

// NUMA node of the lcore's CPU.
int socket_of(const WorkerContext& context) {
  return static_cast<int>(rte_lcore_to_socket_id(context.lcore));
}

LcoreState make_state(const WorkerContext& context, const TableMemory& memory4,
                      const TableMemory& memory6) {
  const auto secret = random_value<HashSecret>();
  const auto number = static_cast<std::uint8_t>(context.number);
  return LcoreState{FlowTable<Family::kIpv4>(memory4.region(), context.flows_ipv4, secret),
                    FlowTable<Family::kIpv6>(memory6.region(), context.flows_ipv6, secret),
                    SnatPorts(random_value<std::uint64_t>(), number),
                    *context.counters,
                    number,
                    0,
                    Affinity(context.affinity_clients, random_value<HashSecret>()),
                    AnswerLimits{},
                    Fragments(number, static_cast<std::uint8_t>(context.handoff->lcores()),
                              random_value<HashSecret>())};
}

// RFC 4861 §4: router and neighbour solicitations and advertisements, redirects.
bool is_neighbour_discovery(const Packet& packet) {
  if (packet.kind != PacketKind::kIcmp || packet.family != Family::kIpv6) {
    return false;
  }
  const std::uint8_t type = packet.at<IcmpHeader>(packet.l4_offset)->type;
  return type >= kIcmp6RouterSolicitation && type <= kIcmp6Redirect;
}

}  // namespace

PuntClass punt_class(const Packet& packet, const Snapshot& snapshot) {
  if (packet.kind == PacketKind::kArp || is_neighbour_discovery(packet)) {
    return PuntClass::kNeighbour;
  }
  const IpAddress to = packet.family == Family::kIpv4 ? IpAddress(packet.key4.destination)
                                                      : IpAddress(packet.key6.destination);
  const AddressEntry* entry = snapshot.addresses->find(to);
  const bool broadcast = to.is_ipv4() && to.v4().value.raw == 0xffff'ffff;
  const bool known = entry != nullptr && entry->kind != AddressKind::kWithdrawn &&
                     entry->kind != AddressKind::kNode;
  return known || to.is_multicast() || to.is_link_local() || broadcast ? PuntClass::kHost
                                                                       : PuntClass::kTransit;
}

namespace {

// Those that the worker polls; a VLAN's packets come from its device's.
std::vector<RxQueue> queues_of(const WorkerContext& context) {
  std::vector<RxQueue> queues;
  for (const PortLink& port : context.ports) {
    if (port.vlan == 0) {
      queues.push_back({port.id, static_cast<std::uint16_t>(context.number)});
    }
  }
  return queues;
}

}  // namespace

Worker::Worker(const WorkerContext& context)
    : context_(context),
      memory4_(FlowTable<Family::kIpv4>::region_bytes(context.flows_ipv4), context.hugepages,
               "dataplane.flows_ipv4", socket_of(context)),
      memory6_(FlowTable<Family::kIpv6>::region_bytes(context.flows_ipv6), context.hugepages,
               "dataplane.flows_ipv6", socket_of(context)),
      state_(make_state(context, memory4_, memory6_)),
      hold_(context.hold_pool, context.punt->wanted(), *context.counters),
      commands_(rte_ring_create(("commands_" + std::to_string(context.number)).c_str(), kCommands,
                                SOCKET_ID_ANY, RING_F_SC_DEQ)),
      outputs_(context.ports.size()),
      handings_(context.handoff->lcores()),
      ticks_per_ms_(rte_get_tsc_hz() / 1000),
      idle_(context.idle_wait, context.idle_sleep_us, queues_of(context)),
      busy_share_(rte_get_tsc_hz()) {
  const auto budget = [&context](std::uint32_t flows) {
    return static_cast<std::uint32_t>(std::uint64_t{flows} * context.half_open_percent / 100);
  };
  if (context.quotas != nullptr) {
    state_.quotas = LcoreQuotas(*context.quotas, context.number);
  }
  state_.flows4.count_in(state_.quotas);
  state_.flows6.count_in(state_.quotas);
  state_.flows4.set_half_open_max(budget(context.flows_ipv4));
  state_.flows6.set_half_open_max(budget(context.flows_ipv6));
  if (commands_ == nullptr) {
    throw StartFault("dataplane.memory: no room for the command ring; raise it");
  }
}

Worker::~Worker() {
  state_.fragments.clear();
  drop_discarded();
}

void Worker::run() {
  prctl(PR_SET_TIMERSLACK, 1UL);
  context_.rcu->join(context_.number);
  while (!stop_.load(std::memory_order_relaxed)) {
    turn();
  }
  context_.rcu->leave(context_.number);
}

void Worker::turn() {
  const Snapshot& snapshot = context_.rcu->read();
  const std::uint64_t now = rte_rdtsc();
  state_.now_ms = static_cast<std::uint32_t>(now / ticks_per_ms_);
  busy_share_.span(now, worked_, state_.counters.busy_permille);
  state_.counters.epoch_seen.set(snapshot.epoch);
  const std::uint32_t packets =
      receive_from_ports(snapshot) + receive_from_kernel(snapshot) + receive_handed(snapshot);
  state_.fragments.expire(state_.now_ms);
  receive_released(snapshot);
  drop_discarded();
  hold_.retry(snapshot, state_.now_ms, [this](const HeldPacket& held) { transmit_held(held); });
  for (std::uint8_t port = 0; port < outputs_.size(); ++port) {
    flush(port);
  }
  worked_ = serve_command(snapshot);
  worked_ |= aging4_.run(state_.flows4, state_.now_ms, state_.counters);
  worked_ |= aging6_.run(state_.flows6, state_.now_ms, state_.counters);
  state_.counters.flows_ipv4.set(state_.flows4.size());
  state_.counters.flows_ipv6.set(state_.flows6.size());
  state_.counters.held_fragments.set(state_.fragments.held());
  state_.counters.half_open.set(state_.flows4.count(FlowList::kHalfOpen) +
                                state_.flows6.count(FlowList::kHalfOpen));
  state_.counters.turns.add(1);
  context_.rcu->quiescent(context_.number);
  if (packets != 0) {
    state_.counters.packets.add(packets);
    worked_ = true;
    idle_.worked();
  } else {
    state_.counters.idle_turns.add(1);
    wait_when_idle();
  }
}

std::uint32_t Worker::receive_from_ports(const Snapshot& snapshot) {
  std::uint32_t packets = 0;
  rte_mbuf* received[kBurstMax];
  for (std::uint8_t port = 0; port < context_.ports.size(); ++port) {
    if (context_.ports[port].vlan != 0) {
      continue;  // received with its device's
    }
    const std::uint16_t count = rte_eth_rx_burst(
        context_.ports[port].id, static_cast<std::uint16_t>(context_.number), received, kBurstMax);
    if (count == 0) {
      continue;
    }
    burst_.count = 0;
    for (std::uint16_t i = 0; i < count; ++i) {
      burst_.add(received[i], port, false);
    }
    run_pipeline(burst_, snapshot, state_);
    act(snapshot);
    packets += count;
  }
  return packets;
}

// The kernel's packets enter at parse like any other, so that the host reaches VIPs too;
// announcements go out as they are. Both belong to the first lcore.
std::uint32_t Worker::receive_from_kernel(const Snapshot& snapshot) {
  if (context_.number != 0) {
    return 0;
  }
  std::uint32_t packets = 0;
  for (std::uint8_t port = 0; port < context_.punt->ports(); ++port) {
    packets += take_from_kernel(port, snapshot);
  }
  return packets;
}

std::uint32_t Worker::take_from_kernel(std::uint8_t port, const Snapshot& snapshot) {
  Punt::PortEnds& ends = context_.punt->port(port);
  void* taken[kBurstMax];
  const unsigned frames =
      rte_ring_dequeue_burst(ends.announcements.get(), taken, kBurstMax, nullptr);
  for (unsigned i = 0; i < frames; ++i) {
    transmit(static_cast<rte_mbuf*>(taken[i]), port);
  }
  const unsigned count = rte_ring_dequeue_burst(ends.from_kernel.get(), taken, kBurstMax, nullptr);
  if (count == 0) {
    return frames;
  }
  burst_.count = 0;
  for (unsigned i = 0; i < count; ++i) {
    burst_.add(static_cast<rte_mbuf*>(taken[i]), port, true);
  }
  run_pipeline(burst_, snapshot, state_);
  act(snapshot);
  return frames + count;
}

std::uint32_t Worker::receive_handed(const Snapshot& snapshot) {
  std::uint32_t packets = 0;
  HandedPacket handed[kBurstMax];
  for (unsigned from = 0; from < handings_.size(); ++from) {
    const unsigned count =
        from == context_.number ? 0 : context_.handoff->receive(from, context_.number, handed);
    if (count == 0) {
      continue;
    }
    burst_.count = 0;
    for (unsigned i = 0; i < count; ++i) {
      handed[i].unpack(burst_);
    }
    run_pipeline(burst_, snapshot, state_);
    act(snapshot);
    packets += count;
  }
  return packets;
}

// Fragments whose first one has come by now begin anew. None of them can wait again.
void Worker::receive_released(const Snapshot& snapshot) {
  std::vector<HeldFragment>& released = state_.fragments.released();
  for (std::size_t begin = 0; begin < released.size(); begin += kBurstMax) {
    burst_.count = 0;
    for (std::size_t i = begin; i < std::min(begin + kBurstMax, released.size()); ++i) {
      released[i].mbuf->hash.usr = released[i].identification;
      burst_.add(released[i].mbuf, released[i].port, released[i].from_host);
      burst_.packets[burst_.count - 1].errand = Errand::kReleased;
      burst_.packets[burst_.count - 1].lent = released[i].lent;
    }
    run_pipeline(burst_, snapshot, state_);
    act(snapshot);
  }
  released.clear();
}

void Worker::drop_discarded() {
  for (const HeldFragment& fragment : state_.fragments.discarded()) {
    drop(fragment.mbuf, fragment.drop);
  }
  state_.fragments.discarded().clear();
}

void Worker::act(const Snapshot& snapshot) {
  for (std::uint32_t i = 0; i < burst_.count; ++i) {
    Packet& packet = burst_.packets[i];
    switch (packet.verdict) {
      case Verdict::kTransmit:
        transmit(packet.mbuf, packet.out_port);
        break;
      case Verdict::kPunt:
        punt(packet, snapshot);
        break;
      case Verdict::kHandOver:
        hand_over(packet);
        break;
      case Verdict::kHold:
        hold_.hold(packet, state_.now_ms);
        break;
      case Verdict::kHoldFragment:
        hold_fragment(packet);
        break;
      case Verdict::kFragment:
        transmit_fragments(packet.mbuf, packet.out_port, packet.next_hop_mtu);
        break;
      case Verdict::kDrop:
      case Verdict::kPending:
        rte_pktmbuf_free(packet.mbuf);
        break;
    }
  }
  flush_handed();
}

void Worker::hand_over(const Packet& packet) {
  Handing& handing = handings_[packet.owner];
  handing.packets[handing.count++] = HandedPacket::pack(packet);
}

void Worker::flush_handed() {
  for (unsigned to = 0; to < handings_.size(); ++to) {
    Handing& handing = handings_[to];
    if (handing.count == 0) {
      continue;
    }
    const std::span<const HandedPacket> all(handing.packets.data(), handing.count);
    const unsigned sent = context_.handoff->send(context_.number, to, all);
    state_.counters.handed_over.add(sent);
    for (const HandedPacket& left : all.subspan(sent)) {
      drop(left.mbuf, Drop::kHandoffFull);
    }
    handing.count = 0;
  }
}

void Worker::transmit(rte_mbuf* mbuf, std::uint8_t port) {
  if (mbuf->nb_segs > 1 && !context_.ports[port].takes_segments) [[unlikely]] {
    rte_mbuf* whole = rte_pktmbuf_copy(mbuf, context_.fragment_pool, 0, UINT32_MAX);
    if (whole == nullptr) {
      drop(mbuf, Drop::kNoBuffer);
      return;
    }
    rte_pktmbuf_free(mbuf);
    mbuf = whole;
  }
  if (context_.ports[port].vlan != 0) {
    mbuf->vlan_tci = context_.ports[port].vlan;
    if (rte_vlan_insert(&mbuf) != 0) {
      drop(mbuf, Drop::kTransmitFull);  // no headroom is left: a device's buffers all have some
      return;
    }
  }
  Output& output = outputs_[port];
  output.mbufs[output.count++] = mbuf;
  if (output.count == kBurstMax) {
    flush(port);
  }
}

void Worker::transmit_fragments(rte_mbuf* mbuf, std::uint8_t port, std::uint16_t mtu) {
  rte_mbuf* fragments[kFragmentsMax];
  const std::uint32_t count = fragment(mbuf, mtu, context_.fragment_pool, fragments);
  if (count == 0) {
    drop(mbuf, Drop::kNoBuffer);
    return;
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    transmit(fragments[i], port);
  }
  state_.counters.fragmented.add(1);
  rte_pktmbuf_free(mbuf);
}

// Its way out was not known when it was held, so nobody has looked at the MTU.
void Worker::transmit_held(const HeldPacket& held) {
  if (ip_length(held.mbuf) <= held.mtu) {
    transmit(held.mbuf, held.out_port);
  } else if (may_fragment(rte_pktmbuf_mtod(held.mbuf, const EthernetHeader*))) {
    identify(held.mbuf, state_.fragments.next_identification());
    transmit_fragments(held.mbuf, held.out_port, held.mtu);
  } else {
    drop(held.mbuf, Drop::kMtuExceeded);
  }
}

// Copied, so that it does not keep a port's buffer.
void Worker::hold_fragment(const Packet& packet) {
  rte_mbuf* copy = rte_pktmbuf_copy(packet.mbuf, context_.fragment_pool, 0, UINT32_MAX);
  if (copy == nullptr ||
      !state_.fragments.hold(packet.datagram, {copy, packet.rx_port, packet.from_host})) {
    rte_pktmbuf_free(copy);
    state_.counters.count(Drop::kFragmentLimit);
  }
  rte_pktmbuf_free(packet.mbuf);
}

void Worker::flush(std::uint8_t port) {
  Output& output = outputs_[port];
  std::uint32_t sent = 0;
  for (unsigned tries = 0; sent < output.count && tries < kSendTries; ++tries) {
    sent += rte_eth_tx_burst(context_.ports[port].id, static_cast<std::uint16_t>(context_.number),
                             &output.mbufs[sent], static_cast<std::uint16_t>(output.count - sent));
  }
  for (std::uint32_t i = sent; i < output.count; ++i) {
    drop(output.mbufs[i], Drop::kTransmitFull);
    output.dropped.add(1);
  }
  output.count = 0;
}

void Worker::punt(const Packet& packet, const Snapshot& snapshot) {
  Punt::PortEnds& ends = context_.punt->port(packet.out_port);
  TokenBucket& bucket = buckets_[static_cast<std::size_t>(punt_class(packet, snapshot))];
  if (ends.twin == nullptr) {
    drop(packet.mbuf, Drop::kTransit);
  } else if (!bucket.take(state_.now_ms)) {
    drop(packet.mbuf, Drop::kPuntLimited);
  } else if (rte_ring_enqueue(ends.to_kernel.get(), packet.mbuf) != 0) {
    drop(packet.mbuf, Drop::kPuntFull);
  }
}

void Worker::drop(rte_mbuf* mbuf, Drop reason) {
  state_.counters.count(reason);
  rte_pktmbuf_free(mbuf);
}

bool Worker::submit(Command* command) {
  return rte_ring_enqueue(commands_.get(), command) == 0;
}

// False when there was none.
bool Worker::serve_command(const Snapshot& snapshot) {
  if (serving_ == nullptr) {
    void* command = nullptr;
    if (rte_ring_dequeue(commands_.get(), &command) != 0) {
      return false;
    }
    serving_ = static_cast<Command*>(command);
  }
  if (serving_->step(snapshot, state_)) {
    serving_->finish();
    serving_ = nullptr;
  }
  return true;
}

void Worker::wait_when_idle() {
  const std::uint32_t us = idle_.wait_us();
  if (us == 0 || aging4_.behind() || aging6_.behind() || serving_ != nullptr) {
    return;
  }
  busy_share_.span(rte_rdtsc(), worked_, state_.counters.busy_permille);
  worked_ = false;  // the wait is none
  context_.rcu->offline(context_.number);
  idle_.wait(us);
  context_.rcu->online(context_.number);
}

}  // namespace sluice
