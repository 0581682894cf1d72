// SPDX-License-Identifier: Apache-2.0
// Is it ours to carry? Ports spread packets over the lcores' queues as they please; a flow lives on
// one lcore, so a packet that came to another is handed over, once; a fragment by way of the lcore
// where its datagram meets.
#include "dataplane/stages/decisions.h"
#include "dataplane/stages/pipeline.h"

namespace sluice {

std::optional<std::uint8_t> owner_of(const Packet& packet, const Snapshot& snapshot) {
  if (packet.kind > PacketKind::kIcmpError) {
    return std::nullopt;
  }
  const bool ipv4 = packet.family == Family::kIpv4;
  const IpAddress destination =
      ipv4 ? IpAddress(packet.key4.destination) : IpAddress(packet.key6.destination);
  const AddressEntry* entry = snapshot.addresses->find(destination);
  const bool to_client = entry == nullptr || entry->kind == AddressKind::kHost;
  if (to_client && !snapshot.any_dnat) {
    return std::nullopt;
  }
  if (to_client || entry->kind == AddressKind::kSnat) {
    const Be16 port = ipv4 ? packet.key4.destination_port : packet.key6.destination_port;
    return snapshot.ownership->of_side(destination, port.host());
  }
  const Be16 port = ipv4 ? packet.key4.source_port : packet.key6.source_port;
  return snapshot.ownership->of_side(
      ipv4 ? IpAddress(packet.key4.source) : IpAddress(packet.key6.source), port.host());
}

void check_owner(Burst& burst, const Snapshot& snapshot, std::uint8_t self) {
  if (snapshot.ownership->lcores() == 1) {
    return;
  }
  for (std::uint32_t i = 0; i < burst.count; ++i) {
    Packet& packet = burst.packets[i];
    if (packet.verdict != Verdict::kPending || packet.errand >= Errand::kFlow) {
      continue;
    }
    const auto owner = owner_of(packet, snapshot);
    if (owner && *owner != self) {
      packet.hand_over(*owner, Errand::kFlow);
    }
  }
}

}  // namespace sluice
