// SPDX-License-Identifier: Apache-2.0
#include "controlplane/runtime/change_log.h"

#include <algorithm>

namespace sluice::runtime {

void ChangeLog::add(const std::vector<Key>& changed, const std::vector<Key>& removed) {
  ++sequence_;
  for (const Key& key : removed) {
    if (const auto at = last_.find(key); at != last_.end()) {
      changed_.erase(at->second);
      last_.erase(at);
    }
    removed_.push_back({sequence_, key});
  }
  for (const Key& key : changed) {
    const auto [at, fresh] = last_.try_emplace(key);
    if (fresh) {
      at->second = changed_.insert(changed_.end(), {sequence_, key});
    } else {
      at->second->sequence = sequence_;
      changed_.splice(changed_.end(), changed_, at->second);
    }
  }
  while (removed_.size() > kRemovalsMax) {
    forgotten_ = removed_.front().sequence;
    removed_.pop_front();
  }
}

ChangeLog::Since ChangeLog::since(std::uint64_t seen) const {
  Since since;
  since.all = seen == 0 || seen < forgotten_;
  if (since.all) {
    return since;
  }
  const auto tell = [seen](const auto& entries, std::vector<Key>& keys) {
    for (auto at = entries.rbegin(); at != entries.rend() && at->sequence > seen; ++at) {
      keys.push_back(at->key);
    }
    std::reverse(keys.begin(), keys.end());
  };
  tell(changed_, since.changed);
  tell(removed_, since.removed);
  return since;
}

}  // namespace sluice::runtime
