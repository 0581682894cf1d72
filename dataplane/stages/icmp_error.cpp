// SPDX-License-Identifier: Apache-2.0
// What is it an error about? An ICMP error quotes the packet it complains of, one that we sent:
// that packet's tuple turned round is the tuple the error belongs to, and find_flow looks it up
// like any other (RFC 5508 §4, for ICMPv6 by analogy). Whoever must see the flow must see the
// error: from here on the owner is that of the key. Errors to others than us keep their own key
// when they quote nothing that can be looked up, so that the kernel gets them.
#include "dataplane/net/checksum.h"
#include "dataplane/net/headers.h"
#include "dataplane/stages/decisions.h"
#include "dataplane/stages/pipeline.h"

namespace sluice {
namespace {

// Ports and, of UDP, the checksum lie in these; RFC 792 promises no more of the quoted transport.
constexpr std::uint32_t kQuotedTransport = 8;

// RFC 792, RFC 4443 §3. A redirect is none: it is for hosts, and never crosses a router.
bool is_error(const Packet& packet) {
  const std::uint8_t type = packet.at<IcmpHeader>(packet.l4_offset)->type;
  if (packet.family == Family::kIpv6) {
    return type >= kIcmp6Unreachable && type <= kIcmp6ParameterProblem;
  }
  return type == kIcmpUnreachable || type == kIcmpSourceQuench || type == kIcmpTimeExceeded ||
         type == kIcmpParameterProblem;
}

// RFC 5508 REQ-3: a quote is trusted only when the message arrived whole.
bool checksum_good(const Packet& packet, std::uint16_t length) {
  const auto* message = packet.at<std::uint8_t>(packet.l4_offset);
  ChecksumSum pseudo = 0;
  if (packet.family == Family::kIpv6) {
    pseudo = pseudo_header_sum(packet.key6.source, packet.key6.destination, kProtocolIcmp6, length);
  }
  return fold(checksum_sum({message, length}, pseudo)) == 0xffff;
}

// A quoted packet up to its transport header; `offset` and `end` count from the frame's begin.
struct Quote {
  std::uint32_t offset = 0;
  std::uint32_t end = 0;
  std::uint8_t protocol = 0;
  bool good = true;

