// SPDX-License-Identifier: Apache-2.0
#include "dataplane/snapshot/services.h"

#include <algorithm>
#include <map>

namespace sluice {

const ServicePort* AddressEntry::find(PortKey key) const {
  const auto at = std::lower_bound(
      frontends.begin(), frontends.end(), key,
      [](const Frontend& frontend, const PortKey& wanted) { return frontend.key < wanted; });
  return at != frontends.end() && at->key == key ? at->service.get() : nullptr;
}

const AddressEntry* AddressTable::find(const IpAddress& address) const {
  const std::uint64_t hash = hash_of(address);
  const Shard* shard = shards_.find(hash % Shards::kSize);
  if (shard == nullptr) {
    return nullptr;
  }
  for (const Held& held : *shard) {
    if (held.hash == hash && held.entry->address == address) {
      return held.entry.get();
    }
  }
  return nullptr;
}

AddressTable AddressTable::with(std::span<const Change> changes) const {
  std::map<std::size_t, std::vector<const Change*>> by_shard;
  for (const Change& change : changes) {
    by_shard[hash_of(change.address) % Shards::kSize].push_back(&change);
  }
  AddressTable next = *this;
  for (const auto& [index, touched] : by_shard) {
    const Shard* before = next.shards_.find(index);
    Shard after = before == nullptr ? Shard{} : *before;
    next.size_ -= after.size();
    for (const Change* change : touched) {
      std::erase_if(after,
                    [&](const Held& held) { return held.entry->address == change->address; });
      if (change->entry != nullptr) {
        after.push_back({hash_of(change->address), change->entry});
      }
    }
    next.size_ += after.size();
    next.shards_.set(index,
                     after.empty() ? nullptr : std::make_shared<const Shard>(std::move(after)));
  }
  return next;
}

}  // namespace sluice
