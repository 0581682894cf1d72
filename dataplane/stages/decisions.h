// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/snapshot/snapshot.h"
#include "dataplane/stages/packet.h"

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

}  // namespace sluice
