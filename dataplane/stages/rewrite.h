// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/checksum.h"
#include "dataplane/net/headers.h"
#include "dataplane/stages/packet.h"
#include "dataplane/state/flow.h"

#include <bit>
#include <cstddef>
#include <cstring>

// How a frame becomes what its flow says: written in one pass by find_flow for a hit that needs
// nothing else, step by step by translate and forward for all others.
namespace sluice {

// Half of what the flow's byte counts can hold: folded then, long before they wrap.
inline constexpr std::uint32_t kFoldAtBytes = 1U << 31U;

// The TTL lies in the high byte of its checksum word; one less of it is the same everywhere.
inline constexpr ChecksumDelta kTtlDelta = ChecksumDelta::exchange(Be16::from_host(0x0100).raw, 0);

// The delta of this direction; one is kept for both.
[[nodiscard]] inline ChecksumDelta towards(ChecksumDelta from_client, Direction from) {
  return ChecksumDelta{
      static_cast<std::uint16_t>(from_client.raw ^ -static_cast<std::uint32_t>(at(from)))};
}

// False when the packet must not go on: TTL or hop limit used up (RFC 1812 §5.3.1).
[[gnu::always_inline]] inline bool rewrite_addresses(Packet& packet,
                                                     const FlowHot<Family::kIpv4>& flow) {
  auto* ip = packet.at<Ipv4Header>(packet.l3_offset);
  if (ip->time_to_live <= 1) {
    return false;
  }
  const Direction from = packet.flow.direction();
  --ip->time_to_live;
  ip->checksum = checksum_update(ip->checksum, towards(flow.l3_delta, from), kTtlDelta);
  // Destination and source lie there in this order, and the other way round in the packet.
  store(reinterpret_cast<std::byte*>(ip) + offsetof(Ipv4Header, source),
        std::rotl(load<std::uint64_t>(flow.end_towards(from)), 32));
  return true;
}

[[gnu::always_inline]] inline bool rewrite_addresses(Packet& packet,
                                                     const FlowHot<Family::kIpv6>& flow) {
  auto* ip = packet.at<Ipv6Header>(packet.l3_offset);
  if (ip->hop_limit <= 1) {
    return false;
  }
  --ip->hop_limit;
  const std::byte* end = flow.end_towards(packet.flow.direction());
  std::memcpy(&ip->destination, end, sizeof(ip->destination));
  std::memcpy(&ip->source, end + sizeof(ip->destination), sizeof(ip->source));
  return true;
}

// RFC 768: a UDP checksum of zero means none, and a computed zero is sent as 0xffff.
template <Family F>
[[gnu::always_inline]] inline void rewrite_ports(Packet& packet, const FlowHot<F>& flow) {
  const Direction from = packet.flow.direction();
  const ChecksumDelta delta = towards(flow.l4_delta, from);
  const std::byte* ports = flow.end_towards(from) + 2 * sizeof(flow.client);
  auto* udp = packet.at<UdpHeader>(packet.l4_offset);
  store(udp, std::rotl(load<std::uint32_t>(ports), 16));
  if (packet.protocol == kProtocolTcp) {
    auto* tcp = packet.at<TcpHeader>(packet.l4_offset);
    tcp->checksum = checksum_update(tcp->checksum, delta);
  } else if (udp->checksum.raw != 0) {
    const Be16 checksum = checksum_update(udp->checksum, delta);
    udp->checksum = Be16{static_cast<std::uint16_t>(checksum.raw == 0 ? 0xffff : checksum.raw)};
  }
}

inline void write_ethernet(rte_mbuf* mbuf, const NextHop& next_hop, Be16 ether_type) {
  auto* ethernet = rte_pktmbuf_mtod(mbuf, EthernetHeader*);
  ethernet->destination = next_hop.header.destination;
  ethernet->source = next_hop.header.source;
  ethernet->ether_type = ether_type;
}
[[nodiscard]] constexpr Be16 ether_type_of(Family family) {
  return family == Family::kIpv4 ? kEtherTypeIpv4 : kEtherTypeIpv6;
}

}  // namespace sluice
