// SPDX-License-Identifier: Apache-2.0
// What becomes of the TCP flows of an endpoint that is gone, where their service resets them; and
// of those whose drain deadline is past.
#include "tests/support/world.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>

namespace sluice::testing {
namespace {

enum class Gone { kRemoved, kDrained };

class Removal : public ::testing::TestWithParam<std::tuple<Family, ForwardingMode, Gone>> {
 protected:
  Removal() : world(std::get<0>(GetParam()), {.mode = std::get<1>(GetParam())}) {}

  Outcome send(std::uint8_t flags, std::uint16_t port = 4000) {
    return world.run(make_frame(world.from_client(kProtocolTcp, port, flags)), World::kWan);
  }
  Outcome answer(std::uint8_t flags) {
    return world.run(make_frame(world.answer_to(syn.frame, flags)), World::kLan);
  }
  void establish() {
    syn = send(kTcpSyn);
    answer(kTcpSyn | kTcpAck);
    send(kTcpAck);
    const IpAddress to = read_frame(syn.frame).destination;
    backend = static_cast<std::uint32_t>(
        std::find(world.backends.begin(), world.backends.end(), to) - world.backends.begin());
    ASSERT_EQ(world.flows()[0].state, "established");
  }
  // Its service goes on with another, or with none.
  void take_away(bool others = true) {
    if (std::get<2>(GetParam()) == Gone::kRemoved) {
      world.remove_and_reset(World::web_slot(backend));
    } else {
      world.set_binding(World::web_slot(backend), BindingState::kFree, 1);
    }
    if (others) {
      world.set_web_backends({(backend + 1) % 3});
    } else {
      world.change_service(World::kWebId, [](ServicePort& s) { s.maglev = nullptr; });
    }
  }
  void expect_reset(const Outcome& outcome, const IpAddress& from, const IpAddress& to) {
    EXPECT_EQ(name_of(outcome.drop), name_of(Drop::kEndpointGone));
    ASSERT_TRUE(outcome.answered);
    const FrameFacts facts = read_frame(outcome.frame);
    EXPECT_EQ(facts.fault, "");
    EXPECT_EQ(facts.source, from);
    EXPECT_EQ(facts.destination, to);
    const std::size_t flags = outcome.frame.size() - 20 + 13;
    EXPECT_NE(outcome.frame[flags] & kTcpRst, 0);
  }

  World world;
  Outcome syn;
  std::uint32_t backend = 0;
};
INSTANTIATE_TEST_SUITE_P(FamiliesAndModes, Removal,
                         ::testing::Combine(::testing::Values(Family::kIpv4, Family::kIpv6),
                                            ::testing::Values(ForwardingMode::kFullNat,
                                                              ForwardingMode::kDnat),
                                            ::testing::Values(Gone::kRemoved, Gone::kDrained)));

TEST_P(Removal, TheClientIsResetAtItsNextSegmentByTheVip) {
  establish();
  take_away();
  const Outcome outcome = send(kTcpAck);
  expect_reset(outcome, world.vip, world.client);
  EXPECT_EQ(outcome.out_port, World::kWan);
  EXPECT_TRUE(world.flows().empty());
  EXPECT_EQ(world.counters.services[World::kWebId].flows_closed.get(), 1U);
  EXPECT_EQ(world.counters.services[World::kWebId].drops.get(), 1U);
}

TEST_P(Removal, TheClientIsResetAlsoWhenNobodyServesAnyMore) {
  establish();
  take_away(false);
  expect_reset(send(kTcpAck), world.vip, world.client);
}

TEST_P(Removal, TheBackendIsResetAtItsNextSegmentByWhomItTalksTo) {
  establish();
  take_away();
  const bool dnat = std::get<1>(GetParam()) == ForwardingMode::kDnat;
  const Outcome outcome = answer(kTcpAck);
  expect_reset(outcome, dnat ? world.client : world.snat, world.backends[backend]);
  EXPECT_EQ(outcome.out_port, World::kLan);
  EXPECT_TRUE(world.flows().empty());
}

TEST_P(Removal, TheOtherEndIsResetWhenItSpeaksToo) {
  establish();
  take_away();
  send(kTcpAck);
  const Outcome later = answer(kTcpAck);
  EXPECT_EQ(later.drop, Drop::kFlowClosed);
  EXPECT_TRUE(later.answered);
}

TEST_P(Removal, AResetIsNotAnsweredByOne) {
  establish();
  take_away();
  const Outcome outcome = send(kTcpRst);
  EXPECT_EQ(outcome.drop, Drop::kEndpointGone);
  EXPECT_FALSE(outcome.answered);
}

TEST_P(Removal, ASynWithTheSameTupleIsANewConnectionElsewhere) {
  establish();
  take_away();
  const Outcome anew = send(kTcpSyn);
  ASSERT_EQ(anew.verdict, Verdict::kTransmit);
  EXPECT_EQ(read_frame(anew.frame).destination, world.backends[(backend + 1) % 3]);
}

TEST_P(Removal, AnIcmpErrorEndsNothing) {
  establish();
  take_away();
  FrameSpec outer = world.answer_to(syn.frame);
  const bool ipv4 = world.family == Family::kIpv4;
  const Frame error = make_error(outer, ipv4 ? 3 : 1, ipv4 ? 1 : 3, 0, syn.frame, 68);
  world.run(error, World::kLan);
  EXPECT_EQ(world.flows().size(), 1U);
}

TEST_P(Removal, UdpFlowsAreTreatedAsEver) {
  const Frame frame = make_frame(world.from_client(kProtocolUdp, 4000));
  const Frame first = world.run(frame, World::kWan).frame;
  for (std::uint32_t i = 0; i < 3; ++i) {
    world.remove_and_reset(World::dns_slot(i));
  }
  world.set_dns_backends({});
  EXPECT_EQ(world.run(frame, World::kWan).frame, first) << "none serves, so it stays";
}

}  // namespace
}  // namespace sluice::testing
