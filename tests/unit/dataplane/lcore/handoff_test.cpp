// SPDX-License-Identifier: Apache-2.0
// Several workers, turn by turn in the test's thread or each in its own, over ports whose queues
// get packets without regard to whose they are.
#include "dataplane/lcore/handoff.h"

#include "dataplane/lcore/worker.h"
#include "tests/support/world.h"
#include "tests/unit/dataplane/lcore/environment.h"

#include <rte_mbuf.h>

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <thread>

namespace sluice::testing {
namespace {

constexpr unsigned kLcores = 2;

class Gateway {
 public:
  explicit Gateway(Family family)
      : world(family, {.lcores = kLcores}),
        wan(pool.get(), 4096, kLcores),
        lan(pool.get(), 4096, kLcores),
        punt(pool.get()),
        rcu(kLcores),
        handoff(kLcores) {
    punt.add_port(nullptr, world.wan_mac);
    punt.add_port(nullptr, world.lan_mac);
    for (unsigned i = 0; i < kLcores; ++i) {
      counters.push_back(std::make_unique<LcoreCounters>(16, 64));
      WorkerContext context;
      context.number = i;
      context.ports = {{wan.id(), 0}, {lan.id(), 0}};
      context.rcu = &rcu;
      context.punt = &punt;
      context.handoff = &handoff;
      context.hold_pool = hold_pool.get();
      context.fragment_pool = fragment_pool.get();
      context.counters = counters.back().get();
      context.hugepages = false;
      context.flows_ipv4 = 4096;
      context.flows_ipv6 = 4096;
      workers.push_back(std::make_unique<Worker>(context));
    }
    publish();
  }
  void publish() { rcu.publish(std::make_shared<Snapshot>(world.snapshot)); }
  // Each worker `count` turns, one after the other.
  void turns(unsigned count) {
    for (unsigned turn = 0; turn < count; ++turn) {
      for (unsigned i = 0; i < kLcores; ++i) {
        turn_of(i);
      }
    }
  }
  void turn_of(unsigned i) {
    rcu.join(i);
    workers[i]->turn();
    rcu.leave(i);
  }
  [[nodiscard]] std::uint8_t owner_of(std::uint16_t client_port) const {
    return world.snapshot.ownership->of_side(world.client, client_port);
  }
  [[nodiscard]] Frame udp(std::uint16_t client_port) const {
    return make_frame(world.from_client(kProtocolUdp, client_port));
  }
  [[nodiscard]] std::uint64_t drops(unsigned lcore, Drop reason) const {
    return counters[lcore]->drops[static_cast<std::size_t>(reason)].get();
  }
  // The first client port from 4000 on that belongs to this lcore.
  [[nodiscard]] std::uint16_t port_of(std::uint8_t lcore) const {
    std::uint16_t port = 4000;
    while (owner_of(port) != lcore) {
      ++port;
    }
    return port;
  }

