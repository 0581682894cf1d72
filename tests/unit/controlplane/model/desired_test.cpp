// SPDX-License-Identifier: Apache-2.0
#include "controlplane/model/desired.h"

#include "dataplane/net/headers.h"

#include <gtest/gtest.h>

namespace sluice::model {
namespace {

Service service(const std::string& name, const std::string& vip, std::uint16_t port = 80) {
  Service made;
  made.name = {"default", name};
  made.vips = {*parse_ip(vip)};
  made.ports = {{"", kProtocolTcp, port, 8080, ""}};
  return made;
}

Transaction write(std::vector<Service> upsert, const std::string& provider = "cli") {
  Transaction transaction;
  transaction.provider = provider;
  transaction.upsert = std::move(upsert);
  return transaction;
}

// Plans and commits; the plan must be good.
std::uint64_t apply(Desired& desired, const Transaction& transaction) {
  const auto plan = desired.plan(transaction);
  EXPECT_TRUE(plan.has_value()) << plan.error().message;
  return plan ? desired.commit(*plan, transaction) : 0;
}

TEST(Desired, APlanTellsCreatedChangedAndUnchanged) {
  Desired desired;
  apply(desired, write({service("a", "192.0.2.1"), service("b", "192.0.2.2")}));
  Service changed = service("b", "192.0.2.2");
  changed.labels["tier"] = "gold";
  const auto plan =
      desired.plan(write({service("a", "192.0.2.1"), changed, service("c", "192.0.2.3")}));
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->unchanged, (std::vector<ServiceName>{{"default", "a"}}));
  ASSERT_EQ(plan->changed.size(), 1U);
  EXPECT_EQ(plan->changed[0].name.name, "b");
  ASSERT_EQ(plan->created.size(), 1U);
  EXPECT_EQ(plan->created[0].name.name, "c");
}

TEST(Desired, WhatIsToBeNewIsRefusedWhenItIsThere) {
  Desired desired;
  apply(desired, write({service("a", "192.0.2.1")}));
  Transaction create = write({service("b", "192.0.2.2"), service("a", "192.0.2.1")});
  create.create = true;
  const auto refused = desired.plan(create);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kAlreadyExists);
  EXPECT_EQ(refused.error().owner, "cli: default/a");
  ASSERT_EQ(refused.error().faults.size(), 1U);
  EXPECT_EQ(refused.error().faults[0].path, "upsert[1].metadata.name");
  create.upsert.pop_back();
  EXPECT_TRUE(desired.plan(create));
}

TEST(Desired, APlanAloneChangesNothing) {
  Desired desired;
  ASSERT_TRUE(desired.plan(write({service("a", "192.0.2.1")})));
  EXPECT_EQ(desired.services(), 0U);
  EXPECT_EQ(desired.revision("cli"), 0U);
}

TEST(Desired, TheRevisionCountsWritesThatChangeSomething) {
  Desired desired;
  EXPECT_EQ(apply(desired, write({service("a", "192.0.2.1")})), 1U);
  EXPECT_EQ(apply(desired, write({service("a", "192.0.2.1")})), 1U);
  EXPECT_EQ(apply(desired, write({service("b", "192.0.2.2")})), 2U);
  EXPECT_EQ(desired.revision("other"), 0U);
}

TEST(Desired, AFirstWriteOfNothingCountsToo) {
  Desired desired;
  EXPECT_EQ(apply(desired, write({})), 1U);
  EXPECT_EQ(desired.revision("cli"), 1U);
  EXPECT_EQ(apply(desired, write({})), 1U);
}

TEST(Desired, AnotherRevisionThanExpectedAborts) {
  Desired desired;
  apply(desired, write({service("a", "192.0.2.1")}));
  Transaction late = write({service("b", "192.0.2.2")});
  late.expected_revision = 0;
  const auto refused = desired.plan(late);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kAborted);
  late.expected_revision = 1;
  EXPECT_TRUE(desired.plan(late));
}

TEST(Desired, ReplaceSweepsTheServicesOfItsProviderOnly) {
  Desired desired;
  apply(desired, write({service("a", "192.0.2.1"), service("b", "192.0.2.2")}));
  apply(desired, write({service("a", "192.0.2.3")}, "cluster"));
  Transaction replace = write({service("b", "192.0.2.2")});
  replace.replace = true;
  const auto plan = desired.plan(replace);
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->removed, (std::vector<ServiceName>{{"default", "a"}}));
  desired.commit(*plan, replace);
  EXPECT_NE(desired.find("cluster", {"default", "a"}), nullptr);
  EXPECT_EQ(desired.find("cli", {"default", "a"}), nullptr);
}

