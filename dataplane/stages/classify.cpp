// SPDX-License-Identifier: Apache-2.0
// Whose is it? Only packets without a flow come here. By address first (VIP, node, SNAT, host),
// then by port. What is nobody's goes to the kernel or is dropped, as the port says; what is for a
// VIP or a SNAT address never reaches the kernel, and of a host's or a node's address only node
// ports are ours.
#include "dataplane/stages/decisions.h"
#include "dataplane/stages/pipeline.h"

namespace sluice {

// No packet for one of our addresses can come from here (RFC 1812 §5.3.7, RFC 4291 §2.7).
bool is_impossible_source(const IpAddress& source, const Snapshot& snapshot) {
  if (source.is_unspecified() || source.is_multicast() || source.is_loopback() ||
      (source.is_ipv4() && source.v4().value.raw == 0xffff'ffff)) {
    return true;
  }
  const AddressEntry* entry = snapshot.addresses->find(source);
  return entry != nullptr && entry->is_ours();
}

namespace {

struct Addresses {
  IpAddress source;
  IpAddress destination;
};

Addresses addresses_of(const Packet& packet) {
  if (packet.family == Family::kIpv4) {
    return {IpAddress(packet.key4.source), IpAddress(packet.key4.destination)};
  }
  return {IpAddress(packet.key6.source), IpAddress(packet.key6.destination)};
}

bool is_neighbor_solicitation(const Packet& packet) {
  return packet.kind == PacketKind::kIcmp && packet.family == Family::kIpv6 &&
         packet.at<IcmpHeader>(packet.l4_offset)->type == kIcmp6NeighborSolicitation;
}

// Nobody's, or the kernel's: routing protocols' multicast and link-local traffic always, the rest
// if the port is to let the kernel route it.
void classify_other(Packet& packet, const Addresses& addresses, const PortFacts& port) {
  const IpAddress& to = addresses.destination;
  if (packet.from_host) {
    packet.decide(Verdict::kTransmit, packet.rx_port);
    return;
  }
  const bool broadcast = to.is_ipv4() && to.v4().value.raw == 0xffff'ffff;
  const bool kernel =
      to.is_multicast() || to.is_link_local() || broadcast || port.transit_to_kernel;
  if (kernel && port.has_twin) {
    packet.decide(Verdict::kPunt, packet.rx_port);
  } else {
    packet.decide_drop(Drop::kTransit);
  }
}

void classify_host(Packet& packet, const PortFacts& port) {
  if (packet.from_host) {
    packet.decide(Verdict::kTransmit, packet.rx_port);
  } else if (port.has_twin) {
    packet.decide(Verdict::kPunt, packet.rx_port);
  } else {
    packet.decide_drop(Drop::kTransit);
  }
}

// A SYN opens a flow. Under DNAT a segment in mid-stream does too: Maglev chooses as it did for the
// gateway that has carried the connection before, and the client's tuple is the connection's own.
bool may_open(const Packet& packet) {
  const unsigned flags = packet.tcp_flags & (kTcpSyn | kTcpAck | kTcpRst | kTcpFin);
  return flags == kTcpSyn || (packet.service->mode == ForwardingMode::kDnat &&
                              (flags & (kTcpSyn | kTcpRst)) == 0 && (flags & kTcpAck) != 0);
}

bool has_ports(const Packet& packet) {
  return packet.kind == PacketKind::kTransport || packet.kind == PacketKind::kFirstFragment ||
         packet.kind == PacketKind::kLaterFragment;
}

const ServicePort* service_at(const Packet& packet, const AddressEntry& entry,
                              const Snapshot& snapshot) {
  const Be16 port =
      packet.family == Family::kIpv4 ? packet.key4.destination_port : packet.key6.destination_port;
  const PortKey key{port.host(), packet.protocol};
  const ServicePort* own = entry.find(key);  // as a rule the answer, and one call
  return own != nullptr || !entry.serves_node_ports ? own : snapshot.service_at(entry, key);
}

// A TCP or UDP packet without a flow, to a service; null: to a port of a VIP that none has.
void classify_frontend(Packet& packet, const ServicePort* service, const Snapshot& snapshot) {
  packet.service = service;
  if (packet.service == nullptr) {
    packet.decide_drop(Drop::kUnknownPort);
    return;
  }
  packet.has_service = true;
  const bool chooses = packet.service->allowed != nullptr || packet.service->denied != nullptr;
  const Drop refused =
      chooses ? refusal(*packet.service, addresses_of(packet).source) : Drop::kNone;
  if (refused != Drop::kNone) {
    packet.decide_drop(refused);
  } else if (packet.protocol == kProtocolTcp && !may_open(packet)) {
    packet.decide_drop(Drop::kTcpNoFlow);  // backends or none, its connection is over
  } else if (packet.service->maglev == nullptr) {
    packet.decide_drop(packet.service->shut ? Drop::kTrafficPolicy : Drop::kNoBackend);
  } else if (snapshot.draining) {
    packet.decide_drop(Drop::kDraining);
  }
}

void classify_ours(Packet& packet, const AddressEntry& entry, const Snapshot& snapshot) {
  switch (packet.kind) {
    case PacketKind::kTransport:
    case PacketKind::kFirstFragment:
    case PacketKind::kLaterFragment:
      if (entry.kind == AddressKind::kVip) {
        classify_frontend(packet, service_at(packet, entry, snapshot), snapshot);
      } else {
        packet.decide_drop(Drop::kSnatNoFlow);
      }
      break;
    case PacketKind::kIcmpError:
      packet.decide_drop(Drop::kIcmpNoFlow);
      break;
    case PacketKind::kIcmp:
    case PacketKind::kEchoFragment:
      packet.address = &entry;  // respond decides
      break;
    case PacketKind::kFragment:
      packet.decide_drop(Drop::kFragment);
      break;
    case PacketKind::kExtensionHeader:
      packet.decide_drop(Drop::kExtensionHeader);
      break;
    case PacketKind::kArp:
    case PacketKind::kOtherProtocol:
      packet.decide_drop(Drop::kUnknownPort);
      break;
  }
}

// The kernel's own address, or a node's behind us: node ports are ours, the rest is not. The kernel
// sends to its own addresses without us.
void classify_node(Packet& packet, const Addresses& addresses, const AddressEntry& entry,
                   const Snapshot& snapshot) {
  const PortFacts& port = snapshot.ports[packet.rx_port];
  const ServicePort* service = has_ports(packet) ? service_at(packet, entry, snapshot) : nullptr;
  if (service == nullptr && entry.kind == AddressKind::kHost) {
    classify_host(packet, port);
  } else if (service == nullptr) {
    classify_other(packet, addresses, port);
  } else if (is_impossible_source(addresses.source, snapshot)) {
    packet.decide_drop(Drop::kSourceAddress);
  } else {
    classify_frontend(packet, service, snapshot);
  }
}

void classify_packet(Packet& packet, const Snapshot& snapshot) {
  const Addresses addresses = addresses_of(packet);
  const AddressEntry* entry = snapshot.addresses->find(addresses.destination);
  if (entry != nullptr && entry->is_ours()) [[likely]] {
    if (is_impossible_source(addresses.source, snapshot)) {
      packet.decide_drop(Drop::kSourceAddress);
    } else {
      classify_ours(packet, *entry, snapshot);
    }
  } else if (entry == nullptr || entry->kind == AddressKind::kWithdrawn) {
    classify_other(packet, addresses, snapshot.ports[packet.rx_port]);
  } else {
    classify_node(packet, addresses, *entry, snapshot);
  }
}

}  // namespace

void classify(Burst& burst, const Snapshot& snapshot) {
  for (std::uint32_t i = 0; i < burst.count; ++i) {
    Packet& packet = burst.packets[i];
    if (packet.flow.valid() || packet.verdict != Verdict::kPending ||
        packet.kind == PacketKind::kArp || is_neighbor_solicitation(packet)) {
      continue;
    }
    classify_packet(packet, snapshot);
  }
}

}  // namespace sluice
