// SPDX-License-Identifier: Apache-2.0
// Against the real kernel: every test runs in a network namespace of its own, with a second one
// for the peer at the other end of a veth pair. Needs root.
#include "controlplane/runtime/netlink.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <map>
#include <mutex>
#include <net/if.h>
#include <sched.h>
#include <unistd.h>

namespace sluice::runtime {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using model::KernelRoute;

IpAddress ip(const char* text) {
  return parse_ip(text).value();
}

// What the callbacks told, to be waited for.
class Told {
 public:
  Netlink::Callbacks callbacks() {
    return {[this](auto addresses) { note([&] { addresses_ = std::move(addresses); }); },
            [this](auto routes) {
              note([&] {
                routes_ = std::move(routes);
                ++route_deliveries_;
              });
            },
            [this](const auto& neighbours) {
              note([&] {
                for (const model::KernelNeighbour& neighbour : neighbours) {
                  neighbours_[{neighbour.interface, neighbour.address}] = neighbour;
                  ++neighbour_reports_;
                  last_neighbour_ = Clock::now();
                }
              });
            },
            [this](int interface, bool up) { note([&] { links_[interface] = up; }); }};
  }

  template <typename Condition>
  bool becomes(Condition condition, std::chrono::milliseconds patience = 10s) {
    std::unique_lock lock(mutex_);
    return told_.wait_for(lock, patience, [&] { return condition(*this); });
  }
  template <typename Question>
  auto ask(Question question) {
    const std::lock_guard lock(mutex_);
    return question(*this);
  }

  [[nodiscard]] bool has_address(int interface, const char* address, int length) const {
    const model::KernelAddress wanted{interface, ip(address), static_cast<std::uint8_t>(length)};
    return std::find(addresses_.begin(), addresses_.end(), wanted) != addresses_.end();
  }
  [[nodiscard]] std::vector<KernelRoute> routes_to(const char* prefix) const {
    std::vector<KernelRoute> found;
    std::copy_if(routes_.begin(), routes_.end(), std::back_inserter(found),
                 [&](const KernelRoute& route) { return to_string(route.prefix) == prefix; });
    return found;
  }
  [[nodiscard]] bool has_route(const char* prefix, int interface, const char* gateway) const {
    const auto routes = routes_to(prefix);
    return routes.size() == 1 && routes[0].interface == interface &&
           routes[0].kind == KernelRoute::Kind::kUnicast &&
           (gateway == nullptr ? !routes[0].gateway : routes[0].gateway == ip(gateway));
  }
  // Of those that route_lines() made.
  [[nodiscard]] std::size_t route_count() const {
    return static_cast<std::size_t>(
        std::count_if(routes_.begin(), routes_.end(), [](const KernelRoute& route) {
          return route.prefix.length == 32 && route.prefix.address.is_ipv4();
        }));
  }
  [[nodiscard]] std::size_t route_deliveries() const { return route_deliveries_; }
  [[nodiscard]] std::size_t neighbour_reports() const { return neighbour_reports_; }
  [[nodiscard]] Clock::time_point last_neighbour() const { return last_neighbour_; }
  // The MAC of a reachable neighbour, "gone" of one reported as unreachable, or nothing.
  [[nodiscard]] std::string neighbour(int interface, const char* address) const {
    const auto at = neighbours_.find({interface, ip(address)});
    if (at == neighbours_.end()) {
      return "";
    }
    return at->second.reachable ? to_string(at->second.mac) : "gone";
  }
  [[nodiscard]] std::optional<bool> link(int interface) const {
    const auto at = links_.find(interface);
    return at == links_.end() ? std::nullopt : std::optional(at->second);
  }

