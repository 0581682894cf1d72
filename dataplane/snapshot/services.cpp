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
  const Shard* shard = shards_[shard_of(address)].get();
  if (shard == nullptr) {
    return nullptr;
  }
  const auto at = std::lower_bound(
      shard->begin(), shard->end(), address,
      [](const auto& entry, const IpAddress& wanted) { return entry->address < wanted; });
  return at != shard->end() && (*at)->address == address ? at->get() : nullptr;
}

std::size_t AddressTable::size() const {
  std::size_t entries = 0;
  for (const auto& shard : shards_) {
    entries += shard == nullptr ? 0 : shard->size();
  }
  return entries;
}

AddressTable AddressTable::with(std::span<const Change> changes) const {
  std::map<std::size_t, std::vector<const Change*>> by_shard;
  for (const Change& change : changes) {
    by_shard[shard_of(change.address)].push_back(&change);
  }
  AddressTable next = *this;
  for (const auto& [index, touched] : by_shard) {
    auto shard = shards_[index] == nullptr ? std::make_shared<Shard>()
                                           : std::make_shared<Shard>(*shards_[index]);
    for (const Change* change : touched) {
      std::erase_if(*shard, [&](const auto& entry) { return entry->address == change->address; });
      if (change->entry != nullptr) {
        shard->push_back(change->entry);
      }
    }
    std::sort(shard->begin(), shard->end(),
              [](const auto& a, const auto& b) { return a->address < b->address; });
    next.shards_[index] = shard->empty() ? nullptr : std::move(shard);
  }
  return next;
}

}  // namespace sluice
