// SPDX-License-Identifier: Apache-2.0
// A worker turn by turn: two ports whose wires are rings, a small gateway, and a kernel that is the
// other end of the punt rings.
#include "dataplane/lcore/worker.h"

#include "tests/unit/dataplane/lcore/gateway.h"

#include <rte_mbuf.h>
#include <rte_ring.h>
#include <rte_ring_elem.h>

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace sluice::testing {
namespace {

using namespace std::chrono_literals;

class WorkerTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    enter_own_network();
    start_eal();
  }
};

class WorkerOfBothFamilies : public WorkerTest, public ::testing::WithParamInterface<Family> {};

TEST_P(WorkerOfBothFamilies, CarriesARequestToABackendAndTheAnswerBack) {
  Gateway gateway({.family = GetParam()});
  gateway.arrive(gateway.wan, gateway.udp());
  gateway.turns(1);
  const auto request = gateway.lan.sent();
  ASSERT_TRUE(request);
  EXPECT_EQ(read_frame(*request).fault, "");
  EXPECT_EQ(read_frame(*request).source, gateway.world.snat);
  gateway.arrive(gateway.lan, make_frame(gateway.world.answer_to(*request)));
  gateway.turns(1);
  const auto answer = gateway.wan.sent();
  ASSERT_TRUE(answer);
  const FrameFacts facts = read_frame(*answer);
  EXPECT_EQ(facts.fault, "");
  EXPECT_EQ(facts.source, gateway.world.vip);
  EXPECT_EQ(facts.destination, gateway.world.client);
  EXPECT_EQ(facts.destination_port, 4000);
  EXPECT_EQ(gateway.all_drops(), 0U);
  EXPECT_EQ(gateway.counters.packets.get(), 2U);
}

TEST_P(WorkerOfBothFamilies, PacketsThatWaitForANeighbourAreNotLost) {
  Gateway gateway({.family = GetParam()});
  gateway.set_backends(NextHop::State::kUnresolved);
  gateway.arrive(gateway.wan, gateway.udp(), 20);
  gateway.turns(2);
  EXPECT_TRUE(gateway.lan.all_sent().empty());
  EXPECT_EQ(gateway.counters.held_packets.get(), 20U);
  WantedNeighbour wanted;
  ASSERT_EQ(rte_ring_dequeue_elem(gateway.punt.wanted(), &wanted, sizeof(wanted)), 0);
  EXPECT_EQ(wanted.port, World::kLan);
  gateway.set_backends(NextHop::State::kReachable);
  gateway.turns(1);
  const std::vector<Frame> frames = gateway.lan.all_sent();
  ASSERT_EQ(frames.size(), 20U);
  for (const Frame& frame : frames) {
    const FrameFacts facts = read_frame(frame);
    EXPECT_EQ(facts.fault, "");
    EXPECT_EQ(facts.destination, wanted.address);
    EXPECT_EQ(facts.to_mac.bytes[3], 7);
  }
  EXPECT_EQ(gateway.counters.held_packets.get(), 0U);
  EXPECT_EQ(gateway.all_drops(), 0U);
}

TEST_P(WorkerOfBothFamilies, TheHostReachesTheVipThroughItsOwnGateway) {
  Gateway gateway({.family = GetParam()});
  FrameSpec spec = gateway.world.from_client(kProtocolUdp, 4000);
  spec.source = gateway.world.wan_host;
  gateway.from_kernel(make_frame(spec));
  gateway.turns(1);
  const auto request = gateway.lan.sent();
  ASSERT_TRUE(request);
  gateway.arrive(gateway.lan, make_frame(gateway.world.answer_to(*request)));
  gateway.turns(1);
  const auto answer = gateway.to_kernel();
  ASSERT_TRUE(answer);
  EXPECT_EQ(read_frame(*answer).fault, "");
  EXPECT_EQ(read_frame(*answer).source, gateway.world.vip);
  EXPECT_TRUE(gateway.wan.all_sent().empty());
}

INSTANTIATE_TEST_SUITE_P(Families, WorkerOfBothFamilies,
                         ::testing::Values(Family::kIpv4, Family::kIpv6), [](const auto& made) {
                           return made.param == Family::kIpv4 ? "Ipv4" : "Ipv6";
                         });

