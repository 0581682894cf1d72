// SPDX-License-Identifier: Apache-2.0
// Desired with address pools: who gets which VIP, keeps it, shares it, waits for one.
#include "controlplane/model/desired.h"
#include "dataplane/net/headers.h"
#include "tests/unit/controlplane/model/pools.h"

#include <gtest/gtest.h>

#include <sstream>

namespace sluice::model {
namespace {

// Its address is left to the gateway.
Service service(const std::string& name, std::uint16_t port = 80) {
  Service made;
  made.name = {"default", name};
  made.ports = {{"", kProtocolTcp, port, 8080, ""}};
  return made;
}

Service asking(const std::string& name, const std::string& vip, std::uint16_t port = 80) {
  Service made = service(name, port);
  made.vips = {ip(vip)};
  made.vip_fields = {{"loadBalancerIPs[0]"}, true};
  return made;
}

Service sharing(Service service, const std::string& key) {
  service.annotations[kSharedIpAnnotation] = key;
  return service;
}

using Ranges = std::vector<AddressRange>;

// "10.96.0.0/30,2001:db8:96::/126"; none of an empty text.
Ranges ranges_of(const std::string& text) {
  Ranges ranges;
  std::stringstream words(text);
  for (std::string word; std::getline(words, word, ',');) {
    ranges.push_back(*parse_address_range(word));
  }
  return ranges;
}

// A Desired with its transactions as the reconciler carries them out.
struct Gateway {
  explicit Gateway(std::vector<AddressPool> pools, const std::string& cluster = "",
                   const std::string& external = "")
      : desired({ip("192.0.2.9")}, {std::move(pools), ranges_of(cluster), ranges_of(external)}) {}

  Result<Plan> apply(std::vector<Service> upsert, std::vector<ServiceName> remove = {},
                     const std::string& provider = "cli", bool replace = false) {
    Transaction transaction;
    transaction.provider = provider;
    transaction.upsert = std::move(upsert);
    transaction.remove = std::move(remove);
    transaction.replace = replace;
    Faults faults;
    desired.assign_addresses(transaction, hosts, faults);
    Result<Plan> plan = desired.plan(transaction, std::move(faults));
    if (plan) {
      desired.commit(*plan, std::move(transaction));
      served = desired.serve_pending(hosts, false, [](const auto&, const auto&) { return true; });
    }
    return plan;
  }
  // One that must be accepted.
  void put(std::vector<Service> upsert, std::vector<ServiceName> remove = {}) {
    const Result<Plan> plan = apply(std::move(upsert), std::move(remove));
    ASSERT_TRUE(plan) << plan.error().message;
  }
  std::string vips_of(const std::string& name, const std::string& provider = "cli") const {
    const auto* stored = desired.find(provider, {"default", name});
    std::string text;
    for (const IpAddress& vip :
         stored == nullptr ? std::vector<IpAddress>{} : stored->service.vips) {
      text += (text.empty() ? "" : ",") + sluice::to_string(vip);
    }
    return text;
  }
  std::string clusters_of(const std::string& name) const {
    std::string text;
    for (const IpAddress& address : desired.find("cli", {"default", name})->service.cluster_ips) {
      text += (text.empty() ? "" : ",") + sluice::to_string(address);
    }
    return text;
  }
  std::string why(const std::string& name) const {
    return desired.find("cli", {"default", name})->service.pending.why;
  }

