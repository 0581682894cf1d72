// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/address.h"
#include "dataplane/snapshot/limits.h"
#include "dataplane/snapshot/shared_array.h"

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace sluice {

// A binding is (service port x endpoint): the thing a flow is pinned to. Its slot is an index that
// flow entries carry together with the incarnation; the control plane reuses a slot, with the next
// incarnation, only after every lcore has reported that no flow is on it.
enum class BindingState : std::uint8_t {
  kFree = 0,      // no flow may be on it; one that is, is stale
  kActive = 1,    // takes new flows
  kDraining = 2,  // keeps its flows, takes no new ones
  kRemoved = 3,   // gone, or serves no UDP any more: TCP stays (but: Binding::resets), UDP moves
};

// The one byte a hit reads: state in the low 2 bits, incarnation (mod 64) in the others.
struct BindingStateByte {
  std::uint8_t raw = 0;

  static constexpr BindingStateByte make(BindingState state, std::uint8_t incarnation) {
    return {static_cast<std::uint8_t>(static_cast<unsigned>(state) | (incarnation << 2U))};
  }
  [[nodiscard]] constexpr BindingState state() const {
    return BindingState{static_cast<std::uint8_t>(raw & 3U)};
  }
  [[nodiscard]] constexpr std::uint8_t incarnation() const { return raw >> 2U; }
  // Active or draining, and still of this incarnation.
  [[nodiscard]] constexpr bool keeps_flows(std::uint32_t of_incarnation) const {
    return (raw ^ of_incarnation << 2U) - 1 < 2;
  }
  friend constexpr bool operator==(BindingStateByte, BindingStateByte) = default;
};
static_assert(BindingStateByte::make(BindingState::kActive, 63).keeps_flows(63));
static_assert(BindingStateByte::make(BindingState::kDraining, 5).keeps_flows(5));
static_assert(!BindingStateByte::make(BindingState::kRemoved, 5).keeps_flows(5));
static_assert(!BindingStateByte::make(BindingState::kFree, 5).keeps_flows(5));
static_assert(!BindingStateByte::make(BindingState::kActive, 4).keeps_flows(5));

// Names a binding for longer than its slot does, wherever a snapshot may have changed since.
struct BindingRef {
  std::uint32_t slot : 24 = 0;  // 0: none
  std::uint32_t incarnation : 8 = 0;

  static constexpr BindingRef make(std::uint32_t slot, std::uint8_t incarnation) {
    return {slot & (kBindingsMax - 1), incarnation};
  }
  friend constexpr bool operator==(BindingRef, BindingRef) = default;
};
static_assert(sizeof(BindingRef) == 4);

struct Binding {
  IpAddress address;  // of the backend
  std::uint16_t port = 0;
  std::uint32_t service_port = 0;  // ServicePort::id
  BindingStateByte state;
  bool resets = false;  // with kRemoved: its TCP flows end at their next packet
};

// Slot -> binding. The state bytes lie apart from the rest, in chunks, since every hit reads one;
// the rest lies in pieces. A change copies one chunk of bytes, one piece, and the way to them.
class BindingTable {
 public:
  static constexpr std::uint32_t kChunk = 4096;
  static constexpr std::uint32_t kPiece = 256;

  // slot < capacity(); anything beyond reads as kFree.
  [[nodiscard]] BindingStateByte state(std::uint32_t slot) const {
    return slot < capacity() ? state_of_flow(slot) : BindingStateByte{};
  }
  // The same for a slot that a flow has: it was within capacity once, and no table is smaller than
  // the one before it.
  [[nodiscard]] BindingStateByte state_of_flow(std::uint32_t slot) const {
    return (*chunks_[slot / kChunk])[slot % kChunk];
  }
  // Null for a slot beyond capacity.
  [[nodiscard]] const Binding* find(std::uint32_t slot) const {
    return slot < capacity() ? &at(slot) : nullptr;
  }
  // slot < capacity().
  [[nodiscard]] const Binding& at(std::uint32_t slot) const {
    return (*pieces_.find(slot / kPiece))[slot % kPiece];
  }
  [[nodiscard]] std::uint32_t capacity() const {
    return static_cast<std::uint32_t>(chunks_.size()) * kChunk;
  }

  struct Change {
    std::uint32_t slot = 0;
    Binding binding;
  };
  // A table with these slots set, the last of several changes of one slot; grows as needed. Shares
  // every chunk and piece that is not touched.
  [[nodiscard]] BindingTable with(std::span<const Change> changes) const;

 private:
  using Chunk = std::array<BindingStateByte, kChunk>;
  using Piece = std::array<Binding, kPiece>;
  using Chunks = SharedArray<Chunk, 3>;
  using Pieces = SharedArray<Piece, 4>;
  static_assert(Chunks::kSize * kChunk >= kBindingsMax && Pieces::kSize * kPiece >= kBindingsMax);

  void grow(std::uint32_t chunks);

  std::vector<const Chunk*> chunks_;  // what owned_ holds: one step for a hit
  Chunks owned_;
  Pieces pieces_;
};

}  // namespace sluice
