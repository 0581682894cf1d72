// SPDX-License-Identifier: Apache-2.0
#include "dataplane/snapshot/ownership.h"

#include <rte_byteorder.h>
#include <rte_thash.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

namespace sluice {
namespace {

IpAddress ip(const char* text) {
  return parse_ip(text).value();
}

std::mt19937_64& random_numbers() {
  static std::mt19937_64 random(20261125);
  return random;
}

ToeplitzKey random_key() {
  ToeplitzKey key;
  for (std::uint8_t& byte : key.bytes) {
    byte = static_cast<std::uint8_t>(random_numbers()());
  }
  return key;
}

template <typename Key>
Key random_tuple() {
  Key key{};
  auto* bytes = reinterpret_cast<std::uint8_t*>(&key);
  for (std::size_t i = 0; i < 2 * sizeof(key.source) + 4; ++i) {
    bytes[i] = static_cast<std::uint8_t>(random_numbers()());
  }
  key.protocol = 17;
  return key;
}

// DPDK's hash of a tuple: its dwords in the CPU's order.
template <typename Key>
std::uint32_t dpdk_hash(const Key& key, const ToeplitzKey& rss_key) {
  constexpr std::size_t kWords = (2 * sizeof(key.source) + 4) / 4;
  std::uint32_t input[kWords];
  std::memcpy(input, &key, sizeof(input));
  for (std::uint32_t& word : input) {
    word = rte_be_to_cpu_32(word);
  }
  return rte_softrss(input, kWords, rss_key.bytes.data());
}

std::vector<std::uint8_t> reta_of(std::size_t entries, std::uint8_t lcores) {
  std::vector<std::uint8_t> reta(entries);
  for (std::uint8_t& lcore : reta) {
    lcore = static_cast<std::uint8_t>(random_numbers()() % lcores);
  }
  return reta;
}

TEST(Ownership, OfOneLcoreIsAlwaysThatOne) {
  const Ownership ownership(1);
  EXPECT_EQ(ownership.of_side(ip("192.0.2.1"), 4000), 0);
  EXPECT_EQ(ownership.of_client(ip("2001:db8::1")), 0);
}

TEST(Ownership, FollowsTheHashOfTheWireBytes) {
  const Ownership ownership(7);
  const std::vector<std::uint8_t> wire{192, 0, 2, 1, 0x0f, 0xa0};  // 192.0.2.1:4000
  const std::uint32_t hash = toeplitz(kMicrosoftToeplitzKey, wire);
  EXPECT_EQ(ownership.of_side(ip("192.0.2.1"), 4000), hash % Ownership::kRetaSize % 7);
}

TEST(Ownership, SpreadsPortsAndClientsEvenly) {
  for (const auto input : {OwnerInput::kClientSide, OwnerInput::kFullTuple}) {
    for (const char* text : {"192.0.2.1", "2001:db8::1"}) {
      const Ownership ownership(4, {.input = input});
      std::vector<int> ports(4);
      std::vector<int> clients(4);
      IpAddress client = ip(text);
      for (int i = 0; i < 60'000; ++i) {
        ++ports[ownership.of_side(client, static_cast<std::uint16_t>(1024 + i))];
      }
      for (int i = 0; i < 60'000; ++i) {
        client.bytes[client.bits() / 8 - 1] = static_cast<std::uint8_t>(i);
        client.bytes[client.bits() / 8 - 2] = static_cast<std::uint8_t>(i >> 8);
        ++clients[ownership.of_client(client)];
      }
      for (int lcore = 0; lcore < 4; ++lcore) {
        EXPECT_NEAR(ports[static_cast<std::size_t>(lcore)], 15'000, 1'500);
        EXPECT_NEAR(clients[static_cast<std::size_t>(lcore)], 15'000, 1'500);
      }
    }
  }
}

struct Nic {
  const char* name;
  std::size_t reta_entries;
};

class OwnershipAs : public ::testing::TestWithParam<Nic> {};
INSTANTIATE_TEST_SUITE_P(Nics, OwnershipAs,
                         ::testing::Values(Nic{"Ixgbe", 128}, Nic{"I40e", 512}, Nic{"Ice", 2048},
                                           Nic{"Mlx5", 64}),
                         [](const auto& made) { return made.param.name; });

// Any key and any RETA, those of a NIC that takes neither included.
template <typename Key>
void expect_the_nics_queue(std::size_t reta_entries) {
  for (int turn = 0; turn < 10; ++turn) {
    OwnerRule rule{.input = OwnerInput::kFullTuple, .key = random_key()};
    rule.reta = reta_of(reta_entries, 5);
    const Ownership ownership(5, rule);
    for (int i = 0; i < 200; ++i) {
      const Key key = random_tuple<Key>();
      const std::uint32_t hash = dpdk_hash(key, rule.key);
      ASSERT_EQ(ownership.hash_of(key, HashInput::kTuple), hash);
      ASSERT_EQ(ownership.of_packet(key, End::kSource, false), rule.reta[hash % reta_entries]);
      ASSERT_EQ(ownership.of_packet(key, End::kDestination, false), rule.reta[hash % reta_entries]);
    }
  }
}

TEST_P(OwnershipAs, TheOwnerOfAWholeTupleIsTheQueueTheNicPuts) {
  expect_the_nics_queue<FlowKey4>(GetParam().reta_entries);
  expect_the_nics_queue<FlowKey6>(GetParam().reta_entries);
}

// Inverse RSS: the walk says of each SNAT port whose the reply will be, by the NIC's own hash.
template <typename Key>
void expect_replies_home(std::size_t reta_entries) {
  OwnerRule rule{.input = OwnerInput::kFullTuple, .key = random_key()};
  rule.reta = reta_of(reta_entries, 3);
  const Ownership ownership(3, rule);
  for (int i = 0; i < 20; ++i) {
    Key reply = random_tuple<Key>();
    const Ownership::ReplyWalk walk = ownership.walk_of(reply);
    std::vector<int> owned(3);
    for (std::uint32_t port = 1024; port < 65'536; port += 13) {
      reply.destination_port = Be16::from_host(static_cast<std::uint16_t>(port));
      const std::uint8_t lcore = ownership.of_reply(walk, static_cast<std::uint16_t>(port));
      ASSERT_EQ(lcore, rule.reta[dpdk_hash(reply, rule.key) % reta_entries]);
      ++owned[lcore];
    }
    EXPECT_GT(*std::min_element(owned.begin(), owned.end()), 500) << "each lcore finds some";
  }
}

TEST_P(OwnershipAs, AReplyComesToTheLcoreThatChoseItsPort) {
  expect_replies_home<FlowKey4>(GetParam().reta_entries);
  expect_replies_home<FlowKey6>(GetParam().reta_entries);
}

template <typename Key>
void expect_one_owner_of_both_directions(OwnerInput input) {
  const Ownership ownership(4, {.input = input, .key = random_key()});
  for (int i = 0; i < 200; ++i) {
    const Key there = random_tuple<Key>();
    Key back = random_tuple<Key>();  // of a backend's own address and port
    back.destination = there.source;
    back.destination_port = there.source_port;
    EXPECT_EQ(ownership.of_packet(there, End::kSource, true),
              ownership.of_packet(back, End::kDestination, true));
  }
}

TEST(Ownership, UnderDnatBothDirectionsAreOneLcores) {
  for (const auto input :
       {OwnerInput::kClientSide, OwnerInput::kFullTuple, OwnerInput::kPortBits}) {
    expect_one_owner_of_both_directions<FlowKey4>(input);
    expect_one_owner_of_both_directions<FlowKey6>(input);
  }
}

TEST(Ownership, OneSideIsHashedWhereTheDevicePutsIt) {
  const ToeplitzKey key = random_key();
  const Ownership compact(4, {.layout = SideLayout::kCompact, .key = key});
  const Ownership in_place(4, {.layout = SideLayout::kInPlace, .key = key});
  FlowKey4 packet = random_tuple<FlowKey4>();
  FlowKey4 bare = packet;
  bare.destination = {};
  bare.destination_port = {};
  EXPECT_EQ(in_place.hash_of(packet, HashInput::kSource), dpdk_hash(bare, key));
  const std::uint32_t input[] = {rte_be_to_cpu_32(packet.source.value.raw),
                                 std::uint32_t{packet.source_port.host()} << 16U};
  EXPECT_EQ(compact.hash_of(packet, HashInput::kSource),
            rte_softrss(const_cast<std::uint32_t*>(input), 2, key.bytes.data()));
}

TEST(Ownership, SlicesOfPortsAreSharedOutEvenlyAndDoNotGoByTheLowestBit) {
  for (std::uint8_t lcores = 1; lcores <= 16; ++lcores) {
    const Ownership ownership(lcores, {.input = OwnerInput::kPortBits});
    std::vector<int> even(lcores);
    for (std::uint32_t port = 32'768; port < 61'000; port += 2) {
      ++even[ownership.of_side(ip("192.0.2.1"), static_cast<std::uint16_t>(port))];
    }
    const auto [least, most] = std::minmax_element(even.begin(), even.end());
    EXPECT_LT(*most, *least * 1.3) << int{lcores};
    const Ownership::ReplyWalk walk = ownership.walk_of(random_tuple<FlowKey4>());
    EXPECT_EQ(ownership.of_reply(walk, 40'000), ownership.of_side(ip("10.0.0.1"), 40'000));
  }
}

}  // namespace
}  // namespace sluice
