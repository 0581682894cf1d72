// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice {

// Why a packet was dropped. Each has a counter and a packet test of its own (a test compares the
// lists). In the order of the packet's way.
enum class Drop : std::uint8_t {
  kNone,
  kTruncated,
  kOtherStation,
  kEtherType,
  kVlan,
  kIpv4Header,
  kIpv4Checksum,
  kIpv4Options,
  kIpv6Header,
  kSourceAddress,
  kTtlExpired,
  kFragmentHeader,
  kFragmentDuplicate,
  kFragmentOverlap,
  kFragmentLimit,
  kFragmentExpired,
  kFragment,
  kFragmentNoFlow,
  kExtensionHeader,
  kTransportHeader,
  kIcmpChecksum,
  kIcmpQuote,
  kIcmpNoFlow,
  kIcmpUnhandled,
  kEchoLimited,
  kTransit,
  kUnknownPort,
  kSourceRange,
  kSourceDenied,
  kSnatNoFlow,
  kFlowClosed,
  kEndpointGone,
  kNoBackend,
  kTrafficPolicy,
  kDraining,
  kTcpNoFlow,
  kNoRoute,
  kFlowQuota,
  kSnatPortQuota,
  kSnatExhausted,
  kFlowTableFull,
  kMtuExceeded,
  kNoBuffer,
  kHoldFull,
  kHoldExpired,
  kPuntLimited,
  kPuntFull,
  kTransmitFull,
  kHandoffFull,
  kCount,
};
inline constexpr std::size_t kDropCount = static_cast<std::size_t>(Drop::kCount);

struct DropName {
  Drop drop;
  std::string_view name;         // as in `sluicectl get drops` and metrics
  std::string_view description;  // for people
};

inline constexpr std::array<DropName, kDropCount> kDropNames{{
    {Drop::kNone, "none", "not dropped"},
    {Drop::kTruncated, "truncated", "the frame ends before its headers do"},
    {Drop::kOtherStation, "other_station", "the Ethernet destination is another station's"},
    {Drop::kEtherType, "ether_type", "neither IPv4, IPv6 nor ARP"},
    {Drop::kVlan, "vlan", "tagged for a VLAN that is none of this port's"},
    {Drop::kIpv4Header, "ipv4_header", "version, header length or total length is wrong"},
    {Drop::kIpv4Checksum, "ipv4_checksum", "the IPv4 header checksum is wrong"},
    {Drop::kIpv4Options, "ipv4_options", "a source route, or options that are malformed"},
    {Drop::kIpv6Header, "ipv6_header", "version or payload length is wrong"},
    {Drop::kSourceAddress, "source_address",
     "a source no packet may have: loopback, multicast, ours"},
    {Drop::kTtlExpired, "ttl_expired", "TTL or hop limit would reach zero here"},
    {Drop::kFragmentHeader, "fragment_header",
     "a fragment of impossible length, or a first one without a whole transport header"},
    {Drop::kFragmentDuplicate, "fragment_duplicate", "a part of a datagram that came already"},
    {Drop::kFragmentOverlap, "fragment_overlap", "of a datagram whose fragments overlap"},
    {Drop::kFragmentLimit, "fragment_limit",
     "more fragmented datagrams are under way than one client, or all, may have"},
    {Drop::kFragmentExpired, "fragment_expired", "its first fragment did not come in time"},
    {Drop::kFragment, "fragment", "a fragment of what is neither TCP, UDP nor an echo request"},
    {Drop::kFragmentNoFlow, "fragment_no_flow", "a later fragment whose first one opened no flow"},
    {Drop::kExtensionHeader, "extension_header",
     "an IPv6 extension header that cannot cross a NAT, or too many of them"},
    {Drop::kTransportHeader, "transport_header",
     "the TCP, UDP, ICMP, ARP or ND message is malformed"},
    {Drop::kIcmpChecksum, "icmp_checksum", "the checksum of an ICMP error is wrong"},
    {Drop::kIcmpQuote, "icmp_quote",
     "an ICMP error whose quote shows no ports, is damaged, or is not of its receiver's packet"},
    {Drop::kIcmpNoFlow, "icmp_no_flow", "an ICMP error about a flow that is not known"},
    {Drop::kIcmpUnhandled, "icmp_unhandled", "an ICMP message for a VIP or SNAT address, no echo"},
    {Drop::kEchoLimited, "echo_limited", "over the rate at which pings are answered"},
    {Drop::kTransit, "transit", "addressed to nobody we serve, and transit is off on this port"},
    {Drop::kUnknownPort, "unknown_port", "the VIP serves nothing on this port and protocol"},
    {Drop::kSourceRange, "source_range", "the client is in none of the service's source ranges"},
    {Drop::kSourceDenied, "source_denied", "the client is in a range the service denies"},
    {Drop::kSnatNoFlow, "snat_no_flow", "addressed to a SNAT address, but no flow is known"},
    {Drop::kFlowClosed, "flow_closed", "from a backend, after the end of its flow"},
    {Drop::kEndpointGone, "endpoint_gone",
     "a TCP segment whose flow ends, its endpoint being removed or past its drain deadline"},
    {Drop::kNoBackend, "no_backend", "the service has no usable backend"},
    {Drop::kTrafficPolicy, "traffic_policy",
     "to a cluster address whose internalTrafficPolicy is Local: no backend is local to a gateway"},
    {Drop::kDraining, "draining", "would open a flow while the gateway drains"},
    {Drop::kTcpNoFlow, "tcp_no_flow", "a TCP segment in mid-stream whose flow is not known"},
    {Drop::kNoRoute, "no_route", "no route to the backend or to the client"},
    {Drop::kFlowQuota, "flow_quota",
     "its provider, or the namespace, has as many live flows as its quota allows"},
    {Drop::kSnatPortQuota, "snat_port_quota",
     "its provider, or the namespace, has as many SNAT ports as its quota allows"},
    {Drop::kSnatExhausted, "snat_exhausted", "no free SNAT address and port towards this backend"},
    {Drop::kFlowTableFull, "flow_table_full", "no room for another flow"},
    {Drop::kMtuExceeded, "mtu_exceeded", "larger than the MTU of the way out"},
    {Drop::kNoBuffer, "no_buffer", "no buffer for the fragments to send it in"},
    {Drop::kHoldFull, "hold_full", "too many packets wait for a neighbour already"},
    {Drop::kHoldExpired, "hold_expired", "the neighbour did not answer in time"},
    {Drop::kPuntLimited, "punt_limited", "over the rate allowed towards the kernel"},
    {Drop::kPuntFull, "punt_full", "the ring towards the kernel was full"},
    {Drop::kTransmitFull, "transmit_full", "the port's transmit ring stayed full"},
    {Drop::kHandoffFull, "handoff_full", "the ring towards the lcore that owns the flow was full"},
}};
static_assert([] {
  for (std::size_t i = 0; i < kDropNames.size(); ++i) {
    if (kDropNames[i].drop != static_cast<Drop>(i) || kDropNames[i].name.empty()) {
      return false;
    }
  }
  return true;
}());

[[nodiscard]] constexpr std::string_view name_of(Drop drop) {
  return kDropNames[static_cast<std::size_t>(drop)].name;
}

}  // namespace sluice
