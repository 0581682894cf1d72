// SPDX-License-Identifier: Apache-2.0
#include "bench/pktgen/neighbours.h"

#include "bench/pktgen/frame.h"

namespace sluice::pktgen {
namespace {

constexpr std::size_t kArpBytes = sizeof(EthernetHeader) + sizeof(ArpHeader);
constexpr std::size_t kNeighborAt = sizeof(EthernetHeader) + sizeof(Ipv6Header);
constexpr std::size_t kNdBytes = kNeighborAt + sizeof(NeighborMessage);
static_assert(kNdBytes <= sizeof(NeighbourFrame));

NeighbourMessage arp(Be16 operation, const MacAddress& to, const MacAddress& mac,
                     Ipv4Address sender, Ipv4Address target) {
  NeighbourMessage message;
  message.bytes = 60;
  store(message.frame.data(), EthernetHeader{to, mac, kEtherTypeArp});
  ArpHeader header{};
  header.hardware_type = Be16::from_host(1);
  header.protocol_type = kEtherTypeIpv4;
  header.hardware_length = 6;
  header.protocol_length = 4;
  header.operation = operation;
  header.sender_mac = mac;
  header.sender_ip = sender;
  header.target_mac = operation == kArpReply ? to : MacAddress{};
  header.target_ip = target;
  store(message.frame.data() + sizeof(EthernetHeader), header);
  return message;
}

struct Neighbor {
  MacAddress to;
  MacAddress mac;
  Ipv6Address source;
  Ipv6Address destination;
  Ipv6Address target;
  std::uint8_t type;
};

NeighbourMessage neighbor(const Neighbor& what) {
  NeighbourMessage message;
  message.bytes = kNdBytes;
  store(message.frame.data(), EthernetHeader{what.to, what.mac, kEtherTypeIpv6});
  Ipv6Header ip{};
  ip.version_class_flow = Be32::from_host(6U << 28U);
  ip.payload_length = Be16::from_host(sizeof(NeighborMessage));
  ip.next_header = kProtocolIcmp6;
  ip.hop_limit = 255;  // RFC 4861 §7.1: it has crossed no router
  ip.source = what.source;
  ip.destination = what.destination;
  store(message.frame.data() + sizeof(EthernetHeader), ip);
  const bool advertises = what.type == kIcmp6NeighborAdvertisement;
  NeighborMessage body{};
  body.icmp.type = what.type;
  body.icmp.rest = Be32::from_host(advertises ? 0x6000'0000U : 0);  // solicited, override
  body.target = what.target;
  body.option_type = advertises ? 2 : 1;
  body.option_length = 1;
  body.option_mac = what.mac;
  std::uint8_t* at = message.frame.data() + kNeighborAt;
  store(at, body);
  body.icmp.checksum = Be16{checksum_finish(
      checksum_sum({at, sizeof(body)},
                   pseudo_header_sum(ip.source, ip.destination, kProtocolIcmp6, sizeof(body))))};
  store(at, body);
  return message;
}

bool is_arp(std::span<const std::uint8_t> frame, Be16 operation) {
  return frame.size() >= kArpBytes && load<Be16>(frame.data() + 12) == kEtherTypeArp &&
         load<ArpHeader>(frame.data() + sizeof(EthernetHeader)).operation == operation;
}

bool is_neighbor(std::span<const std::uint8_t> frame, std::uint8_t type, std::size_t bytes) {
  return frame.size() >= bytes && load<Be16>(frame.data() + 12) == kEtherTypeIpv6 &&
         frame[sizeof(EthernetHeader) + 6] == kProtocolIcmp6 && frame[kNeighborAt] == type;
}

}  // namespace

bool Station::has(const IpAddress& address) const {
  const std::uint32_t offset = low_word(address) - low_word(first);
  return address.family == first.family && offset < count && advanced(first, offset) == address;
}

NeighbourMessage ask_for(const Station& station, const IpAddress& target) {
  if (target.is_ipv4()) {
    return arp(kArpRequest, kBroadcastMac, station.mac, station.first.v4(), target.v4());
  }
  // RFC 4291 §2.7.1 and RFC 2464 §7: the solicited-node group of the target.
  const Ipv6Address wanted = target.v6();
  Ipv6Address group{{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0}};
  MacAddress to{{0x33, 0x33, 0xff, 0, 0, 0}};
  for (std::size_t i = 13; i < 16; ++i) {
    group.bytes[i] = wanted.bytes[i];
    to.bytes[i - 10] = wanted.bytes[i];
  }
  return neighbor({to, station.mac, station.first.v6(), group, wanted, kIcmp6NeighborSolicitation});
}

std::optional<NeighbourMessage> answer_of(const Station& station,
                                          std::span<const std::uint8_t> frame) {
  if (is_arp(frame, kArpRequest)) {
    const auto asked = load<ArpHeader>(frame.data() + sizeof(EthernetHeader));
    if (!station.has(IpAddress(asked.target_ip))) {
      return std::nullopt;
    }
    return arp(kArpReply, asked.sender_mac, station.mac, asked.target_ip, asked.sender_ip);
  }
  if (is_neighbor(frame, kIcmp6NeighborSolicitation, kNeighborAt + kNeighborMessageWithoutOption)) {
    const auto target = load<Ipv6Address>(frame.data() + kNeighborAt + sizeof(IcmpHeader));
    const auto asker = load<Ipv6Address>(frame.data() + sizeof(EthernetHeader) + 8);
    if (!station.has(IpAddress(target))) {
      return std::nullopt;
    }
    return neighbor({load<MacAddress>(frame.data() + sizeof(MacAddress)), station.mac, target,
                     asker, target, kIcmp6NeighborAdvertisement});
  }
  return std::nullopt;
}

std::optional<MacAddress> mac_told(std::span<const std::uint8_t> frame, const IpAddress& target) {
  if (target.is_ipv4() && is_arp(frame, kArpReply)) {
    const auto told = load<ArpHeader>(frame.data() + sizeof(EthernetHeader));
    if (told.sender_ip == target.v4()) {
      return told.sender_mac;
    }
  }
  if (!target.is_ipv4() && is_neighbor(frame, kIcmp6NeighborAdvertisement, kNdBytes)) {
    const auto told = load<NeighborMessage>(frame.data() + kNeighborAt);
    if (told.target == target.v6() && told.option_type == 2) {
      return told.option_mac;
    }
  }
  return std::nullopt;
}

}  // namespace sluice::pktgen
