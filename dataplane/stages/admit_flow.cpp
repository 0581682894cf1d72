// SPDX-License-Identifier: Apache-2.0
// May it open a flow, and to whom? Maglev picks among the usable backends, the way there and back
// is looked up, a SNAT tuple is taken, and both keys are entered: all of it, or none.
#include "dataplane/stages/decisions.h"
#include "dataplane/stages/pipeline.h"
#include "dataplane/state/aging.h"

namespace sluice {
namespace {

template <Family F>
typename FlowKey<F>::Address address_of(const IpAddress& address) {
  if constexpr (F == Family::kIpv4) {
    return address.v4();
  } else {
    return address.v6();
  }
}

}  // namespace

template <Family F>
FlowHot<F> new_flow(const Packet& packet, const Choice& choice, const Snapshot& snapshot,
                    std::uint32_t now_ms) {
  const FlowKey<F>& key = packet.key<F>();
  FlowHot<F> flow{};
  flow.client = key.source;
  flow.frontend = key.destination;
  flow.client_port = key.source_port;
  flow.frontend_port = key.destination_port;
  flow.protocol = key.protocol;
  flow.network = key.network;
  flow.state = key.protocol == kProtocolTcp ? FlowState::kTcpHalfOpen : FlowState::kUdp;
  flow.backend = address_of<F>(choice.binding->address);
  flow.backend_port = Be16::from_host(choice.binding->port);
  flow.binding_slot = choice.slot & (kBindingsMax - 1);
  flow.incarnation = choice.binding->state.incarnation();
  flow.policy_epoch = snapshot.policy_epoch;
  flow.route_epoch = snapshot.route_epoch;
  flow.last_seen_ms = now_ms;
  return flow;
}

template FlowHot<Family::kIpv4> new_flow(const Packet&, const Choice&, const Snapshot&,
                                         std::uint32_t);
template FlowHot<Family::kIpv6> new_flow(const Packet&, const Choice&, const Snapshot&,
                                         std::uint32_t);

namespace {

// The closed connection whose tuple is used anew; a packet before this one in the burst may have
// ended it already, and its entry may even be another flow's by now.
template <Family F>
void close_replaced(FlowRef replaces, FlowTable<F>& flows, LcoreState& state) {
  if (!replaces.valid()) {
    return;
  }
  const FlowHot<F>& flow = flows.hot(replaces.index());
  const bool unanswered =
      flow.state == FlowState::kTcpHalfOpen && flow.last_seen_ms != state.now_ms;
  if (unanswered || has_closed(flow.state)) {
    close_flow(flows, replaces.index(), state.now_ms, state.counters);
  }
}

// A new connection with the tuple of one that is closing, to the same backend and with the client's
// own address: for the backend too it is the same tuple, so the entry begins anew.
template <Family F>
bool reopen(Packet& packet, const Choice& choice, const Snapshot& snapshot, FlowTable<F>& flows,
            LcoreState& state) {
  if (!packet.replaces.valid()) {
    return false;
  }
  FlowHot<F>& flow = flows.hot(packet.replaces.index());
  if (!has_closed(flow.state) || !flow.keeps_client() || flow.binding_slot != choice.slot ||
      flow.client_key() != packet.key<F>()) {
    return false;
  }
  if (!keep_to_half_open_max(flows, state.now_ms, state.counters)) {
    return false;
  }
  restart_flow(flows, packet.replaces.index(), state.now_ms, state.counters);
  // By the ways of now, whatever has changed since the old one's last packet.
  flow.policy_epoch = snapshot.policy_epoch;
  flow.route_epoch = snapshot.route_epoch;
  flow.next_hop = {kNoNextHop, kNoNextHop};
  set_options(flow, flows.cold(packet.replaces.index()), packet.service->flow_options);
  packet.flow = packet.replaces;
  return true;
}

bool is_mid_stream(const Packet& packet) {
  return packet.protocol == kProtocolTcp && (packet.tcp_flags & kTcpSyn) == 0;
}

// The hash of the reply key, if the flow has its client's own tuple.
template <Family F>
std::optional<std::uint64_t> keep_client(const Packet& packet, FlowHot<F>& flow, const Way& there,
                                         const Way& back, FlowTable<F>& flows) {
  const auto tuple = client_tuple(flow, is_mid_stream(packet), there, back, flows);
  if (!tuple) {
    return std::nullopt;
  }
  if (tuple->holder.valid()) {
    flows.erase(tuple->holder.index());
  }
  flow.snat = flow.client;
  flow.snat_port = flow.client_port;
  return tuple->hash;
}

// The hash of the reply key; or a drop by name.
template <Family F>
std::optional<std::uint64_t> choose_tuple(Packet& packet, FlowHot<F>& flow, const Way& there,
                                          const Way& back, const Snapshot& snapshot,
                                          LcoreState& state) {
  FlowTable<F>& flows = state.flows<F>();
  if (packet.service->mode == ForwardingMode::kDnat) {
    if (const auto hash = keep_client(packet, flow, there, back, flows)) {
      return hash;
    }
  }
  if (is_mid_stream(packet)) {
    packet.decide_drop(Drop::kTcpNoFlow);  // no other tuple would do
    return std::nullopt;
  }
  const QuotaIds quotas = packet.service->quotas;
  if (quotas.any() && !state.quotas.reserve(quotas, QuotaKind::kSnatPorts)) {
    packet.decide_drop(Drop::kSnatPortQuota);
    return std::nullopt;
  }
  const auto hash = state.snat.choose(snat_addresses<F>(snapshot), *snapshot.ownership, flows,
                                      state.counters, flow);
  if (!hash) {
    packet.decide_drop(Drop::kSnatExhausted);
  }
  return hash;
}

// Only a flow that opens refreshes it; its packets do not.
void remember_affinity(const ServicePort& service, const Choice& choice, const IpAddress& client,
                       LcoreState& state) {
  if (service.affinity_ms != 0 && state.affinity.remember(client, service.id, name_of(choice),
                                                          state.now_ms, service.affinity_ms)) {
    state.counters.affinity_evicted.add(1);
  }
}

// A client's flows belong to several lcores, its affinity to one. So what opens a flow goes there
// first, which chooses and remembers, and comes back with the choice. True: it is under way.
template <Family F>
[[gnu::noinline]] bool visits_keeper(Packet& packet, const Snapshot& snapshot, LcoreState& state) {
  const FlowKey<F>& key = packet.key<F>();
  const IpAddress client(key.source);
  if (packet.errand >= Errand::kAffinityChosen) {
    return false;
  }
  if (packet.errand == Errand::kAffinity) {
    const std::uint8_t owner = owner_of(packet, snapshot).value_or(state.number);
    if (owner == state.number) {
      return false;
    }
    if (packet.kind == PacketKind::kLaterFragment) {
      packet.hand_over(owner, Errand::kFollowed);
      return true;
    }
    const Choice choice = choose_binding(*packet.service, key, snapshot, state);
    remember_affinity(*packet.service, choice, client, state);
    packet.chosen = name_of(choice);
    packet.hand_over(owner, Errand::kAffinityChosen);
    return true;
  }
  const std::uint8_t keeper = snapshot.ownership->of_client(client);
  // A packet before this one in the burst may have opened the flow.
  if (keeper == state.number ||
      (!packet.replaces.valid() && state.flows<F>().find(key, packet.hash).valid())) {
    return false;
  }
  packet.hand_over(keeper, Errand::kAffinity);
  return true;
}

// Room, a tuple, both keys; or a drop by name.
template <Family F>
[[gnu::always_inline]] inline bool open_flow(Packet& packet, FlowHot<F>& flow, const Way& there,
                                             const Way& back, const Snapshot& snapshot,
                                             LcoreState& state) {
  FlowTable<F>& flows = state.flows<F>();
  const ServicePort& service = *packet.service;
  const bool half_open = flow.state == FlowState::kTcpHalfOpen;
  if ((flows.is_short() && !make_room(flows, state.now_ms, state.counters)) ||
      (half_open && !keep_to_half_open_max(flows, state.now_ms, state.counters))) {
    packet.decide_drop(Drop::kFlowTableFull);
    return false;
  }
  const auto reply_hash = choose_tuple(packet, flow, there, back, snapshot, state);
  if (!reply_hash) {
    return false;
  }
  set_checksum_deltas(flow);
  FlowCold cold{.service_port = service.id, .opened_ms = state.now_ms, .quotas = service.quotas};
  if (service.flow_options != FlowOptions{}) {
    set_options(flow, cold, service.flow_options);
  }
  packet.flow = flows.insert(flow, cold, packet.hash, *reply_hash);
  if (!packet.flow.valid()) {
    packet.decide_drop(Drop::kFlowTableFull);
  }
  return packet.flow.valid();
}

// Whether Maglev alone chooses for it, and the flow has a SNAT tuple: so prefetch_burst() has
// chosen already.
bool is_chosen_ahead(const ServicePort& service) {
  return service.mode == ForwardingMode::kFullNat && service.affinity_ms == 0;
}

template <Family F>
void admit(Packet& packet, const Snapshot& snapshot, LcoreState& state) {
  FlowTable<F>& flows = state.flows<F>();
  const FlowKey<F>& key = packet.key<F>();
  const ServicePort& service = *packet.service;
  if ((service.affinity_ms != 0 || packet.errand == Errand::kAffinity) &&
      visits_keeper<F>(packet, snapshot, state)) {
    return;
  }
  const bool chosen = packet.errand == Errand::kAffinityChosen;
  const Choice choice = is_chosen_ahead(service)
                            ? Choice{packet.chosen.slot, &snapshot.bindings->at(packet.chosen.slot)}
                            : choose_binding(service, key, snapshot, state,
                                             chosen ? std::optional(packet.chosen) : std::nullopt);
  if (service.mode == ForwardingMode::kDnat && reopen(packet, choice, snapshot, flows, state)) {
    if (!chosen) {
      remember_affinity(service, choice, IpAddress(key.source), state);
    }
    return;
  }
  close_replaced(packet.replaces, flows, state);
  // A packet before this one in the burst may have opened the flow.
  packet.flow = flows.find(key, packet.hash);
  if (packet.flow.valid()) {
    return;
  }
  if (packet.kind == PacketKind::kLaterFragment) {
    packet.decide_drop(Drop::kFragmentNoFlow);
    return;
  }
  const Way there = way_to(choice.binding->address, snapshot);
  const Way back = way_to(IpAddress(key.source), snapshot);
  if (!there.routed || !back.routed) {
    packet.decide_drop(Drop::kNoRoute);
    return;
  }
  // Before anything of others' has to make room for it.
  if (service.quotas.any() && !state.quotas.reserve(service.quotas, QuotaKind::kFlows)) {
    packet.decide_drop(Drop::kFlowQuota);
    return;
  }
  FlowHot<F> flow = new_flow<F>(packet, choice, snapshot, state.now_ms);
  flow.next_hop = {there.next_hop, back.next_hop};
  if (!open_flow(packet, flow, there, back, snapshot, state)) {
    if (service.quotas.any()) {
      state.quotas.give_back(service.quotas);
    }
    return;
  }
  if (!chosen) {
    remember_affinity(service, choice, IpAddress(key.source), state);
  }
  state.counters.services[service.id].flows_opened.add(1);
  state.counters.bindings[choice.slot].flows_opened.add(1);
}

}  // namespace

template <Family F>
std::optional<ClientTuple> client_tuple(const FlowHot<F>& flow, bool mid_stream, const Way& there,
                                        const Way& back, const FlowTable<F>& flows) {
  if (!returns_through_us(there, back)) {
    return std::nullopt;
  }
  FlowHot<F> kept = flow;
  kept.snat = flow.client;
  kept.snat_port = flow.client_port;
  const std::uint64_t hash = flows.hash_of(kept.reply_key());
  const FlowRef holder = flows.find(kept.reply_key(), hash);
  if (holder.valid()) {
    // One that was closed this very turn may still be some packet's flow; unless it is this one's
    // predecessor, over by now, whose packets the new flow, in the same entry, carries alike.
    const FlowHot<F>& held = flows.hot(holder.index());
    const bool in_use =
        held.state != FlowState::kQuarantine || held.last_seen_ms == flow.last_seen_ms;
    if ((in_use && held.client_key() != flow.client_key()) ||
        (mid_stream && (held.flags & kFlowRevoked) != 0)) {
      return std::nullopt;
    }
  }
  return ClientTuple{hash, holder};
}

template std::optional<ClientTuple> client_tuple(const FlowHot<Family::kIpv4>&, bool, const Way&,
                                                 const Way&, const FlowTable<Family::kIpv4>&);
template std::optional<ClientTuple> client_tuple(const FlowHot<Family::kIpv6>&, bool, const Way&,
                                                 const Way&, const FlowTable<Family::kIpv6>&);

Way way_to(const IpAddress& destination, const Snapshot& snapshot) {
  const Route* route = snapshot.routes->find(destination);
  if (route == nullptr || route->kind == Route::Kind::kBlackhole) {
    return {};
  }
  Way way;
  way.routed = true;
  way.port = route->port;
  way.on_link = route->kind == Route::Kind::kOnLink;
  way.neighbour = route->kind == Route::Kind::kGateway ? route->gateway : destination;
  way.next_hop = snapshot.next_hops->find(way.port, way.neighbour);
  return way;
}

bool returns_through_us(const Way& there, const Way& back) {
  const bool one_link = there.on_link && back.on_link;
  return there.port != back.port || !(one_link || there.neighbour == back.neighbour);
}

namespace {

// The bucket that the answers' tuple will lie in, if nothing comes between: without affinity, and
// while the first port tried is free. A guess costs little, and a bucket that has to be waited for
// as much as all the rest.
template <Family F>
void prefetch_new(Packet& packet, const Snapshot& snapshot, const LcoreState& state,
                  SnatPorts& ahead) {
  const Choice choice = choose_by_maglev(*packet.service, packet.key<F>(), snapshot);
  FlowHot<F> flow;
  flow.client = packet.key<F>().source;
  flow.protocol = packet.protocol;
  flow.network = packet.key<F>().network;
  flow.backend = address_of<F>(choice.binding->address);
  flow.backend_port = Be16::from_host(choice.binding->port);
  ahead.prefetch(snat_addresses<F>(snapshot), *snapshot.ownership, state.flows<F>(), flow);
  if (is_chosen_ahead(*packet.service)) {
    packet.chosen = {.slot = choice.slot & (kBindingsMax - 1)};
  }
}

void prefetch_burst(Burst& burst, const Snapshot& snapshot, const LcoreState& state) {
  SnatPorts ahead = state.snat;
  for (std::uint32_t i = 0; i < burst.count; ++i) {
    Packet& packet = burst.packets[i];
    if (!packet.has_service || packet.verdict != Verdict::kPending ||
        packet.service->mode != ForwardingMode::kFullNat) {
      continue;
    }
    if (packet.family == Family::kIpv4) {
      prefetch_new<Family::kIpv4>(packet, snapshot, state, ahead);
    } else {
      prefetch_new<Family::kIpv6>(packet, snapshot, state, ahead);
    }
  }
}

}  // namespace

void admit_flow(Burst& burst, const Snapshot& snapshot, LcoreState& state) {
  prefetch_burst(burst, snapshot, state);
  for (std::uint32_t i = 0; i < burst.count; ++i) {
    Packet& packet = burst.packets[i];
    if (!packet.has_service || packet.verdict != Verdict::kPending) {
      continue;
    }
    if (packet.family == Family::kIpv4) {
      admit<Family::kIpv4>(packet, snapshot, state);
    } else {
      admit<Family::kIpv6>(packet, snapshot, state);
    }
  }
}

}  // namespace sluice
