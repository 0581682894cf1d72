// SPDX-License-Identifier: Apache-2.0
#include "controlplane/runtime/backend_routes.h"

#include "tests/unit/controlplane/runtime/netlink_fixture.h"

#include <cstdio>

namespace sluice::runtime {
namespace {

using Route = BackendRoutes::Route;

class BackendRoutesTest : public NetlinkTest {
 protected:
  void SetUp() override {
    NetlinkTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) {
      return;
    }
    run("ip addr add 192.0.2.1/24 dev veth0");
    run("ip addr add 2001:db8::1/64 dev veth0 nodad");
  }
  static Route route(const char* destination, const char* gateway) {
    return {parse_prefix(destination).value(), ip(gateway)};
  }
  // As `ip route` prints them, of both families, but for what the kernel made itself.
  static std::string shown() {
    std::string text;
    for (const char* family : {"-4", "-6"}) {
      FILE* pipe = popen(fmt::format("ip {} route show proto 84", family).c_str(), "r");
      char line[256];
      while (fgets(line, sizeof(line), pipe) != nullptr) {
        text += line;
      }
      pclose(pipe);
    }
    return text;
  }
  static bool has(const char* start) { return shown().find(start) != std::string::npos; }
};

TEST_F(BackendRoutesTest, AProvidersRoutesAreTheKernelsWhileTheyAreWanted) {
  BackendRoutes routes;
  EXPECT_TRUE(
      routes
          .set("east", {route("10.244.1.0/24", "192.0.2.11"), route("fd00:1::/64", "2001:db8::11")})
          .empty());
  EXPECT_TRUE(has("10.244.1.0/24 via 192.0.2.11 dev veth0 metric 2048")) << shown();
  EXPECT_TRUE(has("fd00:1::/64 via 2001:db8::11 dev veth0 metric 2048")) << shown();
  EXPECT_TRUE(
      routes
          .set("east", {route("10.244.1.0/24", "192.0.2.12"), route("10.244.2.0/24", "192.0.2.12")})
          .empty());
  EXPECT_TRUE(has("10.244.1.0/24 via 192.0.2.12")) << "the node has another address now";
  EXPECT_TRUE(has("10.244.2.0/24 via 192.0.2.12"));
  EXPECT_FALSE(has("fd00:1::/64"));
  EXPECT_TRUE(routes.set("west", {}).empty());
  EXPECT_TRUE(has("10.244.2.0/24")) << "another provider's are its own";
  EXPECT_TRUE(routes.set("east", {}).empty());
  EXPECT_EQ(shown(), "");
}

TEST_F(BackendRoutesTest, WhatTheKernelDoesNotTakeIsToldAndTheOthersHold) {
  BackendRoutes routes;
  const auto refused = routes.set(
      "east", {route("10.244.1.0/24", "198.51.100.9"), route("10.244.2.0/24", "192.0.2.11"),
               route("fd00:1::/64", "2001:db8:ffff::11")});
  ASSERT_EQ(refused.size(), 2U);
  EXPECT_EQ(to_string(refused[0].route.destination), "10.244.1.0/24");
  EXPECT_EQ(refused[0].reason,
            "198.51.100.9 is on no link of this gateway; give it an address there");
  EXPECT_EQ(to_string(refused[1].route.destination), "fd00:1::/64");
  EXPECT_TRUE(has("10.244.2.0/24 via 192.0.2.11"));
  run("ip addr add 198.51.100.1/24 dev veth0");
  EXPECT_TRUE(routes
                  .set("east", {route("10.244.1.0/24", "198.51.100.9"),
                                route("10.244.2.0/24", "192.0.2.11")})
                  .empty())
      << "asked again, it is tried again";
  EXPECT_TRUE(has("10.244.1.0/24 via 198.51.100.9"));
}

TEST_F(BackendRoutesTest, TwoProvidersDoNotShareADestination) {
  BackendRoutes routes;
  EXPECT_TRUE(routes.set("east", {route("10.244.1.0/24", "192.0.2.11")}).empty());
  const auto refused = routes.set("west", {route("10.244.1.0/24", "192.0.2.12")});
  ASSERT_EQ(refused.size(), 1U);
  EXPECT_EQ(refused[0].reason, "provider east has a route to it already");
  EXPECT_TRUE(has("10.244.1.0/24 via 192.0.2.11"));
}

TEST_F(BackendRoutesTest, ARouteOfTheHostsOwnGoesBeforeAndStays) {
  run("ip route add 10.244.1.0/24 via 192.0.2.99");
  {
    BackendRoutes routes;
    EXPECT_TRUE(routes.set("east", {route("10.244.1.0/24", "192.0.2.11")}).empty());
    FILE* pipe = popen("ip route get 10.244.1.5", "r");
    char line[256] = "";
    EXPECT_NE(fgets(line, sizeof(line), pipe), nullptr);
    pclose(pipe);
    EXPECT_NE(std::string(line).find("via 192.0.2.99"), std::string::npos) << line;
  }
  EXPECT_EQ(shown(), "");
  run("ip route show 10.244.1.0/24 | grep -q 'via 192.0.2.99'");
}

TEST_F(BackendRoutesTest, WhatAProcessBeforeHasLeftGoesAtTheStartAndAllAtTheEnd) {
  run("ip route add 10.9.0.0/24 via 192.0.2.11 proto 84 metric 2048");
  {
    BackendRoutes routes;
    EXPECT_EQ(shown(), "");
    EXPECT_TRUE(routes.set("east", {route("10.244.1.0/24", "192.0.2.11")}).empty());
  }
  EXPECT_EQ(shown(), "");
}

TEST_F(BackendRoutesTest, WhatTheKernelFlushesWithALinkIsPutBack) {
  BackendRoutes routes;
  EXPECT_TRUE(routes.set("east", {route("10.244.1.0/24", "192.0.2.11")}).empty());
  run("ip link set veth0 down");
  ASSERT_EQ(shown(), "");
  routes.repair_some();
  run("ip link set veth0 up");
  routes.repair_some();
  EXPECT_TRUE(has("10.244.1.0/24 via 192.0.2.11"));
}

}  // namespace
}  // namespace sluice::runtime