  std::vector<IpAddress> hosts = {ip("192.0.2.1")};
  Desired desired;
  std::vector<std::pair<std::string, ServiceName>> served;
};

TEST(Assign, AServiceGetsAnAddressAndKeepsItThroughChanges) {
  Gateway gateway({pool("lb", {"203.0.113.0/24"})});
  ASSERT_TRUE(gateway.apply({service("a"), service("b")}));
  EXPECT_EQ(gateway.vips_of("a"), "203.0.113.0");
  EXPECT_EQ(gateway.vips_of("b"), "203.0.113.1");
  Service changed = service("b", 443);
  ASSERT_TRUE(gateway.apply({changed}, {{"default", "a"}}));
  EXPECT_EQ(gateway.vips_of("b"), "203.0.113.1");
  const auto again = gateway.apply({changed});
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->empty());
}

TEST(Assign, ADeletedServicesAddressIsGivenAgain) {
  Gateway gateway({pool("lb", {"203.0.113.0/24"})});
  gateway.put({service("a"), service("b")});
  gateway.put({}, {{"default", "a"}});
  gateway.put({service("c")});
  EXPECT_EQ(gateway.vips_of("c"), "203.0.113.0");
}

TEST(Assign, AddressesOfTheHostOfSnatAndOfEndpointsAreNotGiven) {
  Gateway gateway({pool("lb", {"192.0.2.0/24"})});
  Service other = asking("other", "192.0.2.0");
  other.endpoints.emplace_back().address = ip("192.0.2.2");
  ASSERT_TRUE(gateway.apply({other}));
  Service own = service("own");
  own.endpoints.emplace_back().address = ip("192.0.2.3");
  ASSERT_TRUE(gateway.apply({own}));
  EXPECT_EQ(gateway.vips_of("own"), "192.0.2.4");  // .1 is the host's
  for (int i = 5; i < 9; ++i) {
    gateway.put({service("s" + std::to_string(i))});
  }
  gateway.put({service("late")});
  EXPECT_EQ(gateway.vips_of("late"), "192.0.2.10");  // .9 is a SNAT address
}

TEST(Assign, AnAddressAskedForInTheSameTransactionIsNotGivenToAnother) {
  Gateway gateway({pool("lb", {"203.0.113.0/30"})});
  ASSERT_TRUE(gateway.apply({service("a"), asking("b", "203.0.113.0")}));
  EXPECT_EQ(gateway.vips_of("a"), "203.0.113.1");
  EXPECT_EQ(gateway.vips_of("b"), "203.0.113.0");
}

TEST(Assign, WithoutPoolsAnAddressIsNeeded) {
  Gateway gateway({});
  const auto refused = gateway.apply({service("a")});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
  ASSERT_EQ(refused.error().faults.size(), 1U);
  EXPECT_EQ(refused.error().faults[0].path, "upsert[0].spec.loadBalancerIPs");
  EXPECT_TRUE(gateway.apply({asking("a", "203.0.113.1")}));
}

TEST(Assign, AnAddressOutsideItsPoolsIsRefusedAndNothingElseIsDisturbed) {
  AddressPool granted = pool("gold", {"198.51.100.0/24"});
  granted.namespaces = {"gold"};
  Gateway gateway({pool("lb", {"203.0.113.0/24"}), granted});
  gateway.put({service("a")});
  for (const char* vip : {"192.0.2.77", "198.51.100.1"}) {
    const auto refused = gateway.apply({service("b"), asking("c", vip)});
    ASSERT_FALSE(refused) << vip;
    EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
    EXPECT_EQ(refused.error().faults[0].path, "upsert[1].spec.loadBalancerIPs[0]");
  }
  EXPECT_EQ(gateway.desired.services(), 1U);
  EXPECT_EQ(gateway.vips_of("a"), "203.0.113.0");
  Service torn = asking("d", "203.0.113.7");
  torn.annotations[kAddressPoolAnnotation] = "gold";
  EXPECT_FALSE(gateway.apply({torn}));
}

TEST(Assign, WhoFindsThePoolExhaustedWaitsAndIsServedWhenAnAddressIsFree) {
  Gateway gateway({pool("lb", {"203.0.113.5"})});
  gateway.put({service("a")});
  ASSERT_TRUE(gateway.apply({service("b")}));
  EXPECT_EQ(gateway.vips_of("b"), "");
  EXPECT_EQ(gateway.why("b"), "no free IPv4 address in pool 'lb'");
  EXPECT_TRUE(gateway.served.empty());
  gateway.put({}, {{"default", "a"}});
  ASSERT_EQ(gateway.served.size(), 1U);
  EXPECT_EQ(gateway.served[0].second.name, "b");
  EXPECT_EQ(gateway.vips_of("b"), "203.0.113.5");
  EXPECT_EQ(gateway.why("b"), "");
}

TEST(Assign, AWaitingServiceThatGoesWaitsNoMore) {
  Gateway gateway({pool("lb", {"203.0.113.5"})});
  gateway.put({service("a")});
  gateway.put({service("b")});
  gateway.put({}, {{"default", "b"}, {"default", "a"}});
  EXPECT_TRUE(gateway.served.empty());
  EXPECT_EQ(gateway.desired.services(), 0U);
}

TEST(Assign, ReplacingAProvidersServicesHandsTheOnlyAddressOn) {
  Gateway gateway({pool("lb", {"203.0.113.5"})});
  gateway.put({service("a")});
  ASSERT_TRUE(gateway.apply({service("b")}, {}, "cli", true));
  EXPECT_EQ(gateway.vips_of("b"), "203.0.113.5");
}

TEST(Assign, AnAddressThatWasTheHostsIsGivenWhenAllReasonsAreLookedAt) {
  Gateway gateway({pool("lb", {"192.0.2.1"})});
  gateway.put({service("a")});
  EXPECT_EQ(gateway.vips_of("a"), "");
  gateway.hosts.clear();
  const auto fits = [](const std::string&, const Service&) { return true; };
  EXPECT_TRUE(gateway.desired.serve_pending(gateway.hosts, false, fits).empty());
  EXPECT_EQ(gateway.desired.serve_pending(gateway.hosts, true, fits).size(), 1U);
  EXPECT_EQ(gateway.vips_of("a"), "192.0.2.1");
}

TEST(Assign, AChangeThatGivesNothingUpHasNobodyLookedAtAgain) {
  Gateway gateway({pool("lb", {"192.0.2.1-192.0.2.2"})});
  gateway.hosts = {ip("192.0.2.2")};
  Service has = sharing(service("has"), "key");
  gateway.put({has, service("waits")});
  ASSERT_EQ(gateway.vips_of("has"), "192.0.2.1");
  gateway.hosts.clear();
  has.endpoints.emplace_back().address = ip("10.0.0.1");
  gateway.put({has});
  EXPECT_TRUE(gateway.served.empty()) << "its address was given up and taken back";
  gateway.put({}, {{"default", "has"}});
  EXPECT_EQ(gateway.served.size(), 1U);
}

TEST(Assign, WhoIsServedIsToldOfBeforeTheNextIsAskedAbout) {
  Gateway gateway({pool("lb", {"192.0.2.1-192.0.2.3"})});
  gateway.hosts = {ip("192.0.2.1"), ip("192.0.2.2"), ip("192.0.2.3")};
  gateway.put({service("a"), service("b"), service("c")});
  std::size_t room = 2;
  const auto served = gateway.desired.serve_pending(
      {}, true, [&](const auto&, const auto&) { return room > 0; },
      [&](const auto&, const auto&) { --room; });
  EXPECT_EQ(served.size(), 2U);
  EXPECT_EQ(gateway.vips_of("c"), "");
}

TEST(Assign, WhoDoesNotFitGoesOnWaiting) {
  Gateway gateway({pool("lb", {"192.0.2.1"})});
  gateway.put({service("a")});
  const auto fits = [](const std::string&, const Service&) { return false; };
  EXPECT_TRUE(gateway.desired.serve_pending({}, true, fits).empty());
  EXPECT_EQ(gateway.vips_of("a"), "");
}

TEST(Assign, NobodyTakesALiveAddressByNamingIt) {
  Gateway gateway({pool("lb", {"192.0.2.2-192.0.2.4"})});
  gateway.put({service("a")});
  ASSERT_EQ(gateway.vips_of("a"), "192.0.2.2");
  Service backed = service("backed");
  backed.endpoints.emplace_back().address = ip("192.0.2.2");
  for (const Service& other : {asking("b", "192.0.2.2"), asking("b", "192.0.2.2", 81), backed}) {
    for (const bool first : {true, false}) {
      SCOPED_TRACE(other.name.name + std::to_string(other.ports[0].port));
      EXPECT_FALSE(gateway.apply(first ? std::vector{other, service("a")}
                                       : std::vector{service("a"), other}));
      EXPECT_EQ(gateway.vips_of("a"), "192.0.2.2");
    }
  }
}

TEST(Assign, WhoNamesASharedAddressSharesItAlsoWithItsHolderInTheTransaction) {
  Gateway gateway({pool("lb", {"192.0.2.2-192.0.2.4"})});
  gateway.put({sharing(service("a"), "key")});
  gateway.put({sharing(service("a"), "key"), sharing(asking("b", "192.0.2.2", 81), "key")});
  EXPECT_EQ(gateway.vips_of("a"), "192.0.2.2");
  EXPECT_EQ(gateway.vips_of("b"), "192.0.2.2");
}

TEST(Assign, WhoStopsSharingKeepsItsAddressWhoeverComesFirst) {
  Gateway gateway({pool("lb", {"192.0.2.2-192.0.2.4"})});
  gateway.put({sharing(service("a"), "key")});
  gateway.put({sharing(service("new", 443), "key"), service("a")});
  EXPECT_EQ(gateway.vips_of("a"), "192.0.2.2");
  EXPECT_EQ(gateway.vips_of("new"), "192.0.2.3");
}

TEST(Assign, AddressesThatAreChosenAreOfTheFamilyOfThoseThatAreNamed) {
  Gateway gateway({pool("lb", {"192.0.2.2", "2001:db8::1-2001:db8::9"})},
                  "10.96.0.0/28,2001:db8:96::/124");
  gateway.put({asking("six", "2001:db8::1"), service("four")});
  EXPECT_EQ(gateway.clusters_of("six"), "2001:db8:96::");
  EXPECT_EQ(gateway.clusters_of("four"), "10.96.0.0");
  Service named = service("named");
  named.cluster_ips = {ip("2001:db8:96::5")};
  gateway.put({named});
  EXPECT_EQ(gateway.vips_of("named"), "2001:db8::2");
  Service four = service("four");
  const std::string before = gateway.vips_of("four");
  four.cluster_ips = {ip("2001:db8:96::6")};
  gateway.put({four});
  EXPECT_EQ(gateway.vips_of("four"), before) << "it is there already";
}

TEST(Assign, FamiliesFollowThePolicy) {
  struct Case {
    FamilyPolicy policy;
    std::vector<Family> families;
    std::string vips;
  };
  const std::vector<Case> cases{
      {FamilyPolicy::kUnset, {}, "203.0.113.0"},
      {FamilyPolicy::kSingleStack, {Family::kIpv6}, "2001:db8::"},
      {FamilyPolicy::kPreferDualStack, {}, "203.0.113.0,2001:db8::"},
      {FamilyPolicy::kRequireDualStack, {Family::kIpv6}, "2001:db8::,203.0.113.0"},
      {FamilyPolicy::kUnset, {Family::kIpv6, Family::kIpv4}, "2001:db8::,203.0.113.0"}};
  for (const Case& wanted : cases) {
    Gateway gateway({pool("lb", {"203.0.113.0/30", "2001:db8::/126"})});
    Service made = service("a");
    made.family_policy = wanted.policy;
    made.families = wanted.families;
    ASSERT_TRUE(gateway.apply({made}));
    EXPECT_EQ(gateway.vips_of("a"), wanted.vips);
    EXPECT_EQ(gateway.why("a"), "");
  }
}

TEST(Assign, TwoFamiliesWherePoolsHaveOneAreAPreferenceOrAReasonToWait) {
  Gateway gateway({pool("lb", {"203.0.113.0/30"})});
  Service prefers = service("prefers");
  prefers.family_policy = FamilyPolicy::kPreferDualStack;
  Service requires_two = service("requires");
  requires_two.family_policy = FamilyPolicy::kRequireDualStack;
  ASSERT_TRUE(gateway.apply({prefers, requires_two}));
  EXPECT_EQ(gateway.vips_of("prefers"), "203.0.113.0");
  EXPECT_EQ(gateway.why("prefers"), "");
  EXPECT_EQ(gateway.vips_of("requires"), "");
  EXPECT_EQ(gateway.why("requires"), "no pool gives IPv6 addresses to this service");
}

TEST(Assign, APoolsAddressIsOneServicesUnlessBothShareAKey) {
  Gateway gateway({pool("lb", {"203.0.113.0/30"})});
  gateway.put({asking("a", "203.0.113.1", 80)});
  const auto refused = gateway.apply({asking("b", "203.0.113.1", 443)});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kAlreadyExists);
  EXPECT_EQ(refused.error().owner, "cli: default/a");
  EXPECT_FALSE(gateway.apply({sharing(asking("b", "203.0.113.1", 443), "k")}));
  ASSERT_TRUE(gateway.apply({sharing(asking("a", "203.0.113.1", 80), "k")}));
  EXPECT_FALSE(gateway.apply({sharing(asking("b", "203.0.113.1", 443), "other")}));
  EXPECT_FALSE(gateway.apply({sharing(asking("b", "203.0.113.1", 443), "k")}, {}, "west"));
  EXPECT_FALSE(gateway.apply({sharing(asking("b", "203.0.113.1", 80), "k")}));  // the same port
  EXPECT_TRUE(gateway.apply({sharing(asking("b", "203.0.113.1", 443), "k")}));
}

