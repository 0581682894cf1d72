// SPDX-License-Identifier: Apache-2.0
// What a service's options do to its clients' flows, in both families from one description.
#include "tests/support/world.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace sluice::testing {
namespace {

class Policies : public ::testing::TestWithParam<Family> {};
INSTANTIATE_TEST_SUITE_P(BothFamilies, Policies, ::testing::Values(Family::kIpv4, Family::kIpv6));

std::shared_ptr<const SourceRanges> only(const IpAddress& address) {
  return std::make_shared<SourceRanges>(std::vector{prefix_of(address, address.bits())});
}

Explanation explain_client(const World& world, std::uint8_t protocol, std::uint16_t port) {
  ExplainQuery query;
  query.source = {world.client, port};
  const std::uint16_t frontend = protocol == kProtocolTcp ? 80 : 53;
  query.destination = {world.vip, frontend};
  query.protocol = protocol;
  return explain(query, world.snapshot, world.state, 0);
}

TEST_P(Policies, AClientInTheSourceRangesIsServed) {
  World world(GetParam());
  world.change_service(World::kDnsId, [&](ServicePort& s) { s.allowed = only(world.client); });
  const Frame frame = make_frame(world.from_client(kProtocolUdp, 4000));
  EXPECT_EQ(world.run(frame, World::kWan).verdict, Verdict::kTransmit);
}

TEST_P(Policies, ADeniedClientIsRefusedAlsoWhenItIsInTheSourceRanges) {
  World world(GetParam());
  world.change_service(World::kDnsId, [&](ServicePort& s) {
    s.allowed = only(world.client);
    s.denied = only(world.client);
  });
  const Frame frame = make_frame(world.from_client(kProtocolUdp, 4000));
  EXPECT_EQ(world.run(frame, World::kWan).drop, Drop::kSourceDenied);
  EXPECT_EQ(world.counters.services[World::kDnsId].drops.get(), 1U);
}

TEST_P(Policies, SourceRangesOfTheOtherFamilyRefuseThisOne) {
  World world(GetParam());
  const IpAddress other = World(GetParam() == Family::kIpv4 ? Family::kIpv6 : Family::kIpv4).client;
  world.change_service(World::kDnsId, [&](ServicePort& s) { s.allowed = only(other); });
  const Frame frame = make_frame(world.from_client(kProtocolUdp, 4000));
  EXPECT_EQ(world.run(frame, World::kWan).drop, Drop::kSourceRange);
}

TEST_P(Policies, ARefusedClientIsDroppedAlsoWhenThereIsNoBackend) {
  World world(GetParam());
  world.change_service(World::kEmptyId, [&](ServicePort& s) { s.denied = only(world.client); });
  FrameSpec spec = world.from_client(kProtocolTcp, 4000);
  spec.destination_port = 81;
  EXPECT_EQ(world.run(make_frame(spec), World::kWan).drop, Drop::kSourceDenied);
}

TEST_P(Policies, AChangeOfTheSourceRangesEndsTheLiveFlowsOfWhoeverIsShutOut) {
  for (const bool client_speaks_first : {true, false}) {
    SCOPED_TRACE(client_speaks_first);
    World world(GetParam());
    const Frame frame = make_frame(world.from_client(kProtocolTcp, 4000));
    const Outcome there = world.run(frame, World::kWan);
    ASSERT_EQ(there.verdict, Verdict::kTransmit);
    const Frame back = make_frame(world.answer_to(there.frame));
    world.change_service(World::kWebId, [&](ServicePort& s) { s.denied = only(world.client); });
    ++world.snapshot.policy_epoch;
    const Explanation told = explain_client(world, kProtocolTcp, 4000);
    EXPECT_EQ(told.verdict, Explanation::Verdict::kDrop);
    EXPECT_EQ(told.drop_reason, "source_denied");
    const Outcome after =
        client_speaks_first ? world.run(frame, World::kWan) : world.run(back, World::kLan);
    EXPECT_EQ(after.drop, Drop::kSourceDenied);
    EXPECT_EQ(world.counters.services[World::kWebId].flows_closed.get(), 1U);
    EXPECT_EQ(world.counters.services[World::kWebId].drops.get(), 1U);
    EXPECT_EQ(world.run(back, World::kLan).drop, Drop::kSnatNoFlow) << "the flow is gone";
  }
}

TEST_P(Policies, AChangeOfTheSourceRangesLeavesTheFlowsOfTheOthersAlone) {
  World world(GetParam());
  const Frame frame = make_frame(world.from_client(kProtocolTcp, 4000));
  const Outcome before = world.run(frame, World::kWan);
  world.change_service(World::kWebId, [&](ServicePort& s) {
    s.allowed = only(world.client);
    s.denied = only(world.stranger);
  });
  ++world.snapshot.policy_epoch;
  EXPECT_EQ(world.run(frame, World::kWan).frame, before.frame);
  EXPECT_EQ(world.counters.services[World::kWebId].flows_opened.get(), 1U);
}

TEST_P(Policies, AFlowOfAServiceThatIsGoneIsNotJudgedByWhoeverHasItsFrontendNow) {
  World world(GetParam());
  const Frame frame = make_frame(world.from_client(kProtocolTcp, 4000));
  const Outcome before = world.run(frame, World::kWan);
  world.change_service(World::kWebId, [&](ServicePort& s) {
    s.id = World::kEmptyId;
    s.denied = only(world.client);
  });
  ++world.snapshot.policy_epoch;
  EXPECT_EQ(world.run(frame, World::kWan).frame, before.frame);
}

}  // namespace
}  // namespace sluice::testing
