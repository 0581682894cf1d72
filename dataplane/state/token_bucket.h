// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace sluice {

// Packets a second, with a burst of as many as a tenth of a second holds; spent by one lcore.
class TokenBucket {
 public:
  explicit constexpr TokenBucket(std::uint32_t per_second)
      : per_second_(per_second), tokens_(std::uint64_t{per_second} * kBurstMs) {}
  // True: take() says no. Cheap, for floods; false says nothing.
  [[nodiscard]] bool is_spent(std::uint32_t now_ms) const {
    return tokens_ < 1000 && last_ms_ == now_ms;
  }
  // False: over the rate. `now_ms` as in LcoreState.
  [[nodiscard]] bool take(std::uint32_t now_ms) {
    const std::uint32_t elapsed = now_ms - last_ms_ < kBurstMs ? now_ms - last_ms_ : kBurstMs;
    last_ms_ = now_ms;
    const std::uint64_t full = std::uint64_t{per_second_} * kBurstMs;
    tokens_ += std::uint64_t{per_second_} * elapsed;
    tokens_ = tokens_ > full ? full : tokens_;
    if (tokens_ < 1000) {
      return false;
    }
    tokens_ -= 1000;
    return true;
  }

 private:
  static constexpr std::uint32_t kBurstMs = 100;

  std::uint32_t per_second_;
  std::uint64_t tokens_;  // thousandths
  std::uint32_t last_ms_ = 0;
};

}  // namespace sluice