TEST(Assign, APoolsAddressIsOneServicesOfATransactionUnlessBothShareAKey) {
  const auto faults_of = [](std::vector<Service> services) {
    Gateway gateway({pool("lb", {"203.0.113.0/30"})}, "10.96.0.0/30");
    const auto plan = gateway.apply(std::move(services));
    std::string text;
    for (const Fault& fault : plan ? std::vector<Fault>{} : plan.error().faults) {
      text += fault.path + ": " + fault.message + "\n";
    }
    return text;
  };
  const Service web = asking("a", "203.0.113.1", 80);
  const Service secure = asking("b", "203.0.113.1", 443);
  EXPECT_EQ(faults_of({web, secure}),
            "upsert[1].spec.loadBalancerIPs[0]: '203.0.113.1' is also of upsert[0] of this "
            "transaction; choose another, or give both services one value of the annotation " +
                std::string(kSharedIpAnnotation) + "\n");
  EXPECT_NE(faults_of({sharing(web, "k"), secure}), "");
  EXPECT_NE(faults_of({sharing(web, "k"), sharing(secure, "other")}), "");
  EXPECT_EQ(faults_of({sharing(web, "k"), sharing(secure, "k")}), "");
  Service one = sharing(service("c", 80), "k");
  Service other = sharing(service("d", 443), "k");
  one.cluster_ips = other.cluster_ips = {ip("10.96.0.1")};
  EXPECT_EQ(faults_of({one, other}),
            "upsert[1].spec.clusterIPs[0]: '10.96.0.1' is also of upsert[0] of this transaction; "
            "choose another\n");
}

