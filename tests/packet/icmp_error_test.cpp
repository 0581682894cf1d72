// SPDX-License-Identifier: Apache-2.0
// ICMP errors about flows: what a router says of a packet of ours reaches the end that sent it, in
// words that end understands (RFC 5508 §4; ICMPv6 by analogy). The judge is the packet as it was
// before the gateway touched it.
#include "tests/support/world.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

namespace sluice::testing {
namespace {

class FamilyTest : public ::testing::TestWithParam<Family> {};
INSTANTIATE_TEST_SUITE_P(BothFamilies, FamilyTest, ::testing::Values(Family::kIpv4, Family::kIpv6));

constexpr std::size_t kIp = 14;
constexpr std::size_t kAll = 5000;

std::size_t header_of(Family family) {
  return family == Family::kIpv4 ? 20 : 40;
}
std::uint8_t unreachable(Family family) {
  return family == Family::kIpv4 ? 3 : 1;
}

// A flow with one packet each way, as sent and as forwarded.
struct Opened {
  Frame from_client, to_backend, from_backend, to_client;
};

Opened open(World& world, std::uint8_t protocol, const FrameSpec& spec) {
  Opened flow;
  flow.from_client = make_frame(spec);
  flow.to_backend = world.run(flow.from_client, World::kWan).frame;
  flow.from_backend = make_frame(
      world.answer_to(flow.to_backend,
                      static_cast<std::uint8_t>(protocol == kProtocolTcp ? kTcpSyn | kTcpAck : 0)));
  flow.to_client = world.run(flow.from_backend, World::kLan).frame;
  return flow;
}

Opened open(World& world, std::uint8_t protocol) {
  FrameSpec spec = world.from_client(protocol, 4321);
  spec.payload = 100;
  return open(world, protocol, spec);
}

// From a router behind the gateway, to the SNAT address; from one before it, to the VIP.
FrameSpec from_backend_side(const World& world) {
  FrameSpec spec;
  spec.from_mac = MacAddress{{2, 0, 0, 0, 2, 9}};
  spec.to_mac = world.lan_mac;
  spec.source = world.stranger;
  spec.destination = world.snat;
  return spec;
}
FrameSpec from_client_side(const World& world) {
  FrameSpec spec = from_backend_side(world);
  spec.to_mac = world.wan_mac;
  spec.destination = world.vip;
  return spec;
}

// The quote is the packet that its receiver sent, as far as it reaches: addresses, ports and
// transport checksum as at first; its TTL as the router saw it, and the header checksum with it.
void expect_quotes(const Frame& error, const Frame& sent, std::size_t length) {
  const Frame quote = quote_of(error);
  Frame expected = ip_of(sent);
  ASSERT_EQ(quote.size(), length);
  expected.resize(length);
  const bool ipv4 = expected[0] >> 4U == 4;
  --expected[ipv4 ? 8 : 7];  // by the gateway
  if (ipv4) {
    const unsigned sum = (expected[10] << 8U | expected[11]) + 0x100U;
    const unsigned folded = (sum & 0xffffU) + (sum >> 16U);
    expected[10] = static_cast<std::uint8_t>(folded >> 8U);
    expected[11] = static_cast<std::uint8_t>(folded & 0xffU);
  }
  EXPECT_EQ(quote, expected);
}

void expect_translated(Family family, std::uint8_t protocol, std::size_t transport) {
  SCOPED_TRACE("protocol " + std::to_string(protocol) + ", quoted " + std::to_string(transport));
  World world(family);
  const Opened flow = open(world, protocol);
  const std::size_t quoted = std::min(ip_of(flow.to_backend).size(), header_of(family) + transport);

  const Outcome back = world.run(
      make_error(from_backend_side(world), unreachable(family), 1, 0, flow.to_backend, quoted),
      World::kLan);
  ASSERT_EQ(back.verdict, Verdict::kTransmit) << name_of(back.drop);
  EXPECT_EQ(back.out_port, World::kWan);
  const FrameFacts at_client = read_frame(back.frame);
  EXPECT_EQ(at_client.fault, "");
  EXPECT_EQ(at_client.source, world.vip) << "the client's path knows this address alone";
  EXPECT_EQ(at_client.destination, world.client);
  EXPECT_EQ(at_client.ttl, 63);
  EXPECT_EQ(at_client.to_mac, world.router_mac);
  expect_quotes(back.frame, flow.from_client, quoted);

  const std::size_t answered =
      std::min(ip_of(flow.to_client).size(), header_of(family) + transport);
  const Outcome there = world.run(
      make_error(from_client_side(world), unreachable(family), 1, 0, flow.to_client, answered),
      World::kWan);
  ASSERT_EQ(there.verdict, Verdict::kTransmit) << name_of(there.drop);
  EXPECT_EQ(there.out_port, World::kLan);
  const FrameFacts at_backend = read_frame(there.frame);
  EXPECT_EQ(at_backend.fault, "");
  EXPECT_EQ(at_backend.source, world.snat);
  EXPECT_EQ(at_backend.destination, read_frame(flow.to_backend).destination);
  expect_quotes(there.frame, flow.from_backend, answered);
}

TEST_P(FamilyTest, AnErrorAboutAFlowReachesTheOtherSideInItsOwnWords) {
  for (const std::uint8_t protocol : {kProtocolTcp, kProtocolUdp}) {
    for (const std::size_t transport : {std::size_t{8}, std::size_t{16}, std::size_t{18}, kAll}) {
      expect_translated(GetParam(), protocol, transport);
    }
  }
}

TEST_P(FamilyTest, TypeCodeAndMtuOfAnErrorStay) {
  const std::vector<std::uint8_t> types = GetParam() == Family::kIpv4
                                              ? std::vector<std::uint8_t>{3, 4, 11, 12}
                                              : std::vector<std::uint8_t>{1, 2, 3, 4};
  World world(GetParam());
  const Opened flow = open(world, kProtocolTcp);
  for (const std::uint8_t type : types) {
    const Outcome back = world.run(
        make_error(from_backend_side(world), type, 4, 1337, flow.to_backend, kAll), World::kLan);
    ASSERT_EQ(back.verdict, Verdict::kTransmit) << name_of(back.drop);
    EXPECT_EQ(read_frame(back.frame).icmp_type, type);
    EXPECT_EQ(back.frame[kIp + header_of(GetParam()) + 1], 4) << "the code";
    EXPECT_EQ(icmp_rest_of(back.frame), 1337U) << "the MTU";
    EXPECT_EQ(read_frame(back.frame).fault, "");
  }
}

TEST_P(FamilyTest, AnErrorFromTheBackendItselfComesFromTheVip) {
  World world(GetParam());
  const Opened flow = open(world, kProtocolUdp);
  FrameSpec spec = from_backend_side(world);
  spec.source = read_frame(flow.to_backend).destination;
  const Outcome back = world.run(
      make_error(spec, unreachable(GetParam()), 3, 0, flow.to_backend, kAll), World::kLan);
  ASSERT_EQ(back.verdict, Verdict::kTransmit);
  EXPECT_EQ(read_frame(back.frame).source, world.vip);
}

TEST(Ipv4, AQuotedUdpChecksumOfZeroStaysNone) {
  World world(Family::kIpv4);
  FrameSpec spec = world.from_client(kProtocolUdp, 4321);
  spec.udp_checksum = false;
  const Opened flow = open(world, kProtocolUdp, spec);
  const Outcome back =
      world.run(make_error(from_backend_side(world), 3, 3, 0, flow.to_backend, kAll), World::kLan);
  ASSERT_EQ(back.verdict, Verdict::kTransmit);
  EXPECT_EQ(read_frame(back.frame).fault, "");
  expect_quotes(back.frame, flow.from_client, ip_of(flow.from_client).size());
}

// The packet as a router quotes it that put options into it.
Frame with_options(Frame frame) {
  const std::array<std::uint8_t, 4> options{1, 1, 1, 0};
  frame.insert(frame.begin() + kIp + 20, options.begin(), options.end());
  frame[kIp] = 0x46;
  frame[kIp + 3] = static_cast<std::uint8_t>(frame[kIp + 3] + 4);
  fix_checksums(frame);
  return frame;
}

TEST(Ipv4, OptionsInTheQuoteAreWalkedPast) {
  World world(Family::kIpv4);
  const Opened flow = open(world, kProtocolUdp);
  const Outcome back =
      world.run(make_error(from_backend_side(world), 11, 0, 0, with_options(flow.to_backend), kAll),
                World::kLan);
  ASSERT_EQ(back.verdict, Verdict::kTransmit) << name_of(back.drop);
  EXPECT_EQ(read_frame(back.frame).fault, "");
  expect_quotes(back.frame, with_options(flow.from_client), ip_of(flow.from_client).size() + 4);
}

// The packet as a fragment, the first one or another.
Frame fragment_of(Frame frame, bool first) {
  if (frame[12] == 0x08) {
    frame[kIp + 6] = 0x20;
    frame[kIp + 7] = first ? 0 : 9;
    unsigned sum = 0;
    frame[kIp + 10] = frame[kIp + 11] = 0;
    for (std::size_t i = kIp; i < kIp + 20; i += 2) {
      sum += static_cast<unsigned>(frame[i] << 8U | frame[i + 1]);
    }
    sum = 0xffffU - ((sum & 0xffffU) + (sum >> 16U));
    frame[kIp + 10] = static_cast<std::uint8_t>(sum >> 8U);
    frame[kIp + 11] = static_cast<std::uint8_t>(sum & 0xffU);
    return frame;
  }
  const std::array<std::uint8_t, 8> header{
      frame[kIp + 6], 0, 0, static_cast<std::uint8_t>(first ? 1 : 73), 0, 0, 0, 7};
  frame.insert(frame.begin() + kIp + 40, header.begin(), header.end());
  frame[kIp + 5] = static_cast<std::uint8_t>(frame[kIp + 5] + 8);
  frame[kIp + 6] = kProtocolFragment6;
  return frame;
}

TEST_P(FamilyTest, AQuotedFirstFragmentIsTranslated) {
  World world(GetParam());
  const Opened flow = open(world, kProtocolUdp);
  const Frame about = fragment_of(flow.to_backend, true);
  const Outcome back =
      world.run(make_error(from_backend_side(world), unreachable(GetParam()), 1, 0, about, kAll),
                World::kLan);
  ASSERT_EQ(back.verdict, Verdict::kTransmit) << name_of(back.drop);
  EXPECT_EQ(read_frame(back.frame).fault, "");
  expect_quotes(back.frame, fragment_of(flow.from_client, true), ip_of(about).size());
}

TEST_P(FamilyTest, AnErrorNeitherRefreshesNorClosesNorCountsForItsFlow) {
  World world(GetParam());
  const Opened flow = open(world, kProtocolTcp);
  std::vector<FlowRow> before;
  std::vector<FlowRow> after;
  collect_flows({}, GetParam(), 0, 16, world.state, 0, 16, before);
  world.state.now_ms += 5000;
  for (const Frame& about : {flow.to_backend, flow.to_backend}) {
    EXPECT_EQ(
        world
            .run(make_error(from_backend_side(world), unreachable(GetParam()), 3, 0, about, kAll),
                 World::kLan)
            .verdict,
        Verdict::kTransmit);
  }
  collect_flows({}, GetParam(), 0, 16, world.state, 0, 16, after);
  ASSERT_EQ(before.size(), 1U);
  ASSERT_EQ(after.size(), 1U);
  EXPECT_EQ(after[0].idle_ms, before[0].idle_ms + 5000);
  EXPECT_EQ(after[0].state, before[0].state);
  EXPECT_EQ(after[0].packets_out, before[0].packets_out);
  EXPECT_EQ(world.counters.services[World::kWebId].flows_opened.get(), 1U);
}

TEST_P(FamilyTest, AnErrorAboutAFlowThatIsOverDoesNotCloseIt) {
  World world(GetParam());
  const Opened flow = open(world, kProtocolTcp);
  for (std::uint32_t i = 0; i < 3; ++i) {
    world.set_binding(World::web_slot(i), BindingState::kActive, 1);
  }
  const Outcome back = world.run(
      make_error(from_backend_side(world), unreachable(GetParam()), 3, 0, flow.to_backend, kAll),
      World::kLan);
  EXPECT_EQ(back.drop, Drop::kIcmpNoFlow);
  EXPECT_EQ(world.counters.services[World::kWebId].flows_closed.get(), 0U);
}

TEST_P(FamilyTest, AnErrorWaitsForANeighbourLikeAnyPacket) {
  World world(GetParam());
  const Opened flow = open(world, kProtocolUdp);
  world.set_next_hop(World::kRouterHop, NextHop::State::kUnresolved, {});
  const Outcome back = world.run(
      make_error(from_backend_side(world), unreachable(GetParam()), 3, 0, flow.to_backend, kAll),
      World::kLan);
  EXPECT_EQ(back.verdict, Verdict::kHold);
  EXPECT_EQ(back.neighbour, world.router);
}

TEST_P(FamilyTest, AnErrorForTheHostIsTheKernels) {
  World world(GetParam());
  const Opened flow = open(world, kProtocolUdp);
  FrameSpec spec = from_client_side(world);
  spec.destination = world.wan_host;
  FrameSpec about = world.from_client(kProtocolUdp, 99);
  about.source = world.wan_host;
  about.destination = world.stranger;
  for (const std::size_t quoted : {kAll, header_of(GetParam()) + 3}) {
    const Frame error = make_error(spec, unreachable(GetParam()), 3, 0, make_frame(about), quoted);
    const Outcome outcome = world.run(error, World::kWan);
    EXPECT_EQ(outcome.verdict, Verdict::kPunt) << name_of(outcome.drop);
    EXPECT_EQ(outcome.frame, error) << "untouched";
  }
}

struct ErrorCase {
  const char* claim;
  Drop drop;
  std::function<Frame(const World&, const Opened&)> arrives;
  bool ipv6 = true;
};

Frame error_about(const World& world, const Frame& about, std::size_t quoted = kAll) {
  return make_error(from_backend_side(world), unreachable(world.family), 1, 0, about, quoted);
}

const std::vector<ErrorCase>& cases() {
  static const std::vector<ErrorCase> list{
      {"AnErrorWhoseChecksumIsWrong", Drop::kIcmpChecksum,
       [](const World& w, const Opened& f) {
         Frame frame = error_about(w, f.to_backend);
         frame.back() ^= 1U;
         return frame;
       }},
      {"AnErrorThatQuotesLessThanEightBytesOfTransport", Drop::kIcmpQuote,
       [](const World& w, const Opened& f) {
         return error_about(w, f.to_backend, header_of(w.family) + 7);
       }},
      {"AnErrorThatQuotesHalfAnIpHeader", Drop::kIcmpQuote,
       [](const World& w, const Opened& f) { return error_about(w, f.to_backend, 19); }},
      {"AnErrorThatQuotesNothing", Drop::kIcmpQuote,
       [](const World& w, const Opened& f) { return error_about(w, f.to_backend, 0); }},
      {"AnErrorAboutALaterFragment", Drop::kIcmpQuote,
       [](const World& w, const Opened& f) {
         return error_about(w, fragment_of(f.to_backend, false));
       }},
      {"AnErrorWhoseQuotedHeaderIsDamaged", Drop::kIcmpQuote,
       [](const World& w, const Opened& f) {
         Frame about = f.to_backend;
         about[kIp + 10] ^= 1U;
         return error_about(w, about);
       },
       false},
      {"AnErrorThatQuotesAnotherVersion", Drop::kIcmpQuote,
       [](const World& w, const Opened& f) {
         Frame about = f.to_backend;
         about[kIp] = 0x55;
         return error_about(w, about);
       }},
      {"AnErrorToSomebodyWhoDidNotSendThePacket", Drop::kIcmpQuote,
       [](const World& w, const Opened& f) { return error_about(w, f.from_client); }},
      {"AnErrorAboutAFlowWeDoNotKnow", Drop::kIcmpNoFlow,
       [](const World& w, const Opened& f) {
         Frame about = f.to_backend;
         about[kIp + header_of(w.family)] ^= 1U;
         return error_about(w, about);
       }},
      {"AnErrorAboutAPacketOfNoFlow", Drop::kIcmpNoFlow,
       [](const World& w, const Opened& /*f*/) {
         FrameSpec echo = from_backend_side(w);
         std::swap(echo.source, echo.destination);
         return error_about(w, make_icmp(echo, 0));
       }},
      {"AnErrorFromAnImpossibleSource", Drop::kSourceAddress,
       [](const World& w, const Opened& f) {
         FrameSpec spec = from_backend_side(w);
         spec.source = *parse_ip(w.family == Family::kIpv4 ? "127.0.0.1" : "::1");
         return make_error(spec, unreachable(w.family), 1, 0, f.to_backend, kAll);
       }},
      {"AnErrorWhoseTtlIsUsedUp", Drop::kTtlExpired,
       [](const World& w, const Opened& f) {
         FrameSpec spec = from_backend_side(w);
         spec.ttl = 1;
         return make_error(spec, unreachable(w.family), 1, 0, f.to_backend, kAll);
       }},
  };
  return list;
}

TEST_P(FamilyTest, ErrorsThatCannotBeTrustedAreDroppedByNameAndNeverAnswered) {
  for (const ErrorCase& test : cases()) {
    if (GetParam() == Family::kIpv6 && !test.ipv6) {
      continue;
    }
    SCOPED_TRACE(test.claim);
    World world(GetParam());
    const Opened flow = open(world, kProtocolUdp);
    const Outcome outcome = world.run(test.arrives(world, flow), World::kLan);
    EXPECT_EQ(outcome.verdict, Verdict::kDrop);
    EXPECT_EQ(name_of(outcome.drop), name_of(test.drop));
    EXPECT_EQ(world.drops(test.drop), 1U);
  }
}

TEST(Ipv6, AnErrorAboutAPacketWithAllTheExtensionHeadersItMayHaveReachesItsSender) {
  World world(Family::kIpv6);
  open(world, kProtocolUdp);
  FrameSpec spec = world.from_client(kProtocolUdp, 4321);
  spec.payload = 100;
  const Frame sent = with_extensions(
      make_frame(spec), 60,
      std::vector(kExtensionHeadersMax, std::vector<std::uint8_t>{0, 0, 1, 4, 0, 0, 0, 0}),
      std::vector<std::uint8_t>(kExtensionHeadersMax - 1, 60));
  const Outcome there = world.run(sent, World::kWan);
  ASSERT_EQ(there.verdict, Verdict::kTransmit) << name_of(there.drop);
  const Frame about = ip_of(there.frame);
  const Outcome back = world.run(
      make_error(from_backend_side(world), 1, 4, 0, there.frame, about.size()), World::kLan);
  ASSERT_EQ(back.verdict, Verdict::kTransmit) << name_of(back.drop);
  EXPECT_EQ(read_frame(back.frame).fault, "");
  EXPECT_EQ(read_frame(back.frame).destination, world.client);
  expect_quotes(back.frame, sent, about.size());
}

}  // namespace
}  // namespace sluice::testing
