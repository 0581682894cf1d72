// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/address.h"
#include "dataplane/net/headers.h"
#include "dataplane/snapshot/services.h"
#include "dataplane/snapshot/shared_array.h"

#include <array>
#include <cstdint>
#include <memory>

namespace sluice {

// A service port that is reached by a node port. Immutable, shared between snapshots.
struct NodePort {
  std::shared_ptr<const ServicePort> on_vips;
  // The same without the service's source ranges, which do not hold there (kube-proxy).
  std::shared_ptr<const ServicePort> on_nodes;
};

// Node port -> service port, the same on every node address and VIP that serves node ports. A
// change copies a handful of nodes of a tree; a copy shares the rest.
class NodePortTable {
 public:
  // Null where nothing is served.
  [[nodiscard]] const NodePort* find(Family family, PortKey key) const {
    const Ports* ports = ports_of(family, key.protocol);
    return ports == nullptr ? nullptr : ports->find(key.port);
  }
  // Null takes it out. The protocol is TCP or UDP.
  void set(Family family, PortKey key, std::shared_ptr<const NodePort> port) {
    ports_[index_of(family, key.protocol)].set(key.port, std::move(port));
  }

 private:
  using Ports = SharedArray<NodePort, 4>;
  static_assert(Ports::kSize == 65'536);

  static std::size_t index_of(Family family, std::uint8_t protocol) {
    return (family == Family::kIpv4 ? 0U : 2U) + (protocol == kProtocolTcp ? 0U : 1U);
  }
  [[nodiscard]] const Ports* ports_of(Family family, std::uint8_t protocol) const {
    const bool known = protocol == kProtocolTcp || protocol == kProtocolUdp;
    return known ? &ports_[index_of(family, protocol)] : nullptr;
  }

  std::array<Ports, 4> ports_;
};

// Where node ports are; `begin` < `end`, end exclusive. Whatever is sent there on an address that
// serves them finds its lcore as a client's packet does, held by a service or not.
struct NodePortRange {
  std::uint32_t begin = 30'000;
  std::uint32_t end = 32'768;

  [[nodiscard]] bool contains(std::uint32_t port) const { return port >= begin && port < end; }
  friend bool operator==(const NodePortRange&, const NodePortRange&) = default;
};

}  // namespace sluice
