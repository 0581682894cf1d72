// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/address.h"
#include "dataplane/net/endian.h"

#include <cstdint>

// Headers as they lie in a packet: byte aligned, network order, no implicit swaps. They are only
// ever read and written through pointers into packet memory.
namespace sluice {

inline constexpr Be16 kEtherTypeIpv4 = Be16::from_host(0x0800);
inline constexpr Be16 kEtherTypeArp = Be16::from_host(0x0806);
inline constexpr Be16 kEtherTypeVlan = Be16::from_host(0x8100);
inline constexpr Be16 kEtherTypeIpv6 = Be16::from_host(0x86dd);

inline constexpr std::uint8_t kProtocolIcmp = 1;
inline constexpr std::uint8_t kProtocolTcp = 6;
inline constexpr std::uint8_t kProtocolUdp = 17;
inline constexpr std::uint8_t kProtocolIcmp6 = 58;

// IPv6 extension headers (RFC 8200 §4, IANA's registry of them).
inline constexpr std::uint8_t kProtocolHopByHop = 0;
inline constexpr std::uint8_t kProtocolRouting = 43;
inline constexpr std::uint8_t kProtocolFragment6 = 44;
inline constexpr std::uint8_t kProtocolEsp = 50;
inline constexpr std::uint8_t kProtocolAuthentication = 51;
inline constexpr std::uint8_t kProtocolNoNextHeader = 59;
inline constexpr std::uint8_t kProtocolDestinationOptions = 60;
inline constexpr std::uint8_t kProtocolMobility = 135;
inline constexpr std::uint8_t kProtocolHip = 139;
inline constexpr std::uint8_t kProtocolShim6 = 140;
// So many are walked past, in a packet and in one that an ICMP error quotes.
inline constexpr unsigned kExtensionHeadersMax = 8;

inline constexpr std::uint8_t kTcpFin = 0x01;
inline constexpr std::uint8_t kTcpSyn = 0x02;
inline constexpr std::uint8_t kTcpRst = 0x04;
inline constexpr std::uint8_t kTcpAck = 0x10;

struct __attribute__((packed)) EthernetHeader {
  MacAddress destination;
  MacAddress source;
  Be16 ether_type;
};
static_assert(sizeof(EthernetHeader) == 14);

// IEEE 802.1Q §9.6, between the addresses and the type of what is tagged.
struct __attribute__((packed)) VlanTag {
  Be16 control;  // priority, drop eligible, and the VID in the low 12 bits
  Be16 ether_type;
};
static_assert(sizeof(VlanTag) == 4);
inline constexpr std::uint16_t kVlanIdMask = 0xfff;

// RFC 826, for Ethernet and IPv4.
struct __attribute__((packed)) ArpHeader {
  Be16 hardware_type;
  Be16 protocol_type;
  std::uint8_t hardware_length;
  std::uint8_t protocol_length;
  Be16 operation;
  MacAddress sender_mac;
  Ipv4Address sender_ip;
  MacAddress target_mac;
  Ipv4Address target_ip;
};
static_assert(sizeof(ArpHeader) == 28);
inline constexpr Be16 kArpRequest = Be16::from_host(1);
inline constexpr Be16 kArpReply = Be16::from_host(2);

struct __attribute__((packed)) Ipv4Header {
  std::uint8_t version_ihl;
  std::uint8_t type_of_service;
  Be16 total_length;
  Be16 identification;
  Be16 fragment_offset;  // flags in the top three bits
  std::uint8_t time_to_live;
  std::uint8_t protocol;
  Be16 checksum;
  Ipv4Address source;
  Ipv4Address destination;
};
static_assert(sizeof(Ipv4Header) == 20);
inline constexpr Be16 kIpv4FragmentMask = Be16::from_host(0x3fff);  // MF and the offset
inline constexpr Be16 kIpv4OffsetMask = Be16::from_host(0x1fff);
inline constexpr Be16 kIpv4MoreFragments = Be16::from_host(0x2000);
inline constexpr Be16 kIpv4DontFragment = Be16::from_host(0x4000);

// An untagged IPv4 packet whose sender lets routers cut it (RFC 791 §3.1).
[[nodiscard]] inline bool may_fragment(const EthernetHeader* ethernet) {
  const auto* ip = reinterpret_cast<const Ipv4Header*>(ethernet + 1);
  return ethernet->ether_type == kEtherTypeIpv4 &&
         (ip->fragment_offset.raw & kIpv4DontFragment.raw) == 0;
}

struct __attribute__((packed)) Ipv6Header {
  Be32 version_class_flow;
  Be16 payload_length;
  std::uint8_t next_header;
  std::uint8_t hop_limit;
  Ipv6Address source;
  Ipv6Address destination;
};
static_assert(sizeof(Ipv6Header) == 40);

// RFC 8200 §4.3, §4.4, §4.6: what hop-by-hop options, destination options and routing headers begin
// with.
struct __attribute__((packed)) ExtensionHeader {
  std::uint8_t next_header;
  std::uint8_t length;  // in units of 8 octets, without the first
  std::uint8_t routing_type;
  std::uint8_t segments_left;  // of a routing header
  Be32 rest;

