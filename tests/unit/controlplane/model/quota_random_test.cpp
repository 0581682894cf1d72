// SPDX-License-Identifier: Apache-2.0
// The counts that are kept against a recount of all services, and what is refused against the rule.
#include "controlplane/model/desired.h"
#include "controlplane/model/quota.h"
#include "dataplane/net/headers.h"
#include "tests/unit/controlplane/model/pools.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace sluice::model {
namespace {

using Services = std::map<ServiceName, Service>;

// Of a namespace; empty: of all.
Use recount(const Services& services, const std::string& space) {
  Use use;
  std::set<IpAddress> addresses;
  for (const auto& [name, service] : services) {
    if (!space.empty() && name.space != space) {
      continue;
    }
    ++use.services;
    for (const auto* some : {&service.vips, &service.external_ips, &service.cluster_ips}) {
      addresses.insert(some->begin(), some->end());
      use.frontends += some->size() * service.ports.size();
    }
    for (const ServicePortSpec& port : service.ports) {
      use.frontends += port.node_port != 0 ? 1U : 0U;
    }
  }
  use.addresses = addresses.size();
  return use;
}

Services services_of(const Desired& desired) {
  Services services;
  const auto provider = desired.providers().find("west");
  if (provider != desired.providers().end()) {
    for (const auto& [name, stored] : provider->second.services) {
      services.emplace(name, stored.service);
    }
  }
  return services;
}

Services after(Services services, const Transaction& transaction) {
  if (transaction.replace) {
    services.clear();
  }
  for (const ServiceName& name : transaction.remove) {
    services.erase(name);
  }
  for (const Service& service : transaction.upsert) {
    services.insert_or_assign(service.name, service);
  }
  return services;
}

const std::vector<ProviderTerms> kTerms{
    {.name = "west",
     .quota = {.services = 9, .addresses = 12, .frontends = 30},
     .namespace_quotas = {{"s0", {.services = 5, .addresses = 5}}, {"s1", {.frontends = 9}}}}};

bool grows_over(const Services& before, const Services& then) {
  const auto over = [&](const Quota& quota, const std::string& space) {
    const Use had = recount(before, space);
    const Use has = recount(then, space);
    const auto more = [](std::uint32_t bound, std::uint64_t had_of, std::uint64_t has_of) {
      return bound != 0 && has_of > bound && has_of > had_of;
    };
    return more(quota.services, had.services, has.services) ||
           more(quota.addresses, had.addresses, has.addresses) ||
           more(quota.frontends, had.frontends, has.frontends);
  };
  const ProviderTerms& west = kTerms[0];
  return over(west.quota, "") ||
         std::any_of(west.namespace_quotas.begin(), west.namespace_quotas.end(),
                     [&](const NamespaceQuota& one) { return over(one.quota, one.space); });
}

class Random {
 public:
  explicit Random(unsigned seed) : random_(seed) {}

