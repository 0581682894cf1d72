// SPDX-License-Identifier: Apache-2.0
// What the gateway says in its own name of packets it drops: ICMP errors and TCP resets, made of
// the packet itself.
#include "tests/support/world.h"

#include <gtest/gtest.h>

#include <functional>

namespace sluice::testing {
namespace {

class FamilyTest : public ::testing::TestWithParam<Family> {};
INSTANTIATE_TEST_SUITE_P(BothFamilies, FamilyTest, ::testing::Values(Family::kIpv4, Family::kIpv6));

constexpr std::size_t kIp = 14;

struct Said {
  std::uint8_t type;
  std::uint8_t code;
  std::uint32_t rest = 0;
};

struct ErrorCase {
  const char* claim;
  Drop drop;
  std::function<void(FrameSpec&)> change;
  std::uint8_t protocol;
  Said ipv4;
  Said ipv6;
  WorldOptions given = {};
};

const std::vector<ErrorCase>& error_cases() {
  static const std::vector<ErrorCase> cases{
      {"ATtlThatIsUsedUp",
       Drop::kTtlExpired,
       [](FrameSpec& s) { s.ttl = 1; },
       kProtocolUdp,
       {11, 0},
       {3, 0}},
      {"ATtlThatIsUsedUpOfATcpSegment",
       Drop::kTtlExpired,
       [](FrameSpec& s) { s.ttl = 1; },
       kProtocolTcp,
       {11, 0},
       {3, 0}},
      {"APacketThatDoesNotFit",
       Drop::kMtuExceeded,
       [](FrameSpec& s) { s.payload = 1400; },
       kProtocolUdp,
       {3, 4, 1300},
       {2, 0, 1300},
       {.lan_mtu = 1300}},
      {"ASegmentThatDoesNotFit",
       Drop::kMtuExceeded,
       [](FrameSpec& s) { s.payload = 1400; },
       kProtocolTcp,
       {3, 4, 1300},
       {2, 0, 1300},
       {.lan_mtu = 1300}},
      {"APacketThatDoesNotFitALinkBelowTheLeastMtuOfIpv6",
       Drop::kMtuExceeded,
       [](FrameSpec& s) { s.payload = 1400; },
       kProtocolUdp,
       {3, 4, 1000},
       {2, 0, 1280},
       {.lan_mtu = 1000}},
      {"APortOfTheVipThatNobodyServes",
       Drop::kUnknownPort,
       [](FrameSpec& s) { s.destination_port = 99; },
       kProtocolUdp,
       {3, 3},
       {1, 4}},
      {"AServiceThatRefusesWithoutBackends",
       Drop::kNoBackend,
       [](FrameSpec& s) { s.destination_port = 82; },
       kProtocolUdp,
       {3, 3},
       {1, 4},
       {.refuse = true}},
  };
  return cases;
}

// From the address the packet was sent to, back the way it came, quoting it as it was sent.
void expect_error(const World& world, const Outcome& outcome, const Frame& sent, const Said& said,
                  std::uint8_t port) {
  ASSERT_EQ(outcome.verdict, Verdict::kTransmit);
  ASSERT_TRUE(outcome.answered);
  EXPECT_EQ(outcome.out_port, port);
  const FrameFacts asked = read_frame(sent);
  const FrameFacts facts = read_frame(outcome.frame);
  EXPECT_EQ(facts.fault, "");
  EXPECT_EQ(facts.source, asked.destination);
  EXPECT_EQ(facts.destination, asked.source);
  EXPECT_EQ(facts.to_mac, asked.from_mac);
  EXPECT_EQ(facts.from_mac, asked.to_mac);
  EXPECT_EQ(facts.icmp_type, said.type);
  EXPECT_EQ(outcome.frame[kIp + (world.family == Family::kIpv4 ? 21 : 41)], said.code);
  EXPECT_EQ(icmp_rest_of(outcome.frame), said.rest);
  const std::size_t room = world.family == Family::kIpv4 ? 576 - 28 : 1280 - 48;
  Frame expected = ip_of(sent);
  expected.resize(std::min(expected.size(), room));
  EXPECT_EQ(quote_of(outcome.frame), expected);
}

TEST_P(FamilyTest, TheClientIsToldByAnErrorFromTheVipThatQuotesHisPacket) {
  for (const ErrorCase& test : error_cases()) {
    SCOPED_TRACE(test.claim);
    World world(GetParam(), test.given);
    FrameSpec spec = world.from_client(test.protocol, 4000);
    test.change(spec);
    const Frame sent = make_frame(spec);
    const Outcome outcome = world.run(sent, World::kWan);
    EXPECT_EQ(name_of(outcome.drop), name_of(test.drop));
    EXPECT_EQ(world.drops(test.drop), 1U) << "counted as the drop it is";
    EXPECT_EQ(world.counters.answered[static_cast<std::size_t>(test.drop)].get(), 1U);
    expect_error(world, outcome, sent, GetParam() == Family::kIpv4 ? test.ipv4 : test.ipv6,
                 World::kWan);
  }
}

TEST_P(FamilyTest, TheBackendIsToldByAnErrorFromTheSnatAddress) {
  for (const std::uint8_t protocol : {kProtocolTcp, kProtocolUdp}) {
    World world(GetParam(), {.wan_mtu = 1300});
    const Frame there = world.run(make_frame(world.from_client(protocol, 4000)), World::kWan).frame;
    FrameSpec spec = world.answer_to(there);
    spec.payload = 1400;
    const Said too_big = GetParam() == Family::kIpv4 ? Said{3, 4, 1300} : Said{2, 0, 1300};
    Frame sent = make_frame(spec);
    expect_error(world, world.run(sent, World::kLan), sent, too_big, World::kLan);
    spec.payload = 10;
    spec.ttl = 1;
    sent = make_frame(spec);
    const Said exceeded = GetParam() == Family::kIpv4 ? Said{11, 0} : Said{3, 0};
    expect_error(world, world.run(sent, World::kLan), sent, exceeded, World::kLan);
  }
}

TEST(Ipv4, AQuotedPacketWithoutAUdpChecksumStaysWithoutOne) {
  World world(Family::kIpv4, {.lan_mtu = 1300});
  FrameSpec spec = world.from_client(kProtocolUdp, 4000);
  spec.udp_checksum = false;
  spec.payload = 1400;
  const Frame sent = make_frame(spec);
  expect_error(world, world.run(sent, World::kWan), sent, {3, 4, 1300}, World::kWan);
}

TEST(Ipv4, APacketThatMayBeFragmentedIsSentInFragments) {
  World world(Family::kIpv4, {.lan_mtu = 1300});
  FrameSpec spec = world.from_client(kProtocolUdp, 4000);
  spec.payload = 1400;
  Frame sent = make_frame(spec);
  sent[kIp + 6] = 0;
  fix_checksums(sent);
  const Outcome outcome = world.run(sent, World::kWan);
  EXPECT_EQ(outcome.verdict, Verdict::kFragment);
  EXPECT_EQ(outcome.mtu, 1300);
}

TEST_P(FamilyTest, APacketThatIsTooLargeDoesNotWaitForANeighbour) {
  World world(GetParam(), {.lan_mtu = 1300});
  for (std::uint8_t i = 0; i < 3; ++i) {
    world.set_next_hop(static_cast<NextHopIndex>(World::kBackendHop + i),
                       NextHop::State::kUnresolved, {});
  }
  FrameSpec spec = world.from_client(kProtocolUdp, 4000);
  EXPECT_EQ(world.run(make_frame(spec), World::kWan).verdict, Verdict::kHold);
  spec.payload = 1400;
  const Outcome outcome = world.run(make_frame(spec), World::kWan);
  EXPECT_EQ(outcome.drop, Drop::kMtuExceeded);
  EXPECT_TRUE(outcome.answered);
}

TEST_P(FamilyTest, AProtocolThatIsNotServedIsUnreachable) {
  World world(GetParam());
  const bool ipv4 = GetParam() == Family::kIpv4;
  Frame sent = make_icmp(world.from_client(0, 0), 0);
  sent[ipv4 ? kIp + 9 : kIp + 6] = 132;
  if (ipv4) {
    sent[kIp + 10] = sent[kIp + 11] = 0;
    unsigned sum = 0;
    for (std::size_t i = kIp; i < kIp + 20; i += 2) {
      sum += static_cast<unsigned>(sent[i] << 8U | sent[i + 1]);
    }
    sum = 0xffffU - ((sum & 0xffffU) + (sum >> 16U));
    sent[kIp + 10] = static_cast<std::uint8_t>(sum >> 8U);
    sent[kIp + 11] = static_cast<std::uint8_t>(sum & 0xffU);
  }
  const Outcome outcome = world.run(sent, World::kWan);
  EXPECT_EQ(outcome.drop, Drop::kUnknownPort);
  expect_error(world, outcome, sent, ipv4 ? Said{3, 2} : Said{4, 1, 6}, World::kWan);
}

// ---- TCP

struct ResetCase {
  const char* claim;
  std::uint8_t flags;
  std::size_t payload;
  std::uint32_t sequence;         // of the reset
  std::uint32_t acknowledgement;  // of the reset
  std::uint8_t reset_flags;
};

// make_frame() sends sequence 0x1122'0000 and acknowledges 0.
constexpr std::uint32_t kSent = 0x1122'0000;
constexpr ResetCase kResetCases[] = {
    {"ASyn", kTcpSyn, 0, 0, kSent + 1, kTcpRst | kTcpAck},
    {"ASynWithData", kTcpSyn, 5, 0, kSent + 6, kTcpRst | kTcpAck},
    {"AFinWithoutAnAcknowledgement", kTcpFin, 3, 0, kSent + 4, kTcpRst | kTcpAck},
    {"ASegmentThatAcknowledges", kTcpAck, 9, 0x0a0b'0c0d, 0, kTcpRst},
    {"AFinThatAcknowledges", kTcpFin | kTcpAck, 0, 0x0a0b'0c0d, 0, kTcpRst},
};

std::uint32_t get32(const Frame& frame, std::size_t at) {
  return static_cast<std::uint32_t>(frame[at]) << 24U |
         static_cast<std::uint32_t>(frame[at + 1]) << 16U |
         static_cast<std::uint32_t>(frame[at + 2]) << 8U | frame[at + 3];
}

TEST_P(FamilyTest, AResetHasTheNumbersItsReceiverAccepts) {
  const std::size_t l4 = kIp + (GetParam() == Family::kIpv4 ? 20 : 40);
  for (const ResetCase& test : kResetCases) {
    SCOPED_TRACE(test.claim);
    World world(GetParam());
    FrameSpec spec = world.from_client(kProtocolTcp, 4000, test.flags);
    spec.destination_port = 99;
    spec.payload = test.payload;
    Frame sent = make_frame(spec);
    const std::uint8_t acknowledged[4] = {0x0a, 0x0b, 0x0c, 0x0d};
    std::copy_n(acknowledged, 4, sent.begin() + static_cast<std::ptrdiff_t>(l4) + 8);
    fix_checksums(sent);
    sent.resize(sent.size() + 6);  // a padded frame
    ASSERT_EQ(get32(sent, l4 + 4), kSent);
    const Outcome outcome = world.run(sent, World::kWan);
    ASSERT_EQ(outcome.verdict, Verdict::kTransmit);
    EXPECT_EQ(outcome.drop, Drop::kUnknownPort);
    const FrameFacts facts = read_frame(outcome.frame);
    EXPECT_EQ(facts.fault, "");
    EXPECT_EQ(facts.source, world.vip);
    EXPECT_EQ(facts.source_port, 99);
    EXPECT_EQ(facts.destination, world.client);
    EXPECT_EQ(facts.destination_port, 4000);
    EXPECT_EQ(facts.to_mac, world.router_mac);
    EXPECT_TRUE(facts.payload.empty());
    EXPECT_EQ(outcome.frame.size(), l4 + 20);
    EXPECT_EQ(get32(outcome.frame, l4 + 4), test.sequence);
    EXPECT_EQ(get32(outcome.frame, l4 + 8), test.acknowledgement);
    EXPECT_EQ(outcome.frame[l4 + 13], test.reset_flags);
  }
}

TEST(Ipv4, AResetOfASegmentWithOptionsHasNone) {
  World world(Family::kIpv4);
  FrameSpec spec = world.from_client(kProtocolTcp, 4000);
  spec.destination_port = 99;
  Frame sent = make_frame(spec);
  const std::array<std::uint8_t, 4> options{1, 1, 1, 0};
  sent.insert(sent.begin() + kIp + 20, options.begin(), options.end());
  sent[kIp] = 0x46;
  sent[kIp + 3] = static_cast<std::uint8_t>(sent[kIp + 3] + 4);
  fix_checksums(sent);
  const Outcome outcome = world.run(sent, World::kWan);
  ASSERT_TRUE(outcome.answered);
  EXPECT_EQ(read_frame(outcome.frame).fault, "");
  EXPECT_EQ(outcome.frame.size(), kIp + 40);
}

TEST_P(FamilyTest, ASegmentInMidStreamWithoutAFlowIsReset) {
  World world(GetParam());
  const Outcome client =
      world.run(make_frame(world.from_client(kProtocolTcp, 4000, kTcpAck)), World::kWan);
  EXPECT_EQ(client.drop, Drop::kTcpNoFlow);
  EXPECT_TRUE(client.answered);
  FrameSpec spec = world.from_client(kProtocolTcp, 4000, kTcpAck);
  spec.source = world.backends[0];
  spec.destination = world.snat;
  spec.to_mac = world.lan_mac;
  const Outcome backend = world.run(make_frame(spec), World::kLan);
  EXPECT_EQ(backend.drop, Drop::kSnatNoFlow);
  EXPECT_TRUE(backend.answered);
  EXPECT_EQ(read_frame(backend.frame).source, world.snat);
  EXPECT_EQ(backend.out_port, World::kLan);
}

TEST_P(FamilyTest, AServiceWithoutBackendsResetsWhenItRefusesAndIsSilentOtherwise) {
  for (const bool refuse : {true, false}) {
    World world(GetParam(), {.refuse = refuse});
    FrameSpec spec = world.from_client(kProtocolTcp, 4000);
    spec.destination_port = 81;
    const Outcome outcome = world.run(make_frame(spec), World::kWan);
    EXPECT_EQ(outcome.drop, Drop::kNoBackend);
    EXPECT_EQ(outcome.answered, refuse);
    EXPECT_EQ(world.counters.services[World::kEmptyId].drops.get(), 1U);
  }
}

// ---- silence

TEST_P(FamilyTest, NobodyIsToldWhoMustNotBe) {
  struct Case {
    const char* claim;
    std::function<void(FrameSpec&)> change;
    std::function<void(Frame&)> edit;
    std::uint8_t protocol = kProtocolUdp;
  };
  const bool ipv4 = GetParam() == Family::kIpv4;
  const Case cases[] = {
      {"AReset", [](FrameSpec& s) { s.tcp_flags = kTcpRst; }, [](Frame&) {}, kProtocolTcp},
      {"ABroadcastFrame", [](FrameSpec& s) { s.to_mac = kBroadcastMac; }, [](Frame&) {}},
      {"ALoopbackSource", [&](FrameSpec& s) { s.source = *parse_ip(ipv4 ? "127.0.0.1" : "::1"); },
       [](Frame&) {}},
      {"AMulticastSource",
       [&](FrameSpec& s) { s.source = *parse_ip(ipv4 ? "224.0.0.9" : "ff02::9"); }, [](Frame&) {}},
      {"AnUnspecifiedSource", [&](FrameSpec& s) { s.source = *parse_ip(ipv4 ? "0.0.0.0" : "::"); },
       [](Frame&) {}},
      {"AnIcmpMessageThatIsNoEcho", [](FrameSpec&) {},
       [&](Frame& f) { f = make_icmp(World(GetParam()).from_client(0, 0), ipv4 ? 13 : 138); }},
  };
  for (const Case& test : cases) {
    SCOPED_TRACE(test.claim);
    World world(GetParam());
    FrameSpec spec = world.from_client(test.protocol, 4000);
    spec.destination_port = 99;
    test.change(spec);
    Frame frame = make_frame(spec);
    test.edit(frame);
    EXPECT_EQ(world.run(frame, World::kWan).verdict, Verdict::kDrop);
  }
}

TEST_P(FamilyTest, UnknownPortsAreSilentWhereTheGatewaySaysSo) {
  World world(GetParam());
  world.snapshot.refuse_unknown_ports = false;
  for (const std::uint8_t protocol : {kProtocolTcp, kProtocolUdp}) {
    FrameSpec spec = world.from_client(protocol, 4000);
    spec.destination_port = 99;
    const Outcome outcome = world.run(make_frame(spec), World::kWan);
    EXPECT_EQ(outcome.verdict, Verdict::kDrop);
    EXPECT_EQ(outcome.drop, Drop::kUnknownPort);
  }
}

TEST_P(FamilyTest, AnswersHaveARateAndWhatIsOverItKeepsItsName) {
  World world(GetParam(), {.lcores = 1});
  FrameSpec spec = world.from_client(kProtocolUdp, 4000);
  spec.destination_port = 99;
  const Frame frame = make_frame(spec);
  unsigned told = 0;
  for (unsigned i = 0; i < 300; ++i) {
    told += world.run(frame, World::kWan).answered ? 1U : 0U;
  }
  EXPECT_EQ(told, 100U) << "a tenth of a second's worth at once";
  EXPECT_EQ(world.drops(Drop::kUnknownPort), 300U);
  EXPECT_EQ(world.counters.answered[static_cast<std::size_t>(Drop::kUnknownPort)].get(), 100U);
  spec.ttl = 1;
  spec.destination_port = 53;
  EXPECT_TRUE(world.run(make_frame(spec), World::kWan).answered) << "another kind, another bucket";
  world.state.now_ms += 10;
  EXPECT_TRUE(world.run(frame, World::kWan).answered);
}

TEST_P(FamilyTest, PingsAreAnsweredAtARate) {
  World world(GetParam(), {.lcores = 1});
  const Frame echo = make_icmp(world.from_client(0, 0),
                               GetParam() == Family::kIpv4 ? kIcmpEchoRequest : kIcmp6EchoRequest);
  unsigned answers = 0;
  Outcome last;
  for (unsigned i = 0; i < 1100; ++i) {
    last = world.run(echo, World::kWan);
    answers += last.verdict == Verdict::kTransmit ? 1U : 0U;
  }
  EXPECT_EQ(answers, 1000U);
  EXPECT_EQ(last.drop, Drop::kEchoLimited);
  EXPECT_EQ(world.drops(Drop::kEchoLimited), 100U);
}

TEST_P(FamilyTest, TheKernelIsToldThroughItsTwin) {
  World world(GetParam());
  FrameSpec spec = world.from_client(kProtocolTcp, 4000);
  spec.source = world.wan_host;
  spec.destination_port = 99;
  const Outcome outcome = world.run(make_frame(spec), World::kWan, true);
  EXPECT_EQ(outcome.verdict, Verdict::kPunt);
  EXPECT_EQ(read_frame(outcome.frame).destination, world.wan_host);
}

TEST_P(FamilyTest, ExplainTellsTheReasonAndWhatTheSenderHears) {
  World world(GetParam(), {.refuse = true});
  const auto ask = [&](std::uint8_t protocol, std::uint16_t port) {
    return explain({{world.client, 4000}, {world.vip, port}, protocol, World::kWan}, world.snapshot,
                   world.state, 0);
  };
  EXPECT_EQ(ask(kProtocolTcp, 81).drop_reason, "no_backend");
  EXPECT_EQ(ask(kProtocolTcp, 81).steps.back(), "refuse: its sender is told, by a TCP reset");
  EXPECT_EQ(ask(kProtocolUdp, 99).drop_reason, "unknown_port");
  EXPECT_EQ(ask(kProtocolUdp, 99).steps.back(),
            "refuse: its sender is told, by ICMP port unreachable");
}

}  // namespace
}  // namespace sluice::testing
