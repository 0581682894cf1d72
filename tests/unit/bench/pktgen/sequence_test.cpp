// SPDX-License-Identifier: Apache-2.0
#include "bench/pktgen/sequence.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace sluice::pktgen {
namespace {

TEST(SequenceAccount, CountsWhatCameLateWithinItsOwnFlowOnly) {
  SequenceAccount account;
  account.begin(100, 2);
  std::uint64_t packet = 0;
  // Flow 0 has the even numbers, flow 1 the odd ones.
  for (const std::uint32_t sequence : {100U, 103U, 102U, 101U, 106U, 104U, 105U}) {
    ASSERT_TRUE(account.place(sequence, &packet));
    EXPECT_EQ(packet, sequence - 100U);
    account.see(sequence, sequence % 2);
  }
  EXPECT_EQ(account.received(), 7U);
  EXPECT_EQ(account.reordered(), 2U);  // 101 after 103, 104 after 106
}

TEST(SequenceAccount, LeavesOutWhatIsOfATrialBefore) {
  SequenceAccount account;
  account.begin(1'000, 1);
  std::uint64_t packet = 0;
  EXPECT_FALSE(account.place(999, &packet));
  EXPECT_TRUE(account.place(1'000, &packet));
  EXPECT_FALSE(account.place(0, &packet));
  EXPECT_EQ(account.stale(), 2U);
  EXPECT_EQ(account.received(), 0U);
}

TEST(SequenceAccount, GoesOnPastTheEndOfTheNumbers) {
  constexpr std::uint64_t kFirst = 0xffff'fff0ULL;
  SequenceAccount account;
  account.begin(kFirst, 1);
  std::uint64_t packet = 0;
  for (std::uint64_t i = 0; i < 64; ++i) {
    const auto sequence = static_cast<std::uint32_t>(kFirst + i);
    ASSERT_TRUE(account.place(sequence, &packet));
    EXPECT_EQ(packet, i);
    account.see(sequence, 0);
  }
  EXPECT_EQ(account.reordered(), 0U);
}

TEST(SequenceAccount, AgreesWithAModelOnShuffledArrivals) {
  constexpr std::uint32_t kSlots = 13;
  std::mt19937 rng(5);
  std::vector<std::uint32_t> arrivals(5'000);
  for (std::uint32_t i = 0; i < arrivals.size(); ++i) {
    arrivals[i] = i;
  }
  for (std::size_t i = 0; i + 40 < arrivals.size(); i += 7) {
    std::swap(arrivals[i], arrivals[i + rng() % 40]);
  }
  SequenceAccount account;
  account.begin(0, kSlots);
  std::map<std::uint32_t, std::uint32_t> highest;
  std::uint64_t reordered = 0;
  for (const std::uint32_t sequence : arrivals) {
    std::uint64_t packet = 0;
    ASSERT_TRUE(account.place(sequence, &packet));
    account.see(sequence, sequence % kSlots);
    const auto [at, first] = highest.try_emplace(sequence % kSlots, sequence);
    reordered += !first && sequence < at->second ? 1 : 0;
    at->second = std::max(at->second, sequence);
  }
  EXPECT_GT(reordered, 0U);
  EXPECT_EQ(account.reordered(), reordered);
  EXPECT_EQ(account.received(), arrivals.size());
}

}  // namespace
}  // namespace sluice::pktgen
