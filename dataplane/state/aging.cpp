// SPDX-License-Identifier: Apache-2.0
#include "dataplane/state/aging.h"

#include <algorithm>

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

// Not one that was evicted this very turn: a packet of the burst may refer to it still.
template <Family F>
bool free_evicted(FlowTable<F>& flows, std::uint32_t now_ms) {
  if (flows.evicted() == 0 || flows.hot(flows.oldest_evicted()).last_seen_ms == now_ms) {
    return false;
  }
  flows.erase(flows.oldest_evicted());
  return true;
}

}  // namespace

template <Family F>
bool make_room(FlowState state, FlowTable<F>& flows, std::uint32_t now_ms,
               LcoreCounters& counters) {
  if (flows.size() == flows.capacity() && !free_evicted(flows, now_ms)) {
    return false;
  }
  if (state != FlowState::kTcpHalfOpen || flows.half_open() < flows.half_open_max()) {
    return true;
  }
  if (flows.evicted() >= flows.half_open_max() && !free_evicted(flows, now_ms)) {
    return false;
  }
  const std::uint32_t oldest = flows.oldest_half_open();
  settle(flows, oldest, counters);
  flows.evict(oldest, now_ms);
  counters.half_open_evicted.add(1);
  return true;
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
  flow.flags = 0;
  flow.last_seen_ms = now_ms;
  flows.enter_half_open(index);
  FlowCold& cold = flows.cold(index);
  cold.opened_ms = now_ms;
  cold.packets_in = cold.bytes_in = cold.packets_out = cold.bytes_out = 0;
  counters.services[service_port].flows_opened.add(1);
  counters.bindings[flow.binding_slot].flows_opened.add(1);
}

template <Family F>
void Aging<F>::age(FlowTable<F>& flows, std::uint32_t index, std::uint32_t now_ms,
                   LcoreCounters& counters) {
  const FlowHot<F>& flow = flows.hot(index);
  if (flow.state == FlowState::kFree) {
    return;
  }
  const bool expired = now_ms - flow.last_seen_ms >= timeout_ms(flow, flows.cold(index));
  if (flow.state == FlowState::kQuarantine) {
    if (expired) {
      flows.erase(index);
    }
  } else if (!expired) {
    fold_counters(flows, index, counters);
  } else {
    end_flow(flows, index, now_ms, counters);
  }
}

template <Family F>
void Aging<F>::run(FlowTable<F>& flows, std::uint32_t now_ms, LcoreCounters& counters) {
  const std::uint32_t end = flows.high_water();
  const std::uint32_t elapsed = std::min<std::uint32_t>(now_ms - last_ms_, 10 * kSweepMs);
  last_ms_ = now_ms;
  credit_ = std::min<std::uint64_t>(credit_ + std::uint64_t{end} * elapsed, end * kSweepMs);
  const auto due = static_cast<std::uint32_t>(std::min<std::uint64_t>(credit_ / kSweepMs, kSlice));
  credit_ -= due * kSweepMs;
  for (std::uint32_t i = 0; i < due; ++i, ++next_) {
    if (next_ >= end) {
      next_ = 0;
    }
    age(flows, next_, now_ms, counters);
  }
}

template void fold_counters(FlowTable<Family::kIpv4>&, std::uint32_t, LcoreCounters&);
template void fold_counters(FlowTable<Family::kIpv6>&, std::uint32_t, LcoreCounters&);
template void close_flow(FlowTable<Family::kIpv4>&, std::uint32_t, std::uint32_t, LcoreCounters&);
template void close_flow(FlowTable<Family::kIpv6>&, std::uint32_t, std::uint32_t, LcoreCounters&);
template void restart_flow(FlowTable<Family::kIpv4>&, std::uint32_t, std::uint32_t, LcoreCounters&);
template void restart_flow(FlowTable<Family::kIpv6>&, std::uint32_t, std::uint32_t, LcoreCounters&);
template bool make_room(FlowState, FlowTable<Family::kIpv4>&, std::uint32_t, LcoreCounters&);
template bool make_room(FlowState, FlowTable<Family::kIpv6>&, std::uint32_t, LcoreCounters&);
template void end_flow(FlowTable<Family::kIpv4>&, std::uint32_t, std::uint32_t, LcoreCounters&);
template void end_flow(FlowTable<Family::kIpv6>&, std::uint32_t, std::uint32_t, LcoreCounters&);
template void revoke_flow(FlowTable<Family::kIpv4>&, std::uint32_t, std::uint32_t, LcoreCounters&);
template void revoke_flow(FlowTable<Family::kIpv6>&, std::uint32_t, std::uint32_t, LcoreCounters&);
template class Aging<Family::kIpv4>;
template class Aging<Family::kIpv6>;

}  // namespace sluice
