// SPDX-License-Identifier: Apache-2.0
#include "dataplane/lcore/idle.h"

#include "dataplane/lcore/dataplane.h"

#include <gtest/gtest.h>

#include <chrono>

namespace sluice {
namespace {

constexpr WaitMeans kNothing{};
constexpr WaitMeans kPauses{.pause = true};
constexpr WaitMeans kMonitorsOne{.pause = true, .monitor = true, .queues_tell = true};
constexpr WaitMeans kMonitorsAll{
    .pause = true, .monitor = true, .monitor_multi = true, .queues_tell = true};
constexpr WaitMeans kSilentQueues{.pause = true, .monitor = true, .monitor_multi = true};

TEST(ResolveIdleWait, TakesTheBestOfWhatCpuAndQueuesCan) {
  struct Case {
    WaitMeans means;
    std::size_t queues;
    IdleWait expected;
  };
  for (const Case& one : {Case{kNothing, 1, IdleWait::kSleep}, Case{kPauses, 1, IdleWait::kPause},
                          Case{kMonitorsOne, 1, IdleWait::kMonitor},
                          Case{kMonitorsOne, 2, IdleWait::kPause},
                          Case{kMonitorsAll, 2, IdleWait::kMonitor},
                          Case{kSilentQueues, 1, IdleWait::kPause}}) {
    EXPECT_EQ(resolve(IdleWait::kAuto, one.means, one.queues), one.expected);
    EXPECT_EQ(resolve(IdleWait::kSleep, one.means, one.queues), IdleWait::kSleep);
  }
  EXPECT_EQ(resolve(IdleWait::kPause, kMonitorsAll, 2), IdleWait::kPause);
  EXPECT_EQ(resolve(IdleWait::kMonitor, kMonitorsOne, 1), IdleWait::kMonitor);
}

std::string fault_of(IdleWait wanted, const WaitMeans& means, std::size_t queues) {
  try {
    static_cast<void>(resolve(wanted, means, queues));
    return "";
  } catch (const StartFault& fault) {
    return fault.what();
  }
}

TEST(ResolveIdleWait, RefusesWhatWasNamedAndIsNotThere) {
  EXPECT_EQ(fault_of(IdleWait::kPause, kNothing, 1),
            "dataplane.idle_wait: this CPU has no TPAUSE to pause with; use auto");
  EXPECT_EQ(fault_of(IdleWait::kMonitor, kPauses, 1),
            "dataplane.idle_wait: this CPU has no UMWAIT to monitor with; use auto");
  const std::string queues =
      "dataplane.idle_wait: monitor needs devices whose receive queues can be monitored, and a CPU "
      "that monitors as many; use auto";
  EXPECT_EQ(fault_of(IdleWait::kMonitor, kMonitorsOne, 2), queues);
  EXPECT_EQ(fault_of(IdleWait::kMonitor, kSilentQueues, 1), queues);
}

TEST(Idle, WaitsNotAtOnceThenEverLongerUpToItsBound) {
  Idle idle(IdleWait::kSleep, 100, {});
  for (int round = 0; round < 2; ++round) {
    for (int turn = 0; turn < 64; ++turn) {
      EXPECT_EQ(idle.wait_us(), 0U);
    }
    for (const std::uint32_t us : {1U, 2U, 4U, 8U, 16U, 32U, 64U, 100U, 100U}) {
      EXPECT_EQ(idle.wait_us(), us);
    }
    for (int turn = 0; turn < 100; ++turn) {
      EXPECT_EQ(idle.wait_us(), 100U);
    }
    idle.worked();
  }
}

TEST(Idle, WithoutABoundNeverWaits) {
  Idle idle(IdleWait::kSleep, 0, {});
  for (int turn = 0; turn < 1'000; ++turn) {
    EXPECT_EQ(idle.wait_us(), 0U);
  }
}

TEST(Idle, WaitsForAsLongAsItSays) {
  Idle idle(IdleWait::kSleep, 100, {});
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 100; ++i) {
    idle.wait(100);
  }
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(10));
}

TEST(BusyShare, IsTheTimeOfSpansThatDidSomething) {
  BusyShare share(1'000);
  Counter permille;
  std::uint64_t now = 1'000'000;
  share.span(now, false, permille);
  for (int i = 0; i < 10; ++i) {  // a quarter of the time, in spans three times as short
    share.span(now += 75, false, permille);
    share.span(now += 25, true, permille);
  }
  EXPECT_EQ(permille.get(), 250U);
  share.span(now += 999, true, permille);
  EXPECT_EQ(permille.get(), 250U) << "until the window is over";
  share.span(now += 1, false, permille);
  EXPECT_EQ(permille.get(), 999U);
}

}  // namespace
}  // namespace sluice
