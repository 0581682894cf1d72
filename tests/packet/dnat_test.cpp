// SPDX-License-Identifier: Apache-2.0
// Services that keep their clients' addresses.
#include "dataplane/net/headers.h"
#include "dataplane/state/aging.h"
#include "tests/support/world.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace sluice::testing {
namespace {

class FamilyTest : public ::testing::TestWithParam<Family> {
 protected:
  World world{GetParam(), {.flows = 256, .transit_to_kernel = true, .mode = ForwardingMode::kDnat}};

  Outcome send(std::uint8_t protocol, std::uint16_t port, std::uint8_t flags = kTcpSyn) {
    return world.run(make_frame(world.from_client(protocol, port, flags)), World::kWan);
  }
  // From a client that is the backends' neighbour.
  Outcome send_from_lan(const IpAddress& client, std::uint8_t flags = kTcpSyn) {
    FrameSpec spec = world.from_client(kProtocolTcp, 4000, flags);
    spec.source = client;
    spec.to_mac = world.lan_mac;
    return world.run(make_frame(spec), World::kLan);
  }
  [[nodiscard]] IpAddress lan_client() const {
    return *parse_ip(GetParam() == Family::kIpv4 ? "10.0.0.50" : "2001:db8:10::50");
  }
};
INSTANTIATE_TEST_SUITE_P(BothFamilies, FamilyTest, ::testing::Values(Family::kIpv4, Family::kIpv6));

TEST_P(FamilyTest, ABackendSeesTheClientAndTheClientTheVip) {
  for (const std::uint8_t protocol : {kProtocolTcp, kProtocolUdp}) {
    const Outcome there = send(protocol, 4000);
    ASSERT_EQ(there.verdict, Verdict::kTransmit);
    EXPECT_EQ(there.out_port, World::kLan);
    const FrameFacts request = read_frame(there.frame);
    EXPECT_EQ(request.fault, "");
    EXPECT_EQ(request.source, world.client);
    EXPECT_EQ(request.source_port, 4000);
    EXPECT_EQ(request.destination_port, protocol == kProtocolTcp ? 8080 : 5353);
    const Outcome back = world.run(make_frame(world.answer_to(there.frame)), World::kLan);
    ASSERT_EQ(back.verdict, Verdict::kTransmit);
    EXPECT_EQ(back.out_port, World::kWan);
    const FrameFacts answer = read_frame(back.frame);
    EXPECT_EQ(answer.fault, "");
    EXPECT_EQ(answer.source, world.vip);
    EXPECT_EQ(answer.source_port, protocol == kProtocolTcp ? 80 : 53);
    EXPECT_EQ(answer.destination, world.client);
  }
}

TEST_P(FamilyTest, AClientBesideItsBackendIsCarriedAsFullNat) {
  const Outcome there = send_from_lan(lan_client());
  EXPECT_EQ(there.drop, Drop::kNone);
  EXPECT_EQ(read_frame(there.frame).source, world.snat) << "it would be answered past us";
}

TEST_P(FamilyTest, ABackendReachesItselfThroughTheVip) {
  const Outcome there = send_from_lan(world.backends[0]);
  EXPECT_EQ(there.drop, Drop::kNone);
  EXPECT_EQ(read_frame(there.frame).source, world.snat);
}

TEST_P(FamilyTest, OneClientTupleToTwoVipsIsToldApartByFullNat) {
  const IpAddress other =
      *parse_ip(GetParam() == Family::kIpv4 ? "203.0.113.11" : "2001:db8:113::11");
  world.add_vip(other);
  unsigned kept = 0;
  unsigned translated = 0;
  for (std::uint16_t port = 4000; port < 4032; ++port) {
    const Outcome first = send(kProtocolTcp, port);
    FrameSpec spec = world.from_client(kProtocolTcp, port);
    spec.destination = other;
    const Explanation told = world.explain(
        {.source = {world.client, port}, .destination = {other, 80}, .protocol = kProtocolTcp});
    const Outcome second = world.run(make_frame(spec), World::kWan);
    ASSERT_EQ(second.verdict, Verdict::kTransmit);
    const bool clash = read_frame(first.frame).destination == read_frame(second.frame).destination;
    EXPECT_EQ(told.flow.snat.port, clash ? 0 : port) << "told before";
    EXPECT_EQ(read_frame(second.frame).source, clash ? world.snat : world.client) << port;
    ++(clash ? translated : kept);
    const Outcome back = world.run(make_frame(world.answer_to(second.frame)), World::kLan);
    EXPECT_EQ(read_frame(back.frame).source, other) << port;
  }
  EXPECT_GT(kept, 0U);
  EXPECT_GT(translated, 0U);
}

TEST_P(FamilyTest, ASegmentInMidStreamIsTakenUp) {
  const Outcome there = send(kProtocolTcp, 4000, kTcpAck);
  ASSERT_EQ(there.verdict, Verdict::kTransmit);
  EXPECT_EQ(read_frame(there.frame).source, world.client);
  EXPECT_EQ(world.flows()[0].state, "half_open");
  world.run(make_frame(world.answer_to(there.frame, kTcpAck)), World::kLan);
  send(kProtocolTcp, 4000, kTcpAck);
  EXPECT_EQ(world.flows()[0].state, "established") << "both sides talk";
}

TEST_P(FamilyTest, WhatOpensNothingIsDroppedInMidStream) {
  for (const std::uint8_t flags : {kTcpRst, static_cast<std::uint8_t>(kTcpSyn | kTcpAck),
                                   static_cast<std::uint8_t>(kTcpRst | kTcpAck)}) {
    EXPECT_EQ(send(kProtocolTcp, 4000, flags).drop, Drop::kTcpNoFlow);
  }
  EXPECT_EQ(send_from_lan(lan_client(), kTcpAck).drop, Drop::kTcpNoFlow)
      << "no new tuple would be the connection's";
}

TEST_P(FamilyTest, AClosedConnectionsTupleIsTheClientsToUseAgain) {
  const Outcome first = send(kProtocolTcp, 4000);
  send(kProtocolTcp, 4000, kTcpFin | kTcpAck);
  const Outcome anew = send(kProtocolTcp, 4000);
  ASSERT_EQ(anew.verdict, Verdict::kTransmit);
  EXPECT_EQ(read_frame(anew.frame).source, world.client);
  EXPECT_EQ(read_frame(anew.frame).destination, read_frame(first.frame).destination);
  EXPECT_EQ(world.counters.services[World::kWebId].flows_opened.get(), 2U);
  EXPECT_EQ(world.counters.services[World::kWebId].flows_closed.get(), 1U);
  ASSERT_EQ(world.flows().size(), 1U);
  EXPECT_EQ(world.flows()[0].state, "half_open");
}

TEST_P(FamilyTest, TwoSynsOfOneBurstReopenAConnectionOnce) {
  send(kProtocolTcp, 4000);
  send(kProtocolTcp, 4000, kTcpRst);
  const Frame syn = make_frame(world.from_client(kProtocolTcp, 4000));
  for (const Outcome& outcome : world.run_burst({syn, syn}, World::kWan)) {
    EXPECT_EQ(read_frame(outcome.frame).source, world.client);
  }
  EXPECT_EQ(world.counters.services[World::kWebId].flows_opened.get(), 2U);
  EXPECT_EQ(world.flows().size(), 1U);
}

TEST_P(FamilyTest, WhatABackendSaysAfterTheEndNeverReachesTheClientAsItIs) {
  const Outcome there = send(kProtocolTcp, 4000);
  send(kProtocolTcp, 4000, kTcpRst);
  for (const auto& lcore : world.lcores) {
    LcoreState& state = lcore->state;
    state.now_ms += 11'000;
    Aging<Family::kIpv4>().run(state.flows4, state.now_ms, world.counters);
    Aging<Family::kIpv6>().run(state.flows6, state.now_ms, world.counters);
  }
  ASSERT_TRUE(world.flows().empty()) << "in quarantine";
  const Outcome late = world.run(make_frame(world.answer_to(there.frame, kTcpAck)), World::kLan);
  EXPECT_EQ(late.drop, Drop::kFlowClosed);
  ASSERT_TRUE(late.answered) << "the backend is told, in the name of the client it talks to";
  EXPECT_EQ(late.out_port, World::kLan);
  EXPECT_EQ(read_frame(late.frame).source, world.client);
  EXPECT_EQ(read_frame(late.frame).destination, read_frame(there.frame).destination);
}

TEST_P(FamilyTest, ASegmentTakesAFlowUpAgainThatTimedOutAndNotOneThatWasDeleted) {
  for (const bool deleted : {false, true}) {
    SCOPED_TRACE(deleted);
    const auto port = static_cast<std::uint16_t>(deleted ? 4001 : 4000);
    send(kProtocolTcp, port);
    for (const auto& lcore : world.lcores) {
      LcoreState& state = lcore->state;
      if (deleted) {
        delete_flows({}, world.family, 0, 64, state);
      } else {
        state.now_ms += 241'000;
        Aging<Family::kIpv4>().run(state.flows4, state.now_ms, world.counters);
        Aging<Family::kIpv6>().run(state.flows6, state.now_ms, world.counters);
      }
      ++state.now_ms;
    }
    ASSERT_TRUE(world.flows().empty());
    const Outcome later = send(kProtocolTcp, port, kTcpAck);
    EXPECT_EQ(later.drop, deleted ? Drop::kTcpNoFlow : Drop::kNone);
    EXPECT_EQ(later.answered, deleted);
  }
}

// The endpoint went away and is back, in the same slot: its flows are stale, and end with the
// packet that opens their successor, whose tuple they still hold.
TEST_P(FamilyTest, AFlowThatBeginsAnewWithItsEndpointKeepsTheClientsAddress) {
  for (const std::uint8_t protocol : {kProtocolUdp, kProtocolTcp}) {
    SCOPED_TRACE(int{protocol});
    const Outcome first = send(protocol, 4000);
    const auto at = std::find(world.backends.begin(), world.backends.end(),
                              read_frame(first.frame).destination);
    const auto backend = static_cast<std::uint32_t>(at - world.backends.begin());
    world.set_binding(
        protocol == kProtocolUdp ? World::dns_slot(backend) : World::web_slot(backend),
        BindingState::kActive, 1);
    const Frame again = make_frame(world.from_client(protocol, 4000));
    const auto port = static_cast<std::uint16_t>(protocol == kProtocolUdp ? 53 : 80);
    const Explanation told = world.explain(
        {.source = {world.client, 4000}, .destination = {world.vip, port}, .protocol = protocol});
    EXPECT_EQ(told.flow.snat.address, world.client);
    for (const Outcome& outcome : world.run_burst({again, again}, World::kWan)) {
      ASSERT_EQ(outcome.verdict, Verdict::kTransmit) << name_of(outcome.drop);
      EXPECT_EQ(outcome.frame, first.frame);
    }
    const Outcome back = world.run(make_frame(world.answer_to(first.frame)), World::kLan);
    EXPECT_EQ(back.verdict, Verdict::kTransmit) << name_of(back.drop);
    EXPECT_EQ(read_frame(back.frame).destination, world.client);
  }
  EXPECT_EQ(world.flows().size(), 2U);
}

TEST_P(FamilyTest, ABackendIsToldOfATtlThatRanOutInTheNameOfTheVip) {
  const Outcome there = send(kProtocolUdp, 4000);
  FrameSpec late = world.answer_to(there.frame);
  late.ttl = 1;
  const Outcome told = world.run(make_frame(late), World::kLan);
  EXPECT_EQ(told.drop, Drop::kTtlExpired);
  ASSERT_TRUE(told.answered);
  EXPECT_EQ(read_frame(told.frame).source, world.vip);
}

TEST_P(FamilyTest, ExplainSaysWhoseAddressABackendSees) {
  ExplainQuery query;
  query.source = {world.client, 4000};
  query.destination = {world.vip, 80};
  query.protocol = kProtocolTcp;
  const auto says = [&](const char* what) {
    const Explanation told = world.explain(query);
    return std::any_of(told.steps.begin(), told.steps.end(), [&](const std::string& step) {
      return step.find(what) != std::string::npos;
    });
  };
  EXPECT_TRUE(says("the client's address is kept"));
  EXPECT_EQ(world.explain(query).flow.snat.address, world.client);
  query.source = {lan_client(), 4000};
  EXPECT_TRUE(says("so FULL_NAT"));
}

}  // namespace
}  // namespace sluice::testing
