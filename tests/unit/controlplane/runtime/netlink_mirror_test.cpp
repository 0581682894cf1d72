// SPDX-License-Identifier: Apache-2.0
#include "controlplane/runtime/netlink_mirror.h"

#include <gtest/gtest.h>
#include <netlink/msg.h>

#include <array>
#include <cstring>
#include <linux/rtnetlink.h>
#include <random>
#include <vector>

namespace sluice::runtime {
namespace {

using Verb = RouteNews::Verb;
using model::KernelRoute;

constexpr int kInterface = 7;

RouteNews route(Verb verb, const char* prefix, std::vector<const char*> gateways) {
  RouteNews news;
  news.verb = verb;
  news.key.prefix = parse_prefix(prefix).value();
  for (const char* gateway : gateways) {
    news.ways.push_back({KernelRoute::Kind::kUnicast, kInterface, parse_ip(gateway)});
  }
  return news;
}

NeighbourNews neighbour(const char* address, std::uint8_t mac, bool reachable = true) {
  NeighbourNews news;
  news.neighbour = {kInterface, parse_ip(address).value(), {{2, 0, 0, 0, 0, mac}}, reachable};
  return news;
}

// The gateways of the routes told, in order.
std::vector<std::string> gateways(NetlinkMirror& mirror) {
  std::vector<std::string> told;
  for (const KernelRoute& route : mirror.changed_routes().value_or(std::vector<KernelRoute>())) {
    told.push_back(to_string(route.gateway.value()));
  }
  return told;
}

TEST(NetlinkMirror, TellsThatThereIsNothingOnce) {
  NetlinkMirror mirror;
  EXPECT_TRUE(mirror.changed_routes());
  EXPECT_TRUE(mirror.changed_addresses());
  EXPECT_FALSE(mirror.changed());
}

TEST(NetlinkMirror, ReplaceTakesThePlaceOfTheFirst) {
  NetlinkMirror mirror;
  mirror.take(route(Verb::kAppend, "198.51.100.0/24", {"192.0.2.2"}));
  mirror.take(route(Verb::kAppend, "198.51.100.0/24", {"192.0.2.3"}));
  mirror.take(route(Verb::kReplace, "198.51.100.0/24", {"192.0.2.4"}));
  EXPECT_EQ(gateways(mirror), std::vector<std::string>{"192.0.2.4"});
  mirror.take(route(Verb::kDelete, "198.51.100.0/24", {"192.0.2.4"}));
  EXPECT_EQ(gateways(mirror), std::vector<std::string>{"192.0.2.3"});
}

// What a dump already knew is heard again when it was queued before.
TEST(NetlinkMirror, NewsFromBeforeADumpLeaveNoGhost) {
  NetlinkMirror mirror;
  mirror.take(route(Verb::kAppend, "198.51.100.0/24", {"192.0.2.3"}));  // as dumped
  mirror.take(route(Verb::kPrepend, "198.51.100.0/24", {"192.0.2.2"}));
  mirror.take(route(Verb::kReplace, "198.51.100.0/24", {"192.0.2.3"}));
  EXPECT_EQ(gateways(mirror), std::vector<std::string>{"192.0.2.3"});
  EXPECT_TRUE(mirror.take(route(Verb::kDelete, "198.51.100.0/24", {"192.0.2.3"})));
  EXPECT_TRUE(gateways(mirror).empty());
  EXPECT_TRUE(mirror.take(route(Verb::kDelete, "198.51.100.0/24", {"192.0.2.3"})));
}

TEST(NetlinkMirror, ADeletionThatDoesNotFitAsksForADump) {
  NetlinkMirror mirror;
  mirror.take(route(Verb::kAppend, "198.51.100.0/24", {"192.0.2.2", "192.0.2.3"}));
  // The first hop died in silence; the kernel deletes the rest.
  EXPECT_FALSE(mirror.take(route(Verb::kDelete, "198.51.100.0/24", {"192.0.2.3"})));
}

TEST(NetlinkMirror, ALinkThatGoesDownAsksForADump) {
  NetlinkMirror mirror;
  EXPECT_TRUE(mirror.take(LinkNews{kInterface, true, true, false}));
  EXPECT_TRUE(mirror.take(LinkNews{kInterface, true, true, false}));
  EXPECT_FALSE(mirror.take(LinkNews{kInterface, true, false, false}));
  EXPECT_FALSE(mirror.take(LinkNews{kInterface, false, false, false}));
  using Links = std::vector<std::pair<int, bool>>;
  EXPECT_EQ(mirror.changed_links(), Links({{kInterface, false}}));
}

TEST(NetlinkMirror, WhatADumpDoesNotKnowIsGone) {
  NetlinkMirror mirror;
  mirror.take(LinkNews{kInterface, true, true, false});
  mirror.take(AddressNews{{kInterface, parse_ip("192.0.2.1").value(), 24}, false});
  mirror.take(neighbour("192.0.2.2", 2));
  mirror.take(neighbour("192.0.2.3", 3));
  mirror.take(neighbour("192.0.2.4", 4));
  mirror.take(route(Verb::kAppend, "198.51.100.0/24", {"192.0.2.2"}));
  mirror.changed_addresses();
  mirror.changed_neighbours();
  mirror.changed_links();
  mirror.changed_routes();

  NetlinkMirror dumped;
  dumped.take(neighbour("192.0.2.3", 3));
  dumped.take(neighbour("192.0.2.4", 44));
  mirror.adopt_all_but_routes(std::move(dumped));
  mirror.adopt_routes(NetlinkMirror());
  EXPECT_TRUE(mirror.changed_addresses().value().empty());
  EXPECT_TRUE(mirror.changed_routes().value().empty());
  const auto neighbours = mirror.changed_neighbours();
  ASSERT_EQ(neighbours.size(), 2U);
  EXPECT_FALSE(neighbours[0].reachable);
  EXPECT_EQ(to_string(neighbours[0].address), "192.0.2.2");
  EXPECT_EQ(neighbours[1].mac.bytes[5], 44);
  using Links = std::vector<std::pair<int, bool>>;
  EXPECT_EQ(mirror.changed_links(), Links({{kInterface, false}}));
}

TEST(NetlinkMirror, ADumpThatSaysTheSameTellsNothing) {
  const auto fill = [](NetlinkMirror& mirror) {
    mirror.take(LinkNews{kInterface, true, true, false});
    mirror.take(AddressNews{{kInterface, parse_ip("192.0.2.1").value(), 24}, false});
    mirror.take(neighbour("192.0.2.2", 2));
    mirror.take(route(Verb::kAppend, "198.51.100.0/24", {"192.0.2.2"}));
  };
  NetlinkMirror mirror;
  fill(mirror);
  mirror.changed_addresses();
  mirror.changed_neighbours();
  mirror.changed_links();
  mirror.changed_routes();
  for (const bool routes : {false, true}) {
    NetlinkMirror dumped;
    fill(dumped);
    routes ? mirror.adopt_routes(std::move(dumped))
           : mirror.adopt_all_but_routes(std::move(dumped));
    EXPECT_FALSE(mirror.changed());
  }
}

TEST(NetlinkMirror, OnlyAnotherMacOrReachabilityIsNews) {
  NetlinkMirror mirror;
  mirror.take(neighbour("192.0.2.2", 0, false));
  EXPECT_TRUE(mirror.changed_neighbours().empty());
  mirror.take(neighbour("192.0.2.2", 2));
  EXPECT_EQ(mirror.changed_neighbours().size(), 1U);
  mirror.take(neighbour("192.0.2.2", 2));
  EXPECT_TRUE(mirror.changed_neighbours().empty());
  mirror.take(neighbour("192.0.2.2", 3));
  mirror.take(neighbour("192.0.2.2", 0, false));
  const auto told = mirror.changed_neighbours();
  ASSERT_EQ(told.size(), 1U);  // the last word
  EXPECT_FALSE(told[0].reachable);
}

TEST(NetlinkDecode, BytesWithoutSenseAreNoHarm) {
  std::mt19937 random(1);  // NOLINT: the same every time
  for (int i = 0; i < 200'000; ++i) {
    alignas(nlmsghdr) std::array<std::uint8_t, 160> bytes{};
    for (std::uint8_t& byte : bytes) {
      // Small numbers make lengths and types that go some way.
      byte = static_cast<std::uint8_t>(random() % 4 == 0 ? random() % 32 : 0);
    }
    nlmsghdr header{};
    header.nlmsg_len = static_cast<std::uint32_t>(sizeof(header) + random() % (160 - 16 + 1));
    header.nlmsg_type = static_cast<std::uint16_t>(RTM_BASE + random() % 16);
    std::memcpy(bytes.data(), &header, sizeof(header));
    // Exactly as long as it says, so that the address sanitizer sees a step beyond.
    std::vector<std::uint8_t> message(bytes.begin(), bytes.begin() + header.nlmsg_len);
    static_cast<void>(decode(reinterpret_cast<nlmsghdr*>(message.data())));
  }
}

}  // namespace
}  // namespace sluice::runtime
