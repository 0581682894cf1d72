// SPDX-License-Identifier: Apache-2.0
#include "dataplane/snapshot/backends.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace sluice {
namespace {

constexpr std::uint32_t kChunk = BindingTable::kChunk;

Binding make_binding(std::uint32_t number, BindingState state, std::uint8_t incarnation = 0) {
  Binding binding;
  binding.address = IpAddress(Ipv4Address{Be32::from_host(number)});
  binding.port = static_cast<std::uint16_t>(number);
  binding.service_port = number;
  binding.state = BindingStateByte::make(state, incarnation);
  return binding;
}

BindingTable with_one(const BindingTable& table, std::uint32_t slot, const Binding& binding) {
  return table.with(std::vector<BindingTable::Change>{{slot, binding}});
}

TEST(BindingStateByte, HoldsEveryStateAndIncarnation) {
  for (const BindingState state : {BindingState::kFree, BindingState::kActive,
                                   BindingState::kDraining, BindingState::kRemoved}) {
    for (std::uint8_t incarnation = 0; incarnation < 64; ++incarnation) {
      const BindingStateByte byte = BindingStateByte::make(state, incarnation);
      ASSERT_EQ(byte.state(), state);
      ASSERT_EQ(byte.incarnation(), incarnation);
    }
  }
}

TEST(BindingStateByte, IncarnationsAreCountedModulo64) {
  const BindingStateByte byte = BindingStateByte::make(BindingState::kDraining, 64 + 5);
  EXPECT_EQ(byte.incarnation(), 5);
  EXPECT_EQ(byte.state(), BindingState::kDraining);
}

TEST(BindingTable, BeyondItsCapacityEverySlotIsFree) {
  const BindingTable empty;
  EXPECT_EQ(empty.capacity(), 0U);
  EXPECT_EQ(empty.state(0).state(), BindingState::kFree);
  EXPECT_EQ(empty.find(0), nullptr);

  const BindingTable table = with_one(empty, 5, make_binding(1, BindingState::kActive));
  EXPECT_EQ(table.capacity(), kChunk);
  EXPECT_EQ(table.state(kChunk).state(), BindingState::kFree);
  EXPECT_EQ(table.find(kChunk), nullptr);
  EXPECT_EQ(table.state(kBindingsMax - 1).state(), BindingState::kFree);
}

TEST(BindingTable, SlotsNeverSetWithinItsCapacityAreFree) {
  const BindingTable table = with_one({}, 5, make_binding(1, BindingState::kActive));
  EXPECT_EQ(table.state(4).state(), BindingState::kFree);
  EXPECT_EQ(table.find(4), &table.at(4));
  EXPECT_EQ(table.at(4).state.state(), BindingState::kFree);
}

TEST(BindingTable, GrowsToTheHighestSlotAtOnce) {
  const BindingTable table = with_one({}, 10 * kChunk, make_binding(7, BindingState::kActive));
  EXPECT_EQ(table.capacity(), 11 * kChunk);
  EXPECT_EQ(table.at(10 * kChunk).service_port, 7U);
  EXPECT_EQ(table.state(10 * kChunk - 1).state(), BindingState::kFree);
}

void expect_equals(const BindingTable& table, const std::map<std::uint32_t, Binding>& model,
                   std::uint32_t slots) {
  for (std::uint32_t slot = 0; slot < slots; ++slot) {
    const auto at = model.find(slot);
    const Binding expected = at == model.end() ? Binding{} : at->second;
    ASSERT_EQ(table.state(slot), expected.state) << "slot " << slot;
    if (table.find(slot) != nullptr) {
      ASSERT_EQ(&table.at(slot), table.find(slot));
      ASSERT_EQ(table.at(slot).address, expected.address);
      ASSERT_EQ(table.at(slot).port, expected.port);
      ASSERT_EQ(table.at(slot).service_port, expected.service_port);
      ASSERT_EQ(table.at(slot).state, expected.state);
    } else {
      ASSERT_EQ(at, model.end());
    }
  }
}

TEST(BindingTable, FollowsAModelAndLeavesFormerTablesAlone) {
  constexpr std::uint32_t kSlots = 3 * kChunk;
  std::mt19937_64 random(1);
  std::map<std::uint32_t, Binding> model;
  BindingTable table;
  for (int step = 0; step < 30; ++step) {
    const BindingTable former = table;
    const auto former_model = model;
    std::vector<BindingTable::Change> changes;
    for (std::size_t count = random() % 300; count > 0; --count) {
      const auto slot = static_cast<std::uint32_t>(random() % kSlots);
      const Binding binding = make_binding(static_cast<std::uint32_t>(random()),
                                           BindingState{static_cast<std::uint8_t>(random() % 4)},
                                           static_cast<std::uint8_t>(random() % 64));
      changes.push_back({slot, binding});  // the last of several for one slot counts
      model[slot] = binding;
    }
    table = former.with(changes);
    ASSERT_NO_FATAL_FAILURE(expect_equals(table, model, kSlots + 10));
    ASSERT_NO_FATAL_FAILURE(expect_equals(former, former_model, kSlots + 10));
  }
}

TEST(BindingTable, AChangeCopiesItsOwnChunkOnly) {
  const BindingTable before = with_one({}, 3 * kChunk - 1, make_binding(1, BindingState::kActive));
  const BindingTable after = with_one(before, kChunk + 1, make_binding(2, BindingState::kActive));
  EXPECT_EQ(&after.at(0), &before.at(0));
  EXPECT_NE(&after.at(kChunk), &before.at(kChunk));
  EXPECT_EQ(&after.at(2 * kChunk), &before.at(2 * kChunk));
}

TEST(BindingTable, OfItsChunkAChangeCopiesItsOwnPieceOnly) {
  constexpr std::uint32_t kPiece = BindingTable::kPiece;
  const BindingTable before = with_one({}, 0, make_binding(1, BindingState::kActive));
  const BindingTable after = with_one(before, kPiece, make_binding(2, BindingState::kActive));
  EXPECT_EQ(&after.at(kPiece - 1), &before.at(kPiece - 1));
  EXPECT_NE(&after.at(kPiece), &before.at(kPiece));
  EXPECT_EQ(&after.at(2 * kPiece), &before.at(2 * kPiece));
}

TEST(BindingTable, NoChangeCopiesNothing) {
  const BindingTable before = with_one({}, 0, make_binding(1, BindingState::kActive));
  EXPECT_EQ(&before.with({}).at(0), &before.at(0));
}

}  // namespace
}  // namespace sluice