TEST_F(WorkerTest, MoreThanABurstLeavesInTheOrderItCame) {
  Gateway gateway;
  for (std::uint8_t i = 0; i < 200; ++i) {
    FrameSpec spec = gateway.world.from_client(kProtocolUdp, 4000);
    spec.payload = 20U + i;
    gateway.arrive(gateway.wan, make_frame(spec));
  }
  gateway.turns(4);
  const std::vector<Frame> frames = gateway.lan.all_sent();
  ASSERT_EQ(frames.size(), 200U);
  for (std::size_t i = 0; i < frames.size(); ++i) {
    EXPECT_EQ(read_frame(frames[i]).payload.size(), 20 + i);
  }
}

TEST_F(WorkerTest, WhatIsForTheHostGoesToTheKernelAndWhatTheKernelSendsToTheWire) {
  Gateway gateway;
  gateway.arrive(gateway.wan, gateway.to_host());
  const Frame reply =
      make_arp_request(gateway.world.wan_mac, gateway.world.wan_host, gateway.world.router);
  gateway.from_kernel(reply);
  gateway.turns(1);
  EXPECT_EQ(gateway.to_kernel(), gateway.to_host());
  EXPECT_EQ(gateway.wan.sent(), reply);
}

TEST_F(WorkerTest, AnnouncementsLeaveAsTheyAre) {
  Gateway gateway;
  // One that the pipeline would drop or punt.
  const Frame frame = make_arp_request(gateway.world.wan_mac, gateway.world.vip, gateway.world.vip);
  ASSERT_EQ(rte_ring_enqueue(gateway.punt.port(1).announcements.get(), gateway.pool.make(frame)),
            0);
  gateway.turns(1);
  EXPECT_EQ(gateway.lan.sent(), frame);
  EXPECT_EQ(gateway.all_drops(), 0U);
}

TEST_F(WorkerTest, PacketsBeyondTheHoldQueueAreDroppedAsHoldFull) {
  Gateway gateway;
  gateway.set_backends(NextHop::State::kUnresolved);
  gateway.arrive(gateway.wan, gateway.udp(), HoldQueue::kPerNeighbour + 10);
  gateway.turns(2);
  EXPECT_EQ(gateway.drops(Drop::kHoldFull), 10U);
  EXPECT_EQ(gateway.counters.held_packets.get(), HoldQueue::kPerNeighbour);
}

TEST_F(WorkerTest, PacketsWhoseNeighbourNeverAnswersAreDroppedAsHoldExpired) {
  Gateway gateway;
  gateway.set_backends(NextHop::State::kUnresolved);
  gateway.arrive(gateway.wan, gateway.udp(), 2);
  gateway.turns(1);
  std::this_thread::sleep_for(std::chrono::milliseconds(HoldQueue::kPatienceMs + 100));
  gateway.turns(1);
  EXPECT_EQ(gateway.drops(Drop::kHoldExpired), 2U);
  EXPECT_EQ(gateway.counters.held_packets.get(), 0U);
}

TEST_F(WorkerTest, AFloodOfArpIsPuntLimitedAndTakesNothingFromTheHostsTraffic) {
  Gateway gateway;
  gateway.arrive(gateway.wan,
                 make_arp_request(gateway.world.client_mac, gateway.world.client_on_link,
                                  gateway.world.wan_host),
                 1000);
  gateway.turns(16);
  const std::uint64_t limited = gateway.drops(Drop::kPuntLimited);
  EXPECT_GT(limited, 500U);
  EXPECT_EQ(limited + rte_ring_count(gateway.punt.port(0).to_kernel.get()), 1000U);
  gateway.arrive(gateway.wan, gateway.to_host());
  gateway.turns(1);
  EXPECT_EQ(gateway.drops(Drop::kPuntLimited), limited);
}

TEST_F(WorkerTest, WhatDoesNotFitIntoTheRingToTheKernelIsDroppedAsPuntFull) {
  Gateway gateway;
  const unsigned room = rte_ring_get_capacity(gateway.punt.port(0).to_kernel.get());
  unsigned arrived = 0;
  for (; arrived < room + 37; ++arrived) {
    gateway.arrive(gateway.wan, gateway.to_host());
    if (arrived % 64 == 63) {
      gateway.turns(1);
    }
  }
  gateway.turns(2);
  EXPECT_EQ(gateway.drops(Drop::kPuntFull), 37U);
  EXPECT_EQ(gateway.drops(Drop::kPuntLimited), 0U);
}

TEST_F(WorkerTest, WhatTheDeviceDoesNotTakeIsDroppedAsTransmitFull) {
  Gateway gateway({.transmit_room = 8});
  gateway.arrive(gateway.wan, gateway.udp(), 30);
  gateway.turns(1);
  EXPECT_EQ(gateway.drops(Drop::kTransmitFull), 22U);
  EXPECT_EQ(gateway.worker->transmit_dropped(World::kLan), 22U);
  EXPECT_EQ(gateway.worker->transmit_dropped(World::kWan), 0U);
  EXPECT_EQ(gateway.lan.all_sent().size(), 8U);
}

