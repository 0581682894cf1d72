// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace sluice::pktgen {

// Counts of 32-bit values in buckets that are 1/64 of their value wide, so that a percentile is
// off by 1.6 % at most. The maximum is exact.
class Histogram {
 public:
  void record(std::uint32_t value) {
    ++buckets_[bucket_of(value)];
    ++count_;
    max_ = std::max(max_, value);
  }
  void clear() { *this = Histogram{}; }

  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] std::uint32_t max() const { return max_; }
  // The least value that `share` (0 to 1) of all are not above; 0 when there are none.
  [[nodiscard]] std::uint32_t percentile(double share) const {
    const auto wanted = std::max<std::uint64_t>(
        1, static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(count_))));
    std::uint64_t seen = 0;
    for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) {
      seen += buckets_[bucket];
      if (seen >= wanted) {
        return std::min(max_, last_of(bucket));
      }
    }
    return max_;
  }

 private:
  static constexpr unsigned kBits = 6;
  static constexpr std::size_t kBuckets = std::size_t{32 - kBits + 1} << kBits;

  // Values below 64 have a bucket each; each doubling above has 64.
  static constexpr std::size_t bucket_of(std::uint32_t value) {
    const auto width = static_cast<unsigned>(std::bit_width(value));
    if (width <= kBits) {
      return value;
    }
    const unsigned shift = width - kBits - 1;
    return (std::size_t{shift} << kBits) + (value >> shift);
  }
  static constexpr std::uint32_t last_of(std::size_t bucket) {
    if (bucket < (std::size_t{2} << kBits)) {
      return static_cast<std::uint32_t>(bucket);
    }
    const auto shift = static_cast<unsigned>(bucket >> kBits) - 1;
    const std::uint64_t head = bucket - (std::size_t{shift} << kBits);
    return static_cast<std::uint32_t>(((head + 1) << shift) - 1);
  }

  std::array<std::uint64_t, kBuckets> buckets_{};
  std::uint64_t count_ = 0;
  std::uint32_t max_ = 0;
};

}  // namespace sluice::pktgen
