// SPDX-License-Identifier: Apache-2.0
#include "dataplane/snapshot/backends.h"

#include <map>

namespace sluice {

BindingTable BindingTable::with(std::span<const Change> changes) const {
  std::map<std::uint32_t, std::vector<const Change*>> by_chunk;
  for (const Change& change : changes) {
    by_chunk[change.slot / kChunk].push_back(&change);
  }
  BindingTable next = *this;
  for (const auto& [index, touched] : by_chunk) {
    while (next.chunks_.size() <= index) {
      next.chunks_.push_back(std::make_shared<Chunk>());
    }
    auto chunk = std::make_shared<Chunk>(*next.chunks_[index]);
    for (const Change* change : touched) {
      chunk->bindings[change->slot % kChunk] = change->binding;
      chunk->states[change->slot % kChunk] = change->binding.state;
    }
    next.chunks_[index] = std::move(chunk);
  }
  return next;
}

}  // namespace sluice
