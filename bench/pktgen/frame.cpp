// SPDX-License-Identifier: Apache-2.0
#include "bench/pktgen/frame.h"

#include <algorithm>
#include <utility>

namespace sluice::pktgen {
namespace {

// Offset of the last four bytes of the source address; the destination's follow by its length.
std::uint32_t source_word_at(bool ipv4) {
  return sizeof(EthernetHeader) + (ipv4 ? 12U : 8U + 12U);
}

template <typename T>
void exchange(std::uint8_t* frame, std::size_t one, std::size_t other) {
  const T kept = load<T>(frame + one);
  store(frame + one, load<T>(frame + other));
  store(frame + other, kept);
}

}  // namespace

std::uint32_t low_word(const IpAddress& address) {
  return load<Be32>(address.bytes.data() + (address.is_ipv4() ? 0 : 12)).host();
}

IpAddress advanced(const IpAddress& address, std::uint32_t offset) {
  IpAddress moved = address;
  store(moved.bytes.data() + (address.is_ipv4() ? 0 : 12),
        Be32::from_host(low_word(address) + offset));
  return moved;
}

FrameWriter::FrameWriter(const Traffic& traffic, std::uint16_t bytes, std::uint8_t tcp_flags)
    : client_base_(low_word(traffic.client)),
      address_at_(source_word_at(traffic.vip.is_ipv4())),
      transport_at_(traffic.transport_offset()),
      signature_at_(traffic.signature_offset()),
      checksum_at_(transport_at_ + (traffic.protocol == kProtocolUdp ? 6 : 16)),
      bytes_(bytes),
      ipv4_(traffic.vip.is_ipv4()),
      short_(traffic.frame_bytes_min() <= 64) {
  EthernetHeader ethernet{traffic.client_gateway, traffic.client_mac,
                          ipv4_ ? kEtherTypeIpv4 : kEtherTypeIpv6};
  store(template_.data(), ethernet);
  write_ip(traffic);
  write_transport(traffic, tcp_flags);
  // The client's address and port are left out of the sums and come in with each packet.
  store(template_.data() + address_at_, std::uint32_t{0});
  const auto covered = static_cast<std::uint16_t>(bytes_ - transport_at_);
  const std::uint8_t* ip = template_.data() + sizeof(EthernetHeader);
  const std::size_t header = std::min<std::size_t>(covered, template_.size() - transport_at_);
  transport_sum_ = checksum_sum({template_.data() + transport_at_, header});
  if (ipv4_) {
    ip_sum_ = checksum_sum({ip, sizeof(Ipv4Header)});
    const auto header_read = load<Ipv4Header>(ip);
    transport_sum_ +=
        pseudo_header_sum(header_read.source, header_read.destination, traffic.protocol, covered);
  } else {
    const auto header_read = load<Ipv6Header>(ip);
    transport_sum_ += pseudo_header_sum(header_read.source, header_read.destination,
                                        traffic.protocol, std::uint32_t{covered});
  }
}

void FrameWriter::write_ip(const Traffic& traffic) {
  std::uint8_t* at = template_.data() + sizeof(EthernetHeader);
  if (ipv4_) {
    Ipv4Header ip{};
    ip.version_ihl = 0x45;
    ip.total_length = Be16::from_host(static_cast<std::uint16_t>(bytes_ - sizeof(EthernetHeader)));
    ip.fragment_offset = kIpv4DontFragment;
    ip.time_to_live = 64;
    ip.protocol = traffic.protocol;
    ip.source = traffic.client.v4();
    ip.destination = traffic.vip.v4();
    store(at, ip);
    return;
  }
  Ipv6Header ip{};
  ip.version_class_flow = Be32::from_host(6U << 28U);
  ip.payload_length = Be16::from_host(static_cast<std::uint16_t>(bytes_ - transport_at_));
  ip.next_header = traffic.protocol;
  ip.hop_limit = 64;
  ip.source = traffic.client.v6();
  ip.destination = traffic.vip.v6();
  store(at, ip);
}

void FrameWriter::write_transport(const Traffic& traffic, std::uint8_t tcp_flags) {
  std::uint8_t* at = template_.data() + transport_at_;
  if (traffic.protocol == kProtocolUdp) {
    UdpHeader udp{};
    udp.destination_port = Be16::from_host(traffic.vip_port);
    udp.length = Be16::from_host(static_cast<std::uint16_t>(bytes_ - transport_at_));
    checksum_mask_ = traffic.udp_checksum || !ipv4_ ? 0xffff : 0;  // RFC 8200 §8.1
    store(at, udp);
    return;
  }
  TcpHeader tcp{};
  tcp.destination_port = Be16::from_host(traffic.vip_port);
  tcp.data_offset = 5U << 4U;
  tcp.flags = tcp_flags;
  tcp.window = Be16::from_host(0xffff);
  store(at, tcp);
}

FrameReader::FrameReader(const Traffic& traffic)
    : length_min_(traffic.frame_bytes_min()),
      transport_at_(traffic.transport_offset()),
      signature_at_(traffic.signature_offset()),
      protocol_at_(sizeof(EthernetHeader) + (traffic.vip.is_ipv4() ? 9U : 6U)),
      source_at_(source_word_at(traffic.vip.is_ipv4())),
      destination_at_(source_at_ + (traffic.vip.is_ipv4() ? 4U : 16U)),
      vip_low_(Be32::from_host(low_word(traffic.vip)).raw),
      client_base_(low_word(traffic.client)),
      ether_type_(traffic.vip.is_ipv4() ? kEtherTypeIpv4.raw : kEtherTypeIpv6.raw),
      target_port_(Be16::from_host(traffic.target_port).raw),
      vip_port_(Be16::from_host(traffic.vip_port).raw),
      protocol_(traffic.protocol) {}

void turn_round(std::uint8_t* frame) {
  exchange<MacAddress>(frame, 0, sizeof(MacAddress));
  std::size_t transport = sizeof(EthernetHeader) + sizeof(Ipv4Header);
  std::uint8_t protocol = frame[sizeof(EthernetHeader) + 9];
  if (load<Be16>(frame + 12) == kEtherTypeIpv4) {
    exchange<Ipv4Address>(frame, sizeof(EthernetHeader) + 12, sizeof(EthernetHeader) + 16);
  } else {
    exchange<Ipv6Address>(frame, sizeof(EthernetHeader) + 8, sizeof(EthernetHeader) + 24);
    transport = sizeof(EthernetHeader) + sizeof(Ipv6Header);
    protocol = frame[sizeof(EthernetHeader) + 6];
  }
  exchange<Be16>(frame, transport, transport + 2);
  if (protocol != kProtocolTcp || (frame[transport + 13] & kTcpSyn) == 0) {
    return;
  }
  const auto before = load<std::uint16_t>(frame + transport + 12);
  frame[transport + 13] = (frame[transport + 13] & kTcpAck) != 0 ? kTcpAck : kTcpSyn | kTcpAck;
  const auto after = load<std::uint16_t>(frame + transport + 12);
  store(frame + transport + 16, checksum_update(load<Be16>(frame + transport + 16),
                                                ChecksumDelta::exchange(before, after)));
}

}  // namespace sluice::pktgen
