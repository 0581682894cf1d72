// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/state/flow.h"
#include "dataplane/state/quotas.h"

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <immintrin.h>
#include <optional>
#include <span>

namespace sluice {

// What FlowTable keeps in order, since it may have to go before its time.
enum class FlowList : std::uint8_t {
  kHalfOpen,  // the handshake is not complete
  kEnded,     // in TIME-WAIT or quarantine
  kEvicted,   // in quarantine before their time
  kCount,
};

// The flows of one family on one lcore. Both directions of a flow share one entry, so it is found
// by two keys: the client's tuple, and the tuple of the backend's answers.
//
//   hash(key) --> bucket (one line): | 8 tags of 16 bits | 8 FlowRefs | overflowed |
//                                       |  compared at once by SSE2
//                                       v
//                    FlowRef = index * 2 + direction --> hot[index] (key compare), cold[index]
//
// A key lies in its primary bucket, or, when that was full, in its secondary one (primary xor a
// function of the tag, so each is found from the other). `overflowed` counts the keys that had to
// leave their primary bucket; while it is 0 a miss reads one line. When both are full one entry is
// moved to its own other bucket. The index holds 8 slots for 2/3 of a key at most, so insertion
// fails for want of entries, practically never for want of slots; both are the caller's "full".
//
// All memory is one region given by the owner, laid out as arrays of plain entries without
// pointers. Nothing here allocates. One lcore calls everything; bounds are the caller's care only
// where said.
template <Family F>
class FlowTable {
 public:
  using Key = FlowKey<F>;
  using Hot = FlowHot<F>;

  // Bytes the region must have for `capacity` flows (1 .. 2^30).
  [[nodiscard]] static std::size_t region_bytes(std::uint32_t capacity);

  // `region`: zeroed, aligned to 64 bytes, outlives the table; huge pages make it faster.
  FlowTable(std::span<std::byte> region, std::uint32_t capacity, const HashSecret& secret);

  // The batch lookup, one pass each over a burst: hash_of; prefetch_bucket; candidate, which
  // prefetches the entry of the first equal tag; confirm, which compares keys.
  [[nodiscard]] std::uint64_t hash_of(const Key& key) const { return hash_key(key, secret_); }
  void prefetch_bucket(std::uint64_t hash) const { __builtin_prefetch(&buckets_[primary(hash)]); }
  [[nodiscard]] FlowRef candidate(std::uint64_t hash) const {
    const Bucket& bucket = buckets_[primary(hash)];
    const std::uint32_t equal = matching(bucket, tag_of(hash));
    if (equal == 0) {
      return kNoFlow;
    }
    const FlowRef ref = bucket.refs[slot_of(equal)];
    prefetch_hot(ref.index());
    return ref;
  }
  [[nodiscard]] FlowRef confirm(const Key& key, std::uint64_t hash, FlowRef first) const {
    if (first.valid() && matches(first, key)) [[likely]] {
      return first;
    }
    return find_after(key, hash);
  }
  // The same for one key.
  [[nodiscard]] FlowRef find(const Key& key, std::uint64_t hash) const {
    const FlowRef ref = find_in(buckets_[primary(hash)], key, hash);
    if (ref.valid() || buckets_[primary(hash)].overflowed == 0) {
      return ref;
    }
    return find_in(buckets_[secondary(hash)], key, hash);
  }
  [[nodiscard]] FlowRef find(const Key& key) const { return find(key, hash_of(key)); }

  // Takes an entry, copies `flow` into it and enters both keys; neither key may be present. Nothing
  // (kNoFlow) when there is no room, and then nothing has changed. The ref is of the client's
  // direction. `hash`, `reply_hash`: of the client's key, and of the reply key.
  [[nodiscard]] FlowRef insert(const Hot& flow, const FlowCold& cold, std::uint64_t hash,
                               std::uint64_t reply_hash);
  [[nodiscard]] FlowRef insert(const Hot& flow, const FlowCold& cold) {
    return insert(flow, cold, hash_of(flow.client_key()), hash_of(flow.reply_key()));
  }
  // Forgets both keys and frees the entry. index: of a flow in use.
  void erase(std::uint32_t index);
  // Forgets the client's key only: the tuple towards the backend stays taken until erase().
  void quarantine(std::uint32_t index, std::uint32_t now_ms);
  // The same of a flow whose entry is wanted for another; of one in quarantine it says just that.
  // To be erased in a later turn, as a packet of this one may refer to it still.
  void evict(std::uint32_t index, std::uint32_t now_ms);
  // From one live state to another.
  void set_state(std::uint32_t index, FlowState state);

