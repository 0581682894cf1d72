// SPDX-License-Identifier: Apache-2.0
#include "dataplane/snapshot/snapshot.h"

namespace sluice {

const ServicePort* Snapshot::service_at(const AddressEntry& entry, PortKey key) const {
  const ServicePort* own = entry.find(key);
  if (own != nullptr || !entry.serves_node_ports) {
    return own;
  }
  const NodePort* port = node_ports->find(entry.address.family, key);
  if (port == nullptr) {
    return nullptr;
  }
  return entry.kind == AddressKind::kVip ? port->on_vips.get() : port->on_nodes.get();
}

const ServicePort* Snapshot::service_at(const IpAddress& address, PortKey key) const {
  const AddressEntry* entry = addresses->find(address);
  return entry == nullptr ? nullptr : service_at(*entry, key);
}

bool Snapshot::is_for_clients(const AddressEntry& entry, PortKey key) const {
  switch (entry.kind) {
    case AddressKind::kVip:
    case AddressKind::kWithdrawn:
      return true;
    case AddressKind::kSnat:
      return false;
    case AddressKind::kHost:
    case AddressKind::kNode:
      break;
  }
  return entry.keeps_flows || (entry.serves_node_ports && node_port_range.contains(key.port)) ||
         entry.find(key) != nullptr;
}

std::shared_ptr<const Snapshot> Snapshot::empty() {
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->addresses = std::make_shared<AddressTable>();
  snapshot->bindings = std::make_shared<BindingTable>();
  snapshot->next_hops = std::make_shared<NextHopTable>();
  snapshot->routes = std::make_shared<RouteTable>();
  return snapshot;
}

}  // namespace sluice
