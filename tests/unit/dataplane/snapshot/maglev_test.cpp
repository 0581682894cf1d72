// SPDX-License-Identifier: Apache-2.0
// The claims are those of Eisenbud et al., NSDI 2016: §3.4 for the algorithm and the size of the
// table against the number of backends, §5.3 for balance and disruption.
#include "dataplane/snapshot/maglev.h"

#include "dataplane/net/flow_key.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

namespace sluice {
namespace {

using Endpoints = std::vector<MaglevEndpoint>;
using Entries = std::vector<std::uint16_t>;

Endpoints make_endpoints(std::size_t count) {
  Endpoints endpoints;
  for (std::size_t i = 0; i < count; ++i) {
    const auto host = static_cast<std::uint32_t>(0x0a000001 + i);
    endpoints.push_back({IpAddress(Ipv4Address{Be32::from_host(host)}), 8080, 1});
  }
  return endpoints;
}

Endpoints random_endpoints(std::mt19937_64& random, std::size_t count, std::uint16_t weight_max) {
  Endpoints endpoints;
  for (std::size_t i = 0; i < count; ++i) {
    MaglevEndpoint endpoint;
    endpoint.address.family = random() % 2 == 0 ? Family::kIpv4 : Family::kIpv6;
    for (std::size_t at = 0; at < endpoint.address.bits() / 8U; ++at) {
      endpoint.address.bytes[at] = static_cast<std::uint8_t>(random());
    }
    endpoint.port = static_cast<std::uint16_t>(random());
    endpoint.weight = static_cast<std::uint16_t>(random() % (weight_max + 1U));
    endpoints.push_back(endpoint);
  }
  endpoints.front().weight = weight_max;
  return endpoints;
}

Entries entries_of(const Endpoints& endpoints, std::uint64_t seed) {
  const auto table = MaglevTable::build(endpoints, seed);
  return table == nullptr ? Entries{} : Entries(table->entries().begin(), table->entries().end());
}

std::vector<std::uint32_t> slots_per_endpoint(const Entries& entries, std::size_t endpoints) {
  std::vector<std::uint32_t> slots(endpoints);
  for (const std::uint16_t entry : entries) {
    ++slots[entry];
  }
  return slots;
}

// How many slots changed hands although their holder is still there.
std::size_t disrupted(const Entries& before, const Entries& after, std::size_t left) {
  std::size_t changed = 0;
  for (std::size_t slot = 0; slot < before.size(); ++slot) {
    changed += before[slot] != left && before[slot] != after[slot] ? 1 : 0;
  }
  return changed;
}

// The paper's Populate as it stands there: whole permutations, one turn after the other. The two
// hashes are written out again, so that a change of them, which would move every flow of every
// gateway of a pair in mid-upgrade, cannot go unseen.
std::uint64_t naive_fold(std::uint64_t a, std::uint64_t b) {
  const Uint128 product = static_cast<Uint128>(a) * b;
  return static_cast<std::uint64_t>(product ^ (product >> 64U));
}

std::uint64_t naive_hash(const MaglevEndpoint& endpoint, std::uint64_t seed) {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  for (std::size_t i = 8; i-- > 0;) {
    low = low << 8U | endpoint.address.bytes[i];
    high = high << 8U | endpoint.address.bytes[i + 8];
  }
  const std::uint64_t rest = endpoint.port * 256ULL + (endpoint.address.is_ipv4() ? 4 : 6);
  const std::uint64_t mixed =
      naive_fold(low ^ seed ^ 0xa0761d6478bd642fULL, high ^ 0xe7037ed1a0b428dbULL);
  return naive_fold(mixed ^ rest ^ seed, 0x8ebc6af09c88c6e3ULL);
}

Entries naive_entries(const Endpoints& endpoints, std::uint64_t seed) {
  const std::uint64_t size = MaglevTable::size_for(endpoints.size());
  std::map<std::uint64_t, std::size_t> turns;  // by hashed identity
  std::uint64_t heaviest = 0;
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    if (endpoints[i].weight > 0) {
      turns[naive_hash(endpoints[i], seed)] = i;
      heaviest = std::max<std::uint64_t>(heaviest, endpoints[i].weight);
    }
  }
  constexpr std::uint16_t kFree = 0xffff;
  Entries entries(size, kFree);
  std::vector<std::uint64_t> tried(endpoints.size());
  std::size_t filled = 0;
  for (std::uint64_t round = 1; filled < size; ++round) {
    for (const auto& [identity, i] : turns) {
      const std::uint64_t weight = endpoints[i].weight;
      if (round * weight / heaviest == (round - 1) * weight / heaviest || filled == size) {
        continue;
      }
      const std::uint64_t skip = naive_hash(endpoints[i], ~seed) % (size - 1) + 1;
      std::uint64_t slot = 0;
      do {
        slot = (identity % size + tried[i]++ * skip) % size;
      } while (entries[slot] != kFree);
      entries[slot] = static_cast<std::uint16_t>(i);
      ++filled;
    }
  }
  return entries;
}

TEST(Maglev, EqualsTheNaiveModel) {
  std::mt19937_64 random(1);
  for (const std::size_t count : {1U, 2U, 7U, 8U, 9U, 16U, 17U, 50U, 128U, 129U, 1000U}) {
    for (const std::uint16_t weight_max : std::initializer_list<std::uint16_t>{1, 3, 100}) {
      const Endpoints endpoints = random_endpoints(random, count, weight_max);
      const std::uint64_t seed = random();
      ASSERT_EQ(entries_of(endpoints, seed), naive_entries(endpoints, seed))
          << count << " endpoints, weights to " << weight_max << ", seed " << seed;
    }
  }
}

TEST(Maglev, SizeFollowsTheDeclaredEndpoints) {
  constexpr auto is_prime = [](std::uint32_t number) {
    for (std::uint32_t divisor = 2; divisor * divisor <= number; ++divisor) {
      if (number % divisor == 0) {
        return false;
      }
    }
    return true;
  };
  // Otherwise a skip could share a divisor with the size and its permutation would miss slots.
  static_assert(is_prime(MaglevTable::kSmall) && is_prime(MaglevTable::kModerate) &&
                is_prime(MaglevTable::kMedium) && is_prime(MaglevTable::kLarge));
  for (const auto& [declared, size] : std::map<std::size_t, std::size_t>{{1, 1'021},
                                                                         {10, 1'021},
                                                                         {11, 2'039},
                                                                         {20, 2'039},
                                                                         {21, 16'381},
                                                                         {128, 16'381},
                                                                         {129, 65'537},
                                                                         {1'000, 65'537}}) {
    EXPECT_EQ(entries_of(make_endpoints(declared), 1).size(), size) << declared;
  }
  // "M > 100 x N" (§3.4) in all classes but the last.
  static_assert(MaglevTable::kSmall > 100 * 10 && MaglevTable::kModerate > 100 * 20 &&
                MaglevTable::kMedium > 100 * 128);
}

TEST(Maglev, AFlapKeepsTheSize) {
  Endpoints endpoints = make_endpoints(21);
  for (std::size_t i = 1; i < endpoints.size(); ++i) {
    endpoints[i].weight = 0;
  }
  EXPECT_EQ(entries_of(endpoints, 1).size(), MaglevTable::kMedium);
}

TEST(Maglev, WithoutAUsableEndpointThereIsNoTable) {
  EXPECT_EQ(MaglevTable::build({}, 1), nullptr);
  Endpoints endpoints = make_endpoints(3);
  for (MaglevEndpoint& endpoint : endpoints) {
    endpoint.weight = 0;
  }
  EXPECT_EQ(MaglevTable::build(endpoints, 1), nullptr);
}

TEST(Maglev, AnEndpointOfWeightZeroGetsNothing) {
  Endpoints endpoints = make_endpoints(20);
  endpoints[7].weight = 0;
  const auto slots = slots_per_endpoint(entries_of(endpoints, 1), endpoints.size());
  EXPECT_EQ(slots[7], 0U);
  EXPECT_EQ(std::count(slots.begin(), slots.end(), 0U), 1);
}

// §3.4: "almost the same number of entries for each backend"; the turns make it one apart.
TEST(Maglev, EqualEndpointsGetEqualSharesToOneSlot) {
  for (const std::size_t count : {2U, 3U, 8U, 100U, 128U, 655U, 1000U, 5000U}) {
    for (const std::uint64_t seed : {0ULL, 42ULL, ~0ULL}) {
      const auto slots = slots_per_endpoint(entries_of(make_endpoints(count), seed), count);
      const auto [least, most] = std::minmax_element(slots.begin(), slots.end());
      ASSERT_LE(*most - *least, 1U) << count << " endpoints, seed " << seed;
    }
  }
}

// §5.3, figure 11: at 65,537 slots and 1000 backends Maglev needs hardly any over-provisioning,
// where Karger needs 29.7 % and Rendezvous 49.5 %.
TEST(Maglev, AThousandBackendsNeedOnePercentOverProvisioning) {
  const auto slots = slots_per_endpoint(entries_of(make_endpoints(1000), 42), 1000);
  const double mean = MaglevTable::kLarge / 1000.0;
  EXPECT_LE(*std::max_element(slots.begin(), slots.end()) / mean, 1.01);
  EXPECT_GE(*std::min_element(slots.begin(), slots.end()) / mean, 0.99);
}

TEST(Maglev, SharesAreProportionalToWeightsToTwoSlots) {
  std::mt19937_64 random(2);
  for (const std::size_t count : {2U, 8U, 60U, 400U}) {
    const Endpoints endpoints = random_endpoints(random, count, 100);
    const Entries entries = entries_of(endpoints, random());
    const auto slots = slots_per_endpoint(entries, count);
    double total = 0;
    for (const MaglevEndpoint& endpoint : endpoints) {
      total += endpoint.weight;
    }
    for (std::size_t i = 0; i < count; ++i) {
      const double share = static_cast<double>(entries.size()) * endpoints[i].weight / total;
      ASSERT_NEAR(slots[i], share, 2.0) << "weight " << endpoints[i].weight;
    }
  }
}

TEST(Maglev, WeightsCountOnlyRelativeToEachOther) {
  Endpoints endpoints = make_endpoints(12);
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    endpoints[i].weight = static_cast<std::uint16_t>(1 + i % 3);
  }
  Endpoints scaled = endpoints;
  for (MaglevEndpoint& endpoint : scaled) {
    endpoint.weight = static_cast<std::uint16_t>(endpoint.weight * 1000);
  }
  EXPECT_EQ(entries_of(endpoints, 1), entries_of(scaled, 1));
}

TEST(Maglev, TheOrderOfEndpointsDoesNotMatter) {
  std::mt19937_64 random(3);
  for (const std::size_t count : {5U, 90U, 300U}) {
    const Endpoints endpoints = random_endpoints(random, count, 4);
    const Entries entries = entries_of(endpoints, 7);
    for (int shuffle = 0; shuffle < 5; ++shuffle) {
      Endpoints shuffled = endpoints;
      std::shuffle(shuffled.begin(), shuffled.end(), random);
      const Entries other = entries_of(shuffled, 7);
      ASSERT_EQ(other.size(), entries.size());
      for (std::size_t slot = 0; slot < entries.size(); ++slot) {
        ASSERT_EQ(shuffled[other[slot]], endpoints[entries[slot]]) << "slot " << slot;
      }
    }
  }
}

// An endpoint that failed and one that was removed leave the same table behind.
TEST(Maglev, UnusableAndAbsentAreTheSame) {
  Endpoints unusable = make_endpoints(100);
  unusable.back().weight = 0;
  EXPECT_EQ(entries_of(unusable, 1), entries_of(make_endpoints(99), 1));
}

struct Disruption {
  std::size_t endpoints;
  double most;  // share of all slots
};

// §5.3, figure 12: the larger the table against the backends, the fewer slots change besides those
// of the backend that left. Seen at worst: 0.6 %, 1.5 %, 0.6 % and
// 0.7 %.
TEST(Maglev, OneThatLeavesMovesFewOfTheOthersSlots) {
  for (const Disruption& expected : {Disruption{3, 0.01}, Disruption{100, 0.02},
                                     Disruption{129, 0.01}, Disruption{1000, 0.01}}) {
    const Endpoints endpoints = make_endpoints(expected.endpoints);
    const Entries before = entries_of(endpoints, 42);
    for (std::size_t trial = 0; trial < std::min<std::size_t>(expected.endpoints, 10); ++trial) {
      const std::size_t left = trial * 7919 % expected.endpoints;
      Endpoints others = endpoints;
      others[left].weight = 0;
      const std::size_t changed = disrupted(before, entries_of(others, 42), left);
      ASSERT_LE(static_cast<double>(changed), expected.most * static_cast<double>(before.size()))
          << left << " of " << expected.endpoints << " left";
    }
  }
}

TEST(Maglev, OneThatComesBackFindsItsSlotsAgain) {
  const Endpoints endpoints = make_endpoints(50);
  Endpoints without = endpoints;
  without[20].weight = 0;
  const Entries before = entries_of(endpoints, 1);
  EXPECT_NE(entries_of(without, 1), before);
  EXPECT_EQ(entries_of(endpoints, 1), before);
}

TEST(Maglev, TheSeedChangesTheTable) {
  const Entries one = entries_of(make_endpoints(100), 1);
  const Entries two = entries_of(make_endpoints(100), 2);
  std::size_t same = 0;
  for (std::size_t slot = 0; slot < one.size(); ++slot) {
    same += one[slot] == two[slot] ? 1 : 0;
  }
  EXPECT_LT(same, one.size() / 50);  // one in 100 by chance
}

// No seed is weak: neither the constants of the hash nor their complements make walks meet.
TEST(Maglev, NoConstantOfTheHashIsAWeakSeed) {
  for (const std::uint64_t constant :
       {0xa0761d6478bd642fULL, 0xe7037ed1a0b428dbULL, 0x8ebc6af09c88c6e3ULL, 0ULL}) {
    for (const std::uint64_t seed : {constant, ~constant}) {
      const Endpoints endpoints = make_endpoints(100);
      const Entries before = entries_of(endpoints, seed);
      Endpoints others = endpoints;
      others[50].weight = 0;
      ASSERT_LE(disrupted(before, entries_of(others, seed), 50), before.size() / 50) << seed;
    }
  }
}

TEST(Maglev, EndpointsThatDifferInTheirPortOnlyAreDistinct) {
  Endpoints endpoints = make_endpoints(1);
  endpoints.push_back(endpoints.front());
  endpoints.back().port = 8081;
  const auto slots = slots_per_endpoint(entries_of(endpoints, 1), 2);
  EXPECT_NEAR(slots[0], slots[1], 1);
}

TEST(Maglev, AsManyEndpointsAsEntriesCanTellApartAllGetASlot) {
  const Endpoints endpoints = make_endpoints(65'535);
  const auto slots = slots_per_endpoint(entries_of(endpoints, 1), endpoints.size());
  EXPECT_EQ(*std::min_element(slots.begin(), slots.end()), 1U);
}

TEST(Maglev, PickReachesEverySlotAndNoOther) {
  const auto table = MaglevTable::build(make_endpoints(8), 1);
  ASSERT_NE(table, nullptr);
  EXPECT_EQ(table->pick(0), table->entries().front());
  EXPECT_EQ(table->pick(~0ULL), table->entries().back());
  const std::size_t size = table->entries().size();
  for (std::size_t slot = 0; slot < size; ++slot) {
    const auto middle = (static_cast<Uint128>(2 * slot + 1) << 63U) / size;
    ASSERT_EQ(table->pick(static_cast<std::uint64_t>(middle)), table->entries()[slot]);
  }
}

TEST(Maglev, ClientsSpreadOverBackendsByWeight) {
  Endpoints endpoints = make_endpoints(4);
  endpoints[0].weight = 3;  // half of all
  const auto table = MaglevTable::build(endpoints, 1);
  constexpr std::uint32_t kClients = 200'000;
  std::vector<double> flows(endpoints.size());
  for (std::uint32_t i = 0; i < kClients; ++i) {
    FlowKey4 key{};
    key.source.value = Be32::from_host(0xc0000200U + i / 60'000);
    key.source_port = Be16::from_host(static_cast<std::uint16_t>(i % 60'000));
    key.protocol = 6;
    ++flows[table->pick(maglev_hash(key, 1))];
  }
  EXPECT_NEAR(flows[0] / kClients, 1.0 / 2, 0.01);
  EXPECT_NEAR(flows[1] / kClients, 1.0 / 6, 0.01);
  EXPECT_NEAR(flows[2] / kClients, 1.0 / 6, 0.01);
  EXPECT_NEAR(flows[3] / kClients, 1.0 / 6, 0.01);
}

}  // namespace
}  // namespace sluice
