// SPDX-License-Identifier: Apache-2.0
#include "controlplane/runtime/reconciler.h"

#include "tests/unit/controlplane/runtime/null_gateway.h"

#include <gtest/gtest.h>

#include <chrono>
#include <set>
#include <thread>

namespace sluice::testing {
namespace {

using namespace std::chrono_literals;
using model::Code;

std::vector<std::string> addresses(const std::string& prefix, int first, int count) {
  std::vector<std::string> made;
  for (int i = first; i < first + count; ++i) {
    made.push_back(prefix + std::to_string(i));
  }
  return made;
}

TEST(Reconciler, AWriteIsAnsweredWhenEveryLcoreHasSeenIt) {
  NullGateway gateway;
  const auto applied =
      gateway.reconciler.apply(transaction_of({service_of("web", "203.0.113.1", {"192.0.2.9"})}));
  ASSERT_TRUE(applied) << applied.error().message;
  EXPECT_EQ(applied->revision, 1U);
  EXPECT_EQ(applied->plan.created.size(), 1U);
  EXPECT_GT(applied->publish_ns, 0U);
  // An lcore asleep holds nothing, so it has seen the write; it says which one when it wakes.
  const auto& seen = null_dataplane().counters()[0]->epoch_seen;
  const auto deadline = std::chrono::steady_clock::now() + 1s;
  while (seen.get() != applied->epoch && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(1ms);
  }
  EXPECT_EQ(seen.get(), applied->epoch);
  EXPECT_EQ(gateway.reconciler.status().epoch, applied->epoch);
  EXPECT_GT(gateway.reconciler.status().publish_max_ns, 0U);
}

TEST(Reconciler, WhatIsThereAlreadyChangesNeitherRevisionNorEpoch) {
  NullGateway gateway;
  const auto write = transaction_of({service_of("web", "203.0.113.1", {"192.0.2.9"})});
  const auto first = gateway.reconciler.apply(write);
  const auto again = gateway.reconciler.apply(write);
  ASSERT_TRUE(first && again);
  EXPECT_EQ(again->revision, first->revision);
  EXPECT_EQ(again->epoch, first->epoch);
  EXPECT_EQ(again->plan.unchanged.size(), 1U);
}

TEST(Reconciler, ADryRunIsJudgedLikeAWriteAndChangesNothing) {
  NullGateway gateway;
  auto write = transaction_of({service_of("web", "203.0.113.1", {})});
  write.dry_run = true;
  const auto dry = gateway.reconciler.apply(write);
  ASSERT_TRUE(dry);
  EXPECT_EQ(dry->plan.created.size(), 1U);
  EXPECT_EQ(dry->publish_ns, 0U);
  EXPECT_TRUE(gateway.reconciler.services("", "").empty());
  write.upsert[0].vips = {*parse_ip("192.0.2.1")};
  EXPECT_FALSE(gateway.reconciler.apply(write));
}

TEST(Reconciler, FaultsBesideTheHostAndBesideOthersComeInOneAnswer) {
  NullGateway gateway;
  auto first = service_of("a", "192.0.2.1", {});                   // the host's
  const auto second = service_of("b", "192.0.2.100", {});          // a SNAT address
  const auto third = service_of("c", "192.0.2.1", {"192.0.2.1"});  // also a's, and its own backend
  const auto refused = gateway.reconciler.apply(transaction_of({first, second, third}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
  std::multiset<std::string> paths;
  for (const model::Fault& fault : refused.error().faults) {
    paths.insert(fault.path);
  }
  EXPECT_EQ(paths, (std::multiset<std::string>{
                       "upsert[0].spec.loadBalancerIPs[0]", "upsert[1].spec.loadBalancerIPs[0]",
                       "upsert[2].spec.loadBalancerIPs[0]", "upsert[2].spec.ports[0].port",
                       "upsert[2].spec.endpoints[0].addresses[0]"}));
  EXPECT_TRUE(gateway.reconciler.services("", "").empty()) << "all of it or nothing";
}

TEST(Reconciler, AVipOfAFamilyWithoutASnatAddressIsRefused) {
  NullGateway gateway;
  const auto refused =
      gateway.reconciler.apply(transaction_of({service_of("web", "2001:db8::80", {})}));
  ASSERT_FALSE(refused);
  ASSERT_EQ(refused.error().faults.size(), 1U);
  EXPECT_EQ(refused.error().faults[0].path, "upsert[0].spec.loadBalancerIPs[0]");
  EXPECT_NE(refused.error().faults[0].message.find("IPv6 SNAT address"), std::string::npos);
}

TEST(Reconciler, WhoWaitsForAnAddressIsServedInTheEpochThatFreesIt) {
  NullGateway gateway({{.name = "lb", .ranges = {*model::parse_address_range("203.0.113.7")}}});
  ASSERT_TRUE(gateway.reconciler.apply(transaction_of({service_of("first", "", {"192.0.2.9"})})));
  ASSERT_TRUE(gateway.reconciler.apply(transaction_of({service_of("second", "", {"192.0.2.9"})})));
  const auto vips = [&](const std::string& name) {
    return gateway.reconciler.service("cli", {"default", name})->service.vips;
  };
  EXPECT_EQ(vips("first"), std::vector{*parse_ip("203.0.113.7")});
  EXPECT_EQ(vips("second"), std::vector<IpAddress>{});
  const auto seen = gateway.reconciler.changes_since(0, "", "").sequence;
  model::Transaction removal = transaction_of({});
  removal.remove = {{"default", "first"}};
  const auto removed = gateway.reconciler.apply(removal);
  ASSERT_TRUE(removed);
  EXPECT_EQ(vips("second"), std::vector{*parse_ip("203.0.113.7")});
  const auto view = gateway.reconciler.service("cli", {"default", "second"});
  EXPECT_EQ(view->epoch, removed->epoch);
  EXPECT_FALSE(view->ports.empty());
  const auto changes = gateway.reconciler.changes_since(seen, "", "");
  ASSERT_EQ(changes.services.size(), 1U) << "who watches is told";
  EXPECT_EQ(changes.services[0].service.name.name, "second");
}

TEST(Reconciler, ADryRunTellsWithoutTakingAnAddress) {
  NullGateway gateway({{.name = "lb", .ranges = {*model::parse_address_range("203.0.113.7")}}});
  auto write = transaction_of({service_of("dry", "", {})});
  write.dry_run = true;
  ASSERT_TRUE(gateway.reconciler.apply(write));
  ASSERT_TRUE(gateway.reconciler.apply(transaction_of({service_of("real", "", {})})));
  EXPECT_EQ(gateway.reconciler.service("cli", {"default", "real"})->service.vips.size(), 1U);
}

TEST(Reconciler, TheGatewaysOwnFieldsMayComeBackOnlyAsItGaveThem) {
  NullGateway gateway;
  auto write = transaction_of({service_of("web", "203.0.113.1", {})});
  ASSERT_TRUE(gateway.reconciler.apply(write));
  const auto view = gateway.reconciler.service("cli", {"default", "web"});
  ASSERT_TRUE(view);
  EXPECT_EQ(view->uid.size(), 36U);
  write.upsert[0].labels["tier"] = "gold";
  write.claimed = {{view->uid, view->created_seconds, std::to_string(view->revision)}};
  EXPECT_TRUE(gateway.reconciler.apply(write));
  const auto late = gateway.reconciler.apply(write);
  ASSERT_FALSE(late) << "it has changed since that version";
  EXPECT_EQ(late.error().faults[0].path, "upsert[0].metadata.resourceVersion");
  write.claimed[0].resource_version.clear();
  write.upsert.push_back(service_of("new", "203.0.113.2", {}));
  write.claimed.push_back({"of an earlier life", 1});
  EXPECT_TRUE(gateway.reconciler.apply(write));
  EXPECT_NE(gateway.reconciler.service("cli", {"default", "new"})->uid, "of an earlier life");
  write.upsert.pop_back();
  write.claimed = {{"another", 1}};
  const auto refused = gateway.reconciler.apply(write);
  ASSERT_FALSE(refused);
  ASSERT_EQ(refused.error().faults.size(), 2U);
  EXPECT_EQ(refused.error().faults[0].path, "upsert[0].metadata.uid");
  EXPECT_EQ(refused.error().faults[1].path, "upsert[0].metadata.creationTimestamp");
}

TEST(Reconciler, WritesFromManyThreadsEachGetARevisionOfTheirOwn) {
  NullGateway gateway;
  constexpr int kThreads = 8;
  constexpr int kWrites = 40;
  std::vector<std::thread> writers;
  std::vector<std::vector<std::uint64_t>> revisions(kThreads);
  for (int t = 0; t < kThreads; ++t) {
    writers.emplace_back([&, t] {
      auto service =
          service_of("s" + std::to_string(t), "203.0.113." + std::to_string(10 + t), {"192.0.2.9"});
      for (int i = 0; i < kWrites; ++i) {
        service.labels["turn"] = std::to_string(i);
        const auto applied = gateway.reconciler.apply(transaction_of({service}));
        if (applied) {
          revisions[static_cast<std::size_t>(t)].push_back(applied->revision);
        }
      }
    });
  }
  for (std::thread& writer : writers) {
    writer.join();
  }
  std::set<std::uint64_t> all;
  for (const auto& own : revisions) {
    EXPECT_TRUE(std::is_sorted(own.begin(), own.end()));
    all.insert(own.begin(), own.end());
  }
  EXPECT_EQ(all.size(), std::size_t{kThreads * kWrites});
  EXPECT_EQ(*all.rbegin(), std::uint64_t{kThreads * kWrites});
}

TEST(Reconciler, AServiceThatFillsTheTableMayStillBeChangedInPlace) {
  NullGateway gateway;
  const int room = static_cast<int>(kNullBindings) - 1;
  auto full = service_of("full", "203.0.113.1", addresses("198.51.100.", 1, room));
  ASSERT_TRUE(gateway.reconciler.apply(transaction_of({full})));
  full.endpoints[0].weight = 7;
  EXPECT_TRUE(gateway.reconciler.apply(transaction_of({full})));
  const auto refused = gateway.reconciler.apply(
      transaction_of({service_of("more", "203.0.113.2", {"198.51.100.200"})}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kResourceExhausted);
}

TEST(Reconciler, SlotsOfRemovedBackendsComeBackWhileWritesGoOn) {
  NullGateway gateway;
  std::size_t refused = 0;
  const auto deadline = std::chrono::steady_clock::now() + 30s;
  std::size_t applied = 0;
  for (int turn = 0; applied < 2 * std::size_t{kNullBindings}; ++turn) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline) << applied << " writes fitted";
    const auto done = gateway.reconciler.apply(transaction_of(
        {service_of("web", "203.0.113.1", {"198.51.100." + std::to_string(1 + turn % 250)})}));
    applied += done && !done->plan.empty() ? 1 : 0;
    refused += done ? 0 : 1;
    if (!done) {
      ASSERT_EQ(done.error().code, Code::kResourceExhausted);
      // Something is published all the time, so that there is always an unconfirmed snapshot.
      auto other = service_of("other", "203.0.113.2", {});
      other.labels["turn"] = std::to_string(turn);
      EXPECT_TRUE(gateway.reconciler.apply(transaction_of({other})));
    }
  }
  EXPECT_GT(refused, 0U) << "the table was never full, so nothing was shown";
}

TEST(Reconciler, TheAddressOfADeletedServiceGoesWithItsFlowsWithoutAnotherWrite) {
  NullGateway gateway;
  ASSERT_TRUE(gateway.reconciler.apply(transaction_of({service_of("web", "203.0.113.1", {})})));
  model::Transaction removal;
  removal.provider = "cli";
  removal.remove = {{"default", "web"}};
  const auto removed = gateway.reconciler.apply(removal);
  ASSERT_TRUE(removed);
  const auto deadline = std::chrono::steady_clock::now() + 10s;
  while (gateway.reconciler.status().epoch == removed->epoch &&
         std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(10ms);
  }
  EXPECT_EQ(gateway.reconciler.status().epoch, removed->epoch + 1);
}

TEST(Reconciler, AWatcherIsToldWhatChangedSinceItLastAsked) {
  NullGateway gateway;
  auto& reconciler = gateway.reconciler;
  ASSERT_TRUE(reconciler.apply(
      transaction_of({service_of("a", "203.0.113.1", {}), service_of("b", "203.0.113.2", {})})));
  const auto all = reconciler.changes_since(0, "", "");
  EXPECT_TRUE(all.all);
  EXPECT_EQ(all.services.size(), 2U);
  EXPECT_TRUE(reconciler.changes_since(all.sequence, "", "").services.empty());

  std::thread writer([&] {
    auto write = transaction_of({service_of("b", "203.0.113.3", {})});
    write.remove = {{"default", "a"}};
    EXPECT_TRUE(reconciler.apply(write));
    EXPECT_TRUE(reconciler.apply(transaction_of({service_of("c", "203.0.113.4", {})}, "cluster")));
  });
  EXPECT_NE(reconciler.wait_for_change(all.sequence, 5s), all.sequence);
  writer.join();
  const auto news = reconciler.changes_since(all.sequence, "cli", "");
  EXPECT_FALSE(news.all);
  ASSERT_EQ(news.services.size(), 1U) << "c is another provider's";
  EXPECT_EQ(news.services[0].service.name.name, "b");
  ASSERT_EQ(news.removed.size(), 1U);
  EXPECT_EQ(news.removed[0].second.name, "a");
  EXPECT_TRUE(reconciler.changes_since(news.sequence, "", "other-space").services.empty());
}

TEST(Reconciler, ViewsTellWhatBecameOfEachEndpoint) {
  NullGateway gateway;
  auto service = service_of("web", "203.0.113.1", {"192.0.2.8", "192.0.2.9"});
  ASSERT_TRUE(gateway.reconciler.apply(transaction_of({service})));
  service.endpoints[0].conditions = {false, true, true};
  ASSERT_TRUE(gateway.reconciler.apply(transaction_of({service})));
  const auto view = gateway.reconciler.service("", {"default", "web"});
  ASSERT_TRUE(view);
  ASSERT_EQ(view->ports.size(), 1U);
  EXPECT_TRUE(view->ports[0].served);
  EXPECT_EQ(view->ports[0].endpoints[0].endpoint.state, BindingState::kDraining);
  EXPECT_EQ(view->ports[0].endpoints[0].endpoint.reason(), "terminating");
  EXPECT_EQ(view->ports[0].endpoints[1].endpoint.state, BindingState::kActive);
  EXPECT_EQ(view->revision, 2U);
}

TEST(Reconciler, AfterTheEndWritersHearThatItIsTheEnd) {
  NullGateway gateway;
  gateway.reconciler.stop();
  const auto refused =
      gateway.reconciler.apply(transaction_of({service_of("web", "203.0.113.1", {})}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kUnavailable);
  EXPECT_TRUE(gateway.reconciler.services("", "").empty());
}

}  // namespace
}  // namespace sluice::testing
