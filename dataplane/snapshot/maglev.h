// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/address.h"

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace sluice {

// One endpoint as the table sees it. `weight` 0 takes no part (not usable now).
struct MaglevEndpoint {
  IpAddress address;
  std::uint16_t port = 0;
  std::uint16_t weight = 1;

  friend bool operator==(const MaglevEndpoint&, const MaglevEndpoint&) = default;
};

// A consistent-hashing lookup table after Eisenbud et al., "Maglev: A Fast and Reliable Software
// Network Load Balancer", NSDI 2016, §3.4. Each endpoint's permutation of the slots comes from
// (offset, skip) hashed from its address and port with `seed`; endpoints take turns to claim their
// next free slot, an endpoint of weight w in proportion to w over the heaviest. The turn order is
// by hashed identity, so the result does not depend on the order of `endpoints`.
//
// Immutable once built; shared by all service ports with the same endpoint set.
class MaglevTable {
 public:
  // The four sizes, all prime, chosen by the number of *declared* endpoints, healthy or not, so
  // that a flap reshuffles nothing: <= 10, <= 20, <= 128, more. All but the last have a hundred
  // slots for an endpoint, as the paper wants, and no more than that where services are many: most
  // have a handful of endpoints, and how long a full load takes is how many slots it has.
  static constexpr std::uint32_t kSmall = 1'021;
  static constexpr std::uint32_t kModerate = 2'039;
  static constexpr std::uint32_t kMedium = 16'381;
  static constexpr std::uint32_t kLarge = 65'537;
  [[nodiscard]] static constexpr std::uint32_t size_for(std::size_t declared_endpoints) {
    return declared_endpoints <= 10    ? kSmall
           : declared_endpoints <= 20  ? kModerate
           : declared_endpoints <= 128 ? kMedium
                                       : kLarge;
  }

  // `endpoints`: all declared ones, distinct by (address, port), at most kMaglevEndpointsMax; an
  // entry of the table is an index into this span. Returns null when no weight is above zero.
  static std::shared_ptr<const MaglevTable> build(std::span<const MaglevEndpoint> endpoints,
                                                  std::uint64_t seed);

  // Index into the endpoints the table was built from. `hash`: maglev_hash of the client's tuple.
  [[nodiscard]] std::uint16_t pick(std::uint64_t hash) const {
    // Multiply-shift instead of modulo: the same even spread without a division.
    const auto wide = static_cast<Uint128>(hash) * entries_.size();
    return entries_[static_cast<std::size_t>(wide >> 64)];
  }
  [[nodiscard]] std::span<const std::uint16_t> entries() const { return entries_; }

 private:
  explicit MaglevTable(std::vector<std::uint16_t> entries) : entries_(std::move(entries)) {}

  std::vector<std::uint16_t> entries_;
};

}  // namespace sluice
