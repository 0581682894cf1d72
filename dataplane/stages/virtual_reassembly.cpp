// SPDX-License-Identifier: Apache-2.0
// Whose part is it? Fragments are not put together: each goes its way alone, with the ports that
// the first one of its datagram showed. So from here on a fragment has a whole key. One that comes
// before its first waits. All fragments of a datagram meet on one lcore, which any lcore can tell
// from each of them.
//
// Only what may belong to one of our flows is looked at; the kernel gets the others as they came.
#include "dataplane/net/headers.h"
#include "dataplane/stages/decisions.h"
#include "dataplane/stages/pipeline.h"

#include <algorithm>
#include <utility>

namespace sluice {
namespace {

// To an address with anything of ours, also one that only old flows have; or, where backends answer
// clients by name (DNAT), to anybody.
bool may_be_ours(const Packet& packet, const Snapshot& snapshot) {
  const AddressEntry* entry =
      snapshot.addresses->find(packet.family == Family::kIpv4 ? IpAddress(packet.key4.destination)
                                                              : IpAddress(packet.key6.destination));
  return (entry != nullptr && (entry->kind != AddressKind::kHost || entry->serves_node_ports ||
                               entry->keeps_flows || is_shared_snat(*entry, snapshot))) ||
         (snapshot.any_dnat && !packet.from_host);
}

struct Fragment {
  DatagramKey key;
  FragmentRange range;
};

Fragment read_ipv4(const Packet& packet) {
  const auto* ip = packet.at<Ipv4Header>(packet.l3_offset);
  const Be16 field = ip->fragment_offset;
  return {{IpAddress(ip->source), IpAddress(ip->destination), Be16{ip->identification}.host(),
           ip->protocol},
          {Be16{static_cast<std::uint16_t>(field.raw & kIpv4OffsetMask.raw)}.host() * 8U,
           packet.l3_length - (std::uint32_t{packet.l4_offset} - packet.l3_offset),
           (field.raw & kIpv4MoreFragments.raw) != 0}};
}

Fragment read_ipv6(const Packet& packet) {
  const auto* ip = packet.at<Ipv6Header>(packet.l3_offset);
  const auto* header = packet.at<Fragment6Header>(packet.fragment_header);
  const Be16 field = header->offset_more;
  const auto begin = packet.fragment_header + std::uint32_t{sizeof(Fragment6Header)};
  return {
      {IpAddress(ip->source), IpAddress(ip->destination), Be32{header->identification}.host(), 0},
      {std::uint32_t{Be16{static_cast<std::uint16_t>(field.raw & kFragment6OffsetMask.raw)}.host()},
       packet.l3_offset + std::uint32_t{packet.l3_length} - begin,
       (field.raw & kFragment6More.raw) != 0}};
}

// RFC 791 §3.2: what no sender makes, and a last octet beyond what any datagram has.
bool is_possible(const Packet& packet, const FragmentRange& range) {
  const std::uint32_t headers =
      packet.family == Family::kIpv4 ? std::uint32_t{packet.l4_offset} - packet.l3_offset : 0;
  return range.length != 0 && (!range.more || range.length % 8 == 0) &&
         headers + range.offset + range.length <= Fragments::kOctetsMax;
}

// A first fragment shows all of its transport header (RFC 1858 §3.2, RFC 7112 §5). What is nothing
// that we carry lends protocol 0. Nothing when it is too short.
std::optional<LentPorts> read_ports(const Packet& packet) {
  const std::uint32_t end = std::min<std::uint32_t>(
      packet.l3_offset + std::uint32_t{packet.l3_length}, packet.mbuf->data_len);
  const auto has = [&](std::size_t length) { return packet.l4_offset + length <= end; };
  const std::uint8_t icmp = packet.family == Family::kIpv4 ? kProtocolIcmp : kProtocolIcmp6;
  if (packet.protocol == kProtocolTcp) {
    const auto* tcp = packet.at<TcpHeader>(packet.l4_offset);
    if (!has(sizeof(TcpHeader)) || tcp->data_offset < 0x50 ||
        !has((tcp->data_offset >> 4U) * std::size_t{4})) {
      return std::nullopt;
    }
    return LentPorts{tcp->source_port, tcp->destination_port, kProtocolTcp};
  }
  if (packet.protocol == kProtocolUdp) {
    const auto* udp = packet.at<UdpHeader>(packet.l4_offset);
    return has(sizeof(UdpHeader))
               ? std::optional(LentPorts{udp->source_port, udp->destination_port, kProtocolUdp})
               : std::nullopt;
  }
  if (packet.protocol == icmp) {
    const auto* message = packet.at<IcmpHeader>(packet.l4_offset);
    if (!has(sizeof(IcmpHeader))) {
      return std::nullopt;
    }
    const std::uint8_t request = icmp == kProtocolIcmp ? kIcmpEchoRequest : kIcmp6EchoRequest;
    return LentPorts{Be16{}, Be16{}, message->type == request ? icmp : std::uint8_t{0}};
  }
  return LentPorts{};
}

// The fragment becomes what its datagram is.
void borrow(Packet& packet, const LentPorts& lent, std::uint32_t identification, bool first,
            Burst& burst) {
  const auto set_ports = [&](auto& key) {
    key.source_port = lent.source;
    key.destination_port = lent.destination;
    key.protocol = lent.protocol;
  };
  packet.lent = lent;
  packet.mbuf->hash.usr = identification;
  if (lent.protocol == 0) {
    return;
  }
  packet.protocol = lent.protocol;
  if (packet.family == Family::kIpv4) {
    set_ports(packet.key4);
  } else {
    set_ports(packet.key6);
  }
  if (lent.protocol != kProtocolTcp && lent.protocol != kProtocolUdp) {
    packet.kind = first ? PacketKind::kIcmp : PacketKind::kEchoFragment;
    burst.icmp_messages += first ? 1 : 0;
    return;
  }
  packet.kind = first ? PacketKind::kFirstFragment : PacketKind::kLaterFragment;
  packet.tcp_flags = first && lent.protocol == kProtocolTcp
                         ? packet.at<TcpHeader>(packet.l4_offset)->flags
                         : std::uint8_t{0};
}

// Its datagram's lcore has seen it; a first fragment shows its ports again.
bool is_known_already(const Packet& packet) {
  return packet.errand >= Errand::kReleased;
}

void take_in(Packet& packet, const Fragment& fragment, LcoreState& state) {
  std::optional<LentPorts> ports;
  const bool first = fragment.range.offset == 0;
  if (first) {
    ports = read_ports(packet);
  }
  if (!is_possible(packet, fragment.range) || (first && !ports)) {
    packet.decide_drop(Drop::kFragmentHeader);
    return;
  }
  const Drop fault = state.fragments.take(fragment.key, fragment.range, ports, state.now_ms);
  if (fault != Drop::kNone) {
    packet.decide_drop(fault);
  }
}

void resolve(Packet& packet, const Fragment& fragment, Burst& burst, const LcoreState& state) {
  const auto known = state.fragments.known(fragment.key);
  if (!known) {
    packet.decide_drop(Drop::kFragmentLimit);  // this very burst needed its place
  } else if (known->overlapped) {
    packet.decide_drop(Drop::kFragmentOverlap);
  } else if (known->lent) {
    borrow(packet, *known->lent, known->identification, fragment.range.offset == 0, burst);
  } else {
    packet.verdict = Verdict::kHoldFragment;
    packet.datagram = known->datagram;
  }
}

}  // namespace

void virtual_reassembly(Burst& burst, const Snapshot& snapshot, LcoreState& state) {
  if (burst.fragments == 0) [[likely]] {
    return;
  }
  std::array<Fragment, kBurstMax> fragments;
  std::array<std::uint8_t, kBurstMax> taken;
  std::uint32_t count = 0;
  for (std::uint32_t i = 0; i < burst.count; ++i) {
    Packet& packet = burst.packets[i];
    if (packet.verdict != Verdict::kPending || packet.kind != PacketKind::kFragment ||
        !may_be_ours(packet, snapshot)) {
      continue;
    }
    const Fragment fragment =
        packet.family == Family::kIpv4 ? read_ipv4(packet) : read_ipv6(packet);
    if (is_known_already(packet)) {
      const bool first = fragment.range.offset == 0;
      const std::optional<LentPorts> lent = first ? read_ports(packet) : packet.lent;
      borrow(packet, lent.value_or(LentPorts{}), packet.mbuf->hash.usr, first, burst);
      continue;
    }
    const std::uint8_t owner = snapshot.ownership->of_datagram(
        fragment.key.source, fragment.key.destination, fragment.key.identification);
    if (owner != state.number && packet.errand == Errand::kNone) {
      packet.hand_over(owner, Errand::kReassembly);
      continue;
    }
    take_in(packet, fragment, state);
    fragments[count] = fragment;
    taken[count++] = static_cast<std::uint8_t>(i);
  }
  // The first one may have come later in this very burst. It changes places with one before it, as
  // it may have to open the flow.
  std::uint32_t ahead = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    Packet& packet = burst.packets[taken[i]];
    if (packet.verdict == Verdict::kPending) {
      resolve(packet, fragments[i], burst, state);
    }
    if (packet.kind == PacketKind::kFirstFragment) {
      std::swap(packet, burst.packets[taken[ahead]]);
      std::swap(fragments[i], fragments[ahead]);
      ++ahead;
    }
  }
  state.fragments.forget_complete();
}

}  // namespace sluice
