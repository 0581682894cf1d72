// SPDX-License-Identifier: Apache-2.0
#include "dataplane/state/flow_table.h"

#include "dataplane/net/headers.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <vector>

namespace sluice {
namespace {

// Random words, as production has them: small ones would mix next to nothing.
constexpr HashSecret kSecret{{0x9ae16a3b2f90404fULL, 0xc949d7c7509e6557ULL, 0xff51afd7ed558ccdULL,
                              0xc4ceb9fe1a85ec53ULL, 0x8ebc6af09c88c6e3ULL, 0x589965cc75374cc3ULL}};

HashSecret secret_of(std::uint64_t seed) {
  HashSecret secret = kSecret;
  for (std::uint64_t& word : secret.words) {
    word *= 2 * seed + 1;
  }
  return secret;
}

template <Family F>
struct Table {
  explicit Table(std::uint32_t capacity, const HashSecret& secret = kSecret)
      : region(FlowTable<F>::region_bytes(capacity)), flows(region, capacity, secret) {}
  std::vector<std::byte> region;
  FlowTable<F> flows;
};

template <Family F>
typename FlowKey<F>::Address address(std::uint32_t number) {
  typename FlowKey<F>::Address made{};
  const Be32 raw = Be32::from_host(number);
  std::memcpy(&made, &raw, sizeof(raw));
  return made;
}

// Flow `i`, distinct in both tuples.
template <Family F>
FlowHot<F> flow(std::uint32_t i) {
  FlowHot<F> made{};
  made.client = address<F>(0x0a00'0000 + i / 7);
  made.frontend = address<F>(0xcb00'710a);
  made.client_port = Be16::from_host(static_cast<std::uint16_t>(1000 + i % 7));
  made.frontend_port = Be16::from_host(80);
  made.protocol = kProtocolUdp;
  made.state = FlowState::kUdp;
  made.backend = address<F>(0xc000'0201 + i % 3);
  made.snat = address<F>(0xc000'0264);
  made.backend_port = Be16::from_host(8080);
  made.snat_port = Be16::from_host(static_cast<std::uint16_t>(i));
  made.network = static_cast<NetworkId>(i >> 16U);
  return made;
}

template <typename T>
class FlowTableTest : public ::testing::Test {};
template <Family F>
struct Of {
  static constexpr Family kFamily = F;
};
using Families = ::testing::Types<Of<Family::kIpv4>, Of<Family::kIpv6>>;
TYPED_TEST_SUITE(FlowTableTest, Families);

TYPED_TEST(FlowTableTest, BothDirectionsFindOneEntry) {
  constexpr Family kF = TypeParam::kFamily;
  Table<kF> table(8);
  const FlowHot<kF> made = flow<kF>(1);
  const FlowRef ref = table.flows.insert(made, {.service_port = 9});
  ASSERT_TRUE(ref.valid());
  EXPECT_EQ(table.flows.find(made.client_key()), ref);
  const FlowRef back = table.flows.find(made.reply_key());
  EXPECT_EQ(back.index(), ref.index());
  EXPECT_EQ(back.direction(), Direction::kFromBackend);
  EXPECT_EQ(table.flows.cold(ref.index()).service_port, 9U);
}

TYPED_TEST(FlowTableTest, AKeyThatDiffersInOneFieldIsAnotherFlow) {
  constexpr Family kF = TypeParam::kFamily;
  Table<kF> table(8);
  const FlowHot<kF> made = flow<kF>(1);
  ASSERT_TRUE(table.flows.insert(made, {}).valid());
  auto key = made.client_key();
  key.protocol = kProtocolTcp;
  EXPECT_FALSE(table.flows.find(key).valid());
  key = made.client_key();
  key.network = 1;
  EXPECT_FALSE(table.flows.find(key).valid());
  key = made.client_key();
  key.source_port = Be16::from_host(1);
  EXPECT_FALSE(table.flows.find(key).valid());
  auto reply = made.reply_key();
  reply.destination_port = Be16::from_host(2);
  EXPECT_FALSE(table.flows.find(reply).valid());
  reply = made.reply_key();
  reply.network = 1;
  EXPECT_FALSE(table.flows.find(reply).valid());
}

TYPED_TEST(FlowTableTest, StateAndFlagsAreNoPartOfTheKey) {
  constexpr Family kF = TypeParam::kFamily;
  Table<kF> table(8);
  const FlowHot<kF> made = flow<kF>(1);
  const FlowRef ref = table.flows.insert(made, {});
  table.flows.hot(ref.index()).state = FlowState::kTcpClosing;
  table.flows.hot(ref.index()).flags = 0xff;
  EXPECT_EQ(table.flows.find(made.client_key()), ref);
}

TYPED_TEST(FlowTableTest, AFullTableRefusesAndChangesNothing) {
  constexpr Family kF = TypeParam::kFamily;
  Table<kF> table(64);
  for (std::uint32_t i = 0; i < 64; ++i) {
    ASSERT_TRUE(table.flows.insert(flow<kF>(i), {}).valid()) << i;
  }
  EXPECT_FALSE(table.flows.insert(flow<kF>(64), {}).valid());
  EXPECT_FALSE(table.flows.find(flow<kF>(64).client_key()).valid());
  EXPECT_FALSE(table.flows.find(flow<kF>(64).reply_key()).valid());
  table.flows.erase(table.flows.find(flow<kF>(5).client_key()).index());
  EXPECT_TRUE(table.flows.insert(flow<kF>(64), {}).valid());
  for (std::uint32_t i = 0; i < 65; ++i) {
    EXPECT_EQ(table.flows.find(flow<kF>(i).client_key()).valid(), i != 5) << i;
  }
}

TYPED_TEST(FlowTableTest, AQuarantinedFlowHoldsItsReplyTupleOnly) {
  constexpr Family kF = TypeParam::kFamily;
  Table<kF> table(8);
  const FlowHot<kF> made = flow<kF>(1);
  const FlowRef ref = table.flows.insert(made, {});
  table.flows.quarantine(ref.index(), 77);
  EXPECT_FALSE(table.flows.find(made.client_key()).valid());
  EXPECT_TRUE(table.flows.find(made.reply_key()).valid());
  EXPECT_EQ(table.flows.hot(ref.index()).last_seen_ms, 77U);
  EXPECT_EQ(table.flows.size(), 1U);
  table.flows.erase(ref.index());
  EXPECT_FALSE(table.flows.find(made.reply_key()).valid());
  EXPECT_EQ(table.flows.size(), 0U);
}

TYPED_TEST(FlowTableTest, TheBatchLookupFindsWhatTheSingleOneDoes) {
  constexpr Family kF = TypeParam::kFamily;
  Table<kF> table(4096);
  for (std::uint32_t i = 0; i < 4000; ++i) {
    ASSERT_TRUE(table.flows.insert(flow<kF>(i), {}).valid());
  }
  for (std::uint32_t i = 0; i < 5000; ++i) {
    const auto key = flow<kF>(i).client_key();
    const std::uint64_t hash = table.flows.hash_of(key);
    EXPECT_EQ(table.flows.confirm(key, hash, table.flows.candidate(hash)), table.flows.find(key));
  }
}

// Random inserts, erasures and quarantines against a map from key to index; the seed is printed on
// failure and replays it.
TYPED_TEST(FlowTableTest, BehavesLikeAMap) {
  constexpr Family kF = TypeParam::kFamily;
  for (std::uint32_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    Table<kF> table(500, secret_of(seed));
    std::map<std::uint32_t, std::uint32_t> model;  // flow number -> index
    std::map<std::uint32_t, std::uint32_t> resting;
    for (int step = 0; step < 20'000; ++step) {
      const auto i = static_cast<std::uint32_t>(random() % 900);
      const bool known = model.contains(i) || resting.contains(i);
      if (!known && random() % 3 != 0) {
        const FlowRef ref = table.flows.insert(flow<kF>(i), {});
        ASSERT_EQ(ref.valid(), model.size() + resting.size() < 500);
        if (ref.valid()) {
          model[i] = ref.index();
        }
      } else if (model.contains(i) && random() % 2 == 0) {
        table.flows.quarantine(model[i], 0);
        resting[i] = model[i];
        model.erase(i);
      } else if (known) {
        auto& from = model.contains(i) ? model : resting;
        table.flows.erase(from[i]);
        from.erase(i);
      }
      const auto probe = static_cast<std::uint32_t>(random() % 900);
      const auto wanted = flow<kF>(probe);
      const FlowRef there = table.flows.find(wanted.client_key());
      const FlowRef back = table.flows.find(wanted.reply_key());
      ASSERT_EQ(there.valid(), model.contains(probe));
      ASSERT_EQ(back.valid(), model.contains(probe) || resting.contains(probe));
      if (there.valid()) {
        ASSERT_EQ(there.index(), model[probe]);
      }
      ASSERT_EQ(table.flows.size(), model.size() + resting.size());
    }
  }
}

TYPED_TEST(FlowTableTest, EveryEntryCanBeUsed) {
  constexpr Family kF = TypeParam::kFamily;
  Table<kF> table(100'000);
  for (std::uint32_t i = 0; i < 100'000; ++i) {
    ASSERT_TRUE(table.flows.insert(flow<kF>(i), {}).valid()) << i;
  }
}

TEST(FlowTable, TenMillionIpv4FlowsFitIntoOneAndAHalfGibibytes) {
  EXPECT_LE(FlowTable<Family::kIpv4>::region_bytes(10'000'000), 3ULL << 29U);
}

TEST(FlowTable, AnotherSecretPutsFlowsElsewhere) {
  Table<Family::kIpv4> one(1000, secret_of(1));
  Table<Family::kIpv4> two(1000, secret_of(7));
  int same = 0;
  for (std::uint32_t i = 0; i < 1000; ++i) {
    const auto key = flow<Family::kIpv4>(i).client_key();
    same += one.flows.hash_of(key) % 256 == two.flows.hash_of(key) % 256 ? 1 : 0;
  }
  EXPECT_LT(same, 30);
}

}  // namespace
}  // namespace sluice