TEST_F(WorkerTest, WithoutATwinWhatIsForTheHostIsTransitAndDropped) {
  Gateway gateway({.world = {.twin = false}, .twin = false});
  gateway.arrive(gateway.wan, gateway.to_host());
  gateway.turns(1);
  EXPECT_EQ(gateway.drops(Drop::kTransit), 1U);
}

TEST_F(WorkerTest, DropsOfThePipelineAreCountedOnceAndFreed) {
  Gateway gateway;
  Frame frame = gateway.udp();
  frame[24] ^= 1U;
  gateway.arrive(gateway.wan, frame, 70);
  gateway.turns(2);
  EXPECT_EQ(gateway.drops(Drop::kIpv4Checksum), 70U);
  EXPECT_EQ(gateway.pool.in_use(), 0U);
}

TEST_F(WorkerTest, CommandsAreAnsweredOutOfItsOwnTables) {
  Gateway gateway;
  for (std::uint16_t port = 1; port <= 10; ++port) {
    gateway.arrive(gateway.wan, gateway.udp(port));
  }
  gateway.turns(1);
  ListFlows all({}, 100, 3);
  ListFlows some({}, 4, 3);
  ExplainPacket explain({{gateway.world.client, 5}, {gateway.world.vip, 53}, kProtocolUdp, 0}, 3);
  ASSERT_TRUE(gateway.worker->submit(&all));
  ASSERT_TRUE(gateway.worker->submit(&some));
  ASSERT_TRUE(gateway.worker->submit(&explain));
  EXPECT_FALSE(all.done());
  gateway.turns(20);
  ASSERT_TRUE(all.done() && some.done() && explain.done());
  EXPECT_EQ(all.rows().size(), 10U);
  EXPECT_EQ(some.rows().size(), 4U);
  EXPECT_TRUE(explain.answer().live_flow);
  EXPECT_EQ(explain.answer().lcore, 3U);
  EXPECT_EQ(gateway.counters.flows_ipv4.get(), 10U);
}

TEST_F(WorkerTest, FlowsAreDeletedInSlicesWhileTrafficGoesOn) {
  Gateway gateway;
  for (std::uint16_t port = 1; port <= 30; ++port) {
    gateway.arrive(gateway.wan, gateway.udp(port));
  }
  gateway.turns(1);
  FlowFilter strangers;
  strangers.client = gateway.world.stranger;
  DeleteFlows none(strangers);
  DeleteFlows all(FlowFilter{});
  ASSERT_TRUE(gateway.worker->submit(&none));
  ASSERT_TRUE(gateway.worker->submit(&all));
  gateway.turns(20);
  ASSERT_TRUE(none.done() && all.done());
  EXPECT_EQ(none.deleted(), 0U);
  EXPECT_EQ(all.deleted(), 30U);
  EXPECT_EQ(gateway.counters.flows_ipv4.get(), 0U);
  gateway.arrive(gateway.wan, gateway.udp(1));
  gateway.turns(1);
  EXPECT_EQ(gateway.counters.flows_ipv4.get(), 1U) << "the next packet opens a flow as ever";
}

TEST_F(WorkerTest, ItsCommandRingIsBounded) {
  Gateway gateway;
  std::vector<std::unique_ptr<ListFlows>> commands;
  bool taken = true;
  while (taken && commands.size() < 1000) {
    commands.push_back(std::make_unique<ListFlows>(FlowFilter{}, 1, 0));
    taken = gateway.worker->submit(commands.back().get());
  }
  EXPECT_LT(commands.size(), 1000U);
  gateway.turns(2000);
  commands.pop_back();
  for (const auto& command : commands) {
    EXPECT_TRUE(command->done());
  }
}

TEST_F(WorkerTest, ItTellsTheEpochItHasSeen) {
  Gateway gateway;
  gateway.turns(1);
  EXPECT_EQ(gateway.counters.epoch_seen.get(), gateway.world.snapshot.epoch);
  gateway.set_backends(NextHop::State::kReachable);
  gateway.turns(1);
  EXPECT_EQ(gateway.counters.epoch_seen.get(), gateway.world.snapshot.epoch);
}

// Idle or not, it takes what is published, answers, forwards, and stops when told.
class WorkerOnItsOwnThread : public WorkerTest,
                             public ::testing::WithParamInterface<std::uint32_t> {};

