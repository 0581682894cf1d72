// SPDX-License-Identifier: Apache-2.0
// What a worker does with packets that come, wait or leave in pieces; every buffer is accounted for
// by the pools.
#include "tests/unit/dataplane/lcore/gateway.h"

#include <algorithm>
#include <chrono>
#include <thread>

namespace sluice::testing {
namespace {

constexpr std::size_t kPiece = 200;

class FragmentsTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    enter_own_network();
    start_eal();
  }
};

class OfBothFamilies : public FragmentsTest, public ::testing::WithParamInterface<Family> {};
INSTANTIATE_TEST_SUITE_P(Families, OfBothFamilies, ::testing::Values(Family::kIpv4, Family::kIpv6));

Frame datagram(const Gateway& gateway, std::size_t payload, bool may_be_cut = false) {
  FrameSpec spec = gateway.world.from_client(kProtocolUdp, 4000);
  spec.payload = payload;
  Frame frame = make_frame(spec);
  if (may_be_cut) {
    frame[14 + 6] = 0;
  }
  return ip_checksum_fixed(frame);
}

TEST_P(OfBothFamilies, FragmentsThatWaitKeepNoBufferOfThePortAndGoOnWithTheFirst) {
  Gateway gateway({.family = GetParam()});
  const Frame sent = datagram(gateway, 1000);
  const std::vector<Frame> fragments = split(sent, kPiece, 7);
  for (std::size_t i = fragments.size() - 1; i > 0; --i) {
    gateway.arrive(gateway.wan, fragments[i]);
  }
  gateway.turns(1);
  EXPECT_TRUE(gateway.lan.all_sent().empty());
  EXPECT_EQ(gateway.pool.in_use(), 0U);
  EXPECT_EQ(gateway.fragment_pool.in_use(), 5U);
  EXPECT_EQ(gateway.counters.held_fragments.get(), 5U);
  gateway.arrive(gateway.wan, fragments[0]);
  gateway.turns(1);
  const std::vector<Frame> frames = gateway.lan.all_sent();
  ASSERT_EQ(frames.size(), 6U);
  const FrameFacts whole = read_frame(join(frames));
  EXPECT_EQ(whole.fault, "");
  EXPECT_EQ(whole.payload, read_frame(sent).payload);
  EXPECT_EQ(gateway.fragment_pool.in_use(), 0U);
  EXPECT_EQ(gateway.counters.held_fragments.get(), 0U);
  EXPECT_EQ(gateway.all_drops(), 0U);
}

TEST_F(FragmentsTest, FragmentsWhoseFirstDoesNotComeAreFreedAndCounted) {
  Gateway gateway;
  gateway.arrive(gateway.wan, split(datagram(gateway, 1000), kPiece, 7)[1]);
  gateway.turns(1);
  EXPECT_EQ(gateway.fragment_pool.in_use(), 1U);
  std::this_thread::sleep_for(std::chrono::milliseconds(Fragments::kPatienceMs + 50));
  gateway.turns(1);
  EXPECT_EQ(gateway.fragment_pool.in_use(), 0U);
  EXPECT_EQ(gateway.drops(Drop::kFragmentExpired), 1U);
}

TEST_F(FragmentsTest, WhatWaitsAtTheEndIsFreed) {
  Gateway gateway;
  gateway.arrive(gateway.wan, split(datagram(gateway, 1000), kPiece, 7)[1]);
  gateway.turns(1);
  EXPECT_EQ(gateway.fragment_pool.in_use(), 1U);
  gateway.worker.reset();
  EXPECT_EQ(gateway.fragment_pool.in_use(), 0U);
}

void expect_cut(const std::vector<Frame>& frames, const Frame& sent, std::size_t mtu) {
  ASSERT_GT(frames.size(), 1U);
  for (const Frame& frame : frames) {
    EXPECT_LE(frame.size(), 14 + mtu);
    EXPECT_EQ(frame, ip_checksum_fixed(frame));
    EXPECT_EQ(read_frame(frame).to_mac.bytes[4], 2) << "each has the backend's link-layer address";
  }
  const FrameFacts whole = read_frame(join(frames));
  EXPECT_EQ(whole.fault, "");
  EXPECT_EQ(whole.payload, read_frame(sent).payload);
}

