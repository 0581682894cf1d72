// SPDX-License-Identifier: Apache-2.0
// KUBERNETES.md 3.11: who holds the Lease chooses addresses and writes, and nobody else does; and
// who takes over goes on from what the cluster says.
#include "tests/unit/controlplane/kubernetes/controller_fixture.h"

namespace sluice::kubernetes {
namespace {

// The gateways may not have let go of it yet.
TEST_F(ControllerTest, WhoTakesOverGivesAnAddressToNoOtherWhileItsServiceGoes) {
  server_.with([this] { pools_ = {{pool("main", {"203.0.113.10-203.0.113.10"})}}; });
  Json leaving = assigned("web");
  leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z";
  put_service(leaving);
  put_service(balancer("next"));
  in_step_ = false;
  begin();
  EXPECT_TRUE(was_told("AddressPending about next"));
  expect_only("mark next");
  in_step_ = true;
  ASSERT_TRUE(within(kSoon, [this] { return vips_of("next") == " 203.0.113.10"; })) << log();
}

// Both statuses show it, as where the one that goes could not be written.
TEST_F(ControllerTest, WhoTakesOverLeavesAnAddressToTheOneThatStays) {
  Json object = assigned("stays");
  put_service(object);
  object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z";
  for (int i = 0; i < 8; ++i) {  // one of which would come first by chance, nearly always
    object["metadata"]["name"] = "goes-" + std::to_string(i);
    object["metadata"]["uid"] = "u-goes-" + std::to_string(i);
    put_service(object);
  }
  begin();
  ASSERT_TRUE(within(kSoon, [this] { return log().find("gateway") != std::string::npos; }));
  EXPECT_EQ(vips_of("stays"), " 203.0.113.10");
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

}  // namespace
}  // namespace sluice::kubernetes
