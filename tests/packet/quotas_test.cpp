// SPDX-License-Identifier: Apache-2.0
// What a provider's, or a namespace's, live flows may take: whose packets are dropped, and when
// there is room again.
#include "tests/support/world.h"

#include <gtest/gtest.h>

namespace sluice::testing {
namespace {

constexpr QuotaIds kWest{1, 2};  // a namespace with a quota of its own
constexpr QuotaIds kEast{3, 0};

// The web service is west's, the DNS service east's, which has no bound.
class Quotas : public ::testing::TestWithParam<Family> {
 protected:
  explicit Quotas(ForwardingMode mode = ForwardingMode::kFullNat) : mode_(mode) {}

  World make(QuotaLimits provider, QuotaLimits space = {}) {
    return World(GetParam(), {.mode = mode_, .quotas = {{provider, space, {}}}});
  }
  static void assign(World& world) {
    world.change_service(World::kWebId, [](ServicePort& s) { s.quotas = kWest; });
    world.change_service(World::kDnsId, [](ServicePort& s) { s.quotas = kEast; });
  }
  static Outcome open(World& world, std::uint16_t port, std::uint8_t protocol = kProtocolTcp) {
    return world.run(make_frame(world.from_client(protocol, port)), World::kWan);
  }
  static Explanation explain(const World& world, std::uint16_t port) {
    ExplainQuery query;
    query.source = {world.client, port};
    query.destination = {world.vip, 80};
    query.protocol = kProtocolTcp;
    return world.explain(query);
  }

