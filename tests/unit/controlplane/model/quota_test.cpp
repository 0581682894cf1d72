// SPDX-License-Identifier: Apache-2.0
// Quotas of providers and namespaces, as transactions meet them.
#include "controlplane/model/quota.h"

#include "controlplane/model/desired.h"
#include "dataplane/net/headers.h"
#include "tests/unit/controlplane/model/pools.h"

#include <gtest/gtest.h>

namespace sluice::model {
namespace {

Service service(const std::string& name, const std::vector<std::string>& vips,
                const std::vector<std::uint16_t>& ports = {80},
                const std::string& space = "default") {
  Service made;
  made.name = {space, name};
  for (const std::string& vip : vips) {
    made.vips.push_back(ip(vip));
  }
  made.vip_fields.given = !vips.empty();
  for (const std::uint16_t port : ports) {
    made.ports.push_back({std::to_string(port), kProtocolTcp, port, 8080, ""});
  }
  return made;
}

// Left to the gateway.
Service pooled(const std::string& name, const std::vector<std::uint16_t>& ports = {80}) {
  return service(name, {}, ports);
}

std::vector<ProviderTerms> terms(Quota quota, std::vector<NamespaceQuota> spaces = {}) {
  return {{.name = "other"},
          {.name = "west", .quota = quota, .namespace_quotas = std::move(spaces)}};
}

struct Gateway {
  explicit Gateway(const std::vector<ProviderTerms>& terms, std::vector<AddressPool> pools = {})
      : desired({}, {std::move(pools), {}, {*parse_address_range("192.0.2.0/24")}}, {}, terms) {}

  Result<Plan> apply(std::vector<Service> upsert, std::vector<ServiceName> remove = {},
                     bool replace = false, const std::string& provider = "west") {
    Transaction transaction;
    transaction.provider = provider;
    transaction.upsert = std::move(upsert);
    transaction.remove = std::move(remove);
    transaction.replace = replace;
    Faults faults;
    desired.assign_addresses(transaction, {}, faults);
    Result<Plan> plan = desired.plan(transaction, std::move(faults));
    if (plan) {
      desired.commit(*plan, std::move(transaction));
      served = serve_pending(false);
    }
    return plan;
  }
  std::size_t serve_pending(bool all_reasons) {
    return desired.serve_pending({}, all_reasons, [](const auto&, const auto&) { return true; })
        .size();
  }
  // Of one that is refused for quotas, and for nothing else.
  std::vector<std::string> refused(std::vector<Service> upsert,
                                   std::vector<ServiceName> remove = {}, bool replace = false) {
    const Result<Plan> plan = apply(std::move(upsert), std::move(remove), replace);
    if (plan) {
      return {"accepted"};
    }
    EXPECT_EQ(plan.error().code, Code::kResourceExhausted) << plan.error().message;
    EXPECT_EQ(plan.error().reason, kOverQuota);
    std::vector<std::string> paths;
    for (const Fault& fault : plan.error().faults) {
      paths.push_back(fault.path);
    }
    return paths;
  }
  [[nodiscard]] Use use() const { return desired.quotas().use("west"); }
  const Service& stored(const std::string& name) const {
    return desired.find("west", {"default", name})->service;
  }

