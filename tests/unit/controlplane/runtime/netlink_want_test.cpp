// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/controlplane/runtime/netlink_fixture.h"

namespace sluice::runtime {
namespace {

constexpr const char* kPeerMac = "02:00:00:00:00:02";

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
    EXPECT_LT(taken, 2s) << address;  // 100 us on a quiet machine; the kernel's rounds take 5 s
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
  EXPECT_LT(told_.ask([](const Told& told) { return told.last_neighbour(); }) - asked, 2s);
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

}  // namespace
}  // namespace sluice::runtime
