// SPDX-License-Identifier: Apache-2.0
// Readers and a writer on the real thing; the thread sanitizer watches.
#include "dataplane/lcore/rcu.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <latch>
#include <mutex>
#include <thread>

namespace sluice {
namespace {

using namespace std::chrono_literals;

// Snapshots that tell when they were let go: their words are overwritten then, and the memory is
// kept until the end, so that a reader who came too late reads poison.
class Snapshots {
 public:
  static constexpr std::uint64_t kPoison = 0xdead'dead'dead'deadULL;

  std::shared_ptr<const Snapshot> make(std::uint64_t epoch) {
    auto owned = std::make_unique<Snapshot>();
    owned->epoch = epoch;
    owned->maglev_seed = ~epoch;
    Snapshot* made = owned.get();
    const std::lock_guard lock(mutex_);
    all_.push_back(std::move(owned));
    return {made, [this](Snapshot* snapshot) {
              snapshot->epoch = kPoison;
              snapshot->maglev_seed = kPoison;
              freed_.fetch_add(1, std::memory_order_relaxed);
            }};
  }
  [[nodiscard]] std::uint64_t freed() const { return freed_.load(std::memory_order_relaxed); }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Snapshot>> all_;
  std::atomic<std::uint64_t> freed_{0};
};

bool confirmed_within(SnapshotRcu& rcu, std::uint64_t ticket, std::chrono::milliseconds time) {
  const auto deadline = std::chrono::steady_clock::now() + time;
  while (!rcu.confirmed(ticket)) {
    if (std::chrono::steady_clock::now() > deadline) {
      return false;
    }
    std::this_thread::yield();
  }
  return true;
}

// What one reader saw; written by it, read when it has been joined.
struct Seen {
  std::uint64_t turns = 0;
  std::uint64_t last = 0;
  std::uint64_t backwards = 0;
  std::uint64_t dead = 0;
};

// As a worker does it: a snapshot a turn, and now and then a nap.
void read_until(SnapshotRcu& rcu, unsigned reader, std::latch& joined,
                const std::atomic<bool>& stop, Seen& seen) {
  rcu.join(reader);
  joined.arrive_and_wait();
  while (!stop.load(std::memory_order_relaxed)) {
    const Snapshot& snapshot = rcu.read();
    const std::uint64_t epoch = snapshot.epoch;
    seen.backwards += epoch < seen.last ? 1 : 0;
    for (int look = 0; look < 100; ++look) {
      std::atomic_signal_fence(std::memory_order_seq_cst);  // so that each look is a load
      seen.dead += snapshot.epoch != epoch || snapshot.maglev_seed != ~epoch ? 1 : 0;
    }
    seen.last = epoch;
    rcu.quiescent(reader);
    if (++seen.turns % 512 == 0) {
      rcu.offline(reader);
      std::this_thread::yield();
      rcu.online(reader);
    }
  }
  rcu.leave(reader);
}

TEST(SnapshotRcu, ReadersSeeLivingSnapshotsOnlyAndNeverAnOlderOneAgain) {
  constexpr std::uint64_t kPublications = 20'000;
  Snapshots snapshots;
  SnapshotRcu rcu(2);
  rcu.publish(snapshots.make(1));
  std::latch joined(3);
  std::atomic<bool> stop{false};
  std::array<Seen, 2> seen;
  std::vector<std::thread> readers;
  for (unsigned reader = 0; reader < 2; ++reader) {
    readers.emplace_back(read_until, std::ref(rcu), reader, std::ref(joined), std::cref(stop),
                         std::ref(seen[reader]));
  }
  joined.arrive_and_wait();
  std::uint64_t ticket = 0;
  for (std::uint64_t epoch = 2; epoch <= kPublications; ++epoch) {
    ticket = rcu.publish(snapshots.make(epoch));
    if (epoch % 50 == 0) {
      EXPECT_TRUE(confirmed_within(rcu, ticket, 10s)) << "epoch " << epoch;
    }
  }
  EXPECT_TRUE(confirmed_within(rcu, ticket, 10s));
  EXPECT_EQ(snapshots.freed(), kPublications - 1) << "all but the one in use";
  stop.store(true, std::memory_order_relaxed);
  for (std::thread& reader : readers) {
    reader.join();
  }
  for (const Seen& reader : seen) {
    EXPECT_GT(reader.turns, 0U);
    EXPECT_EQ(reader.backwards, 0U);
    EXPECT_EQ(reader.dead, 0U);
  }
}

// The rest goes step by step, one thread in the place of all: QSBR asks only who reports what.
TEST(SnapshotRcu, KeepsASnapshotUntilTheReaderThatMayHoldItHasReported) {
  Snapshots snapshots;
  SnapshotRcu rcu(1);
  rcu.publish(snapshots.make(1));
  rcu.join(0);
  const Snapshot& held = rcu.read();
  const std::uint64_t ticket = rcu.publish(snapshots.make(2));
  EXPECT_FALSE(rcu.confirmed(ticket));
  EXPECT_EQ(held.epoch, 1U);
  EXPECT_EQ(rcu.read().epoch, 2U) << "who reads anew sees the new one at once";
  rcu.quiescent(0);
  EXPECT_TRUE(rcu.confirmed(ticket));
  EXPECT_EQ(snapshots.freed(), 1U);
  EXPECT_EQ(held.epoch, Snapshots::kPoison);
  rcu.leave(0);
}

TEST(SnapshotRcu, AQuietReportBeforeThePublicationConfirmsNothing) {
  Snapshots snapshots;
  SnapshotRcu rcu(1);
  rcu.publish(snapshots.make(1));
  rcu.join(0);
  rcu.quiescent(0);
  EXPECT_FALSE(rcu.confirmed(rcu.publish(snapshots.make(2))));
  rcu.leave(0);
}

TEST(SnapshotRcu, AReaderThatIsOnlineAndSilentDelaysConfirmationAlone) {
  Snapshots snapshots;
  SnapshotRcu rcu(2);
  rcu.publish(snapshots.make(1));
  rcu.join(0);
  rcu.join(1);
  const std::uint64_t ticket = rcu.publish(snapshots.make(2));
  rcu.quiescent(0);
  EXPECT_FALSE(confirmed_within(rcu, ticket, 20ms));
  EXPECT_EQ(snapshots.freed(), 0U);
  rcu.quiescent(1);
  EXPECT_TRUE(rcu.confirmed(ticket));
  rcu.leave(0);
  rcu.leave(1);
}

TEST(SnapshotRcu, AReaderThatIsOfflineDelaysNothing) {
  Snapshots snapshots;
  SnapshotRcu rcu(2);
  rcu.publish(snapshots.make(1));
  rcu.join(0);
  rcu.join(1);
  rcu.offline(1);
  const std::uint64_t ticket = rcu.publish(snapshots.make(2));
  rcu.quiescent(0);
  EXPECT_TRUE(rcu.confirmed(ticket));
  EXPECT_EQ(snapshots.freed(), 1U);
  rcu.online(1);
  EXPECT_EQ(rcu.read().epoch, 2U);
  EXPECT_FALSE(rcu.confirmed(rcu.publish(snapshots.make(3)))) << "it counts again";
  rcu.leave(0);
  rcu.leave(1);
}

TEST(SnapshotRcu, AReaderThatNeverJoinedOrHasLeftDelaysNothing) {
  Snapshots snapshots;
  SnapshotRcu rcu(2);
  EXPECT_TRUE(rcu.confirmed(rcu.publish(snapshots.make(1))));
  rcu.join(0);
  rcu.leave(0);
  EXPECT_TRUE(rcu.confirmed(rcu.publish(snapshots.make(2))));
  EXPECT_EQ(snapshots.freed(), 1U);
}

TEST(SnapshotRcu, ConfirmsPublicationsInTheirOrder) {
  Snapshots snapshots;
  SnapshotRcu rcu(1);
  rcu.publish(snapshots.make(1));
  rcu.join(0);
  const std::uint64_t first = rcu.publish(snapshots.make(2));
  rcu.quiescent(0);
  const std::uint64_t second = rcu.publish(snapshots.make(3));
  EXPECT_TRUE(rcu.confirmed(first));
  EXPECT_FALSE(rcu.confirmed(second));
  EXPECT_EQ(snapshots.freed(), 1U);
  rcu.quiescent(0);
  EXPECT_TRUE(rcu.confirmed(second));
  EXPECT_EQ(snapshots.freed(), 2U);
  rcu.leave(0);
}

TEST(SnapshotRcu, TellsHowManySnapshotsWaitForAReader) {
  Snapshots snapshots;
  SnapshotRcu rcu(1);
  rcu.publish(snapshots.make(1));
  rcu.join(0);
  EXPECT_EQ(rcu.unreclaimed(), 0U);
  rcu.publish(snapshots.make(2));
  rcu.publish(snapshots.make(3));
  EXPECT_EQ(rcu.unreclaimed(), 2U);
  rcu.quiescent(0);
  EXPECT_EQ(rcu.unreclaimed(), 0U);
  EXPECT_EQ(snapshots.freed(), 2U);
  rcu.leave(0);
}

TEST(SnapshotRcu, LetsGoOfEverythingAtItsEnd) {
  Snapshots snapshots;
  {
    SnapshotRcu rcu(1);
    rcu.publish(snapshots.make(1));
    rcu.join(0);
    rcu.publish(snapshots.make(2));
    rcu.publish(snapshots.make(3));
    rcu.leave(0);
  }
  EXPECT_EQ(snapshots.freed(), 3U);
}

}  // namespace
}  // namespace sluice