TEST_F(FragmentsTest, APacketTooLargeForTheWayOutLeavesInFragments) {
  Gateway gateway({.world = {.lan_mtu = 1300}});
  const Frame sent = datagram(gateway, 1400, true);
  gateway.arrive(gateway.wan, sent);
  gateway.turns(1);
  expect_cut(gateway.lan.all_sent(), sent, 1300);
  EXPECT_EQ(gateway.counters.fragmented.get(), 1U);
  EXPECT_EQ(gateway.all_drops(), 0U);
}

TEST_F(FragmentsTest, APacketWithOptionsIsCutWithThemWhereTheyBelong) {
  Gateway gateway({.world = {.lan_mtu = 1300}});
  // Loose bits: a copied option (router alert) and one that only the first fragment has (RFC 791).
  const Frame sent =
      with_options(datagram(gateway, 1400, true), {148, 4, 0, 0, 7, 7, 4, 0, 0, 0, 0});
  gateway.arrive(gateway.wan, sent);
  gateway.turns(1);
  const std::vector<Frame> frames = gateway.lan.all_sent();
  ASSERT_EQ(frames.size(), 2U);
  EXPECT_EQ(frames[0][34], 148);
  EXPECT_EQ(frames[0][38], 7);
  EXPECT_EQ(frames[1][34], 148);
  EXPECT_NE(frames[1][38], 7);
}

TEST_F(FragmentsTest, AFragmentTooLargeForTheWayOutIsCutAgain) {
  Gateway gateway({.world = {.lan_mtu = 1280}});
  const Frame sent = datagram(gateway, 1900);
  for (const Frame& fragment : split(sent, 1400, 9)) {
    gateway.arrive(gateway.wan, fragment);
  }
  gateway.turns(1);
  const std::vector<Frame> frames = gateway.lan.all_sent();
  EXPECT_EQ(frames.size(), 3U);
  expect_cut(frames, sent, 1280);
}

TEST_F(FragmentsTest, APacketHeldForItsNeighbourIsCutWhenItGoes) {
  Gateway gateway({.world = {.lan_mtu = 1300}});
  gateway.set_backends(NextHop::State::kUnresolved);
  const Frame sent = datagram(gateway, 1400, true);
  gateway.arrive(gateway.wan, sent);
  gateway.arrive(gateway.wan, datagram(gateway, 1401));
  gateway.turns(1);
  EXPECT_EQ(gateway.drops(Drop::kMtuExceeded), 1U) << "one that must not be cut does not wait";
  for (std::uint8_t i = 0; i < 3; ++i) {
    gateway.world.set_next_hop(static_cast<NextHopIndex>(World::kBackendHop + i),
                               NextHop::State::kReachable, MacAddress{{2, 0, 0, 0, 2, i}});
  }
  gateway.publish();
  gateway.turns(1);
  const std::vector<Frame> frames = gateway.lan.all_sent();
  expect_cut(frames, sent, 1300);
  EXPECT_NE(identification_of(frames.at(0)), identification_of(sent));
  EXPECT_EQ(identification_of(frames.at(0)), identification_of(frames.at(1)));
}

TEST_F(FragmentsTest, APacketThatFitsWithoutItsTrailerIsSentAfterItWasHeld) {
  Gateway gateway({.world = {.lan_mtu = 1300}});
  gateway.set_backends(NextHop::State::kUnresolved);
  Frame sent = datagram(gateway, 1300 - 28);
  sent.resize(sent.size() + 4);
  gateway.arrive(gateway.wan, sent);
  gateway.turns(1);
  gateway.set_backends(NextHop::State::kReachable);
  gateway.turns(1);
  ASSERT_TRUE(gateway.lan.sent());
  EXPECT_EQ(gateway.all_drops(), 0U);
}

TEST_F(FragmentsTest, WithoutBuffersAPacketIsDroppedAndCounted) {
  Gateway gateway({.world = {.lan_mtu = 1300}});
  std::vector<rte_mbuf*> all;
  while (rte_mbuf* mbuf = rte_pktmbuf_alloc(gateway.fragment_pool.get())) {
    all.push_back(mbuf);
  }
  gateway.arrive(gateway.wan, datagram(gateway, 1400, true));
  gateway.arrive(gateway.wan, split(datagram(gateway, 1000), kPiece, 7)[1]);
  gateway.turns(1);
  EXPECT_EQ(gateway.drops(Drop::kNoBuffer), 1U);
  EXPECT_EQ(gateway.drops(Drop::kFragmentLimit), 1U) << "nowhere to wait";
  EXPECT_TRUE(gateway.lan.all_sent().empty());
  rte_pktmbuf_free_bulk(all.data(), static_cast<unsigned>(all.size()));
}

