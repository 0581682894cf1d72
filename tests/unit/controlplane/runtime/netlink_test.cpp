// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/controlplane/runtime/netlink_fixture.h"

#include <iterator>
#include <sys/socket.h>
#include <sys/syscall.h>

namespace sluice::runtime {
namespace {

TEST_F(NetlinkTest, WhatIsThereIsToldBeforeTheConstructorReturns) {
  run("ip addr add 192.0.2.1/24 dev veth0");
  run("ip addr add 2001:db8::1/64 dev veth0");
  run("ip route add 198.51.100.0/24 via 192.0.2.2");
  run("ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:aa dev veth0 nud permanent");
  const Netlink netlink(told_.callbacks());
  told_.ask([this](const Told& told) {
    EXPECT_TRUE(told.has_address(index_, "192.0.2.1", 24));
    EXPECT_TRUE(told.has_address(index_, "2001:db8::1", 64));
    EXPECT_TRUE(told.has_route("192.0.2.0/24", index_, nullptr));
    EXPECT_TRUE(told.has_route("2001:db8::/64", index_, nullptr));
    EXPECT_TRUE(told.has_route("198.51.100.0/24", index_, "192.0.2.2"));
    EXPECT_EQ(told.neighbour(index_, "192.0.2.2"), "02:00:00:00:00:aa");
    EXPECT_EQ(told.link(index_), true);
    return 0;
  });
}

TEST_F(NetlinkTest, TheKernelsOwnRoutesForGroupsBroadcastAndItselfAreLeftOut) {
  run("ip addr add 192.0.2.1/24 dev veth0");
  run("ip addr add 2001:db8::1/64 dev veth0");
  const Netlink netlink(told_.callbacks());
  told_.ask([](const Told& told) {
    for (const char* prefix : {"192.0.2.1/32", "192.0.2.255/32", "192.0.2.0/32", "127.0.0.0/8",
                               "ff00::/8", "2001:db8::1/128", "2001:db8::/128"}) {
      EXPECT_TRUE(told.routes_to(prefix).empty()) << prefix;
    }
    return 0;
  });
}

TEST_F(NetlinkTest, AddressesComeAndGo) {
  const Netlink netlink(told_.callbacks());
  run("ip addr add 192.0.2.1/24 dev veth0");
  run("ip addr add 2001:db8::1/64 dev veth0");
  EXPECT_TRUE(told_.becomes([this](const Told& told) {
    return told.has_address(index_, "192.0.2.1", 24) && told.has_address(index_, "2001:db8::1", 64);
  }));
  run("ip addr del 192.0.2.1/24 dev veth0");
  run("ip addr del 2001:db8::1/64 dev veth0");
  EXPECT_TRUE(told_.becomes([this](const Told& told) {
    return !told.has_address(index_, "192.0.2.1", 24) &&
           !told.has_address(index_, "2001:db8::1", 64);
  }));
}

TEST_F(NetlinkTest, RoutesAreAddedReplacedAndDeleted) {
  run("ip addr add 192.0.2.1/24 dev veth0");
  run("ip addr add 2001:db8::1/64 dev veth0");
  const Netlink netlink(told_.callbacks());
  run("ip route add 198.51.100.0/24 via 192.0.2.2");
  run("ip route add 2001:db8:1::/48 via 2001:db8::2");
  EXPECT_TRUE(told_.becomes([this](const Told& told) {
    return told.has_route("198.51.100.0/24", index_, "192.0.2.2") &&
           told.has_route("2001:db8:1::/48", index_, "2001:db8::2");
  }));
  run("ip route replace 198.51.100.0/24 via 192.0.2.3");
  run("ip route replace 2001:db8:1::/48 via 2001:db8::3");
  EXPECT_TRUE(told_.becomes([this](const Told& told) {
    return told.has_route("198.51.100.0/24", index_, "192.0.2.3") &&
           told.has_route("2001:db8:1::/48", index_, "2001:db8::3");
  }));
  run("ip route del 198.51.100.0/24");
  run("ip route del 2001:db8:1::/48");
  EXPECT_TRUE(told_.becomes([](const Told& told) {
    return told.routes_to("198.51.100.0/24").empty() && told.routes_to("2001:db8:1::/48").empty();
  }));
}

TEST_F(NetlinkTest, RoutesThatSayNoAreBlackholes) {
  const Netlink netlink(told_.callbacks());
  const std::vector<std::pair<std::string, std::string>> routes = {
      {"blackhole", "198.51.100.0/25"},   {"unreachable", "198.51.100.128/25"},
      {"prohibit", "203.0.113.0/24"},     {"blackhole", "2001:db8:1::/48"},
      {"unreachable", "2001:db8:2::/48"}, {"prohibit", "2001:db8:3::/48"},
  };
  for (const auto& [kind, prefix] : routes) {
    run("ip route add " + kind + " " + prefix);
  }
  for (const auto& [kind, prefix] : routes) {
    EXPECT_TRUE(told_.becomes([&prefix = prefix](const Told& told) {
      const auto found = told.routes_to(prefix.c_str());
      return found.size() == 1 && found[0].kind == KernelRoute::Kind::kBlackhole;
    })) << kind
        << " " << prefix;
  }
}

TEST_F(NetlinkTest, DefaultRoutesHaveNoLength) {
  run("ip addr add 192.0.2.1/24 dev veth0");
  run("ip addr add 2001:db8::1/64 dev veth0");
  const Netlink netlink(told_.callbacks());
  run("ip route add default via 192.0.2.2 metric 50");
  run("ip -6 route add default via 2001:db8::2");
  EXPECT_TRUE(told_.becomes([this](const Told& told) {
    return told.has_route("0.0.0.0/0", index_, "192.0.2.2") &&
           told.has_route("::/0", index_, "2001:db8::2");
  }));
  told_.ask([](const Told& told) {
    EXPECT_EQ(told.routes_to("0.0.0.0/0")[0].metric, 50U);
    return 0;
  });
}

TEST_F(NetlinkTest, RoutesOfOtherMetricsStandBesideEachOther) {
  run("ip addr add 192.0.2.1/24 dev veth0");
  const Netlink netlink(told_.callbacks());
  run("ip route add 198.51.100.0/24 via 192.0.2.2 metric 10");
  run("ip route add 198.51.100.0/24 via 192.0.2.3 metric 20");
  EXPECT_TRUE(told_.becomes(
      [](const Told& told) { return told.routes_to("198.51.100.0/24").size() == 2; }));
  run("ip route del 198.51.100.0/24 metric 10");
  EXPECT_TRUE(told_.becomes(
      [this](const Told& told) { return told.has_route("198.51.100.0/24", index_, "192.0.2.3"); }));
}

TEST_F(NetlinkTest, OfIpv4RoutesWithOneKeyTheKernelsFirstCounts) {
  run("ip addr add 192.0.2.1/24 dev veth0");
  const Netlink netlink(told_.callbacks());
  run("ip route add 198.51.100.0/24 via 192.0.2.2");
  run("ip route append 198.51.100.0/24 via 192.0.2.3");
  run("ip route prepend 198.51.100.0/24 via 192.0.2.4");
  EXPECT_TRUE(told_.becomes(
      [this](const Told& told) { return told.has_route("198.51.100.0/24", index_, "192.0.2.4"); }));
  run("ip route del 198.51.100.0/24 via 192.0.2.4");
  EXPECT_TRUE(told_.becomes(
      [this](const Told& told) { return told.has_route("198.51.100.0/24", index_, "192.0.2.2"); }));
  run("ip route del 198.51.100.0/24 via 192.0.2.2");
  EXPECT_TRUE(told_.becomes(
      [this](const Told& told) { return told.has_route("198.51.100.0/24", index_, "192.0.2.3"); }));
}

TEST_F(NetlinkTest, OfSeveralNextHopsTheFirstIsTaken) {
  run("ip addr add 192.0.2.1/24 dev veth0");
  run("ip addr add 2001:db8::1/64 dev veth0");
  const Netlink netlink(told_.callbacks());
  run("ip route add 198.51.100.0/24 nexthop via 192.0.2.2 nexthop via 192.0.2.3");
  run("ip route add 2001:db8:1::/48 nexthop via 2001:db8::2 nexthop via 2001:db8::3");
  EXPECT_TRUE(told_.becomes([this](const Told& told) {
    return told.has_route("198.51.100.0/24", index_, "192.0.2.2") &&
           told.has_route("2001:db8:1::/48", index_, "2001:db8::2");
  }));
  run("ip route del 2001:db8:1::/48 via 2001:db8::2");
  EXPECT_TRUE(told_.becomes([this](const Told& told) {
    return told.has_route("2001:db8:1::/48", index_, "2001:db8::3");
  }));
}

TEST_F(NetlinkTest, ANextHopOverADeadLinkIsPassedOver) {
  const int other = add_link("other");
  run("ip addr add 192.0.2.1/24 dev veth0");
  run("ip addr add 10.1.0.1/24 dev other");
  const Netlink netlink(told_.callbacks());
  run("ip route add 198.51.100.0/24 nexthop via 10.1.0.2 nexthop via 192.0.2.2");
  EXPECT_TRUE(told_.becomes(
      [&](const Told& told) { return told.has_route("198.51.100.0/24", other, "10.1.0.2"); }));
  run("ip link set other down");
  EXPECT_TRUE(told_.becomes(
      [this](const Told& told) { return told.has_route("198.51.100.0/24", index_, "192.0.2.2"); }));
  run("ip link set other up");
  EXPECT_TRUE(told_.becomes(
      [&](const Told& told) { return told.has_route("198.51.100.0/24", other, "10.1.0.2"); }));
}

TEST_F(NetlinkTest, AnIpv4RouteMayLeadOverAnIpv6Neighbour) {
  run("ip addr add 2001:db8::1/64 dev veth0");
  const Netlink netlink(told_.callbacks());
  run("ip route add 198.51.100.0/24 via inet6 2001:db8::2 dev veth0");
  EXPECT_TRUE(told_.becomes([this](const Told& told) {
    return told.has_route("198.51.100.0/24", index_, "2001:db8::2");
  }));
}

TEST_F(NetlinkTest, OtherTablesServiceClassesAndSourcesAreLeftOut) {
  run("ip addr add 192.0.2.1/24 dev veth0");
  run("ip addr add 2001:db8::1/64 dev veth0");
  const Netlink netlink(told_.callbacks());
  run("ip route add 198.51.100.0/24 via 192.0.2.2 table 100");
  run("ip route add 198.51.101.0/24 via 192.0.2.2 tos 0x10");
  run("ip route add 2001:db8:1::/48 from 2001:db8:2::/48 via 2001:db8::2");
  run("ip route add 198.51.102.0/24 via 192.0.2.2");
  EXPECT_TRUE(told_.becomes(
      [](const Told& told) { return told.routes_to("198.51.102.0/24").size() == 1; }));
  told_.ask([](const Told& told) {
    EXPECT_TRUE(told.routes_to("198.51.100.0/24").empty());
    EXPECT_TRUE(told.routes_to("198.51.101.0/24").empty());
    EXPECT_TRUE(told.routes_to("2001:db8:1::/48").empty());
    return 0;
  });
}

// The kernel does not tell these: fib_flush() is silent.
TEST_F(NetlinkTest, RoutesFlushedInSilenceAreNoticed) {
  run("ip addr add 192.0.2.1/24 dev veth0");
  run("ip route add 198.51.100.0/24 via 192.0.2.2");
  const Netlink netlink(told_.callbacks());
  run("ip link set veth0 down");
  EXPECT_TRUE(told_.becomes([this](const Told& told) {
    return told.routes_to("198.51.100.0/24").empty() && told.link(index_) == false;
  }));
  run("ip link set veth0 up");
  run("ip route add 198.51.100.0/24 via 192.0.2.2");
  EXPECT_TRUE(told_.becomes([this](const Told& told) {
    return told.has_route("198.51.100.0/24", index_, "192.0.2.2") && told.link(index_) == true;
  }));
  run("ip addr del 192.0.2.1/24 dev veth0");
  EXPECT_TRUE(
      told_.becomes([](const Told& told) { return told.routes_to("198.51.100.0/24").empty(); }));
}

TEST_F(NetlinkTest, ADeletedLinkTakesAllOfItsAlong) {
  const int other = add_link("other");
  run("ip addr add 10.1.0.1/24 dev other");
  run("ip neigh add 10.1.0.2 lladdr 02:00:00:00:00:aa dev other nud permanent");
  const Netlink netlink(told_.callbacks());
  told_.ask([&](const Told& told) {
    EXPECT_EQ(told.neighbour(other, "10.1.0.2"), "02:00:00:00:00:aa");
    return 0;
  });
  run("ip link del other");
  EXPECT_TRUE(told_.becomes([&](const Told& told) {
    return told.neighbour(other, "10.1.0.2") == "gone" && told.link(other) == false &&
           !told.has_address(other, "10.1.0.1", 24) && told.routes_to("10.1.0.0/24").empty();
  }));
}

TEST_F(NetlinkTest, LeavingABridgeIsNotTheEndOfALink) {
  run("ip link add bridge type bridge");
  const Netlink netlink(told_.callbacks());
  run("ip link set veth0 master bridge");
  run("ip link set veth0 nomaster");
  const int late = add_link("late");  // told after all that came before it
  EXPECT_TRUE(told_.becomes([&](const Told& told) { return told.link(late) == true; }));
  EXPECT_EQ(told_.ask([this](const Told& told) { return told.link(index_); }), true);
}

TEST_F(NetlinkTest, PermanentNeighboursAreAddedChangedAndDeleted) {
  const Netlink netlink(told_.callbacks());
  for (const char* address : {"192.0.2.9", "2001:db8::9"}) {
    const auto add = [&](const char* mac) {
      run(fmt::format("ip neigh replace {} lladdr {} dev veth0 nud permanent", address, mac));
    };
    const auto becomes = [&](const std::string& what) {
      return told_.becomes(
          [&](const Told& told) { return told.neighbour(index_, address) == what; });
    };
    add("02:00:00:00:00:aa");
    EXPECT_TRUE(becomes("02:00:00:00:00:aa")) << address;
    add("02:00:00:00:00:bb");
    EXPECT_TRUE(becomes("02:00:00:00:00:bb")) << address;
    run(fmt::format("ip neigh del {} dev veth0", address));
    EXPECT_TRUE(becomes("gone")) << address;
  }
}

TEST_F(NetlinkTest, ABurstIsToldInFewDeliveries) {
  run("ip addr add 192.0.2.1/24 dev veth0");
  const Netlink netlink(told_.callbacks());
  const std::size_t before = told_.ask([](const Told& told) { return told.route_deliveries(); });
  batch(route_lines(5'000, "add"));
  EXPECT_TRUE(told_.becomes([](const Told& told) { return told.route_count() >= 5'000; }));
  const std::size_t deliveries =
      told_.ask([](const Told& told) { return told.route_deliveries(); }) - before;
  EXPECT_LT(deliveries, 500U);
}

TEST_F(NetlinkTest, NewsThatWereLostAreReadAgain) {
  run("ip addr add 192.0.2.1/24 dev veth0");
  const Netlink netlink(told_.callbacks(), 4'096);
  batch(route_lines(20'000, "add"));
  EXPECT_TRUE(told_.becomes([](const Told& told) { return told.route_count() == 20'000; }, 60s));
  std::string lines = route_lines(20'000, "del");
  for (int i = 0; i < 100; ++i) {
    lines +=
        fmt::format("neigh replace 192.0.2.{} lladdr 02:00:00:00:01:{:02x} dev veth0\n", 10 + i, i);
  }
  lines += "addr add 192.0.2.200/24 dev veth0\n";
  batch(lines);
  EXPECT_TRUE(told_.becomes(
      [this](const Told& told) {
        return told.route_count() == 0 && told.has_address(index_, "192.0.2.200", 24) &&
               told.neighbour(index_, "192.0.2.109") == "02:00:00:00:01:63";
      },
      60s));
}

// Numbers of this process's descriptors that are netlink sockets, in their order.
std::vector<int> netlink_sockets() {
  std::vector<int> found;
  for (int fd = 0; fd < 1'024; ++fd) {
    int domain = 0;
    socklen_t length = sizeof(domain);
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain == AF_NETLINK) {
      found.push_back(fd);
    }
  }
  return found;
}

TEST_F(NetlinkTest, ADumpThatFailsIsTriedAgain) {
  run("ip addr add 192.0.2.1/24 dev veth0");
  run("ip route add 198.51.100.0/24 via 192.0.2.2");
  const std::vector<int> before = netlink_sockets();
  const Netlink netlink(told_.callbacks());
  std::vector<int> ours;
  std::ranges::set_difference(netlink_sockets(), before, std::back_inserter(ours));
  ASSERT_EQ(ours.size(), 2U) << "one for news, then one for requests";
  const int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
  // Past the thread sanitizer, which would take our hand in the thread's pocket for its own fault.
  ASSERT_EQ(syscall(SYS_dup3, nowhere, ours[1], O_CLOEXEC), ours[1]);
  close(nowhere);
  run("ip link set veth0 down");  // the kernel drops its routes in silence, so they are read again
  EXPECT_TRUE(
      told_.becomes([](const Told& told) { return told.routes_to("198.51.100.0/24").empty(); }));
}

TEST_F(NetlinkTest, AHundredThousandRoutesAreSurvived) {
  run("ip addr add 192.0.2.1/24 dev veth0");
  const Netlink live(told_.callbacks());
  batch(route_lines(100'000, "add"));
  EXPECT_TRUE(told_.becomes([](const Told& told) { return told.route_count() == 100'000; }, 60s));
  const auto since = Clock::now();
  Told again;
  const Netlink dumped(again.callbacks());
  const auto taken = Clock::now() - since;
  RecordProperty("dump_ms", std::to_string(taken / 1ms));
  EXPECT_EQ(again.ask([](const Told& told) { return told.route_count(); }), 100'000U);
  EXPECT_LT(taken, 10s);
  run("ip route flush root 10.0.0.0/8");
  EXPECT_TRUE(told_.becomes([](const Told& told) { return told.route_count() == 0; }, 60s));
}

}  // namespace
}  // namespace sluice::runtime
