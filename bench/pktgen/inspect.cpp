// SPDX-License-Identifier: Apache-2.0
#include "bench/pktgen/inspect.h"

#include "bench/pktgen/frame.h"

namespace sluice::pktgen {
namespace {

// What the gateway leaves of the 64 hops a client gives; a reply keeps what its request had left.
constexpr std::uint8_t kHopsOfRequest = 63;
constexpr std::uint8_t kHopsOfReply = 62;

struct Ends {
  IpAddress source;
  IpAddress destination;
  std::uint16_t source_port = 0;
  std::uint16_t destination_port = 0;
};

// RFC 1071 §4.1, word by word.
std::uint32_t sum_of(std::span<const std::uint8_t> bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    sum += i % 2 == 0 ? std::uint32_t{bytes[i]} << 8U : bytes[i];
    sum = (sum & 0xffffU) + (sum >> 16U);
  }
  return sum;
}

const char* fault_of_ip(std::span<const std::uint8_t> ip, bool ipv4, std::uint8_t hops,
                        Ends* ends) {
  if (!ipv4) {
    const auto header = load<Ipv6Header>(ip.data());
    if (header.payload_length.host() + sizeof(Ipv6Header) > ip.size()) {
      return "length";
    }
    ends->source = IpAddress(header.source);
    ends->destination = IpAddress(header.destination);
    return header.hop_limit == hops ? nullptr : "hop limit";
  }
  const auto header = load<Ipv4Header>(ip.data());
  if (header.version_ihl != 0x45 || header.total_length.host() > ip.size()) {
    return "length";
  }
  if (sum_of(ip.first(sizeof(Ipv4Header))) != 0xffff) {
    return "IPv4 checksum";
  }
  ends->source = IpAddress(header.source);
  ends->destination = IpAddress(header.destination);
  return header.time_to_live == hops ? nullptr : "time to live";
}

const char* fault_of_transport(std::span<const std::uint8_t> ip, const Traffic& traffic,
                               Ends* ends) {
  const bool ipv4 = traffic.vip.is_ipv4();
  const std::size_t header = ipv4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header);
  const std::size_t end = ipv4 ? load<Ipv4Header>(ip.data()).total_length.host()
                               : load<Ipv6Header>(ip.data()).payload_length.host() + header;
  const std::span<const std::uint8_t> transport = ip.subspan(header, end - header);
  ends->source_port = load<Be16>(transport.data()).host();
  ends->destination_port = load<Be16>(transport.data() + 2).host();
  const bool udp = traffic.protocol == kProtocolUdp;
  if (udp && ipv4 && load<std::uint16_t>(transport.data() + 6) == 0) {
    return traffic.udp_checksum ? "UDP checksum removed" : nullptr;
  }
  const std::size_t address = ipv4 ? 4 : 16;
  std::uint32_t sum = sum_of(transport);
  sum += sum_of({ends->source.bytes.data(), address});
  sum += sum_of({ends->destination.bytes.data(), address});
  sum += traffic.protocol + static_cast<std::uint32_t>(transport.size());
  while (sum > 0xffff) {
    sum = (sum & 0xffffU) + (sum >> 16U);
  }
  return sum == 0xffff ? nullptr : "transport checksum";
}

const char* read(std::span<const std::uint8_t> frame, const Traffic& traffic, std::uint8_t hops,
                 Ends* ends) {
  const std::span<const std::uint8_t> ip = frame.subspan(sizeof(EthernetHeader));
  const char* fault = fault_of_ip(ip, traffic.vip.is_ipv4(), hops, ends);
  return fault != nullptr ? fault : fault_of_transport(ip, traffic, ends);
}

}  // namespace

const char* fault_of_request(std::span<const std::uint8_t> frame, const Traffic& traffic,
                             ClientSide client) {
  Ends ends;
  if (const char* fault = read(frame, traffic, kHopsOfRequest, &ends)) {
    return fault;
  }
  if (low_word(ends.destination) - low_word(traffic.backend) >= traffic.backends ||
      advanced(traffic.backend, low_word(ends.destination) - low_word(traffic.backend)) !=
          ends.destination) {
    return "destination is no backend";
  }
  if (ends.destination_port != traffic.target_port) {
    return "target port";
  }
  if (traffic.source_kept && (ends.source != advanced(traffic.client, client.address_offset) ||
                              ends.source_port != client.port)) {
    return "source is not the client";
  }
  return traffic.snat && ends.source != *traffic.snat ? "source is not the SNAT address" : nullptr;
}

const char* fault_of_reply(std::span<const std::uint8_t> frame, const Traffic& traffic,
                           ClientSide client) {
  Ends ends;
  if (const char* fault = read(frame, traffic, kHopsOfReply, &ends)) {
    return fault;
  }
  if (ends.source != traffic.vip || ends.source_port != traffic.vip_port) {
    return "source is not the VIP";
  }
  return ends.destination != advanced(traffic.client, client.address_offset) ||
                 ends.destination_port != client.port
             ? "destination is another client"
             : nullptr;
}

}  // namespace sluice::pktgen
