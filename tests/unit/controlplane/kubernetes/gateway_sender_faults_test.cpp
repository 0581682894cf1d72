// SPDX-License-Identifier: Apache-2.0
// What a sender does when a gateway refuses services, forgets them or goes away.
#include "tests/support/rpc_status.h"
#include "tests/unit/controlplane/kubernetes/gateway_sender_fixture.h"

#include "google/rpc/error_details.pb.h"

namespace sluice::kubernetes {
namespace {

using Texts = std::vector<std::string>;

constexpr const char* kRefused = "refused: spec.ports[0].port: no port for bad";

FakeGateway::Verdict refusing(const std::vector<std::string>& names) {
  return [names](const v1::ApplyRequest& request) { return refuse(request, names); };
}
FakeGateway::Verdict refusing_form(const std::string& form) {
  return [form](const v1::ApplyRequest& request) {
    for (const v1::Service& service : request.upsert()) {
      if (service.spec().ports(0).name() == form) {
        return refuse(request, {service.metadata().name()});
      }
    }
    return grpc::Status::OK;
  };
}

TEST_F(GatewaySenderTest, ARefusedServiceIsLeftOutAndTheOthersGetThrough) {
  settings_.fold = milliseconds(100);
  settings_.again = kNever;
  start_in_step();
  gateway_->set_verdict(refusing({"bad", "worse"}));
  for (const char* name : {"a", "bad", "c", "d", "worse", "f"}) {
    want(name, "1");
  }
  ASSERT_TRUE(await_forms({{"a", "1"}, {"c", "1"}, {"d", "1"}, {"f", "1"}}));
  EXPECT_EQ(writes(1), (Texts{"upsert a=1 bad=1 c=1 d=1 f=1 worse=1", "upsert a=1 c=1 d=1 f=1"}));
  EXPECT_EQ(reports_of("bad"), Texts{kRefused});
  EXPECT_EQ(reports_of("worse"), Texts{"refused: spec.ports[0].port: no port for worse"});
  EXPECT_EQ(reports_of("a"), Texts{"served 192.0.2.1"});
  EXPECT_TRUE(await([this] { return counts().refused == 2; }));
  EXPECT_TRUE(await([this] { return counts().in_step; }));
}

// By which it can be passed over. Of several the gateway names the owner of the first alone, and of
// what is over a quota no address is at fault.
TEST_F(GatewaySenderTest, AVipThatIsNotToBeHadIsNamedForEachService) {
  settings_.fold = milliseconds(100);
  settings_.again = kNever;
  start_in_step();
  std::atomic<grpc::StatusCode> code{grpc::StatusCode::INVALID_ARGUMENT};
  gateway_->set_verdict([&](const v1::ApplyRequest& request) {
    grpc::Status refused;
    google::rpc::BadRequest faults;
    google::rpc::ResourceInfo first;
    for (int i = 0; i < request.upsert_size(); ++i) {
      auto* fault = faults.add_field_violations();
      fault->set_field("upsert[" + std::to_string(i) + "].spec.loadBalancerIPs[0]");
      fault->set_description("taken");
    }
    if (code == grpc::StatusCode::ALREADY_EXISTS) {
      first.set_resource_name(request.upsert(0).spec().load_balancer_ips(0));
      first.set_owner("cluster-b: default/web");
    }
    return request.upsert_size() == 0 ? grpc::Status::OK : status_of(code, "taken", faults, first);
  });
  const std::string taken = "refused: spec.loadBalancerIPs[0]: taken";
  for (const char* name : {"a", "bb"}) {
    want(name, "1");
  }
  EXPECT_TRUE(await_report("a", taken + " (192.0.2.1 of )"));
  EXPECT_TRUE(await_report("bb", taken + " (192.0.2.2 of )"));
  code = grpc::StatusCode::ALREADY_EXISTS;
  for (const char* name : {"ccc", "dddd"}) {
    want(name, "1");
  }
  ASSERT_TRUE(
      await([&] { return !last_report_of("ccc").empty() && !last_report_of("dddd").empty(); }));
  const std::string both = last_report_of("ccc") + last_report_of("dddd");
  EXPECT_NE(both.find("(192.0.2.3 of "), std::string::npos) << both;
  EXPECT_NE(both.find("(192.0.2.4 of "), std::string::npos) << both;
  EXPECT_EQ(both.find("cluster-b"), both.rfind("cluster-b")) << both;
  EXPECT_NE(both.find("cluster-b"), std::string::npos) << both;
  code = grpc::StatusCode::FAILED_PRECONDITION;
  want("eeeee", "1");
  EXPECT_TRUE(await_report("eeeee", taken));
}

TEST_F(GatewaySenderTest, AWriteOfWhichAllIsRefusedIsNone) {
  settings_.again = kNever;
  start_in_step();
  gateway_->set_verdict(refusing({"bad"}));
  want("bad", "1");
  ASSERT_TRUE(await_report("bad", kRefused));
  ASSERT_TRUE(await([this] { return counts().refused == 1; }));
  EXPECT_EQ(counts().writes, 0U);
  EXPECT_EQ(reports().size(), 2U);  // and nothing of an empty one
}

// It does not say which services it has no room for: two writes for each, and not a second's wait
// for each of these.
TEST_F(GatewaySenderTest, AGatewayThatStaysFullIsWaitedForOnceAndNotForEachService) {
  settings_.again = kNever;
  settings_.fold = milliseconds(50);
  start_in_step();
  gateway_->set_verdict([](const v1::ApplyRequest& request) {
    return request.upsert().empty() ? grpc::Status::OK
                                    : grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "full");
  });
  std::vector<std::string> names;
  for (int i = 0; i < 32; ++i) {
    names.push_back("s" + std::to_string(i));
    prepare(names.back(), "1");
  }
  tell(names);
  ASSERT_TRUE(await([this] { return counts().refused == 32; }));
  EXPECT_EQ(last_report_of("s7"), "refused: full");
  EXPECT_TRUE(await([this] { return counts().in_step; }));
}

TEST_F(GatewaySenderTest, AQuotaIsNotWaitedForAndHoldsUpNoOtherService) {
  settings_.fold = milliseconds(100);
  settings_.again = kNever;
  start_in_step();
  gateway_->set_verdict([](const v1::ApplyRequest& request) {
    for (int i = 0; i < request.upsert_size(); ++i) {
      if (request.upsert(i).metadata().name() == "over") {
        google::rpc::ErrorInfo info;
        info.set_reason("OVER_QUOTA");
        info.set_domain("sluice.dev");
        google::rpc::BadRequest faults;
        auto& fault = *faults.add_field_violations();
        fault.set_field("upsert[" + std::to_string(i) + "].metadata.name");
        fault.set_description("provider 'east' would have 3 services");
        return status_of(grpc::StatusCode::RESOURCE_EXHAUSTED, "over a quota", info, faults);
      }
    }
    return grpc::Status::OK;
  });
  want("a", "1");
  want("over", "1");
  ASSERT_TRUE(await_forms({{"a", "1"}}));
  EXPECT_EQ(writes(1), (Texts{"upsert a=1 over=1", "upsert a=1"}));
  EXPECT_EQ(reports_of("over"),
            Texts{"refused: metadata.name: provider 'east' would have 3 services"});
}

// Somebody who writes as this provider all the time.
TEST_F(GatewaySenderTest, WhoStartsOverAgainAndAgainDoesSoEverMoreSeldom) {
  prepare("web", "1");
  start_in_step();
  const auto end = std::chrono::steady_clock::now() + milliseconds(3'200);
  while (std::chrono::steady_clock::now() < end) {
    gateway_->put(service_message("foreign", "1"));
    std::this_thread::sleep_for(milliseconds(60));  // in step for some polls in between
  }
  EXPECT_GE(counts().replaces, 2U);
  EXPECT_LE(counts().replaces, 4U);  // after 0.5 s, 1 s and 2 s, and not each half second
}

TEST_F(GatewaySenderTest, ARefusedServiceIsSentAgainOnlyWhenItChanges) {
  settings_.again = kNever;
  start_in_step();
  gateway_->set_verdict(refusing_form("1"));
  want("bad", "1");
  ASSERT_TRUE(await_report("bad", kRefused));
  tell({"bad"});
  await_polls(3);
  EXPECT_EQ(gateway_->writes(), 2U);
  want("bad", "2");
  ASSERT_TRUE(await_forms({{"bad", "2"}}));
  ASSERT_TRUE(await([this] { return counts().refused == 0; }));
  EXPECT_EQ(reports_of("bad"), (Texts{kRefused, "served 192.0.2.3"}));
}

TEST_F(GatewaySenderTest, ARefusedServiceIsTriedAgainAfterAWhile) {
  start_in_step();
  gateway_->set_verdict(refusing({"bad"}));
  want("bad", "1");
  want("good", "1");
  ASSERT_TRUE(await([this] { return reports_of("bad").size() >= 3; }));
  EXPECT_EQ(reports_of("good").size(), 1U);
  gateway_->set_verdict({});
  ASSERT_TRUE(await_forms({{"bad", "1"}, {"good", "1"}}));
  ASSERT_TRUE(await_report("bad", "served 192.0.2.3"));
  ASSERT_TRUE(await([this] { return counts().refused == 0; }));
  EXPECT_EQ(counts().replaces, 1U);
}

TEST_F(GatewaySenderTest, ARefusedServiceThatGoesIsReportedAbsent) {
  settings_.again = kNever;
  start_in_step();
  gateway_->set_verdict(refusing({"bad"}));
  want("bad", "1");
  ASSERT_TRUE(await_report("bad", kRefused));
  drop("bad");
  ASSERT_TRUE(await_report("bad", "absent"));
  ASSERT_TRUE(await([this] { return counts().refused == 0; }));
}

TEST_F(GatewaySenderTest, AServiceWhoseNewFormIsRefusedKeepsTheOldOne) {
  settings_.again = kNever;
  prepare("bad", "1");
  start_in_step();
  gateway_->set_verdict(refusing_form("2"));
  want("bad", "2");
  ASSERT_TRUE(await_report("bad", kRefused));
  EXPECT_EQ(gateway_->forms(), (Forms{{"bad", "1"}}));
  drop("bad");
  ASSERT_TRUE(await_forms({}));
  EXPECT_EQ(last_report_of("bad"), "absent");
}

TEST_F(GatewaySenderTest, AServiceThatGoesBackToTheFormThatIsThereIsRefusedNoMore) {
  settings_.again = kNever;
  prepare("bad", "1");
  start_in_step();
  gateway_->set_verdict(refusing_form("2"));
  want("bad", "2");
  ASSERT_TRUE(await_report("bad", kRefused));
  want("bad", "1");
  ASSERT_TRUE(await_report("bad", "served 192.0.2.3"));
  ASSERT_TRUE(await([this] { return counts().refused == 0; }));
  EXPECT_EQ(gateway_->writes(), 2U);
}

TEST_F(GatewaySenderTest, AConflictIsFoundByHalvingWhenTheGatewayDoesNotSayWhose) {
  settings_.fold = milliseconds(100);
  settings_.again = kNever;
  prepare("old", "1");
  start_in_step();
  gateway_->set_verdict([](const v1::ApplyRequest& request) { return conflict(request, "bad"); });
  Forms others;
  for (const char* name : {"a", "b", "c", "bad", "e", "f", "g", "h"}) {
    want(name, "1");
    others[name] = "1";
  }
  others.erase("bad");
  drop("old");
  ASSERT_TRUE(await_forms(others));
  EXPECT_EQ(reports_of("bad"),
            Texts{"refused: a frontend is taken (203.0.113.10:80/TCP of cluster-b: default/web)"});
  EXPECT_LE(gateway_->writes(), 1U + 1U + 1U + 1U + 3U * 2U);  // deletion first, halves of 8, 4, 2
  EXPECT_EQ(counts().replaces, 1U);
}

TEST_F(GatewaySenderTest, ARefusalInTheFirstReplaceDeletesNothingThatTheGatewayHasOfIt) {
  settings_.again = kNever;
  gateway_->put(service_message("bad", "old"));
  gateway_->put(service_message("stale", "1"));
  gateway_->put(service_message("web", "1"));
  gateway_->set_verdict(refusing_form("new"));
  prepare("bad", "new");
  prepare("web", "1");
  prepare("db", "1");
  start_in_step();
  EXPECT_EQ(gateway_->forms(), (Forms{{"bad", "old"}, {"web", "1"}, {"db", "1"}}));
  EXPECT_EQ(last_report_of("bad"), kRefused);
  EXPECT_EQ(last_report_of("web"), "served 192.0.2.3");
  EXPECT_EQ(last_report_of("stale"), "absent");
  drop("bad");
  ASSERT_TRUE(await_forms({{"web", "1"}, {"db", "1"}}));
}

// Who waits for the provider's first write (sluicectl status --provider) would wait for ever.
TEST_F(GatewaySenderTest, WhereAllIsRefusedAtFirstItWritesNothingOnce) {
  settings_.again = kNever;
  gateway_->set_verdict(refusing({"bad"}));
  prepare("bad", "1");
  start_in_step();
  EXPECT_EQ(writes().back(), text_of(v1::ApplyRequest{}));
  EXPECT_EQ(last_report_of("bad"), kRefused);
}

// Else who waits for a service's end waits for ever.
TEST_F(GatewaySenderTest, WhatIsGoneWithAGatewayIsReportedAlsoWhenAServiceIsRefused) {
  settings_.again = kNever;
  gateway_->set_verdict(refusing({"bad"}));
  prepare("bad", "1");
  prepare("web", "1");
  prepare("db", "1");
  start_in_step();
  EXPECT_EQ(believed(), (Texts{"db", "web"}));
  gateway_->set_away(true);
  ASSERT_TRUE(await([this] { return gateway_->unanswered() > 0; }));
  gateway_->forget();
  drop("web");
  gateway_->set_away(false);
  ASSERT_TRUE(await_forms({{"db", "1"}}));
  EXPECT_TRUE(await([this] { return believed() == Texts{"db"}; }));
}

TEST_F(GatewaySenderTest, ADeletionThatIsRefusedIsTriedAgainWithEverything) {
  prepare("web", "1");
  prepare("db", "1");
  start_in_step();
  gateway_->set_verdict([](const v1::ApplyRequest& request) {
    return request.delete__size() == 0
               ? grpc::Status::OK
               : grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, "not now");
  });
  drop("web");
  ASSERT_TRUE(await_forms({{"db", "1"}}));
  EXPECT_EQ(writes(1), (Texts{"upsert; delete web", "replace db=1"}));
}

TEST_F(GatewaySenderTest, AfterAnothersWriteADifferenceGoesAtOnceAndThenAllIsCompared) {
  prepare("web", "1");
  prepare("db", "1");
  start_in_step();
  gateway_->put(service_message("foreign", "1"));
  want("web", "2");
  ASSERT_TRUE(await_forms({{"web", "2"}, {"db", "1"}}));
  EXPECT_TRUE(await([this] { return counts().replaces == 2U; })) << "counted after its answer";
  EXPECT_TRUE(await([this] { return counts().in_step; }));
}

TEST_F(GatewaySenderTest, ADifferenceThatMeetsAnothersRevisionIsMadeForThatOne) {
  settings_.poll = kNever;
  prepare("web", "1");
  start_in_step();
  gateway_->put(service_message("web", "2"));  // another adapter, a moment earlier
  want("web", "2");
  ASSERT_TRUE(await([this] { return gateway_->writes() == 3; }));
  EXPECT_EQ(writes(1), (Texts{"upsert web=2", "upsert web=2"}));
  EXPECT_EQ(gateway_->applied().back().expected_revision(), 2U);
  EXPECT_TRUE(await([this] { return counts().in_step; }));
}

TEST_F(GatewaySenderTest, WhatAnotherHasDeletedAlreadyIsGoneAndTheRestOfTheWriteIsDone) {
  settings_.poll = kNever;
  settings_.fold = milliseconds(100);
  for (const bool decides : {true, false}) {
    decides_ = decides;
    prepare("web", "1");
    prepare("db", "1");
    prepare("old", "1");
    start_in_step();
    const std::size_t before = gateway_->writes();
    gateway_->remove("web");
    want("web", "");
    want("old", "");
    want("db", "2");
    ASSERT_TRUE(await_forms({{"db", "2"}}));
    EXPECT_TRUE(await_report("web", "absent"));
    EXPECT_EQ(writes(before).back(), "upsert db=2; delete old");
    EXPECT_TRUE(await([this] { return counts().in_step; }));
    EXPECT_EQ(counts().replaces, 1U);
  }
}

// Two adapters of one cluster may differ for a moment; one of them gives way.
TEST_F(GatewaySenderTest, WhoDoesNotDecideLeavesWhatAnotherWritesAndStillSendsItsOwn) {
  decides_ = false;
  prepare("web", "1");
  start_in_step();
  gateway_->put(service_message("web", "another's"));
  await_polls(3);
  EXPECT_EQ(gateway_->writes(), 1U);
  want("db", "1");
  ASSERT_TRUE(await_forms({{"web", "another's"}, {"db", "1"}}));
  EXPECT_FALSE(gateway_->applied().back().has_expected_revision());
  gateway_->forget();
  ASSERT_TRUE(await_forms({{"web", "1"}, {"db", "1"}}));
  EXPECT_EQ(writes(1), (Texts{"upsert db=1", "replace db=1 web=1"}));
}

TEST_F(GatewaySenderTest, WhoComesToDecidePutsRightWhatAnotherHasWrittenBefore) {
  decides_ = false;
  prepare("web", "1");
  start_in_step();
  gateway_->put(service_message("web", "another's"));
  await_polls(3);
  EXPECT_EQ(gateway_->writes(), 1U);
  decides_ = true;
  ASSERT_TRUE(await_forms({{"web", "1"}}));
  EXPECT_EQ(writes(1), Texts{"replace web=1"});
}

TEST_F(GatewaySenderTest, WhoDecidesPutsRightWhatAnotherWrites) {
  prepare("web", "1");
  start_in_step();
  gateway_->put(service_message("web", "another's"));
  ASSERT_TRUE(await_forms({{"web", "1"}}));
  EXPECT_EQ(writes(1), Texts{"replace web=1"});
}

TEST_F(GatewaySenderTest, AGatewayThatForgotEverythingGetsItAgainThoughNothingChanges) {
  prepare("web", "1");
  start_in_step();
  gateway_->forget();
  ASSERT_TRUE(await([this] { return gateway_->writes() == 2; }));
  ASSERT_TRUE(await_forms({{"web", "1"}}));
  EXPECT_EQ(writes(1), Texts{"replace web=1"});
  EXPECT_TRUE(await([this] { return reports().size() == 2 && reports().back().all; }));
}

TEST_F(GatewaySenderTest, AGatewayThatIsBackGetsAllAsItIsByThen) {
  prepare("web", "1");
  prepare("db", "1");
  start_in_step();
  gateway_->set_away(true);
  want("web", "2");
  ASSERT_TRUE(await([this] { return gateway_->unanswered() > 0; }));
  drop("db");
  want("web", "3");
  want("new", "1");
  EXPECT_EQ(gateway_->writes(), 1U);
  gateway_->set_away(false);
  ASSERT_TRUE(await_forms({{"web", "3"}, {"new", "1"}}));
  EXPECT_EQ(writes(1), Texts{"replace new=1 web=3"});
  EXPECT_EQ(believed(), (Texts{"new", "web"}));
}

TEST_F(GatewaySenderTest, AGatewayThatIsAwayAtFirstGetsAllOnceItIsThere) {
  gateway_->set_away(true);
  prepare("web", "1");
  start();
  for (int i = 0; i < 10; ++i) {
    tell({});
    std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_TRUE(reports().empty());
  gateway_->set_away(false);
  ASSERT_TRUE(await_forms({{"web", "1"}}));
  EXPECT_EQ(writes(), Texts{"replace web=1"});
}

TEST_F(GatewaySenderTest, AWriteThatIsCommittedButNotConfirmedIsDone) {
  prepare("web", "1");
  gateway_->set_confirms(false);
  start_in_step();
  want("web", "2");
  ASSERT_TRUE(await_forms({{"web", "2"}}));
  gateway_->set_confirms(true);
  want("web", "3");
  ASSERT_TRUE(await_forms({{"web", "3"}}));
  await_polls(2);
  EXPECT_EQ(writes(), (Texts{"replace web=1", "upsert web=2", "upsert web=3"}));
  const auto applied = gateway_->applied();
  EXPECT_EQ(applied[1].expected_revision(), 1U);
  EXPECT_EQ(applied[2].expected_revision(), 2U);
  EXPECT_EQ(reports_of("web").size(), 3U);
}

// Without its revision nobody would notice that it starts anew.
TEST_F(GatewaySenderTest, AGatewayThatGoesAwayBeforeItTellsItsRevisionGetsAllAgain) {
  settings_.poll = kNever;  // which would find it away before anything is written
  prepare("web", "1");
  start_in_step();
  gateway_->set_confirms(false);
  gateway_->set_answers_revisions(false);
  want("web", "2");
  ASSERT_TRUE(await([this] { return gateway_->forms() == Forms{{"web", "2"}}; }));
  gateway_->forget();
  gateway_->set_confirms(true);
  gateway_->set_answers_revisions(true);
  ASSERT_TRUE(await_forms({{"web", "2"}}));
}

}  // namespace
}  // namespace sluice::kubernetes
