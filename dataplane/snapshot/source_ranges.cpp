// SPDX-License-Identifier: Apache-2.0
#include "dataplane/snapshot/source_ranges.h"

#include <algorithm>

namespace sluice {

// Of two prefixes one holds the other or they are disjoint, so sorting and passing over the held
// ones makes them disjoint.
SourceRanges::SourceRanges(std::span<const IpPrefix> prefixes) {
  std::vector<IpPrefix> sorted(prefixes.begin(), prefixes.end());
  std::sort(sorted.begin(), sorted.end());
  for (const IpPrefix& prefix : sorted) {
    const IpAddress last = last_of(prefix);
    if (intervals_.empty() || intervals_.back().last < prefix.address) {
      intervals_.push_back({prefix.address, last});
    }
  }
}

bool SourceRanges::contains(const IpAddress& client) const {
  const auto after = std::upper_bound(
      intervals_.begin(), intervals_.end(), client,
      [](const IpAddress& wanted, const Interval& interval) { return wanted < interval.first; });
  return after != intervals_.begin() && client <= std::prev(after)->last;
}

}  // namespace sluice