  unsigned below(unsigned end) { return static_cast<unsigned>(random_() % end); }
  ServiceName name() { return {"s" + std::to_string(below(3)), "n" + std::to_string(below(6))}; }
  // Ports of its own, so that addresses may be shared as they come.
  Service service(const ServiceName& name) {
    Service made;
    made.name = name;
    const unsigned own = 1000 + 100 * (static_cast<unsigned>(name.space[1]) - '0') +
                         10 * (static_cast<unsigned>(name.name[1]) - '0');
    for (unsigned p = 0, ports = 1 + below(4); p < ports; ++p) {
      const auto port = static_cast<std::uint16_t>(own + p);
      const auto node_port = static_cast<std::uint16_t>(below(3) == 0 ? 30'000U + port : 0U);
      made.ports.push_back({"p" + std::to_string(p), kProtocolTcp, port, 8080, "", node_port});
    }
    const auto add = [&](std::vector<IpAddress>& some, const std::string& prefix, unsigned most) {
      std::set<unsigned> lasts;
      for (unsigned n = below(most + 1); n > 0; --n) {
        lasts.insert(below(8));
      }
      for (const unsigned last : lasts) {
        some.push_back(ip(prefix + std::to_string(last)));
      }
    };
    add(made.vips, "203.0.113.", 3);
    add(made.external_ips, "192.0.2.", 2);
    add(made.cluster_ips, "10.96.0.", 1);
    return made;
  }
  Transaction transaction(const Services& there) {
    Transaction made;
    made.provider = "west";
    made.replace = below(8) == 0;
    std::set<ServiceName> named;
    for (unsigned n = below(6); n > 0; --n) {
      const ServiceName name = this->name();
      if (named.insert(name).second) {
        made.upsert.push_back(service(name));
      }
    }
    for (const auto& [name, stored] : there) {
      if (below(6) == 0 && named.insert(name).second) {
        made.remove.push_back(name);
      }
    }
    return made;
  }

 private:
  std::mt19937 random_;
};

void expect_counted(const Desired& desired, const Services& services) {
  ASSERT_EQ(desired.quotas().use("west"), recount(services, ""));
  for (const char* space : {"s0", "s1"}) {
    ASSERT_EQ(desired.quotas().use("west", space), recount(services, space)) << space;
  }
}

// Leaves out who is named: what is there of it stays.
void leave_out(const Error& error, Transaction& transaction) {
  std::set<std::size_t> named;
  for (const Fault& fault : error.faults) {
    named.insert(std::stoul(fault.path.substr(std::string("upsert[").size())));
  }
  for (auto at = named.rbegin(); at != named.rend(); ++at) {
    ASSERT_LT(*at, transaction.upsert.size());
    transaction.upsert.erase(transaction.upsert.begin() + static_cast<std::ptrdiff_t>(*at));
  }
}

TEST(QuotaRandom, TransactionsAreRefusedByTheRuleAndTheCountsAreRight) {
  std::size_t refused = 0;
  std::size_t accepted = 0;
  for (unsigned seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    Desired desired({}, {}, {}, kTerms);
    for (int step = 0; step < 120; ++step) {
      const Services before = services_of(desired);
      Transaction transaction = random.transaction(before);
      const bool over = grows_over(before, after(before, transaction));
      auto plan = desired.plan(transaction);
      ASSERT_EQ(plan.has_value(), !over) << (plan ? "accepted" : plan.error().message);
      if (!plan) {
        ++refused;
        ASSERT_EQ(plan.error().code, Code::kResourceExhausted) << plan.error().message;
        if (transaction.replace) {
          continue;  // who is left out would be swept
        }
        leave_out(plan.error(), transaction);
        plan = desired.plan(transaction);
        ASSERT_TRUE(plan) << "without those that were named: " << plan.error().message;
      }
      accepted += plan->empty() ? 0 : 1;
      const Services then = after(before, transaction);
      desired.commit(*plan, std::move(transaction));
      ASSERT_EQ(services_of(desired), then);
      expect_counted(desired, then);
    }
  }
  EXPECT_GT(refused, 500U);
  EXPECT_GT(accepted, 2'000U);
}

// With addresses that the gateway chooses, and services that wait for one.
TEST(QuotaRandom, WhatTheGatewayGivesKeepsWithinTheQuotas) {
  std::size_t served = 0;
  std::size_t waited_for_quota = 0;
  for (unsigned seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    Desired desired(
        {}, {{pool("lb", {"203.0.113.0-203.0.113.2"})}, {*parse_address_range("10.96.0.0/28")}, {}},
        NodePorts{}, kTerms);
    for (int step = 0; step < 120; ++step) {
      Transaction transaction = random.transaction(services_of(desired));
      for (Service& service : transaction.upsert) {
        service.vips.clear();
        service.external_ips.clear();
        service.cluster_ips.clear();
        service.type = random.below(2) == 0 ? ServiceType::kLoadBalancer : ServiceType::kClusterIp;
        for (ServicePortSpec& port : service.ports) {
          port.node_port = 0;
        }
      }
      Faults faults;
      desired.assign_addresses(transaction, {}, faults);
      ASSERT_TRUE(faults.empty()) << faults.to_error().message;
      if (const auto plan = desired.plan(transaction)) {
        desired.commit(*plan, std::move(transaction));
      } else {
        ASSERT_EQ(plan.error().code, Code::kResourceExhausted) << plan.error().message;
      }
      const auto fits = [](const auto&, const auto&) { return true; };
      served += desired.serve_pending({}, random.below(2) == 0, fits).size();
      const Services services = services_of(desired);
      expect_counted(desired, services);
      ASSERT_FALSE(grows_over({}, services)) << "nothing was ever over";
      for (const auto& [name, service] : services) {
        waited_for_quota += service.pending.why.find("may have") != std::string::npos ? 1U : 0U;
      }
    }
  }
  EXPECT_GT(served, 50U);
  EXPECT_GT(waited_for_quota, 50U);
}

}  // namespace
}  // namespace sluice::model
