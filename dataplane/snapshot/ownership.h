// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/address.h"
#include "dataplane/net/flow_key.h"
#include "dataplane/net/toeplitz.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace sluice {

// What of a packet decides whose it is; chosen at start for what the ports' devices can
// (lcore/steering.h), and for the life of the process.
enum class OwnerInput : std::uint8_t {
  kClientSide,  // H(client address, client port): both directions of a flow show it, DNAT's too
  kFullTuple,   // H(source, destination, source port, destination port): the RSS of any NIC
  kPortBits,    // some bits of the client's port: what rules can match without a hash
};

// How a NIC that hashes one side of a packet alone lays its bytes out under the key.
enum class SideLayout : std::uint8_t {
  kCompact,  // the port right behind the address
  kInPlace,  // both where they stand in the whole tuple, the other side counting nothing
};

// What a device hashes of the packets of one port.
enum class HashInput : std::uint8_t {
  kNone,
  kSource,
  kDestination,
  kEitherSide,  // the source of what is for a VIP, the destination of the rest
  kTuple,
};

enum class End : std::uint8_t { kSource, kDestination };

struct OwnerRule {
  OwnerInput input = OwnerInput::kClientSide;
  SideLayout layout = SideLayout::kCompact;  // of kClientSide
  ToeplitzKey key = kMicrosoftToeplitzKey;   // kInPlace: that of hashes of the source side
  // Lcore numbers by the low bits of the hash, a power of two of them; empty: kRetaSize, in turn.
  std::vector<std::uint8_t> reta = {};
};

// Which lcore owns what: the one place where that is decided. H is Toeplitz, so that a NIC can
// decide the same by RETA[H]. A flow belongs to the lcore that its client's packets hash to, whole
// (kFullTuple) or their client's side alone. Under FULL_NAT replies bear a SNAT address and port
// chosen so that they hash to the flow's owner (inverse RSS: H is linear, so for each candidate
// port two look-ups tell). Under DNAT nothing can be chosen, and the client's side is all that both
// directions show, so that decides whatever the rule. Immutable.
class Ownership {
 public:
  static constexpr std::size_t kRetaSize = 128;
  static constexpr std::size_t kRetaMax = 4096;
  // kPortBits: not the lowest, which is the same for most of a Linux client's connections.
  static constexpr unsigned kSliceShift = 1;

  // Numbers 0 .. lcores - 1; 1 <= lcores <= kLcoresMax.
  explicit Ownership(std::uint8_t lcores, const OwnerRule& rule = {});

  // That of a gateway with one lcore.
  [[nodiscard]] static std::shared_ptr<const Ownership> single();

  [[nodiscard]] std::uint8_t lcores() const { return lcores_; }
  [[nodiscard]] OwnerInput input() const { return input_; }

  // Whose a packet with this tuple is. `client`: which end of it is the client, or the SNAT address
  // and port that stand for it. `keeps_client`: it is of a flow under DNAT.
  template <typename Key>
  [[nodiscard]] std::uint8_t of_packet(const Key& key, End client, bool keeps_client) const {
    if (input_ == OwnerInput::kFullTuple && !keeps_client) {
      return of_hash(hash_of_tuple(key));
    }
    return client == End::kSource
               ? of_side(IpAddress(key.source), key.source_port.host())
               : of_side(IpAddress(key.destination), key.destination_port.host());
  }
  // By the client's side alone.
  [[nodiscard]] std::uint8_t of_side(const IpAddress& address, std::uint16_t port) const {
    return input_ == OwnerInput::kPortBits ? of_slice(slice_of(port))
                                           : of_hash(hash_of_side(address, port));
  }