 private:
  template <typename Change>
  void note(Change change) {
    const std::lock_guard lock(mutex_);
    change();
    told_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable told_;
  std::vector<model::KernelAddress> addresses_;
  std::vector<KernelRoute> routes_;
  std::map<std::pair<int, IpAddress>, model::KernelNeighbour> neighbours_;
  std::map<int, bool> links_;
  std::size_t route_deliveries_ = 0;
  std::size_t neighbour_reports_ = 0;
  Clock::time_point last_neighbour_;
};

class NetlinkTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) {
      GTEST_SKIP() << "needs root: it makes network namespaces";
    }
    outside_ = open_namespace();
    ASSERT_EQ(unshare(CLONE_NEWNET), 0);
    peer_ = open_namespace();
    ASSERT_EQ(unshare(CLONE_NEWNET), 0);
    here_ = open_namespace();
    run("ip link set lo up");
    run(fmt::format("ip link add veth0 type veth peer name veth0 netns /proc/{}/fd/{}", getpid(),
                    peer_));
    sysctl("ipv6/conf/veth0/accept_dad", "0");
    run("ip link set veth0 address 02:00:00:00:00:01 up");
    index_ = static_cast<int>(if_nametoindex("veth0"));
    ASSERT_NE(index_, 0);
    at_peer([this] {
      sysctl("ipv6/conf/veth0/accept_dad", "0");
      run("ip link set veth0 address 02:00:00:00:00:02 up");
    });
    // Neighbours that fall silent are noticed within a second or two rather than a minute.
    for (const char* family : {"ipv4", "ipv6"}) {
      const std::string folder = std::string(family) + "/neigh/veth0/";
      sysctl(folder + "base_reachable_time_ms", "400");
      sysctl(folder + "delay_first_probe_time", "0");
      sysctl(folder + "retrans_time_ms", "50");
    }
  }
  void TearDown() override {
    if (outside_ >= 0) {
      setns(outside_, CLONE_NEWNET);
      for (const int fd : {here_, peer_, outside_}) {
        close(fd);
      }
    }
  }

  static int open_namespace() { return open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC); }
  static void run(const std::string& command) {
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
  }
  static void sysctl(const std::string& name, const char* value) {
    std::ofstream("/proc/sys/net/" + name) << value;
  }
  template <typename Deed>
  void at_peer(Deed deed) {
    setns(peer_, CLONE_NEWNET);
    deed();
    setns(here_, CLONE_NEWNET);
  }
  // Many `ip` commands in one process.
  static void batch(const std::string& lines) {
    FILE* pipe = popen("ip -batch -", "w");
    ASSERT_NE(pipe, nullptr);
    fputs(lines.c_str(), pipe);
    ASSERT_EQ(pclose(pipe), 0);
  }
  // A pair in this namespace, so that the far end may be set down.
  int add_link(const std::string& name) {
    run(fmt::format("ip link add {0} type veth peer name {0}p", name));
    run(fmt::format("ip link set {}p up", name));
    run(fmt::format("ip link set {} up", name));
    return static_cast<int>(if_nametoindex(name.c_str()));
  }
  static std::string route_lines(int count, const char* verb) {
    std::string lines;
    for (int i = 0; i < count; ++i) {
      lines += fmt::format("route {} 10.{}.{}.{}/32 via 192.0.2.2\n", verb, 100 + i / 65'536,
                           i / 256 % 256, i % 256);
    }
    return lines;
  }

  int outside_ = -1;
  int here_ = -1;
  int peer_ = -1;
  int index_ = 0;
  Told told_;
};

constexpr const char* kPeerMac = "02:00:00:00:00:02";

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

class WantTest : public NetlinkTest {
 protected:
  void SetUp() override {
    NetlinkTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) {
      return;
    }
    run("ip addr add 192.0.2.1/24 dev veth0");
    run("ip addr add 2001:db8::1/64 dev veth0");
    at_peer([this] {
      run("ip addr add 192.0.2.2/24 dev veth0");
      run("ip addr add 2001:db8::2/64 dev veth0");
    });
  }
  bool becomes(const char* address, const std::string& what,
               std::chrono::milliseconds patience = 10s) {
    return told_.becomes([&](const Told& told) { return told.neighbour(index_, address) == what; },
                         patience);
  }
};

TEST_F(WantTest, AWantedNeighbourIsResolvedInMilliseconds) {
  Netlink netlink(told_.callbacks());
  for (const char* address : {"192.0.2.2", "2001:db8::2"}) {
    const auto asked = Clock::now();
    netlink.want(index_, ip(address));
    ASSERT_TRUE(becomes(address, kPeerMac)) << address;
    const auto taken = told_.ask([&](const Told& told) { return told.last_neighbour() - asked; });
    RecordProperty(address, std::to_string(taken / 1us) + " us");
    EXPECT_LT(taken, 100ms) << address;  // a few hundred microseconds on a quiet machine
  }
}

// What the kernel keeps by itself it looks at every five seconds (neigh/default of the first
// namespace), so each step takes about as long.
TEST_F(WantTest, AWantedNeighbourIsFollowedThroughItsLife) {
  Netlink netlink(told_.callbacks());
  netlink.want(index_, ip("192.0.2.2"));
  netlink.want(index_, ip("2001:db8::2"));
  const auto both_become = [this](const char* what) {
    EXPECT_TRUE(becomes("192.0.2.2", what, 20s));
    EXPECT_TRUE(becomes("2001:db8::2", what, 20s));
  };
  both_become(kPeerMac);
  at_peer([] { run("ip link set veth0 address 02:00:00:00:00:03"); });
  both_become("02:00:00:00:00:03");
  at_peer([] { run("ip addr flush dev veth0"); });
  both_become("gone");
  at_peer([] {
    run("ip addr add 192.0.2.2/24 dev veth0");
    run("ip addr add 2001:db8::2/64 dev veth0");
  });
  both_become("02:00:00:00:00:03");
}

