// SPDX-License-Identifier: Apache-2.0
// The routes that a gateway has, and those that a sender has it keep.
#include "tests/unit/controlplane/kubernetes/gateway_sender_fixture.h"

namespace sluice::kubernetes {
namespace {

using Texts = std::vector<std::string>;

constexpr const char* kPods = "10.244.1.0/24";
constexpr const char* kRouted = "10.244.1.0/24 via 192.0.2.11";

TEST_F(GatewaySenderTest, TheFirstServicesAreAlreadyAsTheGatewaysRoutesAre) {
  gateway_->set_destinations({"10.0.0.0/8", "2001:db8::/64"});
  prepare("web", kAuto);
  start_in_step();
  EXPECT_EQ(writes(), Texts{"replace web=endpoint"});
  ASSERT_NE(gateway_routes(), nullptr);
  EXPECT_NE(gateway_routes()->find(*parse_ip("2001:db8::1")), nullptr);
  EXPECT_EQ(gateway_routes()->find(*parse_ip("192.0.2.1")), nullptr);
}

TEST_F(GatewaySenderTest, WithOtherRoutesAllServicesAreLookedAtAndThoseThatDifferAreSent) {
  prepare("web", kAuto);
  prepare("db", "1");
  start_in_step();
  EXPECT_EQ(writes(), Texts{"replace db=1 web=node"});
  gateway_->set_destinations({kPods});
  ASSERT_TRUE(await_forms({{"web", "endpoint"}, {"db", "1"}}));
  gateway_->set_destinations({});
  ASSERT_TRUE(await_forms({{"web", "node"}, {"db", "1"}}));
  EXPECT_EQ(writes(1), (Texts{"upsert web=endpoint", "upsert web=node"}));
}

TEST_F(GatewaySenderTest, AnotherRevisionOfTheSameRoutesChangesNothing) {
  gateway_->set_destinations({kPods, "10.9.0.0/16"});
  prepare("web", kAuto);
  start_in_step();
  const auto before = gateway_routes();
  gateway_->set_destinations({"10.9.0.0/16", kPods});
  await_polls(3);
  EXPECT_EQ(gateway_routes(), before);
  EXPECT_EQ(gateway_->writes(), 1U);
}

TEST_F(GatewaySenderTest, ADestinationThatIsNoneHidesNoOther) {
  gateway_->set_destinations({"nowhere", kPods});
  prepare("web", kAuto);
  start_in_step();
  EXPECT_EQ(writes(), Texts{"replace web=endpoint"});
}

TEST_F(GatewaySenderTest, OfAGatewayThatIsTooOldTheRoutesAreNotKnownAndItIsNotAskedAgain) {
  gateway_->set_old(true);
  want_routes({{kPods, "192.0.2.11"}});
  prepare("web", kAuto);
  start_in_step();
  EXPECT_EQ(gateway_routes(), nullptr);
  await_polls(5);
  EXPECT_EQ(writes(), Texts{"replace web=unknown"});
  EXPECT_EQ(gateway_->calls("ListRoutes"), 1U);
  EXPECT_EQ(gateway_->calls("SetRoutes"), 1U);
  EXPECT_EQ(gateway_->calls("ReportServices"), 1U);
  EXPECT_EQ(counts().replaces, 1U);
  gateway_->set_old(false);  // the new one knows them
  gateway_->forget();
  ASSERT_TRUE(await_forms({{"web", "endpoint"}}));
}

TEST_F(GatewaySenderTest, AGatewayThatFailsToTellItsRoutesIsServedByThoseThatWereKnown) {
  gateway_->set_destinations({kPods});
  prepare("web", kAuto);
  start_in_step();
  gateway_->set_routes_verdict({grpc::StatusCode::INTERNAL, "it is confused"});
  gateway_->set_destinations({});
  await_polls(3);
  want("db", "1");
  ASSERT_TRUE(await_forms({{"web", "endpoint"}, {"db", "1"}}));
  EXPECT_EQ(counts().replaces, 1U);
  gateway_->set_routes_verdict(grpc::Status::OK);
  ASSERT_TRUE(await_forms({{"web", "node"}, {"db", "1"}}));
}

TEST_F(GatewaySenderTest, RoutesAreSetBeforeServicesWhichSeeThem) {
  want_routes({{kPods, "192.0.2.11"}});
  prepare("web", kAuto);
  start_in_step();
  EXPECT_EQ(writes(), Texts{"replace web=endpoint"});
  EXPECT_EQ(gateway_->routes(), Texts{kRouted});
  const auto order = gateway_->order();
  ASSERT_GE(order.size(), 3U);
  EXPECT_EQ(Texts(order.begin(), order.begin() + 3), (Texts{"SetRoutes", "ListRoutes", "Apply"}));
}

// A node that comes with its first pod.
TEST_F(GatewaySenderTest, NewRoutesAreSetBeforeTheServicesThatComeWithThem) {
  settings_.poll = kNever;
  start_in_step();
  want_routes({{kPods, "192.0.2.11"}});
  want("web", kAuto);
  ASSERT_TRUE(await_forms({{"web", "endpoint"}}));
  EXPECT_EQ(writes(1), Texts{"upsert web=endpoint"});
}

TEST_F(GatewaySenderTest, RoutesAreSetAgainWhenTheyChangeThoughNoServiceDoes) {
  want_routes({{kPods, "192.0.2.11"}});
  start_in_step();
  want_routes({{"10.244.2.0/24", "192.0.2.12"}, {kPods, "192.0.2.11"}});
  ASSERT_TRUE(await([this] {
    return gateway_->routes() == Texts{kRouted, "10.244.2.0/24 via 192.0.2.12"};
  }));
  const std::size_t calls = gateway_->calls("SetRoutes");
  want_routes({{kPods, "192.0.2.11"}, {"10.244.2.0/24", "192.0.2.12"}});  // the same, made anew
  await_polls(3);
  EXPECT_EQ(gateway_->calls("SetRoutes"), calls);
  want_routes(ProviderRoutes());
  ASSERT_TRUE(await([this] { return gateway_->routes().empty(); }));
}

TEST_F(GatewaySenderTest, OfTwoRoutesToOneDestinationOneIsSet) {
  auto routes = std::make_shared<std::vector<v1::ProviderRoute>>(2);
  (*routes)[0].set_destination(kPods);
  (*routes)[0].set_gateway("192.0.2.11");
  (*routes)[1].set_destination(kPods);
  (*routes)[1].set_gateway("192.0.2.12");
  want_routes(ProviderRoutes(routes));
  start_in_step();
  EXPECT_EQ(gateway_->routes(), Texts{kRouted});
}

TEST_F(GatewaySenderTest, AGatewayThatForgotEverythingGetsItsRoutesBeforeItsServices) {
  want_routes({{kPods, "192.0.2.11"}});
  prepare("web", kAuto);
  start_in_step();
  gateway_->forget();
  ASSERT_TRUE(await([this] { return gateway_->writes() == 2; }));
  ASSERT_TRUE(await_forms({{"web", "endpoint"}}));
  EXPECT_EQ(writes(1), Texts{"replace web=endpoint"});
  EXPECT_EQ(gateway_->routes(), Texts{kRouted});
}

// Its services and their revision are as they were.
TEST_F(GatewaySenderTest, AGatewayThatStartsWithItsServicesGetsItsRoutesAndReportsAgain) {
  want_routes({{kPods, "192.0.2.11"}});
  prepare("web", kAuto);
  explain("db", "it has no port");
  prepare("db", "");
  start_in_step();
  ASSERT_TRUE(await_told({{"db", "NotServed: it has no port"}}));
  gateway_->restart();
  ASSERT_TRUE(await([this] { return gateway_->routes() == Texts{kRouted}; }));
  ASSERT_TRUE(await_told({{"db", "NotServed: it has no port"}}));
  ASSERT_TRUE(await_forms({{"web", "endpoint"}}));
}

TEST_F(GatewaySenderTest, ARefusedRouteHoldsUpNothingAndIsTriedAgain) {
  gateway_->set_refused_routes({"10.244.2.0/24"});
  want_routes({{kPods, "192.0.2.11"}, {"10.244.2.0/24", "192.0.2.12"}});
  prepare("web", kAuto);
  start_in_step();
  EXPECT_EQ(writes(), Texts{"replace web=endpoint"});
  EXPECT_EQ(gateway_->routes(), Texts{kRouted});
  gateway_->set_refused_routes({});
  ASSERT_TRUE(await([this] { return gateway_->routes().size() == 2; }));
  const std::size_t calls = gateway_->calls("SetRoutes");
  await_polls(5);
  EXPECT_EQ(gateway_->calls("SetRoutes"), calls);
}

TEST_F(GatewaySenderTest, ARefusedRouteIsNotTriedAtEachPoll) {
  settings_.again = kNever;
  gateway_->set_refused_routes({kPods});
  want_routes({{kPods, "192.0.2.11"}});
  start_in_step();
  await_polls(5);
  want("web", "1");
  ASSERT_TRUE(await_forms({{"web", "1"}}));
  EXPECT_EQ(gateway_->calls("SetRoutes"), 1U);
}

TEST_F(GatewaySenderTest, AGatewayThatTakesNoRoutesAtAllGetsItsServices) {
  gateway_->set_routes_verdict({grpc::StatusCode::FAILED_PRECONDITION, "not here"});
  want_routes({{kPods, "192.0.2.11"}});
  prepare("web", "1");
  start_in_step();
  EXPECT_EQ(gateway_->forms(), (Forms{{"web", "1"}}));
  gateway_->set_routes_verdict(grpc::Status::OK);
  ASSERT_TRUE(await([this] { return gateway_->routes() == Texts{kRouted}; }));
}

TEST_F(GatewaySenderTest, RoutesThatDoNotAppearAreWaitedForNoLongerThanAMoment) {
  gateway_->set_hears_of_routes(false);
  want_routes({{kPods, "192.0.2.11"}});
  prepare("web", kAuto);
  const auto begin = std::chrono::steady_clock::now();
  start_in_step();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
  EXPECT_EQ(writes(), Texts{"replace web=node"});
  gateway_->set_hears_of_routes(true);
  ASSERT_TRUE(await_forms({{"web", "endpoint"}}));
}

// From an adapter that had pod_routes; this one has it not.
TEST_F(GatewaySenderTest, RoutesThatAreNotWantedAnyMoreAreTakenAwayByWhoDecides) {
  v1::SetRoutesRequest earlier;
  earlier.add_routes()->set_destination(kPods);
  v1::SetRoutesResponse response;
  ASSERT_TRUE(gateway_->SetRoutes(nullptr, earlier, &response).ok());
  decides_ = false;
  start_in_step();
  await_polls(3);
  EXPECT_EQ(gateway_->routes().size(), 1U);
  decides_ = true;
  ASSERT_TRUE(await([this] { return gateway_->routes().empty(); }));
  const std::size_t calls = gateway_->calls("SetRoutes");
  await_polls(3);
  EXPECT_EQ(gateway_->calls("SetRoutes"), calls);
}

}  // namespace
}  // namespace sluice::kubernetes
