// SPDX-License-Identifier: Apache-2.0
#include "dataplane/snapshot/next_hops.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

namespace sluice {
namespace {

constexpr std::uint32_t kChunk = NextHopTable::kChunk;

IpAddress nth_address(std::uint32_t n) {
  return IpAddress(Ipv4Address{Be32::from_host(0x0a000001U + n)});
}

NextHop make_next_hop(std::uint8_t port, std::uint32_t n, std::uint8_t mac = 1) {
  NextHop next_hop;
  next_hop.port = port;
  next_hop.address = nth_address(n);
  next_hop.state = NextHop::State::kReachable;
  next_hop.header.destination = MacAddress{{2, 0, 0, 0, 0, mac}};
  return next_hop;
}

using Changes = std::vector<NextHopTable::Change>;

TEST(NextHopTable, IndicesNeverSetAreUnresolved) {
  const NextHopTable table;
  for (const std::uint32_t index : {0U, 1U, 255U, 256U, 65'535U}) {
    const NextHop& next_hop = table.at(static_cast<NextHopIndex>(index));
    EXPECT_EQ(next_hop.state, NextHop::State::kUnresolved) << index;
    EXPECT_EQ(next_hop.port, 0) << index;
  }
  EXPECT_EQ(table.find(0, nth_address(0)), kNoNextHop);
  EXPECT_EQ(table.find(0, IpAddress{}), kNoNextHop);
}

TEST(NextHopTable, TheFirstAndTheLastIndexCanBeUsed) {
  const NextHopTable table =
      NextHopTable{}.with(Changes{{1, make_next_hop(0, 1)}, {65'535, make_next_hop(0, 2)}});
  EXPECT_EQ(table.find(0, nth_address(1)), 1);
  EXPECT_EQ(table.find(0, nth_address(2)), 65'535);
  EXPECT_EQ(table.at(65'535).address, nth_address(2));
}

TEST(NextHopTable, TheSameNeighbourOnAnotherPortIsAnother) {
  const NextHopTable table =
      NextHopTable{}.with(Changes{{1, make_next_hop(0, 5)}, {2, make_next_hop(1, 5)}});
  EXPECT_EQ(table.find(0, nth_address(5)), 1);
  EXPECT_EQ(table.find(1, nth_address(5)), 2);
  EXPECT_EQ(table.find(2, nth_address(5)), kNoNextHop);
}

TEST(NextHopTable, ANeighbourThatMovesKeepsItsIndex) {
  const NextHopTable before = NextHopTable{}.with(Changes{{9, make_next_hop(0, 5, 1)}});
  const NextHopTable after = before.with(Changes{{9, make_next_hop(0, 5, 2)}});
  EXPECT_EQ(after.find(0, nth_address(5)), 9);
  EXPECT_EQ(after.at(9).header.destination.bytes[5], 2);
  EXPECT_EQ(before.at(9).header.destination.bytes[5], 1);
}

TEST(NextHopTable, AnIndexGivenToAnotherNeighbourForgetsTheFormer) {
  const NextHopTable before = NextHopTable{}.with(Changes{{9, make_next_hop(0, 5)}});
  const NextHopTable after = before.with(Changes{{9, make_next_hop(0, 6)}});
  EXPECT_EQ(after.find(0, nth_address(5)), kNoNextHop);
  EXPECT_EQ(after.find(0, nth_address(6)), 9);
  EXPECT_EQ(before.find(0, nth_address(5)), 9);
}

TEST(NextHopTable, AnIndexThatIsClearedForgetsItsNeighbour) {
  const NextHopTable before = NextHopTable{}.with(Changes{{9, make_next_hop(0, 5)}});
  const NextHopTable after = before.with(Changes{{9, NextHop{}}});
  EXPECT_EQ(after.find(0, nth_address(5)), kNoNextHop);
  EXPECT_EQ(after.find(0, IpAddress{}), kNoNextHop);
  EXPECT_EQ(after.at(9).state, NextHop::State::kUnresolved);
}

// Whatever the order in which one call names them.
TEST(NextHopTable, NeighboursCanSwapIndicesInOneCall) {
  const NextHopTable before =
      NextHopTable{}.with(Changes{{5, make_next_hop(0, 100)}, {6, make_next_hop(0, 200)}});
  for (const Changes& changes : {Changes{{5, make_next_hop(0, 200)}, {6, make_next_hop(0, 100)}},
                                 Changes{{6, make_next_hop(0, 100)}, {5, make_next_hop(0, 200)}}}) {
    const NextHopTable after = before.with(changes);
    EXPECT_EQ(after.find(0, nth_address(100)), 6);
    EXPECT_EQ(after.find(0, nth_address(200)), 5);
  }
}

TEST(NextHopTable, AnIndexSetTwiceInOneCallEndsAsTheLast) {
  const NextHopTable table = NextHopTable{}.with(
      Changes{{5, make_next_hop(0, 1)}, {5, make_next_hop(0, 2)}, {5, make_next_hop(0, 3)}});
  EXPECT_EQ(table.find(0, nth_address(1)), kNoNextHop);
  EXPECT_EQ(table.find(0, nth_address(2)), kNoNextHop);
  EXPECT_EQ(table.find(0, nth_address(3)), 5);
}

TEST(NextHopTable, AChangeCopiesItsOwnChunkOnly) {
  const NextHopTable before =
      NextHopTable{}.with(Changes{{1, make_next_hop(0, 1)}, {kChunk + 1, make_next_hop(0, 2)}});
  const NextHopTable after = before.with(Changes{{kChunk + 2, make_next_hop(0, 3)}});
  EXPECT_EQ(&after.at(1), &before.at(1));
  EXPECT_NE(&after.at(kChunk + 1), &before.at(kChunk + 1));
  EXPECT_EQ(&after.at(2 * kChunk), &before.at(2 * kChunk));
}

using Model = std::map<NextHopIndex, std::pair<std::uint8_t, std::uint32_t>>;

void expect_equals(const NextHopTable& table, const Model& model, std::uint32_t addresses) {
  std::map<std::pair<std::uint8_t, std::uint32_t>, NextHopIndex> index_of;
  for (const auto& [index, neighbour] : model) {
    index_of[neighbour] = index;
    ASSERT_EQ(table.at(index).port, neighbour.first);
    ASSERT_EQ(table.at(index).address, nth_address(neighbour.second));
  }
  for (std::uint8_t port = 0; port < 2; ++port) {
    for (std::uint32_t n = 0; n < addresses; ++n) {
      const auto at = index_of.find({port, n});
      ASSERT_EQ(table.find(port, nth_address(n)), at == index_of.end() ? kNoNextHop : at->second);
    }
  }
}

TEST(NextHopTable, FollowsAModelAndLeavesFormerTablesAlone) {
  constexpr std::uint32_t kAddresses = 400;
  std::mt19937_64 random(1);
  NextHopTable table;
  Model model;
  for (int step = 0; step < 60; ++step) {
    const NextHopTable former = table;
    const Model former_model = model;
    // Some indices are cleared, then all their neighbours come back in another order.
    std::vector<NextHopIndex> touched;
    for (std::size_t i = 0; i < 40; ++i) {
      touched.push_back(static_cast<NextHopIndex>(1 + random() % 700));
    }
    std::sort(touched.begin(), touched.end());
    touched.erase(std::unique(touched.begin(), touched.end()), touched.end());
    for (const NextHopIndex index : touched) {
      model.erase(index);
    }
    std::set<std::pair<std::uint8_t, std::uint32_t>> taken;
    for (const auto& [index, neighbour] : model) {
      taken.insert(neighbour);
    }
    std::shuffle(touched.begin(), touched.end(), random);
    Changes changes;
    for (const NextHopIndex index : touched) {
      const std::pair neighbour{static_cast<std::uint8_t>(random() % 2),
                                static_cast<std::uint32_t>(random() % kAddresses)};
      if (random() % 4 == 0 || !taken.insert(neighbour).second) {
        changes.push_back({index, NextHop{}});
        continue;
      }
      model[index] = neighbour;
      changes.push_back({index, make_next_hop(neighbour.first, neighbour.second)});
    }
    table = former.with(changes);
    ASSERT_NO_FATAL_FAILURE(expect_equals(table, model, kAddresses)) << "step " << step;
    ASSERT_NO_FATAL_FAILURE(expect_equals(former, former_model, kAddresses)) << "step " << step;
  }
}

}  // namespace
}  // namespace sluice
