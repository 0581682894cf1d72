// SPDX-License-Identifier: Apache-2.0
#include "dataplane/net/flow_key.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>
#include <unordered_set>
#include <vector>

namespace sluice {
namespace {

template <typename Key>
class FlowKeys : public ::testing::Test {
 protected:
  Key random_key() {
    Key key{};
    std::uint64_t word[sizeof(Key) / 8];
    for (std::uint64_t& value : word) {
      value = random();
    }
    std::memcpy(&key, word, sizeof(key));
    key.reserved = 0;
    return key;
  }
  // The tuples a busy client makes: all but the source port stays, and the port counts up.
  static Key nth_of_one_client(std::uint32_t n) {
    Key key{};
    std::memset(&key.source, 10, sizeof(key.source));
    std::memset(&key.destination, 20, sizeof(key.destination));
    key.source_port = Be16::from_host(static_cast<std::uint16_t>(n));
    key.destination_port = Be16::from_host(static_cast<std::uint16_t>(80 + (n >> 16U)));
    key.protocol = 6;
    return key;
  }
  HashSecret random_secret() {
    HashSecret secret{};
    for (std::uint64_t& word : secret.words) {
      word = random();
    }
    return secret;
  }

  std::mt19937_64 random{1};
};
using Keys = ::testing::Types<FlowKey4, FlowKey6>;
TYPED_TEST_SUITE(FlowKeys, Keys);

TYPED_TEST(FlowKeys, ReversingTwiceGivesTheSameKey) {
  for (int i = 0; i < 1'000; ++i) {
    const TypeParam key = this->random_key();
    const TypeParam back = reversed(key);
    ASSERT_EQ(back.source, key.destination);
    ASSERT_EQ(back.destination, key.source);
    ASSERT_EQ(back.source_port, key.destination_port);
    ASSERT_EQ(back.destination_port, key.source_port);
    ASSERT_EQ(back.protocol, key.protocol);
    ASSERT_EQ(back.network, key.network);
    ASSERT_EQ(reversed(back), key);
  }
}

// Which bits of the hash change with one bit of the key: about half, whichever bit it is.
template <typename Key, typename Hash>
void expect_avalanche(const std::vector<Key>& keys, Hash hash) {
  for (std::size_t flipped = 0; flipped < sizeof(Key) * 8; ++flipped) {
    int changed = 0;
    for (const Key& key : keys) {
      std::uint8_t bytes[sizeof(Key)];
      std::memcpy(bytes, &key, sizeof(Key));
      bytes[flipped / 8] ^= static_cast<std::uint8_t>(1U << flipped % 8);
      Key other{};
      std::memcpy(&other, bytes, sizeof(Key));
      changed += std::popcount(hash(key) ^ hash(other));
    }
    const double mean = static_cast<double>(changed) / static_cast<double>(keys.size());
    EXPECT_NEAR(mean, 32.0, 2.0) << "bit " << flipped;
  }
}

TYPED_TEST(FlowKeys, EveryBitOfTheKeyMovesHalfTheIndexHash) {
  std::vector<TypeParam> keys(1'000);
  std::generate(keys.begin(), keys.end(), [&] { return this->random_key(); });
  const HashSecret secret = this->random_secret();
  expect_avalanche(keys, [&](const TypeParam& key) { return hash_key(key, secret); });
}

TYPED_TEST(FlowKeys, EveryBitOfTheKeyMovesHalfTheMaglevHash) {
  std::vector<TypeParam> keys(1'000);
  std::generate(keys.begin(), keys.end(), [&] { return this->random_key(); });
  expect_avalanche(keys, [](const TypeParam& key) { return maglev_hash(key, 42); });
}

// Chi-square over buckets taken from one end of the hash; its mean is the number of buckets less
// one, its deviation the root of twice that. Five deviations are one run in three million.
template <typename Hash>
void expect_even_spread(std::uint32_t keys, std::uint32_t buckets, Hash bucket_of) {
  std::vector<double> counts(buckets);
  for (std::uint32_t i = 0; i < keys; ++i) {
    ++counts[bucket_of(i)];
  }
  const double expected = static_cast<double>(keys) / buckets;
  double chi_square = 0;
  for (const double count : counts) {
    chi_square += (count - expected) * (count - expected) / expected;
  }
  EXPECT_NEAR(chi_square, buckets - 1, 5 * std::sqrt(2.0 * (buckets - 1)));
}

TYPED_TEST(FlowKeys, TheKeysOfOneClientSpreadEvenlyByEitherEndOfTheHash) {
  const HashSecret secret = this->random_secret();
  constexpr std::uint32_t kBuckets = 4096;
  const auto hash = [&](std::uint32_t i) { return hash_key(this->nth_of_one_client(i), secret); };
  expect_even_spread(1'000'000, kBuckets, [&](std::uint32_t i) { return hash(i) % kBuckets; });
  expect_even_spread(1'000'000, kBuckets, [&](std::uint32_t i) { return hash(i) >> 52U; });
}

TYPED_TEST(FlowKeys, TheKeysOfOneClientSpreadEvenlyOverMaglevSlots) {
  expect_even_spread(1'000'000, 4096, [&](std::uint32_t i) {
    return maglev_hash(this->nth_of_one_client(i), 0) >> 52U;
  });
}

TYPED_TEST(FlowKeys, AMillionKeysHaveNoTwoEqualHashes) {
  const HashSecret secret = this->random_secret();
  std::unordered_set<std::uint64_t> seen;
  for (std::uint32_t i = 0; i < 1'000'000; ++i) {
    seen.insert(hash_key(this->nth_of_one_client(i), secret));
  }
  EXPECT_EQ(seen.size(), 1'000'000U);
}

// Keys chosen to meet in one bucket under one secret are strangers to each other under the next.
TYPED_TEST(FlowKeys, CollisionsFoundUnderOneSecretAreGoneUnderAnother) {
  const HashSecret known = this->random_secret();
  const HashSecret next = this->random_secret();
  std::unordered_set<std::uint64_t> buckets;
  std::size_t colliding = 0;
  for (std::uint32_t i = 0; colliding < 1'000; ++i) {
    const TypeParam key = this->nth_of_one_client(i);
    if (hash_key(key, known) % 1024 == 7) {
      ++colliding;
      buckets.insert(hash_key(key, next) % 1024);
    }
  }
  EXPECT_GT(buckets.size(), 550U);  // 1000 balls in 1024 bins leave 638 of them occupied
}

TYPED_TEST(FlowKeys, TheNetworkTellsEqualTuplesApart) {
  const HashSecret secret = this->random_secret();
  TypeParam first = this->nth_of_one_client(5);
  TypeParam second = first;
  second.network = 1;
  EXPECT_NE(first, second);
  EXPECT_NE(hash_key(first, secret), hash_key(second, secret));
  EXPECT_NE(maglev_hash(first, 1), maglev_hash(second, 1));
}

TYPED_TEST(FlowKeys, TheMaglevSeedChangesThePick) {
  int same = 0;
  for (std::uint32_t i = 0; i < 10'000; ++i) {
    const TypeParam key = this->nth_of_one_client(i);
    same += maglev_hash(key, 1) >> 56U == maglev_hash(key, 2) >> 56U ? 1 : 0;
  }
  EXPECT_LT(same, 100);  // one in 256 by chance
}

}  // namespace
}  // namespace sluice
