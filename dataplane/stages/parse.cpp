// SPDX-License-Identifier: Apache-2.0
// What is it? Checks in the order of RFC 1812 §5.2.2 for IPv4 and RFC 8200 §3 for IPv6, and reads
// the key. Only what a forwarding decision rests on is judged here; whose packet it is comes later,
// so that the kernel still gets what is addressed to it.
#include "dataplane/net/checksum.h"
#include "dataplane/net/headers.h"
#include "dataplane/stages/pipeline.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace sluice {
namespace {

constexpr std::uint16_t kL3Offset = sizeof(EthernetHeader);

// RFC 9293 §3.1, RFC 768. `l4_length`: what the IP header leaves for the transport.
bool parse_transport(Packet& packet, std::uint32_t l4_length, Be16& source, Be16& destination) {
  const std::uint32_t in_segment = packet.mbuf->data_len - std::uint32_t{packet.l4_offset};
  if (packet.protocol == kProtocolTcp) {
    const auto* tcp = packet.at<TcpHeader>(packet.l4_offset);
    if (l4_length < sizeof(TcpHeader) || in_segment < sizeof(TcpHeader) ||
        tcp->data_offset < 0x50 || (tcp->data_offset >> 4U) * 4U > l4_length) {
      return false;
    }
    packet.tcp_flags = tcp->flags;
    source = tcp->source_port;
    destination = tcp->destination_port;
  } else {
    const auto* udp = packet.at<UdpHeader>(packet.l4_offset);
    if (l4_length < sizeof(UdpHeader) || in_segment < sizeof(UdpHeader) ||
        udp->length.host() < sizeof(UdpHeader) || udp->length.host() > l4_length) {
      return false;
    }
    packet.tcp_flags = 0;
    source = udp->source_port;
    destination = udp->destination_port;
  }
  packet.kind = PacketKind::kTransport;
  return true;
}

// The part that both families share, from the transport protocol on.
template <typename Key, typename Ip>
void parse_payload(Burst& burst, Packet& packet, const Ip* ip, Key& key, std::uint32_t l4_length) {
  key.source = ip->source;
  key.destination = ip->destination;
  key.source_port = Be16{};
  key.destination_port = Be16{};
  key.protocol = packet.protocol;
  key.network = kDefaultNetwork;
  key.reserved = 0;
  if (packet.protocol == kProtocolTcp || packet.protocol == kProtocolUdp) [[likely]] {
    if (!parse_transport(packet, l4_length, key.source_port, key.destination_port)) {
      packet.decide_drop(Drop::kTransportHeader);
    }
    return;
  }
  const bool icmp =
      packet.protocol == (packet.family == Family::kIpv4 ? kProtocolIcmp : kProtocolIcmp6);
  packet.kind = icmp ? PacketKind::kIcmp : PacketKind::kOtherProtocol;
  burst.icmp_messages += icmp ? 1 : 0;
  if (icmp && (l4_length < sizeof(IcmpHeader) ||
               packet.mbuf->data_len < packet.l4_offset + sizeof(IcmpHeader))) {
    packet.decide_drop(Drop::kTransportHeader);
  }
}

bool ipv4_checksum_good(const Packet& packet, const Ipv4Header* ip, std::uint32_t header_length) {
  switch (packet.mbuf->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK) {
    case RTE_MBUF_F_RX_IP_CKSUM_GOOD:
      return true;
    case RTE_MBUF_F_RX_IP_CKSUM_BAD:
      return false;
    default: {
      const auto* bytes = reinterpret_cast<const std::uint8_t*>(ip);
      // Of known length it is five straight additions.
      const ChecksumSum sum = header_length == sizeof(Ipv4Header)
                                  ? checksum_sum({bytes, sizeof(Ipv4Header)})
                                  : checksum_sum({bytes, header_length});
      return fold(sum) == 0xffff;
    }
  }
}

void parse_ipv4(Burst& burst, Packet& packet) {
  const auto* ip = packet.at<Ipv4Header>(kL3Offset);
  if (packet.mbuf->data_len < kL3Offset + sizeof(Ipv4Header)) {
    packet.decide_drop(Drop::kTruncated);
    return;
  }
  const std::uint32_t header_length = (ip->version_ihl & 0xfU) * 4U;
  const std::uint32_t total_length = ip->total_length.host();
  if (ip->version_ihl >> 4U != 4 || header_length < sizeof(Ipv4Header) ||
      total_length < header_length || total_length > packet.mbuf->pkt_len - kL3Offset ||
      packet.mbuf->data_len < kL3Offset + header_length) {
    packet.decide_drop(Drop::kIpv4Header);
    return;
  }
  if (!ipv4_checksum_good(packet, ip, header_length)) {
    packet.decide_drop(Drop::kIpv4Checksum);
    return;
  }
  packet.family = Family::kIpv4;
  packet.protocol = ip->protocol;
  packet.l3_offset = kL3Offset;
  packet.l4_offset = static_cast<std::uint16_t>(kL3Offset + header_length);
  packet.l3_length = static_cast<std::uint16_t>(total_length);
  parse_payload(burst, packet, ip, packet.key4, total_length - header_length);
  if ((ip->fragment_offset.raw & kIpv4FragmentMask.raw) != 0) [[unlikely]] {
    packet.kind = PacketKind::kFragment;
    packet.verdict = Verdict::kPending;  // what the transport header looked like means nothing
  }
}

// RFC 8200 §4: hop-by-hop, routing, ESP, AH, destination options, mobility, HIP, shim6.
bool is_extension_header(std::uint8_t protocol) {
  switch (protocol) {
    case 0:
    case 43:
    case 50:
    case 51:
    case 60:
    case 135:
    case 139:
    case 140:
      return true;
    default:
      return false;
  }
}

void parse_ipv6(Burst& burst, Packet& packet) {
  const auto* ip = packet.at<Ipv6Header>(kL3Offset);
  if (packet.mbuf->data_len < kL3Offset + sizeof(Ipv6Header)) {
    packet.decide_drop(Drop::kTruncated);
    return;
  }
  const std::uint32_t payload_length = ip->payload_length.host();
  const Be32 first_word = ip->version_class_flow;  // a copy: it is not aligned where it lies
  if (first_word.host() >> 28U != 6 ||
      payload_length + sizeof(Ipv6Header) > packet.mbuf->pkt_len - kL3Offset) {
    packet.decide_drop(Drop::kIpv6Header);
    return;
  }
  packet.family = Family::kIpv6;
  packet.protocol = ip->next_header;
  packet.l3_offset = kL3Offset;
  packet.l4_offset = static_cast<std::uint16_t>(kL3Offset + sizeof(Ipv6Header));
  packet.l3_length = static_cast<std::uint16_t>(payload_length + sizeof(Ipv6Header));
  parse_payload(burst, packet, ip, packet.key6, payload_length);
  if (packet.protocol == kProtocolFragment6) {
    packet.kind = PacketKind::kFragment;
  } else if (is_extension_header(packet.protocol)) {
    packet.kind = PacketKind::kExtensionHeader;
  }
}

// A unicast destination must be the port's own; the kernel's frames carry their next hop's.
bool for_this_station(const Packet& packet, const EthernetHeader* ethernet, const PortFacts& port) {
  return packet.from_host || ethernet->destination.is_multicast() ||
         ethernet->destination == port.mac;
}

// RFC 1122 §3.3.6: a link-layer broadcast must not carry a packet to a unicast address.
bool is_unicast_in_broadcast(const Packet& packet, const EthernetHeader* ethernet) {
  if (!ethernet->destination.is_multicast() || packet.kind != PacketKind::kTransport) {
    return false;
  }
  return packet.family == Family::kIpv6 ? !packet.key6.destination.is_multicast()
                                        : packet.key4.destination.value.host() < 0xe000'0000;
}

// The tag goes, and the packet is the VLAN's port's from here on; VID 0 is a priority alone (IEEE
// 802.1Q §9.6). Ports are not asked to take tags out, so all of them are in the frame. False when
// there is nothing to go on with.
[[gnu::noinline]] bool take_off_tag(Packet& packet, const Snapshot& snapshot) {
  rte_mbuf* mbuf = packet.mbuf;
  if (mbuf->data_len < sizeof(EthernetHeader) + sizeof(VlanTag)) {
    packet.decide_drop(Drop::kTruncated);
    return false;
  }
  const auto* tag = packet.at<VlanTag>(offsetof(EthernetHeader, ether_type) + sizeof(Be16));
  const std::uint16_t vlan = tag->control.host() & kVlanIdMask;
  char* begin = rte_pktmbuf_mtod(mbuf, char*);
  std::memmove(begin + sizeof(VlanTag), begin, 2 * sizeof(MacAddress));
  rte_pktmbuf_adj(mbuf, sizeof(VlanTag));
  if (vlan == 0) {
    return true;
  }
  const auto at = std::find_if(
      snapshot.ports.begin(), snapshot.ports.end(),
      [&](const PortFacts& facts) { return facts.vlan == vlan && facts.device == packet.rx_port; });
  if (at == snapshot.ports.end()) {
    packet.decide_drop(Drop::kVlan);
    return false;
  }
  packet.rx_port = static_cast<std::uint8_t>(at - snapshot.ports.begin());
  return true;
}

void parse_packet(Burst& burst, Packet& packet, const Snapshot& snapshot) {
  if (packet.mbuf->data_len < sizeof(EthernetHeader)) {
    packet.decide_drop(Drop::kTruncated);
    return;
  }
  if (packet.at<EthernetHeader>(0)->ether_type == kEtherTypeVlan && !take_off_tag(packet, snapshot))
      [[unlikely]] {
    return;
  }
  const auto* ethernet = packet.at<EthernetHeader>(0);
  if (!for_this_station(packet, ethernet, snapshot.ports[packet.rx_port])) {
    packet.decide_drop(Drop::kOtherStation);
    return;
  }
  if (ethernet->ether_type == kEtherTypeIpv4) [[likely]] {
    parse_ipv4(burst, packet);
  } else if (ethernet->ether_type == kEtherTypeIpv6) {
    parse_ipv6(burst, packet);
  } else if (ethernet->ether_type == kEtherTypeArp) {
    packet.kind = PacketKind::kArp;
    return;
  } else {
    packet.decide_drop(Drop::kEtherType);
    return;
  }
  if (packet.verdict == Verdict::kPending && is_unicast_in_broadcast(packet, ethernet))
      [[unlikely]] {
    packet.decide_drop(Drop::kOtherStation);
  }
}

}  // namespace

void parse(Burst& burst, const Snapshot& snapshot) {
  constexpr std::uint32_t kAhead = 6;
  burst.icmp_messages = 0;
  for (std::uint32_t i = 0; i < burst.count && i < kAhead; ++i) {
    __builtin_prefetch(burst.packets[i].at<std::uint8_t>(0), 1);
  }
  for (std::uint32_t i = 0; i < burst.count; ++i) {
    if (i + kAhead < burst.count) {
      __builtin_prefetch(burst.packets[i + kAhead].at<std::uint8_t>(0), 1);
    }
    parse_packet(burst, burst.packets[i], snapshot);
  }
}

}  // namespace sluice