  [[nodiscard]] Hot& hot(std::uint32_t index) { return hot_[index]; }
  [[nodiscard]] const Hot& hot(std::uint32_t index) const { return hot_[index]; }
  [[nodiscard]] FlowCold& cold(std::uint32_t index) { return cold_[index]; }
  [[nodiscard]] const FlowCold& cold(std::uint32_t index) const { return cold_[index]; }

  [[nodiscard]] std::uint32_t capacity() const { return capacity_; }
  // Where flows are counted that have quotas, from insert() until they leave or are in quarantine;
  // outlives the table. Without it no flow may have any.
  void count_in(LcoreQuotas& quotas) { quotas_ = &quotas; }
  // Which flows are in which FlowList, in the order in which they came there; what may be had of
  // them is the caller's policy (aging.h).
  [[nodiscard]] std::uint32_t count(FlowList list) const { return list_of(list).size; }
  [[nodiscard]] std::uint32_t oldest(FlowList list) const { return list_of(list).oldest; }
  // At least one, whatever a share of a small table comes to.
  void set_half_open_max(std::uint32_t flows) { half_open_max_ = flows == 0 ? 1 : flows; }
  [[nodiscard]] std::uint32_t half_open_max() const { return half_open_max_; }
  // So few entries are left that a burst of new flows may use them up, see kSpareEntries.
  [[nodiscard]] bool is_short() const { return capacity_ - size_ <= spare_; }
  [[nodiscard]] std::uint32_t spare() const { return spare_; }
  // At least, or an eighth of a small table; of a large one a 512th.
  static constexpr std::uint32_t kSpareEntries = 128;

  // Flows that have counted packets since they were last folded, a bit each, 64 to a word: so that
  // folding costs nothing for those that rest.
  void mark_unfolded(std::uint32_t index) {
    unfolded_[index / kWordFlows] |= std::uint64_t{1} << index % kWordFlows;
  }
  void mark_folded(std::uint32_t index) {
    unfolded_[index / kWordFlows] &= ~(std::uint64_t{1} << index % kWordFlows);
  }
  [[nodiscard]] std::uint64_t unfolded(std::uint32_t word) const { return unfolded_[word]; }
  static constexpr std::uint32_t kWordFlows = 64;

  // Both lines of an entry, or the hot ones alone.
  void prefetch_hot(std::uint32_t index) const {
    for (std::size_t line = 0; line < sizeof(Hot); line += 64) {
      __builtin_prefetch(reinterpret_cast<const std::byte*>(&hot_[index]) + line, 1);
    }
  }
  void prefetch(std::uint32_t index) const {
    prefetch_hot(index);
    __builtin_prefetch(&cold_[index], 1);
  }

  // Entries in use, quarantined ones included.
  [[nodiscard]] std::uint32_t size() const { return size_; }
  // Entries at and past this index have never been in use: where a sweep may stop.
  [[nodiscard]] std::uint32_t high_water() const { return high_water_; }

 private:
  static constexpr std::uint32_t kSlots = 8;
  struct alignas(64) Bucket {
    std::uint16_t tags[kSlots];  // 0: slot empty
    FlowRef refs[kSlots];
    std::uint32_t overflowed;
    std::uint32_t reserved[3];
  };
  static_assert(sizeof(Bucket) == 64);

  // Through FlowCold::older and newer; meaningful while size > 0.
  struct List {
    std::uint32_t oldest = 0;
    std::uint32_t newest = 0;
    std::uint32_t size = 0;
  };
  [[nodiscard]] const List& list_of(FlowList list) const {
    return lists_[static_cast<std::size_t>(list)];
  }
  // Of what state and flags say; nothing for most flows.
  [[nodiscard]] static std::optional<FlowList> list_of(const Hot& flow);
  void append(List& list, std::uint32_t index);
  void unlink(List& list, std::uint32_t index);
  void enter_list(std::uint32_t index);
  void leave_list(std::uint32_t index);
  void release_quotas(std::uint32_t index);

