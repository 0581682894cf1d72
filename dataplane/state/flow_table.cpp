// SPDX-License-Identifier: Apache-2.0
#include "dataplane/state/flow_table.h"

#include <algorithm>

namespace sluice {

template <Family F>
std::uint32_t FlowTable<F>::bucket_count(std::uint32_t capacity) {
  // Two keys a flow over eight slots a bucket, at most 3/4 full.
  return std::bit_ceil(std::max<std::uint32_t>(2, capacity / 3 + 1));
}

template <Family F>
std::size_t FlowTable<F>::region_bytes(std::uint32_t capacity) {
  return std::size_t{capacity} * (sizeof(Hot) + sizeof(FlowCold)) +
         std::size_t{bucket_count(capacity)} * sizeof(Bucket) +
         (capacity / kWordFlows + 1) * sizeof(std::uint64_t) + alignof(Hot);
}

template <Family F>
FlowTable<F>::FlowTable(std::span<std::byte> region, std::uint32_t capacity,
                        const HashSecret& secret)
    : mask_(bucket_count(capacity) - 1),
      capacity_(capacity),
      spare_(std::max(std::clamp(capacity / 8, 1U, kSpareEntries), capacity / 512)),
      secret_(secret) {
  const auto begin = reinterpret_cast<std::uintptr_t>(region.data());
  std::byte* next = region.data() + ((alignof(Hot) - begin % alignof(Hot)) % alignof(Hot));
  hot_ = reinterpret_cast<Hot*>(next);
  next += std::size_t{capacity} * sizeof(Hot);
  buckets_ = reinterpret_cast<Bucket*>(next);
  next += std::size_t{mask_ + 1} * sizeof(Bucket);
  cold_ = reinterpret_cast<FlowCold*>(next);
  next += std::size_t{capacity} * sizeof(FlowCold);
  unfolded_ = reinterpret_cast<std::uint64_t*>(next);
}

template <Family F>
typename FlowTable<F>::Key FlowTable<F>::key_of(FlowRef ref) const {
  const Hot& flow = hot_[ref.index()];
  return ref.direction() == Direction::kFromClient ? flow.client_key() : flow.reply_key();
}

template <Family F>
FlowRef FlowTable<F>::find_after(const Key& key, std::uint64_t hash) const {
  return find(key, hash);
}

template <Family F>
bool FlowTable<F>::place(Bucket& bucket, std::uint16_t tag, FlowRef ref) {
  const std::uint32_t empty = matching(bucket, 0);
  if (empty == 0) {
    return false;
  }
  bucket.tags[slot_of(empty)] = tag;
  bucket.refs[slot_of(empty)] = ref;
  return true;
}

// Moves one key of a full bucket to its other bucket. False when those are all full too.
template <Family F>
bool FlowTable<F>::make_room(std::uint32_t bucket) {
  Bucket& full = buckets_[bucket];
  for (std::uint32_t slot = 0; slot < kSlots; ++slot) {
    const std::uint16_t tag = full.tags[slot];
    const std::uint32_t elsewhere = other(bucket, tag);
    if (!place(buckets_[elsewhere], tag, full.refs[slot])) {
      continue;
    }
    const bool leaves_primary = primary(hash_of(key_of(full.refs[slot]))) == bucket;
    full.tags[slot] = 0;
    if (leaves_primary) {
      ++full.overflowed;
    } else {
      --buckets_[elsewhere].overflowed;
    }
    return true;
  }
  return false;
}

template <Family F>
bool FlowTable<F>::enter(std::uint64_t hash, FlowRef ref) {
  const std::uint32_t home = primary(hash);
  const std::uint16_t tag = tag_of(hash);
  if (place(buckets_[home], tag, ref)) {
    return true;
  }
  if (place(buckets_[secondary(hash)], tag, ref)) {
    ++buckets_[home].overflowed;
    return true;
  }
  return make_room(home) && place(buckets_[home], tag, ref);
}

template <Family F>
void FlowTable<F>::remove(std::uint64_t hash, FlowRef ref) {
  for (const std::uint32_t bucket : {primary(hash), secondary(hash)}) {
    Bucket& candidate_bucket = buckets_[bucket];
    for (std::uint32_t slot = 0; slot < kSlots; ++slot) {
      if (candidate_bucket.tags[slot] != 0 && candidate_bucket.refs[slot] == ref) {
        candidate_bucket.tags[slot] = 0;
        if (bucket != primary(hash)) {
          --buckets_[primary(hash)].overflowed;
        }
        return;
      }
    }
  }
}

template <Family F>
FlowRef FlowTable<F>::insert(const Hot& flow, const FlowCold& cold, std::uint64_t hash,
                             std::uint64_t reply_hash) {
  std::uint32_t index = free_head_;
  if (index == kNoEntry) {
    if (high_water_ == capacity_) {
      return kNoFlow;
    }
    index = high_water_;
  }
  const std::uint32_t next_free = free_head_ == kNoEntry ? kNoEntry : hot_[index].packets[0];
  hot_[index] = flow;
  const FlowRef from_client = FlowRef::make(index, Direction::kFromClient);
  const FlowRef from_backend = FlowRef::make(index, Direction::kFromBackend);
  if (!enter(hash, from_client)) {
    hot_[index].state = FlowState::kFree;
    hot_[index].packets[0] = next_free;
    return kNoFlow;
  }
  if (!enter(reply_hash, from_backend)) {
    remove(hash, from_client);
    hot_[index].state = FlowState::kFree;
    hot_[index].packets[0] = next_free;
    return kNoFlow;
  }
  if (index == high_water_) {
    ++high_water_;
  } else {
    free_head_ = next_free;
  }
  cold_[index] = cold;
  ++size_;
  if (cold.quotas.any()) {
    quotas_->count(cold.quotas, !flow.keeps_client());
  }
  if (flow.state == FlowState::kTcpHalfOpen) {
    enter_list(index);
  }
  if (free_head_ != kNoEntry) {  // the next one to be taken; fresh ones lie in a row
    prefetch(free_head_);
  }
  return from_client;
}

template <Family F>
void FlowTable<F>::erase(std::uint32_t index) {
  Hot& flow = hot_[index];
  leave_list(index);
  if (flow.state != FlowState::kQuarantine) {
    release_quotas(index);
    remove(hash_of(flow.client_key()), FlowRef::make(index, Direction::kFromClient));
  }
  remove(hash_of(flow.reply_key()), FlowRef::make(index, Direction::kFromBackend));
  flow.state = FlowState::kFree;
  flow.packets[0] = free_head_;
  free_head_ = index;
  --size_;
}

template <Family F>
void FlowTable<F>::quarantine(std::uint32_t index, std::uint32_t now_ms) {
  Hot& flow = hot_[index];
  leave_list(index);
  release_quotas(index);
  remove(hash_of(flow.client_key()), FlowRef::make(index, Direction::kFromClient));
  flow.state = FlowState::kQuarantine;
  flow.flags = 0;
  flow.last_seen_ms = now_ms;
  enter_list(index);
}

template <Family F>
void FlowTable<F>::evict(std::uint32_t index, std::uint32_t now_ms) {
  if (hot_[index].state != FlowState::kQuarantine) {
    quarantine(index, now_ms);
  }
  leave_list(index);
  hot_[index].flags |= kFlowEvicted;
  enter_list(index);
}

template <Family F>
void FlowTable<F>::set_state(std::uint32_t index, FlowState state) {
  leave_list(index);
  hot_[index].state = state;
  enter_list(index);
}

// A tuple in quarantine is no longer counted: whoever needs it may have it.
template <Family F>
void FlowTable<F>::release_quotas(std::uint32_t index) {
  const QuotaIds quotas = cold_[index].quotas;
  if (quotas.any()) {
    quotas_->release(quotas, !hot_[index].keeps_client());
  }
}

template <Family F>
void FlowTable<F>::append(List& list, std::uint32_t index) {
  if (list.size == 0) {
    list.oldest = index;
  } else {
    cold_[list.newest].newer = index;
    cold_[index].older = list.newest;
  }
  list.newest = index;
  ++list.size;
}

template <Family F>
void FlowTable<F>::unlink(List& list, std::uint32_t index) {
  const FlowCold& flow = cold_[index];
  if (list.oldest == index) {
    list.oldest = flow.newer;
  } else {
    cold_[flow.older].newer = flow.newer;
  }
  if (list.newest == index) {
    list.newest = flow.older;
  } else {
    cold_[flow.newer].older = flow.older;
  }
  --list.size;
}

template <Family F>
std::optional<FlowList> FlowTable<F>::list_of(const Hot& flow) {
  switch (flow.state) {
    case FlowState::kTcpHalfOpen:
      return FlowList::kHalfOpen;
    case FlowState::kTcpTimeWait:
      return FlowList::kEnded;
    case FlowState::kQuarantine:
      return (flow.flags & kFlowEvicted) != 0 ? FlowList::kEvicted : FlowList::kEnded;
    default:
      return std::nullopt;
  }
}

template <Family F>
void FlowTable<F>::enter_list(std::uint32_t index) {
  if (const auto list = list_of(hot_[index])) {
    append(lists_[static_cast<std::size_t>(*list)], index);
  }
}

template <Family F>
void FlowTable<F>::leave_list(std::uint32_t index) {
  if (const auto list = list_of(hot_[index])) {
    unlink(lists_[static_cast<std::size_t>(*list)], index);
  }
}

template class FlowTable<Family::kIpv4>;
template class FlowTable<Family::kIpv6>;

}  // namespace sluice
