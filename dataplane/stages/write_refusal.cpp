// SPDX-License-Identifier: Apache-2.0
#include "dataplane/net/checksum.h"
#include "dataplane/net/headers.h"
#include "dataplane/stages/decisions.h"
#include "dataplane/stages/refusal.h"

#include <algorithm>
#include <cstring>

namespace sluice {
namespace {

constexpr std::uint8_t kTtl = 64;
constexpr std::uint8_t kInternetControl = 0xc0;  // precedence 6 (RFC 1812 §4.3.2.5)

// An error has at most so many bytes (RFC 1812 §4.3.2.3, RFC 4443 §2.4 c), which every path
// carries.
constexpr std::uint32_t kErrorMax4 = 576;
constexpr std::uint32_t kErrorMax6 = 1280;
// RFC 8201 §4: no path of IPv6 has less, and hosts do not believe less.
constexpr std::uint32_t kMtuMin6 = 1280;

struct IcmpError {
  std::uint8_t type = 0;
  std::uint8_t code = 0;
  std::uint32_t rest = 0;  // what follows the checksum
};

// RFC 792, RFC 1191 §4.
IcmpError error4(Answer answer, std::uint16_t mtu) {
  switch (answer) {
    case Answer::kTimeExceeded:
      return {kIcmpTimeExceeded, 0, 0};
    case Answer::kPacketTooBig:
      return {kIcmpUnreachable, 4, mtu};
    case Answer::kProtocolUnreachable:
      return {kIcmpUnreachable, 2, 0};
    default:
      return {kIcmpUnreachable, 3, 0};
  }
}

// RFC 4443 §3. A parameter problem points at the next header field of the IPv6 header.
IcmpError error6(Answer answer, std::uint16_t mtu) {
  switch (answer) {
    case Answer::kTimeExceeded:
      return {kIcmp6TimeExceeded, 0, 0};
    case Answer::kPacketTooBig:
      return {kIcmp6PacketTooBig, 0, std::max<std::uint32_t>(mtu, kMtuMin6)};
    case Answer::kProtocolUnreachable:
      return {kIcmp6ParameterProblem, 1, offsetof(Ipv6Header, next_header)};
    default:
      return {kIcmp6Unreachable, 4, 0};
  }
}

// From where the packet was sent to, to where it came from; whole headers, lengths included.
void write_ip(const Packet& packet, Ipv4Header* ip, std::uint8_t protocol, std::uint32_t length) {
  *ip = Ipv4Header{};
  ip->version_ihl = 0x45;
  ip->type_of_service = protocol == kProtocolIcmp ? kInternetControl : std::uint8_t{0};
  ip->total_length = Be16::from_host(static_cast<std::uint16_t>(sizeof(Ipv4Header) + length));
  ip->fragment_offset = kIpv4DontFragment;
  ip->time_to_live = kTtl;
  ip->protocol = protocol;
  ip->source = packet.key4.destination;
  ip->destination = packet.key4.source;
  ip->checksum.raw = checksum_finish(
      checksum_sum({reinterpret_cast<const std::uint8_t*>(ip), sizeof(Ipv4Header)}));
}

void write_ip(const Packet& packet, Ipv6Header* ip, std::uint8_t protocol, std::uint32_t length) {
  *ip = Ipv6Header{};
  ip->version_class_flow = Be32::from_host(0x6000'0000);
  ip->payload_length = Be16::from_host(static_cast<std::uint16_t>(length));
  ip->next_header = protocol;
  ip->hop_limit = kTtl;
  ip->source = packet.key6.destination;
  ip->destination = packet.key6.source;
}

template <typename Ip>
Be16 transport_checksum(const Ip* ip, std::uint8_t protocol, std::uint32_t length) {
  const auto* begin = reinterpret_cast<const std::uint8_t*>(ip + 1);
  const ChecksumSum pseudo = protocol == kProtocolIcmp
                                 ? 0
                                 : pseudo_header_sum(ip->source, ip->destination, protocol,
                                                     static_cast<std::uint16_t>(length));
  return Be16{checksum_finish(checksum_sum({begin, length}, pseudo))};
}

// Back to the station that sent it.
void turn_ethernet(Packet& packet, const MacAddress& mac) {
  auto* ethernet = packet.at<EthernetHeader>(0);
  ethernet->destination = ethernet->source;
  ethernet->source = mac;
}

// Of a packet in several buffers, the first has all that an answer is made of.
void keep_first_buffer(rte_mbuf* mbuf) {
  if (mbuf->nb_segs > 1) {
    rte_pktmbuf_free(mbuf->next);
    mbuf->next = nullptr;
    mbuf->nb_segs = 1;
    mbuf->pkt_len = mbuf->data_len;
  }
}

// The link-layer header moves to the front of the headroom, with whatever tag it has; the packet
// stays where it is and is the quote.
template <typename Ip>
bool write_error(Packet& packet, const IcmpError& error, std::uint8_t protocol,
                 std::uint32_t length_max) {
  constexpr auto kAdded = static_cast<std::uint16_t>(sizeof(Ip) + sizeof(IcmpHeader));
  rte_mbuf* mbuf = packet.mbuf;
  const std::uint32_t has =
      std::min<std::uint32_t>(packet.l3_length, mbuf->data_len - std::uint32_t{packet.l3_offset});
  const std::uint32_t quote = std::min(has, length_max - kAdded);
  const std::uint32_t kept = packet.l3_offset + quote;
  if (rte_pktmbuf_trim(mbuf, static_cast<std::uint16_t>(mbuf->data_len - kept)) != 0) {
    return false;
  }
  char* front = rte_pktmbuf_prepend(mbuf, kAdded);
  if (front == nullptr) {
    return false;
  }
  std::memmove(front, front + kAdded, packet.l3_offset);
  auto* ip = packet.at<Ip>(packet.l3_offset);
  const auto length = static_cast<std::uint32_t>(sizeof(IcmpHeader) + quote);
  write_ip(packet, ip, protocol, length);
  auto* icmp = reinterpret_cast<IcmpHeader*>(ip + 1);
  *icmp = {error.type, error.code, Be16{}, Be32::from_host(error.rest)};
  icmp->checksum = transport_checksum(ip, protocol, length);
  return true;
}

// RFC 9293 §3.10.7.1: from the acknowledged number if there is one, else from 0 and acknowledging
// all that came. What a segment occupies is its data, its SYN and its FIN.
template <typename Ip>
bool write_reset(Packet& packet) {
  const TcpHeader segment = *packet.at<TcpHeader>(packet.l4_offset);
  const std::uint32_t header = (segment.data_offset >> 4U) * 4U;
  const std::uint32_t payload =
      packet.l3_length - std::uint32_t{packet.l4_offset} + packet.l3_offset - header;
  const std::uint32_t occupied = payload + ((segment.flags & kTcpSyn) != 0 ? 1U : 0U) +
                                 ((segment.flags & kTcpFin) != 0 ? 1U : 0U);
  const bool acknowledges = (segment.flags & kTcpAck) != 0;
  const std::uint32_t kept = packet.l3_offset + std::uint32_t{sizeof(Ip) + sizeof(TcpHeader)};
  if (rte_pktmbuf_trim(packet.mbuf, static_cast<std::uint16_t>(packet.mbuf->data_len - kept)) !=
      0) {
    return false;
  }
  auto* ip = packet.at<Ip>(packet.l3_offset);
  write_ip(packet, ip, kProtocolTcp, sizeof(TcpHeader));
  auto* tcp = reinterpret_cast<TcpHeader*>(ip + 1);
  *tcp = TcpHeader{};
  tcp->source_port = segment.destination_port;
  tcp->destination_port = segment.source_port;
  tcp->data_offset = 0x50;
  if (acknowledges) {
    tcp->sequence = segment.acknowledgement;
    tcp->flags = kTcpRst;
  } else {
    tcp->acknowledgement = Be32::from_host(Be32{segment.sequence}.host() + occupied);
    tcp->flags = kTcpRst | kTcpAck;
  }
  tcp->checksum = transport_checksum(ip, kProtocolTcp, sizeof(TcpHeader));
  return true;
}

void undo_ip(Packet& packet, Ipv4Header* ip, ChecksumDelta delta) {
  constexpr ChecksumDelta kTtlBack = ChecksumDelta::exchange(0, Be16::from_host(0x0100).raw);
  ip->source = packet.key4.source;
  ip->destination = packet.key4.destination;
  ++ip->time_to_live;
  ip->checksum = checksum_update(checksum_update(ip->checksum, delta), kTtlBack);
}

void undo_ip(Packet& packet, Ipv6Header* ip, ChecksumDelta /*delta*/) {
  ip->source = packet.key6.source;
  ip->destination = packet.key6.destination;
  ++ip->hop_limit;
}

// The two deltas are those of the client's direction, so for that one they have to be turned round.
template <Family F, typename Ip>
void undo(Packet& packet, const FlowHot<F>& flow) {
  const bool from_client = packet.flow.direction() == Direction::kFromClient;
  undo_ip(packet, packet.at<Ip>(packet.l3_offset),
          from_client ? flow.l3_delta.reversed() : flow.l3_delta);
  const ChecksumDelta delta = from_client ? flow.l4_delta.reversed() : flow.l4_delta;
  auto* ports = packet.at<UdpHeader>(packet.l4_offset);
  ports->source_port = packet.key<F>().source_port;
  ports->destination_port = packet.key<F>().destination_port;
  if (packet.protocol == kProtocolTcp) {
    auto* tcp = packet.at<TcpHeader>(packet.l4_offset);
    tcp->checksum = checksum_update(tcp->checksum, delta);
  } else if (ports->checksum.raw != 0) {
    const Be16 checksum = checksum_update(ports->checksum, delta);
    ports->checksum = Be16{static_cast<std::uint16_t>(checksum.raw == 0 ? 0xffff : checksum.raw)};
  }
}

}  // namespace

void undo_translation(Packet& packet, LcoreState& state) {
  if (packet.kind == PacketKind::kFirstFragment) {
    exchange_identification(packet);
  }
  if (packet.family == Family::kIpv4) {
    undo<Family::kIpv4, Ipv4Header>(packet, state.flows4.hot(packet.flow.index()));
  } else {
    undo<Family::kIpv6, Ipv6Header>(packet, state.flows6.hot(packet.flow.index()));
  }
}

bool write_refusal(Packet& packet, Answer answer, const MacAddress& mac) {
  const bool ipv4 = packet.family == Family::kIpv4;
  turn_ethernet(packet, mac);
  keep_first_buffer(packet.mbuf);
  if (answer == Answer::kReset) {
    return ipv4 ? write_reset<Ipv4Header>(packet) : write_reset<Ipv6Header>(packet);
  }
  return ipv4 ? write_error<Ipv4Header>(packet, error4(answer, packet.next_hop_mtu), kProtocolIcmp,
                                        kErrorMax4)
              : write_error<Ipv6Header>(packet, error6(answer, packet.next_hop_mtu), kProtocolIcmp6,
                                        kErrorMax6);
}

}  // namespace sluice
