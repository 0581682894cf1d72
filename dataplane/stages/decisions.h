// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/snapshot/snapshot.h"
#include "dataplane/stages/packet.h"
#include "dataplane/state/answer_limits.h"
#include "dataplane/state/flow.h"
#include "dataplane/state/lcore_state.h"

#include <optional>
#include <span>

// Decisions that more than one stage, and `explain`, take: each is made in one place.
namespace sluice {

// The lcore whose flow tables decide about this packet: by the client's side of it, or by the SNAT
// address and port it is addressed to; an ICMP error's is that of the flow it is about. Nothing
// when any lcore may.
[[nodiscard]] std::optional<std::uint8_t> owner_of(const Packet& packet, const Snapshot& snapshot);

// An address of the host's of which we have some ports, as a SNAT address: this one of them, or
// any.
[[nodiscard]] bool is_shared_snat(const AddressEntry& entry, const Snapshot& snapshot,
                                  std::optional<std::uint16_t> port = std::nullopt);

// Where a packet to `destination` has to go next.
struct Way {
  bool routed = false;                 // false: there is no route
  bool on_link = false;                // the neighbour is the destination itself
  NextHopIndex next_hop = kNoNextHop;  // kNoNextHop with a route: the neighbour is not known yet
  std::uint8_t port = 0;
  IpAddress neighbour;
};
[[nodiscard]] Way way_to(const IpAddress& destination, const Snapshot& snapshot);

// The binding a new flow with this client tuple gets. service.maglev is not null.
struct Choice {
  std::uint32_t slot = 0;
  const Binding* binding = nullptr;
  bool by_affinity = false;  // else by Maglev
};

// A binding that is named, if it takes new flows of the service still: not one that drains, is
// gone, or whose slot is another's by now.
[[nodiscard]] inline std::optional<Choice> choose_named(const ServicePort& service,
                                                        BindingRef named,
                                                        const Snapshot& snapshot) {
  if (snapshot.bindings->state(named.slot) !=
      BindingStateByte::make(BindingState::kActive, static_cast<std::uint8_t>(named.incarnation))) {
    return std::nullopt;
  }
  const Binding& binding = snapshot.bindings->at(named.slot);
  if (binding.service_port != service.id) {
    return std::nullopt;
  }
  return Choice{named.slot, &binding, true};
}

template <typename Key>
[[nodiscard]] Choice choose_by_maglev(const ServicePort& service, const Key& key,
                                      const Snapshot& snapshot) {
  const std::uint16_t endpoint = service.maglev->pick(maglev_hash(key, snapshot.maglev_seed));
  const std::uint32_t slot = service.binding_slots[endpoint];
  return {slot, &snapshot.bindings->at(slot)};
}

// `affinity`: what the lcore said that keeps the client's (Ownership::of_client); nothing when that
// is this one, whose own table is asked then.
template <typename Key>
[[nodiscard]] Choice choose_binding(const ServicePort& service, const Key& key,
                                    const Snapshot& snapshot, const LcoreState& state,
                                    std::optional<BindingRef> affinity = std::nullopt) {
  if (service.affinity_ms != 0) {
    if (!affinity) {
      affinity =
          state.affinity.find(IpAddress(key.source), service.id, state.now_ms, service.affinity_ms);
    }
    if (const auto choice = affinity ? choose_named(service, *affinity, snapshot) : std::nullopt) {
      return *choice;
    }
  }
  return choose_by_maglev(service, key, snapshot);
}

[[nodiscard]] inline BindingRef name_of(const Choice& choice) {
  return BindingRef::make(choice.slot, choice.binding->state.incarnation());
}

// Whether the service refuses this client (the real one), and as what; else Drop::kNone. Before
// everything else a service decides, its having no backend included (KUBERNETES 3.5).
[[nodiscard]] inline Drop refusal(const ServicePort& service, const IpAddress& client) {
  if (service.denied != nullptr && service.denied->contains(client)) {
    return Drop::kSourceDenied;
  }
  return service.allowed == nullptr || service.allowed->contains(client) ? Drop::kNone
                                                                         : Drop::kSourceRange;
}

template <Family F>
[[nodiscard]] std::span<const SnatAddress> snat_addresses(const Snapshot& snapshot) {
  return F == Family::kIpv4 ? snapshot.snat4 : snapshot.snat6;
}

// The flow that this packet opens towards `choice`, but for its SNAT tuple and what follows from
// it.
template <Family F>
[[nodiscard]] FlowHot<F> new_flow(const Packet& packet, const Choice& choice,
                                  const Snapshot& snapshot, std::uint32_t now_ms);

// Whether a DNAT service's backend, answering the client's own address, answers through us: not
// when the two are neighbours or lie behind one, which would carry the answer past us.
[[nodiscard]] bool returns_through_us(const Way& there, const Way& back);

// The client's own tuple towards the backend, for a new flow of a DNAT service.
struct ClientTuple {
  std::uint64_t hash;  // of the reply key
  FlowRef holder;      // a flow that has it yet, in quarantine or over by now, if any
};
// Nothing when answers to it would not come through us, or when another flow has it. `flow`:
// without a SNAT tuple so far. `mid_stream`: it is no SYN that opens it.
template <Family F>
[[nodiscard]] std::optional<ClientTuple> client_tuple(const FlowHot<F>& flow, bool mid_stream,
                                                      const Way& there, const Way& back,
                                                      const FlowTable<F>& flows);

// A flow found by its tuple whose time is over: closed already, its slot with another binding now,
// or, its endpoint being removed, TCP that ends with it and UDP that can go on at another.
template <Family F>
[[nodiscard]] bool is_over(FlowRef ref, const FlowHot<F>& flow, const Snapshot& snapshot);

// The service port whose flow this is, while it is there and has this frontend; else null.
template <Family F>
[[nodiscard]] const ServicePort* service_of(const FlowHot<F>& flow, const FlowCold& cold,
                                            const Snapshot& snapshot);

// As refusal(), for a flow that was admitted under another policy; kNone for one that was judged by
// this one.
template <Family F>
[[nodiscard]] Drop refusal_since(const FlowHot<F>& flow, const FlowCold& cold,
                                 const Snapshot& snapshot);

// What the sender of a packet that was dropped is told in our name, rate apart; kNone: nothing.
[[nodiscard]] Answer answer_to_drop(const Packet& packet, const Snapshot& snapshot);

// No packet for one of our addresses can come from here.
[[nodiscard]] bool is_impossible_source(const IpAddress& source, const Snapshot& snapshot);

// Changes the identification of a packet for the one in its buffer's `hash.usr`, where the other
// remains, so that twice is not at all. IPv6: of one with a fragment header.
void exchange_identification(Packet& packet);

// An ICMP error's outer header, its quote and all checksums, made such as the other side of the
// flow must see them. False when TTL or hop limit is used up; nothing has changed then.
template <Family F>
[[nodiscard]] bool translate_error(Packet& packet, const FlowHot<F>& flow);

}  // namespace sluice