  void skip(std::uint32_t length) { offset += length; }
  [[nodiscard]] bool has(std::uint32_t length) const { return offset + length <= end; }
};

// RFC 5508 REQ-3: a header with a wrong checksum is not believed, options are walked past. A later
// fragment has no ports.
void skip_header(const Packet& packet, const Ipv4Header* ip, Quote& quote) {
  const std::uint32_t length = (ip->version_ihl & 0xfU) * 4U;
  quote.good = ip->version_ihl >> 4U == 4 && length >= sizeof(Ipv4Header) && quote.has(length) &&
               (ip->fragment_offset.raw & kIpv4OffsetMask.raw) == 0;
  quote.good = quote.good &&
               fold(checksum_sum({packet.at<std::uint8_t>(static_cast<std::uint16_t>(quote.offset)),
                                  length})) == 0xffff;
  quote.protocol = ip->protocol;
  quote.skip(length);
}

// A bounded number of extension headers; what a fragment header says of the offset holds here too.
void skip_header(const Packet& packet, const Ipv6Header* ip, Quote& quote) {
  const Be32 first_word = ip->version_class_flow;  // a copy: it is not aligned where it lies
  quote.good = first_word.host() >> 28U == 6;
  quote.protocol = ip->next_header;
  quote.skip(sizeof(Ipv6Header));
  for (unsigned i = 0; i < kExtensionHeadersMax && quote.good; ++i) {
    const bool fragment = quote.protocol == kProtocolFragment6;
    const bool options = quote.protocol == 0 || quote.protocol == 43 || quote.protocol == 60;
    if (!fragment && !options) {
      return;
    }
    const auto* header = packet.at<Fragment6Header>(static_cast<std::uint16_t>(quote.offset));
    quote.good = quote.has(sizeof(Fragment6Header)) &&
                 (!fragment || (header->offset_more.raw & kFragment6OffsetMask.raw) == 0);
    if (quote.good) {
      quote.protocol = header->next_header;
      quote.skip(fragment ? sizeof(Fragment6Header) : (header->reserved + 1U) * 8U);
    }
  }
}

// The key and the quote's transport offset, or why this error is not to be trusted.
template <Family F, typename Ip>
Drop read_quote(const Packet& packet, const FlowKey<F>& outer, FlowKey<F>& key, Quote& quote) {
  const auto* ip = packet.at<Ip>(static_cast<std::uint16_t>(quote.offset));
  if (!quote.has(sizeof(Ip))) {
    return Drop::kIcmpQuote;
  }
  skip_header(packet, ip, quote);
  // The sender of a packet is told of its faults, and nobody else (RFC 1812 §4.3.2.3).
  if (!quote.good || !quote.has(kQuotedTransport) || ip->source != outer.destination) {
    return Drop::kIcmpQuote;
  }
  if (quote.protocol != kProtocolTcp && quote.protocol != kProtocolUdp) {
    return Drop::kIcmpNoFlow;
  }
  const auto* ports = packet.at<UdpHeader>(static_cast<std::uint16_t>(quote.offset));
  key.source = ip->destination;
  key.destination = ip->source;
  key.source_port = ports->destination_port;
  key.destination_port = ports->source_port;
  key.protocol = quote.protocol;
  key.network = outer.network;
  key.reserved = 0;
  return Drop::kNone;
}

template <Family F, typename Ip>
Drop judge_error(Packet& packet, FlowKey<F>& key, const Snapshot& snapshot) {
  const auto length =
      static_cast<std::uint16_t>(packet.l3_length - (packet.l4_offset - packet.l3_offset));
  if (packet.mbuf->data_len < packet.l4_offset + length) {
    return Drop::kIcmpQuote;
  }
  if (is_impossible_source(IpAddress(key.source), snapshot)) {
    return Drop::kSourceAddress;
  }
  if (!checksum_good(packet, length)) {
    return Drop::kIcmpChecksum;
  }
  Quote quote;
  quote.offset = packet.l4_offset + std::uint32_t{sizeof(IcmpHeader)};
  quote.end = packet.l4_offset + std::uint32_t{length};
  FlowKey<F> quoted;
  const Drop fault = read_quote<F, Ip>(packet, key, quoted, quote);
  if (fault == Drop::kNone) {
    key = quoted;
    packet.kind = PacketKind::kIcmpError;
    packet.protocol = quoted.protocol;
    packet.tcp_flags = 0;
    packet.quote_l4 = static_cast<std::uint16_t>(quote.offset);
  }
  return fault;
}

}  // namespace

void icmp_error(Burst& burst, const Snapshot& snapshot) {
  if (burst.icmp_messages == 0) [[likely]] {
    return;
  }
  for (std::uint32_t i = 0; i < burst.count; ++i) {
    Packet& packet = burst.packets[i];
    if (packet.verdict != Verdict::kPending || packet.kind != PacketKind::kIcmp ||
        !is_error(packet)) {
      continue;
    }
    const bool ipv4 = packet.family == Family::kIpv4;
    const AddressEntry* to = snapshot.addresses->find(ipv4 ? IpAddress(packet.key4.destination)
                                                           : IpAddress(packet.key6.destination));
    const Drop fault = ipv4 ? judge_error<Family::kIpv4, Ipv4Header>(packet, packet.key4, snapshot)
                            : judge_error<Family::kIpv6, Ipv6Header>(packet, packet.key6, snapshot);
    if (fault != Drop::kNone && to != nullptr && to->is_ours()) {
      packet.decide_drop(fault);
    }
  }
}

}  // namespace sluice
