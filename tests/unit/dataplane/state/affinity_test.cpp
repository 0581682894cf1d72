// SPDX-License-Identifier: Apache-2.0
#include "dataplane/state/affinity.h"

#include <gtest/gtest.h>

namespace sluice {
namespace {

constexpr std::uint32_t kTimeout = 1'000;

IpAddress client(std::uint32_t number) {
  return IpAddress(Ipv4Address{Be32::from_host(0x0a00'0000U + number)});
}

TEST(Affinity, IsOfOneClientAndOneServicePort) {
  Affinity table(64);
  EXPECT_FALSE(table.remember(client(1), 7, {5, 2}, 100, kTimeout));
  EXPECT_EQ(table.find(client(1), 7, 100, kTimeout), (BindingRef{5, 2}));
  EXPECT_FALSE(table.find(client(2), 7, 100, kTimeout));
  EXPECT_FALSE(table.find(client(1), 8, 100, kTimeout));
}

TEST(Affinity, EndsAtItsTimeoutAlsoWhenTheClockWraps) {
  Affinity table(64);
  const std::uint32_t begun = 0xffff'ff00U;
  table.remember(client(1), 7, {5, 2}, begun, kTimeout);
  EXPECT_TRUE(table.find(client(1), 7, begun + kTimeout - 1, kTimeout));
  EXPECT_FALSE(table.find(client(1), 7, begun + kTimeout, kTimeout));
}

TEST(Affinity, RemembersTheLastBindingAndTheTimeOfIt) {
  Affinity table(4);
  table.remember(client(1), 7, {5, 2}, 100, kTimeout);
  EXPECT_FALSE(table.remember(client(1), 7, {6, 0}, 900, kTimeout));
  EXPECT_EQ(table.find(client(1), 7, 1'500, kTimeout), (BindingRef{6, 0}));
}

TEST(Affinity, AFullBucketGivesUpItsOldestAndSaysSo) {
  Affinity table(4);  // one bucket
  for (std::uint32_t i = 0; i < 4; ++i) {
    EXPECT_FALSE(table.remember(client(i), 7, BindingRef::make(i, 0), 100 + i, kTimeout));
  }
  table.remember(client(0), 7, {0, 0}, 200, kTimeout);
  EXPECT_TRUE(table.remember(client(9), 7, {9, 0}, 300, kTimeout));
  EXPECT_FALSE(table.find(client(1), 7, 300, kTimeout)) << "the oldest by now";
  EXPECT_TRUE(table.find(client(0), 7, 300, kTimeout));
  EXPECT_TRUE(table.find(client(9), 7, 300, kTimeout));
}

TEST(Affinity, WhatHasTimedOutGivesItsPlaceUncounted) {
  Affinity table(4);
  for (std::uint32_t i = 0; i < 4; ++i) {
    table.remember(client(i), 7, BindingRef::make(i, 0), 100, i == 2 ? 50 : kTimeout);
  }
  EXPECT_FALSE(table.remember(client(9), 7, {9, 0}, 150, kTimeout));
  EXPECT_TRUE(table.find(client(0), 7, 150, kTimeout));
}

}  // namespace
}  // namespace sluice