  Desired desired;
  std::size_t served = 0;
};

using Paths = std::vector<std::string>;

TEST(Quota, WhatGoesOverIsRefusedByServiceAndField) {
  struct Case {
    std::string what;
    Quota quota;
    std::vector<Service> upsert;
    Paths paths;  // empty: accepted
  };
  Service node_ports = service("a", {}, {80, 443});
  node_ports.type = ServiceType::kNodePort;
  node_ports.allocates_node_ports = true;
  Service external = service("a", {"203.0.113.1"});
  external.external_ips = {ip("192.0.2.1"), ip("192.0.2.2")};
  Service large = service("c", {"203.0.113.3"}, {1, 2, 3, 4});
  large.external_ips = {ip("192.0.2.1"), ip("192.0.2.2")};
  const Service a = service("a", {"203.0.113.1"});
  const Service b = service("b", {"203.0.113.2"});
  const Service same_vip = service("b", {"203.0.113.1"}, {443, 8443});
  const std::vector<Case> cases{
      {"no bound", {}, {a, b, large}, {}},
      {"services", {.services = 1}, {a, b}, {"upsert[1].metadata.name"}},
      {"services, exactly", {.services = 2}, {a, b}, {}},
      {"addresses", {.addresses = 1}, {a, b}, {"upsert[1].spec.loadBalancerIPs[0]"}},
      {"addresses, shared", {.addresses = 1}, {a, same_vip}, {}},
      {"addresses, external", {.addresses = 2}, {external}, {"upsert[0].spec.loadBalancerIPs[0]"}},
      {"addresses, exactly", {.addresses = 3}, {external}, {}},
      {"frontends, times ports", {.frontends = 2}, {a, same_vip}, {"upsert[1].spec.ports"}},
      {"frontends, exactly", {.frontends = 3}, {a, same_vip}, {}},
      {"frontends, times addresses", {.frontends = 2}, {external}, {"upsert[0].spec.ports"}},
      {"frontends, node ports", {.frontends = 1}, {node_ports}, {"upsert[0].spec.ports"}},
      {"frontends, node ports, exactly", {.frontends = 2}, {node_ports}, {}},
      {"two quotas at once",
       {.services = 1, .addresses = 1},
       {a, b},
       {"upsert[1].metadata.name", "upsert[1].spec.loadBalancerIPs[0]"}},
      {"who fits after one that does not",
       {.frontends = 2},
       {service("x", {"203.0.113.9"}, {1, 2, 3}), a, b},
       {"upsert[0].spec.ports"}},
  };
  for (const Case& one : cases) {
    Gateway gateway(terms(one.quota));
    EXPECT_EQ(gateway.refused(one.upsert), one.paths.empty() ? Paths{"accepted"} : one.paths)
        << one.what;
    EXPECT_EQ(gateway.desired.services(), one.paths.empty() ? one.upsert.size() : 0U)
        << one.what << ": all or nothing";
  }
}

TEST(Quota, TheErrorNamesWhoWhatHowMuchAndTheSetting) {
  Gateway gateway(terms({.services = 9}, {{"lab", {}}, {"default", {.frontends = 3}}}));
  ASSERT_TRUE(gateway.apply({service("a", {"203.0.113.1"}, {1, 2})}));
  const auto refused = gateway.apply({service("b", {"203.0.113.2"}, {1, 2})});
  ASSERT_FALSE(refused);
  ASSERT_EQ(refused.error().faults.size(), 1U);
  EXPECT_EQ(refused.error().faults[0].message,
            "namespace 'default' of provider 'west' would have 4 frontends with this, has 2 "
            "without, and may have 3; give some up, or raise "
            "providers[1].namespaceQuotas[1].quota.frontends");
  EXPECT_EQ(refused.error().message, "upsert[0].spec.ports: " + refused.error().faults[0].message);
}

TEST(Quota, WhatATransactionGivesUpCounts) {
  const auto made = [](const std::string& name, int last) {
    return service(name, {"203.0.113." + std::to_string(last)});
  };
  Gateway gateway(terms({.services = 2, .addresses = 2}));
  ASSERT_TRUE(gateway.apply({made("a", 1), made("b", 2)}));
  EXPECT_EQ(gateway.refused({made("c", 3)}).size(), 2U);
  EXPECT_EQ(gateway.refused({made("c", 3)}, {{"default", "a"}}), Paths{"accepted"});
  EXPECT_EQ(gateway.refused({made("d", 4), made("e", 5)}, {}, true), Paths{"accepted"});
  EXPECT_EQ(gateway.use(), (Use{2, 2, 2}));
  EXPECT_EQ(gateway.refused({made("f", 4), made("d", 6)}, {{"default", "e"}}), Paths{"accepted"})
      << "one hands its address on, whatever the order";
  EXPECT_EQ(gateway.refused({made("f", 5), made("d", 6), made("g", 7)}, {}, true),
            (Paths{"upsert[2].metadata.name", "upsert[2].spec.loadBalancerIPs[0]"}));
}

TEST(Quota, OneThatShrinksMakesRoomForOneThatComesBeforeIt) {
  Gateway gateway(terms({.frontends = 3}));
  ASSERT_TRUE(gateway.apply({service("a", {"203.0.113.1"}, {1, 2, 3})}));
  EXPECT_EQ(gateway.refused({service("b", {"203.0.113.2"}), service("a", {"203.0.113.1"}, {1, 2})}),
            Paths{"accepted"});
  EXPECT_EQ(gateway.refused({service("c", {"203.0.113.3"}, {1, 2}), service("a", {"203.0.113.1"})}),
            Paths{"upsert[0].spec.ports"})
      << "and is not named when there is not enough of it";
  EXPECT_EQ(gateway.refused({service("c", {"203.0.113.3"}), service("a", {"203.0.113.1"}),
                             service("d", {"203.0.113.4"})}),
            Paths{"upsert[2].spec.ports"})
      << "the room is for who comes first";
}

TEST(Quota, TheOthersFitWithoutThoseThatAreNamed) {
  Gateway gateway(terms({.services = 3, .frontends = 4}));
  ASSERT_TRUE(gateway.apply({service("old", {"203.0.113.1"}, {1, 2})}));
  std::vector<Service> upsert{service("old", {"203.0.113.1"}, {1, 2, 3, 4, 5}),
                              service("a", {"203.0.113.2"}), service("b", {"203.0.113.3"}, {1, 2}),
                              service("c", {"203.0.113.4"}), service("d", {"203.0.113.5"})};
  EXPECT_EQ(gateway.refused(upsert), (Paths{"upsert[0].spec.ports", "upsert[2].spec.ports",
                                            "upsert[4].metadata.name", "upsert[4].spec.ports"}));
  EXPECT_EQ(gateway.refused({upsert[1], upsert[3]}), Paths{"accepted"});
}

TEST(Quota, ANamespaceAndItsProviderAreBothBound) {
  Gateway gateway(terms({.services = 3}, {{"shop", {.services = 1}}}));
  EXPECT_EQ(gateway.refused({service("a", {"203.0.113.1"}, {80}, "shop"),
                             service("b", {"203.0.113.2"}, {80}, "shop"),
                             service("c", {"203.0.113.3"}), service("d", {"203.0.113.4"})}),
            Paths{"upsert[1].metadata.name"});
  ASSERT_TRUE(gateway.apply({service("a", {"203.0.113.1"}, {80}, "shop"),
                             service("c", {"203.0.113.3"}), service("d", {"203.0.113.4"})}));
  EXPECT_EQ(gateway.refused({service("e", {"203.0.113.5"})}), Paths{"upsert[0].metadata.name"});
  EXPECT_EQ(gateway.refused({service("b", {"203.0.113.2"}, {80}, "shop")}),
            (Paths{"upsert[0].metadata.name", "upsert[0].metadata.name"}));
  EXPECT_EQ(gateway.desired.quotas().use("west", "shop"), (Use{1, 1, 1}));
  EXPECT_TRUE(gateway.apply({service("e", {"203.0.113.5"}), service("f", {"203.0.113.6"})}, {},
                            false, "other"))
      << "neighbours are unharmed";
}

TEST(Quota, WhoIsOverAlreadyMayChangeButNotGrow) {
  // As after a start with another configuration: the services are told to the counts alone.
  Quotas quotas(terms({.services = 1, .frontends = 3}));
  const Service a = service("a", {"203.0.113.1"}, {1, 2});
  const Service b = service("b", {"203.0.113.2"}, {1, 2});
  quotas.add("west", a);
  quotas.add("west", b);
  const auto over = [&](const Service* before, const Service& after) {
    return quotas.excess("west", {{.before = before, .after = &after}}).size();
  };
  EXPECT_EQ(over(&a, service("a", {"203.0.113.9"}, {3, 4})), 0U) << "as large as it was";
  EXPECT_EQ(over(&a, service("a", {"203.0.113.1"}, {1})), 0U) << "smaller, and still over";
  EXPECT_EQ(over(&a, service("a", {"203.0.113.1"}, {1, 2, 3})), 1U);
  EXPECT_EQ(over(nullptr, service("c", {"203.0.113.1"}, {9})), 1U);
  const Service smaller = service("a", {"203.0.113.1"}, {1});
  const Service larger = service("b", {"203.0.113.2"}, {1, 2, 3});
  EXPECT_TRUE(quotas
                  .excess("west", {{.before = &b, .after = &larger, .index = 0},
                                   {.before = &a, .after = &smaller, .index = 1}})
                  .empty())
      << "together they have what they had";
}

TEST(Quota, IsNotAskedOfWhatIsRefusedForAnotherReason) {
  Gateway gateway(terms({.services = 1}));
  Service elsewhere = service("b", {"203.0.113.2"});
  elsewhere.external_ips = {ip("198.51.100.1")};
  const auto refused = gateway.apply({service("a", {"203.0.113.1"}), elsewhere});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
  EXPECT_EQ(refused.error().faults.size(), 1U) << "without b, a fits";
}

TEST(Quota, ADryRunIsToldAndNothingIsCounted) {
  Gateway gateway(terms({.services = 1}));
  Transaction transaction;
  transaction.provider = "west";
  transaction.dry_run = true;
  transaction.upsert = {service("a", {"203.0.113.1"}), service("b", {"203.0.113.2"})};
  EXPECT_FALSE(gateway.desired.plan(transaction));
  transaction.upsert.pop_back();
  EXPECT_TRUE(gateway.desired.plan(transaction));
  EXPECT_EQ(gateway.use(), Use{});
}

TEST(Quota, ChosenAddressesAndNodePortsCount) {
  Gateway gateway(terms({.addresses = 1}), {pool("lb", {"203.0.113.0/24"})});
  ASSERT_TRUE(gateway.apply({pooled("a")}));
  EXPECT_EQ(gateway.refused({pooled("b")}), Paths{"upsert[0].spec.loadBalancerIPs"});
  EXPECT_EQ(gateway.refused({pooled("b")}, {{"default", "a"}}), Paths{"accepted"});
  Gateway ports(terms({.frontends = 3}), {pool("lb", {"203.0.113.0/24"})});
  Service both = pooled("a", {80, 443});
  both.allocates_node_ports = true;
  EXPECT_EQ(ports.refused({both}), Paths{"upsert[0].spec.ports"});
  both.ports.pop_back();
  EXPECT_EQ(ports.refused({both}), Paths{"accepted"});
  EXPECT_EQ(ports.use(), (Use{1, 1, 2}));
}

// The pool has one address; "wait" finds none and waits for it.
Gateway with_one_waiting(const Quota& quota) {
  Gateway gateway(terms(quota), {pool("lb", {"203.0.113.5"})});
  EXPECT_TRUE(gateway.apply({pooled("other")}, {}, false, "other"));
  EXPECT_TRUE(gateway.apply({pooled("wait", {80, 443})}));
  EXPECT_EQ(gateway.stored("wait").pending.why, "no free IPv4 address in pool 'lb'");
  return gateway;
}

TEST(Quota, WhoWaitsGoesOnWaitingWhileItWouldGoOver) {
  Gateway gateway = with_one_waiting({.frontends = 3});
  Service node_ports = service("a", {}, {1, 2});
  node_ports.type = ServiceType::kNodePort;
  node_ports.allocates_node_ports = true;
  ASSERT_TRUE(gateway.apply({node_ports}));
  ASSERT_TRUE(gateway.apply({}, {{"default", "other"}}, false, "other"));
  EXPECT_EQ(gateway.served, 0U);
  EXPECT_TRUE(gateway.stored("wait").vips.empty());
  EXPECT_EQ(gateway.stored("wait").pending.why,
            "provider 'west' would have 4 frontends with this, has 2 without, and may have 3; "
            "give some up, or raise providers[1].quota.frontends");
  EXPECT_EQ(gateway.use(), (Use{2, 0, 2}));
  node_ports.ports.pop_back();
  ASSERT_TRUE(gateway.apply({node_ports}));
  EXPECT_EQ(gateway.served + gateway.serve_pending(true), 1U) << "there is room now";
  EXPECT_EQ(gateway.stored("wait").pending.why, "");
  EXPECT_EQ(gateway.use(), (Use{2, 1, 3}));
}

TEST(Quota, WhoWaitsMayBeChangedThoughAnAddressIsFreeThatItMayNotHave) {
  Gateway gateway = with_one_waiting({.frontends = 1});
  ASSERT_TRUE(gateway.apply({}, {{"default", "other"}}, false, "other"));
  Service changed = pooled("wait", {80, 443});
  changed.labels["tier"] = "gold";
  ASSERT_TRUE(gateway.apply({changed}));
  EXPECT_TRUE(gateway.stored("wait").vips.empty());
  EXPECT_NE(gateway.stored("wait").pending.why.find("may have 1"), std::string::npos);
  EXPECT_EQ(gateway.refused({pooled("fresh", {80, 443})}), Paths{"upsert[0].spec.ports"})
      << "a new one is refused";
  changed.ports.pop_back();
  ASSERT_TRUE(gateway.apply({changed}));
  EXPECT_EQ(gateway.stored("wait").vips.size(), 1U);
}

TEST(Quota, WhoWaitsGivesWayInATransactionWithOthers) {
  const auto node_port = [](const std::string& name) {
    Service made = service(name, {}, {1});
    made.type = ServiceType::kNodePort;
    made.allocates_node_ports = true;
    return made;
  };
  Gateway gateway = with_one_waiting({.frontends = 2});
  ASSERT_TRUE(gateway.apply({node_port("old")}));
  ASSERT_TRUE(gateway.apply({}, {{"default", "other"}}, false, "other"));
  ASSERT_EQ(gateway.served, 0U) << "an address is free, and old leaves no room";
  Service changed = pooled("wait", {80, 443});
  changed.labels["tier"] = "gold";
  const auto plan = gateway.apply({changed, node_port("new")}, {{"default", "old"}});
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(gateway.use(), (Use{2, 0, 1}));
  EXPECT_NE(gateway.stored("wait").pending.why.find("may have 2"), std::string::npos);
}

}  // namespace
}  // namespace sluice::model
