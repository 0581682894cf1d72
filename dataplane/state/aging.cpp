// SPDX-License-Identifier: Apache-2.0
#include "dataplane/state/aging.h"

#include <algorithm>
#include <bit>
#include <optional>

namespace sluice {

template <Family F>
void fold_counters(FlowTable<F>& flows, std::uint32_t index, LcoreCounters& counters) {
  FlowHot<F>& flow = flows.hot(index);
  if ((flow.packets[0] | flow.packets[1]) == 0) {
    return;
  }
  FlowCold& cold = flows.cold(index);
  for (FlowCounters* sum :
       {&counters.services[cold.service_port], &counters.bindings[flow.binding_slot]}) {
    sum->packets_in.add(flow.packets[0]);
    sum->bytes_in.add(flow.bytes[0]);
    sum->packets_out.add(flow.packets[1]);
    sum->bytes_out.add(flow.bytes[1]);
  }
  cold.packets_in += flow.packets[0];
  cold.bytes_in += flow.bytes[0];
  cold.packets_out += flow.packets[1];
  cold.bytes_out += flow.bytes[1];
  flow.packets = flow.bytes = {};
}

namespace {

template <Family F>
void settle(FlowTable<F>& flows, std::uint32_t index, LcoreCounters& counters) {
  fold_counters(flows, index, counters);
  counters.services[flows.cold(index).service_port].flows_closed.add(1);
  counters.bindings[flows.hot(index).binding_slot].flows_closed.add(1);
}

}  // namespace

template <Family F>
void close_flow(FlowTable<F>& flows, std::uint32_t index, std::uint32_t now_ms,
                LcoreCounters& counters) {
  settle(flows, index, counters);
  flows.quarantine(index, now_ms);
}

namespace {

constexpr std::uint32_t kPassedOverMax = 4;

// Not one that was evicted this very turn: a packet of the burst may refer to it still.
template <Family F>
bool free_evicted(FlowTable<F>& flows, std::uint32_t now_ms) {
  const std::uint32_t oldest = flows.oldest(FlowList::kEvicted);
  if (flows.count(FlowList::kEvicted) == 0 || flows.hot(oldest).last_seen_ms == now_ms) {
    return false;
  }
  flows.erase(oldest);
  return true;
}

template <Family F>
void evict_flow(FlowTable<F>& flows, std::uint32_t index, std::uint32_t now_ms,
                LcoreCounters& counters) {
  const FlowState state = flows.hot(index).state;
  if (state != FlowState::kQuarantine) {
    settle(flows, index, counters);
  }
  flows.evict(index, now_ms);
  (state == FlowState::kTcpHalfOpen ? counters.half_open_evicted : counters.ended_evicted).add(1);
}

// The first of a list that rests. A few that do not are put at its end, so that nobody who keeps
// one going protects those behind it.
template <Family F>
std::optional<std::uint32_t> oldest_at_rest(FlowList list, FlowTable<F>& flows,
                                            std::uint32_t now_ms) {
  for (std::uint32_t i = std::min(flows.count(list), kPassedOverMax); i > 0; --i) {
    const std::uint32_t index = flows.oldest(list);
    const FlowHot<F>& flow = flows.hot(index);
    if (flow.state == FlowState::kQuarantine || now_ms - flow.last_seen_ms >= kAtRestMs) {
      return index;
    }
    flows.set_state(index, flow.state);
  }
  return std::nullopt;
}

}  // namespace

template <Family F>
bool keep_to_half_open_max(FlowTable<F>& flows, std::uint32_t now_ms, LcoreCounters& counters) {
  if (flows.count(FlowList::kHalfOpen) < flows.half_open_max()) {
    return true;
  }
  if (flows.count(FlowList::kEvicted) >= flows.half_open_max() && !free_evicted(flows, now_ms)) {
    return false;
  }
  evict_flow(flows, flows.oldest(FlowList::kHalfOpen), now_ms, counters);
  return true;
}

template <Family F>
bool make_room(FlowTable<F>& flows, std::uint32_t now_ms, LcoreCounters& counters) {
  if (flows.is_short() && flows.count(FlowList::kEvicted) < flows.spare()) {
    auto oldest = oldest_at_rest(FlowList::kEnded, flows, now_ms);
    if (!oldest) {
      oldest = oldest_at_rest(FlowList::kHalfOpen, flows, now_ms);
    }
    if (oldest) {
      evict_flow(flows, *oldest, now_ms, counters);
    }
  }
  return flows.size() < flows.capacity() || free_evicted(flows, now_ms);
}

template <Family F>
void end_flow(FlowTable<F>& flows, std::uint32_t index, std::uint32_t now_ms,
              LcoreCounters& counters) {
  if (flows.hot(index).state != FlowState::kUdp) {
    close_flow(flows, index, now_ms, counters);
    return;
  }
  settle(flows, index, counters);
  flows.erase(index);
}

template <Family F>
void revoke_flow(FlowTable<F>& flows, std::uint32_t index, std::uint32_t now_ms,
                 LcoreCounters& counters) {
  end_flow(flows, index, now_ms, counters);
  if (flows.hot(index).state == FlowState::kQuarantine) {
    flows.hot(index).flags |= kFlowRevoked;
  }
}

template <Family F>
void restart_flow(FlowTable<F>& flows, std::uint32_t index, std::uint32_t now_ms,
                  LcoreCounters& counters) {
  settle(flows, index, counters);
  FlowHot<F>& flow = flows.hot(index);
  const std::uint32_t service_port = flows.cold(index).service_port;
  flows.set_state(index, FlowState::kTcpHalfOpen);
  flow.flags = 0;
  flow.last_seen_ms = now_ms;
  FlowCold& cold = flows.cold(index);
  cold.opened_ms = now_ms;
  cold.packets_in = cold.bytes_in = cold.packets_out = cold.bytes_out = 0;
  counters.services[service_port].flows_opened.add(1);
  counters.bindings[flow.binding_slot].flows_opened.add(1);
}

template <Family F>
bool Aging<F>::run(FlowTable<F>& flows, std::uint32_t now_ms, LcoreCounters& counters) {
  constexpr std::uint32_t kLongAgoMs = 10'000;
  const std::uint32_t elapsed_ms = std::min(now_ms - last_ms_, kLongAgoMs);
  last_ms_ = now_ms;
  const bool folded = fold(flows, elapsed_ms, counters);
  return expire(flows, elapsed_ms, now_ms, counters) || folded;
}

template <Family F>
bool Aging<F>::fold(FlowTable<F>& flows, std::uint32_t elapsed_ms, LcoreCounters& counters) {
  for (std::uint32_t i = 0; i < pending_count_; ++i) {
    flows.mark_folded(pending_[i]);
    // It may have gone since.
    if (flows.hot(pending_[i]).state != FlowState::kFree) {
      fold_counters(flows, pending_[i], counters);
    }
  }
  const bool folded = pending_count_ != 0;
  pending_count_ = 0;
  words_.advance((flows.high_water() + flows.kWordFlows - 1) / flows.kWordFlows, elapsed_ms);
  if (words_.due() == 0) {
    return folded;
  }
  find_unfolded(flows);
  return true;
}

template <Family F>
void Aging<F>::find_unfolded(FlowTable<F>& flows) {
  const std::uint32_t due = std::min(words_.due(), kWordsPerTurn);
  std::uint32_t done = 0;
  for (; done < due; ++done, ++next_word_) {
    if (next_word_ * flows.kWordFlows >= flows.high_water()) {
      next_word_ = 0;
    }
    std::uint64_t word = flows.unfolded(next_word_);
    if (pending_count_ + static_cast<std::uint32_t>(std::popcount(word)) > kSlice) {
      break;
    }
    for (; word != 0; word &= word - 1) {
      const std::uint32_t index =
          next_word_ * flows.kWordFlows + static_cast<std::uint32_t>(std::countr_zero(word));
      flows.prefetch(index);
      pending_[pending_count_++] = index;
    }
  }
  words_.done(done);
}

template <Family F>
bool Aging<F>::expire(FlowTable<F>& flows, std::uint32_t elapsed_ms, std::uint32_t now_ms,
                      LcoreCounters& counters) {
  const std::uint32_t end = flows.high_water();
  entries_.advance(std::min(end, kEntriesPerSecond), elapsed_ms);
  const std::uint32_t due = std::min(entries_.due(), kSlice);
  if (due == 0) {
    return false;
  }
  for (std::uint32_t i = 0; i < due; ++i, ++next_) {
    if (next_ >= end) {
      next_ = 0;
    }
    age(flows, next_, now_ms, counters);
  }
  entries_.done(due);
  for (std::uint32_t index = next_; index < std::min(next_ + kSlice, end); ++index) {
    flows.prefetch_hot(index);
  }
  return true;
}

template <Family F>
void Aging<F>::age(FlowTable<F>& flows, std::uint32_t index, std::uint32_t now_ms,
                   LcoreCounters& counters) {
  const FlowHot<F>& flow = flows.hot(index);
  const std::uint32_t rested_ms = now_ms - flow.last_seen_ms;
  if (flow.state == FlowState::kFree || rested_ms < timeout_ms(flow, flows.cold(index))) {
    return;
  }
  if (flow.state == FlowState::kQuarantine) {
    flows.erase(index);
  } else if (flow.state == FlowState::kTcpTimeWait &&
             rested_ms >= facts_of(FlowState::kQuarantine).timeout_ms) {
    settle(flows, index, counters);
    flows.erase(index);
  } else {
    end_flow(flows, index, now_ms, counters);
  }
}

template void fold_counters(FlowTable<Family::kIpv4>&, std::uint32_t, LcoreCounters&);
template void fold_counters(FlowTable<Family::kIpv6>&, std::uint32_t, LcoreCounters&);
template void close_flow(FlowTable<Family::kIpv4>&, std::uint32_t, std::uint32_t, LcoreCounters&);
template void close_flow(FlowTable<Family::kIpv6>&, std::uint32_t, std::uint32_t, LcoreCounters&);
template void restart_flow(FlowTable<Family::kIpv4>&, std::uint32_t, std::uint32_t, LcoreCounters&);
template void restart_flow(FlowTable<Family::kIpv6>&, std::uint32_t, std::uint32_t, LcoreCounters&);
template bool keep_to_half_open_max(FlowTable<Family::kIpv4>&, std::uint32_t, LcoreCounters&);
template bool keep_to_half_open_max(FlowTable<Family::kIpv6>&, std::uint32_t, LcoreCounters&);
template bool make_room(FlowTable<Family::kIpv4>&, std::uint32_t, LcoreCounters&);
template bool make_room(FlowTable<Family::kIpv6>&, std::uint32_t, LcoreCounters&);
template void end_flow(FlowTable<Family::kIpv4>&, std::uint32_t, std::uint32_t, LcoreCounters&);
template void end_flow(FlowTable<Family::kIpv6>&, std::uint32_t, std::uint32_t, LcoreCounters&);
template void revoke_flow(FlowTable<Family::kIpv4>&, std::uint32_t, std::uint32_t, LcoreCounters&);
template void revoke_flow(FlowTable<Family::kIpv6>&, std::uint32_t, std::uint32_t, LcoreCounters&);
template class Aging<Family::kIpv4>;
template class Aging<Family::kIpv6>;

}  // namespace sluice