TEST(Assign, ServicesOfOneKeyShareAnAddressThatIsChosenForThem) {
  Gateway gateway({pool("lb", {"203.0.113.0/30"})});
  gateway.put({sharing(service("a", 80), "k")});
  gateway.put({sharing(service("b", 443), "k")});
  gateway.put({sharing(service("c", 80), "k")});  // its port is taken there
  gateway.put({sharing(service("d", 22), "other")});
  EXPECT_EQ(gateway.vips_of("a"), "203.0.113.0");
  EXPECT_EQ(gateway.vips_of("b"), "203.0.113.0");
  EXPECT_EQ(gateway.vips_of("c"), "203.0.113.1");
  EXPECT_EQ(gateway.vips_of("d"), "203.0.113.2");
  gateway.put({}, {{"default", "a"}});
  gateway.put({service("e", 8080)});
  EXPECT_EQ(gateway.vips_of("e"), "203.0.113.3");  // b still has the first
}

Service cluster_service(const std::string& name, std::uint16_t port = 80) {
  Service made = service(name, port);
  made.type = ServiceType::kClusterIp;
  return made;
}

Service six(const std::string& name) {
  Service made = cluster_service(name);
  made.families = {Family::kIpv6};
  return made;
}

TEST(Assign, EveryServiceGetsAClusterAddressWhereThereAreRanges) {
  Gateway gateway({pool("lb", {"203.0.113.0/24"})}, "10.96.0.0/30");
  ASSERT_TRUE(gateway.apply({cluster_service("a"), service("b")}));
  EXPECT_EQ(gateway.clusters_of("a"), "10.96.0.0");
  EXPECT_EQ(gateway.vips_of("a"), "");
  EXPECT_EQ(gateway.clusters_of("b"), "10.96.0.1");
  EXPECT_EQ(gateway.vips_of("b"), "203.0.113.0");
  ASSERT_TRUE(gateway.apply({cluster_service("a", 443)}));
  EXPECT_EQ(gateway.clusters_of("a"), "10.96.0.0") << "kept when it is not named";
  ASSERT_TRUE(gateway.apply({}, {{"default", "a"}}));
  ASSERT_TRUE(gateway.apply({cluster_service("c")}));
  EXPECT_EQ(gateway.clusters_of("c"), "10.96.0.0");
}

