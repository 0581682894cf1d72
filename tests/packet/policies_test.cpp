// SPDX-License-Identifier: Apache-2.0
// What a service's options do to its clients' flows, in both families from one description.
#include "dataplane/state/aging.h"
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
  return world.explain(query);
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
    EXPECT_EQ(world.run(back, World::kLan).drop, Drop::kFlowClosed) << "the flow is gone";
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

// --- session affinity

std::size_t backend_of(const World& world, const Outcome& sent) {
  const IpAddress to = read_frame(sent.frame).destination;
  return static_cast<std::size_t>(std::find(world.backends.begin(), world.backends.end(), to) -
                                  world.backends.begin());
}

// Which backend a new flow of the client gets; 3 for none.
std::size_t open_dns(World& world, std::uint16_t client_port) {
  const Frame frame = make_frame(world.from_client(kProtocolUdp, client_port));
  return backend_of(world, world.run(frame, World::kWan));
}

void give_affinity(World& world, std::uint32_t seconds) {
  world.change_service(World::kDnsId, [&](ServicePort& s) { s.affinity_ms = seconds * 1'000; });
}

TEST_P(Policies, WithAffinityAClientsFlowsGoToOneBackendAndWithoutItToAll) {
  World plain(GetParam());
  World affine(GetParam());
  give_affinity(affine, 10);
  std::set<std::size_t> spread;
  std::set<std::size_t> kept;
  for (std::uint16_t port = 4000; port < 4050; ++port) {
    spread.insert(open_dns(plain, port));
    kept.insert(open_dns(affine, port));
  }
  EXPECT_EQ(spread.size(), 3U);
  EXPECT_EQ(kept.size(), 1U);
}

TEST_P(Policies, AffinityLastsAsLongAsItsTimeoutAfterTheLastNewFlow) {
  World world(GetParam());
  give_affinity(world, 10);
  const std::size_t first = open_dns(world, 4000);
  const std::size_t other = (first + 1) % 3;
  world.set_dns_backends({static_cast<std::uint32_t>(other)});  // for Maglev; all are active still
  world.advance(9'999);
  EXPECT_EQ(open_dns(world, 4001), first) << "and refreshed by this flow";
  world.advance(9'999);
  EXPECT_EQ(open_dns(world, 4002), first);
  world.advance(9'999);
  EXPECT_EQ(open_dns(world, 4002), first) << "a packet of an open flow, which refreshes nothing";
  world.advance(1);
  EXPECT_EQ(open_dns(world, 4003), other);
}

TEST_P(Policies, AffinityMovesOnAtOnceWhenItsBackendTakesNoNewFlows) {
  for (const BindingState state :
       {BindingState::kDraining, BindingState::kRemoved, BindingState::kFree}) {
    SCOPED_TRACE(static_cast<int>(state));
    World world(GetParam());
    give_affinity(world, 10);
    const auto first = static_cast<std::uint32_t>(open_dns(world, 4000));
    const std::uint32_t other = (first + 1) % 3;
    world.set_binding(World::dns_slot(first), state);
    world.set_dns_backends({other});
    EXPECT_EQ(open_dns(world, 4001), other);
    world.set_binding(World::dns_slot(first), BindingState::kActive);
    world.set_dns_backends({first});
    EXPECT_EQ(open_dns(world, 4002), other) << "it stays where it went, whoever comes back";
  }
}

TEST_P(Policies, AffinityOfASlotThatIsAnotherBindingsByNowIsNone) {
  World world(GetParam());
  give_affinity(world, 10);
  const auto first = static_cast<std::uint32_t>(open_dns(world, 4000));
  const std::uint32_t other = (first + 1) % 3;
  world.set_binding(World::dns_slot(first), BindingState::kActive, 1);
  world.set_dns_backends({other});
  EXPECT_EQ(open_dns(world, 4001), other);
}

TEST_P(Policies, ExplainTellsWhenAffinityAndNotMaglevChooses) {
  World world(GetParam());
  give_affinity(world, 10);
  const std::size_t first = open_dns(world, 4000);
  const Explanation told = explain_client(world, kProtocolUdp, 4001);
  EXPECT_EQ(told.flow.backend.address, world.backends[first]);
  const bool said = std::any_of(told.steps.begin(), told.steps.end(), [](const auto& step) {
    return step.find("affinity") != std::string::npos;
  });
  EXPECT_TRUE(said);
}

// --- timers

template <Family F>
void sweep(World& world, std::uint32_t ms) {
  std::vector<Aging<F>> agings(world.lcores.size());
  const auto age = [&] {
    for (std::size_t i = 0; i < agings.size(); ++i) {
      LcoreState& state = world.lcores[i]->state;
      agings[i].run(state.flows<F>(), state.now_ms, world.counters);
    }
  };
  age();
  for (std::uint32_t past = 0; past < ms; past += 100) {
    world.advance(100);
    age();
  }
}
void sweep(World& world, std::uint32_t ms) {
  world.family == Family::kIpv4 ? sweep<Family::kIpv4>(world, ms) : sweep<Family::kIpv6>(world, ms);
}

TEST_P(Policies, AUdpFlowLivesAsLongAsItsServiceSays) {
  World world(GetParam());
  world.change_service(World::kDnsId, [](ServicePort& s) { s.flow_options.idle_ms = 5'000; });
  open_dns(world, 4000);
  EXPECT_EQ(explain_client(world, kProtocolUdp, 4000).flow.expires_ms, 5'000U);
  sweep(world, 4'000);
  EXPECT_EQ(world.counters.services[World::kDnsId].flows_closed.get(), 0U);
  sweep(world, 2'500);
  EXPECT_EQ(world.counters.services[World::kDnsId].flows_closed.get(), 1U);
}

TEST_P(Policies, ATcpFlowHasATimerForItsHandshakeAndOneForItsLife) {
  World world(GetParam());
  world.change_service(World::kWebId, [](ServicePort& s) {
    s.flow_options = {.idle_ms = 60'000, .transitory_ms = 3'000};
  });
  const Outcome syn = world.run(make_frame(world.from_client(kProtocolTcp, 4000)), World::kWan);
  EXPECT_EQ(explain_client(world, kProtocolTcp, 4000).flow.expires_ms, 3'000U);
  world.run(make_frame(world.answer_to(syn.frame)), World::kLan);
  world.run(make_frame(world.from_client(kProtocolTcp, 4000, kTcpAck)), World::kWan);
  EXPECT_EQ(explain_client(world, kProtocolTcp, 4000).flow.state, "established");
  EXPECT_EQ(explain_client(world, kProtocolTcp, 4000).flow.expires_ms, 60'000U);
  world.run(make_frame(world.from_client(kProtocolTcp, 4000, kTcpAck | kTcpFin)), World::kWan);
  EXPECT_EQ(explain_client(world, kProtocolTcp, 4000).flow.expires_ms, 3'000U);
}

TEST_P(Policies, OneTimerOfAServiceLeavesTheOthersAtTheirDefaults) {
  World world(GetParam());
  world.change_service(World::kWebId, [](ServicePort& s) { s.flow_options.idle_ms = 60'000; });
  world.run(make_frame(world.from_client(kProtocolTcp, 4000)), World::kWan);
  EXPECT_EQ(explain_client(world, kProtocolTcp, 4000).flow.expires_ms, 240'000U);
}

// --- MSS clamp

// A frame whose TCP header has these options, a multiple of four bytes.
Frame with_options(const FrameSpec& spec, const std::vector<std::uint8_t>& options) {
  FrameSpec longer = spec;
  longer.payload = options.size();
  Frame frame = make_frame(longer);
  const std::size_t tcp = frame.size() - options.size() - 20;
  std::copy(options.begin(), options.end(), frame.begin() + static_cast<std::ptrdiff_t>(tcp + 20));
  frame[tcp + 12] = static_cast<std::uint8_t>((20 + options.size()) / 4 << 4U);
  fix_checksums(frame);
  return frame;
}
std::vector<std::uint8_t> options_of(const Frame& frame, std::size_t length) {
  return {frame.end() - static_cast<std::ptrdiff_t>(length), frame.end()};
}

TEST_P(Policies, TheMssOfASynAndItsAnswerIsLoweredToTheClampAndNeverRaised) {
  using Options = std::vector<std::uint8_t>;
  struct Row {
    const char* what;
    Options given;
    Options expected;
  };
  const std::vector<Row> rows{
      {"1460", {2, 4, 5, 180}, {2, 4, 4, 176}},
      {"1200 stays", {2, 4, 4, 176}, {2, 4, 4, 176}},
      {"536 stays", {2, 4, 2, 24}, {2, 4, 2, 24}},
      {"behind one NOP, at an odd place", {1, 2, 4, 5, 180, 1, 1, 0}, {1, 2, 4, 4, 176, 1, 1, 0}},
      {"behind window scale", {1, 3, 3, 7, 2, 4, 5, 180}, {1, 3, 3, 7, 2, 4, 4, 176}},
      {"behind window scale, odd", {3, 3, 7, 2, 4, 5, 180, 0}, {3, 3, 7, 2, 4, 4, 176, 0}},
      {"none", {1, 1, 1, 0}, {1, 1, 1, 0}},
      {"behind the end", {0, 2, 4, 5, 180, 0, 0, 0}, {0, 2, 4, 5, 180, 0, 0, 0}},
      {"cut off", {1, 1, 2, 4}, {1, 1, 2, 4}},
      {"an option of no length", {9, 0, 2, 4, 5, 180, 0, 0}, {9, 0, 2, 4, 5, 180, 0, 0}},
      {"an MSS of another length", {2, 3, 5, 180}, {2, 3, 5, 180}},
      {"an option beyond the header", {9, 40, 2, 4}, {9, 40, 2, 4}}};
  for (const Row& row : rows) {
    SCOPED_TRACE(row.what);
    World world(GetParam());
    world.change_service(World::kWebId, [](ServicePort& s) { s.flow_options.mss_max = 1'200; });
    const std::size_t length = row.given.size();
    const Outcome there =
        world.run(with_options(world.from_client(kProtocolTcp, 4000), row.given), World::kWan);
    ASSERT_EQ(there.verdict, Verdict::kTransmit);
    EXPECT_EQ(read_frame(there.frame).fault, "");
    EXPECT_EQ(options_of(there.frame, length), row.expected);
    const Outcome back =
        world.run(with_options(world.answer_to(there.frame), row.given), World::kLan);
    ASSERT_EQ(back.verdict, Verdict::kTransmit);
    EXPECT_EQ(read_frame(back.frame).fault, "");
    EXPECT_EQ(options_of(back.frame, length), row.expected);
  }
}

TEST_P(Policies, SegmentsThatAreNoSynAndServicesWithoutAClampKeepTheirOptions) {
  const std::vector<std::uint8_t> options{2, 4, 5, 180};
  World world(GetParam());
  const FrameSpec syn = world.from_client(kProtocolTcp, 4000);
  EXPECT_EQ(options_of(world.run(with_options(syn, options), World::kWan).frame, 4), options);
  World clamped(GetParam());
  clamped.change_service(World::kWebId, [](ServicePort& s) { s.flow_options.mss_max = 1'200; });
  clamped.run(make_frame(syn), World::kWan);
  const FrameSpec ack = clamped.from_client(kProtocolTcp, 4000, kTcpAck);
  EXPECT_EQ(options_of(clamped.run(with_options(ack, options), World::kWan).frame, 4), options);
}

// --- flows by filter

std::uint64_t delete_by(World& world, const FlowFilter& filter) {
  std::uint64_t deleted = 0;
  for (const auto& lcore : world.lcores) {
    deleted += delete_flows(filter, world.family, 0, 64, lcore->state);
  }
  return deleted;
}

TEST_P(Policies, DeletingEndsTheFlowsThatPassEveryFilterAndNoOther) {
  World world(GetParam());
  open_dns(world, 4000);
  world.run(make_frame(world.from_client(kProtocolTcp, 4001)), World::kWan);
  FlowFilter strangers;
  strangers.client = world.stranger;
  EXPECT_EQ(delete_by(world, strangers), 0U);
  FlowFilter none;
  none.client = world.client;
  none.state = FlowState::kTcpEstablished;
  EXPECT_EQ(delete_by(world, none), 0U);
  FlowFilter web;
  web.service_ports = std::vector<bool>{false, true};  // kWebId
  EXPECT_EQ(delete_by(world, web), 1U);
  EXPECT_EQ(world.counters.services[World::kWebId].flows_closed.get(), 1U);
  EXPECT_EQ(world.run(make_frame(world.from_client(kProtocolTcp, 4001, kTcpAck)), World::kWan).drop,
            Drop::kTcpNoFlow);
  EXPECT_TRUE(explain_client(world, kProtocolUdp, 4000).live_flow);
  EXPECT_EQ(delete_by(world, {}), 1U);
  EXPECT_FALSE(explain_client(world, kProtocolUdp, 4000).live_flow);
}

TEST_P(Policies, BothEndsOfADeletedTcpFlowAreResetAtTheirNextSegmentBackendsOrNone) {
  for (const bool served : {true, false}) {
    SCOPED_TRACE(served);
    World world(GetParam());
    const Outcome there = world.run(make_frame(world.from_client(kProtocolTcp, 4000)), World::kWan);
    EXPECT_EQ(delete_by(world, {}), 1U);
    if (!served) {
      world.change_service(World::kWebId, [](ServicePort& s) { s.maglev = nullptr; });
    }
    const Frame segment = make_frame(world.from_client(kProtocolTcp, 4000, kTcpAck));
    const Outcome client = world.run(segment, World::kWan);
    EXPECT_EQ(client.drop, Drop::kTcpNoFlow);
    ASSERT_TRUE(client.answered);
    EXPECT_EQ(read_frame(client.frame).destination, world.client);
    const Outcome backend =
        world.run(make_frame(world.answer_to(there.frame, kTcpAck)), World::kLan);
    EXPECT_EQ(backend.drop, Drop::kFlowClosed);
    ASSERT_TRUE(backend.answered);
    EXPECT_EQ(read_frame(backend.frame).fault, "");
    EXPECT_EQ(read_frame(backend.frame).source, world.snat);
    EXPECT_EQ(backend.out_port, World::kLan);
    const Frame reset = make_frame(world.answer_to(there.frame, kTcpRst | kTcpAck));
    EXPECT_FALSE(world.run(reset, World::kLan).answered) << "a reset is never answered";
  }
}

TEST_P(Policies, AClientThatIsShutOutIsToldNothing) {
  World world(GetParam());
  world.run(make_frame(world.from_client(kProtocolTcp, 4000)), World::kWan);
  world.change_service(World::kWebId, [&](ServicePort& s) { s.denied = only(world.client); });
  ++world.snapshot.policy_epoch;
  for (int i = 0; i < 2; ++i) {
    const Frame segment = make_frame(world.from_client(kProtocolTcp, 4000, kTcpAck));
    const Outcome after = world.run(segment, World::kWan);
    EXPECT_EQ(after.drop, Drop::kSourceDenied);
    EXPECT_FALSE(after.answered);
  }
}

// --- half-open budget: of each lcore, so there is one

template <Family F>
void budget(World& world, std::uint32_t flows) {
  world.state.flows<F>().set_half_open_max(flows);
}
void give_budget(World& world, std::uint32_t flows) {
  world.family == Family::kIpv4 ? budget<Family::kIpv4>(world, flows)
                                : budget<Family::kIpv6>(world, flows);
}
std::string state_of(const World& world, std::uint16_t port) {
  const Explanation told = explain_client(world, kProtocolTcp, port);
  return told.live_flow ? told.flow.state : "";
}

TEST_P(Policies, BeyondTheBudgetTheOldestHalfOpenFlowGoesAndTheOthersStay) {
  World world(GetParam(), {.lcores = 1});
  give_budget(world, 3);
  for (std::uint16_t port = 1; port <= 4; ++port) {
    world.advance(1);
    const Frame syn = make_frame(world.from_client(kProtocolTcp, port));
    EXPECT_EQ(world.run(syn, World::kWan).verdict, Verdict::kTransmit);
  }
  EXPECT_EQ(state_of(world, 1), "");
  EXPECT_EQ(state_of(world, 2), "half_open");
  EXPECT_EQ(state_of(world, 4), "half_open");
  EXPECT_EQ(world.counters.half_open_evicted.get(), 1U);
  EXPECT_EQ(world.counters.services[World::kWebId].flows_closed.get(), 1U);
}

TEST_P(Policies, ABudgetOfNothingIsOneFlow) {
  World world(GetParam(), {.lcores = 1});
  give_budget(world, 0);
  for (std::uint16_t port = 1; port <= 3; ++port) {
    world.advance(1);
    const Frame syn = make_frame(world.from_client(kProtocolTcp, port));
    EXPECT_EQ(world.run(syn, World::kWan).verdict, Verdict::kTransmit);
  }
  EXPECT_EQ(state_of(world, 3), "half_open");
}

TEST_P(Policies, AFloodOfHalfOpenFlowsHarmsNoEstablishedOneAndLetsNewOnesIn) {
  World world(GetParam(), {.lcores = 1, .flows = 2'000});
  give_budget(world, 400);
  const auto establish = [&world](std::uint16_t port) {
    const Outcome syn = world.run(make_frame(world.from_client(kProtocolTcp, port)), World::kWan);
    ASSERT_EQ(syn.verdict, Verdict::kTransmit) << name_of(syn.drop);
    world.run(make_frame(world.answer_to(syn.frame)), World::kLan);
    world.run(make_frame(world.from_client(kProtocolTcp, port, kTcpAck)), World::kWan);
  };
  for (std::uint16_t port = 1; port <= 1'000; ++port) {
    establish(port);
  }
  for (std::uint32_t i = 0; i < 50'000; ++i) {
    FrameSpec syn = world.from_client(kProtocolTcp, static_cast<std::uint16_t>(2'000 + i % 60'000));
    world.advance(i % 50 == 0 ? 1 : 0);
    ASSERT_EQ(world.run(make_frame(syn), World::kWan).verdict, Verdict::kTransmit) << i;
  }
  establish(1'500);
  EXPECT_EQ(state_of(world, 1'500), "established");
  for (std::uint16_t port = 1; port <= 1'000; ++port) {
    ASSERT_EQ(state_of(world, port), "established") << port;
  }
  EXPECT_EQ(world.counters.half_open_evicted.get(), 50'001U - 400U);
  EXPECT_EQ(world.drops(Drop::kFlowTableFull), 0U);
}

TEST_P(Policies, WithinOneBurstAFloodIsDroppedByNameRatherThanFreeingWhatItRefersTo) {
  World world(GetParam(), {.lcores = 1});
  give_budget(world, 4);
  std::vector<Frame> frames;
  for (std::uint16_t port = 1; port <= 32; ++port) {
    frames.push_back(make_frame(world.from_client(kProtocolTcp, port)));
  }
  std::size_t sent = 0;
  for (const Outcome& outcome : world.run_burst(frames, World::kWan)) {
    sent += outcome.verdict == Verdict::kTransmit ? 1 : 0;
  }
  EXPECT_EQ(sent, 8U) << "the budget, and as many evicted";
  EXPECT_EQ(world.drops(Drop::kFlowTableFull), 24U);
}

// --- room in a table that is nearly full: eight entries, of which one is spare

TEST_P(Policies, ALateSegmentIsCarriedYetInTheBurstInWhichItsFlowMakesRoom) {
  World world(GetParam(), {.lcores = 1, .flows = 8});
  for (std::uint16_t port = 1; port <= 7; ++port) {
    const Outcome syn = world.run(make_frame(world.from_client(kProtocolTcp, port)), World::kWan);
    ASSERT_EQ(syn.verdict, Verdict::kTransmit);
    if (port == 1) {
      world.run(make_frame(world.answer_to(syn.frame, kTcpFin | kTcpAck)), World::kLan);
      world.run(make_frame(world.from_client(kProtocolTcp, 1, kTcpFin | kTcpAck)), World::kWan);
    }
  }
  ASSERT_EQ(state_of(world, 1), "time_wait");
  const Frame late = make_frame(world.from_client(kProtocolTcp, 1, kTcpAck));
  const Frame carried = world.run(late, World::kWan).frame;
  world.advance(kAtRestMs);
  const std::vector<Outcome> outcomes =
      world.run_burst({late, make_frame(world.from_client(kProtocolTcp, 100)),
                       make_frame(world.from_client(kProtocolTcp, 101))},
                      World::kWan);
  EXPECT_EQ(outcomes[0].verdict, Verdict::kTransmit);
  EXPECT_EQ(outcomes[0].frame, carried);
  EXPECT_EQ(outcomes[1].verdict, Verdict::kTransmit);
  EXPECT_EQ(outcomes[2].drop, Drop::kFlowTableFull) << "what was evicted just now is not free yet";
  world.advance(1);
  const Frame again = make_frame(world.from_client(kProtocolTcp, 101));
  EXPECT_EQ(world.run(again, World::kWan).verdict, Verdict::kTransmit);
  EXPECT_EQ(world.counters.ended_evicted.get(), 1U);
}

}  // namespace
}  // namespace sluice::testing