TEST_F(WantTest, ADeadNeighbourWantedAgainIsProbedAtOnce) {
  Netlink netlink(told_.callbacks());
  netlink.want(index_, ip("192.0.2.7"));
  while (std::system("ip neigh show 192.0.2.7 | grep -q FAILED") != 0) {
    usleep(10'000);
  }
  at_peer([this] { run("ip addr add 192.0.2.7/24 dev veth0"); });
  const auto asked = Clock::now();
  netlink.want(index_, ip("192.0.2.7"));
  ASSERT_TRUE(becomes("192.0.2.7", kPeerMac));
  EXPECT_LT(told_.ask([](const Told& told) { return told.last_neighbour(); }) - asked, 100ms);
}

TEST_F(WantTest, AWantedNeighbourSurvivesDeletionAndALinkThatWasDown) {
  Netlink netlink(told_.callbacks());
  netlink.want(index_, ip("192.0.2.2"));
  ASSERT_TRUE(becomes("192.0.2.2", kPeerMac));
  const auto reports = [this] {
    return told_.ask([](const Told& told) { return told.neighbour_reports(); });
  };
  const std::size_t before = reports();
  run("ip neigh del 192.0.2.2 dev veth0");
  EXPECT_TRUE(told_.becomes([&](const Told& told) {
    return told.neighbour_reports() >= before + 2 &&
           told.neighbour(index_, "192.0.2.2") == kPeerMac;
  }));
  run("ip link set veth0 down");
  EXPECT_TRUE(becomes("192.0.2.2", "gone"));
  run("ip link set veth0 up");
  EXPECT_TRUE(becomes("192.0.2.2", kPeerMac));
}

TEST_F(WantTest, APermanentNeighbourStaysPermanentWhenWanted) {
  run("ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:aa dev veth0 nud permanent");
  {
    Netlink netlink(told_.callbacks());
    netlink.want(index_, ip("192.0.2.9"));
    netlink.want(index_, ip("192.0.2.2"));
    ASSERT_TRUE(becomes("192.0.2.2", kPeerMac));  // by then the first order has been carried out
    EXPECT_EQ(told_.ask([this](const Told& told) { return told.neighbour(index_, "192.0.2.9"); }),
              "02:00:00:00:00:aa");
    run("ip neigh show 192.0.2.9 | grep -q PERMANENT");
  }
  run("ip neigh show 192.0.2.9 | grep -q PERMANENT");
}

TEST_F(WantTest, TheKernelKeepsAWantedNeighbourUntilItIsUnwanted) {
  Netlink netlink(told_.callbacks());
  netlink.want(index_, ip("192.0.2.2"));
  ASSERT_TRUE(becomes("192.0.2.2", kPeerMac));
  run("ip neigh show 192.0.2.2 | grep -q managed");
  netlink.unwant(index_, ip("192.0.2.2"));
  netlink.want(index_, ip("2001:db8::2"));
  ASSERT_TRUE(becomes("2001:db8::2", kPeerMac));  // after the order before it
  run("! ip neigh show 192.0.2.2 | grep -q managed");
  run("ip neigh show 192.0.2.2 | grep -q 02:00:00:00:00:02");
}

TEST_F(WantTest, NothingIsKeptAfterTheEnd) {
  {
    Netlink netlink(told_.callbacks());
    netlink.want(index_, ip("192.0.2.2"));
    ASSERT_TRUE(becomes("192.0.2.2", kPeerMac));
  }
  run("! ip neigh show | grep -q managed");
}

TEST_F(WantTest, ASteadyNeighbourIsReportedOnce) {
  Netlink netlink(told_.callbacks());
  netlink.want(index_, ip("192.0.2.2"));
  ASSERT_TRUE(becomes("192.0.2.2", kPeerMac));
  const auto reports = [this] {
    return told_.ask([](const Told& told) { return told.neighbour_reports(); });
  };
  const std::size_t before = reports();
  for (int i = 0; i < 100; ++i) {  // through stale, delay, probe and back, several times
    netlink.want(index_, ip("192.0.2.2"));
    usleep(20'000);
  }
  EXPECT_EQ(reports(), before);
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
