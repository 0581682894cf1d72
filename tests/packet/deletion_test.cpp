// SPDX-License-Identifier: Apache-2.0
// What becomes of the flows of a service that is deleted, and of what comes for it later. With two
// lcores each packet comes to both in turn, so that it must find its flow from either.
#include "tests/support/world.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>

namespace sluice::testing {
namespace {

constexpr std::size_t kPiece = 200;

class Deletion : public ::testing::TestWithParam<std::tuple<Family, ForwardingMode>> {
 protected:
  void SetUp() override { world.remember(); }
  Frame from_client(std::uint8_t protocol, std::uint8_t flags, std::size_t payload = 11) {
    FrameSpec spec = world.from_client(protocol, 4000, flags);
    spec.payload = payload;
    return make_frame(spec);
  }
  // Opens a flow and returns what its backend sees first.
  Frame open(std::uint8_t protocol) {
    const Outcome first = world.run(from_client(protocol, kTcpSyn), World::kWan);
    EXPECT_EQ(first.verdict, Verdict::kTransmit) << name_of(first.drop);
    world.run(make_frame(world.answer_to(first.frame)), World::kLan);
    return first.frame;
  }

  World world{std::get<0>(GetParam()), {.twin = false, .mode = std::get<1>(GetParam())}};
};
INSTANTIATE_TEST_SUITE_P(FamiliesAndModes, Deletion,
                         ::testing::Combine(::testing::Values(Family::kIpv4, Family::kIpv6),
                                            ::testing::Values(ForwardingMode::kFullNat,
                                                              ForwardingMode::kDnat)));

TEST_P(Deletion, FlowsGoOnInBothDirections) {
  for (const std::uint8_t protocol : {kProtocolTcp, kProtocolUdp}) {
    const Frame seen = open(protocol);
    world.delete_services();
    for (int i = 0; i < 3; ++i) {
      const Outcome there = world.run(from_client(protocol, kTcpAck), World::kWan);
      ASSERT_EQ(there.verdict, Verdict::kTransmit) << name_of(there.drop);
      EXPECT_EQ(read_frame(there.frame).source, read_frame(seen).source);
      EXPECT_EQ(read_frame(there.frame).source_port, read_frame(seen).source_port);
      EXPECT_EQ(read_frame(there.frame).destination, read_frame(seen).destination);
      const Outcome back = world.run(make_frame(world.answer_to(seen, kTcpAck)), World::kLan);
      ASSERT_EQ(back.verdict, Verdict::kTransmit) << name_of(back.drop);
      EXPECT_EQ(read_frame(back.frame).source, world.vip);
      EXPECT_EQ(read_frame(back.frame).destination, world.client);
    }
    world.reset();
  }
}

TEST_P(Deletion, TcpFlowsThatAreToEndAreResetWhereverTheirNextSegmentArrives) {
  for (int arrivals = 0; arrivals < 2; ++arrivals) {
    const Frame seen = open(kProtocolTcp);
    world.delete_services(true);
    for (int i = 0; i < arrivals; ++i) {
      world.run(make_arp_request(world.client_mac, world.client_on_link, world.router), 0);
    }
    const Outcome ended = world.run(from_client(kProtocolTcp, kTcpAck), World::kWan);
    EXPECT_EQ(name_of(ended.drop), name_of(Drop::kEndpointGone));
    ASSERT_TRUE(ended.answered);
    EXPECT_EQ(read_frame(ended.frame).source, world.vip);
    EXPECT_EQ(read_frame(ended.frame).destination, world.client);
    EXPECT_TRUE(world.flows().empty());
    world.reset();
  }
}

TEST_P(Deletion, FragmentsOfAFlowGoOnInAnyOrderAndBothDirections) {
  const Frame seen = open(kProtocolUdp);
  world.delete_services();
  FrameSpec answer = world.answer_to(seen);
  answer.payload = 900;
  const std::vector<std::pair<std::uint8_t, Frame>> ways{
      {World::kWan, from_client(kProtocolUdp, 0, 900)}, {World::kLan, make_frame(answer)}};
  for (const auto& [port, sent] : ways) {
    std::vector<Frame> fragments = split(sent, kPiece, 77);
    std::reverse(fragments.begin(), fragments.end());
    std::vector<Frame> carried;
    const auto take = [&](const Outcome& outcome) {
      EXPECT_EQ(outcome.verdict, Verdict::kTransmit) << name_of(outcome.drop);
      carried.push_back(outcome.frame);
    };
    for (const Frame& fragment : fragments) {
      const Outcome outcome = world.run(fragment, port);
      if (outcome.verdict != Verdict::kHoldFragment) {
        take(outcome);
      }
      for (const Outcome& held : world.take_held()) {
        take(held);
      }
    }
    ASSERT_EQ(carried.size(), fragments.size());
    EXPECT_EQ(read_frame(join(carried)).fault, "");
    EXPECT_EQ(read_frame(join(carried)).payload, read_frame(sent).payload);
  }
}

TEST_P(Deletion, WhatIsNewFindsNobody) {
  world.delete_services();
  const bool ipv4 = world.family == Family::kIpv4;
  const std::vector<Frame> news{
      from_client(kProtocolTcp, kTcpSyn), from_client(kProtocolTcp, kTcpAck),
      from_client(kProtocolUdp, 0),
      make_icmp(world.from_client(0, 0), ipv4 ? kIcmpEchoRequest : kIcmp6EchoRequest),
      ipv4 ? make_arp_request(world.client_mac, world.client_on_link, world.vip)
           : make_solicitation(world.client_mac, world.client_on_link, world.vip)};
  for (const Frame& frame : news) {
    const Outcome outcome = world.run(frame, World::kWan);
    EXPECT_EQ(outcome.verdict, Verdict::kDrop);
    EXPECT_EQ(name_of(outcome.drop), name_of(Drop::kTransit)) << "as for any stranger's address";
  }
  EXPECT_TRUE(world.flows().empty());
}

TEST_P(Deletion, TheKernelIsNotAnsweredForItEither) {
  world.delete_services();
  const bool ipv4 = world.family == Family::kIpv4;
  const Frame question = ipv4 ? make_arp_request(world.wan_mac, world.wan_host, world.vip)
                              : make_solicitation(world.wan_mac, world.wan_host, world.vip);
  const Outcome outcome = world.run(question, World::kWan, true);
  EXPECT_EQ(outcome.verdict, Verdict::kTransmit) << "to whoever has the address now";
  EXPECT_EQ(outcome.frame, question);
}

TEST_P(Deletion, AServiceThatComesBackTakesNewFlowsAndLeavesTheOldOnes) {
  const auto addresses = world.snapshot.addresses;
  const Frame seen = open(kProtocolTcp);
  world.delete_services();
  world.snapshot.addresses = addresses;
  const Outcome there = world.run(from_client(kProtocolTcp, kTcpAck), World::kWan);
  EXPECT_EQ(read_frame(there.frame).destination, read_frame(seen).destination);
}

}  // namespace
}  // namespace sluice::testing
