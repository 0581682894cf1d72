// SPDX-License-Identifier: Apache-2.0
// Ours to answer? ARP requests, neighbour solicitations and echo requests for VIPs and SNAT
// addresses become their own answers in place, back out of the port they came from (to the kernel,
// when it asked). All other ARP and ND is the kernel's.
#include "dataplane/net/checksum.h"
#include "dataplane/net/headers.h"
#include "dataplane/stages/pipeline.h"

#include <cstring>

namespace sluice {
namespace {

constexpr std::uint8_t kAnswerTtl = 64;
constexpr std::uint8_t kNdHopLimit = 255;  // RFC 4861 §7.1.1

// Back to whoever asked.
void answer(Packet& packet) {
  packet.decide(packet.from_host ? Verdict::kPunt : Verdict::kTransmit, packet.rx_port);
}

// What is between the kernel and its neighbours passes through.
void pass_on(Packet& packet, const PortFacts& port) {
  if (packet.from_host) {
    packet.decide(Verdict::kTransmit, packet.rx_port);
  } else if (port.has_twin) {
    packet.decide(Verdict::kPunt, packet.rx_port);
  } else {
    packet.decide_drop(Drop::kTransit);
  }
}

// The kernel is answered whenever it asks; a neighbour only where the address belongs on the link.
bool answers_here(const Packet& packet, const AddressEntry* entry) {
  return entry != nullptr && entry->is_ours() &&
         (packet.from_host || (entry->answer_ports >> packet.rx_port & 1U) != 0);
}

void answer_ethernet(Packet& packet, const MacAddress& mac, const MacAddress& to) {
  auto* ethernet = packet.at<EthernetHeader>(0);
  ethernet->destination = to;
  ethernet->source = mac;
}

// RFC 826; the frame may be padded, the fields must be those of Ethernet and IPv4.
void respond_arp(Packet& packet, const Snapshot& snapshot) {
  const PortFacts& port = snapshot.ports[packet.rx_port];
  auto* arp = packet.at<ArpHeader>(sizeof(EthernetHeader));
  if (packet.mbuf->data_len < sizeof(EthernetHeader) + sizeof(ArpHeader) ||
      arp->hardware_type != Be16::from_host(1) || arp->protocol_type != kEtherTypeIpv4 ||
      arp->hardware_length != 6 || arp->protocol_length != 4) {
    packet.decide_drop(Drop::kTransportHeader);
    return;
  }
  const IpAddress target{arp->target_ip};
  if (arp->operation != kArpRequest || !answers_here(packet, snapshot.addresses->find(target)) ||
      arp->sender_ip == arp->target_ip) {
    pass_on(packet, port);
    return;
  }
  arp->operation = kArpReply;
  arp->target_mac = arp->sender_mac;
  arp->target_ip = arp->sender_ip;
  arp->sender_mac = port.mac;
  arp->sender_ip = target.v4();
  answer_ethernet(packet, port.mac, arp->target_mac);
  answer(packet);
}

Be16 icmp6_checksum(const Ipv6Header* ip, const std::uint8_t* message, std::uint16_t length) {
  return Be16{checksum_finish(checksum_sum(
      {message, length}, pseudo_header_sum(ip->source, ip->destination, kProtocolIcmp6, length)))};
}

// RFC 4861 §7.1.1, all of it that matters for an answer.
bool is_valid_solicitation(const Packet& packet, const Ipv6Header* ip, const IcmpHeader* icmp) {
  const auto length =
      static_cast<std::uint16_t>(packet.l3_length - (packet.l4_offset - packet.l3_offset));
  const auto* message = reinterpret_cast<const std::uint8_t*>(icmp);
  return ip->hop_limit == kNdHopLimit && icmp->code == 0 &&
         length >= kNeighborMessageWithoutOption &&
         packet.mbuf->data_len >= packet.l4_offset + length &&
         icmp6_checksum(ip, message, length).raw == 0;
}

Ipv6Address all_nodes() {
  Ipv6Address address{};
  address.bytes[0] = 0xff;
  address.bytes[1] = 0x02;
  address.bytes[15] = 1;
  return address;
}

// RFC 4861 §7.2.4. Router, solicited and override flags lie in the first byte after the checksum.
void write_advertisement(NeighborMessage* message, Ipv6Header* ip, const MacAddress& mac,
                         const Ipv6Address& target, bool solicited) {
  message->icmp.type = kIcmp6NeighborAdvertisement;
  message->icmp.code = 0;
  message->icmp.checksum = Be16{};
  message->icmp.rest = Be32::from_host(solicited ? 0x6000'0000 : 0x2000'0000);
  message->target = target;
  message->option_type = 2;
  message->option_length = 1;
  message->option_mac = mac;
  ip->payload_length = Be16::from_host(sizeof(NeighborMessage));
  ip->hop_limit = kNdHopLimit;
  message->icmp.checksum =
      icmp6_checksum(ip, reinterpret_cast<const std::uint8_t*>(message), sizeof(NeighborMessage));
}

// The frame gets exactly the length of an advertisement.
bool resize(rte_mbuf* mbuf, std::uint32_t length) {
  if (mbuf->nb_segs != 1) {
    return false;
  }
  if (mbuf->data_len > length) {
    return rte_pktmbuf_trim(mbuf, static_cast<std::uint16_t>(mbuf->data_len - length)) == 0;
  }
  return rte_pktmbuf_append(mbuf, static_cast<std::uint16_t>(length - mbuf->data_len)) != nullptr;
}

// A solicitation from the unspecified address asks whether anybody has the address (RFC 4862
// §5.4.3): the answer goes to all nodes.
void respond_solicitation(Packet& packet, const Snapshot& snapshot) {
  const PortFacts& port = snapshot.ports[packet.rx_port];
  auto* ip = packet.at<Ipv6Header>(packet.l3_offset);
  auto* message = packet.at<NeighborMessage>(packet.l4_offset);
  if (packet.l4_offset != packet.l3_offset + sizeof(Ipv6Header)) {
    pass_on(packet, port);  // nobody sends such ones, and an answer would have to lose the headers
    return;
  }
  if (!is_valid_solicitation(packet, ip, &message->icmp)) {
    packet.decide_drop(Drop::kTransportHeader);
    return;
  }
  const Ipv6Address target = message->target;
  const MacAddress asker = packet.at<EthernetHeader>(0)->source;
  if (!answers_here(packet, snapshot.addresses->find(IpAddress(target))) ||
      !resize(packet.mbuf, packet.l4_offset + std::uint32_t{sizeof(NeighborMessage)})) {
    pass_on(packet, port);
    return;
  }
  const bool probe = IpAddress(packet.key6.source).is_unspecified();
  ip->destination = probe ? all_nodes() : packet.key6.source;
  ip->source = target;
  write_advertisement(message, ip, port.mac, target, !probe);
  answer_ethernet(packet, port.mac, probe ? MacAddress{{0x33, 0x33, 0, 0, 0, 1}} : asker);
  answer(packet);
}

bool is_echo_request(const Packet& packet) {
  const auto* icmp = packet.at<IcmpHeader>(packet.l4_offset);
  return icmp->type == (packet.family == Family::kIpv4 ? kIcmpEchoRequest : kIcmp6EchoRequest) &&
         icmp->code == 0;
}

void make_echo_reply(Packet& packet) {
  auto* icmp = packet.at<IcmpHeader>(packet.l4_offset);
  const std::uint16_t before = Be16::from_host(static_cast<std::uint16_t>(icmp->type << 8U)).raw;
  icmp->type = packet.family == Family::kIpv4 ? kIcmpEchoReply : kIcmp6EchoReply;
  const std::uint16_t after = Be16::from_host(static_cast<std::uint16_t>(icmp->type << 8U)).raw;
  icmp->checksum = checksum_update(icmp->checksum, ChecksumDelta::exchange(before, after));
}

// RFC 1122 §3.2.2.6, RFC 4443 §4.2: identifier, sequence and data go back unchanged, so only the
// type changes the checksum (and the addresses swap, which changes no sum). So a fragmented request
// is answered fragment by fragment.
void respond_echo(Packet& packet, const Snapshot& snapshot, LcoreState& state) {
  const bool ipv4 = packet.family == Family::kIpv4;
  if (packet.kind == PacketKind::kIcmp && !is_echo_request(packet)) {
    packet.decide_drop(Drop::kIcmpUnhandled);
    return;
  }
  if (!packet.address->answers_echo) {
    packet.decide_drop(Drop::kNoBackend);
    return;
  }
  if (!state.answers.take(Answer::kEcho, state.now_ms)) {
    packet.decide_drop(Drop::kEchoLimited);
    return;
  }
  if (packet.kind == PacketKind::kIcmp) {
    make_echo_reply(packet);
  }
  if (ipv4) {
    auto* ip = packet.at<Ipv4Header>(packet.l3_offset);
    ip->destination = packet.key4.source;
    ip->source = packet.key4.destination;
    ip->time_to_live = kAnswerTtl;
    ip->checksum = Be16{};
    ip->checksum.raw = checksum_finish(checksum_sum(
        {reinterpret_cast<const std::uint8_t*>(ip), (ip->version_ihl & 0xfU) * std::size_t{4}}));
  } else {
    auto* ip = packet.at<Ipv6Header>(packet.l3_offset);
    ip->destination = packet.key6.source;
    ip->source = packet.key6.destination;
    ip->hop_limit = kAnswerTtl;
  }
  answer_ethernet(packet, snapshot.ports[packet.rx_port].mac, packet.at<EthernetHeader>(0)->source);
  answer(packet);
}

}  // namespace

void respond(Burst& burst, const Snapshot& snapshot, LcoreState& state) {
  for (std::uint32_t i = 0; i < burst.count; ++i) {
    Packet& packet = burst.packets[i];
    if (packet.verdict != Verdict::kPending) [[likely]] {
      continue;
    }
    if (packet.kind == PacketKind::kArp) {
      respond_arp(packet, snapshot);
    } else if (packet.kind == PacketKind::kIcmp && packet.family == Family::kIpv6 &&
               packet.at<IcmpHeader>(packet.l4_offset)->type == kIcmp6NeighborSolicitation) {
      respond_solicitation(packet, snapshot);
    } else {
      respond_echo(packet, snapshot, state);
    }
  }
}

bool write_announcement(rte_mbuf* mbuf, const MacAddress& mac, const IpAddress& address) {
  const std::size_t length =
      sizeof(EthernetHeader) +
      (address.is_ipv4() ? sizeof(ArpHeader) : sizeof(Ipv6Header) + sizeof(NeighborMessage));
  auto* ethernet = reinterpret_cast<EthernetHeader*>(
      rte_pktmbuf_append(mbuf, static_cast<std::uint16_t>(length)));
  if (ethernet == nullptr) {
    return false;
  }
  std::memset(ethernet, 0, length);
  ethernet->source = mac;
  if (address.is_ipv4()) {
    ethernet->destination = kBroadcastMac;
    ethernet->ether_type = kEtherTypeArp;
    auto* arp = reinterpret_cast<ArpHeader*>(ethernet + 1);
    *arp = ArpHeader{Be16::from_host(1), kEtherTypeIpv4, 6,           4, kArpRequest, mac,
                     address.v4(),       MacAddress{},   address.v4()};
    return true;
  }
  ethernet->destination = MacAddress{{0x33, 0x33, 0, 0, 0, 1}};
  ethernet->ether_type = kEtherTypeIpv6;
  auto* ip = reinterpret_cast<Ipv6Header*>(ethernet + 1);
  ip->version_class_flow = Be32::from_host(0x6000'0000);
  ip->next_header = kProtocolIcmp6;
  ip->source = address.v6();
  ip->destination = all_nodes();
  write_advertisement(reinterpret_cast<NeighborMessage*>(ip + 1), ip, mac, address.v6(), false);
  return true;
}

}  // namespace sluice
