// SPDX-License-Identifier: Apache-2.0
#include "controlplane/model/slots.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace sluice::model {
namespace {

const auto kIdle = [](std::uint32_t) { return true; };
const auto kBusy = [](std::uint32_t) { return false; };

TEST(Slots, ZeroIsNeverHandedOutAndTheLimitHolds) {
  Slots slots(4);
  EXPECT_EQ(slots.take(), 1U);
  EXPECT_EQ(slots.take(), 2U);
  EXPECT_EQ(slots.take(), 3U);
  EXPECT_FALSE(slots.take());
}

TEST(Slots, ANumberRestsUntilItIsSeenToBeIdle) {
  Slots slots(2);
  slots.take();
  slots.give_back(1, 10);
  EXPECT_FALSE(slots.take());
  slots.reclaim(9, kIdle);
  EXPECT_FALSE(slots.take()) << "an lcore may not have seen epoch 10";
  slots.reclaim(10, kBusy);
  EXPECT_FALSE(slots.take()) << "a flow is on it";
  EXPECT_TRUE(slots.any_resting());
  slots.reclaim(10, kIdle);
  EXPECT_EQ(slots.take(), 1U);
  EXPECT_FALSE(slots.any_resting());
}

TEST(Slots, NoNumberIsHeldTwice) {
  for (std::uint32_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    Slots slots(16);
    std::map<std::uint32_t, std::uint64_t> held;     // taken
    std::map<std::uint32_t, std::uint64_t> resting;  // and since which epoch
    for (std::uint64_t epoch = 1; epoch < 500; ++epoch) {
      if (random() % 2 == 0) {
        const auto slot = slots.take();
        ASSERT_EQ(slot.has_value(), held.size() + resting.size() < 15 || slot);
        if (slot) {
          ASSERT_TRUE(held.emplace(*slot, epoch).second);
          ASSERT_FALSE(resting.contains(*slot));
        }
      } else if (!held.empty()) {
        const auto at = std::next(held.begin(), static_cast<long>(random() % held.size()));
        slots.give_back(at->first, epoch);
        resting[at->first] = epoch;
        held.erase(at);
      }
      const std::uint64_t seen = epoch - random() % 5;
      const auto idle = [&](std::uint32_t slot) { return slot % 3 != epoch % 3; };
      slots.reclaim(seen, idle);
      std::erase_if(resting,
                    [&](const auto& entry) { return entry.second <= seen && idle(entry.first); });
    }
  }
}

}  // namespace
}  // namespace sluice::model
