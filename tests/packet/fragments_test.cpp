// SPDX-License-Identifier: Apache-2.0
// Fragments of both families through the NAT: in any order, in one burst or in many, with hostile
// ones among them. The judge puts together what comes out and looks at it as a whole.
#include "tests/support/world.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <set>

namespace sluice::testing {
namespace {

constexpr std::size_t kPiece = 200;
constexpr std::uint32_t kIdentification = 0x4711;

class Fragmented : public ::testing::TestWithParam<Family> {
 protected:
  Family family() const { return GetParam(); }

  // From the client to the VIP, before it is cut.
  Frame datagram(World& world, std::size_t payload = 1000, std::uint16_t client_port = 4000,
                 std::uint8_t protocol = kProtocolUdp) const {
    FrameSpec spec = world.from_client(protocol, client_port);
    spec.payload = payload;
    return make_frame(spec);
  }
};
INSTANTIATE_TEST_SUITE_P(BothFamilies, Fragmented, ::testing::Values(Family::kIpv4, Family::kIpv6));

std::vector<Frame> frames_of(const std::vector<Outcome>& outcomes) {
  std::vector<Frame> frames;
  for (const Outcome& outcome : outcomes) {
    EXPECT_EQ(outcome.verdict, Verdict::kTransmit) << name_of(outcome.drop);
    frames.push_back(outcome.frame);
  }
  return frames;
}

// One by one, in this order; what came out at once or after it was held.
std::vector<Outcome> carry(World& world, const std::vector<Frame>& fragments,
                           std::uint8_t port = World::kWan) {
  std::vector<Outcome> outcomes;
  for (const Frame& fragment : fragments) {
    const Outcome outcome = world.run(fragment, port);
    if (outcome.verdict != Verdict::kHoldFragment) {
      outcomes.push_back(outcome);
    }
    for (const Outcome& held : world.take_held()) {
      outcomes.push_back(held);
    }
  }
  return outcomes;
}

void expect_translated(const World& world, const Frame& sent, const std::vector<Outcome>& outcomes,
                       std::size_t fragments) {
  ASSERT_EQ(outcomes.size(), fragments);
  const std::vector<Frame> frames = frames_of(outcomes);
  std::set<std::uint32_t> identifications;
  for (const Frame& frame : frames) {
    identifications.insert(identification_of(frame));
  }
  EXPECT_EQ(identifications.size(), 1U) << "one datagram stays one";
  const FrameFacts whole = read_frame(join(frames));
  EXPECT_EQ(whole.fault, "");
  EXPECT_EQ(whole.source, world.snat);
  EXPECT_EQ(whole.payload, read_frame(sent).payload);
  EXPECT_EQ(whole.ttl, 63);
}

TEST_P(Fragmented, AnInOrderDatagramIsTranslatedFragmentByFragment) {
  World world(family());
  const Frame sent = datagram(world);
  expect_translated(world, sent, carry(world, split(sent, kPiece, kIdentification)), 6);
  EXPECT_EQ(world.flows().size(), 1U);
}

TEST_P(Fragmented, AnAnswerToASnatAddressThatTheHostHasTooIsTranslated) {
  World world(family());
  world.share_snat_with_host();
  const Outcome there = world.run(datagram(world, 10), World::kWan);
  ASSERT_EQ(there.verdict, Verdict::kTransmit);
  FrameSpec answer = world.answer_to(there.frame);
  answer.payload = 1000;
  const std::vector<Outcome> outcomes =
      carry(world, split(make_frame(answer), kPiece, kIdentification), World::kLan);
  ASSERT_EQ(outcomes.size(), 6U);
  EXPECT_EQ(read_frame(join(frames_of(outcomes))).source, world.vip);
}

TEST_P(Fragmented, AReversedDatagramWaitsForItsFirstFragmentAndIsTranslated) {
  World world(family());
  const Frame sent = datagram(world);
  std::vector<Frame> fragments = split(sent, kPiece, kIdentification);
  std::reverse(fragments.begin(), fragments.end());
  EXPECT_EQ(world.run(fragments[0], World::kWan).verdict, Verdict::kHoldFragment);
  const Frame held = fragments[0];
  fragments.erase(fragments.begin());
  expect_translated(world, sent, carry(world, fragments), 6);
}

TEST_P(Fragmented, AnyOrderInOneBurstIsTranslated) {
  std::mt19937 random(7);
  for (int round = 0; round < 30; ++round) {
    World world(family());
    const Frame sent = datagram(world);
    std::vector<Frame> fragments = split(sent, kPiece, kIdentification);
    std::shuffle(fragments.begin(), fragments.end(), random);
    std::vector<Outcome> outcomes = world.run_burst(fragments, World::kWan);
    std::erase_if(outcomes, [](const Outcome& o) { return o.verdict == Verdict::kHoldFragment; });
    for (const Outcome& held : world.take_held()) {
      outcomes.push_back(held);
    }
    expect_translated(world, sent, outcomes, 6);
  }
}

TEST_P(Fragmented, AnyOrderInAnyBurstsIsTranslated) {
  std::mt19937 random(8);
  for (int round = 0; round < 30; ++round) {
    World world(family());
    const Frame sent = datagram(world);
    std::vector<Frame> fragments = split(sent, kPiece, kIdentification);
    std::shuffle(fragments.begin(), fragments.end(), random);
    expect_translated(world, sent, carry(world, fragments), 6);
  }
}

TEST_P(Fragmented, TheAnswerOfABackendIsTranslatedBack) {
  for (const ForwardingMode mode : {ForwardingMode::kFullNat, ForwardingMode::kDnat}) {
    World world(family(), {.mode = mode});
    const Outcome there = world.run(datagram(world, 10), World::kWan);
    FrameSpec answer = world.answer_to(there.frame);
    answer.payload = 900;
    const Frame sent = make_frame(answer);
    std::vector<Frame> fragments = split(sent, kPiece, kIdentification);
    std::reverse(fragments.begin(), fragments.end());
    const std::vector<Outcome> outcomes = carry(world, fragments, World::kLan);
    ASSERT_EQ(outcomes.size(), fragments.size());
    const FrameFacts whole = read_frame(join(frames_of(outcomes)));
    EXPECT_EQ(whole.fault, "");
    EXPECT_EQ(whole.source, world.vip);
    EXPECT_EQ(whole.destination, world.client);
    EXPECT_EQ(whole.payload, read_frame(sent).payload);
  }
}

TEST_P(Fragmented, TcpSegmentsInFragmentsFollowTheirFlow) {
  World world(family());
  const Outcome syn = world.run(make_frame(world.from_client(kProtocolTcp, 4000)), World::kWan);
  world.run(make_frame(world.answer_to(syn.frame)), World::kLan);
  FrameSpec spec = world.from_client(kProtocolTcp, 4000, kTcpAck);
  spec.payload = 1000;
  const Frame sent = make_frame(spec);
  std::vector<Frame> fragments = split(sent, kPiece, kIdentification);
  std::rotate(fragments.begin(), fragments.begin() + 2, fragments.end());
  expect_translated(world, sent, carry(world, fragments), 6);
  EXPECT_EQ(world.flows().at(0).state, "established");
}

TEST_P(Fragmented, TwoClientsWithOneIdentificationDoNotMeetBehindTheGateway) {
  World world(family());
  const std::vector<IpAddress> clients{world.client, world.client_on_link};
  std::vector<Frame> sent;
  std::vector<std::vector<Frame>> fragments;
  std::vector<std::vector<Outcome>> carried(2);
  for (std::size_t i = 0; i < 2; ++i) {
    FrameSpec spec = world.from_client(kProtocolUdp, 4000);
    spec.source = clients[i];
    spec.payload = 1000 - i;
    sent.push_back(make_frame(spec));
    fragments.push_back(split(sent[i], kPiece, kIdentification));
  }
  for (std::size_t piece = 0; piece < fragments[0].size(); ++piece) {
    for (std::size_t i = 0; i < 2; ++i) {
      carried[i].push_back(world.run(fragments[i][piece], World::kWan));
    }
  }
  expect_translated(world, sent[0], carried[0], fragments[0].size());
  expect_translated(world, sent[1], carried[1], fragments[1].size());
  EXPECT_NE(identification_of(carried[0][0].frame), identification_of(carried[1][0].frame));
}

TEST_P(Fragmented, AnEchoRequestInFragmentsIsAnsweredInFragments) {
  World world(family());
  FrameSpec spec = world.from_client(0, 0);
  spec.payload = 900;
  const bool ipv4 = family() == Family::kIpv4;
  const Frame sent = make_icmp(spec, ipv4 ? kIcmpEchoRequest : kIcmp6EchoRequest);
  std::vector<Frame> fragments = split(sent, kPiece, kIdentification);
  std::reverse(fragments.begin(), fragments.end());
  const std::vector<Outcome> outcomes = carry(world, fragments);
  ASSERT_EQ(outcomes.size(), fragments.size());
  const FrameFacts whole = read_frame(join(frames_of(outcomes)));
  EXPECT_EQ(whole.fault, "");
  EXPECT_EQ(whole.source, world.vip);
  EXPECT_EQ(whole.destination, world.client);
  EXPECT_EQ(whole.icmp_type, ipv4 ? kIcmpEchoReply : kIcmp6EchoReply);
  EXPECT_EQ(whole.payload, read_frame(sent).payload);
}

TEST_P(Fragmented, AMessageThatIsNoEchoIsDroppedInFragmentsToo) {
  World world(family());
  FrameSpec spec = world.from_client(0, 0);
  spec.payload = 300;
  const Frame sent = make_icmp(spec, family() == Family::kIpv4 ? 13 : 138);
  for (const Outcome& outcome : carry(world, split(sent, kPiece, kIdentification))) {
    EXPECT_EQ(outcome.drop, Drop::kFragment);
  }
}

// Octets [from, to) of a datagram as a fragment of its own.
Frame part(const Frame& sent, std::size_t from, std::size_t to, std::size_t piece = 8) {
  std::vector<Frame> smallest = split(sent, piece, kIdentification);
  Frame made = smallest[from / piece];
  for (std::size_t i = from / piece + 1; i < to / piece; ++i) {
    const std::size_t header = made.size() - (i - from / piece) * piece;
    made.insert(made.end(), smallest[i].begin() + static_cast<std::ptrdiff_t>(header),
                smallest[i].end());
  }
  const std::size_t length = made.size() - 14;
  const std::size_t at = made[12] == 0x08 ? 16 : 18;
  const std::size_t value = made[12] == 0x08 ? length : length - 40;
  made[at] = static_cast<std::uint8_t>(value >> 8U);
  made[at + 1] = static_cast<std::uint8_t>(value);
  return ip_checksum_fixed(made);
}

TEST_P(Fragmented, OverlappingFragmentsEndTheirDatagramAndWhatWaitsOfIt) {
  World world(family());
  const Frame sent = datagram(world, 1000);
  EXPECT_EQ(world.run(part(sent, 200, 400), World::kWan).verdict, Verdict::kHoldFragment);
  EXPECT_EQ(world.run(part(sent, 392, 600), World::kWan).drop, Drop::kFragmentOverlap);
  const std::vector<Outcome> held = world.take_held();
  ASSERT_EQ(held.size(), 1U);
  EXPECT_EQ(held[0].drop, Drop::kFragmentOverlap);
  EXPECT_EQ(world.run(part(sent, 0, 200), World::kWan).drop, Drop::kFragmentOverlap)
      << "RFC 5722: those yet to come too";
  EXPECT_EQ(world.drops(Drop::kFragmentOverlap), 3U);
  EXPECT_TRUE(world.flows().empty());
}

TEST_P(Fragmented, AFirstFragmentOverwrittenInTheSameBurstGoesNowhere) {
  World world(family());
  const Frame sent = datagram(world, 1000);
  const auto outcomes = world.run_burst({part(sent, 0, 200), part(sent, 8, 400)}, World::kWan);
  EXPECT_EQ(outcomes[0].drop, Drop::kFragmentOverlap);
  EXPECT_EQ(outcomes[1].drop, Drop::kFragmentOverlap);
}

TEST_P(Fragmented, ARepetitionIsDroppedAndItsDatagramGoesOn) {
  World world(family());
  const Frame sent = datagram(world);
  std::vector<Frame> fragments = split(sent, kPiece, kIdentification);
  EXPECT_EQ(world.run(fragments[0], World::kWan).verdict, Verdict::kTransmit);
  EXPECT_EQ(world.run(fragments[0], World::kWan).drop, Drop::kFragmentDuplicate);
  EXPECT_EQ(world.run(part(sent, 8, 16), World::kWan).drop, Drop::kFragmentDuplicate);
  EXPECT_EQ(world.run(fragments[1], World::kWan).verdict, Verdict::kTransmit);
}

TEST_P(Fragmented, AnEndThatMovesIsAnOverlap) {
  World world(family());
  const Frame sent = datagram(world, 1000);
  const Frame other = datagram(world, 2 * kPiece - 8);
  const std::vector<Frame> shorter = split(other, kPiece, kIdentification);
  ASSERT_EQ(shorter.size(), 2U);
  EXPECT_EQ(world.run(part(sent, 600, 800), World::kWan).verdict, Verdict::kHoldFragment);
  EXPECT_EQ(world.run(shorter[1], World::kWan).drop, Drop::kFragmentOverlap);
}

TEST_P(Fragmented, AFirstFragmentWithoutItsTransportHeaderIsDropped) {
  World world(family());
  FrameSpec spec = world.from_client(kProtocolTcp, 4000, kTcpSyn);
  spec.payload = 100;
  const std::vector<Frame> tiny = split(make_frame(spec), 16, kIdentification);
  EXPECT_EQ(world.run(tiny[0], World::kWan).drop, Drop::kFragmentHeader);
  EXPECT_EQ(world.drops(Drop::kFragmentHeader), 1U);
}

TEST_P(Fragmented, AFragmentBeyondWhatAnyDatagramHasIsDropped) {
  World world(family());
  Frame beyond = split(datagram(world), kPiece, kIdentification)[1];
  if (family() == Family::kIpv4) {
    beyond[14 + 6] = 0x1f;
    beyond[14 + 7] = 0xff;
    beyond = ip_checksum_fixed(beyond);
  } else {
    beyond[14 + 40 + 2] = 0xff;
    beyond[14 + 40 + 3] = 0xf9;
  }
  EXPECT_EQ(world.run(beyond, World::kWan).drop, Drop::kFragmentHeader);
}

TEST_P(Fragmented, AFragmentOfOddLengthWithMoreToComeIsDropped) {
  World world(family());
  const Frame sent = datagram(world, 100);
  Frame odd = split(sent, 104, kIdentification)[0];
  odd.pop_back();
  const std::size_t at = family() == Family::kIpv4 ? 14 + 3 : 14 + 5;
  --odd[at];
  EXPECT_EQ(world.run(ip_checksum_fixed(odd), World::kWan).drop, Drop::kFragmentHeader);
}

TEST_P(Fragmented, ALaterFragmentWhoseFirstDoesNotComeIsDroppedAfterItsTime) {
  World world(family());
  const std::vector<Frame> fragments = split(datagram(world), kPiece, kIdentification);
  EXPECT_EQ(world.run(fragments[1], World::kWan).verdict, Verdict::kHoldFragment);
  world.advance(Fragments::kPatienceMs - 1);
  EXPECT_TRUE(world.take_held().empty());
  world.advance(1);
  const std::vector<Outcome> held = world.take_held();
  ASSERT_EQ(held.size(), 1U);
  EXPECT_EQ(held[0].drop, Drop::kFragmentExpired);
  EXPECT_EQ(world.drops(Drop::kFragmentExpired), 1U);
}

TEST_P(Fragmented, ALaterFragmentOfADroppedFirstOneIsDropped) {
  World world(family());
  FrameSpec spec = world.from_client(kProtocolUdp, 4000);
  spec.payload = 400;
  const std::vector<Frame> fragments = split(make_frame(spec), kPiece, kIdentification);
  world.set_dns_backends({});
  world.change_service(World::kDnsId, [](ServicePort& service) { service.maglev = nullptr; });
  EXPECT_EQ(world.run(fragments[0], World::kWan).drop, Drop::kNoBackend);
  world.set_dns_backends({0, 1, 2});
  EXPECT_EQ(world.run(fragments[1], World::kWan).drop, Drop::kFragmentNoFlow);
  EXPECT_EQ(world.drops(Drop::kFragmentNoFlow), 1U);
}

TEST_P(Fragmented, OneClientMayHaveSoManyFragmentsWaiting) {
  World world(family(), {.lcores = 1, .datagrams = 1024});
  const Frame later = split(datagram(world), kPiece, kIdentification)[1];
  std::uint32_t held = 0;
  for (std::uint32_t i = 0; i <= Fragments::kHeldPerClient; ++i) {
    const Frame frame = split(datagram(world), kPiece, 1000 + i)[1];
    held += world.run(frame, World::kWan).verdict == Verdict::kHoldFragment ? 1 : 0;
  }
  EXPECT_EQ(held, Fragments::kHeldPerClient);
  EXPECT_EQ(world.drops(Drop::kFragmentLimit), 1U);
  FrameSpec other = world.from_client(kProtocolUdp, 4000);
  other.source = world.client_on_link;
  other.payload = 1000;
  EXPECT_EQ(world.run(split(make_frame(other), kPiece, 1)[1], World::kWan).verdict,
            Verdict::kHoldFragment)
      << "another client has a quota of its own";
}

TEST_P(Fragmented, ManyDatagramsOfOneClientPushOutItsOwnOldest) {
  World world(family(), {.lcores = 1, .datagrams = 1024});
  FrameSpec other = world.from_client(kProtocolUdp, 4000);
  other.source = world.client_on_link;
  other.payload = 1000;
  const std::vector<Frame> theirs = split(make_frame(other), kPiece, 1);
  EXPECT_EQ(world.run(theirs[1], World::kWan).verdict, Verdict::kHoldFragment);
  for (std::uint32_t i = 0; i < Fragments::kDatagramsPerClient + 10; ++i) {
    world.run(split(datagram(world), kPiece, 1000 + i)[0], World::kWan);
  }
  EXPECT_EQ(world.state.fragments.datagrams(), Fragments::kDatagramsPerClient + 1);
  EXPECT_EQ(world.run(theirs[0], World::kWan).verdict, Verdict::kTransmit);
  EXPECT_EQ(world.take_held().size(), 1U) << "the other client's datagram was left alone";
}

TEST_P(Fragmented, AFullTableGivesUpItsOldestDatagram) {
  World world(family(), {.lcores = 1, .datagrams = 4});
  const auto pieces = [&](std::uint32_t i) { return split(datagram(world), kPiece, i); };
  EXPECT_EQ(world.run(pieces(0)[1], World::kWan).verdict, Verdict::kHoldFragment);
  for (std::uint32_t i = 1; i <= 4; ++i) {
    EXPECT_EQ(world.run(pieces(i)[0], World::kWan).verdict, Verdict::kTransmit);
  }
  const std::vector<Outcome> held = world.take_held();
  ASSERT_EQ(held.size(), 1U);
  EXPECT_EQ(held[0].drop, Drop::kFragmentLimit);
  EXPECT_EQ(world.run(pieces(4)[1], World::kWan).verdict, Verdict::kTransmit);
}

TEST_P(Fragmented, AWholeDatagramLeavesNothingBehind) {
  World world(family());
  for (std::uint32_t i = 0; i < 200; ++i) {
    carry(world, split(datagram(world), kPiece, i));
  }
  for (const auto& lcore : world.lcores) {
    EXPECT_EQ(lcore->state.fragments.datagrams(), 0U);
    EXPECT_EQ(lcore->state.fragments.held(), 0U);
  }
}

TEST_P(Fragmented, FragmentsForNobodyGoToTheKernelAsTheyCame) {
  World world(family(), {.transit_to_kernel = true});
  FrameSpec spec = world.from_client(kProtocolUdp, 4000);
  spec.destination = world.wan_host;
  spec.payload = 400;
  for (const Frame& fragment : split(make_frame(spec), kPiece, kIdentification)) {
    const Outcome outcome = world.run(fragment, World::kWan);
    EXPECT_EQ(outcome.verdict, Verdict::kPunt);
    EXPECT_EQ(outcome.frame, fragment);
  }
}

TEST_P(Fragmented, AFragmentLargerThanTheWayOutIsCutAgainOrItsSenderTold) {
  World world(family(), {.lan_mtu = 1280});
  const Frame sent = datagram(world, 1700);
  const std::vector<Frame> fragments = split(sent, 1400, kIdentification);
  const Outcome first = world.run(fragments[0], World::kWan);
  if (family() == Family::kIpv4) {
    EXPECT_EQ(first.verdict, Verdict::kFragment);
    EXPECT_EQ(first.mtu, 1280);
    return;
  }
  EXPECT_EQ(first.drop, Drop::kMtuExceeded);
  ASSERT_TRUE(first.answered);
  const Frame quote = quote_of(first.frame);
  const Frame original = ip_of(fragments[0]);
  EXPECT_TRUE(std::equal(quote.begin(), quote.end(), original.begin())) << "what its sender knows";
}

TEST(Ipv4, WhatIsLargerThanTheWayOutIsCutWithAnIdentificationOfOurs) {
  World world(Family::kIpv4, {.lan_mtu = 1280});
  FrameSpec spec = world.from_client(kProtocolUdp, 4000);
  spec.payload = 1400;
  Frame sent = make_frame(spec);
  sent[14 + 6] = 0;  // may be fragmented
  sent = ip_checksum_fixed(sent);
  const Outcome first = world.run(sent, World::kWan);
  const Outcome second = world.run(sent, World::kWan);
  EXPECT_EQ(first.verdict, Verdict::kFragment);
  EXPECT_EQ(first.out_port, World::kLan);
  EXPECT_EQ(read_frame(first.frame).fault, "");
  EXPECT_NE(identification_of(first.frame), identification_of(second.frame));
}

TEST(Ipv6, OptionsBehindTheFragmentHeaderAreWalkedInTheFirstFragment) {
  World world(Family::kIpv6);
  FrameSpec spec = world.from_client(kProtocolUdp, 4000);
  spec.payload = 400;
  const Frame plain = make_frame(spec);
  const Frame sent = with_extensions(plain, 60, {{0, 0, 1, 4, 0, 0, 0, 0}});
  std::vector<Frame> fragments = split(sent, kPiece, kIdentification);
  std::reverse(fragments.begin(), fragments.end());
  const std::vector<Outcome> outcomes = carry(world, fragments);
  ASSERT_EQ(outcomes.size(), 3U);
  const Frame whole = join(frames_of(outcomes));
  EXPECT_EQ(read_frame(without_extensions(whole, plain)).fault, "");
}

// What is behind the fragment header shows in the first one only.
std::vector<Frame> esp_fragments(const World& world, const IpAddress& destination) {
  FrameSpec spec = world.from_client(kProtocolUdp, 4000);
  spec.destination = destination;
  spec.payload = 400;
  Frame frame = make_frame(spec);
  frame[14 + 6] = kProtocolEsp;
  return split(frame, kPiece, kIdentification);
}

TEST(Ipv6, FragmentsOfEspInTransitGoToTheKernelInAnyOrderAlsoBesideDnat) {
  for (const bool reversed : {false, true}) {
    World world(Family::kIpv6, {.transit_to_kernel = true, .mode = ForwardingMode::kDnat});
    std::vector<Frame> fragments = esp_fragments(world, world.stranger);
    if (reversed) {
      std::reverse(fragments.begin(), fragments.end());
    }
    const std::vector<Outcome> outcomes = carry(world, fragments);
    ASSERT_EQ(outcomes.size(), fragments.size());
    for (const Outcome& outcome : outcomes) {
      EXPECT_EQ(outcome.verdict, Verdict::kPunt) << name_of(outcome.drop);
      EXPECT_NE(std::find(fragments.begin(), fragments.end(), outcome.frame), fragments.end());
    }
  }
}

TEST(Ipv6, FragmentsOfEspForAVipWaitForNothing) {
  World world(Family::kIpv6);
  for (const Frame& fragment : esp_fragments(world, world.vip)) {
    EXPECT_EQ(name_of(world.run(fragment, World::kWan).drop), name_of(Drop::kFragment));
  }
  EXPECT_EQ(world.held(), 0U);
}

}  // namespace
}  // namespace sluice::testing
