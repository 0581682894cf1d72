// SPDX-License-Identifier: Apache-2.0
// KUBERNETES.md 2.5, 3.11 and 1.25 to 1.29: in which order the Lease's holder gives addresses, has
// them served and tells the cluster, and what it leaves alone.
#include "controlplane/kubernetes/controller.h"

#include "tests/unit/controlplane/kubernetes/api_stub.h"
#include "tests/unit/controlplane/model/pools.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

namespace sluice::kubernetes {
namespace {

using model::pool;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;
using Json = nlohmann::json;
using Leads = LeaderElection::Leads;

// In which what must not happen would have happened.
constexpr milliseconds kAWhile{1'200};
constexpr const char* kVip = "203.0.113.10";
constexpr const char* kNextVip = "203.0.113.11";

class ControllerTest : public ::testing::Test {
 protected:
  // Under the server's lock: what it has, and what it and the gateways were told, in order.
  std::map<std::string, Json> objects_;
  int version_ = 0;
  std::string log_;
  std::map<std::string, std::string> at_gateways_;
  std::vector<std::string> events_;  // "REASON about NAME"
  Answer refusal_{0, ""};            // of writes; status 0: none
  bool is_deaf_ = false;             // what changes is not told
  std::atomic<bool> announces_{true};
  std::atomic<bool> in_step_{true};
  std::optional<std::vector<model::AddressPool>> pools_{
      {pool("main", {"203.0.113.10-203.0.113.11"})}};

  std::shared_ptr<const GatewayRoutes> routes_;   // before it begins
  std::function<void()> when_addressed_ = [] {};  // in the midst of a pass; before it begins
  ApiStub server_{[this](const Asked& asked) { return answer(asked); }};
  const ClusterAccess access_ = server_.access();
  Credentials credentials_{access_};
  std::unique_ptr<Controller> controller_;
  ClusterState state_{[this](const std::vector<ServiceName>& names) {
    if (controller_ != nullptr) {
      controller_->changed(names);
    }
  }};

  void SetUp() override { set_up({}); }
  void set_up(milliseconds release_delay) {
    Settings settings;
    settings.release_delay = release_delay;
    settings.provider = "east";
    settings.gateways = {"g1", "g2"};
    const auto addressed = [this](const std::vector<ServiceName>& names) {
      for (const ServiceName& name : names) {
        note_addresses(name.name);
      }
      when_addressed_();
    };
    controller_ = std::make_unique<Controller>(
        settings, "this", state_, access_, credentials_,
        Controller::Outside{.addressed = addressed,
                            .pools = [this] { return server_.with([this] { return pools_; }); },
                            .in_step = [this](std::size_t) { return in_step_.load(); },
                            .is_away = [this](std::size_t) { return !in_step_.load(); },
                            .announces = [this](std::size_t) { return announces_.load(); },
                            .routes = [this] { return routes_; }});
  }
  void TearDown() override {
    controller_->stop();
    // A request may still be answered, and is to tell nobody who is gone.
    server_.with([this] { is_deaf_ = true; });
  }

  void note(const std::string& what) { log_ += (log_.empty() ? "" : ", ") + what; }
  // Where gateways are to serve it, if that is new to them.
  void note_addresses(const std::string& name) {
    const std::string vips = vips_of(name);
    server_.with([&] {
      if (std::exchange(at_gateways_[name], vips) != vips) {
        note("gateway " + name + vips);
      }
    });
  }
  std::string vips_of(const std::string& name) {
    std::string text;
    const ServiceView view = state_.view({"shop", name});
    if (view.service != nullptr) {
      for (const IpAddress& vip : controller_->vips_of(*view.service)) {
        text += " " + sluice::to_string(vip);
      }
    }
    return text;
  }

  Answer answer(const Asked& asked) {
    const Json body = Json::parse(asked.body);
    if (asked.method == "POST") {
      events_.push_back(body["reason"].get<std::string>() + " about " +
                        body["regarding"]["name"].get<std::string>());
      return {201, "{}"};
    }
    if (refusal_.status != 0) {
      note(std::to_string(refusal_.status));
      return refusal_;
    }
    const bool is_status = asked.path.ends_with("/status");
    std::string name = asked.path.substr(0, asked.path.size() - (is_status ? 7 : 0));
    name = name.substr(name.rfind('/') + 1);
    const auto at = objects_.find(name);
    if (at == objects_.end()) {
      return {404, "{}"};
    }
    if (body["metadata"]["resourceVersion"] != at->second["metadata"]["resourceVersion"]) {
      note("409");
      return {409, "{}"};
    }
    note_patch(name, body, is_status);
    Json made = at->second;
    made.merge_patch(body);
    put(made);
    return {200, made.dump()};
  }
  void note_patch(const std::string& name, const Json& body, bool is_status) {
    if (!is_status) {
      const auto& finalizers = body["metadata"]["finalizers"];
      const bool marks =
          std::find(finalizers.begin(), finalizers.end(), kFinalizer) != finalizers.end();
      note((marks ? "mark " : "unmark ") + name);
      return;
    }
    const Json ingress = body["status"]["loadBalancer"]["ingress"];
    std::string vips;
    for (const Json& entry : ingress.is_null() ? Json::array() : ingress) {
      vips += " " + entry["ip"].get<std::string>();
    }
    note("status " + name + vips);
  }
  // As the server keeps it, and as a watch tells it.
  void put(Json& object) {
    object["metadata"]["resourceVersion"] = std::to_string(++version_);
    const std::string name = object["metadata"]["name"];
    const bool goes = object["metadata"].contains("deletionTimestamp") &&
                      object["metadata"]["finalizers"].empty();
    if (goes) {
      objects_.erase(name);
    } else {
      objects_[name] = object;
    }
    if (is_deaf_) {
      return;
    }
    goes ? state_.services().remove(object.dump()) : state_.services().take(object.dump());
  }
  static Json balancer(const std::string& name) {
    return {{"metadata",
             {{"namespace", "shop"},
              {"name", name},
              {"uid", "u-" + name},
              {"finalizers", {"foreign/one"}}}},
            {"spec",
             {{"type", "LoadBalancer"},
              {"loadBalancerClass", kLoadBalancerClass},
              {"clusterIP", "10.96.0.1"},
              {"ipFamilies", {"IPv4"}},
              {"ports", {{{"port", 80}, {"protocol", "TCP"}}}}}}};
  }
  void put_service(Json object) {
    server_.with([&] { put(object); });
  }
  template <typename Change>
  void change(const std::string& name, Change change) {
    server_.with([&] {
      Json object = objects_[name];
      change(object);
      put(object);
    });
  }
  // All that there is, as lists have it.
  void list() {
    server_.with([&] {
      state_.services().begin_list();
      for (const auto& [name, object] : objects_) {
        state_.services().take(object.dump());
      }
      state_.services().end_list();
      for (ObjectSink* sink : {&state_.slices(), &state_.nodes()}) {
        sink->begin_list();
        sink->end_list();
      }
    });
  }
  void lead(Leads leads = Leads::kFirst, milliseconds time = std::chrono::hours(1)) {
    controller_->set_leads(leads, Clock::now() + time);
  }
  // It leads, and all was listed before: as at the start of one that is alone.
  void begin() {
    lead();
    list();
  }
  // "web" has the one address that is given by itself; 198.51.100.1 is for who asks for it.
  void begin_with_an_address_to_ask_for() {
    server_.with([this] {
      pools_ = {{pool("main", {"203.0.113.10-203.0.113.10"}), pool("other", {"198.51.100.1"})}};
      pools_->at(1).auto_assign = false;
    });
    put_service(balancer("web"));
    begin();
    ASSERT_TRUE(within(kSoon, [this] { return vips_of("web") == " 203.0.113.10"; }));
  }
  void serve(const std::string& name, const std::vector<std::string>& vips,
             std::size_t gateway = 0) {
    Sent sent;
    sent.name = {"shop", name};
    sent.served = true;
    sent.vips = vips;
    controller_->sent(gateway, {sent}, false);
  }
  void serve_no_more(const std::string& name, std::size_t gateway = 0) {
    Sent sent;
    sent.name = {"shop", name};
    controller_->sent(gateway, {sent}, false);
  }
  void refuse(const std::string& name, const std::string& owner, std::size_t gateway = 0) {
    Sent sent;
    sent.name = {"shop", name};
    sent.refusal = "203.0.113.10:80/TCP is " + owner;
    sent.resource = "203.0.113.10:80/TCP";
    sent.owner = owner;
    controller_->sent(gateway, {sent}, false);
  }
  std::string log() {
    return server_.with([this] { return log_; });
  }
  void expect(const std::string& log) {
    within(kSoon, [&] { return this->log() == log; });
    EXPECT_EQ(this->log(), log);
  }
  // Nothing more, for a while.
  void expect_only(const std::string& log) {
    expect(log);
    std::this_thread::sleep_for(kAWhile);
    EXPECT_EQ(this->log(), log);
  }
  bool was_told(const std::string& event) {
    return within(kSoon, [&] {
      return server_.with(
          [&] { return std::find(events_.begin(), events_.end(), event) != events_.end(); });
    });
  }
};

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

TEST_F(ControllerTest, DeletesInTheOrderAddressStatusMarkAndFreesTheAddressForOneThatWaits) {
  server_.with([this] { pools_ = {{pool("main", {"203.0.113.10-203.0.113.10"})}}; });
  put_service(balancer("web"));
  begin();
  expect("mark web, gateway web 203.0.113.10");
  serve("web", {kVip});
  expect("mark web, gateway web 203.0.113.10, status web 203.0.113.10");
  put_service(balancer("next"));
  EXPECT_TRUE(was_told("AddressPending about next"));
  server_.with([this] { log_.clear(); });
  change("web",
         [](Json& object) { object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"; });
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

TEST_F(ControllerTest, WaitsForAGatewayThatIsOutOfStepBeforeItLetsGo) {
  put_service(balancer("web"));
  begin();
  expect("mark web, gateway web 203.0.113.10");
  server_.with([this] { log_.clear(); });
  in_step_ = false;
  change("web",
         [](Json& object) { object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"; });
  expect_only("gateway web");
  in_step_ = true;
  expect("gateway web, unmark web");
}

// Gateways that others feed may be as late as these.
TEST_F(ControllerTest, KeepsFinalizerAndAddressForTheReleaseDelayThoughItsGatewaysHaveLetGo) {
  controller_->stop();
  controller_.reset();
  set_up(milliseconds(2'000));
  put_service(balancer("web"));
  begin();
  expect("mark web, gateway web 203.0.113.10");
  const auto begun = Clock::now();
  change("web",
         [](Json& object) { object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"; });
  expect("mark web, gateway web 203.0.113.10, gateway web, unmark web");
  EXPECT_GE(Clock::now() - begun, milliseconds(2'000));
}

// The gateways may not have let go of it yet.
TEST_F(ControllerTest, WhoTakesOverGivesAnAddressToNoOtherWhileItsServiceGoes) {
  server_.with([this] { pools_ = {{pool("main", {"203.0.113.10-203.0.113.10"})}}; });
  Json leaving = balancer("web");
  leaving["metadata"]["finalizers"] = {kFinalizer};
  leaving["metadata"]["annotations"][kProviderAnnotation] = "east";
  leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z";
  leaving["status"]["loadBalancer"]["ingress"] = {{{"ip", kVip}, {"ipMode", "VIP"}}};
  put_service(leaving);
  put_service(balancer("next"));
  in_step_ = false;
  begin();
  EXPECT_TRUE(was_told("AddressPending about next"));
  expect_only("mark next");
  in_step_ = true;
  ASSERT_TRUE(within(kSoon, [this] { return vips_of("next") == " 203.0.113.10"; })) << log();
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
  put_service(balancer("web"));
  begin();
  expect("mark web, gateway web 203.0.113.10");
  serve("web", {kVip});
  expect("mark web, gateway web 203.0.113.10, status web 203.0.113.10");
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

TEST_F(ControllerTest, WithoutTheLeaseItWritesNothingAndServesWhatTheStatusSays) {
  Json object = balancer("web");
  object["status"]["loadBalancer"]["ingress"] = {{{"ip", kNextVip}, {"ipMode", "VIP"}}};
  put_service(object);
  list();
  serve("web", {kNextVip});
  expect_only("");
  EXPECT_EQ(vips_of("web"), " 203.0.113.11");
}

TEST_F(ControllerTest, KeepsWhatTheStatusSaysAndGivesOthersWhatIsLeft) {
  Json object = balancer("web");
  object["status"]["loadBalancer"]["ingress"] = {{{"ip", kVip}, {"ipMode", "VIP"}}};
  put_service(balancer("before"));
  put_service(object);
  begin();
  ASSERT_TRUE(within(kSoon, [this] { return vips_of("before") == " 203.0.113.11"; })) << log();
  EXPECT_EQ(vips_of("web"), " 203.0.113.10");
}

// The holder before may have given addresses that no watch has told of yet.
TEST_F(ControllerTest, ChoosesNothingBeforeItHasListedAnewWhereAnotherHeldTheLease) {
  put_service(balancer("web"));
  list();
  std::this_thread::sleep_for(milliseconds(10));
  lead(Leads::kFirst);
  expect_only("");
  EXPECT_TRUE(state_.services().wants_list());
  server_.with([this] { is_deaf_ = true; });
  change("web", [](Json& object) {
    object["status"]["loadBalancer"]["ingress"] = {{{"ip", kNextVip}, {"ipMode", "VIP"}}};
  });
  server_.with([this] { is_deaf_ = false; });
  list();
  expect("gateway web 203.0.113.11, mark web");
}

TEST_F(ControllerTest, ListsNothingAnewWhereTheLeaseWasItsOwnAllTheTime) {
  put_service(balancer("web"));
  list();
  lead(Leads::kAgain);
  expect("mark web, gateway web 203.0.113.10");
}

TEST_F(ControllerTest, ChoosesNothingWhileNoGatewayTellsItsPools) {
  server_.with([this] { pools_.reset(); });
  put_service(balancer("web"));
  begin();
  expect_only("");
}

TEST_F(ControllerTest, MakesUpForWhatWasLetGoWhileTheLeaseHadLapsed) {
  put_service(balancer("web"));
  begin();
  expect("mark web, gateway web 203.0.113.10");
  lead(Leads::kAgain, milliseconds(0));
  serve("web", {kVip});  // nothing may be written now
  expect_only("mark web, gateway web 203.0.113.10");
  lead(Leads::kAgain);
  expect("mark web, gateway web 203.0.113.10, status web 203.0.113.10");
}

TEST_F(ControllerTest, GivesBackNothingWhenItLosesTheLease) {
  put_service(balancer("web"));
  begin();
  expect("mark web, gateway web 203.0.113.10");
  controller_->set_leads(Leads::kNot, {});
  serve("web", {kVip});
  expect_only("mark web, gateway web 203.0.113.10");
  EXPECT_EQ(vips_of("web"), " 203.0.113.10") << "the status says nothing yet";
}

TEST_F(ControllerTest, APassThatBeganWithTheLeaseWritesNothingOnceItIsLost) {
  when_addressed_ = [this] {
    if (!vips_of("web").empty()) {
      controller_->set_leads(Leads::kNot, {});
      serve("web", {kVip});  // that it would tell in this very pass
    }
  };
  put_service(balancer("web"));
  begin();
  expect_only("mark web, gateway web 203.0.113.10");
}

TEST_F(ControllerTest, AnAddressThatItGaveIsNotThatOfALaterServiceOfTheNameOnceAnotherLeads) {
  put_service(balancer("web"));
  begin();
  expect("mark web, gateway web 203.0.113.10");
  controller_->set_leads(Leads::kNot, {});
  server_.with([this] {
    state_.services().remove(objects_["web"].dump());
    objects_.erase("web");
  });
  Json next = balancer("web");
  next["metadata"]["uid"] = "another";
  put_service(next);
  EXPECT_TRUE(within(kSoon, [this] { return vips_of("web").empty(); }));
}

TEST_F(ControllerTest, WhatAnotherLeaderHasGivenCountsAndStaysWhenTheLeaseComesBack) {
  put_service(balancer("web"));
  begin();
  expect("mark web, gateway web 203.0.113.10");
  controller_->set_leads(Leads::kNot, {});
  change("web", [](Json& object) {
    object["status"]["loadBalancer"]["ingress"] = {{{"ip", kNextVip}, {"ipMode", "VIP"}}};
  });
  ASSERT_TRUE(within(kSoon, [this] { return vips_of("web") == " 203.0.113.11"; }));
  lead();
  list();
  put_service(balancer("next"));
  EXPECT_TRUE(within(kSoon, [this] { return vips_of("next") == " 203.0.113.10"; })) << log();
  EXPECT_EQ(vips_of("web"), " 203.0.113.11");
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
  ASSERT_TRUE(within(kSoon, [this] { return log().find("mark more") != std::string::npos; }))
      << log();
  EXPECT_NE(log().find("mark all"), std::string::npos);
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

TEST_F(ControllerTest, AGatewayThatIsAwayTakesNoAddressBack) {
  Json object = balancer("web");
  object["metadata"]["finalizers"] = {kFinalizer};
  object["metadata"]["annotations"] = {{"sluice.dev/provider", "east"}};
  object["status"]["loadBalancer"]["ingress"] = {{{"ip", kVip}, {"ipMode", "VIP"}}};
  put_service(object);
  begin();
  expect_only("gateway web 203.0.113.10");
}

TEST_F(ControllerTest, AChangeOfTypeFreesTheAddressAndTakesTheMarkAway) {
  put_service(balancer("web"));
  begin();
  expect("mark web, gateway web 203.0.113.10");
  serve("web", {kVip});
  expect("mark web, gateway web 203.0.113.10, status web 203.0.113.10");
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