  [[nodiscard]] static std::uint32_t bucket_count(std::uint32_t capacity);
  [[nodiscard]] static constexpr std::uint16_t tag_of(std::uint64_t hash) {
    const auto tag = static_cast<std::uint16_t>(hash >> 48U);
    return tag == 0 ? 1 : tag;
  }
  [[nodiscard]] std::uint32_t primary(std::uint64_t hash) const {
    return static_cast<std::uint32_t>(hash) & mask_;
  }
  [[nodiscard]] std::uint32_t other(std::uint32_t bucket, std::uint16_t tag) const {
    return (bucket ^ (tag * 0x9e37'79b1U >> 3U | 1U)) & mask_;
  }
  [[nodiscard]] std::uint32_t secondary(std::uint64_t hash) const {
    return other(primary(hash), tag_of(hash));
  }
  // Two bits for each slot with this tag.
  [[nodiscard]] static std::uint32_t matching(const Bucket& bucket, std::uint16_t tag) {
    const __m128i tags = _mm_load_si128(reinterpret_cast<const __m128i*>(bucket.tags));
    const __m128i wanted = _mm_set1_epi16(static_cast<std::int16_t>(tag));
    return static_cast<std::uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi16(tags, wanted)));
  }
  [[nodiscard]] static std::uint32_t slot_of(std::uint32_t match) {
    return static_cast<std::uint32_t>(std::countr_zero(match)) / 2;
  }
  [[nodiscard]] bool matches(FlowRef ref, const Key& key) const;
  [[nodiscard]] FlowRef find_in(const Bucket& bucket, const Key& key, std::uint64_t hash) const {
    for (std::uint32_t equal = matching(bucket, tag_of(hash)); equal != 0;) {
      const std::uint32_t slot = slot_of(equal);
      if (matches(bucket.refs[slot], key)) {
        return bucket.refs[slot];
      }
      equal &= ~(3U << (slot * 2));
    }
    return kNoFlow;
  }
  // find(), apart, so that confirm() keeps its registers for the packets that are confirmed.
  [[nodiscard]] FlowRef find_after(const Key& key, std::uint64_t hash) const;
  [[nodiscard]] Key key_of(FlowRef ref) const;
  [[nodiscard]] static bool place(Bucket& bucket, std::uint16_t tag, FlowRef ref);
  [[nodiscard]] bool make_room(std::uint32_t bucket);
  [[nodiscard]] bool enter(std::uint64_t hash, FlowRef ref);
  void remove(std::uint64_t hash, FlowRef ref);

  Hot* hot_;
  FlowCold* cold_;
  Bucket* buckets_;
  std::uint64_t* unfolded_;
  std::uint32_t mask_;
  std::uint32_t capacity_;
  std::uint32_t spare_;
  std::uint32_t size_ = 0;
  std::uint32_t half_open_max_ = 0xffff'ffff;
  std::array<List, static_cast<std::size_t>(FlowList::kCount)> lists_;
  std::uint32_t high_water_ = 0;
  std::uint32_t free_head_ = kNoEntry;  // list through packets[0] of free entries
  HashSecret secret_;
  LcoreQuotas* quotas_ = nullptr;

  static constexpr std::uint32_t kNoEntry = 0xffff'ffff;
};

template <Family F>
inline bool FlowTable<F>::matches(FlowRef ref, const Key& key) const {
  const Hot& flow = hot_[ref.index()];
  if constexpr (F == Family::kIpv4) {
    std::uint64_t wanted[2];
    std::memcpy(wanted, &key, sizeof(wanted));
    if (ref.direction() == Direction::kFromClient) {
      std::uint64_t have[2];
      std::memcpy(have, &flow, sizeof(have));
      return ((have[0] ^ wanted[0]) | ((have[1] ^ wanted[1]) << 16U)) == 0;
    }
    std::uint64_t have = 0;
    std::uint32_t ports = 0;
    std::memcpy(&have, &flow.backend, sizeof(have));
    std::memcpy(&ports, &flow.backend_port, sizeof(ports));
    return have == wanted[0] && ports == static_cast<std::uint32_t>(wanted[1]) &&
           flow.protocol == key.protocol && flow.network == key.network;
  } else {
    return (ref.direction() == Direction::kFromClient ? flow.client_key() : flow.reply_key()) ==
           key;
  }
}

extern template class FlowTable<Family::kIpv4>;
extern template class FlowTable<Family::kIpv6>;

}  // namespace sluice
