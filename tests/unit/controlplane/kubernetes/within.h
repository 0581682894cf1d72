// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <thread>

namespace sluice::kubernetes {

// For what is to come true, however slow the machine: longer than the first three pauses of a
// Backoff are together, which are up to 11.2 s.
constexpr std::chrono::milliseconds kSoon{30'000};

// Whether it holds before `most` is over.
inline bool within(std::chrono::milliseconds most, const std::function<bool()>& holds) {
  const auto end = std::chrono::steady_clock::now() + most;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > end) {
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

}  // namespace sluice::kubernetes
