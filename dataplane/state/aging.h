// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/state/counters.h"
#include "dataplane/state/flow_table.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

namespace sluice {

// Before a flow counts a packet: so that it is folded.
template <Family F>
[[gnu::always_inline]] inline void expect_count(FlowTable<F>& flows, std::uint32_t index) {
  if (std::bit_cast<std::uint64_t>(flows.hot(index).packets) == 0) [[unlikely]] {
    flows.mark_unfolded(index);
  }
}

// A flow's own account of one more packet; `bytes`: of its direction, with those of the packet.
template <Family F>
[[gnu::always_inline]] inline void count_packet(FlowHot<F>& flow, Direction from,
                                                std::uint32_t bytes, std::uint32_t now_ms) {
  flow.last_seen_ms = now_ms;
  ++flow.packets[at(from)];
  flow.bytes[at(from)] = bytes;
}

// Adds what a flow has counted to its service port, its binding and itself, and starts anew.
template <Family F>
void fold_counters(FlowTable<F>& flows, std::uint32_t index, LcoreCounters& counters);

// Ends a flow: folds it and puts it into quarantine, from where aging frees the entry. Never frees
// it at once: other packets of the burst may still refer to it.
template <Family F>
void close_flow(FlowTable<F>& flows, std::uint32_t index, std::uint32_t now_ms,
                LcoreCounters& counters);

// Ends a flow and opens another with the same tuples in its entry. TCP only.
template <Family F>
void restart_flow(FlowTable<F>& flows, std::uint32_t index, std::uint32_t now_ms,
                  LcoreCounters& counters);

// Leave for one more flow to be half-open, at a bounded cost: at most half_open_max are, then the
// oldest of them is evicted, into a quarantine that at most as many are in; then the longest one
// there is freed. False: all of those are of this very turn.
template <Family F>
[[nodiscard]] bool keep_to_half_open_max(FlowTable<F>& flows, std::uint32_t now_ms,
                                         LcoreCounters& counters);

// For how long a flow has no packet before it may be given up for another: longer than a segment
// that got no answer waits to be sent again (RFC 6298 §2.1).
inline constexpr std::uint32_t kAtRestMs = 1'000;

// An entry for one more flow. In a table that has few left, each one evicts whoever ended first, or
// else the oldest half-open flow, of those that rest; so some are there to be freed when all are
// used up. No other flow is touched, least of all an established one. False: nothing can be had.
template <Family F>
[[nodiscard]] bool make_room(FlowTable<F>& flows, std::uint32_t now_ms, LcoreCounters& counters);

// As when its time is over; between bursts only. A UDP flow leaves at once, others are closed.
template <Family F>
void end_flow(FlowTable<F>& flows, std::uint32_t index, std::uint32_t now_ms,
              LcoreCounters& counters);

// As end_flow(), of a flow that did not end by itself: a segment in mid-stream does not take a TCP
// flow up again while it is in quarantine.
template <Family F>
void revoke_flow(FlowTable<F>& flows, std::uint32_t index, std::uint32_t now_ms,
                 LcoreCounters& counters);

// How much of a round is due, for work that goes round once in a while: a number of items, of which
// a turn does no more than it may.
class Pace {
 public:
  // `items` of them a second, for which `elapsed_ms` have passed; never more than a second's due.
  void advance(std::uint32_t items, std::uint32_t elapsed_ms) {
    credit_ = std::min(credit_ + std::uint64_t{items} * elapsed_ms, items * kSecondMs);
  }
  [[nodiscard]] std::uint32_t due() const {
    return static_cast<std::uint32_t>(credit_ / kSecondMs);
  }
  void done(std::uint32_t items) { credit_ -= items * kSecondMs; }

 private:
  static constexpr std::uint64_t kSecondMs = 1'000;

  std::uint64_t credit_ = 0;  // items times milliseconds
};

// Goes over a flow table in slices, between bursts.
//
//   folding:   the flows that have counted something, once a second, which is why no count is more
//              than 2 s behind. Found in one turn, when their lines are asked for, folded in the
//              next, when they are there.
//   timeouts:  every entry once a second, or kEntriesPerSecond of them where there are more. So an
//              expired flow of 10 million stays for up to 10 s. UDP leaves at once, TCP after its
//              SNAT tuple's quarantine.
template <Family F>
class Aging {
 public:
  static constexpr std::uint32_t kSlice = 64;
  static constexpr std::uint32_t kEntriesPerSecond = 1'000'000;

  // One slice of either, of as much as the time passed since the last one asks for. False when
  // nothing was due.
  bool run(FlowTable<F>& flows, std::uint32_t now_ms, LcoreCounters& counters);
  // More than one slice is due: the lcore should not sleep.
  [[nodiscard]] bool behind() const {
    return entries_.due() >= kSlice || words_.due() >= kWordsPerTurn || pending_count_ != 0;
  }

 private:
  static constexpr std::uint32_t kWordsPerTurn = 64;  // most say nothing: a line of eight each

  bool fold(FlowTable<F>& flows, std::uint32_t elapsed_ms, LcoreCounters& counters);
  void find_unfolded(FlowTable<F>& flows);
  bool expire(FlowTable<F>& flows, std::uint32_t elapsed_ms, std::uint32_t now_ms,
              LcoreCounters& counters);
  void age(FlowTable<F>& flows, std::uint32_t index, std::uint32_t now_ms, LcoreCounters& counters);

  std::uint32_t last_ms_ = 0;
  Pace entries_;
  std::uint32_t next_ = 0;
  Pace words_;
  std::uint32_t next_word_ = 0;
  std::uint32_t pending_count_ = 0;  // to be folded in the next turn
  std::array<std::uint32_t, kSlice> pending_;
};

}  // namespace sluice
