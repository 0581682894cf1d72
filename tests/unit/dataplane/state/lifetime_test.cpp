// SPDX-License-Identifier: Apache-2.0
// From the first packet's SNAT port to the last second of quarantine: snat_ports, tcp_state, aging.
#include "dataplane/net/headers.h"
#include "dataplane/state/aging.h"
#include "dataplane/state/snat_ports.h"
#include "dataplane/state/tcp_state.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace sluice {
namespace {

constexpr auto kIpv4 = Family::kIpv4;

struct World {
  explicit World(std::uint32_t capacity = 4096)
      : region(FlowTable<kIpv4>::region_bytes(capacity)),
        flows(region, capacity,
              HashSecret{{0x9ae16a3b2f90404fULL, 0xc949d7c7509e6557ULL, 0xff51afd7ed558ccdULL,
                          0xc4ceb9fe1a85ec53ULL, 0x8ebc6af09c88c6e3ULL, 0x589965cc75374cc3ULL}}),
        counters(4, 8) {}

  FlowHot<kIpv4> wanted(std::uint32_t client, std::uint16_t port, std::uint32_t backend) const {
    FlowHot<kIpv4> flow{};
    flow.client = Ipv4Address{Be32::from_host(client)};
    flow.frontend = Ipv4Address{Be32::from_host(0xcb00'710a)};
    flow.client_port = Be16::from_host(port);
    flow.frontend_port = Be16::from_host(80);
    flow.protocol = kProtocolTcp;
    flow.state = FlowState::kTcpEstablished;
    flow.backend = Ipv4Address{Be32::from_host(backend)};
    flow.backend_port = Be16::from_host(8080);
    flow.binding_slot = 1;
    flow.last_seen_ms = now;
    return flow;
  }
  // Chooses and inserts; the ref is invalid when there was no port.
  FlowRef open(std::uint32_t client, std::uint16_t port, std::uint32_t backend) {
    FlowHot<kIpv4> flow = wanted(client, port, backend);
    if (!snat.choose(std::span<const SnatAddress>(addresses), ownership, flows, counters, flow)) {
      return kNoFlow;
    }
    return flows.insert(flow, {.service_port = 2});
  }
  void count(FlowRef ref, std::uint32_t bytes) {
    expect_count(flows, ref.index());
    count_packet(flows.hot(ref.index()), ref.direction(), bytes, now);
  }
  void age(std::uint32_t ms) {
    now += ms;
    for (std::uint32_t i = 0; i < 200; ++i) {
      aging.run(flows, now, counters);
      now += 10;
    }
  }

  std::vector<std::byte> region;
  FlowTable<kIpv4> flows;
  LcoreCounters counters;
  Ownership ownership{1};
  SnatPorts snat{99, 0};
  Aging<kIpv4> aging;
  std::vector<SnatAddress> addresses{{*parse_ip("192.0.2.100"), 2000, 2010},
                                     {*parse_ip("192.0.2.101"), 2000, 2010}};
  std::uint32_t now = 1'000;
};

TEST(SnatPorts, StayInTheirRangeAndNeverMeetTowardsOneBackend) {
  World world;
  std::set<std::pair<std::uint32_t, std::uint16_t>> taken;
  for (std::uint16_t i = 0; i < 20; ++i) {
    const FlowRef ref = world.open(0x0a00'0001, static_cast<std::uint16_t>(1000 + i), 7);
    ASSERT_TRUE(ref.valid()) << i;
    const FlowHot<kIpv4>& flow = world.flows.hot(ref.index());
    EXPECT_GE(flow.snat_port.host(), 2000);
    EXPECT_LT(flow.snat_port.host(), 2010);
    EXPECT_TRUE(taken.emplace(flow.snat.value.raw, flow.snat_port.raw).second);
  }
  EXPECT_FALSE(world.open(0x0a00'0001, 5000, 7).valid()) << "two addresses of ten ports are taken";
  EXPECT_TRUE(world.open(0x0a00'0001, 5000, 8).valid()) << "towards another backend they are free";
}

TEST(SnatPorts, AClientKeepsOneAddressWhileItHasPorts) {
  World world;
  const FlowRef first = world.open(0x0a00'0001, 1000, 7);
  for (std::uint16_t i = 1; i < 10; ++i) {
    const FlowRef next = world.open(0x0a00'0001, static_cast<std::uint16_t>(1000 + i), 7);
    EXPECT_EQ(world.flows.hot(next.index()).snat, world.flows.hot(first.index()).snat);
  }
}

TEST(SnatPorts, AQuarantineIsBrokenOnlyWhenNothingElseIsFree) {
  World world;
  std::vector<FlowRef> open;
  for (std::uint16_t i = 0; i < 20; ++i) {
    open.push_back(world.open(0x0a00'0001, static_cast<std::uint16_t>(1000 + i), 7));
  }
  close_flow(world.flows, open[3].index(), world.now, world.counters);
  EXPECT_FALSE(world.open(0x0a00'0001, 5000, 7).valid()) << "closed this very turn";
  ++world.now;
  EXPECT_TRUE(world.open(0x0a00'0001, 5000, 7).valid());
  EXPECT_EQ(world.counters.snat_quarantine_broken.get(), 1U);
}

TEST(SnatPorts, WithoutAFreeOneThoseInTimeWaitAreForTheNextTurn) {
  World world;
  std::vector<FlowRef> open;
  for (std::uint16_t i = 0; i < 20; ++i) {
    open.push_back(world.open(0x0a00'0001, static_cast<std::uint16_t>(1000 + i), 7));
  }
  for (const int closed : {3, 4, 5}) {
    world.flows.set_state(open[closed].index(), FlowState::kTcpTimeWait);
  }
  world.now += kAtRestMs - 1;
  EXPECT_FALSE(world.open(0x0a00'0001, 5000, 7).valid());
  EXPECT_EQ(world.counters.services[2].flows_closed.get(), 0U) << "segments may be under way";
  ++world.now;
  EXPECT_FALSE(world.open(0x0a00'0001, 5000, 7).valid()) << "a packet of this turn may be theirs";
  EXPECT_FALSE(world.open(0x0a00'0001, 5001, 7).valid()) << "likewise";
  EXPECT_EQ(world.counters.services[2].flows_closed.get(), 3U);
  for (std::uint16_t i = 1; i <= 3; ++i) {
    ++world.now;
    EXPECT_TRUE(world.open(0x0a00'0001, static_cast<std::uint16_t>(5000 + i), 7).valid());
    EXPECT_EQ(world.counters.snat_quarantine_broken.get(), i);
  }
  ++world.now;
  EXPECT_FALSE(world.open(0x0a00'0001, 5004, 7).valid()) << "the others are established";
}

// Of 200 ports a probe sees 64, so it has to come by those again that were made ready.
TEST(SnatPorts, OnceExhaustedTheyAreUsedAgainInTheOrderInWhichTheirFlowsEnded) {
  World world;
  world.addresses = {{*parse_ip("192.0.2.100"), 2000, 2200}};
  std::uint16_t port = 1000;
  for (std::uint32_t i = 0; i < 200; ++i) {
    const FlowRef ref = world.open(0x0a00'0001, port++, 7);
    world.flows.set_state(ref.index(), FlowState::kTcpTimeWait);
  }
  world.now += kAtRestMs;
  EXPECT_FALSE(world.open(0x0a00'0001, port++, 7).valid());
  std::uint32_t last = 0;
  for (std::uint32_t i = 0; i < 200; ++i) {
    ++world.now;
    const FlowRef ref = world.open(0x0a00'0001, port++, 7);
    ASSERT_TRUE(ref.valid()) << i;
    const std::uint32_t used = world.flows.hot(ref.index()).snat_port.host() - 2000U;
    EXPECT_TRUE(i == 0 || used == (last + 1) % 200) << used << " after " << last;
    last = used;
  }
}

TEST(TcpState, AHandshakeFromBothSidesEstablishes) {
  TcpView view{FlowState::kTcpHalfOpen, 0};
  view = tcp_next(view, Direction::kFromClient, tcp_event(kTcpSyn));
  EXPECT_EQ(view.state, FlowState::kTcpHalfOpen);
  view = tcp_next(view, Direction::kFromClient, tcp_event(kTcpAck));
  EXPECT_EQ(view.state, FlowState::kTcpHalfOpen) << "nothing has answered yet";
  view = tcp_next(view, Direction::kFromBackend, tcp_event(kTcpSyn | kTcpAck));
  EXPECT_EQ(view.state, FlowState::kTcpHalfOpen);
  view = tcp_next(view, Direction::kFromClient, tcp_event(kTcpAck));
  EXPECT_EQ(view.state, FlowState::kTcpEstablished);
}

TEST(TcpState, AFinFromEitherSideStartsTheShortTimerAndARstTheShortest) {
  const TcpView open{FlowState::kTcpEstablished, kFlowReplied};
  for (const Direction from : {Direction::kFromClient, Direction::kFromBackend}) {
    EXPECT_EQ(tcp_next(open, from, tcp_event(kTcpFin | kTcpAck)).state, FlowState::kTcpClosing);
    EXPECT_EQ(tcp_next(open, from, tcp_event(kTcpRst)).state, FlowState::kTcpReset);
    EXPECT_EQ(tcp_next(open, from, tcp_event(kTcpRst | kTcpSyn)).state, FlowState::kTcpReset);
  }
  for (const Direction from : {Direction::kFromClient, Direction::kFromBackend}) {
    const TcpView half_closed = tcp_next(open, from, TcpEvent::kFin);
    EXPECT_EQ(tcp_next(half_closed, from, TcpEvent::kFin), half_closed) << "said again";
  }
  const TcpView reset{FlowState::kTcpReset, 0};
  EXPECT_EQ(tcp_next(reset, Direction::kFromClient, TcpEvent::kFin).state, FlowState::kTcpReset);
}

TEST(TcpState, FinsFromBothSidesAreTimeWaitFromWhichNoSegmentLeads) {
  for (const Direction first : {Direction::kFromClient, Direction::kFromBackend}) {
    const Direction second =
        first == Direction::kFromClient ? Direction::kFromBackend : Direction::kFromClient;
    const TcpView open{FlowState::kTcpEstablished, kFlowReplied};
    const TcpView over =
        tcp_next(tcp_next(open, first, TcpEvent::kFin), second, tcp_event(kTcpFin | kTcpAck));
    EXPECT_EQ(over.state, FlowState::kTcpTimeWait);
    for (std::size_t event = 0; event < static_cast<std::size_t>(TcpEvent::kCount); ++event) {
      EXPECT_EQ(tcp_next(over, first, static_cast<TcpEvent>(event)), over) << event;
      EXPECT_EQ(tcp_next(over, second, static_cast<TcpEvent>(event)), over) << event;
    }
  }
}

TEST(TcpState, ASimultaneousOpenEstablishes) {
  TcpView view{FlowState::kTcpHalfOpen, 0};
  view = tcp_next(view, Direction::kFromBackend, tcp_event(kTcpSyn));
  EXPECT_EQ(view.state, FlowState::kTcpHalfOpen);
  view = tcp_next(view, Direction::kFromClient, tcp_event(kTcpSyn));
  EXPECT_EQ(view.state, FlowState::kTcpHalfOpen) << "said before it heard";
  view = tcp_next(view, Direction::kFromClient, tcp_event(kTcpSyn | kTcpAck));
  EXPECT_EQ(view.state, FlowState::kTcpEstablished);
}

TEST(TcpState, AFlowThatBothSidesGoOnWithAfterARstIsEstablishedAgain) {
  const TcpEvent segment = tcp_event(kTcpAck);
  TcpView view = tcp_next({FlowState::kTcpEstablished, kFlowReplied}, Direction::kFromClient,
                          tcp_event(kTcpRst));
  view = tcp_next(view, Direction::kFromBackend, segment);
  view = tcp_next(view, Direction::kFromBackend, segment);
  EXPECT_EQ(view.state, FlowState::kTcpReset) << "these were under way";
  view = tcp_next(view, Direction::kFromBackend, tcp_event(kTcpRst));
  view = tcp_next(view, Direction::kFromClient, segment);
  EXPECT_EQ(view.state, FlowState::kTcpReset) << "reset again";
  view = tcp_next(view, Direction::kFromBackend, segment);
  EXPECT_EQ(view, (TcpView{FlowState::kTcpEstablished, kFlowReplied}));
}

TEST(TcpState, NothingBringsAFlowBackFromQuarantine) {
  const TcpView closed{FlowState::kQuarantine, kFlowReplied};
  for (std::size_t event = 0; event < static_cast<std::size_t>(TcpEvent::kCount); ++event) {
    for (const Direction from : {Direction::kFromClient, Direction::kFromBackend}) {
      EXPECT_EQ(tcp_next(closed, from, static_cast<TcpEvent>(event)), closed) << event;
    }
  }
}

TEST(TcpState, OnlySegmentsThatCanChangeSomethingAreLookedAt) {
  EXPECT_FALSE(tcp_may_change(FlowState::kTcpEstablished, kTcpAck));
  EXPECT_TRUE(tcp_may_change(FlowState::kTcpEstablished, kTcpAck | kTcpFin));
  EXPECT_TRUE(tcp_may_change(FlowState::kTcpHalfOpen, kTcpAck));
}

TEST(Aging, EachStateLeavesAfterItsOwnTimeout) {
  struct Row {
    FlowState state;
    std::uint32_t timeout_ms;
  };
  for (const Row& row :
       {Row{FlowState::kUdp, 120'000}, Row{FlowState::kTcpHalfOpen, 240'000},
        Row{FlowState::kTcpEstablished, 7'440'000}, Row{FlowState::kTcpClosing, 240'000},
        Row{FlowState::kTcpTimeWait, 60'000}, Row{FlowState::kTcpReset, 10'000}}) {
    SCOPED_TRACE(facts_of(row.state).name);
    World world;
    const FlowRef ref = world.open(0x0a00'0001, 1000, 7);
    const auto key = world.flows.hot(ref.index()).client_key();
    world.flows.set_state(ref.index(), row.state);
    world.age(row.timeout_ms - 5'000);
    EXPECT_TRUE(world.flows.find(key).valid()) << "not a second too early";
    world.age(5'000);
    EXPECT_FALSE(world.flows.find(key).valid());
    EXPECT_EQ(world.counters.services[2].flows_closed.get(), 1U);
    EXPECT_EQ(world.counters.bindings[1].flows_closed.get(), 1U);
  }
}

TEST(Aging, ATcpTupleIsFreeAMinuteAfterItsFlowAndAUdpTupleAtOnce) {
  World world;
  const FlowRef ref = world.open(0x0a00'0001, 1000, 7);
  world.flows.hot(ref.index()).state = FlowState::kTcpReset;
  world.age(10'000);
  EXPECT_EQ(world.flows.size(), 1U);
  world.age(55'000);
  EXPECT_EQ(world.flows.size(), 1U) << "still in quarantine";
  world.age(5'000);
  EXPECT_EQ(world.flows.size(), 0U);
  const FlowRef closed = world.open(0x0a00'0001, 1000, 7);
  world.flows.set_state(closed.index(), FlowState::kTcpTimeWait);
  world.age(60'000);
  EXPECT_EQ(world.flows.size(), 0U) << "has had its minute";
  const FlowRef udp = world.open(0x0a00'0001, 1001, 7);
  world.flows.hot(udp.index()).state = FlowState::kUdp;
  world.age(120'000);
  EXPECT_EQ(world.flows.size(), 0U);
}

// --- room in a table that is nearly full: of 64 entries the last eight

struct Nearly : World {
  Nearly() : World(64) {
    addresses = {{*parse_ip("192.0.2.100"), 1024, 65'535}};
    for (std::uint16_t i = 0; i < 56; ++i) {
      refs.push_back(open(0x0a00'0001, static_cast<std::uint16_t>(1000 + i), 7));
    }
  }
  // One more flow; a turn later.
  bool one_more() {
    ++now;
    return make_room(flows, now, counters) && open(0x0a00'0001, port++, 7).valid();
  }
  FlowState state(std::size_t nth) { return flows.hot(refs[nth].index()).state; }

  std::vector<FlowRef> refs;
  std::uint16_t port = 3000;
};

TEST(MakeRoom, AFullTableDropsNewFlowsRatherThanEstablishedOnes) {
  Nearly world;
  for (int i = 0; i < 8; ++i) {
    ASSERT_TRUE(world.one_more());
  }
  EXPECT_FALSE(world.one_more());
  EXPECT_EQ(world.counters.ended_evicted.get() + world.counters.half_open_evicted.get(), 0U);
  EXPECT_EQ(world.flows.size(), 64U);
}

TEST(MakeRoom, WhoEndedFirstGoesFirstAndNobodyIsTurnedAway) {
  Nearly world;
  for (const std::size_t nth : {9U, 2U, 30U}) {
    world.flows.set_state(world.refs[nth].index(), FlowState::kTcpTimeWait);
  }
  close_flow(world.flows, world.refs[5].index(), world.now, world.counters);
  world.now += kAtRestMs;
  const auto first = world.flows.hot(world.refs[9].index()).client_key();
  const auto second = world.flows.hot(world.refs[2].index()).client_key();
  ASSERT_TRUE(world.one_more());
  EXPECT_FALSE(world.flows.find(first).valid());
  EXPECT_TRUE(world.flows.find(second).valid());
  for (int i = 0; i < 11; ++i) {
    ASSERT_TRUE(world.one_more()) << i;
  }
  EXPECT_FALSE(world.one_more()) << "12 were left or could be had";
  EXPECT_EQ(world.counters.ended_evicted.get(), 4U);
  EXPECT_EQ(world.counters.services[2].flows_closed.get(), 4U) << "each of them once";
}

TEST(MakeRoom, WhatIsEvictedIsFreedInALaterTurn) {
  Nearly world;
  for (int i = 0; i < 7; ++i) {
    ASSERT_TRUE(world.one_more());
  }
  world.flows.set_state(world.refs[0].index(), FlowState::kTcpTimeWait);
  world.now += kAtRestMs;
  ASSERT_TRUE(world.one_more());
  ASSERT_EQ(world.flows.size(), 64U);
  EXPECT_EQ(world.state(0), FlowState::kQuarantine);
  EXPECT_FALSE(make_room(world.flows, world.now, world.counters));
  EXPECT_TRUE(world.one_more());
}

TEST(MakeRoom, WithoutEndedFlowsAHalfOpenOneGoesThatHasRestedForASecond) {
  Nearly world;
  world.flows.set_state(world.refs[3].index(), FlowState::kTcpHalfOpen);
  ASSERT_TRUE(world.one_more());
  EXPECT_EQ(world.state(3), FlowState::kTcpHalfOpen) << "its handshake may be under way";
  world.now += kAtRestMs;
  ASSERT_TRUE(world.one_more());
  EXPECT_EQ(world.state(3), FlowState::kQuarantine);
  EXPECT_EQ(world.counters.half_open_evicted.get(), 1U);
}

TEST(MakeRoom, WhoKeepsAnEndedFlowGoingProtectsNoneBehindIt) {
  Nearly world;
  for (const std::size_t nth : {1U, 2U, 3U, 4U, 5U}) {
    world.flows.set_state(world.refs[nth].index(), FlowState::kTcpTimeWait);
  }
  world.now += kAtRestMs;
  for (const std::size_t nth : {1U, 2U, 3U}) {
    world.flows.hot(world.refs[nth].index()).last_seen_ms = world.now;
  }
  ASSERT_TRUE(world.one_more());
  EXPECT_EQ(world.state(4), FlowState::kQuarantine);
  for (const std::size_t nth : {1U, 2U, 3U, 5U}) {
    EXPECT_EQ(world.state(nth), FlowState::kTcpTimeWait) << nth;
  }
}

TEST(Aging, CountsReachServiceAndBindingWithinTwoSeconds) {
  World world(100'000);
  std::vector<FlowRef> refs;
  world.addresses = {{*parse_ip("192.0.2.100"), 1024, 65'536}};
  for (std::uint16_t i = 0; i < 5'000; ++i) {
    refs.push_back(world.open(0x0a00'0001, static_cast<std::uint16_t>(1000 + i), 7 + i % 5));
  }
  for (const FlowRef ref : refs) {
    world.count(ref, 60);
    world.count(ref, 100);
  }
  for (std::uint32_t ms = 0; ms < 2'000; ++ms) {
    world.aging.run(world.flows, ++world.now, world.counters);
  }
  EXPECT_EQ(world.counters.services[2].packets_in.get(), 10'000U);
  EXPECT_EQ(world.counters.services[2].bytes_in.get(), 500'000U);
  EXPECT_EQ(world.counters.bindings[1].packets_in.get(), 10'000U);
}

TEST(Aging, ASliceIsBoundedAndWhatIsDueIsCaughtUpLater) {
  World world(100'000);
  world.addresses = {{*parse_ip("192.0.2.100"), 1024, 65'536}};
  for (std::uint16_t i = 0; i < 1'000; ++i) {
    world.open(0x0a00'0001, static_cast<std::uint16_t>(1000 + i), 7);
  }
  for (std::uint32_t i = 0; i < world.flows.high_water(); ++i) {
    world.count(FlowRef::make(i, Direction::kFromClient), 50);
  }
  world.now += 1'000;
  world.aging.run(world.flows, world.now, world.counters);
  EXPECT_EQ(world.counters.services[2].packets_in.get(), 0U) << "found, and asked for";
  std::uint64_t before = 0;
  for (std::uint32_t turns = 1; world.aging.behind(); ++turns) {
    ASSERT_LE(turns, 17U);
    world.aging.run(world.flows, world.now, world.counters);
    const std::uint64_t folded = world.counters.services[2].packets_in.get();
    EXPECT_LE(folded - before, Aging<kIpv4>::kSlice);
    before = folded;
  }
  EXPECT_EQ(before, 1'000U);
}

// With two flows in a word, both of which have gone before their turn: one for good, one for
// another flow that comes to lie there.
TEST(Aging, FoldsNothingOfAFlowThatHasGoneSinceItCounted) {
  World world;
  const FlowRef first = world.open(0x0a00'0001, 1000, 7);
  const FlowRef second = world.open(0x0a00'0001, 1001, 7);
  world.age(1'000);
  world.count(first, 50);
  world.count(second, 50);
  world.now += 1'000;
  world.aging.run(world.flows, world.now, world.counters);  // finds both
  world.flows.erase(second.index());
  world.flows.erase(first.index());
  const FlowRef third = world.open(0x0a00'0001, 1002, 7);
  EXPECT_EQ(third.index(), first.index());
  world.age(1'000);
  EXPECT_EQ(world.counters.services[2].packets_in.get(), 0U);
}

TEST(Aging, OfATableThatIsLargeReachesEachEntryAtTheRateItMay) {
  World world(2 * Aging<kIpv4>::kEntriesPerSecond);
  world.now += 120'000;
  world.aging.run(world.flows, world.now, world.counters);
  FlowHot<kIpv4> flow = world.wanted(0, 1, 7);
  flow.state = FlowState::kUdp;
  flow.last_seen_ms = world.now - 120'000;
  for (std::uint32_t i = 0; i < world.flows.capacity(); ++i) {
    flow.client = flow.snat = Ipv4Address{Be32::from_host(i)};
    ASSERT_TRUE(world.flows.insert(flow, {.service_port = 2}).valid());
  }
  const auto size_after = [&](std::uint32_t ms) {
    for (const std::uint32_t end = world.now + ms; world.now != end; ++world.now) {
      do {
        world.aging.run(world.flows, world.now, world.counters);
      } while (world.aging.behind());
    }
    return world.flows.size();
  };
  EXPECT_NEAR(size_after(1'000), Aging<kIpv4>::kEntriesPerSecond, 10'000);
  EXPECT_EQ(size_after(1'001), 0U);
}

}  // namespace
}  // namespace sluice
