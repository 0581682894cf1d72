// SPDX-License-Identifier: Apache-2.0
// A VLAN of a port is a port of its own; the tag is on the wire only.
#include "dataplane/net/headers.h"
#include "tests/support/world.h"

#include <gtest/gtest.h>

#include <array>

namespace sluice::testing {
namespace {

constexpr std::uint8_t kVlanPort = 2;
constexpr std::uint16_t kVlan = 100;
constexpr NextHopIndex kClientHop = 9;

Frame tagged(const Frame& frame, std::uint16_t control) {
  const std::array<std::uint8_t, 4> tag{0x81, 0x00, static_cast<std::uint8_t>(control >> 8U),
                                        static_cast<std::uint8_t>(control)};
  Frame made = frame;
  made.insert(made.begin() + 12, tag.begin(), tag.end());
  return made;
}

class FamilyTest : public ::testing::TestWithParam<Family> {
 protected:
  FamilyTest() {
    const bool ipv4 = GetParam() == Family::kIpv4;
    client = *parse_ip(ipv4 ? "198.18.0.5" : "2001:db8:5::5");
    world.snapshot.ports.push_back({world.wan_mac, 1500, true, false, kVlan, World::kWan});
    auto entry = std::make_shared<AddressEntry>(*world.snapshot.addresses->find(world.vip));
    entry->answer_ports = 1U << kVlanPort;
    world.snapshot.addresses = std::make_shared<AddressTable>(
        world.snapshot.addresses->with(std::vector<AddressTable::Change>{{world.vip, entry}}));
    world.snapshot.routes = std::make_shared<RouteTable>(
        std::vector<Route>{{*parse_prefix(ipv4 ? "198.18.0.0/24" : "2001:db8:5::/64"),
                            Route::Kind::kOnLink,
                            kVlanPort,
                            {}},
                           {*parse_prefix(ipv4 ? "10.0.0.0/24" : "2001:db8:10::/64"),
                            Route::Kind::kOnLink,
                            World::kLan,
                            {}}});
    NextHop hop;
    hop.header = {world.client_mac, world.wan_mac, kEtherTypeIpv4};
    hop.state = NextHop::State::kReachable;
    hop.port = kVlanPort;
    hop.address = client;
    world.snapshot.next_hops = std::make_shared<NextHopTable>(
        world.snapshot.next_hops->with(std::vector<NextHopTable::Change>{{kClientHop, hop}}));
  }
  [[nodiscard]] Frame request() const {
    FrameSpec spec = world.from_client(kProtocolUdp, 4000);
    spec.source = client;
    spec.from_mac = world.client_mac;
    return make_frame(spec);
  }

  World world{GetParam()};
  IpAddress client;
};
INSTANTIATE_TEST_SUITE_P(BothFamilies, FamilyTest, ::testing::Values(Family::kIpv4, Family::kIpv6));

TEST_P(FamilyTest, ATaggedRequestIsCarriedAndItsAnswerGoesBackIntoTheVlan) {
  const Outcome there = world.run(tagged(request(), kVlan), World::kWan);
  ASSERT_EQ(there.verdict, Verdict::kTransmit) << static_cast<int>(there.drop);
  EXPECT_EQ(there.out_port, World::kLan);
  EXPECT_EQ(read_frame(there.frame).fault, "");
  const Outcome back = world.run(make_frame(world.answer_to(there.frame)), World::kLan);
  ASSERT_EQ(back.verdict, Verdict::kTransmit);
  EXPECT_EQ(back.out_port, kVlanPort) << "where the worker puts the tag on";
  EXPECT_EQ(read_frame(back.frame).fault, "");
}

TEST_P(FamilyTest, AVipIsAnsweredInTheVlanItBelongsToAndNotBesideIt) {
  const Frame asked = GetParam() == Family::kIpv4
                          ? make_arp_request(world.client_mac, client, world.vip)
                          : make_solicitation(world.client_mac, client, world.vip);
  const Outcome in_vlan = world.run(tagged(asked, kVlan), World::kWan);
  EXPECT_EQ(in_vlan.verdict, Verdict::kTransmit);
  EXPECT_EQ(in_vlan.out_port, kVlanPort);
  EXPECT_EQ(world.run(asked, World::kWan).verdict, Verdict::kPunt) << "the kernel's matter";
}

TEST_P(FamilyTest, APriorityWithoutAVlanIsNoTag) {
  const Outcome outcome = world.run(tagged(request(), 0xe000), World::kWan);
  EXPECT_EQ(outcome.verdict, Verdict::kTransmit);
}

TEST_P(FamilyTest, AVlanThatIsNoneOfThePortsIsDroppedByName) {
  EXPECT_EQ(world.run(tagged(request(), kVlan + 1), World::kWan).drop, Drop::kVlan);
  EXPECT_EQ(world.run(tagged(request(), kVlan), World::kLan).drop, Drop::kVlan)
      << "wan's, not lan's";
  EXPECT_EQ(world.drops(Drop::kVlan), 2U);
}

TEST_P(FamilyTest, AFrameThatEndsWithinItsTagIsTruncated) {
  Frame frame = tagged(request(), kVlan);
  frame.resize(16);
  EXPECT_EQ(world.run(frame, World::kWan).drop, Drop::kTruncated);
}

TEST_P(FamilyTest, ATagWithinATagIsNothingWeKnow) {
  EXPECT_EQ(world.run(tagged(tagged(request(), 7), kVlan), World::kWan).drop, Drop::kEtherType);
}

}  // namespace
}  // namespace sluice::testing
