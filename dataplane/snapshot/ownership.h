// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/address.h"
#include "dataplane/net/toeplitz.h"

#include <array>
#include <cstdint>
#include <memory>

namespace sluice {

// Which lcore owns what: the one place where that is decided. A flow belongs to the lcore that its
// client's side hashes to, RETA[H(client address, client port)], H being Toeplitz, so that a NIC
// can decide the same. Replies under FULL_NAT bear a SNAT address and port chosen so that they hash
// to the flow's owner (inverse RSS). Immutable; the same for the life of the process.
class Ownership {
 public:
  static constexpr std::size_t kRetaSize = 128;

  // Numbers 0 .. lcores - 1 in turn over the indirection table; 1 <= lcores <= kLcoresMax.
  explicit Ownership(std::uint8_t lcores, const ToeplitzKey& key = kMicrosoftToeplitzKey);

  // That of a gateway with one lcore.
  [[nodiscard]] static std::shared_ptr<const Ownership> single();

  [[nodiscard]] std::uint8_t lcores() const { return lcores_; }

  // By the client's side of a flow, or by a SNAT address and port, its likeness towards backends.
  [[nodiscard]] std::uint8_t of_side(const IpAddress& address, std::uint16_t port) const {
    return at(hash_of_address(address), address.family, port);
  }
  // The two steps of of_side(), for a walk over many ports of one address.
  [[nodiscard]] std::uint32_t hash_of_address(const IpAddress& address) const {
    return table_.part(0, {address.bytes.data(), address.bits() / 8U});
  }
  [[nodiscard]] std::uint8_t at(std::uint32_t address_hash, Family family,
                                std::uint16_t port) const {
    const std::array<std::uint8_t, 2> wire{static_cast<std::uint8_t>(port >> 8U),
                                           static_cast<std::uint8_t>(port)};
    const std::size_t after = family == Family::kIpv4 ? 4 : 16;
    return reta_[(address_hash ^ table_.part(after, wire)) % kRetaSize];
  }

  // Where the fragments of a datagram meet; told by what each of them shows.
  [[nodiscard]] std::uint8_t of_datagram(const IpAddress& source, const IpAddress& destination,
                                         std::uint32_t identification) const {
    const std::uint32_t mixed = (identification ^ identification >> 16U) * 0x9e37'79b1U;
    return reta_[(hash_of_address(source) + hash_of_address(destination) + (mixed >> 16U)) %
                 kRetaSize];
  }
  // Where the affinity of a client is kept, whatever its port.
  [[nodiscard]] std::uint8_t of_client(const IpAddress& client) const {
    return reta_[hash_of_address(client) % kRetaSize];
  }

 private:
  std::uint8_t lcores_;
  std::array<std::uint8_t, kRetaSize> reta_{};
  ToeplitzTable<18> table_;  // an IPv6 address and a port
};

}  // namespace sluice