TEST(Assign, AClusterAddressThatIsNotNamedAnyMoreOrComesBackIsNoChange) {
  Gateway gateway({}, "10.96.0.0/28");
  Service named = cluster_service("named");
  named.cluster_ips = {ip("10.96.0.7")};
  ASSERT_TRUE(gateway.apply({named, cluster_service("chosen")}));
  Service chosen = cluster_service("chosen");
  chosen.cluster_ips = {ip("10.96.0.0")};
  for (int i = 0; i < 2; ++i) {
    const auto again = gateway.apply({cluster_service("named"), chosen});
    ASSERT_TRUE(again);
    EXPECT_EQ(again->unchanged.size(), 2U);
    chosen.cluster_ips.clear();
  }
}

TEST(Assign, AClusterAddressOfTheOtherFamilyIsWaitedForToo) {
  Gateway gateway({}, "10.96.0.0/28,2001:db8:96::1-2001:db8:96::1");
  ASSERT_TRUE(gateway.apply({six("holder")}));
  Service both = cluster_service("both");
  both.family_policy = FamilyPolicy::kPreferDualStack;
  ASSERT_TRUE(gateway.apply({both}));
  EXPECT_EQ(gateway.clusters_of("both"), "10.96.0.0");
  const std::string why = gateway.why("both");
  EXPECT_NE(why, "");
  const auto look = [&] {
    return gateway.desired.serve_pending(gateway.hosts, true,
                                         [](const auto&, const auto&) { return true; });
  };
  EXPECT_TRUE(look().empty());
  EXPECT_EQ(gateway.why("both"), why) << "it still waits";
  // As it was shown, its address with it.
  both.cluster_ips = {ip("10.96.0.0")};
  ASSERT_TRUE(gateway.apply({both}));
  EXPECT_EQ(gateway.why("both"), why);
  ASSERT_TRUE(gateway.apply({}, {{"default", "holder"}}));
  EXPECT_EQ(gateway.clusters_of("both"), "10.96.0.0,2001:db8:96::1");
  EXPECT_EQ(gateway.why("both"), "");
}

