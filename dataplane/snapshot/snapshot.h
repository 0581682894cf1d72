// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/address.h"
#include "dataplane/snapshot/backends.h"
#include "dataplane/snapshot/limits.h"
#include "dataplane/snapshot/next_hops.h"
#include "dataplane/snapshot/node_ports.h"
#include "dataplane/snapshot/ownership.h"
#include "dataplane/snapshot/routes.h"
#include "dataplane/snapshot/services.h"

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sluice {

// A port as the stages see it; its index is the number in Packet::port and NextHop::port.
struct PortFacts {
  MacAddress mac{};
  std::uint16_t mtu = 1500;
  bool has_twin = false;           // packets can be punted to the kernel
  bool transit_to_kernel = false;  // what is nobody's: to the kernel instead of a drop
  // A VLAN of another port is a port of its own, whose frames bear the tag on the wire only:
  std::uint16_t vlan = 0;             // IEEE 802.1Q VID, 1..4094; 0: untagged, a device
  std::uint8_t device = 0;            // with a VLAN: index of the port whose device carries it
  HashInput hash = HashInput::kNone;  // what of its packets the device hashes, by our key
};

// An address and port range that FULL_NAT flows are sent from; begin < end, end exclusive.
struct SnatAddress {
  IpAddress address;
  std::uint32_t port_begin = 0;
  std::uint32_t port_end = 0;
};

// Everything the lcores read and never write, immutable once published. An lcore reads the pointer
// once per turn; what it points to lives until every lcore has passed a quiescent state after the
// next one was published (lcore/rcu.h). Parts that did not change are shared with the snapshot
// before. Nothing outside may keep a pointer into one: flow entries hold indices.
struct Snapshot {
  std::uint64_t epoch = 0;  // counts publications, from 1
  // Bumped by disruptive changes only; a hit whose entry bears another number is looked at once
  // and restamped. They wrap: a flow idle through exactly 65,536 bumps is taken as fresh, which
  // costs it one missed re-judgement.
  std::uint16_t policy_epoch = 0;  // services or bindings removed, source ranges changed
  std::uint16_t route_epoch = 0;   // routes changed
  std::uint64_t maglev_seed = 0;
  bool refuse_unknown_ports = true;  // of VIPs: their clients are told

  bool draining = false;  // the gateway: it takes no new flows

  // Some service keeps its clients' addresses, or flows of one that did may live: replies bear
  // them.
  bool any_dnat = false;

  std::vector<PortFacts> ports;
  std::vector<SnatAddress> snat4;
  std::vector<SnatAddress> snat6;
  std::shared_ptr<const Ownership> ownership = Ownership::single();
  std::shared_ptr<const AddressTable> addresses;
  std::shared_ptr<const NodePortTable> node_ports = std::make_shared<NodePortTable>();
  NodePortRange node_port_range;
  std::shared_ptr<const BindingTable> bindings;
  std::shared_ptr<const NextHopTable> next_hops;
  std::shared_ptr<const RouteTable> routes;

  // What is served at a port of this address: its frontend, or else a node port. Null: nothing.
  [[nodiscard]] const ServicePort* service_at(const AddressEntry& entry, PortKey key) const;
  // As service_at() of an address that may be nobody's.
  [[nodiscard]] const ServicePort* service_at(const IpAddress& address, PortKey key) const;
  // Clients may send here: to a VIP, one that only old flows have included, or to what is or could
  // be a service's port of another address.
  [[nodiscard]] bool is_for_clients(const AddressEntry& entry, PortKey key) const;

  // An empty one, all tables present.
  static std::shared_ptr<const Snapshot> empty();
};

}  // namespace sluice
