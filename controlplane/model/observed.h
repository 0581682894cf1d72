// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/address.h"

#include <optional>
#include <vector>

// What the host's kernel says about layer 3, as values; the other half, beside the desired
// services, of what a snapshot is compiled from.
namespace sluice::model {

struct KernelAddress {
  int interface = 0;  // ifindex
  IpAddress address;
  std::uint8_t prefix_length = 0;

  friend bool operator==(const KernelAddress&, const KernelAddress&) = default;
};

// A route of the main (or local) table.
struct KernelRoute {
  enum class Kind : std::uint8_t { kUnicast, kBlackhole };
  IpPrefix prefix;
  Kind kind = Kind::kUnicast;
  int interface = 0;                 // 0 with kBlackhole
  std::optional<IpAddress> gateway;  // absent: on link
  std::uint32_t metric = 0;          // the lower is preferred

  friend bool operator==(const KernelRoute&, const KernelRoute&) = default;
};

struct KernelNeighbour {
  int interface = 0;
  IpAddress address;
  MacAddress mac{};
  bool reachable = false;  // false: failed, incomplete or deleted; `mac` means nothing

  friend bool operator==(const KernelNeighbour&, const KernelNeighbour&) = default;
};

// What the gateway's place in the network makes of a service's address.
struct AddressFacts {
  std::uint16_t answer_ports = 0;  // bit per port on which ARP/ND for it is answered
  bool is_node = false;            // of a node that is routed through the gateway
  bool is_silent = false;          // the gateway is on standby: no echo of it is answered
  bool serves_node_ports = false;  // if it is a VIP or a node's
};

}  // namespace sluice::model
