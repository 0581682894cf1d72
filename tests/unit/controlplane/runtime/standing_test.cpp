// SPDX-License-Identifier: Apache-2.0
// What the reconciler makes of names, roles, draining and others' claims.
#include "tests/unit/controlplane/runtime/null_gateway.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace sluice::testing {
namespace {

using runtime::ResolvedName;

model::Service named(const std::string& name, const std::string& vip) {
  model::Service service = service_of(name, vip, {});
  service.type = model::ServiceType::kExternalName;
  service.external_name = "api.example.com";
  return service;
}

std::vector<std::string> endpoints_of(NullGateway& gateway, const std::string& name) {
  std::vector<std::string> addresses;
  const auto view = gateway.reconciler.service("cli", {"default", name});
  for (const model::Endpoint& endpoint : view->service.endpoints) {
    addresses.push_back(to_string(endpoint.address));
  }
  return addresses;
}

std::vector<std::string> reasons(NullGateway& gateway) {
  std::vector<std::string> found;
  for (const runtime::Event& event : gateway.reconciler.events("", {})) {
    found.push_back(event.reason);
  }
  return found;
}

bool has(const std::vector<std::string>& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// What is posted is there at the next question, which comes after it in the mailbox.
ResolvedName resolved(const std::vector<std::string>& addresses, const std::string& fault = "") {
  ResolvedName name{.name = "api.example.com", .addresses = {}, .fault = fault};
  for (const std::string& address : addresses) {
    name.addresses.push_back(*parse_ip(address));
  }
  return name;
}

TEST(Names, TheirAddressesAreTheirServicesEndpointsAndNoWrite) {
  NullGateway gateway;
  ASSERT_TRUE(gateway.reconciler.apply(transaction_of({named("web", "203.0.113.1")})));
  const auto revision = gateway.reconciler.service("cli", {"default", "web"})->revision;
  gateway.mailbox.post_name(resolved({"10.0.0.1", "10.0.0.2"}));
  EXPECT_EQ(endpoints_of(gateway, "web"), (std::vector<std::string>{"10.0.0.1", "10.0.0.2"}));
  EXPECT_EQ(gateway.reconciler.service("cli", {"default", "web"})->revision, revision);
  const auto again = gateway.reconciler.apply(transaction_of({named("web", "203.0.113.1")}));
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->plan.empty()) << "and they stay";
  gateway.mailbox.post_name(resolved({"10.0.0.2"}));
  EXPECT_EQ(endpoints_of(gateway, "web"), (std::vector<std::string>{"10.0.0.2"}));
}

TEST(Names, AddressesThatNoBackendHasAreLeftOut) {
  NullGateway gateway;
  ASSERT_TRUE(gateway.reconciler.apply(transaction_of({named("web", "203.0.113.1")})));
  gateway.mailbox.post_name(resolved({"10.0.0.1", "127.0.0.1", "224.0.0.1", "169.254.1.1",
                                      "192.0.2.100",    // SNAT
                                      "203.0.113.1"}))  // its own VIP
      ;
  EXPECT_EQ(endpoints_of(gateway, "web"), (std::vector<std::string>{"10.0.0.1"}));
}

TEST(Names, AnAddressThatCouldNotBeABackendBecomesOneWhenItCan) {
  NullGateway gateway;
  ASSERT_TRUE(gateway.reconciler.apply(
      transaction_of({named("web", "203.0.113.1"), service_of("other", "203.0.113.9", {})})));
  gateway.mailbox.post_name(resolved({"10.0.0.1", "203.0.113.9"}));
  ASSERT_EQ(endpoints_of(gateway, "web").size(), 1U);
  auto removal = transaction_of({});
  removal.remove = {{"default", "other"}};
  ASSERT_TRUE(gateway.reconciler.apply(removal));
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (endpoints_of(gateway, "web").size() < 2 && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  EXPECT_EQ(endpoints_of(gateway, "web"), (std::vector<std::string>{"10.0.0.1", "203.0.113.9"}));
}

TEST(Names, AnAnswerAfterAFaultIsToldToo) {
  NullGateway gateway;
  ASSERT_TRUE(gateway.reconciler.apply(transaction_of({named("web", "203.0.113.1")})));
  gateway.mailbox.post_name(resolved({}, "nobody answers"));
  ASSERT_EQ(reasons(gateway), std::vector<std::string>{"NameNotResolved"});
  gateway.mailbox.post_name(resolved({"10.0.0.1"}));
  EXPECT_TRUE(has(reasons(gateway), "NameResolved"));
}

TEST(Names, AFaultIsToldAndTheLastAddressesStay) {
  NullGateway gateway;
  ASSERT_TRUE(gateway.reconciler.apply(transaction_of({named("web", "203.0.113.1")})));
  gateway.mailbox.post_name(resolved({"10.0.0.1"}));
  ASSERT_EQ(endpoints_of(gateway, "web").size(), 1U);
  gateway.mailbox.post_name(resolved({}, "the name has no address"));
  EXPECT_EQ(endpoints_of(gateway, "web"), (std::vector<std::string>{"10.0.0.1"}));
  const auto events = gateway.reconciler.events("cli", {"default", "web"});
  ASSERT_FALSE(events.empty());
  EXPECT_EQ(events.back().reason, "NameNotResolved");
  EXPECT_NE(events.back().message.find("has no address"), std::string::npos);
}

TEST(Names, MoreAddressesThanThereIsRoomForAreNotTaken) {
  NullGateway gateway;
  ASSERT_TRUE(gateway.reconciler.apply(transaction_of({named("web", "203.0.113.1")})));
  gateway.mailbox.post_name(resolved({"10.0.0.1"}));
  ASSERT_EQ(endpoints_of(gateway, "web").size(), 1U);
  std::vector<std::string> many;
  for (std::uint32_t i = 0; i <= kNullBindings; ++i) {
    many.push_back("10.0.1." + std::to_string(i));
  }
  gateway.mailbox.post_name(resolved(many));
  EXPECT_EQ(endpoints_of(gateway, "web").size(), 1U);
  EXPECT_TRUE(has(reasons(gateway), "NameNotResolved"));
}

TEST(Names, OneThatNobodyFollowsAnyMoreIsNothing) {
  NullGateway gateway;
  ASSERT_TRUE(gateway.reconciler.apply(transaction_of({named("web", "203.0.113.1")})));
  ASSERT_TRUE(gateway.reconciler.apply(transaction_of({service_of("web", "203.0.113.1", {})})));
  gateway.mailbox.post_name(resolved({"10.0.0.1"}));
  EXPECT_TRUE(endpoints_of(gateway, "web").empty());
}

// How often addresses are answered for is seen by ARP end to end; here, who may have SNAT.
TEST(NodePortFamilies, NeedSnatWhereTheServiceInsists) {
  NullGateway gateway;  // IPv4 SNAT alone
  const auto put = [&](const std::function<void(model::Service&)>& change) {
    model::Service service = service_of("web", "", {});
    service.type = model::ServiceType::kNodePort;
    service.allocates_node_ports = true;
    change(service);
    const auto applied = gateway.reconciler.apply(transaction_of({service}));
    return applied ? std::string() : applied.error().faults[0].path;
  };
  const std::string path = "upsert[0].spec.ipFamilies";
  EXPECT_EQ(put([](auto&) {}), "");
  EXPECT_EQ(put([](auto& s) { s.family_policy = model::FamilyPolicy::kPreferDualStack; }), "");
  EXPECT_EQ(put([](auto& s) { s.family_policy = model::FamilyPolicy::kRequireDualStack; }), path);
  EXPECT_EQ(put([](auto& s) { s.families = {Family::kIpv6}; }), path);
  EXPECT_EQ(put([](auto& s) { s.families = {Family::kIpv6, Family::kIpv4}; }), path);
  EXPECT_EQ(put([](auto& s) {
              s.families = {Family::kIpv6, Family::kIpv4};
              s.family_policy = model::FamilyPolicy::kPreferDualStack;
              s.endpoints = service_of("", "", {"10.0.0.7", "2001:db8::7"}).endpoints;
            }),
            "")
      << "it is served over IPv4";
  EXPECT_EQ(put([](auto& s) {
              s.family_policy = model::FamilyPolicy::kPreferDualStack;
              s.endpoints = service_of("", "", {"2001:db8::7"}).endpoints;
            }),
            path);
  EXPECT_EQ(put([](auto& s) { s.endpoints = service_of("", "", {"2001:db8::7"}).endpoints; }),
            path);
}

TEST(Standing, ChangesAreEventsAndInTheStatus) {
  NullGateway gateway;
  EXPECT_FALSE(gateway.reconciler.status().standing.standby);
  EXPECT_TRUE(gateway.reconciler.set_standby(true));
  EXPECT_TRUE(gateway.reconciler.set_draining(true));
  EXPECT_TRUE(gateway.reconciler.status().standing.standby);
  EXPECT_TRUE(gateway.reconciler.status().standing.draining);
  EXPECT_TRUE(gateway.reconciler.set_draining(true));
  EXPECT_TRUE(gateway.reconciler.set_draining(false));
  EXPECT_EQ(reasons(gateway),
            (std::vector<std::string>{"BecameStandby", "DrainStarted", "DrainEnded"}));
}

TEST(Standing, TheConfigurationSaysHowItBegins) {
  NullGateway gateway([](model::Config& config) { config.standby = true; });
  EXPECT_TRUE(gateway.reconciler.status().standing.standby);
}

TEST(Standing, AClaimOfAnotherIsCountedAndToldOfTheServiceThatHasTheAddress) {
  NullGateway gateway;
  ASSERT_TRUE(gateway.reconciler.apply(transaction_of({service_of("web", "203.0.113.1", {})})));
  const runtime::AddressClaim claim{*parse_ip("203.0.113.1"), 0, {2, 0, 0, 0, 0, 9}};
  for (int i = 0; i < 2; ++i) {
    gateway.mailbox.post_claim(claim);
    EXPECT_EQ(gateway.reconciler.status().address_conflicts, static_cast<std::uint64_t>(i + 1));
  }
  const auto events = gateway.reconciler.events("cli", {"default", "web"});
  const auto at = std::find_if(events.begin(), events.end(),
                               [](const auto& event) { return event.reason == "AddressConflict"; });
  ASSERT_NE(at, events.end());
  EXPECT_EQ(at->count, 2U);
  EXPECT_NE(at->message.find("02:00:00:00:00:09 on wan0"), std::string::npos) << at->message;
}

TEST(Standing, AServiceThatLosesItsEndpointsAndGetsThemBackIsToldOf) {
  NullGateway gateway;
  const auto put = [&](const std::vector<std::string>& endpoints) {
    ASSERT_TRUE(
        gateway.reconciler.apply(transaction_of({service_of("web", "203.0.113.1", endpoints)})));
  };
  put({"10.0.0.1"});
  EXPECT_TRUE(reasons(gateway).empty()) << "that all is well is no news";
  put({});
  put({"10.0.0.1"});
  EXPECT_EQ(reasons(gateway), (std::vector<std::string>{"NoUsableEndpoint", "EndpointsUsable"}));
}

TEST(PickBackend, IsOneThatIsUsableOrSaysWhyNot) {
  NullGateway gateway;
  ASSERT_TRUE(gateway.reconciler.apply(
      transaction_of({service_of("web", "203.0.113.1", {"10.0.0.1", "10.0.0.2"}),
                      service_of("idle", "203.0.113.2", {})})));
  const auto pick = [&](const std::string& name, std::uint16_t port) {
    return gateway.reconciler.pick_backend("", {"default", name}, port);
  };
  const auto picked = pick("web", 80);
  ASSERT_TRUE(picked);
  EXPECT_EQ(picked->port, 8080);
  EXPECT_EQ(pick("web", 81).error().code, model::Code::kInvalidArgument);
  EXPECT_EQ(pick("idle", 80).error().code, model::Code::kFailedPrecondition);
  EXPECT_EQ(pick("nobody", 80).error().code, model::Code::kNotFound);
  EXPECT_EQ(gateway.reconciler.pick_backend("other", {"default", "web"}, 80).error().code,
            model::Code::kNotFound);
}

}  // namespace
}  // namespace sluice::testing
