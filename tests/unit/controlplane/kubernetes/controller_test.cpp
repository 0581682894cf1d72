// SPDX-License-Identifier: Apache-2.0
// KUBERNETES.md 3.11 and 1.25 to 1.29: in which order the Lease's holder gives addresses, has them
// served and tells the cluster, and what it leaves alone.
#include "tests/unit/controlplane/kubernetes/controller_fixture.h"

namespace sluice::kubernetes {
namespace {

TEST_F(ControllerTest, MarksThenGivesAnAddressThenWaitsForAGatewayThenTellsTheCluster) {
  put_service(balancer("web"));
  begin();
  expect_only("mark web, gateway web 203.0.113.10");
  serve("web", {kVip});
  expect_only("mark web, gateway web 203.0.113.10, status web 203.0.113.10");
  EXPECT_TRUE(was_told("Served about web"));
  const Json made = server_.with([this] { return objects_["web"]; });
  EXPECT_EQ(made["metadata"]["finalizers"], (Json{"foreign/one", kFinalizer}));
}

TEST_F(ControllerTest, TellsTheClusterOnlyOnceAGatewayAnnouncesIt) {
  announces_ = false;
  put_service(balancer("web"));
  begin();
  expect("mark web, gateway web 203.0.113.10");
  serve("web", {kVip});
  EXPECT_TRUE(was_told("GatewayStandby about web"));
  expect_only("mark web, gateway web 203.0.113.10");
  announces_ = true;
  expect("mark web, gateway web 203.0.113.10, status web 203.0.113.10");
}

TEST_F(ControllerTest, ASlicesAbsenceIsNoChangeOfDelivery) {
  routes_ = std::make_shared<const GatewayRoutes>(std::vector<IpPrefix>{});
  Json object = balancer("inside");
  object["spec"]["type"] = "NodePort";
  object["spec"].erase("loadBalancerClass");
  object["spec"]["ports"][0]["nodePort"] = 30080;
  put_service(object);
  begin();
  std::this_thread::sleep_for(kAWhile);
  server_.with([this] {
    state_.slices().take(
        R"({"metadata":{"namespace":"shop","name":"inside-1","labels":{"kubernetes.io/service-name":"inside"}},)"
        R"("addressType":"IPv4","ports":[{"name":"","port":8080,"protocol":"TCP"}],)"
        R"("endpoints":[{"addresses":["10.0.0.1"]}]})");
  });
  std::this_thread::sleep_for(kAWhile);
  EXPECT_EQ(server_.with([this] { return events_; }), std::vector<std::string>{});
}

TEST_F(ControllerTest, AServiceThatIsServedNoMoreForWhatItSaysLosesItsStatusAndSaysWhy) {
  begin_served();
  change("web", [](Json& object) { object["spec"]["ports"][0]["protocol"] = "SCTP"; });
  serve_no_more("web");
  expect("mark web, gateway web 203.0.113.10, status web 203.0.113.10, status web");
  EXPECT_TRUE(was_told("ProtocolNotSupported about web"));
  const Json made = server_.with([this] { return objects_["web"]["status"]; });
  EXPECT_EQ(made["conditions"][0]["reason"], "LoadBalancerMixedProtocolNotSupported");
  EXPECT_EQ(vips_of("web"), " 203.0.113.10") << "it may come back";
}

// A service that is gone in the middle of a write is no failure (2.5).
TEST_F(ControllerTest, GoesOnWhereAnObjectIsGoneAlready) {
  put_service(balancer("web"));
  put_service(balancer("next"));
  list();
  server_.with([this] { objects_.erase("web"); });
  lead(Leads::kAgain);
  expect("mark next, gateway next 203.0.113.10");
}

// 2.5, 3.11: occupied is an event and no status, never another address silently.
TEST_F(ControllerTest, AnAddressThatWasAskedForAndIsSomebodyElsesIsNotReplaced) {
  Json object = balancer("web");
  object["metadata"]["annotations"][kLoadBalancerIpsAnnotation] = kVip;
  put_service(object);
  begin();
  expect("mark web, gateway web 203.0.113.10");
  refuse("web", "cli: default/web");
  EXPECT_TRUE(was_told("GatewayRefused about web"));
  expect_only("mark web, gateway web 203.0.113.10");
}

TEST_F(ControllerTest, DecidesAgainWhereTheObjectHadChanged) {
  put_service(balancer("web"));
  server_.with([this] { is_deaf_ = true; });
  list();
  change("web", [](Json& object) { object["metadata"]["labels"]["a"] = "b"; });
  lead(Leads::kAgain);
  expect("409");
  server_.with([this] {
    is_deaf_ = false;
    log_.clear();
    state_.services().take(objects_["web"].dump());
  });
  expect("mark web, gateway web 203.0.113.10");
}

TEST_F(ControllerTest, AWebhooksRefusalHoldsUpOneServiceAndTheLackOfARightAll) {
  put_service(balancer("web"));
  begin();
  expect("mark web, gateway web 203.0.113.10");
  server_.with([this] {
    refusal_ = {403, R"({"message":"admission webhook \"x\" denied the request"})"};
  });
  put_service(balancer("held"));
  expect_only("mark web, gateway web 203.0.113.10, 403");
  server_.with([this] { refusal_.status = 0; });
  serve("web", {kVip});
  expect("mark web, gateway web 203.0.113.10, 403, status web 203.0.113.10");

