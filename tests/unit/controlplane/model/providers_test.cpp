// SPDX-License-Identifier: Apache-2.0
// What the configuration says of providers, and where their backends may be.
#include "controlplane/model/providers.h"

#include "controlplane/model/backend_ranges.h"
#include "controlplane/model/desired.h"
#include "dataplane/net/headers.h"
#include "tests/unit/controlplane/model/pools.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>

namespace sluice::model {
namespace {

std::vector<ProviderInput> good() {
  return {{.name = "west",
           .backend_ranges = {"10.0.0.0/16", "10.1.0.1-10.1.0.9", "2001:db8::/64"},
           .quota = {.services = 10},
           .namespace_quotas = {{"shop", {.addresses = 2}}, {"lab", {.frontends = 3}}}},
          {.name = "east", .backend_ranges = {"10.0.128.0/17"}}};
}

TEST(Providers, GoodOnesAreTakenOver) {
  Faults faults;
  const auto providers = validate_providers(good(), faults);
  EXPECT_TRUE(faults.empty());
  ASSERT_EQ(providers.size(), 2U);
  EXPECT_EQ(providers[0].name, "west");
  ASSERT_EQ(providers[0].backend_ranges.size(), 3U);
  EXPECT_EQ(to_string(providers[0].backend_ranges[1]), "10.1.0.1-10.1.0.9");
  EXPECT_EQ(providers[0].quota, (Quota{.services = 10}));
  EXPECT_EQ(providers[0].namespace_quotas[1], (NamespaceQuota{"lab", {.frontends = 3}}));
  EXPECT_EQ(providers[1].backend_ranges.size(), 1U) << "two providers' may overlap";
}

TEST(Providers, EveryRuleNamesTheSettingThatBreaksIt) {
  struct Case {
    const char* path;
    std::function<void(std::vector<ProviderInput>&)> change;
  };
  const std::vector<Case> cases{
      {"providers[0].name", [](auto& p) { p[0].name = ""; }},
      {"providers[0].name", [](auto& p) { p[0].name = "West"; }},
      {"providers[1].name", [](auto& p) { p[1].name = "west"; }},
      {"providers[0].backendRanges[1]", [](auto& p) { p[0].backend_ranges[1] = "10.1.0.1/16"; }},
      {"providers[1].backendRanges[0]", [](auto& p) { p[1].backend_ranges[0] = "pods"; }},
      {"providers[0].backendRanges[2]", [](auto& p) { p[0].backend_ranges[2] = "10.1.0.9"; }},
      {"providers[0].backendRanges[1]", [](auto& p) { p[0].backend_ranges[1] = "10.0.255.255"; }},
      {"providers[0].namespaceQuotas[0].namespace",
       [](auto& p) { p[0].namespace_quotas[0].space = "a_b"; }},
      {"providers[0].namespaceQuotas[1].namespace",
       [](auto& p) { p[0].namespace_quotas[1].space = "shop"; }},
  };
  for (const Case& wrong : cases) {
    std::vector<ProviderInput> input = good();
    wrong.change(input);
    Faults faults;
    const auto providers = validate_providers(input, faults);
    ASSERT_EQ(faults.invalid.size(), 1U) << wrong.path;
    EXPECT_EQ(faults.invalid[0].path, wrong.path);
  }
}

TEST(Providers, AllFaultsAreToldAtOnce) {
  std::vector<ProviderInput> input = good();
  input[0].name = "-";
  input[0].backend_ranges = {"x", "10.0.0.0/8", "10.1.0.0/16", "10.1.0.0/24"};
  input[1].namespace_quotas = {{"", {}}};
  Faults faults;
  const auto providers = validate_providers(input, faults);
  EXPECT_EQ(faults.invalid.size(), 6U) << "the last range overlaps with both before it";
}

TEST(TrafficQuotas, CountOnInTheOrderOfTheConfiguration) {
  Faults faults;
  std::vector<ProviderInput> input = good();
  input[0].quota.traffic = {.flows = 100, .snat_ports = 50};
  input[0].namespace_quotas[1].quota.traffic = {.flows = 7};
  const TrafficQuotas quotas(validate_providers(input, faults));
  EXPECT_EQ(quotas.limits(), (std::vector<QuotaLimits>{{100, 50}, {}, {.flows = 7}, {}}));
  EXPECT_EQ(quotas.of("west", "shop"), (QuotaIds{1, 2}));
  EXPECT_EQ(quotas.of("west", "lab"), (QuotaIds{1, 3}));
  EXPECT_EQ(quotas.of("west", "default"), (QuotaIds{1, 0}));
  EXPECT_EQ(quotas.of("east", "shop"), (QuotaIds{4, 0}));
  EXPECT_EQ(quotas.of("north", "shop"), QuotaIds{});
}

TEST(TrafficQuotas, MoreThanTheDataplaneCountsAreAFault) {
  std::vector<ProviderInput> input{{.name = "west"}};
  for (std::uint32_t i = 0; i < kQuotasMax; ++i) {
    input[0].namespace_quotas.push_back({"n" + std::to_string(i), {.services = 1}});
  }
  Faults faults;
  const auto providers = validate_providers(input, faults);
  ASSERT_EQ(faults.invalid.size(), 1U);
  EXPECT_EQ(faults.invalid[0].path, "providers");
}

std::vector<ProviderTerms> terms() {
  Faults faults;
  std::vector<ProviderInput> input{
      {.name = "west", .backend_ranges = {"10.0.0.0/16", "10.1.0.0-10.1.0.255", "10.1.1.0/24"}},
      {.name = "east", .backend_ranges = {"10.0.128.0-10.0.129.255", "192.0.2.0/24"}},
      {.name = "last", .backend_ranges = {"255.255.255.0-255.255.255.255", "::2-::ff"}},
      {.name = "open"}};
  auto made = validate_providers(input, faults);
  EXPECT_TRUE(faults.empty());
  return made;
}

TEST(BackendRanges, SayWhoMayHaveABackendWhere) {
  struct Case {
    const char* provider;
    const char* address;
    std::vector<std::string> told;  // empty: allowed
  };
  const std::string west = "provider 'west'";
  const std::string east = "provider 'east'";
  const std::vector<Case> cases{
      {"west", "10.0.0.0", {}},
      {"west", "10.0.127.255", {}},
      {"west", "10.0.128.0", {west, east, "sluice.dev/delivery"}},
      {"west", "10.0.129.255", {west, east}},
      {"east", "10.0.128.7", {"'10.0.128.7'", east, west}},
      {"west", "10.0.130.0", {}},
      {"west", "10.1.0.255", {}},
      {"west", "10.1.1.0", {}},
      {"west",
       "10.1.2.0",
       {"'10.1.2.0'", "outside", west, "10.0.0.0-10.0.255.255", "backendRanges"}},
      {"west", "192.0.2.1", {"outside", west}},
      {"west", "9.255.255.255", {"outside", west}},
      {"west", "2001:db8::1", {"outside", west}},
      {"east", "192.0.2.255", {}},
      {"last", "255.255.255.255", {}},
      {"last", "::1", {"outside"}},
      {"last", "::2", {}},
      {"last", "::100", {"outside"}},
      {"open", "10.9.0.1", {}},
      {"open", "2001:db8::1", {}},
      {"open", "192.0.2.1", {"'192.0.2.1'", east, "provider 'open'", "declares none"}},
      {"new", "10.0.128.1", {"provider 'new'", "declares none"}},
      {"new", "10.2.0.0", {}},
  };
  const BackendRanges ranges(terms());
  for (const Case& one : cases) {
    const std::string why = ranges.why_not(one.provider, ip(one.address));
    EXPECT_EQ(ranges.allows(one.provider, ip(one.address)), one.told.empty()) << one.address;
    EXPECT_EQ(why.empty(), one.told.empty()) << one.provider << " " << one.address << ": " << why;
    for (const std::string& part : one.told) {
      EXPECT_NE(why.find(part), std::string::npos) << part << " in " << why;
    }
    EXPECT_LE(why.size(), 300U) << "an answer shortens what is longer: " << why;
  }
}

TEST(BackendRanges, WithoutAnyEverythingIsAllowed) {
  const BackendRanges ranges({{.name = "open"}});
  EXPECT_TRUE(ranges.empty());
  EXPECT_TRUE(ranges.allows("open", ip("10.0.0.1")));
}

TEST(BackendRanges, FindWhatLookingAtEachRangeFinds) {
  std::mt19937 random(4711);
  const auto number = [&](unsigned end) { return static_cast<unsigned>(random() % end); };
  const auto address = [](unsigned last) { return ip("10.0.0." + std::to_string(last)); };
  for (int round = 0; round < 200; ++round) {
    std::vector<ProviderTerms> providers(1 + number(4));
    for (std::size_t p = 0; p < providers.size(); ++p) {
      providers[p].name = "p" + std::to_string(p);
      for (unsigned at = number(9); at < 60; at += 1 + number(9)) {
        const unsigned last = at + number(9);
        providers[p].backend_ranges.push_back({address(at), address(last)});
        at = last;
      }
    }
    const BackendRanges ranges(providers);
    for (unsigned last = 0; last < 80; ++last) {
      for (const ProviderTerms& provider : providers) {
        std::size_t others = 0;
        bool own = false;
        for (const ProviderTerms& each : providers) {
          const bool in =
              std::any_of(each.backend_ranges.begin(), each.backend_ranges.end(),
                          [&](const auto& range) { return range.contains(address(last)); });
          own = own || (in && each.name == provider.name);
          others += in && each.name != provider.name ? 1U : 0U;
        }
        const bool may = others == 0 && (own || provider.backend_ranges.empty());
        ASSERT_EQ(ranges.allows(provider.name, address(last)), may) << round << " " << last;
      }
    }
  }
}

Service with_endpoints(const std::string& name, const std::vector<std::string>& addresses) {
  Service made;
  made.name = {"default", name};
  made.vips = {ip("203.0.113.1")};
  made.ports = {{"", kProtocolTcp, 80, 8080, ""}};
  for (const std::string& address : addresses) {
    made.endpoints.emplace_back().address = ip(address);
  }
  return made;
}

TEST(BackendRanges, AnEndpointThatIsRefusedIsNamedByItsField) {
  const Desired desired({}, {}, {}, terms());
  Transaction transaction;
  transaction.provider = "west";
  transaction.upsert = {with_endpoints("a", {"10.0.0.1"}),
                        with_endpoints("b", {"10.0.0.2", "10.9.0.1", "10.0.128.1"})};
  transaction.upsert[1].vips = {ip("203.0.113.2")};
  const auto refused = desired.plan(transaction);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
  ASSERT_EQ(refused.error().faults.size(), 2U);
  EXPECT_EQ(refused.error().faults[0].path, "upsert[1].spec.endpoints[1].addresses[0]");
  EXPECT_EQ(refused.error().faults[1].path, "upsert[1].spec.endpoints[2].addresses[0]");
  transaction.upsert.push_back(with_endpoints("c", {"10.9.0.1"}));
  transaction.upsert[2].vips = {ip("203.0.113.3")};
  EXPECT_EQ(desired.plan(transaction).error().faults[1].path,
            "upsert[2].spec.endpoints[0].addresses[0]")
      << "each service before any is named again";
  transaction.upsert.resize(1);
  EXPECT_TRUE(desired.plan(transaction));
}

TEST(BackendRanges, OfANamesAddressesThoseThatAreRefusedAreLeftOut) {
  Desired desired({}, {}, {}, terms());
  Transaction transaction;
  transaction.provider = "west";
  transaction.upsert = {with_endpoints("a", {})};
  transaction.upsert[0].type = ServiceType::kExternalName;
  transaction.upsert[0].external_name = "db.example.com";
  const auto plan = desired.plan(transaction);
  ASSERT_TRUE(plan);
  desired.commit(*plan, transaction);
  const std::vector<IpAddress> found{ip("10.0.0.1"), ip("10.0.128.1"), ip("192.0.2.1"),
                                     ip("198.51.100.1")};
  const auto fits = [](const Service&) { return true; };
  ASSERT_EQ(desired.set_resolved("west", {"default", "a"}, found, fits),
            Desired::Resolved::kChanged);
  const auto& endpoints = desired.find("west", {"default", "a"})->service.endpoints;
  ASSERT_EQ(endpoints.size(), 1U);
  EXPECT_EQ(endpoints[0].address, ip("10.0.0.1"));
}

}  // namespace
}  // namespace sluice::model
