// SPDX-License-Identifier: Apache-2.0
// An lcore that really stands still: a signal handler on its thread, in the middle of its loop.
#include "tests/unit/controlplane/runtime/null_gateway.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

namespace sluice::testing {
namespace {

using namespace std::chrono_literals;
using model::Code;

std::atomic<bool> held{false};
std::atomic<bool> standing{false};

void stand_still(int /*signal*/) {
  standing = true;
  while (held) {
    const timespec pause{0, 100'000};
    nanosleep(&pause, nullptr);
  }
  standing = false;
}

pid_t lcore_thread(unsigned lcore) {
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name;
    std::getline(std::ifstream(task.path() / "comm"), name);
    if (name == "lcore-worker-" + std::to_string(lcore) ||
        name == "rte-worker-" + std::to_string(lcore)) {
      return static_cast<pid_t>(std::stol(task.path().filename().string()));
    }
  }
  return -1;
}

// Its lcore never sleeps, so it stands still as one that may hold a snapshot.
model::Config awake_config() {
  model::Config config = null_config();
  config.idle_sleep_us = 0;
  return config;
}

// A process has one EAL, so the tests share the dataplane.
Dataplane& awake_dataplane() {
  static Dataplane dataplane(settings_of(awake_config()));
  static const bool started = [] {
    dataplane.publish(Snapshot::empty());
    dataplane.start([](std::uint8_t, const IpAddress&) {});
    std::signal(SIGUSR1, stand_still);
    return true;
  }();
  (void)started;
  return dataplane;
}

class StalledLcore : public ::testing::Test {
 protected:
  StalledLcore() { reconciler.start({}); }
  ~StalledLcore() override {
    release();
    reconciler.stop();
  }
  void stall() {
    held = true;
    ASSERT_EQ(syscall(SYS_tgkill, getpid(), lcore_thread(config.lcores[0]), SIGUSR1), 0);
    while (!standing) {
      std::this_thread::sleep_for(1ms);
    }
  }
  static void release() {
    held = false;
    while (standing) {
      std::this_thread::sleep_for(1ms);
    }
  }
  // The same service with another endpoint each time.
  model::Result<runtime::Applied> change(int number, std::chrono::milliseconds patience) {
    return reconciler.apply(
        transaction_of({service_of("web", "203.0.113.1", {"192.0.2." + std::to_string(number)})}),
        runtime::Reconciler::Clock::now() + patience);
  }

  model::Config config = awake_config();
  Dataplane& dataplane = awake_dataplane();
  runtime::Mailbox mailbox;
  runtime::Reconciler reconciler{config, dataplane, mailbox};
};

TEST_F(StalledLcore, HoldsBackAtMostSixtyFourSnapshotsAndTheRestIsFoldedIntoOne) {
  constexpr int kChanges = 40;
  constexpr std::size_t kMost = runtime::Reconciler::kUnreclaimedMax;
  ASSERT_TRUE(change(1, 5s));
  const std::uint64_t before = reconciler.status().epoch;
  ASSERT_NO_FATAL_FAILURE(stall());
  // Weights, so that no slot is used up; more of them than snapshots may wait.
  auto write = transaction_of({service_of("web", "203.0.113.1", {"192.0.2.1"})});
  for (std::size_t i = 0; i < 2 * kMost; ++i) {
    write.upsert[0].endpoints[0].weight = static_cast<std::uint16_t>(2 + i % 50);
    const auto applied = reconciler.apply(write, runtime::Reconciler::Clock::now() + 2ms);
    ASSERT_FALSE(applied);
    ASSERT_EQ(applied.error().code, Code::kDeadlineExceeded) << applied.error().message;
    ASSERT_LE(dataplane.unreclaimed(), kMost);
  }
  EXPECT_EQ(dataplane.unreclaimed(), kMost);
  EXPECT_EQ(reconciler.status().epoch, before + kMost) << "questions are answered meanwhile";
  for (int i = 2; i < kChanges; ++i) {
    ASSERT_FALSE(change(i, 2ms));
  }
  EXPECT_EQ(dataplane.unreclaimed(), kMost);

  release();
  const auto after = change(kChanges, 5s);
  ASSERT_TRUE(after) << after.error().message;
  EXPECT_LE(after->epoch, before + kMost + 2) << "all that was held back was one snapshot";
  EXPECT_EQ(dataplane.unreclaimed(), 0U);
  const auto view = reconciler.service("cli", {"default", "web"});
  ASSERT_TRUE(view);
  ASSERT_EQ(view->ports[0].endpoints.size(), 1U);
  EXPECT_EQ(view->ports[0].endpoints[0].endpoint.address,
            *parse_ip("192.0.2." + std::to_string(kChanges)));
}

TEST_F(StalledLcore, AWriterThatIsHeldBackHearsWhichLcoreIsMissing) {
  ASSERT_TRUE(change(1, 5s));
  ASSERT_NO_FATAL_FAILURE(stall());
  const auto applied = change(2, 20ms);
  ASSERT_FALSE(applied);
  EXPECT_EQ(applied.error().message,
            "committed, lcore " + std::to_string(config.lcores[0]) + " not confirmed");
}

}  // namespace
}  // namespace sluice::testing
