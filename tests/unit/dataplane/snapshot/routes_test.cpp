// SPDX-License-Identifier: Apache-2.0
#include "dataplane/snapshot/routes.h"

#include <gtest/gtest.h>

#include <random>

namespace sluice {
namespace {

Route route(std::string_view prefix, std::uint8_t port) {
  return Route{parse_prefix(prefix).value(), Route::Kind::kOnLink, port, {}};
}

IpAddress ip(std::string_view text) {
  return parse_ip(text).value();
}

// The longest prefix that contains it; of equal ones the first.
const Route* naive_find(const std::vector<Route>& routes, const IpAddress& destination) {
  const Route* best = nullptr;
  for (const Route& candidate : routes) {
    if (candidate.prefix.contains(destination) &&
        (best == nullptr || candidate.prefix.length > best->prefix.length)) {
      best = &candidate;
    }
  }
  return best;
}

// Few enough distinct bits that prefixes nest and destinations hit them.
IpAddress random_address(std::mt19937_64& random, Family family) {
  IpAddress address;
  address.family = family;
  for (std::size_t i = 0; i < address.bits() / 8U; ++i) {
    address.bytes[i] = static_cast<std::uint8_t>(random() & random() & random());
  }
  return address;
}

TEST(RouteTable, WithoutRoutesThereIsNoWay) {
  EXPECT_EQ(RouteTable{}.find(ip("192.0.2.1")), nullptr);
  EXPECT_EQ(RouteTable{}.find(ip("2001:db8::1")), nullptr);
  EXPECT_EQ(RouteTable{}.size(), 0U);
}

TEST(RouteTable, TheLongestPrefixWins) {
  const RouteTable table(std::vector<Route>{route("0.0.0.0/0", 0), route("10.0.0.0/8", 1),
                                            route("10.1.0.0/16", 2), route("10.1.2.3/32", 3),
                                            route("10.1.2.0/24", 4)});
  EXPECT_EQ(table.find(ip("192.0.2.1"))->port, 0);
  EXPECT_EQ(table.find(ip("10.255.255.255"))->port, 1);
  EXPECT_EQ(table.find(ip("10.1.255.255"))->port, 2);
  EXPECT_EQ(table.find(ip("10.1.2.2"))->port, 4);
  EXPECT_EQ(table.find(ip("10.1.2.3"))->port, 3);
  EXPECT_EQ(table.size(), 5U);
}

TEST(RouteTable, TheDefaultRouteOfOneFamilyIsNotTheOthers) {
  const RouteTable table(std::vector<Route>{route("0.0.0.0/0", 1)});
  EXPECT_NE(table.find(ip("0.0.0.0")), nullptr);
  EXPECT_EQ(table.find(ip("::")), nullptr);
  const RouteTable six(std::vector<Route>{route("::/0", 1)});
  EXPECT_NE(six.find(ip("2001:db8::1")), nullptr);
  EXPECT_EQ(six.find(ip("192.0.2.1")), nullptr);
}

TEST(RouteTable, WithoutADefaultRouteTheRestHasNoWay) {
  const RouteTable table(std::vector<Route>{route("2001:db8::/32", 1)});
  EXPECT_NE(table.find(ip("2001:db8:ffff::1")), nullptr);
  EXPECT_EQ(table.find(ip("2001:db9::")), nullptr);
}

TEST(RouteTable, OfTwoRoutesWithOnePrefixTheFirstStays) {
  const RouteTable table(std::vector<Route>{route("10.0.0.0/8", 1), route("10.0.0.0/8", 2)});
  EXPECT_EQ(table.find(ip("10.0.0.1"))->port, 1);
  EXPECT_EQ(table.size(), 1U);
}

TEST(RouteTable, ABlackholeHidesTheShorterPrefix) {
  Route hole = route("10.1.0.0/16", 0);
  hole.kind = Route::Kind::kBlackhole;
  const RouteTable table(std::vector<Route>{route("10.0.0.0/8", 1), hole});
  EXPECT_EQ(table.find(ip("10.1.0.1"))->kind, Route::Kind::kBlackhole);
  EXPECT_EQ(table.find(ip("10.2.0.1"))->kind, Route::Kind::kOnLink);
}

TEST(RouteTable, EqualsALinearScanOverRandomPrefixes) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 20; ++round) {
    std::vector<Route> routes;
    for (std::size_t count = random() % 400; count > 0; --count) {
      const Family family = random() % 2 == 0 ? Family::kIpv4 : Family::kIpv6;
      const IpAddress address = random_address(random, family);
      Route next;
      next.prefix = prefix_of(address, static_cast<std::uint8_t>(random() % (address.bits() + 1U)));
      next.kind = Route::Kind::kGateway;
      next.gateway = random_address(random, family);
      next.port = static_cast<std::uint8_t>(random() % 16);
      routes.push_back(next);
    }
    const RouteTable table(routes);
    for (int i = 0; i < 2'000; ++i) {
      const Family family = i % 2 == 0 ? Family::kIpv4 : Family::kIpv6;
      const IpAddress destination = random_address(random, family);
      const Route* expected = naive_find(routes, destination);
      const Route* found = table.find(destination);
      ASSERT_EQ(found == nullptr, expected == nullptr) << to_string(destination);
      if (found != nullptr) {
        ASSERT_EQ(*found, *expected) << to_string(destination);
      }
    }
    for (const Route& own : routes) {  // the network address of each prefix, too
      ASSERT_EQ(*table.find(own.prefix.address), *naive_find(routes, own.prefix.address));
    }
  }
}

TEST(RouteTable, HoldsAsManyRoutesAsAreAllowed) {
  std::vector<Route> routes;
  for (std::uint32_t n = 0; n < 100'000; ++n) {
    Route next;
    next.prefix = prefix_of(IpAddress(Ipv4Address{Be32::from_host(n << 8U)}), 24);
    next.port = static_cast<std::uint8_t>(n % 16);
    routes.push_back(next);
  }
  const RouteTable table(routes);
  EXPECT_EQ(table.size(), 100'000U);
  for (std::uint32_t n = 0; n < 100'000; ++n) {
    const Route* found = table.find(IpAddress(Ipv4Address{Be32::from_host(n << 8U | 77U)}));
    ASSERT_NE(found, nullptr);
    ASSERT_EQ(found->port, n % 16);
  }
}

}  // namespace
}  // namespace sluice