TEST(Assign, AServiceThatWantsNoClusterAddressHasNone) {
  Gateway gateway({pool("lb", {"203.0.113.0/24"})}, "10.96.0.0/30");
  Service without = service("a");
  without.no_cluster_ip = true;
  ASSERT_TRUE(gateway.apply({without}));
  EXPECT_EQ(gateway.clusters_of("a"), "");
  EXPECT_EQ(gateway.vips_of("a"), "203.0.113.0");
  ASSERT_TRUE(gateway.apply({service("a")}));
  EXPECT_EQ(gateway.clusters_of("a"), "10.96.0.0");
  ASSERT_TRUE(gateway.apply({without}));
  EXPECT_EQ(gateway.clusters_of("a"), "") << "given back";
  ASSERT_TRUE(gateway.apply({cluster_service("b")}));
  EXPECT_EQ(gateway.clusters_of("b"), "10.96.0.0");
}

TEST(Assign, AClusterAddressIsOfTheRangesAndOneServices) {
  Gateway gateway({}, "10.96.0.0/30");
  Service asking_one = cluster_service("a");
  asking_one.cluster_ips = {ip("10.96.0.2")};
  ASSERT_TRUE(gateway.apply({asking_one}));
  Service second = sharing(cluster_service("b", 443), "k");
  second.cluster_ips = {ip("10.96.0.2")};
  const auto taken = gateway.apply({second});
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, Code::kAlreadyExists);
  second.cluster_ips = {ip("10.97.0.2")};
  const auto outside = gateway.apply({second});
  ASSERT_FALSE(outside);
  EXPECT_EQ(outside.error().faults[0].path, "upsert[0].spec.clusterIPs[0]");
  Gateway without({});
  second.cluster_ips = {ip("10.96.0.2")};
  EXPECT_FALSE(without.apply({second}));
}

