// SPDX-License-Identifier: Apache-2.0
// What a gateway's people are told of services.
#include "tests/unit/controlplane/kubernetes/gateway_sender_fixture.h"

namespace sluice::kubernetes {
namespace {

using Texts = std::vector<std::string>;
using Told = std::map<std::string, std::string>;

constexpr const char* kRefused = "GatewayRefused: spec.ports[0].port: no port for bad";

FakeGateway::Verdict refusing(const std::vector<std::string>& names) {
  return [names](const v1::ApplyRequest& request) { return refuse(request, names); };
}

TEST_F(GatewaySenderTest, WhatIsNotServedAndWhatIsFoundIsReported) {
  prepare("web", "1");
  prepare("db", "");
  explain("db", "it has no port that this gateway serves");
  prepare("odd", "1");
  explain("odd", "not told of what is served", {{"BadAnnotation", "one"}, {"BadAddress", "two"}});
  prepare("not-ours", "");
  start_in_step();
  ASSERT_TRUE(await_told({{"db", "NotServed: it has no port that this gateway serves"},
                          {"odd", "BadAnnotation: one; two"}}));
  ASSERT_EQ(gateway_->reported().size(), 1U);
  EXPECT_TRUE(gateway_->reported()[0].replace());
  EXPECT_EQ(gateway_->reported()[0].provider(), "cluster-a");
  EXPECT_EQ(gateway_->reported()[0].reports(0).name().namespace_(), "shop");
}

TEST_F(GatewaySenderTest, AReportIsClearedWhenThereIsNothingToSayAnyMore) {
  prepare("db", "");
  explain("db", "it has no address yet");
  prepare("gone", "");
  explain("gone", "it has no address yet");
  start_in_step();
  ASSERT_TRUE(await([this] { return gateway_->reports().size() == 2; }));
  explain("db", "");
  want("db", "1");
  explain("gone", "");
  drop("gone");
  ASSERT_TRUE(await_told({}));
  const auto reported = gateway_->reported();
  EXPECT_EQ(std::count_if(reported.begin(), reported.end(),
                          [](const auto& request) { return request.replace(); }),
            1);
  const std::size_t calls = gateway_->calls("ReportServices");
  tell({"db", "gone"});
  await_polls(3);
  EXPECT_EQ(gateway_->calls("ReportServices"), calls);
}

TEST_F(GatewaySenderTest, ARefusalIsReportedUntilItIsOver) {
  gateway_->set_verdict(refusing({"bad"}));
  prepare("bad", "1");
  start_in_step();
  ASSERT_TRUE(await_told({{"bad", kRefused}}));
  explain("bad", "", {{"BadAnnotation", "one"}});
  ASSERT_TRUE(await_told({{"bad", std::string(kRefused) + "; one"}}));
  gateway_->set_verdict({});
  ASSERT_TRUE(await_told({{"bad", "BadAnnotation: one"}}));
}

TEST_F(GatewaySenderTest, ARefusalThatIsOverBecauseTheOldFormIsBackIsReportedNoMore) {
  settings_.again = kNever;
  prepare("bad", "1");
  start_in_step();
  gateway_->set_verdict(refusing({"bad"}));
  want("bad", "2");
  ASSERT_TRUE(await_told({{"bad", kRefused}}));
  want("bad", "1");
  ASSERT_TRUE(await_told({}));
  want("bad", "2");
  ASSERT_TRUE(await_told({{"bad", kRefused}}));
  drop("bad");
  ASSERT_TRUE(await_told({}));
}

TEST_F(GatewaySenderTest, WhatAnEarlierAdapterReportedIsReplaced) {
  v1::ReportServicesRequest earlier;
  earlier.add_reports()->mutable_name()->set_name("old");
  earlier.mutable_reports(0)->set_reason("NotServed");
  v1::ReportServicesResponse response;
  ASSERT_TRUE(gateway_->ReportServices(nullptr, earlier, &response).ok());
  start_in_step();
  ASSERT_TRUE(await_told({}));
}

TEST_F(GatewaySenderTest, AGatewayThatTakesNoReportsGetsItsServicesAndTheReportsLater) {
  gateway_->set_reports_verdict({grpc::StatusCode::RESOURCE_EXHAUSTED, "no room"});
  prepare("db", "");
  explain("db", "it has no address yet");
  start_in_step();
  ASSERT_TRUE(await([this] { return gateway_->calls("ReportServices") >= 2; }));
  want("web", "1");
  ASSERT_TRUE(await_forms({{"web", "1"}}));
  EXPECT_EQ(counts().replaces, 1U);
  gateway_->set_reports_verdict(grpc::Status::OK);
  ASSERT_TRUE(await_told({{"db", "NotServed: it has no address yet"}}));
  EXPECT_TRUE(gateway_->reported()[0].replace());
}

TEST_F(GatewaySenderTest, ReportsComeAfterTheWritesAndTogether) {
  settings_.poll = milliseconds(300);
  start_in_step();
  ASSERT_TRUE(await([this] { return gateway_->reported().size() == 1; }));
  for (const char* name : {"a", "b", "c"}) {
    prepare(name, "1");
    explain(name, "", {{"BadAddress", "bad"}});
    ASSERT_TRUE(await([&] { return gateway_->forms().contains(name); }));
  }
  ASSERT_TRUE(await([this] { return gateway_->reports().size() == 3; }));
  EXPECT_LE(gateway_->reported().size(), 3U);
  const auto order = gateway_->order();
  EXPECT_EQ(order.back(), "ReportServices");
}

TEST_F(GatewaySenderTest, ManyReportsGoInSeveralRequests) {
  for (int i = 0; i < 5'000; ++i) {
    prepare("s" + std::to_string(i), "");
    explain("s" + std::to_string(i), "it has no address yet");
  }
  start_in_step();
  ASSERT_TRUE(await([this] { return gateway_->reports().size() == 5'000; }));
  const auto reported = gateway_->reported();
  ASSERT_EQ(reported.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(reported[i].replace(), i == 0);
    EXPECT_LE(reported[i].reports_size(), 2'000);
  }
}

}  // namespace
}  // namespace sluice::kubernetes
