// SPDX-License-Identifier: Apache-2.0
#include "dataplane/state/flow.h"

namespace sluice {
namespace {

ChecksumSum sum_of(Ipv4Address address) {
  return address.value.raw;
}
ChecksumSum sum_of(const Ipv6Address& address) {
  return checksum_sum(address.bytes);
}

}  // namespace

template <Family F>
void set_checksum_deltas(FlowHot<F>& flow) {
  const ChecksumSum before = sum_of(flow.client) + sum_of(flow.frontend);
  const ChecksumSum after = sum_of(flow.snat) + sum_of(flow.backend);
  const ChecksumSum ports_before = ChecksumSum{flow.client_port.raw} + flow.frontend_port.raw;
  const ChecksumSum ports_after = ChecksumSum{flow.snat_port.raw} + flow.backend_port.raw;
  flow.l3_delta = ChecksumDelta::exchange(before, after);
  flow.l4_delta = ChecksumDelta::exchange(before + ports_before, after + ports_after);
}

template <Family F>
void set_options(FlowHot<F>& flow, FlowCold& cold, const FlowOptions& options) {
  if ((options.idle_ms | options.transitory_ms) != 0) {
    const auto given = [](std::uint32_t own, FlowState state) {
      return own == 0 ? facts_of(state).timeout_ms : own;
    };
    const bool udp = flow.state == FlowState::kUdp;
    cold.idle_ms = given(options.idle_ms, udp ? FlowState::kUdp : FlowState::kTcpEstablished);
    cold.transitory_ms = given(options.transitory_ms, FlowState::kTcpHalfOpen);
    flow.flags |= kFlowOwnTimers;
  }
  if (options.mss_max != 0) {
    cold.mss_max = options.mss_max;
    flow.flags |= kFlowClampMss;
  }
}

template void set_options(FlowHot<Family::kIpv4>&, FlowCold&, const FlowOptions&);
template void set_options(FlowHot<Family::kIpv6>&, FlowCold&, const FlowOptions&);
template void set_checksum_deltas<Family::kIpv4>(FlowHot<Family::kIpv4>&);
template void set_checksum_deltas<Family::kIpv6>(FlowHot<Family::kIpv6>&);

}  // namespace sluice