TEST(Assign, AClusterServiceWithoutAnyAddressSaysWhy) {
  Gateway gateway({}, "", "192.0.2.32/28");
  ASSERT_TRUE(gateway.apply({cluster_service("a")}));
  EXPECT_EQ(gateway.why("a"), "this gateway has no clusterIpRanges and the service no externalIPs");
  Service external = cluster_service("a");
  external.external_ips = {ip("192.0.2.33")};
  ASSERT_TRUE(gateway.apply({external}));
  EXPECT_EQ(gateway.why("a"), "");
}

TEST(Assign, ExternalAddressesAreThoseThatAreAllowed) {
  Gateway gateway({pool("lb", {"203.0.113.0/24"})}, "", "192.0.2.32/28");
  Service outside = service("a");
  outside.external_ips = {ip("192.0.2.33"), ip("192.0.2.60")};
  const auto refused = gateway.apply({outside});
  ASSERT_FALSE(refused);
  ASSERT_EQ(refused.error().faults.size(), 1U);
  EXPECT_EQ(refused.error().faults[0].path, "upsert[0].spec.externalIPs[1]");
  outside.external_ips.pop_back();
  ASSERT_TRUE(gateway.apply({outside}));
  Service same = cluster_service("b");
  same.external_ips = {ip("192.0.2.33")};
  EXPECT_FALSE(gateway.apply({same})) << "the same port has one holder";
  same.ports[0].port = 443;
  EXPECT_TRUE(gateway.apply({same})) << "as in Kubernetes, another port may be another's";
}

TEST(Assign, ServicesOfOneKeyShareInTheTransactionThatBringsThem) {
  Gateway gateway({pool("lb", {"203.0.113.0/30"})});
  gateway.put({sharing(asking("a", "203.0.113.2", 80), "k"), sharing(service("b", 443), "k"),
               sharing(service("c", 443), "k"), service("d", 80), sharing(service("e", 80), "k")});
  EXPECT_EQ(gateway.vips_of("b"), "203.0.113.2");
  EXPECT_EQ(gateway.vips_of("c"), "203.0.113.0") << "b has its port";
  EXPECT_EQ(gateway.vips_of("d"), "203.0.113.1") << "it has no key";
  EXPECT_EQ(gateway.vips_of("e"), "203.0.113.0") << "a has its port on the first, c none of it";
}

TEST(Assign, AnAddressThatWasAskedForIsKeptWhenItIsNotAskedForAnyMore) {
  Gateway gateway({pool("lb", {"203.0.113.0/24"})});
  gateway.put({asking("a", "203.0.113.77")});
  const auto plan = gateway.apply({service("a")});
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->changed.size(), 1U);  // its spec is another
  EXPECT_EQ(gateway.vips_of("a"), "203.0.113.77");
}

}  // namespace
}  // namespace sluice::model
