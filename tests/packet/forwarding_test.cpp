// SPDX-License-Identifier: Apache-2.0
// The way there and back, in both families from one description.
#include "dataplane/state/aging.h"
#include "tests/support/world.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

namespace sluice::testing {
namespace {

class FamilyTest : public ::testing::TestWithParam<Family> {};
INSTANTIATE_TEST_SUITE_P(BothFamilies, FamilyTest, ::testing::Values(Family::kIpv4, Family::kIpv6));

std::size_t backend_of(const World& world, const Frame& frame) {
  const FrameFacts facts = read_frame(frame);
  const auto at = std::find(world.backends.begin(), world.backends.end(), facts.destination);
  return static_cast<std::size_t>(at - world.backends.begin());
}

void expect_there_and_back(Family family, std::uint8_t protocol) {
  World world(family);
  const FrameSpec spec = world.from_client(protocol, 4321);
  const Frame sent = make_frame(spec);
  const Outcome there = world.run(sent, World::kWan);
  ASSERT_EQ(there.verdict, Verdict::kTransmit) << name_of(there.drop);
  EXPECT_EQ(there.out_port, World::kLan);
  const FrameFacts at_backend = read_frame(there.frame);
  EXPECT_EQ(at_backend.fault, "");
  EXPECT_EQ(at_backend.source, world.snat);
  EXPECT_GE(at_backend.source_port, 20'000);
  EXPECT_LT(at_backend.source_port, 30'000);
  const std::size_t backend = backend_of(world, there.frame);
  ASSERT_LT(backend, 3U);
  EXPECT_EQ(at_backend.destination_port, protocol == kProtocolTcp ? 8080 : 5353);
  EXPECT_EQ(at_backend.ttl, 63);
  EXPECT_EQ(at_backend.from_mac, world.lan_mac);
  EXPECT_EQ(at_backend.to_mac, (MacAddress{{2, 0, 0, 0, 2, static_cast<std::uint8_t>(backend)}}));
  EXPECT_EQ(at_backend.payload, read_frame(sent).payload);

  const Outcome back = world.run(make_frame(world.answer_to(there.frame)), World::kLan);
  ASSERT_EQ(back.verdict, Verdict::kTransmit) << name_of(back.drop);
  EXPECT_EQ(back.out_port, World::kWan);
  const FrameFacts at_client = read_frame(back.frame);
  EXPECT_EQ(at_client.fault, "");
  EXPECT_EQ(at_client.source, spec.destination);
  EXPECT_EQ(at_client.source_port, spec.destination_port);
  EXPECT_EQ(at_client.destination, spec.source);
  EXPECT_EQ(at_client.destination_port, spec.source_port);
  EXPECT_EQ(at_client.to_mac, world.router_mac);
  EXPECT_EQ(at_client.from_mac, world.wan_mac);
}

TEST_P(FamilyTest, ATcpSynGoesToABackendAndItsAnswerLooksLikeTheVips) {
  expect_there_and_back(GetParam(), kProtocolTcp);
}

TEST_P(FamilyTest, AUdpDatagramGoesToABackendAndItsAnswerLooksLikeTheVips) {
  expect_there_and_back(GetParam(), kProtocolUdp);
}

// RFC 5382 lets a NAT judge windows; this one does not, so nothing of them may reach the wrong end.
TEST_P(FamilyTest, SegmentsFarOutOfWindowAreTranslatedFromBothSides) {
  World world(GetParam());
  const std::size_t sequence = GetParam() == Family::kIpv4 ? 38 : 58;
  const auto wild = [&](const FrameSpec& spec, std::uint8_t value) {
    Frame frame = make_frame(spec);
    std::fill_n(frame.begin() + static_cast<std::ptrdiff_t>(sequence), 8, value);
    fix_checksums(frame);
    return frame;
  };
  const Outcome syn = world.run(make_frame(world.from_client(kProtocolTcp, 4000)), World::kWan);
  world.run(make_frame(world.answer_to(syn.frame)), World::kLan);
  for (const std::uint8_t value : std::vector<std::uint8_t>{0x00, 0x01, 0x7f, 0x80, 0xff}) {
    const Frame from_client = wild(world.from_client(kProtocolTcp, 4000, kTcpAck), value);
    const Frame from_backend = wild(world.answer_to(syn.frame, kTcpAck), value);
    for (const auto& [frame, port] :
         {std::pair(from_client, World::kWan), std::pair(from_backend, World::kLan)}) {
      const Outcome outcome = world.run(frame, port);
      ASSERT_EQ(outcome.verdict, Verdict::kTransmit) << name_of(outcome.drop);
      const FrameFacts facts = read_frame(outcome.frame);
      EXPECT_EQ(facts.fault, "");
      EXPECT_EQ(facts.source, port == World::kWan ? world.snat : world.vip);
      EXPECT_EQ(outcome.frame[sequence], value);
      EXPECT_EQ(outcome.frame[sequence + 7], value);
    }
  }
  EXPECT_EQ(world.flows().at(0).state, "established");
}

TEST_P(FamilyTest, EveryPayloadLengthKeepsItsChecksums) {
  World world(GetParam());
  for (std::size_t payload = 0; payload < 120; ++payload) {
    for (const std::uint8_t protocol : {kProtocolTcp, kProtocolUdp}) {
      FrameSpec spec = world.from_client(protocol, 4000);
      spec.payload = payload;
      const Outcome there = world.run(make_frame(spec), World::kWan);
      ASSERT_EQ(there.verdict, Verdict::kTransmit);
      ASSERT_EQ(read_frame(there.frame).fault, "") << payload;
    }
  }
}

TEST(Ipv4, AUdpDatagramWithoutAChecksumStaysWithoutOne) {
  World world(Family::kIpv4);
  FrameSpec spec = world.from_client(kProtocolUdp, 4000);
  spec.udp_checksum = false;
  const Outcome there = world.run(make_frame(spec), World::kWan);
  ASSERT_EQ(there.verdict, Verdict::kTransmit);
  EXPECT_EQ(there.frame[14 + 20 + 6], 0);
  EXPECT_EQ(there.frame[14 + 20 + 7], 0);
}

TEST(Ipv4, AComputedUdpChecksumOfZeroIsSentAsAllOnes) {
  World world(Family::kIpv4, {.flows = 60'000, .snat_port_begin = 1024, .snat_port_end = 65'535});
  bool seen = false;
  for (unsigned port = 1; port < 60'000 && !seen; ++port) {
    const Outcome there = world.run(
        make_frame(world.from_client(kProtocolUdp, static_cast<std::uint16_t>(port))), World::kWan);
    ASSERT_EQ(there.verdict, Verdict::kTransmit);
    const unsigned checksum = there.frame[40] << 8U | there.frame[41];
    ASSERT_NE(checksum, 0U);
    seen = checksum == 0xffff;
  }
  EXPECT_TRUE(seen) << "none of them summed up to zero";
}

TEST(Ipv4, OptionsAreCarriedAlong) {
  World world(Family::kIpv4);
  Frame frame = make_frame(world.from_client(kProtocolUdp, 4000));
  const std::array<std::uint8_t, 4> no_operation{1, 1, 1, 0};
  frame.insert(frame.begin() + 34, no_operation.begin(), no_operation.end());
  frame[14] = 0x46;
  frame[17] = static_cast<std::uint8_t>(frame[17] + 4);
  fix_checksums(frame);
  const Outcome there = world.run(frame, World::kWan);
  ASSERT_EQ(there.verdict, Verdict::kTransmit);
  EXPECT_EQ(read_frame(there.frame).fault, "");
}

TEST_P(FamilyTest, PacketsOfOneFlowGoToOneBackendFromOnePort) {
  World world(GetParam());
  const Frame frame = make_frame(world.from_client(kProtocolUdp, 4000));
  const Frame first = world.run(frame, World::kWan).frame;
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(world.run(frame, World::kWan).frame, first);
  }
  EXPECT_EQ(world.counters.services[World::kDnsId].flows_opened.get(), 1U);
}

TEST_P(FamilyTest, PacketsOfOneNewFlowInOneBurstOpenItOnce) {
  World world(GetParam());
  const Frame frame = make_frame(world.from_client(kProtocolUdp, 4000));
  const auto outcomes = world.run_burst(std::vector<Frame>(8, frame), World::kWan);
  for (const Outcome& outcome : outcomes) {
    EXPECT_EQ(outcome.frame, outcomes[0].frame);
  }
  EXPECT_EQ(world.counters.services[World::kDnsId].flows_opened.get(), 1U);
}

TEST_P(FamilyTest, FlowsSpreadOverAllBackends) {
  World world(GetParam(), {.flows = 2000});
  std::map<std::size_t, int> count;
  for (std::uint16_t i = 0; i < 600; ++i) {
    const Outcome there =
        world.run(make_frame(world.from_client(kProtocolUdp, static_cast<std::uint16_t>(1000 + i))),
                  World::kWan);
    ++count[backend_of(world, there.frame)];
  }
  for (std::size_t backend = 0; backend < 3; ++backend) {
    EXPECT_NEAR(count[backend], 200, 60);
  }
}

TEST_P(FamilyTest, FlowsToOneBackendNeverShareASnatPort) {
  World world(GetParam(), {.flows = 2000, .snat_port_begin = 20'000, .snat_port_end = 20'400});
  std::set<std::pair<std::size_t, std::uint16_t>> taken;
  for (std::uint16_t i = 0; i < 900; ++i) {
    const Outcome there =
        world.run(make_frame(world.from_client(kProtocolUdp, static_cast<std::uint16_t>(1000 + i))),
                  World::kWan);
    if (there.verdict == Verdict::kTransmit) {
      EXPECT_TRUE(taken.emplace(backend_of(world, there.frame), read_frame(there.frame).source_port)
                      .second);
    }
  }
  EXPECT_GT(taken.size(), 400U) << "a port serves several backends at once";
}

TEST_P(FamilyTest, ASnatAddressMayBeTheHostsWithOtherPorts) {
  World world(GetParam(), {.flows = 128});
  world.share_snat_with_host();
  FrameSpec to_host;
  for (std::uint16_t port = 4000; port < 4064; ++port) {
    const Outcome there = world.run(make_frame(world.from_client(kProtocolUdp, port)), World::kWan);
    ASSERT_EQ(there.verdict, Verdict::kTransmit);
    to_host = world.answer_to(there.frame);
    const Outcome back = world.run(make_frame(to_host), World::kLan);
    ASSERT_EQ(back.verdict, Verdict::kTransmit) << "an answer on whichever lcore";
    EXPECT_EQ(read_frame(back.frame).source, world.vip);
  }
  to_host.destination_port = 22;
  EXPECT_EQ(world.run(make_frame(to_host), World::kLan).verdict, Verdict::kPunt);
}

TEST_P(FamilyTest, ADrainingBackendKeepsItsFlows) {
  World world(GetParam());
  const Frame frame = make_frame(world.from_client(kProtocolUdp, 4000));
  const Frame first = world.run(frame, World::kWan).frame;
  const auto backend = static_cast<std::uint32_t>(backend_of(world, first));
  world.set_binding(World::dns_slot(backend), BindingState::kDraining);
  EXPECT_EQ(world.run(frame, World::kWan).frame, first);
}

TEST_P(FamilyTest, AUdpFlowMovesWhenItsBackendIsRemovedAndAnotherServes) {
  World world(GetParam());
  const Frame frame = make_frame(world.from_client(kProtocolUdp, 4000));
  const auto backend =
      static_cast<std::uint32_t>(backend_of(world, world.run(frame, World::kWan).frame));
  world.set_binding(World::dns_slot(backend), BindingState::kRemoved);
  world.set_dns_backends({(backend + 1) % 3});
  const Outcome moved = world.run(frame, World::kWan);
  ASSERT_EQ(moved.verdict, Verdict::kTransmit);
  EXPECT_EQ(backend_of(world, moved.frame), (backend + 1) % 3);
}

TEST_P(FamilyTest, AUdpFlowStaysWhenItsBackendIsRemovedAndNoneServes) {
  World world(GetParam());
  const Frame frame = make_frame(world.from_client(kProtocolUdp, 4000));
  const Frame first = world.run(frame, World::kWan).frame;
  const auto backend = static_cast<std::uint32_t>(backend_of(world, first));
  world.set_binding(World::dns_slot(backend), BindingState::kRemoved);
  world.set_dns_backends({});
  EXPECT_EQ(world.run(frame, World::kWan).frame, first);
}

TEST_P(FamilyTest, ATcpFlowOutlivesTheRemovalOfItsBackend) {
  World world(GetParam());
  const Frame first =
      world.run(make_frame(world.from_client(kProtocolTcp, 4000)), World::kWan).frame;
  const auto backend = static_cast<std::uint32_t>(backend_of(world, first));
  world.set_binding(World::web_slot(backend), BindingState::kRemoved);
  const Outcome later =
      world.run(make_frame(world.from_client(kProtocolTcp, 4000, kTcpAck)), World::kWan);
  ASSERT_EQ(later.verdict, Verdict::kTransmit);
  EXPECT_EQ(backend_of(world, later.frame), backend);
}

TEST_P(FamilyTest, AFlowOfAnEarlierIncarnationOfItsSlotIsForgotten) {
  World world(GetParam());
  const Frame first =
      world.run(make_frame(world.from_client(kProtocolTcp, 4000)), World::kWan).frame;
  const auto backend = static_cast<std::uint32_t>(backend_of(world, first));
  world.set_binding(World::web_slot(backend), BindingState::kActive, 1);
  const Outcome later =
      world.run(make_frame(world.from_client(kProtocolTcp, 4000, kTcpAck)), World::kWan);
  EXPECT_EQ(later.drop, Drop::kEndpointGone);
}

TEST_P(FamilyTest, ASynOnAClosedConnectionOpensANewFlow) {
  World world(GetParam());
  const Frame first =
      world.run(make_frame(world.from_client(kProtocolTcp, 4000)), World::kWan).frame;
  world.run(make_frame(world.from_client(kProtocolTcp, 4000, kTcpFin | kTcpAck)), World::kWan);
  const Outcome anew = world.run(make_frame(world.from_client(kProtocolTcp, 4000)), World::kWan);
  ASSERT_EQ(anew.verdict, Verdict::kTransmit);
  EXPECT_NE(read_frame(anew.frame).source_port, read_frame(first).source_port)
      << "the old tuple is in quarantine";
  EXPECT_EQ(world.counters.services[World::kWebId].flows_opened.get(), 2U);
  EXPECT_EQ(world.counters.services[World::kWebId].flows_closed.get(), 1U);
}

TEST_P(FamilyTest, ASynWhoseBackendWentAwayUnansweredGoesToAnother) {
  World world(GetParam());
  const Frame syn = make_frame(world.from_client(kProtocolTcp, 4000));
  const auto backend =
      static_cast<std::uint32_t>(backend_of(world, world.run(syn, World::kWan).frame));
  world.set_binding(World::web_slot(backend), BindingState::kRemoved);
  world.set_web_backends({(backend + 1) % 3, (backend + 2) % 3});
  for (const auto& lcore : world.lcores) {
    lcore->state.now_ms += 1'000;
  }
  const Outcome again = world.run(syn, World::kWan);
  ASSERT_EQ(again.verdict, Verdict::kTransmit);
  EXPECT_NE(backend_of(world, again.frame), backend);
}

TEST_P(FamilyTest, AResetAndANewSynInOneBurstLeaveOneFlow) {
  World world(GetParam());
  world.run(make_frame(world.from_client(kProtocolTcp, 4000)), World::kWan);
  world.run(make_frame(world.from_client(kProtocolTcp, 4000, kTcpFin | kTcpAck)), World::kWan);
  world.run_burst({make_frame(world.from_client(kProtocolTcp, 4000, kTcpRst)),
                   make_frame(world.from_client(kProtocolTcp, 4000))},
                  World::kWan);
  const std::vector<FlowRow> rows = world.flows();
  ASSERT_EQ(rows.size(), 1U) << "the old one is in quarantine";
  EXPECT_EQ(rows[0].state, "half_open");
}

TEST_P(FamilyTest, AnAnswerToAQuarantinedTupleIsDropped) {
  World world(GetParam());
  const Frame first =
      world.run(make_frame(world.from_client(kProtocolTcp, 4000)), World::kWan).frame;
  world.run(make_frame(world.from_client(kProtocolTcp, 4000, kTcpRst)), World::kWan);
  world.run(make_frame(world.from_client(kProtocolTcp, 4000)), World::kWan);
  EXPECT_EQ(world.run(make_frame(world.answer_to(first)), World::kLan).drop, Drop::kFlowClosed);
}

TEST_P(FamilyTest, AnUnresolvedNeighbourHoldsThePacketAndReleasesItComplete) {
  World world(GetParam());
  const Frame frame = make_frame(world.from_client(kProtocolUdp, 4000));
  const auto backend =
      static_cast<std::uint32_t>(backend_of(world, world.run(frame, World::kWan).frame));
  const auto hop = static_cast<NextHopIndex>(World::kBackendHop + backend);
  world.set_next_hop(hop, NextHop::State::kUnresolved, MacAddress{});
  Outcome held = world.run(frame, World::kWan);
  ASSERT_EQ(held.verdict, Verdict::kHold);
  EXPECT_EQ(held.neighbour, world.backends[backend]);
  EXPECT_EQ(held.out_port, World::kLan);
  rte_mbuf mbuf{};
  mbuf.buf_addr = held.frame.data();
  mbuf.buf_len = static_cast<std::uint16_t>(held.frame.size());
  mbuf.data_len = mbuf.buf_len;
  HeldPacket packet{&mbuf, held.neighbour, held.out_port, 0};
  EXPECT_FALSE(release(packet, world.snapshot));
  const MacAddress found{{2, 0, 0, 0, 9, 9}};
  world.set_next_hop(hop, NextHop::State::kReachable, found);
  ASSERT_TRUE(release(packet, world.snapshot));
  EXPECT_EQ(read_frame(held.frame).to_mac, found);
  EXPECT_EQ(read_frame(held.frame).fault, "");
}

TEST_P(FamilyTest, ANeighbourThatMovesIsFollowedByTheNextPacket) {
  World world(GetParam());
  const Frame frame = make_frame(world.from_client(kProtocolUdp, 4000));
  const auto backend =
      static_cast<std::uint32_t>(backend_of(world, world.run(frame, World::kWan).frame));
  const MacAddress moved{{2, 0, 0, 0, 9, 9}};
  world.set_next_hop(static_cast<NextHopIndex>(World::kBackendHop + backend),
                     NextHop::State::kReachable, moved);
  EXPECT_EQ(read_frame(world.run(frame, World::kWan).frame).to_mac, moved);
}

TEST_P(FamilyTest, ARouteChangeIsFollowedByTheNextPacket) {
  World world(GetParam());
  const Frame frame = make_frame(world.from_client(kProtocolUdp, 4000));
  world.run(frame, World::kWan);
  const World elsewhere(GetParam(), {.route_to_backends = false});
  world.snapshot.routes = elsewhere.snapshot.routes;
  ++world.snapshot.route_epoch;
  EXPECT_EQ(world.run(frame, World::kWan).drop, Drop::kNoRoute);
}

TEST_P(FamilyTest, TheGatewaysOwnHostReachesTheVipAndIsAnsweredThroughItsTwin) {
  World world(GetParam());
  FrameSpec spec = world.from_client(kProtocolTcp, 4000);
  spec.source = world.wan_host;
  spec.from_mac = world.wan_mac;
  spec.to_mac = world.wan_mac;
  const Outcome there = world.run(make_frame(spec), World::kWan, true);
  ASSERT_EQ(there.verdict, Verdict::kTransmit);
  EXPECT_EQ(there.out_port, World::kLan);
  const Outcome back = world.run(make_frame(world.answer_to(there.frame)), World::kLan);
  EXPECT_EQ(back.verdict, Verdict::kPunt);
  EXPECT_EQ(back.out_port, World::kWan);
  EXPECT_EQ(read_frame(back.frame).destination, world.wan_host);
  EXPECT_EQ(read_frame(back.frame).to_mac, world.wan_mac);
}

TEST_P(FamilyTest, CountsOfAFlowReachItsServiceAndItsBackend) {
  World world(GetParam());
  const Frame frame = make_frame(world.from_client(kProtocolUdp, 4000));
  const Outcome there = world.run(frame, World::kWan);
  world.run(frame, World::kWan);
  const Frame answer = make_frame(world.answer_to(there.frame));
  world.run(answer, World::kLan);
  for (const auto& lcore : world.lcores) {
    const auto fold = [&](auto& flows) {
      for (std::uint32_t i = 0; i < flows.high_water(); ++i) {
        fold_counters(flows, i, world.counters);
      }
    };
    fold(lcore->state.flows4);
    fold(lcore->state.flows6);
  }
  const std::size_t length = frame.size() - 14;
  for (const FlowCounters* counters :
       {&world.counters.services[World::kDnsId],
        &world.counters.bindings[World::dns_slot(
            static_cast<std::uint32_t>(backend_of(world, there.frame)))]}) {
    EXPECT_EQ(counters->packets_in.get(), 2U);
    EXPECT_EQ(counters->bytes_in.get(), 2 * length);
    EXPECT_EQ(counters->packets_out.get(), 1U);
    EXPECT_EQ(counters->bytes_out.get(), answer.size() - 14);
  }
}

TEST_P(FamilyTest, ExplainTellsWhatThePipelineThenDoes) {
  World world(GetParam());
  ExplainQuery query;
  query.source = {world.client, 4000};
  query.destination = {world.vip, 53};
  query.protocol = kProtocolUdp;
  const Explanation before = world.explain(query);
  EXPECT_FALSE(before.live_flow);
  EXPECT_EQ(before.verdict, Explanation::Verdict::kForward);
  const Outcome there = world.run(make_frame(world.from_client(kProtocolUdp, 4000)), World::kWan);
  EXPECT_EQ(before.flow.backend.address, read_frame(there.frame).destination);
  const Explanation after = world.explain(query);
  EXPECT_TRUE(after.live_flow);
  EXPECT_EQ(after.flow.snat.address, world.snat);
  EXPECT_EQ(after.flow.snat.port, read_frame(there.frame).source_port);
  EXPECT_EQ(after.next_hop_mac, read_frame(there.frame).to_mac);
  EXPECT_EQ(after.lcore, 3U);
  world.set_binding(World::dns_slot(static_cast<std::uint32_t>(backend_of(world, there.frame))),
                    BindingState::kActive, 1);
  EXPECT_FALSE(world.explain(query).live_flow) << "its slot is another's";
  query.destination.port = 54;
  const Explanation dropped = world.explain(query);
  EXPECT_EQ(dropped.verdict, Explanation::Verdict::kDrop);
  EXPECT_EQ(dropped.drop_reason, name_of(Drop::kUnknownPort));
}

TEST_P(FamilyTest, ExplainRefusesANewFlowForTheReasonThePipelineHas) {
  const std::vector<std::pair<Drop, WorldOptions>> table{
      {Drop::kNoRoute, {.route_to_backends = false}},
      {Drop::kSnatExhausted, {.lcores = 1, .snat_port_begin = 20'000, .snat_port_end = 20'001}},
      {Drop::kFlowTableFull, {.lcores = 1, .flows = 1}}};
  for (const auto& [reason, options] : table) {
    World world(GetParam(), options);
    world.set_dns_backends({0});
    world.run(make_frame(world.from_client(kProtocolUdp, 4000)), World::kWan);
    ExplainQuery query;
    query.source = {world.client, 4001};
    query.destination = {world.vip, 53};
    query.protocol = kProtocolUdp;
    const Explanation told = world.explain(query);
    EXPECT_EQ(told.verdict, Explanation::Verdict::kDrop);
    EXPECT_EQ(told.drop_reason, name_of(reason));
    EXPECT_EQ(world.run(make_frame(world.from_client(kProtocolUdp, 4001)), World::kWan).drop,
              reason);
  }
}

TEST_P(FamilyTest, ExplainSeesThatThereIsNoWayBackToTheClient) {
  World world(GetParam());
  ExplainQuery query;
  query.source = {*parse_ip(GetParam() == Family::kIpv4 ? "100.64.0.1" : "2001:db8:dead::1"), 4000};
  query.destination = {world.vip, 53};
  query.protocol = kProtocolUdp;
  const Explanation told = world.explain(query);
  EXPECT_EQ(told.drop_reason, name_of(Drop::kNoRoute));
}

}  // namespace
}  // namespace sluice::testing