class InSegments : public FragmentsTest,
                   public ::testing::WithParamInterface<std::tuple<Family, std::size_t, bool>> {};
INSTANTIATE_TEST_SUITE_P(OfAllSizes, InSegments,
                         ::testing::Combine(::testing::Values(Family::kIpv4, Family::kIpv6),
                                            ::testing::Values(8, 14, 20, 37, 64, 500, 1400),
                                            ::testing::Bool()));

TEST_P(InSegments, APacketInSeveralBuffersIsForwardedWhole) {
  const auto [family, octets, takes_segments] = GetParam();
  Gateway gateway({.family = family, .takes_segments = takes_segments});
  const TestPool small(1023, static_cast<std::uint16_t>(std::max<std::size_t>(octets, 128)));
  for (const std::uint8_t protocol : {kProtocolTcp, kProtocolUdp}) {
    FrameSpec spec = gateway.world.from_client(protocol, 4000);
    spec.payload = 1430;
    const Frame sent = make_frame(spec);
    gateway.wan.arrive(small.make_segments(sent, octets));
    gateway.turns(1);
    const auto frame = gateway.lan.sent();
    ASSERT_TRUE(frame);
    EXPECT_EQ(read_frame(*frame).fault, "");
    EXPECT_EQ(read_frame(*frame).payload, read_frame(sent).payload);
  }
  EXPECT_EQ(gateway.all_drops(), 0U);
}

TEST_P(InSegments, APacketTooLargeForTheWayOutIsCut) {
  const auto [family, octets, takes_segments] = GetParam();
  if (family == Family::kIpv6) {
    return;  // never cut
  }
  Gateway gateway({.family = family, .world = {.lan_mtu = 1300}, .takes_segments = takes_segments});
  const TestPool small(1023, static_cast<std::uint16_t>(std::max<std::size_t>(octets, 128)));
  const Frame sent = datagram(gateway, 1400, true);
  gateway.wan.arrive(small.make_segments(sent, octets));
  gateway.turns(1);
  expect_cut(gateway.lan.all_sent(), sent, 1300);
  EXPECT_EQ(gateway.all_drops(), 0U);
  EXPECT_EQ(gateway.fragment_pool.in_use(), 0U);
}

TEST_P(InSegments, ASenderIsToldAboutAPacketInSeveralBuffers) {
  const auto [family, octets, takes_segments] = GetParam();
  Gateway gateway({.family = family, .world = {.lan_mtu = 1300}});
  const TestPool small(1023, static_cast<std::uint16_t>(std::max<std::size_t>(octets, 128)));
  const Frame sent = datagram(gateway, 1400);
  gateway.wan.arrive(small.make_segments(sent, octets));
  gateway.turns(1);
  const auto told = gateway.wan.sent();
  ASSERT_TRUE(told);
  EXPECT_EQ(read_frame(*told).fault, "");
  EXPECT_EQ(read_frame(*told).icmp_type,
            family == Family::kIpv4 ? kIcmpUnreachable : kIcmp6PacketTooBig);
  const Frame quote = quote_of(*told);
  const Frame original = ip_of(sent);
  ASSERT_GE(quote.size(), 48U);
  EXPECT_TRUE(std::equal(quote.begin(), quote.end(), original.begin()));
}

TEST_P(OfBothFamilies, AJumboFrameIsForwardedWholeInOneBufferAndInSeveral) {
  Gateway gateway(
      {.family = GetParam(), .world = {.lan_mtu = 9000, .wan_mtu = 9000}, .takes_segments = true});
  const TestPool large(63, 9216);
  const Frame sent = datagram(gateway, 8900);
  gateway.wan.arrive(large.make(sent));
  gateway.wan.arrive(gateway.pool.make_segments(sent, 2048));
  gateway.turns(1);
  const std::vector<Frame> frames = gateway.lan.all_sent();
  ASSERT_EQ(frames.size(), 2U);
  for (const Frame& frame : frames) {
    EXPECT_EQ(read_frame(frame).fault, "");
    EXPECT_EQ(read_frame(frame).payload, read_frame(sent).payload);
  }
  EXPECT_EQ(gateway.all_drops(), 0U);
}

}  // namespace
}  // namespace sluice::testing