 private:
  ForwardingMode mode_;
};
INSTANTIATE_TEST_SUITE_P(BothFamilies, Quotas, ::testing::Values(Family::kIpv4, Family::kIpv6));

class QuotasOfDnat : public Quotas {
 protected:
  QuotasOfDnat() : Quotas(ForwardingMode::kDnat) {}
};
INSTANTIATE_TEST_SUITE_P(BothFamilies, QuotasOfDnat,
                         ::testing::Values(Family::kIpv4, Family::kIpv6));

TEST_P(Quotas, TheFlowOverTheProvidersIsDroppedByNameAndAllOthersGoOn) {
  World world = make({.flows = 2});
  assign(world);
  EXPECT_EQ(open(world, 4000).verdict, Verdict::kTransmit);
  EXPECT_EQ(open(world, 4001).verdict, Verdict::kTransmit);
  EXPECT_EQ(open(world, 4002).drop, Drop::kFlowQuota);
  EXPECT_EQ(explain(world, 4002).drop_reason, name_of(Drop::kFlowQuota));
  EXPECT_EQ(world.drops(Drop::kFlowQuota), 1U);
  EXPECT_EQ(world.counters.services[World::kWebId].drops.get(), 1U);
  EXPECT_EQ(open(world, 4000).verdict, Verdict::kTransmit) << "a flow there is";
  EXPECT_EQ(open(world, 4002, kProtocolUdp).verdict, Verdict::kTransmit) << "another provider's";
  EXPECT_EQ(world.quotas->use(kWest.provider), (QuotaLimits{.flows = 2, .snat_ports = 2}));
  EXPECT_EQ(world.quotas->use(kEast.provider), (QuotaLimits{.flows = 1, .snat_ports = 1}));
}

TEST_P(Quotas, ANamespacesIsKeptWhereItsProviderHasRoom) {
  World world = make({.flows = 9}, {.flows = 1});
  assign(world);
  EXPECT_EQ(open(world, 4000).verdict, Verdict::kTransmit);
  EXPECT_EQ(open(world, 4001).drop, Drop::kFlowQuota);
  EXPECT_EQ(world.quotas->use(kWest.space).flows, 1U);
}

TEST_P(Quotas, TheSnatPortOverItIsDroppedByName) {
  World world = make({.snat_ports = 2}, {.snat_ports = 1});
  assign(world);
  EXPECT_EQ(open(world, 4000).verdict, Verdict::kTransmit);
  EXPECT_EQ(open(world, 4001).drop, Drop::kSnatPortQuota);
  EXPECT_EQ(explain(world, 4001).drop_reason, name_of(Drop::kSnatPortQuota));
  EXPECT_EQ(open(world, 4001, kProtocolUdp).verdict, Verdict::kTransmit);
}

TEST_P(QuotasOfDnat, FlowsThatKeepTheirClientsAddressTakeNoSnatPort) {
  World world = make({.flows = 2, .snat_ports = 1});
  assign(world);
  EXPECT_EQ(open(world, 4000).verdict, Verdict::kTransmit);
  EXPECT_EQ(open(world, 4001).verdict, Verdict::kTransmit);
  EXPECT_EQ(open(world, 4002).drop, Drop::kFlowQuota);
  EXPECT_EQ(world.quotas->use(kWest.provider), (QuotaLimits{.flows = 2}));
}

TEST_P(QuotasOfDnat, ATupleThatBeginsAnewIsOneFlow) {
  World world = make({.flows = 1});
  assign(world);
  const Outcome there = open(world, 4000);
  ASSERT_EQ(there.verdict, Verdict::kTransmit);
  world.run(make_frame(world.answer_to(there.frame, kTcpRst | kTcpAck)), World::kLan);
  EXPECT_EQ(open(world, 4000).verdict, Verdict::kTransmit);
  EXPECT_EQ(world.quotas->use(kWest.provider), (QuotaLimits{.flows = 1}));
}

TEST_P(Quotas, AFlowThatEndsMakesRoomAlsoWhileItsTupleIsInQuarantine) {
  World world = make({.flows = 1, .snat_ports = 1});
  assign(world);
  const Outcome there = open(world, 4000);
  ASSERT_EQ(there.verdict, Verdict::kTransmit);
  world.run(make_frame(world.answer_to(there.frame, kTcpRst | kTcpAck)), World::kLan);
  EXPECT_EQ(open(world, 4001).drop, Drop::kFlowQuota) << "reset, but not over yet";
  world.advance(facts_of(FlowState::kTcpReset).timeout_ms);
  world.age();
  EXPECT_EQ(world.quotas->use(kWest.provider), QuotaLimits{});
  EXPECT_EQ(open(world, 4001).verdict, Verdict::kTransmit);
  world.advance(facts_of(FlowState::kQuarantine).timeout_ms);
  world.age();
  EXPECT_EQ(world.quotas->use(kWest.provider), (QuotaLimits{.flows = 1, .snat_ports = 1}))
      << "the end of its quarantine gives nothing back a second time";
}

TEST_P(Quotas, AUdpFlowThatIsIdleForTooLongMakesRoom) {
  World world = make({});
  world.change_service(World::kDnsId, [](ServicePort& s) { s.quotas = kEast; });
  ASSERT_EQ(open(world, 4000, kProtocolUdp).verdict, Verdict::kTransmit);
  EXPECT_EQ(world.quotas->use(kEast.provider), (QuotaLimits{.flows = 1, .snat_ports = 1}));
  world.advance(facts_of(FlowState::kUdp).timeout_ms);
  world.age();
  EXPECT_EQ(world.quotas->use(kEast.provider), QuotaLimits{});
}

TEST_P(Quotas, AFlowThatIsDeletedMakesRoom) {
  World world = make({.flows = 1});
  assign(world);
  ASSERT_EQ(open(world, 4000).verdict, Verdict::kTransmit);
  for (const auto& lcore : world.lcores) {
    delete_flows({}, world.family, 0, 64, lcore->state);
  }
  EXPECT_EQ(open(world, 4001).verdict, Verdict::kTransmit);
}

TEST_P(Quotas, WhoIsOverItEvictsNobodysHalfOpenFlow) {
  World world = make({.flows = 2});
  assign(world);
  for (const auto& lcore : world.lcores) {
    lcore->state.flows4.set_half_open_max(2);
    lcore->state.flows6.set_half_open_max(2);
  }
  std::uint16_t port = 4000;
  for (int opened = 0; opened < 2; ++port) {
    opened += open(world, port).verdict == Verdict::kTransmit ? 1 : 0;
  }
  world.advance(10);
  for (int i = 0; i < 50; ++i, ++port) {
    EXPECT_EQ(open(world, port).drop, Drop::kFlowQuota);
  }
  EXPECT_EQ(world.counters.half_open_evicted.get(), 0U);
}

TEST_P(Quotas, AFlowThatWasEvictedIsCountedNoLonger) {
  World world(GetParam(), {.lcores = 1, .quotas = {{{.flows = 10}, {}, {}}}});
  assign(world);
  world.state.flows4.set_half_open_max(2);
  world.state.flows6.set_half_open_max(2);
  for (std::uint16_t port = 4000; port < 4006; ++port) {
    world.advance(10);
    ASSERT_EQ(open(world, port).verdict, Verdict::kTransmit);
  }
  EXPECT_EQ(world.counters.half_open_evicted.get(), 4U);
  EXPECT_EQ(world.quotas->use(kWest.provider), (QuotaLimits{.flows = 2, .snat_ports = 2}));
}

TEST_P(Quotas, AServiceThatBecomesAnothersLeavesItsFlowsWhereTheyCount) {
  World world = make({.flows = 5});
  assign(world);
  ASSERT_EQ(open(world, 4000).verdict, Verdict::kTransmit);
  world.change_service(World::kWebId, [](ServicePort& s) { s.quotas = kEast; });
  ASSERT_EQ(open(world, 4001).verdict, Verdict::kTransmit);
  EXPECT_EQ(world.quotas->use(kWest.provider).flows, 1U);
  EXPECT_EQ(world.quotas->use(kEast.provider).flows, 1U);
  for (const auto& lcore : world.lcores) {
    delete_flows({}, world.family, 0, 64, lcore->state);
  }
  EXPECT_EQ(world.quotas->use(kWest.provider), QuotaLimits{});
  EXPECT_EQ(world.quotas->use(kEast.provider), QuotaLimits{});
}

}  // namespace
}  // namespace sluice::testing
