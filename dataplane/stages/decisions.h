// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/snapshot/snapshot.h"
#include "dataplane/stages/packet.h"
#include "dataplane/state/answer_limits.h"
#include "dataplane/state/flow.h"

#include <span>

// Decisions that more than one stage, and `explain`, take: each is made in one place.
namespace sluice {

// Where a packet to `destination` has to go next.
struct Way {
  bool routed = false;                 // false: there is no route
  NextHopIndex next_hop = kNoNextHop;  // kNoNextHop with a route: the neighbour is not known yet
  std::uint8_t port = 0;
  IpAddress neighbour;
};
[[nodiscard]] Way way_to(const IpAddress& destination, const Snapshot& snapshot);

// The binding a new flow with this client tuple gets. service.maglev is not null.
struct Choice {
  std::uint32_t slot = 0;
  const Binding* binding = nullptr;
};
template <typename Key>
[[nodiscard]] Choice choose_binding(const ServicePort& service, const Key& key,
                                    const Snapshot& snapshot) {
  const std::uint16_t endpoint = service.maglev->pick(maglev_hash(key, snapshot.maglev_seed));
  const std::uint32_t slot = service.binding_slots[endpoint];
  return {slot, &snapshot.bindings->at(slot)};
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

// A flow found by its tuple whose time is over: closed already, its slot with another binding now,
// or UDP that can go on at another endpoint, its own being removed.
template <Family F>
[[nodiscard]] bool is_over(FlowRef ref, const FlowHot<F>& flow, const Snapshot& snapshot);

// What the sender of a packet that was dropped is told in our name, rate apart; kNone: nothing.
[[nodiscard]] Answer answer_to_drop(const Packet& packet, const Snapshot& snapshot);

// No packet for one of our addresses can come from here.
[[nodiscard]] bool is_impossible_source(const IpAddress& source, const Snapshot& snapshot);

// An ICMP error's outer header, its quote and all checksums, made such as the other side of the
// flow must see them. False when TTL or hop limit is used up; nothing has changed then.
template <Family F>
[[nodiscard]] bool translate_error(Packet& packet, const FlowHot<F>& flow);

}  // namespace sluice
