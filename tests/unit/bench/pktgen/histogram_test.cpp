// SPDX-License-Identifier: Apache-2.0
#include "bench/pktgen/histogram.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace sluice::pktgen {
namespace {

TEST(Histogram, PercentilesAreThoseOfASortedListWithinASixtyFourth) {
  std::mt19937_64 rng(3);
  std::lognormal_distribution<double> latency(9, 2);
  Histogram histogram;
  std::vector<std::uint32_t> values;
  for (int i = 0; i < 100'000; ++i) {
    values.push_back(static_cast<std::uint32_t>(std::min(latency(rng), 4e9)));
    histogram.record(values.back());
  }
  std::sort(values.begin(), values.end());
  for (const double share : {0.001, 0.5, 0.9, 0.99, 0.999}) {
    const double exact = values[static_cast<std::size_t>(std::ceil(share * 100'000)) - 1];
    EXPECT_GE(histogram.percentile(share), exact);
    EXPECT_LE(histogram.percentile(share), exact * (1 + 1.0 / 64) + 1);
  }
  EXPECT_EQ(histogram.max(), values.back());
  EXPECT_EQ(histogram.percentile(1), values.back());
}

TEST(Histogram, KeepsSmallValuesAndTheLargestExactly) {
  for (const std::uint32_t value : {0U, 1U, 63U, 64U, 127U, 0xffff'ffffU}) {
    Histogram histogram;
    histogram.record(value);
    EXPECT_EQ(histogram.percentile(0.5), value);
    EXPECT_EQ(histogram.max(), value);
  }
}

TEST(Histogram, OfNothingSaysZero) {
  EXPECT_EQ(Histogram{}.percentile(0.99), 0U);
}

}  // namespace
}  // namespace sluice::pktgen
