// SPDX-License-Identifier: Apache-2.0
#include "bench/pktgen/schedule.h"

#include "tests/unit/bench/pktgen/traffic_cases.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <map>
#include <set>

namespace sluice::pktgen {
namespace {

Traffic with(std::uint32_t flows, Pattern pattern) {
  Traffic traffic = traffic_of(Family::kIpv4, kProtocolUdp);
  traffic.flows = flows;
  traffic.pattern = pattern;
  return traffic;
}

TEST(Schedule, VisitsEachFlowOnceARoundAndAgainInTheSameOrder) {
  for (const Pattern pattern : {Pattern::kSequential, Pattern::kShuffled}) {
    const Schedule schedule(with(1'000, pattern), 7);
    std::set<std::uint32_t> seen;
    for (std::uint64_t packet = 0; packet < 1'000; ++packet) {
      const auto place = schedule.at(packet);
      EXPECT_EQ(place.flow, place.slot);
      EXPECT_EQ(place.flow, schedule.at(packet + 1'000).flow);
      EXPECT_FALSE(place.opens);
      seen.insert(place.flow);
    }
    EXPECT_EQ(seen.size(), 1'000U);
  }
}

TEST(Schedule, ShufflesByItsSeedAlone) {
  const Schedule one(with(1'000, Pattern::kShuffled), 7);
  const Schedule same(with(1'000, Pattern::kShuffled), 7);
  const Schedule other(with(1'000, Pattern::kShuffled), 8);
  unsigned equal = 0;
  for (std::uint64_t packet = 0; packet < 1'000; ++packet) {
    EXPECT_EQ(one.at(packet).flow, same.at(packet).flow);
    equal += one.at(packet).flow == other.at(packet).flow ? 1 : 0;
  }
  EXPECT_LT(equal, 20U);
}

TEST(Schedule, FollowsZipfsLaw) {
  Traffic traffic = with(1'000, Pattern::kZipf);
  traffic.zipf_exponent = 1.2;
  const Schedule schedule(traffic, 7);
  constexpr std::uint64_t kPackets = 2'000'000;
  std::vector<double> counts(1'000);
  for (std::uint64_t packet = 0; packet < kPackets; ++packet) {
    ++counts[schedule.at(packet).flow];
  }
  double norm = 0;
  for (int rank = 1; rank <= 1'000; ++rank) {
    norm += std::pow(rank, -1.2);
  }
  for (const std::size_t rank : {0U, 1U, 9U, 99U}) {
    const double expected = kPackets * std::pow(static_cast<double>(rank) + 1, -1.2) / norm;
    EXPECT_NEAR(counts[rank] / expected, 1, 0.1) << rank;
  }
}

// The model: slots with the flow in each, changed when its first packet is older than kSettling, or
// when a trial ends.
TEST(Schedule, OpensFlowsAtTheRateAskedForEachInTheOldestsPlace) {
  constexpr std::uint32_t kFlows = 100;
  Schedule schedule(with(kFlows, Pattern::kShuffled), 7);
  std::vector<std::uint32_t> slots(kFlows);
  for (std::uint32_t slot = 0; slot < kFlows; ++slot) {
    slots[slot] = slot;
  }
  std::uint32_t next = kFlows;
  std::uint64_t before = 0;
  for (const double ratio : {0.03125, 0.0, 0.3}) {
    schedule.begin(ratio, before);
    constexpr std::uint64_t kPackets = 20'000;
    std::uint32_t opened = 0;
    std::deque<std::pair<std::uint64_t, std::uint32_t>> settling;  // since which packet, a flow
    for (std::uint64_t packet = 0; packet < kPackets; ++packet) {
      const auto place = schedule.at(packet);
      if (place.opens) {
        ++opened;
        EXPECT_EQ(place.flow, next++);
        EXPECT_EQ(place.slot, place.flow % kFlows);
        settling.emplace_back(packet, place.flow);
        continue;
      }
      while (!settling.empty() && packet - settling.front().first > Schedule::kSettling) {
        slots[settling.front().second % kFlows] = settling.front().second;
        settling.pop_front();
      }
      ASSERT_EQ(place.flow, slots[place.slot]) << packet;
    }
    for (const auto& [since, flow] : settling) {
      slots[flow % kFlows] = flow;
    }
    EXPECT_NEAR(opened, ratio * kPackets, 1);
    before = kPackets;
  }
}

TEST(Schedule, OfSynsAloneNeverRepeatsAFlowSoon) {
  Schedule schedule(with(100, Pattern::kSequential), 7);
  schedule.begin(1, 0);
  std::set<std::uint32_t> seen;
  for (std::uint64_t packet = 0; packet < 50'000; ++packet) {
    const auto place = schedule.at(packet);
    EXPECT_TRUE(place.opens);
    seen.insert(place.flow);
  }
  EXPECT_EQ(seen.size(), 50'000U);
}

TEST(Walk, SaysWhatTheScheduleSaysInAnyOrder) {
  Schedule schedule(with(97, Pattern::kShuffled), 7);
  schedule.begin(0.1, 0);
  Walk walk(schedule);
  std::uint64_t packet = 0;
  for (std::uint32_t i = 0; i < 10'000; ++i) {
    const std::uint32_t jump = i * 0x9e37'79b1U >> 28U;
    packet = jump == 0 ? packet / 2 : jump == 1 ? packet + 50 : packet + 1;
    EXPECT_EQ(walk.at(packet).flow, schedule.at(packet).flow);
  }
}

TEST(ClientSide, IsDifferentForEachFlow) {
  std::set<std::pair<std::uint32_t, std::uint16_t>> seen;
  for (std::uint32_t flow = 0; flow < 200'000; ++flow) {
    const ClientSide side = client_side(flow, 8);
    EXPECT_LT(side.address_offset, 8U);
    EXPECT_GE(side.port, kFirstClientPort);
    seen.emplace(side.address_offset, side.port);
  }
  EXPECT_EQ(seen.size(), 200'000U);
}

TEST(SizeRound, HasEachSizeInItsShareAndSpreadOut) {
  const auto round = size_round({{60, 7}, {590, 4}, {1514, 1}});
  ASSERT_EQ(round.size(), 12U);
  EXPECT_EQ(std::count(round.begin(), round.end(), 0), 7);
  EXPECT_EQ(std::count(round.begin(), round.end(), 1), 4);
  EXPECT_EQ(std::count(round.begin(), round.end(), 2), 1);
  EXPECT_EQ(std::search_n(round.begin(), round.end(), 4, 0), round.end());
}

}  // namespace
}  // namespace sluice::pktgen
