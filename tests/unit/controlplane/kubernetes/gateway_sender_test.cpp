// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/controlplane/kubernetes/gateway_sender_fixture.h"

#include <random>
#include <set>

namespace sluice::kubernetes {
namespace {

using Texts = std::vector<std::string>;

TEST_F(GatewaySenderTest, NothingIsSentBeforeAllIsKnown) {
  set_synced(false);
  prepare("web", "1");
  start();
  for (int i = 0; i < 10; ++i) {
    tell({"web"});
    std::this_thread::sleep_for(milliseconds(2));
  }
  EXPECT_EQ(gateway_->writes(), 0U);
  EXPECT_EQ(gateway_->polls(), 0U);
  EXPECT_FALSE(counts().in_step);
  set_synced(true);
  ASSERT_TRUE(await([this] {
    tell({});
    return counts().in_step;
  }));
  EXPECT_EQ(writes(), Texts{"replace web=1"});
}

TEST_F(GatewaySenderTest, TheFirstWriteReplacesAllThatTheProviderHas) {
  gateway_->put(service_message("old", "1"));
  prepare("web", "1");
  prepare("db", "1");
  prepare("not-ours", "");
  start_in_step();
  EXPECT_EQ(writes(), Texts{"replace db=1 web=1"});
  EXPECT_EQ(gateway_->applied()[0].provider(), "cluster-a");
  EXPECT_FALSE(gateway_->applied()[0].has_expected_revision());
  EXPECT_EQ(gateway_->forms(), (Forms{{"web", "1"}, {"db", "1"}}));
  EXPECT_EQ(counts().replaces, 1U);
  EXPECT_EQ(counts().upserts, 2U);
}

TEST_F(GatewaySenderTest, AClusterWithoutServicesEmptiesItsProvider) {
  gateway_->put(service_message("old", "1"));
  start_in_step();
  EXPECT_EQ(writes(), Texts{"replace"});
  EXPECT_TRUE(gateway_->forms().empty());
}

TEST_F(GatewaySenderTest, TheFirstReportNamesAllThatTheGatewayHasWithItsAddresses) {
  prepare("web", "1");
  prepare("not-ours", "");
  start_in_step();
  const auto all = reports();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_TRUE(all[0].all);
  ASSERT_EQ(all[0].sent.size(), 1U);
  EXPECT_EQ(all[0].sent[0].name, (ServiceName{"shop", "web"}));
  EXPECT_EQ(reports_of("web"), Texts{"served 192.0.2.3"});
}

TEST_F(GatewaySenderTest, AfterwardsOnlyDifferencesAreSent) {
  prepare("web", "1");
  prepare("db", "1");
  start_in_step();
  want("web", "2");
  ASSERT_TRUE(await_forms({{"web", "2"}, {"db", "1"}}));
  want("new", "1");
  ASSERT_TRUE(await_forms({{"web", "2"}, {"db", "1"}, {"new", "1"}}));
  drop("db");
  ASSERT_TRUE(await_forms({{"web", "2"}, {"new", "1"}}));
  want("new", "");  // it is there, and of a type that is not served
  ASSERT_TRUE(await_forms({{"web", "2"}}));
  EXPECT_EQ(writes(1),
            (Texts{"upsert web=2", "upsert new=1", "upsert; delete db", "upsert; delete new"}));
  ASSERT_TRUE(await_report("new", "absent"));
  EXPECT_EQ(reports_of("web"), (Texts{"served 192.0.2.3", "served 192.0.2.3"}));
  EXPECT_EQ(last_report_of("db"), "absent");
  for (const auto& reported : reports()) {
    EXPECT_EQ(reported.all, reported.sent.size() == 2);  // the first one
  }
  EXPECT_EQ(counts().replaces, 1U);
  EXPECT_EQ(counts().writes, 4U);
  EXPECT_EQ(counts().deletes, 2U);
}

TEST_F(GatewaySenderTest, EachDifferenceNamesTheRevisionThatItIsMadeFor) {
  prepare("web", "1");
  start_in_step();
  want("web", "2");
  ASSERT_TRUE(await_forms({{"web", "2"}}));
  want("web", "3");
  ASSERT_TRUE(await_forms({{"web", "3"}}));
  const auto applied = gateway_->applied();
  ASSERT_EQ(applied.size(), 3U);
  EXPECT_EQ(applied[1].expected_revision(), 1U);
  EXPECT_EQ(applied[2].expected_revision(), 2U);
}

TEST_F(GatewaySenderTest, WhatHasNotChangedIsNotSent) {
  prepare("web", "1");
  prepare("db", "1");
  start_in_step();
  tell({"web", "db"});
  want("unknown", "");
  ASSERT_TRUE(await_report("unknown", "absent"));
  tell({"db"});
  want("web", "2");
  ASSERT_TRUE(await_forms({{"web", "2"}, {"db", "1"}}));
  EXPECT_EQ(writes(1), Texts{"upsert web=2"});
}

TEST_F(GatewaySenderTest, AServiceThatWentBeforeItWasSentIsReportedAbsent) {
  start_in_step();
  tell({"web"});
  ASSERT_TRUE(await_report("web", "absent"));
  EXPECT_EQ(gateway_->writes(), 1U);
}

TEST_F(GatewaySenderTest, ChangesThatComeTogetherGoInOneWrite) {
  settings_.fold = milliseconds(200);
  prepare("old", "1");
  start_in_step();
  want("a", "1");
  want("b", "1");
  drop("old");
  want("a", "2");
  ASSERT_TRUE(await_forms({{"a", "2"}, {"b", "1"}}));
  EXPECT_EQ(writes(1), Texts{"upsert a=2 b=1; delete old"});
}

TEST_F(GatewaySenderTest, TheLatestStateWinsOverAllThatCameWhileTheGatewayWasSlow) {
  prepare("web", "1");
  start_in_step();
  gateway_->set_hangs(true);
  want("web", "2");
  ASSERT_TRUE(await([this] { return gateway_->writes() == 2; }));
  for (const char* form : {"3", "4", "5"}) {
    want("web", form);
    want("short-lived", form);
  }
  drop("short-lived");
  gateway_->set_hangs(false);
  ASSERT_TRUE(await_forms({{"web", "5"}}));
  EXPECT_EQ(writes(1), (Texts{"upsert web=2", "upsert web=5"}));
}

TEST_F(GatewaySenderTest, ManyChangesGoInWritesOfAThousandServices) {
  start_in_step();
  std::vector<std::string> names;
  Forms forms;
  for (int i = 0; i < 2'500; ++i) {
    names.push_back("s" + std::to_string(i));
    forms[names.back()] = "1";
    prepare(names.back(), "1");
  }
  tell(names);
  ASSERT_TRUE(await_forms(forms));
  const auto applied = gateway_->applied();
  ASSERT_EQ(applied.size(), 4U);
  EXPECT_EQ(applied[1].upsert_size(), 1'000);
  EXPECT_EQ(applied[2].upsert_size(), 1'000);
  EXPECT_EQ(applied[3].upsert_size(), 500);
}

TEST_F(GatewaySenderTest, LargeChangesGoInWritesOfEightMebibytes) {
  start_in_step();
  std::vector<std::string> names;
  Forms forms;
  for (int i = 0; i < 20; ++i) {
    names.push_back("s" + std::to_string(i));
    forms[names.back()] = std::string(std::size_t{1} << 20, 'x');
    prepare(names.back(), forms[names.back()]);
  }
  tell(names);
  ASSERT_TRUE(await_forms(forms));
  const auto applied = gateway_->applied();
  ASSERT_EQ(applied.size(), 4U);
  EXPECT_EQ(applied[1].upsert_size(), 8);
  EXPECT_EQ(applied[2].upsert_size(), 8);
  EXPECT_EQ(applied[3].upsert_size(), 4);
}

// Of 64 MiB, and some is left for what is around the services.
TEST_F(GatewaySenderTest, AProviderThatIsTooLargeForOneMessageIsReplacedInParts) {
  gateway_->put(service_message("old", "1"));
  Forms forms;
  for (int i = 0; i < 61; ++i) {
    const std::string name = "s" + std::to_string(i);
    forms[name] = std::string(std::size_t{1} << 20, 'x');
    prepare(name, forms[name]);
  }
  start();
  ASSERT_TRUE(await_forms(forms));
  for (const v1::ApplyRequest& request : gateway_->applied()) {
    EXPECT_FALSE(request.replace());
    EXPECT_LE(request.upsert_size(), 8);
  }
}

TEST_F(GatewaySenderTest, ItEndsAtOnceWhenNothingIsUnderWay) {
  settings_.poll = kNever;
  start_in_step();
  const auto begin = std::chrono::steady_clock::now();
  stop();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(2));
}

TEST_F(GatewaySenderTest, ItEndsWithTheDeadlineOfAWriteToAGatewayThatHangs) {
  settings_.deadline = milliseconds(200);
  gateway_->set_hangs(true);
  prepare("web", "1");
  start();
  ASSERT_TRUE(await([this] { return gateway_->writes() > 0; }));
  const auto begin = std::chrono::steady_clock::now();
  stop();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(2));
}

// Changes at random, of services some of whose forms are refused, on a gateway that may be asked at
// any time: what is there in the end is what is wanted, or was the last time that it was not bad.
TEST_F(GatewaySenderTest, AfterAnyChangesTheGatewayHasWhatIsWanted) {
  gateway_->set_verdict([](const v1::ApplyRequest& request) {
    std::vector<std::string> bad;
    for (const v1::Service& service : request.upsert()) {
      if (service.spec().ports(0).name() == "bad") {
        bad.push_back(service.metadata().name());
      }
    }
    return refuse(request, bad);
  });
  start_in_step();
  std::mt19937 random(7);
  Forms wanted;
  for (int i = 0; i < 400; ++i) {
    const std::string name = "s" + std::to_string(random() % 12);
    const auto what = random() % 10;
    if (what < 2) {
      wanted.erase(name);
      drop(name);
    } else {
      wanted[name] = what < 4 ? "bad" : std::to_string(random() % 3);
      want(name, wanted[name]);
    }
    if (random() % 16 == 0) {
      std::this_thread::sleep_for(milliseconds(3));
    }
  }
  ASSERT_TRUE(await([&] {
    const Forms there = gateway_->forms();
    return std::all_of(wanted.begin(), wanted.end(),
                       [&](const auto& each) {
                         const auto at = there.find(each.first);
                         return each.second == "bad" || (at != there.end() && *at == each);
                       }) &&
           std::all_of(there.begin(), there.end(),
                       [&](const auto& each) { return wanted.contains(each.first); });
  }));
  EXPECT_EQ(counts().replaces, 1U);
  for (const auto& [name, form] : wanted) {
    EXPECT_TRUE(await_report(name, form == "bad"
                                       ? "refused: spec.ports[0].port: no port for " + name
                                       : "served 192.0.2." + std::to_string(name.size())))
        << name << "=" << form << ": " << last_report_of(name);
  }
}

}  // namespace
}  // namespace sluice::kubernetes
