// SPDX-License-Identifier: Apache-2.0
// IPv4 options and IPv6 extension headers: which cross the gateway, and which are dropped by name.
#include "tests/support/world.h"

#include <gtest/gtest.h>

namespace sluice::testing {
namespace {

struct OptionCase {
  const char* claim;
  std::vector<std::uint8_t> options;
  Drop drop;
};

TEST(Ipv4, OptionsPassExceptSourceRoutesAndMalformedOnes) {
  const std::vector<OptionCase> cases{
      {"RouterAlert", {148, 4, 0, 0}, Drop::kNone},
      {"RecordRoute", {7, 7, 4, 0, 0, 0, 0}, Drop::kNone},
      {"NoOperationsAndAnEnd", {1, 1, 0, 99}, Drop::kNone},
      {"LooseSourceRoute", {131, 7, 4, 10, 0, 0, 1}, Drop::kIpv4Options},
      {"StrictSourceRouteBehindAnother", {1, 137, 7, 4, 10, 0, 0, 1}, Drop::kIpv4Options},
      {"AnOptionOfLengthZero", {7, 0, 0, 0}, Drop::kIpv4Options},
      {"AnOptionLongerThanTheHeader", {7, 40, 4, 0}, Drop::kIpv4Options},
      {"AnOptionWithoutItsLength", {1, 1, 1, 7}, Drop::kIpv4Options},
  };
  for (const OptionCase& test : cases) {
    SCOPED_TRACE(test.claim);
    World world(Family::kIpv4);
    const Frame sent =
        with_options(make_frame(world.from_client(kProtocolUdp, 4000)), test.options);
    const Outcome outcome = world.run(sent, World::kWan);
    if (test.drop == Drop::kNone) {
      EXPECT_EQ(outcome.verdict, Verdict::kTransmit);
      EXPECT_EQ(read_frame(outcome.frame).fault, "");
    } else {
      EXPECT_EQ(name_of(outcome.drop), name_of(test.drop));
    }
  }
}

struct ExtensionCase {
  const char* claim;
  std::uint8_t first;
  std::vector<std::vector<std::uint8_t>> headers;
  std::vector<std::uint8_t> following;
  Drop drop;
};

TEST(Ipv6, ExtensionHeadersThatCanCrossANatPassAndOthersAreDroppedByName) {
  const std::vector<std::uint8_t> options{0, 0, 1, 4, 0, 0, 0, 0};
  const std::vector<std::uint8_t> routed{0, 0, 4, 0, 0, 0, 0, 0};
  const std::vector<std::uint8_t> routing{0, 0, 4, 1, 0, 0, 0, 0};
  std::vector<std::uint8_t> longer(24);
  longer[1] = 2;
  std::vector<std::uint8_t> beyond(8);
  beyond[1] = 200;
  const std::vector<ExtensionCase> cases{
      {"HopByHop", 0, {options}, {}, Drop::kNone},
      {"DestinationOptions", 60, {longer}, {}, Drop::kNone},
      {"ARoutingHeaderThatIsUsedUp", 43, {routed}, {}, Drop::kNone},
      {"HopByHopThenDestination", 0, {options, longer}, {60}, Drop::kNone},
      {"AnAtomicFragment", 44, {std::vector<std::uint8_t>(8)}, {}, Drop::kNone},
      {"OptionsBehindAnAtomicFragment",
       44,
       {std::vector<std::uint8_t>(8), options},
       {60},
       Drop::kNone},
      {"ARoutingHeaderWithSegmentsLeft", 43, {routing}, {}, Drop::kExtensionHeader},
      {"HopByHopThatIsNotFirst", 60, {options, options}, {0}, Drop::kExtensionHeader},
      {"Authentication", 51, {options}, {}, Drop::kExtensionHeader},
      {"Mobility", 135, {options}, {}, Drop::kExtensionHeader},
      {"AHeaderBeyondThePacket", 60, {beyond}, {}, Drop::kExtensionHeader},
      {"EightHeaders", 60, std::vector(8, options), std::vector<std::uint8_t>(7, 60), Drop::kNone},
      {"NineHeaders", 60, std::vector(9, options), std::vector<std::uint8_t>(8, 60),
       Drop::kExtensionHeader},
      {"TwoFragmentHeaders",
       44,
       {std::vector<std::uint8_t>{0, 0, 0, 1, 0, 0, 0, 1}, std::vector<std::uint8_t>(8)},
       {44},
       Drop::kFragment},
  };
  for (const ExtensionCase& test : cases) {
    SCOPED_TRACE(test.claim);
    World world(Family::kIpv6);
    FrameSpec spec = world.from_client(kProtocolUdp, 4000);
    spec.payload = 16;  // a multiple of 8 in all, as fragments have
    const Frame plain = make_frame(spec);
    const Outcome outcome =
        world.run(with_extensions(plain, test.first, test.headers, test.following), World::kWan);
    if (test.drop != Drop::kNone) {
      EXPECT_EQ(name_of(outcome.drop), name_of(test.drop));
      continue;
    }
    ASSERT_EQ(outcome.verdict, Verdict::kTransmit) << name_of(outcome.drop);
    const FrameFacts facts = read_frame(without_extensions(outcome.frame, plain));
    EXPECT_EQ(facts.fault, "");
    EXPECT_EQ(facts.destination_port, 5353);
  }
}

TEST(Ipv6, AnUnknownPortBehindExtensionHeadersIsRefusedWithTheWholePacketQuoted) {
  World world(Family::kIpv6);
  world.snapshot.refuse_unknown_ports = true;
  FrameSpec spec = world.from_client(kProtocolUdp, 4000);
  spec.destination_port = 54;
  const Frame sent = with_extensions(make_frame(spec), 60, {{0, 0, 1, 4, 0, 0, 0, 0}});
  const Outcome outcome = world.run(sent, World::kWan);
  ASSERT_TRUE(outcome.answered);
  EXPECT_EQ(quote_of(outcome.frame), ip_of(sent));
}

}  // namespace
}  // namespace sluice::testing
