// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/address.h"

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace sluice {

// One route of the kernel's main table, as far as forwarding needs it.
struct Route {
  enum class Kind : std::uint8_t {
    kOnLink,     // the destination itself is the neighbour
    kGateway,    // `gateway` is the neighbour
    kHost,       // an address of our own kernel on `port`
    kBlackhole,  // no way there (also: leaves through a port that is not ours)
  };
  IpPrefix prefix;
  Kind kind = Kind::kBlackhole;
  std::uint8_t port = 0;  // Snapshot::ports index
  IpAddress gateway;      // of the prefix's family

  friend bool operator==(const Route&, const Route&) = default;
};

// Longest-prefix match over at most kRoutesMax routes a family; immutable. One hash table for each
// prefix length that occurs, longest first: a lookup costs as many probes as there are lengths,
// which is fine where it is used (a flow's first packet, and after a route change).
class RouteTable {
 public:
  RouteTable() = default;
  // Of two routes with one prefix the first stays.
  explicit RouteTable(std::span<const Route> routes);

  // Null when there is no route, not even a default one.
  [[nodiscard]] const Route* find(const IpAddress& destination) const;
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  struct Length {
    std::uint8_t bits = 0;
    IpAddress mask;  // those bits set
    std::unordered_map<IpAddress, Route> routes;
  };
  std::vector<Length> ipv4_;  // longest first
  std::vector<Length> ipv6_;
  std::size_t size_ = 0;
};

}  // namespace sluice