  // A walk over the ports of one SNAT address: whose the replies to each would be. `reply`: such a
  // reply, its destination port apart.
  struct ReplyWalk {
    std::uint32_t hash = 0;    // of everything else
    std::uint8_t port_at = 0;  // where the port is in what is hashed
  };
  template <typename Key>
  [[nodiscard]] ReplyWalk walk_of(Key reply) const {
    constexpr std::uint8_t kAddress = sizeof(reply.source);
    if (input_ != OwnerInput::kFullTuple) {
      return {hash_of_address(IpAddress(reply.destination)), port_at(kAddress)};
    }
    reply.destination_port = Be16{};
    return {hash_of_tuple(reply), 2 * kAddress + 2};
  }
  [[nodiscard]] std::uint8_t of_reply(const ReplyWalk& walk, std::uint16_t port) const {
    return input_ == OwnerInput::kPortBits ? of_slice(slice_of(port))
                                           : of_hash(walk.hash ^ part_of_port(walk.port_at, port));
  }

  // What the device of a port makes of such a packet; input is neither kNone nor kEitherSide.
  template <typename Key>
  [[nodiscard]] std::uint32_t hash_of(const Key& key, HashInput input) const {
    if (input == HashInput::kTuple) {
      return hash_of_tuple(key);
    }
    return input == HashInput::kSource
               ? hash_of_side(IpAddress(key.source), key.source_port.host())
               : hash_of_side(IpAddress(key.destination), key.destination_port.host());
  }
  // Who gets what has this hash, as a device decides it.
  [[nodiscard]] std::uint8_t of_hash(std::uint32_t hash) const { return reta_[hash & reta_mask_]; }

  // kPortBits: port numbers fall into so many slices, each of one lcore's.
  [[nodiscard]] std::uint16_t slices() const { return slices_; }
  [[nodiscard]] std::uint16_t slice_of(std::uint16_t port) const {
    return static_cast<std::uint16_t>(port >> kSliceShift & (slices_ - 1U));
  }
  [[nodiscard]] std::uint8_t of_slice(std::uint16_t slice) const {
    return static_cast<std::uint8_t>(slice % lcores_);
  }

  // Where the fragments of a datagram meet; told by what each of them shows.
  [[nodiscard]] std::uint8_t of_datagram(const IpAddress& source, const IpAddress& destination,
                                         std::uint32_t identification) const {
    const std::uint32_t mixed = (identification ^ identification >> 16U) * 0x9e37'79b1U;
    return of_hash(hash_of_address(source) + hash_of_address(destination) + (mixed >> 16U));
  }
  // Where the affinity of a client is kept, whatever its port.
  [[nodiscard]] std::uint8_t of_client(const IpAddress& client) const {
    return of_hash(hash_of_address(client));
  }

 private:
  // A key's first members are the hashed tuple, on the wire's bytes and in its order.
  template <typename Key>
  [[nodiscard]] std::uint32_t hash_of_tuple(const Key& key) const {
    constexpr std::size_t kBytes = 2 * sizeof(key.source) + 4;
    static_assert(offsetof(Key, destination_port) + 2 == kBytes);
    return table_.part(0, {reinterpret_cast<const std::uint8_t*>(&key), kBytes});
  }
  [[nodiscard]] std::uint32_t hash_of_address(const IpAddress& address) const {
    return table_.part(0, {address.bytes.data(), address.bits() / 8U});
  }
  [[nodiscard]] std::uint32_t hash_of_side(const IpAddress& address, std::uint16_t port) const {
    return hash_of_address(address) ^ part_of_port(port_at(address.bits() / 8U), port);
  }
  [[nodiscard]] std::uint8_t port_at(std::size_t address_bytes) const {
    return static_cast<std::uint8_t>(layout_ == SideLayout::kInPlace ? 2 * address_bytes
                                                                     : address_bytes);
  }
  [[nodiscard]] std::uint32_t part_of_port(std::size_t at, std::uint16_t port) const {
    const std::array<std::uint8_t, 2> wire{static_cast<std::uint8_t>(port >> 8U),
                                           static_cast<std::uint8_t>(port)};
    return table_.part(at, wire);
  }

  std::uint8_t lcores_;
  OwnerInput input_;
  SideLayout layout_;
  std::uint16_t slices_;
  std::uint32_t reta_mask_;
  std::array<std::uint8_t, kRetaMax> reta_{};
  ToeplitzTable<36> table_;  // two IPv6 addresses and two ports
};

}  // namespace sluice
