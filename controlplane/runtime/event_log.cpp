// SPDX-License-Identifier: Apache-2.0
#include "controlplane/runtime/event_log.h"

namespace sluice::runtime {

bool EventLog::add(Event event, std::int64_t now_seconds) {
  event.last_seconds = now_seconds;
  const auto at = known_.find(key_of(event));
  if (at != known_.end()) {
    at->second->last_seconds = now_seconds;
    ++at->second->count;
    events_.splice(events_.end(), events_, at->second);
    return false;
  }
  event.first_seconds = now_seconds;
  event.count = 1;
  events_.push_back(std::move(event));
  known_[key_of(events_.back())] = std::prev(events_.end());
  if (events_.size() > kEventsMax) {
    known_.erase(key_of(events_.front()));
    events_.pop_front();
  }
  return true;
}

}  // namespace sluice::runtime
