// SPDX-License-Identifier: Apache-2.0
// KUBERNETES.md 2.5: a service goes, or leaves an address, in the order gateways, status,
// finalizer; and an address is nobody else's before the gateways have let go of it.
#include "tests/unit/controlplane/kubernetes/controller_fixture.h"

namespace sluice::kubernetes {
namespace {

TEST_F(ControllerTest, DeletesInTheOrderAddressStatusMarkAndFreesTheAddressForOneThatWaits) {
  server_.with([this] { pools_ = {{pool("main", {"203.0.113.10-203.0.113.10"})}}; });
  begin_served();
  put_service(balancer("next"));
  EXPECT_TRUE(was_told("AddressPending about next"));
  server_.with([this] { log_.clear(); });
  remove("web");
  expect_only("gateway web");  // not before the gateway has let go of it
  serve_no_more("web");
  ASSERT_TRUE(within(kSoon, [this] {
    return log().find("unmark web") != std::string::npos &&
           log().find("gateway next 203.0.113.10") != std::string::npos;
  })) << log();
  EXPECT_EQ(log().find("gateway web, status web, "), 0U) << log();
  EXPECT_EQ(server_.with([this] { return objects_["web"]["metadata"]["finalizers"]; }),
            Json{"foreign/one"});
}

// Who leads next believes the status, and clients in the cluster do.
TEST_F(ControllerTest, AnAddressThatAStatusShowsIsNobodyElses) {
  server_.with([this] { pools_ = {{pool("main", {"203.0.113.10-203.0.113.10"})}}; });
  begin_served();
  put_service(balancer("next"));
  EXPECT_TRUE(was_told("AddressPending about next"));
  server_.with([this] {
    refusal_ = {403, R"({"message":"admission webhook \"x\" denied the request"})"};
    refused_ = "web";
  });
  remove("web");
  serve_no_more("web");
  ASSERT_TRUE(within(kSoon, [this] { return log().find("403") != std::string::npos; }));
  std::this_thread::sleep_for(kAWhile);
  EXPECT_EQ(vips_of("next"), "");
  server_.with([this] { refusal_.status = 0; });
  change("web", [](Json& object) { object["metadata"]["labels"]["a"] = "b"; });
  EXPECT_TRUE(within(kSoon, [this] { return vips_of("next") == " 203.0.113.10"; }));
}

TEST_F(ControllerTest, WaitsForAGatewayThatIsOutOfStepBeforeItLetsGo) {
  put_service(balancer("web"));
  begin();
  expect("mark web, gateway web 203.0.113.10");
  server_.with([this] { log_.clear(); });
  in_step_ = false;
  remove("web");
  expect_only("gateway web");
  in_step_ = true;
  expect("gateway web, unmark web");
}

// Gateways that others feed may be as late as these.
TEST_F(ControllerTest, KeepsFinalizerAndAddressForTheReleaseDelayThoughItsGatewaysHaveLetGo) {
  set_up(milliseconds(2'000));
  put_service(balancer("web"));
  begin();
  expect("mark web, gateway web 203.0.113.10");
  const auto begun = Clock::now();
  remove("web");
  expect("mark web, gateway web 203.0.113.10, gateway web, unmark web");
  EXPECT_GE(Clock::now() - begun, milliseconds(2'000));
}

TEST_F(ControllerTest, LetsGoWithoutAGatewayThatIsAwayForLongAndNotWithoutOneThatIsBusy) {
  set_up({}, kAWhile / 2);
  begin_served();
  server_.with([this] { log_.clear(); });
  in_step_ = false;
  remove("web");
  expect_only("gateway web");
  is_away_ = true;
  expect("gateway web, status web, unmark web");
}

TEST_F(ControllerTest, WaitsForAGatewayThatIsAwayAsLongAsItMayTake) {
  set_up({}, milliseconds(2'000));
  put_service(balancer("web"));
  begin();
  expect("mark web, gateway web 203.0.113.10");
  in_step_ = false;
  is_away_ = true;
  const auto begun = Clock::now();
  remove("web");
  expect("mark web, gateway web 203.0.113.10, gateway web, unmark web");
  EXPECT_GE(Clock::now() - begun, milliseconds(2'000));
}

TEST_F(ControllerTest, AnAddressThatAServiceHasLeftIsAnothersOnceTheGatewaysHaveLetGo) {
  begin_with_an_address_to_ask_for();
  serve("web", {kVip});
  put_service(balancer("next"));
  ASSERT_TRUE(was_told("AddressPending about next"));
  in_step_ = false;
  change("web", [](Json& object) {
    object["metadata"]["annotations"]["sluice.dev/load-balancer-ips"] = "198.51.100.1";
  });
  ASSERT_TRUE(within(kSoon, [this] { return vips_of("web") == " 198.51.100.1"; }));
  std::this_thread::sleep_for(kAWhile);
  EXPECT_EQ(vips_of("next"), "") << "a gateway may serve it still, for web";
  in_step_ = true;
  std::this_thread::sleep_for(kAWhile);
  EXPECT_EQ(vips_of("next"), "") << "and this one says so";
  serve("web", {"198.51.100.1"});
  EXPECT_TRUE(within(kSoon, [this] { return vips_of("next") == " 203.0.113.10"; }));
}

TEST_F(ControllerTest, WhatAServiceLeftItMayHaveAgainAtOnce) {
  begin_with_an_address_to_ask_for();
  in_step_ = false;
  for (const char* address : {"198.51.100.1", kVip}) {
    change("web", [&](Json& object) {
      object["metadata"]["annotations"]["sluice.dev/load-balancer-ips"] = address;
    });
    ASSERT_TRUE(within(kSoon, [&] { return vips_of("web") == std::string(" ") + address; }));
  }
}

TEST_F(ControllerTest, TheAddressOfAServiceThatHasVanishedIsFreeOnceTheGatewaysHaveLetGo) {
  server_.with([this] { pools_ = {{pool("main", {"203.0.113.10-203.0.113.10"})}}; });
  put_service(balancer("web"));
  begin();
  ASSERT_TRUE(within(kSoon, [this] { return vips_of("web") == " 203.0.113.10"; }));
  serve("web", {kVip});
  put_service(balancer("next"));
  ASSERT_TRUE(was_told("AddressPending about next"));
  server_.with([this] {  // somebody has taken the finalizer away
    state_.services().remove(objects_["web"].dump());
    objects_.erase("web");
  });
  std::this_thread::sleep_for(kAWhile);
  EXPECT_EQ(vips_of("next"), "");
  controller_->sent(0, {}, true);
  EXPECT_TRUE(within(kSoon, [this] { return vips_of("next") == " 203.0.113.10"; }));
}

TEST_F(ControllerTest, AGatewayThatIsAwayTakesNoAddressBack) {
  put_service(assigned("web"));
  begin();
  expect_only("gateway web 203.0.113.10");
}

TEST_F(ControllerTest, AChangeOfTypeFreesTheAddressAndTakesTheMarkAway) {
  begin_served();
  server_.with([this] { log_.clear(); });
  change("web", [](Json& object) {  // the API server clears the rest (2.1)
    object["spec"]["type"] = "ClusterIP";
    object["spec"].erase("loadBalancerClass");
    object.erase("status");
  });
  expect_only("gateway web");
  serve_no_more("web");
  expect("gateway web, unmark web");
}

}  // namespace
}  // namespace sluice::kubernetes
