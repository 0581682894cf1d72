// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace sluice {

// A word of the configuration: how an lcore waits while nothing comes.
enum class IdleWait : std::uint8_t {
  kAuto,     // the last of these that CPU and devices can
  kSleep,    // leaves the CPU to others
  kPause,    // TPAUSE: keeps the CPU, which saves power until the time is over
  kMonitor,  // UMWAIT: likewise, and wakes when a frame is written to a receive queue
};

}  // namespace sluice