  server_.with([this] {
    log_.clear();
    refusal_ = {403, R"({"message":"services \"a\" is forbidden: User cannot patch resource"})"};
  });
  put_service(balancer("all"));
  expect("403");
  put_service(balancer("more"));
  std::this_thread::sleep_for(Backoff::kFirst / 2);
  expect("403");  // and nothing for the others, until the pause is over
  server_.with([this] { refusal_.status = 0; });
  EXPECT_TRUE(within(kSoon, [this] {
    return log().find("mark more") != std::string::npos &&
           log().find("mark all") != std::string::npos;
  })) << log();
}

// It may be for one namespace alone.
TEST_F(ControllerTest, AWebhookThatCannotBeCalledHoldsUpOneService) {
  put_service(balancer("web"));
  begin();
  expect("mark web, gateway web 203.0.113.10");
  server_.with([this] {
    refusal_ = {500, R"({"message":"Internal error occurred: failed calling webhook \"x\""})"};
  });
  put_service(balancer("held"));
  expect_only("mark web, gateway web 203.0.113.10, 500");
  server_.with([this] { refusal_.status = 0; });
  serve("web", {kVip});
  expect("mark web, gateway web 203.0.113.10, 500, status web 203.0.113.10");
}

TEST_F(ControllerTest, OneServiceThatTheServerFailsAtKeepsNoOtherFromItsTurn) {
  server_.with([this] {
    refusal_ = {503, "{}"};
    refused_ = "bad";
  });
  put_service(balancer("bad"));
  begin();
  expect("503");
  constexpr std::size_t kOthers = 8;  // of which it would be the last by chance, but seldom
  for (std::size_t i = 0; i < kOthers; ++i) {
    put_service(balancer("web-" + std::to_string(i)));
  }
  const auto count = [this](const std::string& what) {
    const std::string text = log();
    std::size_t found = 0;
    for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) {
      ++found;
    }
    return found;
  };
  ASSERT_TRUE(within(kSoon, [&] { return count("503") > 1; }));
  EXPECT_EQ(count("mark web-"), kOthers) << log();
}

TEST_F(ControllerTest, AnAddressThatIsSomebodyElsesIsNotChosenAgain) {
  put_service(balancer("web"));
  begin();
  expect("mark web, gateway web 203.0.113.10");
  refuse("web", "cli: default/web");
  expect("mark web, gateway web 203.0.113.10, gateway web 203.0.113.11");
  EXPECT_TRUE(was_told("GatewayRefused about web"));
  serve("web", {kNextVip});
  expect("mark web, gateway web 203.0.113.10, gateway web 203.0.113.11, status web 203.0.113.11");
}

TEST_F(ControllerTest, AnAddressOfAPoolThatIsSomebodyElsesIsNamedByItselfAndNotChosenAgainEither) {
  server_.with([this] {
    pools_ = {{pool("main", {"203.0.113.10-203.0.113.11", "2001:db8:113::10-2001:db8:113::11"})}};
  });
  put_service(balancer("web"));
  begin();
  expect("mark web, gateway web 203.0.113.10");
  refuse("web", "cli: default/web", 0, "203.0.113.10");
  expect("mark web, gateway web 203.0.113.10, gateway web 203.0.113.11");
  Json object = balancer("next");
  object["spec"]["ipFamilies"] = {"IPv6"};
  object["spec"]["clusterIP"] = "fd00::1";
  put_service(object);
  ASSERT_TRUE(within(kSoon, [this] { return vips_of("next") == " 2001:db8:113::10"; }));
  for (const char* resource : {"2001:db8:113::10", "[2001:db8:113::11]:80/TCP"}) {
    refuse("next", "cli: default/web", 0, resource);
    const std::string refused = std::string(" ") + resource;
    EXPECT_TRUE(within(kSoon, [&] { return vips_of("next") != refused; })) << resource;
  }
  EXPECT_TRUE(within(kSoon, [this] { return vips_of("next").empty(); })) << "there is no third";
}

