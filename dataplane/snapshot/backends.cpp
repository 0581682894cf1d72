// SPDX-License-Identifier: Apache-2.0
#include "dataplane/snapshot/backends.h"

#include <map>

namespace sluice {

void BindingTable::grow(std::uint32_t chunks) {
  static const auto no_chunk = std::make_shared<const Chunk>();
  static const auto no_piece = std::make_shared<const Piece>();
  while (chunks_.size() < chunks) {
    const std::size_t index = chunks_.size();
    chunks_.push_back(no_chunk.get());
    owned_.set(index, no_chunk);
    for (std::size_t piece = 0; piece < kChunk / kPiece; ++piece) {
      pieces_.set(index * (kChunk / kPiece) + piece, no_piece);
    }
  }
}

BindingTable BindingTable::with(std::span<const Change> changes) const {
  BindingTable next = *this;
  std::map<std::uint32_t, Chunk*> chunks;  // copied already, and still written to
  std::map<std::uint32_t, Piece*> pieces;
  for (const Change& change : changes) {
    const std::uint32_t at_chunk = change.slot / kChunk;
    const std::uint32_t at_piece = change.slot / kPiece;
    next.grow(at_chunk + 1);
    Chunk*& chunk = chunks[at_chunk];
    if (chunk == nullptr) {
      auto copy = std::make_shared<Chunk>(*next.chunks_[at_chunk]);
      next.chunks_[at_chunk] = chunk = copy.get();
      next.owned_.set(at_chunk, std::move(copy));
    }
    Piece*& piece = pieces[at_piece];
    if (piece == nullptr) {
      auto copy = std::make_shared<Piece>(*next.pieces_.find(at_piece));
      piece = copy.get();
      next.pieces_.set(at_piece, std::move(copy));
    }
    (*piece)[change.slot % kPiece] = change.binding;
    (*chunk)[change.slot % kChunk] = change.binding.state;
  }
  return next;
}

}  // namespace sluice
