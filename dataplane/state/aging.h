// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/state/counters.h"
#include "dataplane/state/flow_table.h"

#include <cstdint>

namespace sluice {

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

// Room for one more flow that begins in `state`, at a bounded cost: at most half_open_max flows are
// half-open, then the oldest of them is expired early, into a quarantine that at most as many are
// in; then, or when the table is full, the longest one there is freed. No other flow is touched,
// least of all an established one. False: nothing could be had, all of it being of this very turn.
template <Family F>
[[nodiscard]] bool make_room(FlowState state, FlowTable<F>& flows, std::uint32_t now_ms,
                             LcoreCounters& counters);

// As when its time is over; between bursts only. A UDP flow leaves at once, others are closed.
template <Family F>
void end_flow(FlowTable<F>& flows, std::uint32_t index, std::uint32_t now_ms,
              LcoreCounters& counters);

// As end_flow(), of a flow that did not end by itself: a segment in mid-stream does not take a TCP
// flow up again while it is in quarantine.
template <Family F>
void revoke_flow(FlowTable<F>& flows, std::uint32_t index, std::uint32_t now_ms,
                 LcoreCounters& counters);

// Sweeps a flow table in slices, so that every entry is folded and checked for its timeout once a
// second, which is why no count is more than 2 s behind. An expired UDP flow leaves at once, an
// expired TCP flow after its SNAT tuple's quarantine. Runs between bursts.
template <Family F>
class Aging {
 public:
  static constexpr std::uint32_t kSlice = 64;

  // One slice, of as many entries as the time passed since the last one asks for.
  void run(FlowTable<F>& flows, std::uint32_t now_ms, LcoreCounters& counters);
  // More than one slice is due: the lcore should not sleep.
  [[nodiscard]] bool behind() const { return credit_ >= kSlice * kSweepMs; }

 private:
  static constexpr std::uint64_t kSweepMs = 1'000;

  void age(FlowTable<F>& flows, std::uint32_t index, std::uint32_t now_ms, LcoreCounters& counters);

  std::uint64_t credit_ = 0;  // entries due, times kSweepMs
  std::uint32_t last_ms_ = 0;
  std::uint32_t next_ = 0;
};

}  // namespace sluice
