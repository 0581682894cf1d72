// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/address.h"
#include "dataplane/net/headers.h"
#include "dataplane/snapshot/limits.h"

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace sluice {

// Index into NextHopTable. 0 is no next hop: the flow looks its route up again at the next packet.
using NextHopIndex = std::uint16_t;
inline constexpr NextHopIndex kNoNextHop = 0;

// A neighbour of ours on one port. The index stays with (port, address) for as long as the entry
// lives, whatever its MAC or state does, so flow entries need no update when a neighbour moves.
struct alignas(64) NextHop {
  enum class State : std::uint8_t {
    kUnresolved,  // the kernel has been asked; packets are held
    kReachable,   // `header` can be written
    kHost,        // an address of our own kernel: punt to the twin of `port`
  };
  EthernetHeader header{};  // ready to write but for the ether_type
  State state = State::kUnresolved;
  std::uint8_t port = 0;  // Snapshot::ports index
  std::uint16_t mtu = 1500;
  IpAddress address;
};
static_assert(sizeof(NextHop) == 64);  // one line read per hit

class NextHopTable {
 public:
  static constexpr std::uint32_t kChunk = 256;

  // index 0 and indices never set read as an unresolved next hop on port 0.
  [[nodiscard]] const NextHop& at(NextHopIndex index) const {
    return (*chunks_[index / kChunk])[index % kChunk];
  }
  // kNoNextHop when this neighbour is not known yet.
  [[nodiscard]] NextHopIndex find(std::uint8_t port, const IpAddress& address) const;

  NextHopTable();
  struct Change {
    NextHopIndex index = kNoNextHop;
    NextHop next_hop;
  };
  [[nodiscard]] NextHopTable with(std::span<const Change> changes) const;

 private:
  using Chunk = std::array<NextHop, kChunk>;
  // Where a neighbour's entry is. In order of address and port, so that a search compares words.
  struct Place {
    IpAddress address;
    std::uint8_t port = 0;
    NextHopIndex index = kNoNextHop;
    [[nodiscard]] bool is_before(const IpAddress& other, std::uint8_t other_port) const {
      return address == other ? port < other_port : address < other;
    }
    [[nodiscard]] bool is_at(const IpAddress& other, std::uint8_t other_port) const {
      return address == other && port == other_port;
    }
  };
  static constexpr std::size_t kIndexShards = 256;
  using IndexShard = std::vector<Place>;
  [[nodiscard]] static std::size_t shard_of(const IpAddress& address) {
    return hash_of(address) % kIndexShards;
  }
  [[nodiscard]] static std::size_t place_in(const IndexShard& shard, std::uint8_t port,
                                            const IpAddress& address);

  std::array<std::shared_ptr<const Chunk>, (kNextHopsMax + 1) / kChunk> chunks_;
  std::array<std::shared_ptr<const IndexShard>, kIndexShards> index_;  // null: empty
};

}  // namespace sluice
