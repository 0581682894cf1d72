// SPDX-License-Identifier: Apache-2.0
#include "bench/pktgen/search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace sluice::pktgen {
namespace {

// A gateway that loses nothing up to `clean`, then a little (`slope` for a doubling), and above
// `capacity` all that is beyond it.
struct Device {
  double clean;
  double capacity;
  double slope = 0.002;
  unsigned trials = 0;
  unsigned hiccup_every = 0;  // trials: one in so many is disturbed from without

  LoadOutcome operator()(double rate) {
    ++trials;
    if (hiccup_every != 0 && trials % hiccup_every == 0) {
      return {0.05};
    }
    const double little = rate > clean ? slope * (rate - clean) / clean : 0;
    return {std::max(little, rate > capacity ? 1 - capacity / rate : 0)};
  }
};

RateSearch::Settings up_to(double rate) {
  RateSearch::Settings settings;
  settings.rate_max = rate;
  return settings;
}

TEST(RateSearch, FindsBothRatesWithinItsPrecision) {
  for (const double clean : {5e4, 1.7e6, 9.3e6, 19.9e6}) {
    Device device{clean, clean * 1.6};
    RateSearch search(up_to(40e6), std::ref(device));
    const double pdr = search.find(0.001, device.capacity);
    const double ndr = search.find(0, pdr);
    EXPECT_NEAR(pdr / (clean * 1.5), 1, 0.006);  // 0.1 % at one and a half
    EXPECT_LE(ndr, clean);
    EXPECT_NEAR(ndr / clean, 1, 0.006);
    EXPECT_FALSE(search.gave_up());
    EXPECT_LE(search.trials(), 60U);
  }
}

TEST(RateSearch, SaysZeroForADeviceThatLosesAlways) {
  Device device{1, 1};
  RateSearch search(up_to(10e6), std::ref(device));
  EXPECT_EQ(search.find(0, 5e6), 0);
}

TEST(RateSearch, StopsAtTheRateThatIsTheMost) {
  Device device{1e9, 1e9};
  RateSearch search(up_to(10e6), std::ref(device));
  EXPECT_EQ(search.find(0, 3e6), 10e6);
}

TEST(RateSearch, IsNotMisledByOneBadTrial) {
  Device device{8e6, 8e6};
  device.hiccup_every = 3;
  RateSearch search(up_to(20e6), std::ref(device));
  EXPECT_NEAR(search.find(0, 5e6) / 8e6, 1, 0.006);
}

// One packet in two thousand, in the first trial of each rate: good enough for the first goal.
TEST(RateSearch, IsNotMisledByALittleLossInATrialForTheGoalBefore) {
  Device device{8e6, 8e6};
  std::set<double> tried;
  const auto measure = [&](double rate) {
    return LoadOutcome{std::max(device(rate).loss_ratio, tried.insert(rate).second ? 0.0005 : 0)};
  };
  RateSearch search(up_to(20e6), measure);
  const double pdr = search.find(0.001, 6e6);
  EXPECT_NEAR(pdr / 8e6, 1, 0.006);
  EXPECT_NEAR(search.find(0, pdr) / 8e6, 1, 0.006);
}

TEST(RateSearch, MeasuresNothingTwiceThatItKnows) {
  Device device{8e6, 8e6};
  RateSearch search(up_to(20e6), std::ref(device));
  const double pdr = search.find(0.001, 8e6);
  const unsigned before = device.trials;
  EXPECT_NEAR(search.find(0, pdr) / pdr, 1, 0.006);  // the same knee
  EXPECT_LE(device.trials - before, 4U);
}

TEST(RateSearch, TellsWhenItsTrialsRanOut) {
  Device device{8e6, 8e6};
  RateSearch::Settings settings = up_to(20e6);
  settings.trials_max = 3;
  RateSearch search(settings, std::ref(device));
  EXPECT_LE(search.find(0, 5e6), 8e6);
  EXPECT_TRUE(search.gave_up());
}

}  // namespace
}  // namespace sluice::pktgen
