// SPDX-License-Identifier: Apache-2.0
#include "dataplane/snapshot/source_ranges.h"

#include <algorithm>

namespace sluice {
namespace {

IpAddress last_of(const IpPrefix& prefix) {
  IpAddress last = prefix.address;
  for (unsigned bit = prefix.length; bit < last.bits(); ++bit) {
    last.bytes[bit / 8] = static_cast<std::uint8_t>(last.bytes[bit / 8] | 0x80U >> bit % 8);
  }
  return last;
}

}  // namespace

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
