// SPDX-License-Identifier: Apache-2.0
// Is it ours to carry? A flow lives on one lcore, so a packet that came to another is handed over,
// once; a fragment by way of the lcore where its datagram meets. Where the port's device spreads
// packets by the hash that decides and has told it, that is believed once it was found right; what
// is on the wrong lcore nevertheless goes the same way.
#include "dataplane/net/headers.h"
#include "dataplane/stages/decisions.h"
#include "dataplane/stages/pipeline.h"

#include <algorithm>

namespace sluice {
namespace {

// Where whole tuples are hashed, a flow that keeps its client's address is known by its service.
bool keeps_client(const AddressEntry& entry, PortKey port, const Snapshot& snapshot) {
  if (!snapshot.any_dnat || snapshot.ownership->input() != OwnerInput::kFullTuple) {
    return false;
  }
  const ServicePort* service = snapshot.service_at(entry, port);
  return service != nullptr && service->mode == ForwardingMode::kDnat;
}

template <Family F>
std::optional<std::uint8_t> owner_by_key(const Packet& packet, const Snapshot& snapshot) {
  const FlowKey<F>& key = packet.key<F>();
  const AddressEntry* entry = snapshot.addresses->find(IpAddress(key.destination));
  const PortKey port{key.destination_port.host(), packet.protocol};
  if (entry != nullptr &&
      (entry->kind == AddressKind::kSnat || is_shared_snat(*entry, snapshot, port.port))) {
    return snapshot.ownership->of_packet(key, End::kDestination, false);
  }
  if (entry != nullptr && snapshot.is_for_clients(*entry, port)) {
    return snapshot.ownership->of_packet(key, End::kSource, keeps_client(*entry, port, snapshot));
  }
  return snapshot.any_dnat
             ? std::optional(snapshot.ownership->of_packet(key, End::kDestination, true))
             : std::nullopt;
}

// Is this what the device of a port makes of such a packet? Which side it took of one that faces
// both is not asked: its rule for a VIP comes and goes a moment apart from the snapshot.
template <Family F>
bool is_hash_of(std::uint32_t told, const Packet& packet, HashInput input,
                const Ownership& ownership) {
  const FlowKey<F>& key = packet.key<F>();
  if (input == HashInput::kEitherSide) {
    return told == ownership.hash_of(key, HashInput::kSource) ||
           told == ownership.hash_of(key, HashInput::kDestination);
  }
  return told == ownership.hash_of(key, input);
}

// Before its transport header, which devices look for each in its own way.
bool has_extensions(const Packet& packet) {
  return packet.family == Family::kIpv6 &&
         packet.l4_offset != packet.l3_offset + sizeof(Ipv6Header);
}

// The device says that it is ours, and is believed.
bool is_told_ours(const Packet& packet, const Snapshot& snapshot, LcoreState& state) {
  const HashInput input = snapshot.ports[packet.rx_port].hash;
  if (input == HashInput::kNone || packet.kind != PacketKind::kTransport || packet.from_host ||
      (packet.mbuf->ol_flags & RTE_MBUF_F_RX_RSS_HASH) == 0 || has_extensions(packet)) {
    return false;
  }
  const std::uint32_t told = packet.mbuf->hash.rss;
  const Ownership& ownership = *snapshot.ownership;
  if (!state.hashes.decided(packet.rx_port)) [[unlikely]] {
    const bool equal = packet.family == Family::kIpv4
                           ? is_hash_of<Family::kIpv4>(told, packet, input, ownership)
                           : is_hash_of<Family::kIpv6>(told, packet, input, ownership);
    state.hashes.compare(packet.rx_port, equal);
    auto& count = equal ? state.counters.hashes_equal : state.counters.hashes_different;
    count[packet.rx_port].add(1);
  }
  // One side's hash is a flow's only when that side is the client's, which takes the look-up.
  return input == HashInput::kTuple && !snapshot.any_dnat && state.hashes.trusts(packet.rx_port) &&
         ownership.of_hash(told) == state.number;
}

}  // namespace

bool is_shared_snat(const AddressEntry& entry, const Snapshot& snapshot,
                    std::optional<std::uint16_t> port) {
  if (entry.kind != AddressKind::kHost) {
    return false;
  }
  const auto& addresses = entry.address.family == Family::kIpv4 ? snapshot.snat4 : snapshot.snat6;
  return std::any_of(addresses.begin(), addresses.end(), [&](const SnatAddress& snat) {
    return snat.address == entry.address &&
           (!port || (*port >= snat.port_begin && *port < snat.port_end));
  });
}

std::optional<std::uint8_t> owner_of(const Packet& packet, const Snapshot& snapshot) {
  if (packet.kind > PacketKind::kIcmpError) {
    return std::nullopt;
  }
  return packet.family == Family::kIpv4 ? owner_by_key<Family::kIpv4>(packet, snapshot)
                                        : owner_by_key<Family::kIpv6>(packet, snapshot);
}

void check_owner(Burst& burst, const Snapshot& snapshot, LcoreState& state) {
  if (snapshot.ownership->lcores() == 1) {
    return;
  }
  for (std::uint32_t i = 0; i < burst.count; ++i) {
    Packet& packet = burst.packets[i];
    if (packet.verdict != Verdict::kPending || packet.errand >= Errand::kFlow ||
        is_told_ours(packet, snapshot, state)) {
      continue;
    }
    const auto owner = owner_of(packet, snapshot);
    if (owner && *owner != state.number) {
      packet.hand_over(*owner, Errand::kFlow);
    }
  }
}

}  // namespace sluice
