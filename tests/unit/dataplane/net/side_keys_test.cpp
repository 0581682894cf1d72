// SPDX-License-Identifier: Apache-2.0
// Against DPDK's own Toeplitz, as the NIC would see the packets.
#include "dataplane/net/side_keys.h"

#include <rte_byteorder.h>
#include <rte_thash.h>

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <vector>

namespace sluice {
namespace {

ToeplitzKey random_key(std::mt19937_64& random) {
  ToeplitzKey key;
  for (std::uint8_t& byte : key.bytes) {
    byte = static_cast<std::uint8_t>(random());
  }
  return key;
}

// A tuple of `words` dwords an address with one side filled in, hashed whole by `key_bytes` of a
// key: what lies beyond them is another's memory.
std::uint32_t hash(const ToeplitzKey& key, std::size_t key_bytes,
                   const std::vector<std::uint32_t>& address, std::uint16_t port, bool source) {
  const std::vector<std::uint32_t> nothing(address.size());
  std::vector<std::uint32_t> input = source ? address : nothing;
  const std::vector<std::uint32_t>& second = source ? nothing : address;
  input.insert(input.end(), second.begin(), second.end());
  input.push_back(source ? std::uint32_t{port} << 16U : port);
  ToeplitzKey cut = key;
  for (std::size_t i = key_bytes; i < cut.bytes.size(); ++i) {
    cut.bytes[i] = 0xa5;
  }
  return rte_softrss(input.data(), static_cast<std::uint32_t>(input.size()), cut.bytes.data());
}

struct Nic {
  const char* name;
  std::size_t key_bytes;
  std::uint32_t reta_entries;
};

class SideKeysOf : public ::testing::TestWithParam<Nic> {};
INSTANTIATE_TEST_SUITE_P(Nics, SideKeysOf,
                         ::testing::Values(Nic{"Ixgbe", 40, 128}, Nic{"I40e", 52, 512},
                                           Nic{"Ice", 52, 2048}, Nic{"Mlx5", 40, 512}),
                         [](const auto& made) { return made.param.name; });

TEST_P(SideKeysOf, AnAddressAndPortMeetTheSameQueueAsSourceAndAsDestination) {
  std::mt19937_64 random(20261125);
  for (int turn = 0; turn < 20; ++turn) {
    const SideKeys keys = arrange_side_keys(random_key(random));
    for (const std::size_t words : {1U, 4U}) {
      std::set<std::uint32_t> queues;
      for (int i = 0; i < 100; ++i) {
        std::vector<std::uint32_t> address(words);
        for (std::uint32_t& word : address) {
          word = static_cast<std::uint32_t>(random());
        }
        const auto port = static_cast<std::uint16_t>(random());
        const std::uint32_t up = hash(keys.source, GetParam().key_bytes, address, port, true);
        ASSERT_EQ(up, hash(keys.destination, GetParam().key_bytes, address, port, false));
        queues.insert(up % GetParam().reta_entries);
      }
      EXPECT_GT(queues.size(), 45U) << "the key spreads";
    }
  }
}

TEST(SideKeys, ThirtyOfTheSourcesBitsFollowFromOthersAndNoMore) {
  std::mt19937_64 random(1);
  const ToeplitzKey wanted = random_key(random);
  const SideKeys keys = arrange_side_keys(wanted);
  const auto bit = [](const ToeplitzKey& key, std::size_t at) {
    return key.bytes[at / 8] >> (7 - at % 8) & 1U;
  };
  for (std::size_t i = 0; i < 15; ++i) {
    EXPECT_EQ(bit(keys.source, 48 + i), bit(keys.source, 64 + i)) << i;
    EXPECT_EQ(bit(keys.source, 144 + i), bit(keys.source, 256 + i)) << i;
  }
  unsigned changed = 0;
  for (std::size_t i = 0; i < 320; ++i) {
    changed += bit(keys.source, i) != bit(wanted, i) ? 1U : 0U;
  }
  EXPECT_GT(changed, 5U);
  EXPECT_LE(changed, 30U);
}

TEST(SideKeys, OneKeyForBothSidesWouldNotDo) {
  std::mt19937_64 random(2);
  const SideKeys keys = arrange_side_keys(random_key(random));
  const std::vector<std::uint32_t> address{0xc000'0201};
  EXPECT_NE(hash(keys.source, 40, address, 4000, true),
            hash(keys.source, 40, address, 4000, false));
}

}  // namespace
}  // namespace sluice
