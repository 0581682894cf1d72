// SPDX-License-Identifier: Apache-2.0
#include "dataplane/snapshot/backends.h"

#include <map>

namespace sluice {

BindingTable::Chunk::Chunk() {
  static const auto none = std::make_shared<const Piece>();
  pieces.fill(none);
}

BindingTable BindingTable::with(std::span<const Change> changes) const {
  struct Open {  // a chunk of the new table that is still written to
    std::shared_ptr<Chunk> chunk;
    std::array<Piece*, kChunk / kPiece> pieces{};
  };
  BindingTable next = *this;
  std::map<std::uint32_t, Open> opened;
  for (const Change& change : changes) {
    const std::uint32_t index = change.slot / kChunk;
    while (next.chunks_.size() <= index) {
      next.chunks_.push_back(std::make_shared<Chunk>());
    }
    Open& open = opened[index];
    if (open.chunk == nullptr) {
      open.chunk = std::make_shared<Chunk>(*next.chunks_[index]);
      next.chunks_[index] = open.chunk;
    }
    const std::uint32_t slot = change.slot % kChunk;
    Piece*& piece = open.pieces[slot / kPiece];
    if (piece == nullptr) {
      auto copy = std::make_shared<Piece>(*open.chunk->pieces[slot / kPiece]);
      piece = copy.get();
      open.chunk->pieces[slot / kPiece] = std::move(copy);
    }
    (*piece)[slot % kPiece] = change.binding;
    open.chunk->states[slot] = change.binding.state;
  }
  return next;
}

}  // namespace sluice
