// SPDX-License-Identifier: Apache-2.0
#include "dataplane/snapshot/ownership.h"

#include <gtest/gtest.h>

#include <vector>

namespace sluice {
namespace {

IpAddress ip(const char* text) {
  return parse_ip(text).value();
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
  for (const char* text : {"192.0.2.1", "2001:db8::1"}) {
    const Ownership ownership(4);
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

}  // namespace
}  // namespace sluice