TEST_F(ControllerTest, AStatusStaysWhileOneGatewayServesItAndGoesWithTheLast) {
  put_service(balancer("web"));
  begin();
  expect("mark web, gateway web 203.0.113.10");
  serve("web", {kVip}, 0);
  serve("web", {kVip}, 1);
  const std::string so_far = "mark web, gateway web 203.0.113.10, status web 203.0.113.10";
  expect(so_far);
  refuse("web", "east: shop/other", 0);
  EXPECT_TRUE(was_told("GatewayRefused about web"));
  expect_only(so_far);
  serve_no_more("web", 1);
  controller_->sent(0, {}, true);
  refuse("web", "east: shop/other", 0);
  expect(so_far + ", status web");
}

TEST_F(ControllerTest, AServiceOfAnotherClassIsNotTouchedAlsoWhereItIsACopyOfOneOfOurs) {
  Json object = balancer("web");
  object["spec"]["loadBalancerClass"] = "example.com/other";
  put_service(object);
  Json copy = balancer("copy");
  copy["spec"]["loadBalancerClass"] = "example.com/other";
  copy["metadata"]["finalizers"] = {kFinalizer};
  copy["metadata"]["annotations"] = {{"sluice.dev/provider", "east"}};
  copy["status"]["loadBalancer"]["ingress"] = {{{"ip", kVip}, {"ipMode", "VIP"}}};
  put_service(copy);
  put_service(balancer("ours"));
  begin();
  expect_only("mark ours, gateway ours 203.0.113.10");
}

TEST_F(ControllerTest, WhoWaitsForAPortOfASharedAddressIsLookedAtWhenItIsFree) {
  const auto share = [this](const std::string& name, int port) {
    Json object = balancer(name);
    object["metadata"]["annotations"] = {{"sluice.dev/allow-shared-ip", "k"},
                                         {"sluice.dev/load-balancer-ips", kVip}};
    object["spec"]["ports"][0]["port"] = port;
    put_service(object);
  };
  share("web", 80);
  begin();
  ASSERT_TRUE(within(kSoon, [this] { return vips_of("web") == " 203.0.113.10"; }));
  share("next", 80);
  ASSERT_TRUE(was_told("AddressPending about next"));
  change("web", [](Json& object) { object["spec"]["ports"][0]["port"] = 81; });
  EXPECT_TRUE(within(kSoon, [this] { return vips_of("next") == " 203.0.113.10"; }));
}

// Where the annotation is all that decides, nobody would know why nothing happens.
TEST_F(ControllerTest, AnExternalNameWhoseAnnotationIsBadIsToldSo) {
  Json object = balancer("name");
  object["spec"] = {{"type", "ExternalName"}, {"externalName", "example.com"}};
  object["metadata"]["annotations"] = {{"sluice.dev/expose-external-name", "yes"}};
  put_service(object);
  begin();
  EXPECT_TRUE(was_told("BadAnnotation about name"));
}

TEST_F(ControllerTest, ARefusalOfAServiceWithoutAVipIsToldToo) {
  Json object = balancer("inside");
  object["spec"]["type"] = "NodePort";
  object["spec"].erase("loadBalancerClass");
  object["spec"]["ports"] = {{{"port", 80}, {"protocol", "TCP"}, {"nodePort", 30'080}}};
  put_service(object);
  begin();
  refuse("inside", "cli: shop/other");
  EXPECT_TRUE(was_told("GatewayRefused about inside"));
}

TEST_F(ControllerTest, TellsEachThingOnce) {
  server_.with([this] { pools_ = {{pool("main", {"203.0.113.10-203.0.113.10"})}}; });
  put_service(balancer("web"));
  put_service(balancer("late"));
  begin();
  ASSERT_TRUE(
      within(kSoon, [this] { return server_.with([this] { return events_.size() == 1; }); }));
  for (int i = 0; i < 5; ++i) {
    change("late", [&](Json& object) { object["metadata"]["labels"]["a"] = std::to_string(i); });
    change("web", [&](Json& object) { object["metadata"]["labels"]["a"] = std::to_string(i); });
  }
  std::this_thread::sleep_for(kAWhile);
  EXPECT_EQ(server_.with([this] { return events_.size(); }), 1U);
}

}  // namespace
}  // namespace sluice::kubernetes
