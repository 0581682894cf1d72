// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/backoff.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace sluice::kubernetes {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr std::uint64_t kSeeds = 200;
// Any time that is not near the clock's beginning.
constexpr Backoff::Clock::time_point kNow{hours(24)};

// Of the `nth` try in a row, counted from 0, over many seeds.
struct Range {
  milliseconds least;
  milliseconds most;
};
Range range_of(int nth) {
  Range range{milliseconds::max(), milliseconds::min()};
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    Backoff backoff(seed);
    milliseconds time{};
    for (int i = 0; i <= nth; ++i) {
      time = backoff.next(kNow + seconds(i));
    }
    range = {std::min(range.least, time), std::max(range.most, time)};
  }
  return range;
}

TEST(Backoff, TimesDoubleUpToHalfAMinuteAndUpToAsMuchAgainByChance) {
  const milliseconds bases[] = {milliseconds(800),    milliseconds(1'600),  milliseconds(3'200),
                                milliseconds(6'400),  milliseconds(12'800), milliseconds(25'600),
                                milliseconds(30'000), milliseconds(30'000)};
  int nth = 0;
  for (const milliseconds base : bases) {
    const Range range = range_of(nth++);
    EXPECT_GE(range.least, base);
    EXPECT_LE(range.most, 2 * base);
    // Chance takes all of the range, or many clients would come at once.
    EXPECT_LT(range.least, base + base / 10);
    EXPECT_GT(range.most, 2 * base - base / 10);
  }
}

TEST(Backoff, NoNumberOfTriesMakesItLongerThanAMinute) {
  Backoff backoff(1);
  auto now = kNow;
  for (int i = 0; i < 1000; ++i) {
    const milliseconds time = backoff.next(now);
    ASSERT_GE(time, milliseconds(800));
    ASSERT_LE(time, seconds(60));
    now += time;  // waited for: at most a minute, so that it is never quiet
    ASSERT_TRUE(i < 6 || time >= seconds(30)) << i;
  }
}

TEST(Backoff, AfterTwoQuietMinutesItBeginsAnew) {
  const auto after = [](Backoff::Clock::duration quiet) {
    Backoff backoff(7);
    for (int i = 0; i < 10; ++i) {
      backoff.next(kNow);
    }
    return backoff.next(kNow + quiet);
  };
  EXPECT_GE(after(seconds(0)), seconds(30));
  EXPECT_GE(after(seconds(61)), seconds(30));
  EXPECT_GE(after(minutes(2)), seconds(30));
  EXPECT_LE(after(minutes(2) + milliseconds(1)), milliseconds(1'600));
  EXPECT_LE(after(hours(24)), milliseconds(1'600));
}

TEST(Backoff, AfterAQuietTimeItDoublesFromTheStart) {
  Backoff backoff(7);
  for (int i = 0; i < 10; ++i) {
    backoff.next(kNow);
  }
  backoff.next(kNow + minutes(3));
  const milliseconds second = backoff.next(kNow + minutes(3));
  EXPECT_GE(second, milliseconds(1'600));
  EXPECT_LE(second, milliseconds(3'200));
}

TEST(Backoff, TheFirstTimeIsTheShortestHoweverYoungTheClockIs) {
  for (const auto now : {Backoff::Clock::time_point{}, Backoff::Clock::time_point{seconds(1)}}) {
    EXPECT_LE(Backoff(3).next(now), milliseconds(1'600));
  }
}

TEST(Backoff, WhatTheServerAskedForIsTheLeast) {
  EXPECT_EQ(Backoff(1).next(kNow, seconds(90)), seconds(90));
  Backoff backoff(1);
  EXPECT_EQ(Backoff(1).next(kNow, milliseconds(1)), backoff.next(kNow));
  for (int i = 0; i < 10; ++i) {
    EXPECT_GE(backoff.next(kNow, seconds(1)), seconds(1));
  }
}

TEST(Backoff, WhatTheServerAskedForOnceIsNotKept) {
  Backoff backoff(1);
  EXPECT_EQ(backoff.next(kNow, seconds(100)), seconds(100));
  EXPECT_LE(backoff.next(kNow + seconds(100)), milliseconds(3'200));
}

TEST(Backoff, TwoClientsDoNotComeTogether) {
  std::set<milliseconds> times;
  for (int i = 0; i < 20; ++i) {
    times.insert(Backoff().next(kNow));
  }
  EXPECT_GT(times.size(), 5U);
}

}  // namespace
}  // namespace sluice::kubernetes
