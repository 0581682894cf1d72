// SPDX-License-Identifier: Apache-2.0
#include "dataplane/snapshot/next_hops.h"

#include <map>

namespace sluice {

NextHopTable::NextHopTable() {
  const auto none = std::make_shared<const Chunk>();
  chunks_.fill(none);
}

NextHopIndex NextHopTable::find(std::uint8_t port, const IpAddress& address) const {
  const Key key{address, port};
  const IndexShard* shard = index_[KeyHash{}(key) % kIndexShards].get();
  if (shard == nullptr) {
    return kNoNextHop;
  }
  const auto at = shard->find(key);
  return at == shard->end() ? kNoNextHop : at->second;
}

NextHopTable NextHopTable::with(std::span<const Change> changes) const {
  NextHopTable next = *this;
  std::map<std::size_t, std::shared_ptr<Chunk>> chunks;
  std::map<std::size_t, std::shared_ptr<IndexShard>> shards;
  const auto shard_for = [&](const Key& key) -> IndexShard& {
    const std::size_t index = KeyHash{}(key) % kIndexShards;
    auto& shard = shards[index];
    if (shard == nullptr) {
      shard = index_[index] == nullptr ? std::make_shared<IndexShard>()
                                       : std::make_shared<IndexShard>(*index_[index]);
    }
    return *shard;
  };
  for (const Change& change : changes) {
    auto& chunk = chunks[change.index / kChunk];
    if (chunk == nullptr) {
      chunk = std::make_shared<Chunk>(*chunks_[change.index / kChunk]);
    }
    NextHop& slot = (*chunk)[change.index % kChunk];
    const Key before{slot.address, slot.port};
    const Key after{change.next_hop.address, change.next_hop.port};
    if (!(before == after)) {
      // Another change of this call may have taken the former key over: then it stays there.
      IndexShard& former = shard_for(before);
      if (const auto at = former.find(before); at != former.end() && at->second == change.index) {
        former.erase(at);
      }
      if (!change.next_hop.address.is_unspecified()) {  // that one is how a slot is given back
        shard_for(after)[after] = change.index;
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
