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
  const Shard* entries = shard(shard_of(address));
  if (entries == nullptr) {
    return nullptr;
  }
  const auto at = std::lower_bound(
      entries->begin(), entries->end(), address,
      [](const auto& entry, const IpAddress& wanted) { return entry->address < wanted; });
  return at != entries->end() && (*at)->address == address ? at->get() : nullptr;
}

std::size_t AddressTable::size() const {
  std::size_t entries = 0;
  for (std::size_t i = 0; i < kShards; ++i) {
    entries += shard(i) == nullptr ? 0 : shard(i)->size();
  }
  return entries;
}

AddressTable AddressTable::with(std::span<const Change> changes) const {
  std::map<std::size_t, std::vector<const Change*>> by_shard;
  for (const Change& change : changes) {
    by_shard[shard_of(change.address)].push_back(&change);
  }
  AddressTable next = *this;
  std::map<std::size_t, std::shared_ptr<Group>> groups;
  for (const auto& [index, touched] : by_shard) {
    auto entries = shard(index) == nullptr ? std::make_shared<Shard>()
                                           : std::make_shared<Shard>(*shard(index));
    for (const Change* change : touched) {
      std::erase_if(*entries, [&](const auto& entry) { return entry->address == change->address; });
      if (change->entry != nullptr) {
        entries->push_back(change->entry);
      }
    }
    std::sort(entries->begin(), entries->end(),
              [](const auto& a, const auto& b) { return a->address < b->address; });
    auto& group = groups[index / kGroup];
    if (group == nullptr) {
      const auto& before = groups_[index / kGroup];
      group = before == nullptr ? std::make_shared<Group>() : std::make_shared<Group>(*before);
    }
    (*group)[index % kGroup] = entries->empty() ? nullptr : std::move(entries);
  }
  for (auto& [index, group] : groups) {
    next.groups_[index] = std::move(group);
  }
  return next;
}

}  // namespace sluice
