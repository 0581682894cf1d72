// SPDX-License-Identifier: Apache-2.0
#include "controlplane/runtime/change_log.h"

namespace sluice::runtime {
namespace {

// The first thing after everything that bears `seen`.
std::pair<std::uint64_t, ChangeLog::Key> after(std::uint64_t seen) {
  return {seen + 1, {}};
}

}  // namespace

void ChangeLog::add(const std::vector<Key>& changed, const std::vector<Key>& removed) {
  ++sequence_;
  for (const Key& key : removed) {
    if (const auto at = last_.find(key); at != last_.end()) {
      changed_.erase({at->second, key});
      last_.erase(at);
    }
    removed_.emplace(sequence_, key);
  }
  for (const Key& key : changed) {
    std::uint64_t& last = last_[key];
    changed_.erase({last, key});
    last = sequence_;
    changed_.emplace(sequence_, key);
  }
  while (removed_.size() > kRemovalsMax) {
    forgotten_ = removed_.begin()->first;
    removed_.erase(removed_.begin());
  }
}

ChangeLog::Since ChangeLog::since(std::uint64_t seen) const {
  Since since;
  since.all = seen == 0 || seen < forgotten_;
  if (since.all) {
    return since;
  }
  for (auto at = changed_.lower_bound(after(seen)); at != changed_.end(); ++at) {
    since.changed.push_back(at->second);
  }
  for (auto at = removed_.lower_bound(after(seen)); at != removed_.end(); ++at) {
    since.removed.push_back(at->second);
  }
  return since;
}

}  // namespace sluice::runtime
