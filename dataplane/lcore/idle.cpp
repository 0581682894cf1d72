// SPDX-License-Identifier: Apache-2.0
#include "dataplane/lcore/idle.h"

#include "dataplane/lcore/dataplane.h"

#include <rte_cpuflags.h>
#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_power_intrinsics.h>

#include <algorithm>
#include <array>
#include <ctime>

namespace sluice {

WaitMeans WaitMeans::of(const std::vector<RxQueue>& queues) {
  rte_cpu_intrinsics cpu{};
  rte_cpu_get_intrinsics_support(&cpu);
  const auto tells = [](const RxQueue& queue) {
    rte_power_monitor_cond condition{};
    return rte_eth_get_monitor_addr(queue.device, queue.queue, &condition) == 0;
  };
  return {.pause = cpu.power_pause != 0,
          .monitor = cpu.power_monitor != 0,
          .monitor_multi = cpu.power_monitor_multi != 0,
          .queues_tell = !queues.empty() && std::all_of(queues.begin(), queues.end(), tells)};
}

IdleWait resolve(IdleWait wanted, const WaitMeans& means, std::size_t queues) {
  const bool monitor =
      means.queues_tell && (queues > 1 ? means.monitor_multi : means.monitor) && queues <= kPortsMax;
  if (wanted == IdleWait::kMonitor && !monitor) {
    throw StartFault(means.monitor
                         ? "dataplane.idle_wait: monitor needs devices whose receive queues can be "
                           "monitored, and a CPU that monitors as many; use auto"
                         : "dataplane.idle_wait: this CPU has no UMWAIT to monitor with; use auto");
  }
  if (wanted == IdleWait::kPause && !means.pause) {
    throw StartFault("dataplane.idle_wait: this CPU has no TPAUSE to pause with; use auto");
  }
  if (wanted != IdleWait::kAuto) {
    return wanted;
  }
  return monitor ? IdleWait::kMonitor : means.pause ? IdleWait::kPause : IdleWait::kSleep;
}

std::string text_of(IdleWait how) {
  switch (how) {
    case IdleWait::kPause:
      return "pauses (TPAUSE)";
    case IdleWait::kMonitor:
      return "monitors its queues (UMWAIT)";
    default:
      return "sleeps";
  }
}

Idle::Idle(IdleWait wanted, std::uint32_t longest_us, std::vector<RxQueue> queues)
    : longest_us_(longest_us),
      ticks_per_us_(rte_get_tsc_hz() / 1'000'000),
      how_(resolve(wanted, WaitMeans::of(queues), queues.size())),
      queues_(std::move(queues)) {}

std::uint32_t Idle::wait_us() {
  constexpr std::uint32_t kDoublingsMax = 10;
  if (longest_us_ == 0 || ++turns_ <= kTurns) {
    return 0;
  }
  return std::min(longest_us_, 1U << std::min(turns_ - kTurns - 1, kDoublingsMax));
}

void Idle::wait(std::uint32_t us) {
  const std::uint64_t until = rte_rdtsc() + us * ticks_per_us_;
  if (how_ == IdleWait::kMonitor && monitor(until)) {
    return;
  }
  if (how_ != IdleWait::kSleep && rte_power_pause(until) == 0) {
    return;
  }
  const timespec pause{0, static_cast<long>(us) * 1000};
  nanosleep(&pause, nullptr);
}

// False when a queue says nothing now. Each is asked anew, as the descriptor to watch moves on.
bool Idle::monitor(std::uint64_t until) {
  std::array<rte_power_monitor_cond, kPortsMax> conditions{};
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    if (rte_eth_get_monitor_addr(queues_[i].device, queues_[i].queue, &conditions[i]) != 0) {
      return false;
    }
  }
  return queues_.size() == 1
             ? rte_power_monitor(conditions.data(), until) == 0
             : rte_power_monitor_multi(conditions.data(),
                                       static_cast<std::uint32_t>(queues_.size()), until) == 0;
}

}  // namespace sluice