TEST_P(WorkerOnItsOwnThread, ConfirmsForwardsAnswersAndStops) {
  Gateway gateway({.idle_sleep_us = GetParam()});
  std::thread thread([&] { gateway.worker->run(); });
  const auto within = [](const auto& condition) {
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    while (std::chrono::steady_clock::now() < deadline) {
      if (condition()) {
        return true;
      }
      std::this_thread::sleep_for(100us);
    }
    return false;
  };
  EXPECT_TRUE(within([&] { return gateway.counters.idle_turns.get() > 200; }));
  for (int i = 0; i < 20; ++i) {
    ++gateway.world.snapshot.epoch;
    const std::uint64_t ticket = gateway.publish();
    EXPECT_TRUE(within([&] { return gateway.rcu.confirmed(ticket); }));
  }
  gateway.arrive(gateway.wan, gateway.udp());
  EXPECT_TRUE(within([&] { return gateway.lan.sent().has_value(); }));
  ListFlows flows({}, 10, 0);
  EXPECT_TRUE(gateway.worker->submit(&flows));
  EXPECT_TRUE(within([&] { return flows.done(); }));
  EXPECT_EQ(flows.rows().size(), 1U);
  gateway.worker->stop();
  thread.join();
}

INSTANTIATE_TEST_SUITE_P(IdleSleepUs, WorkerOnItsOwnThread, ::testing::Values(0, 100));

TEST_F(WorkerTest, AnIdleOneLeavesTheCpuToOthers) {
  Gateway gateway({.idle_sleep_us = 100});
  std::thread thread([&] { gateway.worker->run(); });
  clockid_t clock = 0;
  ASSERT_EQ(pthread_getcpuclockid(thread.native_handle(), &clock), 0);
  std::this_thread::sleep_for(500ms);
  timespec used{};
  clock_gettime(clock, &used);
  gateway.worker->stop();
  thread.join();
  EXPECT_LT(used.tv_sec * 1000 + used.tv_nsec / 1'000'000, 250) << "ms of 500";
}

// Also when it waits, after a turn that aged something and had no packets.
TEST_F(WorkerTest, TellsHowBusyItIs) {
  Gateway gateway({.idle_sleep_us = 100});
  const auto share_with = [&](unsigned packets) {
    const auto end = std::chrono::steady_clock::now() + 2100ms;  // a whole window, wherever it began
    while (std::chrono::steady_clock::now() < end) {
      gateway.arrive(gateway.wan, gateway.udp(), packets);
      gateway.turns(1);
      static_cast<void>(gateway.lan.all_sent());
    }
    return gateway.counters.busy_permille.get();
  };
  EXPECT_GT(share_with(1), 900U);
  EXPECT_LT(share_with(0), 100U);
}

TEST(PuntClassTest, NeighboursTheHostAndTransitAreToldApart) {
  World world(Family::kIpv6, {.transit_to_kernel = true});
  const auto class_of = [&](const Frame& frame) {
    alignas(64) std::array<std::uint8_t, 2048> room{};
    std::copy(frame.begin(), frame.end(), room.begin());
    rte_mbuf mbuf{};
    mbuf.buf_addr = room.data();
    mbuf.buf_len = room.size();
    mbuf.nb_segs = 1;
    mbuf.data_len = static_cast<std::uint16_t>(frame.size());
    mbuf.pkt_len = mbuf.data_len;
    auto burst = std::make_unique<Burst>();
    burst->add(&mbuf, World::kWan, false);
    run_pipeline(*burst, world.snapshot, world.state);
    EXPECT_EQ(burst->packets[0].verdict, Verdict::kPunt);
    return punt_class(burst->packets[0], world.snapshot);
  };
  FrameSpec spec = world.from_client(kProtocolTcp, 179);
  EXPECT_EQ(class_of(make_solicitation(world.client_mac, world.client_on_link, world.wan_host)),
            PuntClass::kNeighbour);
  spec.destination = world.wan_host;
  EXPECT_EQ(class_of(make_frame(spec)), PuntClass::kHost);
  EXPECT_EQ(class_of(make_icmp(spec, 128)), PuntClass::kHost);
  spec.destination = *parse_ip("fe80::1");
  EXPECT_EQ(class_of(make_frame(spec)), PuntClass::kHost);
  spec.destination = world.stranger;
  EXPECT_EQ(class_of(make_frame(spec)), PuntClass::kTransit);
  world.delete_services();
  spec.destination = world.vip;
  EXPECT_EQ(class_of(make_frame(spec)), PuntClass::kTransit) << "no VIP any more";
}

}  // namespace
}  // namespace sluice::testing
