// SPDX-License-Identifier: Apache-2.0
#include "dataplane/snapshot/next_hops.h"

#include <algorithm>
#include <map>

namespace sluice {

NextHopTable::NextHopTable() {
  const auto none = std::make_shared<const Chunk>();
  chunks_.fill(none);
}

// Where it is, or would have to be.
std::size_t NextHopTable::place_in(const IndexShard& shard, std::uint8_t port,
                                   const IpAddress& address) {
  const auto at = std::lower_bound(
      shard.begin(), shard.end(), address,
      [port](const Place& place, const IpAddress& other) { return place.is_before(other, port); });
  return static_cast<std::size_t>(at - shard.begin());
}

NextHopIndex NextHopTable::find(std::uint8_t port, const IpAddress& address) const {
  const IndexShard* shard = index_[shard_of(address)].get();
  if (shard == nullptr) {
    return kNoNextHop;
  }
  const std::size_t at = place_in(*shard, port, address);
  return at < shard->size() && (*shard)[at].is_at(address, port) ? (*shard)[at].index : kNoNextHop;
}

NextHopTable NextHopTable::with(std::span<const Change> changes) const {
  NextHopTable next = *this;
  std::map<std::size_t, std::shared_ptr<Chunk>> chunks;
  std::map<std::size_t, std::shared_ptr<IndexShard>> shards;
  const auto shard_for = [&](const IpAddress& address) -> IndexShard& {
    const std::size_t index = shard_of(address);
    auto& shard = shards[index];
    if (shard == nullptr) {
      shard = index_[index] == nullptr ? std::make_shared<IndexShard>()
                                       : std::make_shared<IndexShard>(*index_[index]);
    }
    return *shard;
  };
  const auto forget = [&](const NextHop& hop, NextHopIndex index) {
    IndexShard& shard = shard_for(hop.address);
    const std::size_t at = place_in(shard, hop.port, hop.address);
    // Another change of this call may have taken the key over: then it stays there.
    if (at < shard.size() && shard[at].is_at(hop.address, hop.port) && shard[at].index == index) {
      shard.erase(shard.begin() + static_cast<std::ptrdiff_t>(at));
    }
  };
  const auto enter = [&](const NextHop& hop, NextHopIndex index) {
    IndexShard& shard = shard_for(hop.address);
    const std::size_t at = place_in(shard, hop.port, hop.address);
    if (at < shard.size() && shard[at].is_at(hop.address, hop.port)) {
      shard[at].index = index;
    } else {
      shard.insert(shard.begin() + static_cast<std::ptrdiff_t>(at), {hop.address, hop.port, index});
    }
  };
  for (const Change& change : changes) {
    auto& chunk = chunks[change.index / kChunk];
    if (chunk == nullptr) {
      chunk = std::make_shared<Chunk>(*chunks_[change.index / kChunk]);
    }
    NextHop& slot = (*chunk)[change.index % kChunk];
    const NextHop& after = change.next_hop;
    if (slot.address != after.address || slot.port != after.port) {
      forget(slot, change.index);
      if (!after.address.is_unspecified()) {  // that one is how a slot is given back
        enter(after, change.index);
      }
    }
    slot = change.next_hop;
  }
  for (auto& [index, chunk] : chunks) {
    next.chunks_[index] = std::move(chunk);
  }
  for (auto& [index, shard] : shards) {
    next.index_[index] = std::move(shard);
  }
  return next;
}

}  // namespace sluice
