// SPDX-License-Identifier: Apache-2.0
#include "tests/support/frame.h"

#include <algorithm>

namespace sluice::testing {
namespace {

constexpr std::size_t kEthernet = 14;

void put16(Frame& frame, std::size_t at, unsigned value) {
  frame[at] = static_cast<std::uint8_t>(value >> 8U);
  frame[at + 1] = static_cast<std::uint8_t>(value & 0xffU);
}

unsigned get16(const Frame& frame, std::size_t at) {
  return static_cast<unsigned>(frame[at]) << 8U | frame[at + 1];
}

// RFC 1071, one 16-bit word after the other, the carry added at once.
unsigned naive_sum(const Frame& bytes, std::size_t begin, std::size_t end, unsigned sum = 0) {
  for (std::size_t i = begin; i < end; i += 2) {
    const unsigned low = i + 1 < end ? bytes[i + 1] : 0;
    sum += static_cast<unsigned>(bytes[i]) << 8U | low;
    if (sum > 0xffff) {
      sum -= 0xffff;
    }
  }
  return sum;
}

bool is_ipv4(const Frame& frame) {
  return get16(frame, 12) == 0x0800;
}
std::size_t l4_of(const Frame& frame) {
  return is_ipv4(frame) ? kEthernet + (frame[kEthernet] & 0xfU) * std::size_t{4} : kEthernet + 40;
}
std::size_t end_of(const Frame& frame) {
  return kEthernet +
         (is_ipv4(frame) ? get16(frame, kEthernet + 2) : 40 + get16(frame, kEthernet + 4));
}
std::uint8_t protocol_of(const Frame& frame) {
  return is_ipv4(frame) ? frame[kEthernet + 9] : frame[kEthernet + 6];
}

unsigned pseudo_sum(const Frame& frame) {
  const std::size_t length = end_of(frame) - l4_of(frame);
  const unsigned sum = is_ipv4(frame) ? naive_sum(frame, kEthernet + 12, kEthernet + 20)
                                      : naive_sum(frame, kEthernet + 8, kEthernet + 40);
  Frame rest(4);
  put16(rest, 0, protocol_of(frame));
  put16(rest, 2, static_cast<unsigned>(length));
  return naive_sum(rest, 0, 4, sum);
}

std::size_t checksum_offset(std::uint8_t protocol) {
  return protocol == kProtocolTcp ? 16 : protocol == kProtocolUdp ? 6 : 2;
}

unsigned transport_sum(const Frame& frame) {
  const unsigned start = protocol_of(frame) == kProtocolIcmp ? 0 : pseudo_sum(frame);
  return naive_sum(frame, l4_of(frame), end_of(frame), start);
}

Frame make_ip(const FrameSpec& spec, std::size_t l4_length) {
  const bool ipv4 = spec.destination.is_ipv4();
  const std::size_t ip_length = ipv4 ? 20 : 40;
  Frame frame(kEthernet + ip_length + l4_length, 0);
  std::copy(spec.to_mac.bytes.begin(), spec.to_mac.bytes.end(), frame.begin());
  std::copy(spec.from_mac.bytes.begin(), spec.from_mac.bytes.end(), frame.begin() + 6);
  put16(frame, 12, ipv4 ? 0x0800 : 0x86dd);
  const std::size_t address = ipv4 ? 4 : 16;
  const std::size_t source = kEthernet + (ipv4 ? 12U : 8U);
  for (std::size_t i = 0; i < address; ++i) {
    frame[source + i] = spec.source.bytes[i];
    frame[source + address + i] = spec.destination.bytes[i];
  }
  if (ipv4) {
    frame[kEthernet] = 0x45;
    put16(frame, kEthernet + 2, static_cast<unsigned>(ip_length + l4_length));
    put16(frame, kEthernet + 4, 0x1234);
    put16(frame, kEthernet + 6, 0x4000);
    frame[kEthernet + 8] = spec.ttl;
    frame[kEthernet + 9] = spec.protocol;
  } else {
    frame[kEthernet] = 0x60;
    put16(frame, kEthernet + 4, static_cast<unsigned>(l4_length));
    frame[kEthernet + 6] = spec.protocol;
    frame[kEthernet + 7] = spec.ttl;
  }
  return frame;
}

void fill_payload(Frame& frame, std::size_t begin) {
  for (std::size_t i = begin; i < frame.size(); ++i) {
    frame[i] = static_cast<std::uint8_t>(i - begin + 1);
  }
}

IpAddress address_at(const Frame& frame, std::size_t at, bool ipv4) {
  IpAddress address;
  address.family = ipv4 ? Family::kIpv4 : Family::kIpv6;
  std::copy_n(frame.begin() + static_cast<std::ptrdiff_t>(at), ipv4 ? 4 : 16,
              address.bytes.begin());
  return address;
}

std::string fault_of(const Frame& frame) {
  if (end_of(frame) > frame.size()) {
    return "the IP length is more than the frame holds";
  }
  if (is_ipv4(frame) && naive_sum(frame, kEthernet, l4_of(frame)) != 0xffff) {
    return "the IPv4 header checksum is wrong";
  }
  const std::uint8_t protocol = protocol_of(frame);
  const std::size_t l4 = l4_of(frame);
  if (protocol == kProtocolUdp && is_ipv4(frame) && get16(frame, l4 + 6) == 0) {
    return "";
  }
  if (protocol == kProtocolUdp && get16(frame, l4 + 4) != end_of(frame) - l4) {
    return "the UDP length is wrong";
  }
  return transport_sum(frame) == 0xffff ? "" : "the transport checksum is wrong";
}

}  // namespace

void fix_checksums(Frame& frame) {
  if (is_ipv4(frame)) {
    put16(frame, kEthernet + 10, 0);
    put16(frame, kEthernet + 10, 0xffff - naive_sum(frame, kEthernet, l4_of(frame)));
  }
  const std::size_t at = l4_of(frame) + checksum_offset(protocol_of(frame));
  put16(frame, at, 0);
  const unsigned checksum = 0xffff - transport_sum(frame);
  put16(frame, at, checksum == 0 && protocol_of(frame) == kProtocolUdp ? 0xffff : checksum);
}

Frame make_frame(const FrameSpec& spec) {
  const bool tcp = spec.protocol == kProtocolTcp;
  const std::size_t header = tcp ? 20 : 8;
  Frame frame = make_ip(spec, header + spec.payload);
  const std::size_t l4 = l4_of(frame);
  put16(frame, l4, spec.source_port);
  put16(frame, l4 + 2, spec.destination_port);
  if (tcp) {
    put16(frame, l4 + 4, 0x1122);
    frame[l4 + 12] = 0x50;
    frame[l4 + 13] = spec.tcp_flags;
    put16(frame, l4 + 14, 8192);
  } else {
    put16(frame, l4 + 4, static_cast<unsigned>(header + spec.payload));
  }
  fill_payload(frame, l4 + header);
  fix_checksums(frame);
  if (!tcp && !spec.udp_checksum) {
    put16(frame, l4 + 6, 0);
  }
  return frame;
}

Frame make_icmp(const FrameSpec& spec, std::uint8_t type, std::uint8_t code) {
  FrameSpec icmp = spec;
  icmp.protocol = spec.destination.is_ipv4() ? kProtocolIcmp : kProtocolIcmp6;
  Frame frame = make_ip(icmp, 8 + spec.payload);
  const std::size_t l4 = l4_of(frame);
  frame[l4] = type;
  frame[l4 + 1] = code;
  put16(frame, l4 + 4, 77);
  put16(frame, l4 + 6, 5);
  fill_payload(frame, l4 + 8);
  fix_checksums(frame);
  return frame;
}

Frame make_error(const FrameSpec& outer, std::uint8_t type, std::uint8_t code, std::uint32_t rest,
                 const Frame& about, std::size_t quoted) {
  FrameSpec spec = outer;
  const Frame packet = ip_of(about);
  spec.payload = std::min(quoted, packet.size());
  Frame frame = make_icmp(spec, type, code);
  const std::size_t l4 = l4_of(frame);
  put16(frame, l4 + 4, rest >> 16U);
  put16(frame, l4 + 6, rest & 0xffffU);
  std::copy_n(packet.begin(), spec.payload, frame.begin() + static_cast<std::ptrdiff_t>(l4) + 8);
  fix_checksums(frame);
  return frame;
}

Frame ip_of(const Frame& frame) {
  return {frame.begin() + kEthernet, frame.begin() + static_cast<std::ptrdiff_t>(end_of(frame))};
}

Frame quote_of(const Frame& error) {
  return {error.begin() + static_cast<std::ptrdiff_t>(l4_of(error)) + 8,
          error.begin() + static_cast<std::ptrdiff_t>(end_of(error))};
}

std::uint32_t icmp_rest_of(const Frame& frame) {
  return get16(frame, l4_of(frame) + 4) << 16U | get16(frame, l4_of(frame) + 6);
}

Frame make_arp_request(const MacAddress& from_mac, const IpAddress& sender,
                       const IpAddress& target) {
  Frame frame(60, 0);
  std::fill_n(frame.begin(), 6, std::uint8_t{0xff});
  std::copy(from_mac.bytes.begin(), from_mac.bytes.end(), frame.begin() + 6);
  put16(frame, 12, 0x0806);
  put16(frame, 14, 1);
  put16(frame, 16, 0x0800);
  frame[18] = 6;
  frame[19] = 4;
  put16(frame, 20, 1);
  std::copy(from_mac.bytes.begin(), from_mac.bytes.end(), frame.begin() + 22);
  std::copy_n(sender.bytes.begin(), 4, frame.begin() + 28);
  std::copy_n(target.bytes.begin(), 4, frame.begin() + 38);
  return frame;
}

Frame make_solicitation(const MacAddress& from_mac, const IpAddress& source,
                        const IpAddress& target) {
  FrameSpec spec;
  spec.from_mac = from_mac;
  spec.to_mac =
      MacAddress{{0x33, 0x33, 0xff, target.bytes[13], target.bytes[14], target.bytes[15]}};
  spec.source = source;
  spec.destination = *parse_ip("ff02::1:ff00:0");
  std::copy_n(target.bytes.begin() + 13, 3, spec.destination.bytes.begin() + 13);
  spec.ttl = 255;
  spec.payload = source.is_unspecified() ? 16 : 24;
  Frame frame = make_icmp(spec, kIcmp6NeighborSolicitation);
  const std::size_t message = l4_of(frame);
  std::fill_n(frame.begin() + static_cast<std::ptrdiff_t>(message) + 4, 4, std::uint8_t{0});
  std::copy(target.bytes.begin(), target.bytes.end(),
            frame.begin() + static_cast<std::ptrdiff_t>(message) + 8);
  if (!source.is_unspecified()) {
    frame[message + 24] = 1;
    frame[message + 25] = 1;
    std::copy(from_mac.bytes.begin(), from_mac.bytes.end(),
              frame.begin() + static_cast<std::ptrdiff_t>(message) + 26);
  }
  fix_checksums(frame);
  return frame;
}

namespace {

void set_length(Frame& frame) {
  const std::size_t length = frame.size() - kEthernet;
  put16(frame, kEthernet + (is_ipv4(frame) ? 2 : 4),
        static_cast<unsigned>(is_ipv4(frame) ? length : length - 40));
}

void fix_header_checksum(Frame& frame) {
  if (is_ipv4(frame)) {
    put16(frame, kEthernet + 10, 0);
    put16(frame, kEthernet + 10, 0xffff - naive_sum(frame, kEthernet, l4_of(frame)));
  }
}

constexpr std::size_t kFragment6 = kEthernet + 40;  // where split() puts it

Frame::const_iterator at(const Frame& frame, std::size_t offset) {
  return frame.begin() + static_cast<std::ptrdiff_t>(offset);
}

}  // namespace

std::vector<Frame> split(const Frame& frame, std::size_t piece, std::uint32_t identification) {
  const std::size_t begin = l4_of(frame);
  const std::size_t length = end_of(frame) - begin;
  std::vector<Frame> fragments;
  for (std::size_t offset = 0; offset < length; offset += piece) {
    const std::size_t octets = std::min(piece, length - offset);
    const unsigned more = offset + octets < length ? 1 : 0;
    Frame made(frame.begin(), at(frame, begin));
    if (is_ipv4(frame)) {
      put16(made, kEthernet + 4, identification & 0xffffU);
      put16(made, kEthernet + 6, static_cast<unsigned>(offset / 8) | more << 13U);
    } else {
      made.resize(begin + 8);
      made[begin] = made[kEthernet + 6];
      made[kEthernet + 6] = kProtocolFragment6;
      put16(made, begin + 2, static_cast<unsigned>(offset) | more);
      put16(made, begin + 4, identification >> 16U);
      put16(made, begin + 6, identification & 0xffffU);
    }
    made.insert(made.end(), at(frame, begin + offset), at(frame, begin + offset + octets));
    set_length(made);
    fix_header_checksum(made);
    fragments.push_back(made);
  }
  return fragments;
}

std::uint32_t identification_of(const Frame& fragment) {
  return is_ipv4(fragment)
             ? get16(fragment, kEthernet + 4)
             : get16(fragment, kFragment6 + 4) << 16U | get16(fragment, kFragment6 + 6);
}

std::size_t offset_of(const Frame& fragment) {
  return is_ipv4(fragment) ? (get16(fragment, kEthernet + 6) & 0x1fffU) * std::size_t{8}
                           : get16(fragment, kFragment6 + 2) & 0xfff8U;
}

Frame join(const std::vector<Frame>& fragments) {
  const Frame& first =
      *std::min_element(fragments.begin(), fragments.end(),
                        [](const Frame& a, const Frame& b) { return offset_of(a) < offset_of(b); });
  Frame whole(first.begin(), at(first, l4_of(first)));
  const std::size_t begin = whole.size();
  const std::size_t skip = is_ipv4(first) ? 0 : 8;
  for (const Frame& fragment : fragments) {
    const std::size_t from = l4_of(fragment) + skip;
    const std::size_t octets = end_of(fragment) - from;
    whole.resize(std::max(whole.size(), begin + offset_of(fragment) + octets));
    std::copy_n(at(fragment, from), octets,
                whole.begin() + static_cast<std::ptrdiff_t>(begin + offset_of(fragment)));
  }
  if (is_ipv4(first)) {
    put16(whole, kEthernet + 6, 0);
  } else {
    whole[kEthernet + 6] = first[kFragment6];
  }
  set_length(whole);
  fix_header_checksum(whole);
  return whole;
}

Frame with_extensions(const Frame& frame, std::uint8_t first,
                      std::vector<std::vector<std::uint8_t>> headers,
                      const std::vector<std::uint8_t>& following) {
  Frame made(frame.begin(), at(frame, kEthernet + 40));
  made[kEthernet + 6] = first;
  for (std::size_t i = 0; i < headers.size(); ++i) {
    headers[i][0] = i < following.size() ? following[i] : frame[kEthernet + 6];
    made.insert(made.end(), headers[i].begin(), headers[i].end());
  }
  made.insert(made.end(), at(frame, kEthernet + 40), frame.end());
  set_length(made);
  return made;
}

Frame without_extensions(const Frame& frame, const Frame& plain) {
  Frame made = frame;
  made.erase(at(made, kEthernet + 40), at(made, kEthernet + 40 + (frame.size() - plain.size())));
  made[kEthernet + 6] = plain[kEthernet + 6];
  set_length(made);
  return made;
}

Frame ip_checksum_fixed(Frame frame) {
  fix_header_checksum(frame);
  return frame;
}

Frame with_options(const Frame& frame, std::vector<std::uint8_t> options) {
  options.resize((options.size() + 3) / 4 * 4);
  Frame made = frame;
  made.insert(at(made, kEthernet + 20), options.begin(), options.end());
  made[kEthernet] = static_cast<std::uint8_t>(0x45 + options.size() / 4);
  set_length(made);
  fix_header_checksum(made);
  return made;
}

FrameFacts read_frame(const Frame& frame) {
  FrameFacts facts;
  std::copy_n(frame.begin(), 6, facts.to_mac.bytes.begin());
  std::copy_n(frame.begin() + 6, 6, facts.from_mac.bytes.begin());
  facts.ether_type = static_cast<std::uint16_t>(get16(frame, 12));
  if (facts.ether_type != 0x0800 && facts.ether_type != 0x86dd) {
    return facts;
  }
  const bool ipv4 = is_ipv4(frame);
  const std::size_t source = kEthernet + (ipv4 ? 12U : 8U);
  facts.source = address_at(frame, source, ipv4);
  facts.destination = address_at(frame, source + (ipv4 ? 4U : 16U), ipv4);
  facts.protocol = protocol_of(frame);
  facts.ttl = ipv4 ? frame[kEthernet + 8] : frame[kEthernet + 7];
  facts.fault = fault_of(frame);
  const std::size_t l4 = l4_of(frame);
  std::size_t header = 8;
  if (facts.protocol == kProtocolTcp || facts.protocol == kProtocolUdp) {
    facts.source_port = static_cast<std::uint16_t>(get16(frame, l4));
    facts.destination_port = static_cast<std::uint16_t>(get16(frame, l4 + 2));
    header = facts.protocol == kProtocolTcp ? 20 : 8;
  } else {
    facts.icmp_type = frame[l4];
  }
  if (facts.fault.empty()) {
    facts.payload.assign(frame.begin() + static_cast<std::ptrdiff_t>(l4 + header),
                         frame.begin() + static_cast<std::ptrdiff_t>(end_of(frame)));
  }
  return facts;
}

}  // namespace sluice::testing
