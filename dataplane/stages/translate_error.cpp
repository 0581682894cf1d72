// SPDX-License-Identifier: Apache-2.0
// An ICMP error on its way through the NAT (RFC 5508 REQ-4, REQ-5; ICMPv6 by analogy). The quote
// becomes the packet as its sender knew it; its lengths, TTL and the type, code and MTU of the
// error stay (REQ-4b), so a path MTU crosses unchanged: both families keep their header size here.
//
// The outer source is always ours: the VIP towards the client, the SNAT address towards the backend
// (REQ-5c: "in all other cases ... its own public IP address"). The true one would be an address
// that the other side has perhaps no route to, and that its firewall did not see this flow to; the
// price is that a traceroute shows the VIP for every hop behind the gateway.
#include "dataplane/net/checksum.h"
#include "dataplane/net/headers.h"
#include "dataplane/stages/decisions.h"

#include <cstddef>

namespace sluice {
namespace {

std::span<const std::uint8_t> bytes_at(const Packet& packet, std::uint16_t offset,
                                       std::size_t length) {
  return {packet.at<std::uint8_t>(offset), length};
}

template <typename Address>
bool rewrite_outer(Packet& packet, Ipv4Header* ip, const Address& source,
                   const Address& destination) {
  if (ip->time_to_live <= 1) {
    return false;
  }
  --ip->time_to_live;
  ip->source = source;
  ip->destination = destination;
  ip->checksum = Be16{};
  ip->checksum.raw = checksum_finish(
      checksum_sum(bytes_at(packet, packet.l3_offset, packet.l4_offset - packet.l3_offset)));
  return true;
}

template <typename Address>
bool rewrite_outer(Packet& /*packet*/, Ipv6Header* ip, const Address& source,
                   const Address& destination) {
  if (ip->hop_limit <= 1) {
    return false;
  }
  --ip->hop_limit;
  ip->source = source;
  ip->destination = destination;
  return true;
}

void update_header_checksum(Ipv4Header* ip, ChecksumDelta delta) {
  ip->checksum = checksum_update(ip->checksum, delta);
}
void update_header_checksum(Ipv6Header* /*ip*/, ChecksumDelta /*delta*/) {}

// Of TCP only when the quote reaches as far; RFC 768: a UDP checksum of zero is none.
void update_transport_checksum(Packet& packet, std::uint32_t end, ChecksumDelta delta) {
  if (packet.protocol == kProtocolUdp) {
    auto* udp = packet.at<UdpHeader>(packet.quote_l4);
    if (udp->checksum.raw != 0) {
      const Be16 checksum = checksum_update(udp->checksum, delta);
      udp->checksum = Be16{static_cast<std::uint16_t>(checksum.raw == 0 ? 0xffff : checksum.raw)};
    }
  } else if (packet.quote_l4 + offsetof(TcpHeader, checksum) + sizeof(Be16) <= end) {
    auto* tcp = packet.at<TcpHeader>(packet.quote_l4);
    tcp->checksum = checksum_update(tcp->checksum, delta);
  }
}

// The part of the way that both families share.
template <Family F, typename Ip>
bool translate(Packet& packet, const FlowHot<F>& flow) {
  const bool to_client = packet.flow.direction() == Direction::kFromBackend;
  auto* ip = packet.at<Ip>(packet.l3_offset);
  if (!rewrite_outer(packet, ip, to_client ? flow.frontend : flow.snat,
                     to_client ? flow.client : flow.backend)) {
    return false;
  }
  const std::uint32_t end = packet.l3_offset + std::uint32_t{packet.l3_length};
  auto* quoted = packet.at<Ip>(static_cast<std::uint16_t>(packet.l4_offset + sizeof(IcmpHeader)));
  quoted->source = to_client ? flow.client : flow.backend;
  quoted->destination = to_client ? flow.frontend : flow.snat;
  update_header_checksum(quoted, to_client ? flow.l3_delta.reversed() : flow.l3_delta);
  auto* ports = packet.at<UdpHeader>(packet.quote_l4);
  ports->source_port = to_client ? flow.client_port : flow.backend_port;
  ports->destination_port = to_client ? flow.frontend_port : flow.snat_port;
  update_transport_checksum(packet, end, to_client ? flow.l4_delta.reversed() : flow.l4_delta);

  // Verified when it came, so it may be made anew.
  auto* icmp = packet.at<IcmpHeader>(packet.l4_offset);
  const auto length = static_cast<std::uint16_t>(end - packet.l4_offset);
  icmp->checksum = Be16{};
  ChecksumSum pseudo = 0;
  if constexpr (F == Family::kIpv6) {
    pseudo = pseudo_header_sum(ip->source, ip->destination, kProtocolIcmp6, length);
  }
  icmp->checksum.raw =
      checksum_finish(checksum_sum(bytes_at(packet, packet.l4_offset, length), pseudo));
  return true;
}

}  // namespace

template <>
bool translate_error<Family::kIpv4>(Packet& packet, const FlowHot<Family::kIpv4>& flow) {
  return translate<Family::kIpv4, Ipv4Header>(packet, flow);
}

template <>
bool translate_error<Family::kIpv6>(Packet& packet, const FlowHot<Family::kIpv6>& flow) {
  return translate<Family::kIpv6, Ipv6Header>(packet, flow);
}

}  // namespace sluice
