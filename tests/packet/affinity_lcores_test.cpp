// SPDX-License-Identifier: Apache-2.0
// Session affinity where a client's flows belong to several lcores and its affinity to one.
#include "tests/support/world.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <tuple>

namespace sluice::testing {
namespace {

constexpr std::uint8_t kLcores = 4;

class AffinityLcores : public ::testing::TestWithParam<std::tuple<Family, ForwardingMode>> {
 protected:
  AffinityLcores()
      : world(std::get<0>(GetParam()), {.lcores = kLcores, .mode = std::get<1>(GetParam())}),
        keeper(world.snapshot.ownership->of_client(world.client)) {
    for (const std::uint32_t id : {World::kDnsId, World::kWebId}) {
      world.change_service(id, [](ServicePort& s) { s.affinity_ms = 10'000; });
    }
  }
  [[nodiscard]] std::uint8_t owner_of(std::uint16_t client_port) const {
    return world.snapshot.ownership->of_side(world.client, client_port);
  }
  // A client port from 4000 on whose flow another lcore has than the one that keeps the affinity.
  [[nodiscard]] std::uint16_t port_elsewhere() const {
    std::uint16_t port = 4000;
    while (owner_of(port) == keeper) {
      ++port;
    }
    return port;
  }
  [[nodiscard]] Frame udp(std::uint16_t client_port) const {
    return make_frame(world.from_client(kProtocolUdp, client_port));
  }
  [[nodiscard]] Frame tcp(std::uint16_t client_port, std::uint8_t flags = kTcpSyn) const {
    return make_frame(world.from_client(kProtocolTcp, client_port, flags));
  }
  [[nodiscard]] std::uint32_t backend_of(const Frame& sent) const {
    const auto at =
        std::find(world.backends.begin(), world.backends.end(), read_frame(sent).destination);
    return static_cast<std::uint32_t>(at - world.backends.begin());
  }

  World world;
  std::uint8_t keeper;
};
INSTANTIATE_TEST_SUITE_P(FamiliesAndModes, AffinityLcores,
                         ::testing::Combine(::testing::Values(Family::kIpv4, Family::kIpv6),
                                            ::testing::Values(ForwardingMode::kFullNat,
                                                              ForwardingMode::kDnat)));

TEST_P(AffinityLcores, WhicheverLcoresOwnAClientsFlowsTheyGoToOneBackend) {
  std::set<std::uint32_t> backends;
  std::set<std::uint8_t> owners;
  for (std::uint16_t port = 4000; port < 4040; ++port) {
    for (const Frame& frame : {udp(port), tcp(port)}) {
      const Outcome sent = world.run(frame, World::kWan);
      ASSERT_EQ(sent.verdict, Verdict::kTransmit) << name_of(sent.drop);
      EXPECT_EQ(read_frame(sent.frame).fault, "");
      backends.insert(backend_of(sent.frame) +
                      (read_frame(frame).protocol == kProtocolTcp ? 3 : 0));
    }
    owners.insert(owner_of(port));
  }
  EXPECT_EQ(owners.size(), kLcores);
  EXPECT_EQ(backends.size(), 2U) << "one for each service port";
}

TEST_P(AffinityLcores, APacketIsHandedOverThreeTimesAtMostAndAHitOnceAtMost) {
  for (std::uint16_t port = 4000; port < 4040; ++port) {
    for (const Frame& frame : {udp(port), tcp(port), tcp(port, kTcpAck),
                               tcp(port, kTcpFin | kTcpAck), tcp(port), tcp(port, kTcpRst)}) {
      const unsigned own = owner_of(port) == keeper ? 1 : 3;
      const Outcome outcome = world.run(frame, World::kWan);
      EXPECT_NE(outcome.verdict, Verdict::kHandOver);
      EXPECT_LE(outcome.hops, own);
    }
    EXPECT_LE(world.run(udp(port), World::kWan).hops, 1U) << "the flow is open";
  }
}

TEST_P(AffinityLcores, WhateverAPacketCameForItGoesOnForSomethingLaterOnly) {
  for (std::uint16_t port = 4000; port < 4020; ++port) {
    for (std::uint8_t lcore = 0; lcore < kLcores; ++lcore) {
      for (const Errand came :
           {Errand::kNone, Errand::kFlow, Errand::kAffinity, Errand::kAffinityChosen}) {
        World fresh(world.family, {.lcores = kLcores});
        fresh.change_service(World::kDnsId, [](ServicePort& s) { s.affinity_ms = 10'000; });
        const Outcome outcome = fresh.run_handed(udp(port), lcore, came, {});
        if (outcome.verdict == Verdict::kHandOver) {
          EXPECT_GT(outcome.errand, came);
          EXPECT_NE(outcome.owner, lcore);
        }
      }
    }
  }
}

TEST_P(AffinityLcores, TheKeeperOpensNoFlowAndTheOwnerRemembersNoClient) {
  const std::uint16_t port = port_elsewhere();
  const std::uint8_t owner = owner_of(port);
  ASSERT_EQ(world.run(udp(port), World::kWan).verdict, Verdict::kTransmit);
  for (std::uint8_t lcore = 0; lcore < kLcores; ++lcore) {
    const LcoreState& state = world.lcores[lcore]->state;
    EXPECT_EQ(state.flows4.size() + state.flows6.size(), lcore == owner ? 1U : 0U);
    EXPECT_EQ(state.affinity.find(world.client, World::kDnsId, state.now_ms, 10'000).has_value(),
              lcore == keeper);
  }
}

TEST_P(AffinityLcores, TheKeepersChoiceIsMadeAnewWhereItStandsNoMoreOnTheWayBack) {
  const std::uint16_t port = port_elsewhere();
  const auto dns = [](std::uint32_t i) { return World::dns_slot(i); };
  world.set_binding(dns(0), BindingState::kDraining);
  world.set_binding(dns(1), BindingState::kActive, 5);
  world.set_dns_backends({2});
  const std::vector<std::pair<const char*, BindingRef>> choices{
      {"draining by now", {20, 0}},
      {"another incarnation", {21, 4}},
      {"another service's", {10, 0}},
      {"a slot that nobody has", {63, 0}},
      {"one beyond the table", {(1U << 24U) - 1, 63}},
      {"none", {}}};
  std::uint16_t next = port;
  for (const auto& [what, chosen] : choices) {
    SCOPED_TRACE(what);
    while (owner_of(next) == keeper) {
      ++next;
    }
    const Outcome sent =
        world.run_handed(udp(next), owner_of(next), Errand::kAffinityChosen, chosen);
    ASSERT_EQ(sent.verdict, Verdict::kTransmit);
    EXPECT_EQ(backend_of(sent.frame), 2U);
    ++next;
  }
  while (owner_of(next) == keeper) {
    ++next;
  }
  const Outcome sent =
      world.run_handed(udp(next), owner_of(next), Errand::kAffinityChosen, {21, 5});
  EXPECT_EQ(backend_of(sent.frame), 1U) << "and is taken where it stands, whatever Maglev says";
}

TEST_P(AffinityLcores, AKeeperWhoseSnapshotKnowsNoAffinitySendsThePacketBack) {
  const std::uint16_t port = port_elsewhere();
  world.change_service(World::kDnsId, [](ServicePort& s) { s.affinity_ms = 0; });
  const Outcome back = world.run_handed(udp(port), keeper, Errand::kAffinity, {});
  ASSERT_EQ(back.verdict, Verdict::kHandOver);
  EXPECT_EQ(back.owner, owner_of(port));
  EXPECT_EQ(world.run_handed(udp(port), back.owner, Errand::kAffinityChosen, back.chosen).verdict,
            Verdict::kTransmit);
}

TEST_P(AffinityLcores, PacketsOfABurstThatOpenOneFlowOpenOne) {
  const std::uint16_t port = port_elsewhere();
  for (const Outcome& sent : world.run_burst({udp(port), udp(port), udp(port)}, World::kWan)) {
    EXPECT_EQ(sent.verdict, Verdict::kTransmit);
  }
  EXPECT_EQ(world.flows().size(), 1U);
  EXPECT_EQ(world.counters.services[World::kDnsId].flows_opened.get(), 1U);
}

TEST_P(AffinityLcores, ASynOnAClosingFlowIsANewConnectionOfTheClientsBackend) {
  const std::uint16_t port = port_elsewhere();
  const Outcome first = world.run(tcp(port), World::kWan);
  world.run(make_frame(world.answer_to(first.frame)), World::kLan);
  world.run(tcp(port, kTcpAck), World::kWan);
  world.run(tcp(port, kTcpRst), World::kWan);
  world.set_web_backends({(backend_of(first.frame) + 1) % 3});  // for Maglev; all are active still
  const Outcome again = world.run(tcp(port), World::kWan);
  EXPECT_EQ(backend_of(again.frame), backend_of(first.frame));
  EXPECT_EQ(world.counters.services[World::kWebId].flows_opened.get(), 2U);
  EXPECT_EQ(world.flows().size(), 1U);
}

TEST_P(AffinityLcores, ExplainAsksTheLcoreThatKeepsTheAffinity) {
  const std::uint16_t port = port_elsewhere();
  const auto ask = [&](std::uint16_t client_port) {
    ExplainQuery query;
    query.source = {world.client, client_port};
    query.destination = {world.vip, 53};
    query.protocol = kProtocolUdp;
    return world.explain(query);
  };
  const auto says = [](const Explanation& told, const std::string& text) {
    return std::any_of(told.steps.begin(), told.steps.end(),
                       [&](const auto& step) { return step.find(text) != std::string::npos; });
  };
  EXPECT_TRUE(says(ask(port), "lcore 4 will keep the client's affinity")) << "it has none";
  const std::uint32_t first = backend_of(world.run(udp(port), World::kWan).frame);
  world.set_dns_backends({(first + 1) % 3});
  std::uint16_t other = port;
  while (other == port || owner_of(other) == keeper) {
    ++other;
  }
  const Explanation told = ask(other);
  EXPECT_TRUE(says(told, "the client's affinity, which lcore 4 keeps"));
  EXPECT_EQ(told.flow.backend.address, world.backends[first]);
  EXPECT_EQ(told.lcore, 3U);
  EXPECT_EQ(backend_of(world.run(udp(other), World::kWan).frame), first) << "as it was told";
}

TEST_P(AffinityLcores, FragmentsOfANewFlowDoNotOvertakeTheFirstOnItsWayToTheKeeper) {
  std::set<std::uint32_t> backends;
  for (std::uint16_t port = 4000; port < 4040; ++port) {
    FrameSpec spec = world.from_client(kProtocolUdp, port);
    spec.payload = 700;
    const Frame sent = make_frame(spec);
    std::vector<Frame> fragments = split(sent, 200, port);
    std::rotate(fragments.begin(), fragments.begin() + port % 4, fragments.end());
    std::vector<Frame> frames;
    const auto take = [&](const std::vector<Outcome>& outcomes) {
      for (const Outcome& outcome : outcomes) {
        ASSERT_LE(outcome.hops, 4U);  // reassembly, flow, keeper, and back
        if (outcome.verdict != Verdict::kHoldFragment) {
          ASSERT_EQ(outcome.verdict, Verdict::kTransmit) << name_of(outcome.drop);
          frames.push_back(outcome.frame);
        }
      }
    };
    if (port % 2 == 0) {
      take(world.run_burst(fragments, World::kWan));
    } else {
      for (const Frame& fragment : fragments) {
        take({world.run(fragment, World::kWan)});
      }
    }
    take(world.take_held());
    ASSERT_EQ(frames.size(), fragments.size());
    const Frame whole = join(frames);
    EXPECT_EQ(read_frame(whole).fault, "");
    EXPECT_EQ(read_frame(whole).payload, read_frame(sent).payload);
    backends.insert(backend_of(whole));
  }
  EXPECT_EQ(backends.size(), 1U);
}

}  // namespace
}  // namespace sluice::testing