TEST(Desired, RemovingWhatIsNotThereIsToldAndNothingHappens) {
  Desired desired;
  apply(desired, write({service("a", "192.0.2.1")}));
  Transaction transaction = write({});
  transaction.remove = {{"default", "a"}, {"default", "b"}};
  const auto refused = desired.plan(transaction);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kNotFound);
  EXPECT_EQ(desired.services(), 1U);
}

TEST(Desired, AFrontendHasOneHolderAndTheSecondIsToldWho) {
  Desired desired;
  apply(desired, write({service("a", "192.0.2.1")}, "cluster"));
  const auto refused = desired.plan(write({service("b", "192.0.2.1")}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kAlreadyExists);
  EXPECT_EQ(refused.error().resource, "192.0.2.1:80/TCP");
  EXPECT_EQ(refused.error().owner, "cluster: default/a");
  EXPECT_TRUE(desired.plan(write({service("b", "192.0.2.1", 81)}))) << "another port is free";
}

TEST(Desired, ADuplicateFrontendWithinATransactionIsAFaultWithItsPath) {
  const Desired desired;
  const auto refused = desired.plan(write({service("a", "192.0.2.1"), service("b", "192.0.2.1")}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
  EXPECT_EQ(refused.error().faults[0].path, "upsert[1].spec.ports[0].port");
}

TEST(Desired, AFrontendMayMoveBetweenServicesInOneTransaction) {
  Desired desired;
  apply(desired, write({service("a", "192.0.2.1"), service("b", "192.0.2.2")}));
  apply(desired, write({service("a", "192.0.2.2"), service("b", "192.0.2.1")}));
  Transaction transaction = write({service("c", "192.0.2.1")});
  transaction.remove = {{"default", "b"}};
  apply(desired, transaction);
  EXPECT_FALSE(desired.plan(write({service("d", "192.0.2.1")}))) << "c holds it now";
  EXPECT_FALSE(desired.plan(write({service("d", "192.0.2.2")}))) << "a holds it still";
}

TEST(Desired, AFrontendIsFreeAgainOnceItsServiceIsGone) {
  Desired desired;
  apply(desired, write({service("a", "192.0.2.1")}));
  Transaction gone = write({});
  gone.remove = {{"default", "a"}};
  apply(desired, gone);
  EXPECT_TRUE(desired.plan(write({service("b", "192.0.2.1")}, "cluster")));
}

TEST(Desired, ASnatAddressIsNoVip) {
  const Desired desired({*parse_ip("192.0.2.9")});
  const auto refused = desired.plan(write({service("a", "192.0.2.9")}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().faults[0].path, "upsert[0].spec.loadBalancerIPs[0]");
}

TEST(Desired, OneServiceTwiceInATransactionIsAFault) {
  const Desired desired;
  const auto refused = desired.plan(write({service("a", "192.0.2.1"), service("a", "192.0.2.2")}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().faults[0].path, "upsert[1].metadata.name");
}

TEST(Desired, AProviderWithoutAGoodNameIsRefused) {
  const Desired desired;
  EXPECT_EQ(desired.plan(write({}, "")).error().faults[0].path, "provider");
}

TEST(Desired, AllFrontendsThatOthersHoldAreToldAtOnce) {
  Desired desired;
  apply(desired, write({service("a", "192.0.2.1"), service("b", "192.0.2.2")}, "cluster"));
  const auto refused = desired.plan(write({service("c", "192.0.2.1"), service("d", "192.0.2.2")}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kAlreadyExists);
  ASSERT_EQ(refused.error().faults.size(), 2U);
  EXPECT_EQ(refused.error().faults[1].path, "upsert[1].spec.ports[0].port");
}

TEST(Desired, ABackendIsNobodysVipAndNoSnatAddress) {
  Desired desired({*parse_ip("192.0.2.100")});
  apply(desired, write({service("a", "192.0.2.1")}, "cluster"));
  Service many = service("b", "192.0.2.2");
  for (const char* address : {"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.100", "10.0.0.1"}) {
    many.endpoints.emplace_back().address = *parse_ip(address);
  }
  const auto refused = desired.plan(write({many, service("c", "192.0.2.3")}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
  ASSERT_EQ(refused.error().faults.size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(refused.error().faults[i].path,
              "upsert[0].spec.endpoints[" + std::to_string(i) + "].addresses[0]");
  }
}

TEST(Desired, AVipIsNobodysBackend) {
  Desired desired;
  Service user = service("a", "192.0.2.1");
  user.endpoints.emplace_back().address = *parse_ip("10.10.0.11");
  apply(desired, write({user}, "cluster"));
  Service wanted = service("b", "192.0.2.2");
  wanted.vips = {*parse_ip("192.0.2.2"), *parse_ip("10.10.0.11")};
  wanted.vip_fields.names = {"loadBalancerIPs[1]", "loadBalancerIP"};
  const auto refused = desired.plan(write({wanted}));
  ASSERT_FALSE(refused);
  ASSERT_EQ(refused.error().faults.size(), 1U);
  EXPECT_EQ(refused.error().faults[0].path, "upsert[0].spec.loadBalancerIP");
  Transaction away;
  away.provider = "cluster";
  away.remove = {{"default", "a"}};
  apply(desired, away);
  EXPECT_TRUE(desired.plan(write({wanted}))) << "given up";
}

// It is the node that answers there, and so may others' flows go to it.
TEST(Desired, ANodesAddressMayBeAnExternalOneAndABackendAtOnce) {
  const IpAddress node = *parse_ip("192.168.0.1");
  NodePorts node_ports;
  node_ports.nodes = {node};
  Service external = service("a", "192.0.2.1");
  external.vips.clear();
  external.external_ips = {node};
  external.endpoints.emplace_back().address = node;
  Service other = service("b", "192.0.2.2");
  other.endpoints.emplace_back().address = node;
  for (const bool external_first : {true, false}) {
    Desired desired({}, {}, node_ports);
    apply(desired, write({external_first ? external : other}));
    apply(desired, write({external_first ? other : external}));
    apply(desired, write({external, other}));
    Desired elsewhere;
    EXPECT_FALSE(elsewhere.plan(write({external, other}))) << "nobody says that it is a node's";
  }
}

TEST(Desired, FaultsAreToldTogetherWithWhatOthersHold) {
  Desired desired;
  apply(desired, write({service("a", "192.0.2.1")}, "cluster"));
  Transaction transaction = write({service("b", "192.0.2.1")});
  transaction.remove = {{"default", "absent"}};
  const auto held = desired.plan(transaction);
  ASSERT_FALSE(held);
  EXPECT_EQ(held.error().code, Code::kNotFound);
  EXPECT_EQ(held.error().faults.size(), 2U) << "the absent service and the held frontend";
  Faults faults;
  faults.add("upsert[0].spec.ports[1].port", "elsewhere");
  const auto refused = desired.plan(transaction, faults);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
  EXPECT_EQ(refused.error().faults.size(), 3U);
}

TEST(Desired, AVipMayBecomeABackendInTheTransactionThatGivesItUp) {
  Desired desired;
  apply(desired, write({service("a", "192.0.2.1")}));
  Service other = service("b", "192.0.2.2");
  other.endpoints.emplace_back().address = *parse_ip("192.0.2.1");
  Transaction transaction = write({other});
  EXPECT_FALSE(desired.plan(transaction));
  transaction.remove = {{"default", "a"}};
  EXPECT_TRUE(desired.plan(transaction));
}

TEST(Desired, FaultsFoundElsewhereComeFirstAndTheRestIsStillFound) {
  const Desired desired;
  Service faulty = service("b", "192.0.2.1");
  faulty.ports.push_back({"", 0, 80, 80, ""});              // of no known protocol
  faulty.ports.push_back({"", kProtocolTcp, 0, 8080, ""});  // without a port
  Service another = faulty;
  another.name.name = "c";
  another.ports.erase(another.ports.begin());
  Faults faults;
  faults.add("upsert[0].spec.ports[1].protocol", "elsewhere");
  const auto refused = desired.plan(write({faulty, another, service("d", "192.0.2.1")}), faults);
  ASSERT_FALSE(refused);
  ASSERT_EQ(refused.error().faults.size(), 2U) << "what is faulty by itself takes nothing";
  EXPECT_EQ(refused.error().faults[0].message, "elsewhere");
  EXPECT_EQ(refused.error().faults[1].path, "upsert[2].spec.ports[0].port");
}

}  // namespace
}  // namespace sluice::model
