// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/snapshot/idle_wait.h"
#include "dataplane/state/counters.h"

#include <cstdint>
#include <string>
#include <vector>

namespace sluice {

struct RxQueue {
  std::uint16_t device = 0;  // DPDK's number
  std::uint16_t queue = 0;
};

// What there is to wait with.
struct WaitMeans {
  bool pause = false;          // TPAUSE
  bool monitor = false;        // UMWAIT
  bool monitor_multi = false;  // of several addresses at once
  bool queues_tell = false;    // each receive queue has an address to monitor

  // Of this CPU and of these queues, whose devices are started.
  [[nodiscard]] static WaitMeans of(const std::vector<RxQueue>& queues);
};

// What kAuto means here, or what was named. Throws StartFault when that cannot be had.
[[nodiscard]] IdleWait resolve(IdleWait wanted, const WaitMeans& means, std::size_t queues);
// "sleeps", ...
[[nodiscard]] std::string text_of(IdleWait how);

// How one lcore waits when turns bring nothing: not at all for a while, so that a lull within a
// stream costs no latency, then 1 us, and twice as long each time, up to a bound.
class Idle {
 public:
  // `longest_us`: 0: never. Throws StartFault, as resolve().
  Idle(IdleWait wanted, std::uint32_t longest_us, std::vector<RxQueue> queues);

  void worked() { turns_ = 0; }
  // Counts one more turn that brought nothing. How long to wait now, in microseconds.
  [[nodiscard]] std::uint32_t wait_us();
  // Not that long, when a signal or a frame comes.
  void wait(std::uint32_t us);
  [[nodiscard]] IdleWait how() const { return how_; }

 private:
  static constexpr std::uint32_t kTurns = 64;

  bool monitor(std::uint64_t until);

  std::uint32_t longest_us_;
  std::uint32_t turns_ = 0;
  std::uint64_t ticks_per_us_;
  IdleWait how_;
  std::vector<RxQueue> queues_;
};

// Which share of its time an lcore spends on turns that do something, over windows of a second.
class BusyShare {
 public:
  explicit BusyShare(std::uint64_t ticks_per_second) : window_(ticks_per_second) {}

  // A span has ended at `now`, in ticks, and the next one begins; `worked`: it was work.
  void span(std::uint64_t now, bool worked, Counter& permille) {
    busy_ += worked ? now - last_ : 0;
    last_ = now;
    if (now - window_began_ >= window_) {
      permille.set(busy_ * 1000 / (now - window_began_));
      busy_ = 0;
      window_began_ = now;
    }
  }

 private:
  std::uint64_t window_;
  std::uint64_t window_began_ = 0;
  std::uint64_t last_ = 0;
  std::uint64_t busy_ = 0;
};

}  // namespace sluice
