// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>

namespace sluice::kubernetes {

// How long to wait before the next try, as client-go's reflector does: 0.8 s, twice as long each
// time up to 30 s, up to as much again by chance, and from the start after two quiet minutes
// (KUBERNETES.md 1.24).
class Backoff {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds kFirst{800};
  static constexpr std::chrono::milliseconds kLast{30'000};
  static constexpr std::chrono::minutes kQuiet{2};

  explicit Backoff(std::uint64_t seed = std::random_device{}()) : random_(seed) {}

  // `at_least`: what the server asked for (Retry-After).
  std::chrono::milliseconds next(Clock::time_point now, std::chrono::milliseconds at_least = {}) {
    if (now - last_ > kQuiet) {
      present_ = kFirst;
    }
    last_ = now;
    const std::chrono::milliseconds base = present_;
    present_ = std::min(present_ * 2, kLast);
    std::uniform_int_distribution<std::int64_t> by_chance(0, base.count());
    return std::max(base + std::chrono::milliseconds(by_chance(random_)), at_least);
  }

 private:
  std::mt19937_64 random_;
  std::chrono::milliseconds present_ = kFirst;
  Clock::time_point last_{};
};

}  // namespace sluice::kubernetes
