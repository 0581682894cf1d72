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
        tcp->data_offset < 0x50 ||
        (tcp->data_offset >> 4U) * 4U > std::min(l4_length, in_segment)) {
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

// Nothing of it but its addresses and protocol is known yet.
template <typename Key, typename Ip>
void set_key(const Packet& packet, const Ip* ip, Key& key) {
  key.source = ip->source;
  key.destination = ip->destination;
  key.source_port = Be16{};
  key.destination_port = Be16{};
  key.protocol = packet.protocol;
  key.network = kDefaultNetwork;
  key.reserved = 0;
}

// The part that both families share, from the transport protocol on.
template <typename Key, typename Ip>
void parse_payload(Burst& burst, Packet& packet, const Ip* ip, Key& key, std::uint32_t l4_length) {
  set_key(packet, ip, key);
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

// What its transport header looks like means nothing before virtual_reassembly.
template <typename Key, typename Ip>
[[gnu::noinline]] void parse_fragment(Burst& burst, Packet& packet, const Ip* ip, Key& key,
                                      std::uint32_t header) {
  set_key(packet, ip, key);
  packet.kind = PacketKind::kFragment;
  packet.fragment_header = static_cast<std::uint16_t>(header);
  ++burst.fragments;
}

[[gnu::always_inline]] inline bool ipv4_checksum_good(const Packet& packet, const Ipv4Header* ip,
                                                      std::uint32_t header_length) {
  switch (packet.mbuf->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK) {
    case RTE_MBUF_F_RX_IP_CKSUM_GOOD:
      return true;
    case RTE_MBUF_F_RX_IP_CKSUM_BAD:
      return false;
    default:
      return is_checksum_good(
          checksum_sum({reinterpret_cast<const std::uint8_t*>(ip), header_length}));
  }
}

// `header_length` is known where there are no options, so that all of this is straight code.
[[gnu::always_inline]] inline void parse_ipv4_header(Burst& burst, Packet& packet,
                                                     const Ipv4Header* ip,
                                                     std::uint32_t header_length) {
  const std::uint32_t total_length = ip->total_length.host();
  if (total_length < header_length || total_length > packet.mbuf->pkt_len - kL3Offset) {
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
  if ((ip->fragment_offset.raw & kIpv4FragmentMask.raw) != 0) [[unlikely]] {
    parse_fragment(burst, packet, ip, packet.key4, kL3Offset);
    return;
  }
  parse_payload(burst, packet, ip, packet.key4, total_length - header_length);
}

// RFC 791 §3.1. A source route would have it visit others than the backend we choose (RFC 7126
// §4.3, §4.4); all other options stay as they are.
bool options_let_pass(const Ipv4Header* ip, std::uint32_t header_length) {
  constexpr std::uint8_t kEnd = 0;
  constexpr std::uint8_t kNoOperation = 1;
  constexpr std::uint8_t kLooseSourceRoute = 131;
  constexpr std::uint8_t kStrictSourceRoute = 137;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(ip);
  std::uint32_t at = sizeof(Ipv4Header);
  while (at < header_length && bytes[at] != kEnd) {
    if (bytes[at] == kNoOperation) {
      ++at;
      continue;
    }
    if (bytes[at] == kLooseSourceRoute || bytes[at] == kStrictSourceRoute ||
        at + 1 >= header_length || bytes[at + 1] < 2 || at + bytes[at + 1] > header_length) {
      return false;
    }
    at += bytes[at + 1];
  }
  return true;
}

[[gnu::noinline]] void parse_ipv4_with_options(Burst& burst, Packet& packet, const Ipv4Header* ip) {
  const std::uint32_t header_length = (ip->version_ihl & 0xfU) * 4U;
  if (ip->version_ihl >> 4U != 4 || header_length < sizeof(Ipv4Header) ||
      packet.mbuf->data_len < kL3Offset + header_length) {
    packet.decide_drop(Drop::kIpv4Header);
    return;
  }
  if (!options_let_pass(ip, header_length)) {
    packet.decide_drop(Drop::kIpv4Options);
    return;
  }
  parse_ipv4_header(burst, packet, ip, header_length);
}

void parse_ipv4(Burst& burst, Packet& packet) {
  constexpr std::uint8_t kWithoutOptions = 0x45;
  const auto* ip = packet.at<Ipv4Header>(kL3Offset);
  if (packet.mbuf->data_len < kL3Offset + sizeof(Ipv4Header)) {
    packet.decide_drop(Drop::kTruncated);
  } else if (ip->version_ihl == kWithoutOptions) [[likely]] {
    parse_ipv4_header(burst, packet, ip, sizeof(Ipv4Header));
  } else {
    parse_ipv4_with_options(burst, packet, ip);
  }
}

// Behind the fixed header, up to what is no extension header that a packet through a NAT may have
// (RFC 8200 §4). `offset`: of `protocol`'s header, in the frame.
struct Ipv6Walk {
  std::uint32_t offset = 0;
  std::uint8_t protocol = 0;
  std::uint32_t fragment_header = 0;  // 0: there is none, or it is the whole packet (RFC 6946)
  bool later_fragment = false;        // `protocol` is what the first fragment begins with
  bool passable = true;               // false: not for us, perhaps for others
};

// One header on; false when there is none to go past. What runs over the end is cut off there.
bool step(const Packet& packet, unsigned count, std::uint32_t end, Ipv6Walk& walk) {
  const auto* header = packet.at<ExtensionHeader>(static_cast<std::uint16_t>(walk.offset));
  const bool whole = walk.offset + sizeof(ExtensionHeader) <= end;
  switch (walk.protocol) {
    case kProtocolHopByHop:
    case kProtocolRouting:
    case kProtocolDestinationOptions:
      walk.passable = whole && walk.offset + header->octets() <= end &&
                      (walk.protocol != kProtocolHopByHop || count == 0) &&
                      (walk.protocol != kProtocolRouting || header->segments_left == 0);
      break;
    case kProtocolFragment6: {
      const auto* fragment = reinterpret_cast<const Fragment6Header*>(header);
      walk.passable = whole && walk.fragment_header == 0;
      if (!walk.passable) {
        return false;
      }
      const bool later = (fragment->offset_more.raw & kFragment6OffsetMask.raw) != 0;
      if (later || (fragment->offset_more.raw & kFragment6More.raw) != 0) {
        walk.fragment_header = walk.offset;
      }
      walk.later_fragment = later;
      walk.protocol = fragment->next_header;
      walk.offset += sizeof(Fragment6Header);
      return !later;
    }
    case kProtocolEsp:
    case kProtocolAuthentication:
    case kProtocolNoNextHeader:
    case kProtocolMobility:
    case kProtocolHip:
    case kProtocolShim6:
      walk.passable = false;
      break;
    default:
      return false;
  }
  if (walk.passable) {
    walk.protocol = header->next_header;
    walk.offset += header->octets();
  }
  return walk.passable;
}

// RFC 8200 §4: hop-by-hop, routing, fragment, ESP, AH, no next header, destination options,
// mobility, HIP, shim6.
bool is_extension_header(std::uint8_t protocol) {
  switch (protocol) {
    case kProtocolHopByHop:
    case kProtocolRouting:
    case kProtocolFragment6:
    case kProtocolEsp:
    case kProtocolAuthentication:
    case kProtocolNoNextHeader:
    case kProtocolDestinationOptions:
    case kProtocolMobility:
    case kProtocolHip:
    case kProtocolShim6:
      return true;
    default:
      return false;
  }
}

[[gnu::noinline]] void parse_extension_headers(Burst& burst, Packet& packet, const Ipv6Header* ip) {
  const std::uint32_t l3_end = packet.l3_offset + std::uint32_t{packet.l3_length};
  const std::uint32_t end = std::min<std::uint32_t>(l3_end, packet.mbuf->data_len);
  Ipv6Walk walk;
  walk.offset = packet.l4_offset;
  walk.protocol = packet.protocol;
  unsigned count = 0;
  while (count < kExtensionHeadersMax && step(packet, count, end, walk)) {
    ++count;
  }
  // Of a fragment, too: its later ones do not show what stands behind the fragment header, and all
  // of them must go one way.
  if (walk.fragment_header != 0) {
    packet.protocol = walk.protocol;
    packet.l4_offset = static_cast<std::uint16_t>(walk.offset);
    parse_fragment(burst, packet, ip, packet.key6, walk.fragment_header);
  } else if (!walk.passable || is_extension_header(walk.protocol)) {
    set_key(packet, ip, packet.key6);
    packet.kind = PacketKind::kExtensionHeader;
  } else {
    packet.protocol = walk.protocol;
    packet.l4_offset = static_cast<std::uint16_t>(walk.offset);
    parse_payload(burst, packet, ip, packet.key6, l3_end - walk.offset);
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
  if (packet.protocol != kProtocolTcp && packet.protocol != kProtocolUdp &&
      is_extension_header(packet.protocol)) [[unlikely]] {
    parse_extension_headers(burst, packet, ip);
  } else {
    parse_payload(burst, packet, ip, packet.key6, payload_length);
  }
}

// A unicast destination must be the port's own; the kernel's frames carry their next hop's.
bool for_this_station(const Packet& packet, const EthernetHeader* ethernet, const PortFacts& port) {
  return packet.from_host || ethernet->destination.is_multicast() ||
         ethernet->destination == port.mac;
}

// RFC 1122 §3.3.6: a link-layer broadcast must not carry a packet to a unicast address.
bool is_unicast_in_broadcast(const Packet& packet, const EthernetHeader* ethernet) {
  if (!ethernet->destination.is_multicast() ||
      (packet.kind != PacketKind::kTransport && packet.kind != PacketKind::kFragment)) {
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

// A packet in several buffers: as much of it in the first as that has room for, so that headers,
// and what an ICMP error quotes, are in one piece. What is emptied is freed.
[[gnu::noinline]] void gather_headers(rte_mbuf* mbuf) {
  if (!RTE_MBUF_DIRECT(mbuf) || rte_mbuf_refcnt_read(mbuf) != 1) {
    return;
  }
  while (mbuf->next != nullptr && rte_pktmbuf_tailroom(mbuf) != 0) {
    rte_mbuf* next = mbuf->next;
    const std::uint16_t octets = std::min(rte_pktmbuf_tailroom(mbuf), next->data_len);
    std::memcpy(rte_pktmbuf_mtod_offset(mbuf, char*, mbuf->data_len), rte_pktmbuf_mtod(next, char*),
                octets);
    mbuf->data_len = static_cast<std::uint16_t>(mbuf->data_len + octets);
    next->data_off = static_cast<std::uint16_t>(next->data_off + octets);
    next->data_len = static_cast<std::uint16_t>(next->data_len - octets);
    if (next->data_len == 0) {
      mbuf->next = next->next;
      --mbuf->nb_segs;
      rte_pktmbuf_free_seg(next);
    }
  }
}

[[gnu::noinline]] void parse_packet(Burst& burst, Packet& packet, const Snapshot& snapshot) {
  if (packet.mbuf->nb_segs != 1) [[unlikely]] {
    gather_headers(packet.mbuf);
  }
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

// What nearly all packets are: for this station, IPv4 without options, whole, TCP or UDP, nothing
// wrong with it. That is asked for by few loads and compares of whole words; every other packet,
// the broken ones too, is parse_packet's, which would say the same of these.
[[gnu::always_inline]] inline bool parse_plain(Packet& packet, const PortFacts& port) {
  constexpr std::uint16_t kL4Offset = kL3Offset + sizeof(Ipv4Header);
  constexpr std::uint64_t kMacBits = 0xffff'ffff'ffffULL;
  constexpr std::uint32_t kPlainBits = 0x00ff'ffff;
  constexpr std::uint32_t kPlain = 0x0045'0008;  // ether_type, then version and header length
  const auto* frame = packet.at<std::uint8_t>(0);
  const std::uint32_t length = packet.mbuf->data_len;
  if (length < kL4Offset + sizeof(UdpHeader) || packet.mbuf->nb_segs != 1 ||
      ((load<std::uint64_t>(frame) ^ load<std::uint64_t>(&port)) & kMacBits) != 0 ||
      (load<std::uint32_t>(frame + offsetof(EthernetHeader, ether_type)) & kPlainBits) != kPlain) {
    return false;
  }
  const auto* ip = packet.at<Ipv4Header>(kL3Offset);
  const std::uint32_t total_length = ip->total_length.host();
  const auto l4_length = static_cast<std::uint32_t>(total_length - sizeof(Ipv4Header));
  if (total_length > length - kL3Offset || total_length < sizeof(Ipv4Header) + sizeof(UdpHeader) ||
      (ip->fragment_offset.raw & kIpv4FragmentMask.raw) != 0 ||
      !ipv4_checksum_good(packet, ip, sizeof(Ipv4Header))) {
    return false;
  }
  const std::uint8_t protocol = ip->protocol;
  std::uint8_t tcp_flags = 0;
  if (protocol == kProtocolUdp) {
    const std::uint32_t udp_length = packet.at<UdpHeader>(kL4Offset)->length.host();
    if (udp_length < sizeof(UdpHeader) || udp_length > l4_length) {
      return false;
    }
  } else {
    const auto* tcp = packet.at<TcpHeader>(kL4Offset);
    if (protocol != kProtocolTcp || l4_length < sizeof(TcpHeader) || tcp->data_offset < 0x50 ||
        (tcp->data_offset >> 4U) * 4U > l4_length) {
      return false;
    }
    tcp_flags = tcp->flags;
  }
  packet.l3_offset = kL3Offset;
  packet.l4_offset = kL4Offset;
  packet.l3_length = static_cast<std::uint16_t>(total_length);
  packet.kind = PacketKind::kTransport;
  packet.family = Family::kIpv4;
  packet.protocol = protocol;
  packet.tcp_flags = tcp_flags;
  // The key's first word is both addresses, its second the ports and the protocol.
  store(&packet.key4, load<std::uint64_t>(frame + kL3Offset + offsetof(Ipv4Header, source)));
  store(&packet.key4.source_port,
        load<std::uint32_t>(frame + kL4Offset) | std::uint64_t{protocol} << 32U);
  return true;
}
static_assert(kDefaultNetwork == 0 && offsetof(PortFacts, mac) == 0 && sizeof(PortFacts) >= 8);

}  // namespace

void parse(Burst& burst, const Snapshot& snapshot) {
  constexpr std::uint32_t kAhead = 6;
  burst.icmp_messages = 0;
  burst.fragments = 0;
  for (std::uint32_t i = 0; i < burst.count && i < kAhead; ++i) {
    __builtin_prefetch(burst.packets[i].at<std::uint8_t>(0), 1);
  }
  for (std::uint32_t i = 0; i < burst.count; ++i) {
    if (i + kAhead < burst.count) {
      __builtin_prefetch(burst.packets[i + kAhead].at<std::uint8_t>(0), 1);
    }
    Packet& packet = burst.packets[i];
    if (!parse_plain(packet, snapshot.ports[packet.rx_port])) [[unlikely]] {
      parse_packet(burst, packet, snapshot);
    }
  }
}

}  // namespace sluice
