// SPDX-License-Identifier: Apache-2.0
// ARP, ND and echo: what the dataplane answers, what it leaves to the kernel, what it announces.
#include "tests/support/world.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace sluice::testing {
namespace {

class FamilyTest : public ::testing::TestWithParam<Family> {};
INSTANTIATE_TEST_SUITE_P(BothFamilies, FamilyTest, ::testing::Values(Family::kIpv4, Family::kIpv6));

// "Who has `target`?" in the words of the family.
Frame who_has(const World& world, const IpAddress& target) {
  return world.family == Family::kIpv4
             ? make_arp_request(world.client_mac, world.client_on_link, target)
             : make_solicitation(world.client_mac, world.client_on_link, target);
}

void expect_answer(const World& world, const Outcome& outcome, const IpAddress& target,
                   const MacAddress& mac) {
  const FrameFacts facts = read_frame(outcome.frame);
  EXPECT_EQ(facts.to_mac, world.client_mac);
  EXPECT_EQ(facts.from_mac, mac);
  if (world.family == Family::kIpv4) {
    EXPECT_EQ(outcome.frame[21], 2) << "an ARP reply";
    EXPECT_TRUE(std::equal(mac.bytes.begin(), mac.bytes.end(), outcome.frame.begin() + 22));
    EXPECT_TRUE(
        std::equal(target.bytes.begin(), target.bytes.begin() + 4, outcome.frame.begin() + 28));
    EXPECT_TRUE(std::equal(world.client_on_link.bytes.begin(),
                           world.client_on_link.bytes.begin() + 4, outcome.frame.begin() + 38));
    return;
  }
  EXPECT_EQ(facts.fault, "");
  EXPECT_EQ(facts.ttl, 255);
  EXPECT_EQ(facts.icmp_type, kIcmp6NeighborAdvertisement);
  EXPECT_EQ(facts.source, target);
  EXPECT_EQ(facts.destination, world.client_on_link);
  EXPECT_EQ(outcome.frame[58], 0x60) << "solicited, override, no router";
  EXPECT_TRUE(std::equal(target.bytes.begin(), target.bytes.end(), facts.payload.begin()));
  EXPECT_TRUE(std::equal(mac.bytes.begin(), mac.bytes.end(), facts.payload.begin() + 18));
}

TEST_P(FamilyTest, ARequestForAVipIsAnsweredOnThePortItIsOn) {
  World world(GetParam());
  const Outcome outcome = world.run(who_has(world, world.vip), World::kWan);
  ASSERT_EQ(outcome.verdict, Verdict::kTransmit) << name_of(outcome.drop);
  EXPECT_EQ(outcome.out_port, World::kWan);
  expect_answer(world, outcome, world.vip, world.wan_mac);
}

TEST_P(FamilyTest, ARequestForASnatAddressIsAnsweredOnThePortItIsOn) {
  World world(GetParam());
  const Outcome outcome = world.run(who_has(world, world.snat), World::kLan);
  ASSERT_EQ(outcome.verdict, Verdict::kTransmit) << name_of(outcome.drop);
  expect_answer(world, outcome, world.snat, world.lan_mac);
}

TEST_P(FamilyTest, ARequestForAVipOnAnotherPortIsNotAnswered) {
  World world(GetParam());
  EXPECT_EQ(world.run(who_has(world, world.vip), World::kLan).verdict, Verdict::kPunt);
}

TEST_P(FamilyTest, ARequestForAHostAddressIsTheKernels) {
  World world(GetParam());
  const Frame request = who_has(world, world.wan_host);
  const Outcome outcome = world.run(request, World::kWan);
  EXPECT_EQ(outcome.verdict, Verdict::kPunt);
  EXPECT_EQ(outcome.out_port, World::kWan);
  EXPECT_EQ(outcome.frame, request) << "untouched";
}

TEST_P(FamilyTest, TheKernelsOwnRequestsGoOutToTheWire) {
  World world(GetParam());
  const Outcome outcome = world.run(who_has(world, world.router), World::kWan, true);
  EXPECT_EQ(outcome.verdict, Verdict::kTransmit);
  EXPECT_EQ(outcome.out_port, World::kWan);
}

TEST_P(FamilyTest, TheKernelsRequestForAVipIsAnsweredToTheKernel) {
  World world(GetParam());
  const Outcome outcome = world.run(who_has(world, world.vip), World::kLan, true);
  EXPECT_EQ(outcome.verdict, Verdict::kPunt);
  expect_answer(world, outcome, world.vip, world.lan_mac);
}

TEST_P(FamilyTest, AProbeForDuplicatesOfTheVipIsAnswered) {
  World world(GetParam());
  IpAddress nobody;
  nobody.family = GetParam();
  const Frame probe = GetParam() == Family::kIpv4
                          ? make_arp_request(world.client_mac, nobody, world.vip)
                          : make_solicitation(world.client_mac, nobody, world.vip);
  const Outcome outcome = world.run(probe, World::kWan);
  ASSERT_EQ(outcome.verdict, Verdict::kTransmit);
  if (GetParam() == Family::kIpv6) {
    const FrameFacts facts = read_frame(outcome.frame);
    EXPECT_EQ(facts.fault, "");
    EXPECT_EQ(to_string(facts.destination), "ff02::1");
    EXPECT_EQ(outcome.frame[58], 0x20) << "override, not solicited";
  }
}

TEST_P(FamilyTest, AnEchoToAVipIsAnsweredWithItsData) {
  World world(GetParam());
  const bool ipv4 = GetParam() == Family::kIpv4;
  const Frame echo =
      make_icmp(world.from_client(0, 0), ipv4 ? kIcmpEchoRequest : kIcmp6EchoRequest);
  const Outcome outcome = world.run(echo, World::kWan);
  ASSERT_EQ(outcome.verdict, Verdict::kTransmit) << name_of(outcome.drop);
  const FrameFacts facts = read_frame(outcome.frame);
  EXPECT_EQ(facts.fault, "");
  EXPECT_EQ(facts.icmp_type, ipv4 ? kIcmpEchoReply : kIcmp6EchoReply);
  EXPECT_EQ(facts.source, world.vip);
  EXPECT_EQ(facts.destination, world.client);
  EXPECT_EQ(facts.to_mac, world.router_mac);
  EXPECT_EQ(facts.payload, read_frame(echo).payload);
}

TEST_P(FamilyTest, PacketsForTheHostAreTheKernels) {
  World world(GetParam());
  FrameSpec spec = world.from_client(kProtocolTcp, 4000);
  spec.destination = world.wan_host;
  spec.ttl = 1;
  const Outcome outcome = world.run(make_frame(spec), World::kWan);
  EXPECT_EQ(outcome.verdict, Verdict::kPunt) << "a BGP session over one hop has a TTL of 1";
}

TEST_P(FamilyTest, MulticastOfRoutingProtocolsIsTheKernels) {
  World world(GetParam());
  FrameSpec spec = world.from_client(kProtocolUdp, 520);
  spec.destination = *parse_ip(GetParam() == Family::kIpv4 ? "224.0.0.9" : "ff02::9");
  spec.to_mac = MacAddress{{0x33, 0x33, 0, 0, 0, 9}};
  EXPECT_EQ(world.run(make_frame(spec), World::kWan).verdict, Verdict::kPunt);
}

TEST_P(FamilyTest, TransitIsTheKernelsWhereThePortSaysSo) {
  World world(GetParam(), {.transit_to_kernel = true});
  FrameSpec spec = world.from_client(kProtocolUdp, 4000);
  spec.destination = world.stranger;
  EXPECT_EQ(world.run(make_frame(spec), World::kWan).verdict, Verdict::kPunt);
}

TEST_P(FamilyTest, WhatTheKernelSendsElsewhereGoesOutUntouched) {
  World world(GetParam());
  FrameSpec spec = world.from_client(kProtocolUdp, 4000);
  spec.source = world.wan_host;
  spec.destination = world.stranger;
  spec.from_mac = world.wan_mac;
  spec.to_mac = world.router_mac;
  const Frame frame = make_frame(spec);
  const Outcome outcome = world.run(frame, World::kWan, true);
  EXPECT_EQ(outcome.verdict, Verdict::kTransmit);
  EXPECT_EQ(outcome.out_port, World::kWan);
  EXPECT_EQ(outcome.frame, frame);
}

TEST_P(FamilyTest, AnAnnouncementSaysWhereTheAddressIs) {
  World world(GetParam());
  std::vector<std::uint8_t> room(256);
  rte_mbuf mbuf{};
  mbuf.buf_addr = room.data();
  mbuf.buf_len = static_cast<std::uint16_t>(room.size());
  mbuf.nb_segs = 1;
  ASSERT_TRUE(write_announcement(&mbuf, world.wan_mac, world.vip));
  room.resize(mbuf.data_len);
  const FrameFacts facts = read_frame(room);
  EXPECT_TRUE(facts.to_mac.is_multicast());
  EXPECT_EQ(facts.from_mac, world.wan_mac);
  if (GetParam() == Family::kIpv4) {
    EXPECT_EQ(room[21], 1) << "a request (RFC 5227 §3)";
    EXPECT_TRUE(std::equal(room.begin() + 28, room.begin() + 32, room.begin() + 38));
    EXPECT_TRUE(std::equal(room.begin() + 28, room.begin() + 32, world.vip.bytes.begin()));
  } else {
    EXPECT_EQ(facts.fault, "");
    EXPECT_EQ(facts.icmp_type, kIcmp6NeighborAdvertisement);
    EXPECT_EQ(room[58], 0x20) << "override, not solicited (RFC 4861 §7.2.6)";
    EXPECT_EQ(facts.source, world.vip);
  }
}

TEST_P(FamilyTest, AnAnnouncementThatDoesNotFitIsNotWritten) {
  World world(GetParam());
  std::vector<std::uint8_t> room(20);
  rte_mbuf mbuf{};
  mbuf.buf_addr = room.data();
  mbuf.buf_len = static_cast<std::uint16_t>(room.size());
  mbuf.nb_segs = 1;
  EXPECT_FALSE(write_announcement(&mbuf, world.wan_mac, world.vip));
}

TEST(Ipv6, ASolicitationBehindExtensionHeadersIsTheKernels) {
  World world(Family::kIpv6);
  for (const IpAddress& target : {world.vip, world.wan_host}) {
    const Frame sent = with_extensions(who_has(world, target), 60, {{0, 0, 1, 4, 0, 0, 0, 0}});
    const Outcome outcome = world.run(sent, World::kWan);
    EXPECT_EQ(outcome.verdict, Verdict::kPunt) << name_of(outcome.drop);
    EXPECT_EQ(outcome.frame, sent) << "and not answered";
  }
}

}  // namespace
}  // namespace sluice::testing
