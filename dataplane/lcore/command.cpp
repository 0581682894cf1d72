// SPDX-License-Identifier: Apache-2.0
#include "dataplane/lcore/command.h"

namespace sluice {

bool ListFlows::step(const Snapshot& /*snapshot*/, LcoreState& state) {
  const std::uint32_t entries =
      family_ == Family::kIpv4 ? state.flows4.high_water() : state.flows6.high_water();
  collect_flows(filter_, family_, next_, next_ + kSlice, state, lcore_, limit_ - rows_.size(),
                rows_);
  next_ += kSlice;
  if (rows_.size() >= limit_) {
    return true;
  }
  if (next_ < entries) {
    return false;
  }
  const bool last = family_ == Family::kIpv6;
  family_ = Family::kIpv6;
  next_ = 0;
  return last;
}

bool DeleteFlows::step(const Snapshot& /*snapshot*/, LcoreState& state) {
  const std::uint32_t entries =
      family_ == Family::kIpv4 ? state.flows4.high_water() : state.flows6.high_water();
  deleted_ += delete_flows(filter_, family_, next_, next_ + ListFlows::kSlice, state);
  next_ += ListFlows::kSlice;
  if (next_ < entries) {
    return false;
  }
  const bool last = family_ == Family::kIpv6;
  family_ = Family::kIpv6;
  next_ = 0;
  return last;
}

bool ExplainPacket::step(const Snapshot& snapshot, LcoreState& state) {
  answer_ = explain(query_, snapshot, state, lcore_);
  return true;
}

}  // namespace sluice