  [[nodiscard]] constexpr std::uint32_t octets() const { return (length + 1U) * 8U; }
};
static_assert(sizeof(ExtensionHeader) == 8);

// RFC 8200 §4.5.
struct __attribute__((packed)) Fragment6Header {
  std::uint8_t next_header;
  std::uint8_t reserved;
  Be16 offset_more;  // the offset in the top 13 bits, the flag in the last
  Be32 identification;
};
static_assert(sizeof(Fragment6Header) == 8);
inline constexpr Be16 kFragment6OffsetMask = Be16::from_host(0xfff8);
inline constexpr Be16 kFragment6More = Be16::from_host(0x0001);

struct __attribute__((packed)) TcpHeader {
  Be16 source_port;
  Be16 destination_port;
  Be32 sequence;
  Be32 acknowledgement;
  std::uint8_t data_offset;  // in the top four bits, 32-bit words
  std::uint8_t flags;
  Be16 window;
  Be16 checksum;
  Be16 urgent;
};
static_assert(sizeof(TcpHeader) == 20);

struct __attribute__((packed)) UdpHeader {
  Be16 source_port;
  Be16 destination_port;
  Be16 length;
  Be16 checksum;  // 0 = none (IPv4 only)
};
static_assert(sizeof(UdpHeader) == 8);

// RFC 792 and RFC 4443: the first eight bytes are alike.
struct __attribute__((packed)) IcmpHeader {
  std::uint8_t type;
  std::uint8_t code;
  Be16 checksum;
  Be32 rest;
};
static_assert(sizeof(IcmpHeader) == 8);
inline constexpr std::uint8_t kIcmpEchoReply = 0;
inline constexpr std::uint8_t kIcmpUnreachable = 3;
inline constexpr std::uint8_t kIcmpSourceQuench = 4;
inline constexpr std::uint8_t kIcmpEchoRequest = 8;
inline constexpr std::uint8_t kIcmpTimeExceeded = 11;
inline constexpr std::uint8_t kIcmpParameterProblem = 12;
inline constexpr std::uint8_t kIcmp6Unreachable = 1;
inline constexpr std::uint8_t kIcmp6PacketTooBig = 2;
inline constexpr std::uint8_t kIcmp6TimeExceeded = 3;
inline constexpr std::uint8_t kIcmp6ParameterProblem = 4;
inline constexpr std::uint8_t kIcmp6EchoRequest = 128;
inline constexpr std::uint8_t kIcmp6EchoReply = 129;
inline constexpr std::uint8_t kIcmp6RouterSolicitation = 133;
inline constexpr std::uint8_t kIcmp6NeighborSolicitation = 135;
inline constexpr std::uint8_t kIcmp6NeighborAdvertisement = 136;
inline constexpr std::uint8_t kIcmp6Redirect = 137;

// RFC 4861 §4.3 and §4.4: the header, the target and one link-layer address option.
struct __attribute__((packed)) NeighborMessage {
  IcmpHeader icmp;
  Ipv6Address target;
  std::uint8_t option_type;    // 1 source, 2 target link-layer address
  std::uint8_t option_length;  // in units of 8 octets
  MacAddress option_mac;
};
static_assert(sizeof(NeighborMessage) == 32);
inline constexpr std::size_t kNeighborMessageWithoutOption = 24;

}  // namespace sluice
