// SPDX-License-Identifier: Apache-2.0
#include "dataplane/lcore/hold.h"

#include "tests/support/world.h"
#include "tests/unit/dataplane/lcore/environment.h"

#include <rte_mbuf.h>
#include <rte_ring.h>
#include <rte_ring_elem.h>

#include <gtest/gtest.h>

namespace sluice::testing {
namespace {

constexpr std::uint32_t kNow = 0xffff'ff00;  // the clock wraps in every test that waits

class HoldQueueTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { start_eal(); }

  HoldQueueTest()
      : wanted_(rte_ring_create_elem("asked for", sizeof(WantedNeighbour), 2048, SOCKET_ID_ANY, 0)),
        queue_(std::make_unique<HoldQueue>(hold_pool_.get(), wanted_.get(), world_.counters)) {
    for (std::uint8_t i = 0; i < 3; ++i) {
      set_backend(i, NextHop::State::kUnresolved);
    }
  }

  void set_backend(std::uint8_t i, NextHop::State state) {
    world_.set_next_hop(static_cast<NextHopIndex>(World::kBackendHop + i), state, mac_of(i));
  }
  static MacAddress mac_of(std::uint8_t i) { return MacAddress{{2, 0, 0, 9, 9, i}}; }
  static IpAddress nth_neighbour(std::uint32_t n) {
    return IpAddress(Ipv4Address{Be32::from_host(0x0a01'0000 + n)});
  }

  Frame frame(std::uint16_t client_port = 4000) const {
    return make_frame(world_.from_client(kProtocolUdp, client_port));
  }
  void hold(const IpAddress& neighbour, std::uint32_t now_ms = kNow,
            std::uint16_t client_port = 4000) {
    Burst burst;
    burst.add(port_pool_.make(frame(client_port)), World::kWan, false);
    burst.packets[0].decide(Verdict::kHold, World::kLan);
    burst.packets[0].neighbour = neighbour;
    queue_->hold(burst.packets[0], now_ms);
  }
  std::vector<Frame> retry(std::uint32_t now_ms = kNow) {
    std::vector<Frame> frames;
    queue_->retry(world_.snapshot, now_ms, [&](const HeldPacket& held) {
      EXPECT_EQ(held.out_port, World::kLan);
      EXPECT_EQ(held.mtu, 1500);
      EXPECT_EQ(held.mbuf->pool, hold_pool_.get());
      frames.push_back(frame_of(held.mbuf));
      rte_pktmbuf_free(held.mbuf);
    });
    return frames;
  }
  std::vector<IpAddress> asked_for() {
    std::vector<IpAddress> addresses;
    WantedNeighbour wanted;
    while (rte_ring_dequeue_elem(wanted_.get(), &wanted, sizeof(wanted)) == 0) {
      EXPECT_EQ(wanted.port, World::kLan);
      addresses.push_back(wanted.address);
    }
    return addresses;
  }

  World world_{Family::kIpv4};
  TestPool port_pool_{1023};
  TestPool hold_pool_{1023};
  Ring wanted_;
  std::unique_ptr<HoldQueue> queue_;
};

TEST_F(HoldQueueTest, AHeldPacketDoesNotPinAPortsBuffer) {
  hold(world_.backends[0]);
  EXPECT_EQ(port_pool_.in_use(), 0U);
  EXPECT_EQ(hold_pool_.in_use(), 1U);
  EXPECT_EQ(queue_->size(), 1U);
  EXPECT_EQ(world_.counters.held_packets.get(), 1U);
}

TEST_F(HoldQueueTest, PacketsLeaveInTheirOrderOnceTheNeighbourIsKnown) {
  for (std::uint16_t port = 1; port <= 5; ++port) {
    hold(world_.backends[1], kNow, port);
  }
  EXPECT_TRUE(retry().empty());
  set_backend(1, NextHop::State::kReachable);
  const std::vector<Frame> frames = retry();
  ASSERT_EQ(frames.size(), 5U);
  for (std::uint16_t i = 0; i < 5; ++i) {
    const FrameFacts facts = read_frame(frames[i]);
    EXPECT_EQ(facts.fault, "");
    EXPECT_EQ(facts.source_port, i + 1);
    EXPECT_EQ(facts.to_mac, mac_of(1));
    EXPECT_EQ(facts.from_mac, world_.lan_mac);
  }
  EXPECT_EQ(queue_->size(), 0U);
  EXPECT_EQ(world_.counters.held_packets.get(), 0U);
  EXPECT_TRUE(retry().empty());
}

TEST_F(HoldQueueTest, OnlyThePacketsOfTheKnownNeighbourLeave) {
  hold(world_.backends[0]);
  hold(world_.backends[1]);
  hold(world_.backends[0]);
  set_backend(0, NextHop::State::kReachable);
  EXPECT_EQ(retry().size(), 2U);
  EXPECT_EQ(queue_->size(), 1U);
}

TEST_F(HoldQueueTest, ANeighbourThatChangesInTheSameSnapshotIsLookedAtAgainAfterAWhile) {
  hold(world_.backends[0]);
  EXPECT_TRUE(retry().empty());
  set_backend(0, NextHop::State::kReachable);
  --world_.snapshot.epoch;
  EXPECT_TRUE(retry(kNow + HoldQueue::kLookAgainMs - 1).empty());
  EXPECT_EQ(retry(kNow + HoldQueue::kLookAgainMs).size(), 1U);
}

TEST_F(HoldQueueTest, SixtyFourPacketsWaitForOneNeighbourAndNoMore) {
  for (std::size_t i = 0; i < HoldQueue::kPerNeighbour + 3; ++i) {
    hold(world_.backends[0]);
  }
  EXPECT_EQ(queue_->size(), HoldQueue::kPerNeighbour);
  EXPECT_EQ(world_.drops(Drop::kHoldFull), 3U);
  hold(world_.backends[1]);
  EXPECT_EQ(queue_->size(), HoldQueue::kPerNeighbour + 1);
  EXPECT_EQ(world_.drops(Drop::kHoldFull), 3U);
  EXPECT_EQ(port_pool_.in_use(), 0U);
}

TEST_F(HoldQueueTest, FiveHundredAndTwelvePacketsWaitInAllAndNoMore) {
  for (std::uint32_t i = 0; i < HoldQueue::kPackets + 5; ++i) {
    hold(nth_neighbour(i));
  }
  EXPECT_EQ(queue_->size(), HoldQueue::kPackets);
  EXPECT_EQ(world_.drops(Drop::kHoldFull), 5U);
  EXPECT_EQ(port_pool_.in_use(), 0U);
}

TEST_F(HoldQueueTest, APacketIsDroppedWhenItsNeighbourDoesNotAnswerForThreeSeconds) {
  hold(world_.backends[0], kNow);
  hold(world_.backends[0], kNow + 1'000);
  EXPECT_TRUE(retry(kNow + HoldQueue::kPatienceMs - 1).empty());
  EXPECT_EQ(world_.drops(Drop::kHoldExpired), 0U);
  EXPECT_TRUE(retry(kNow + HoldQueue::kPatienceMs + HoldQueue::kLookAgainMs).empty());
  EXPECT_EQ(world_.drops(Drop::kHoldExpired), 1U);
  EXPECT_EQ(queue_->size(), 1U);
  EXPECT_TRUE(retry(kNow + 1'000 + HoldQueue::kPatienceMs + HoldQueue::kLookAgainMs).empty());
  EXPECT_EQ(world_.drops(Drop::kHoldExpired), 2U);
  EXPECT_EQ(hold_pool_.in_use(), 0U);
}

TEST_F(HoldQueueTest, ANeighbourIsAskedForAtOnceAndAgainEveryHalfSecondWhilePacketsWait) {
  hold(world_.backends[0]);
  hold(world_.backends[0]);
  EXPECT_EQ(asked_for(), std::vector<IpAddress>{world_.backends[0]});
  std::size_t times = 1;
  for (std::uint32_t ms = 0; ms < HoldQueue::kPatienceMs; ms += 10) {
    retry(kNow + ms);
    times += asked_for().size();
  }
  EXPECT_GE(times, 5U);
  EXPECT_LE(times, HoldQueue::kPatienceMs / HoldQueue::kAskAgainMs);
}

TEST_F(HoldQueueTest, ANeighbourThatHasNoRoomIsAskedForNeverthelessAndNotInAFlood) {
  for (int i = 0; i < 200; ++i) {
    hold(world_.backends[0]);
  }
  EXPECT_EQ(asked_for().size(), 1U);
}

TEST_F(HoldQueueTest, WhatStillWaitsIsFreedWithTheQueue) {
  hold(world_.backends[0]);
  hold(world_.backends[1]);
  queue_.reset();
  EXPECT_EQ(hold_pool_.in_use(), 0U);
}

TEST_F(HoldQueueTest, AnEmptyPoolIsAFullQueue) {
  std::vector<rte_mbuf*> taken;
  while (rte_mbuf* mbuf = rte_pktmbuf_alloc(hold_pool_.get())) {
    taken.push_back(mbuf);
  }
  hold(world_.backends[0]);
  EXPECT_EQ(world_.drops(Drop::kHoldFull), 1U);
  EXPECT_EQ(queue_->size(), 0U);
  rte_pktmbuf_free_bulk(taken.data(), static_cast<unsigned>(taken.size()));
}

}  // namespace
}  // namespace sluice::testing