  World world;
  TestPool pool{8191};
  TestPool hold_pool{1023};
  TestPool fragment_pool{2047};
  RingPort wan;
  RingPort lan;
  Punt punt;
  std::vector<std::unique_ptr<LcoreCounters>> counters;
  SnapshotRcu rcu;
  Handoff handoff;
  std::vector<std::unique_ptr<Worker>> workers;
};

class HandoffTest : public ::testing::TestWithParam<Family> {
 protected:
  static void SetUpTestSuite() {
    enter_own_network();
    start_eal();
  }
};
INSTANTIATE_TEST_SUITE_P(BothFamilies, HandoffTest,
                         ::testing::Values(Family::kIpv4, Family::kIpv6));

TEST_P(HandoffTest, AFlowIsOneWhicheverQueueItsPacketsComeTo) {
  Gateway gateway(GetParam());
  for (std::uint16_t client = 4000; client < 4032; ++client) {
    for (const int queue : {0, 1, 1, 0}) {
      gateway.wan.arrive(gateway.pool.make(gateway.udp(client)), static_cast<std::uint16_t>(queue));
    }
  }
  gateway.turns(8);
  std::map<std::uint16_t, unsigned> requests;  // by SNAT port
  for (const Frame& frame : gateway.lan.all_sent()) {
    EXPECT_EQ(read_frame(frame).fault, "");
    ++requests[read_frame(frame).source_port];
  }
  EXPECT_EQ(requests.size(), 32U);
  for (const auto& [port, count] : requests) {
    EXPECT_EQ(count, 4U) << port;
  }
  EXPECT_GT(gateway.counters[0]->handed_over.get(), 0U);
  EXPECT_GT(gateway.counters[1]->handed_over.get(), 0U);
}

TEST_P(HandoffTest, AnAnswerFindsItsFlowFromAnyQueue) {
  Gateway gateway(GetParam());
  std::set<std::uint16_t> clients;
  for (std::uint16_t client = 4000; client < 4032; ++client) {
    gateway.wan.arrive(gateway.pool.make(gateway.udp(client)),
                       static_cast<std::uint16_t>(client % kLcores));
  }
  gateway.turns(4);
  for (const Frame& request : gateway.lan.all_sent()) {
    const Frame answer = make_frame(gateway.world.answer_to(request));
    gateway.lan.arrive(gateway.pool.make(answer), 0);
    gateway.lan.arrive(gateway.pool.make(answer), 1);
  }
  gateway.turns(4);
  unsigned answers = 0;
  for (const Frame& answer : gateway.wan.all_sent()) {
    EXPECT_EQ(read_frame(answer).source, gateway.world.vip);
    clients.insert(read_frame(answer).destination_port);
    ++answers;
  }
  EXPECT_EQ(answers, 64U);
  EXPECT_EQ(clients.size(), 32U);
  EXPECT_EQ(gateway.drops(0, Drop::kSnatNoFlow) + gateway.drops(1, Drop::kSnatNoFlow), 0U);
}

TEST_P(HandoffTest, AStalledLcoreLosesItsOwnPacketsByNameAndNobodyElses) {
  Gateway gateway(GetParam());
  const Frame stalled = gateway.udp(gateway.port_of(1));
  const Frame going = gateway.udp(gateway.port_of(0));
  constexpr unsigned kEach = 1'500;
  for (unsigned i = 0; i < kEach; ++i) {
    gateway.wan.arrive(gateway.pool.make(stalled));
    gateway.wan.arrive(gateway.pool.make(going));
    gateway.turn_of(0);
  }
  EXPECT_EQ(gateway.lan.all_sent().size(), kEach) << "all of lcore 0's flow";
  const std::uint64_t lost = gateway.drops(0, Drop::kHandoffFull);
  EXPECT_EQ(lost, kEach - (Handoff::kRingSize - 1));
  for (unsigned i = 0; i < kEach; ++i) {
    gateway.turn_of(1);
  }
  EXPECT_EQ(gateway.lan.all_sent().size(), kEach - lost) << "what had room waited";
}

// Clients whose affinity the stalled lcore keeps open no flows; their open ones, and everybody
// else's, go on.
TEST_P(HandoffTest, AStalledLcoreHoldsUpNewFlowsOfTheClientsWhoseAffinityItKeepsAndNoOthers) {
  Gateway gateway(GetParam());
  gateway.world.change_service(World::kDnsId, [](ServicePort& s) { s.affinity_ms = 600'000; });
  gateway.publish();
  const Ownership& ownership = *gateway.world.snapshot.ownership;
  const auto client_of = [&](std::uint8_t keeper) {
    IpAddress client = gateway.world.client;
    while (ownership.of_client(client) != keeper) {
      ++client.bytes[client.bits() / 8U - 1];
    }
    return client;
  };
  const auto udp = [&](const IpAddress& client, std::uint16_t nth) {
    FrameSpec spec = gateway.world.from_client(kProtocolUdp, 4000);
    spec.source = client;
    for (std::uint16_t found = 0;; ++spec.source_port) {
      if (ownership.of_side(client, spec.source_port) == 0 && found++ == nth) {
        return make_frame(spec);
      }
    }
  };
  const IpAddress stalled = client_of(1);
  const IpAddress going = client_of(0);
  gateway.wan.arrive(gateway.pool.make(udp(stalled, 0)));
  gateway.turns(2);
  const std::vector<Frame> first = gateway.lan.all_sent();
  ASSERT_EQ(first.size(), 1U);
  constexpr std::uint16_t kEach = 1'100;
  for (std::uint16_t i = 1; i <= kEach; ++i) {
    gateway.wan.arrive(gateway.pool.make(udp(stalled, i)));
    gateway.wan.arrive(gateway.pool.make(udp(stalled, 0)));
    gateway.wan.arrive(gateway.pool.make(udp(going, i)));
    gateway.turn_of(0);
  }
  EXPECT_EQ(gateway.lan.all_sent().size(), 2U * kEach);
  EXPECT_EQ(gateway.drops(0, Drop::kHandoffFull), kEach - (Handoff::kRingSize - 1));
  gateway.turns(40);
  const std::vector<Frame> waited = gateway.lan.all_sent();
  EXPECT_EQ(waited.size(), Handoff::kRingSize - 1) << "what had room";
  for (const Frame& frame : waited) {
    ASSERT_EQ(read_frame(frame).destination, read_frame(first[0]).destination);
  }
}

TEST_P(HandoffTest, PacketsUnderWayAtTheEndAreFreed) {
  Gateway gateway(GetParam());
  gateway.wan.arrive(gateway.pool.make(gateway.udp(gateway.port_of(1))));
  gateway.turn_of(0);
  EXPECT_EQ(gateway.pool.in_use(), 1U);
}

// Datagrams of 32 clients in pieces, in any order, on any queue: each hops to where its datagram
// meets and on to its flow, and all of it comes out.
TEST_P(HandoffTest, FragmentsFindTheirFlowFromAnyQueueInAnyOrder) {
  Gateway gateway(GetParam());
  std::mt19937 random(20261123);
  std::map<std::size_t, unsigned> sent;  // by length, which is each one's own
  for (std::uint16_t client = 4000; client < 4032; ++client) {
    FrameSpec spec = gateway.world.from_client(kProtocolUdp, client);
    spec.payload = 900U + client % 32U;
    std::vector<Frame> fragments = split(make_frame(spec), 200, client);
    std::shuffle(fragments.begin(), fragments.end(), random);
    for (const Frame& fragment : fragments) {
      gateway.wan.arrive(gateway.pool.make(fragment),
                         static_cast<std::uint16_t>(random() % kLcores));
      gateway.turns(random() % 2);
    }
    ++sent[spec.payload];
  }
  gateway.turns(8);
  std::map<std::uint32_t, std::vector<Frame>> datagrams;
  for (const Frame& frame : gateway.lan.all_sent()) {
    datagrams[identification_of(frame)].push_back(frame);
  }
  std::map<std::size_t, unsigned> arrived;
  for (const auto& [identification, fragments] : datagrams) {
    const FrameFacts whole = read_frame(join(fragments));
    EXPECT_EQ(whole.fault, "");
    ++arrived[whole.payload.size()];
  }
  EXPECT_EQ(arrived, sent);
  EXPECT_EQ(gateway.fragment_pool.in_use(), 0U);
}

// Both lcores at once, as in life; the pool's own check finds what is lost or freed twice.
TEST_P(HandoffTest, NothingIsLostBetweenTwoThreads) {
  Gateway gateway(GetParam());
  std::vector<std::thread> threads;
  for (const auto& worker : gateway.workers) {
    threads.emplace_back([&worker] { worker->run(); });
  }
  std::mt19937 random(20261123);
  constexpr unsigned kPackets = 20'000;
  std::size_t carried = 0;
  for (unsigned sent = 0; sent < kPackets; ++sent) {
    while (sent > carried + 500) {
      carried += gateway.lan.all_sent().size();
    }
    const auto client = static_cast<std::uint16_t>(4000 + random() % 64);
    gateway.wan.arrive(gateway.pool.make(gateway.udp(client)),
                       static_cast<std::uint16_t>(random() % kLcores));
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (carried < kPackets && std::chrono::steady_clock::now() < deadline) {
    carried += gateway.lan.all_sent().size();
  }
  for (unsigned i = 0; i < kLcores; ++i) {
    gateway.workers[i]->stop();
    threads[i].join();
  }
  EXPECT_EQ(carried, kPackets);
}

}  // namespace
}  // namespace sluice::testing
