// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/address.h"

#include <cstddef>
#include <span>
#include <vector>

namespace sluice {

// A set of client addresses, from a list of prefixes of either family: sorted, disjoint intervals,
// so that a lookup is one binary search however the prefixes overlap. Immutable; services with the
// same list share one. Looked at when a flow is admitted and when a change has it judged again.
//
// A family that no prefix is of holds nothing: a list of IPv4 prefixes holds no IPv6 client
// (kube-proxy would let all of them pass; KUBERNETES 3.5 decides otherwise).
class SourceRanges {
 public:
  static constexpr std::size_t kPrefixesMax = 10'000;  // of one list

  explicit SourceRanges(std::span<const IpPrefix> prefixes);

  [[nodiscard]] bool contains(const IpAddress& client) const;
  [[nodiscard]] std::size_t intervals() const { return intervals_.size(); }

 private:
  struct Interval {
    IpAddress first;
    IpAddress last;  // inclusive; of first's family
  };
  std::vector<Interval> intervals_;  // sorted; IPv4 before IPv6
};

}  // namespace sluice
