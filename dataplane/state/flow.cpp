// SPDX-License-Identifier: Apache-2.0
#include "dataplane/state/flow.h"

namespace sluice {
namespace {

template <typename T>
ChecksumSum sum_of(const T& value) {
  std::uint8_t bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  return checksum_sum(bytes);
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

template void set_checksum_deltas<Family::kIpv4>(FlowHot<Family::kIpv4>&);
template void set_checksum_deltas<Family::kIpv6>(FlowHot<Family::kIpv6>&);

}  // namespace sluice
