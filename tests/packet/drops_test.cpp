// SPDX-License-Identifier: Apache-2.0
// Every reason to drop a packet, as a table: what arrives, and why it goes no further.
#include "tests/support/world.h"

#include <gtest/gtest.h>

#include <functional>

namespace sluice::testing {
namespace {

constexpr std::size_t kIp = 14;

struct DropCase {
  const char* claim;
  Drop drop;
  std::function<Frame(World&)> arrives;
  std::uint8_t port = World::kWan;
  WorldOptions given = {};
  bool ipv4 = true;  // the families it is about
  bool ipv6 = true;
};

Frame udp(World& world) {
  return make_frame(world.from_client(kProtocolUdp, 4000));
}
Frame syn(World& world) {
  return make_frame(world.from_client(kProtocolTcp, 4000));
}

Frame with(World& world, std::uint8_t protocol, const std::function<void(FrameSpec&)>& change) {
  FrameSpec spec = world.from_client(protocol, 4000);
  change(spec);
  return make_frame(spec);
}

Frame edited(Frame frame, const std::function<void(Frame&)>& edit) {
  edit(frame);
  return frame;
}

const std::vector<DropCase>& header_cases() {
  static const std::vector<DropCase> cases{
      {"AFrameShorterThanItsEthernetHeader", Drop::kTruncated,
       [](World& w) { return edited(udp(w), [](Frame& f) { f.resize(13); }); }},
      {"AFrameShorterThanItsIpHeader", Drop::kTruncated,
       [](World& w) { return edited(udp(w), [](Frame& f) { f.resize(kIp + 19); }); }},
      {"AFrameForAnotherStation", Drop::kOtherStation,
       [](World& w) { return edited(udp(w), [](Frame& f) { f[5] = 0x77; }); }},
      {"AUnicastPacketInALinkLayerBroadcast", Drop::kOtherStation,
       [](World& w) {
         return with(w, kProtocolUdp, [](FrameSpec& s) { s.to_mac = kBroadcastMac; });
       }},
      {"AnEtherTypeWeDoNotKnow", Drop::kEtherType,
       [](World& w) { return edited(udp(w), [](Frame& f) { f[12] = 0x88; }); }},
      {"AnIpv4VersionOfFive",
       Drop::kIpv4Header,
       [](World& w) { return edited(udp(w), [](Frame& f) { f[kIp] = 0x55; }); },
       World::kWan,
       {},
       true,
       false},
      {"AnIpv4HeaderOfFourWords",
       Drop::kIpv4Header,
       [](World& w) { return edited(udp(w), [](Frame& f) { f[kIp] = 0x44; }); },
       World::kWan,
       {},
       true,
       false},
      {"AnIpv4TotalLengthBeyondTheFrame",
       Drop::kIpv4Header,
       [](World& w) { return edited(udp(w), [](Frame& f) { f[kIp + 2] = 0x01; }); },
       World::kWan,
       {},
       true,
       false},
      {"AnIpv4TotalLengthBelowItsHeader",
       Drop::kIpv4Header,
       [](World& w) { return edited(udp(w), [](Frame& f) { f[kIp + 3] = 19; }); },
       World::kWan,
       {},
       true,
       false},
      {"AWrongIpv4Checksum",
       Drop::kIpv4Checksum,
       [](World& w) { return edited(udp(w), [](Frame& f) { f[kIp + 10] ^= 1U; }); },
       World::kWan,
       {},
       true,
       false},
      {"AnIpv6VersionOfFive",
       Drop::kIpv6Header,
       [](World& w) { return edited(udp(w), [](Frame& f) { f[kIp] = 0x50; }); },
       World::kWan,
       {},
       false,
       true},
      {"AnIpv6PayloadBeyondTheFrame",
       Drop::kIpv6Header,
       [](World& w) { return edited(udp(w), [](Frame& f) { f[kIp + 4] = 0x01; }); },
       World::kWan,
       {},
       false,
       true},
  };
  return cases;
}

const std::vector<DropCase>& transport_cases() {
  static const std::vector<DropCase> cases{
      {"AUdpLengthBeyondThePacket", Drop::kTransportHeader,
       [](World& w) { return edited(udp(w), [](Frame& f) { f[f.size() - 11 - 8 + 4] = 0x01; }); }},
      {"ATcpHeaderLongerThanThePacket", Drop::kTransportHeader,
       [](World& w) {
         return edited(syn(w), [](Frame& f) { f[f.size() - 11 - 20 + 12] = 0xf0; });
       }},
      {"ATcpHeaderOfFourWords", Drop::kTransportHeader,
       [](World& w) {
         return edited(syn(w), [](Frame& f) { f[f.size() - 11 - 20 + 12] = 0x40; });
       }},
      {"AnArpRequestForAnotherKindOfAddress",
       Drop::kTransportHeader,
       [](World& w) {
         return edited(make_arp_request(w.client_mac, w.client_on_link, w.vip),
                       [](Frame& f) { f[18] = 8; });
       },
       World::kWan,
       {},
       true,
       false},
      {"ASolicitationThatCrossedARouter",
       Drop::kTransportHeader,
       [](World& w) {
         return edited(make_solicitation(w.client_mac, w.client_on_link, w.vip),
                       [](Frame& f) { f[kIp + 7] = 254; });
       },
       World::kWan,
       {},
       false,
       true},
      {"ASolicitationWithAWrongChecksum",
       Drop::kTransportHeader,
       [](World& w) {
         return edited(make_solicitation(w.client_mac, w.client_on_link, w.vip),
                       [](Frame& f) { f[kIp + 42] ^= 1U; });
       },
       World::kWan,
       {},
       false,
       true},
  };
  return cases;
}

const std::vector<DropCase>& address_cases() {
  static const std::vector<DropCase> cases{
      {"AClientThatClaimsToBeTheVip", Drop::kSourceAddress,
       [](World& w) { return with(w, kProtocolUdp, [&](FrameSpec& s) { s.source = w.vip; }); }},
      {"AClientAtTheLoopbackAddress", Drop::kSourceAddress,
       [](World& w) {
         return with(w, kProtocolUdp, [&](FrameSpec& s) {
           s.source = *parse_ip(w.family == Family::kIpv4 ? "127.0.0.1" : "::1");
         });
       }},
      {"AClientAtAMulticastAddress", Drop::kSourceAddress,
       [](World& w) {
         return with(w, kProtocolUdp, [&](FrameSpec& s) {
           s.source = *parse_ip(w.family == Family::kIpv4 ? "224.0.0.9" : "ff02::9");
         });
       }},
      {"APacketWhoseTtlIsUsedUp", Drop::kTtlExpired,
       [](World& w) { return with(w, kProtocolUdp, [](FrameSpec& s) { s.ttl = 1; }); }},
      {"AFragmentOfNothingWeCarryForTheVip", Drop::kFragment,
       [](World& w) {
         return split(edited(udp(w), [](Frame& f) { f[f[12] == 0x08 ? kIp + 9 : kIp + 6] = 132; }),
                      8, 1)[0];
       }},
      {"AnExtensionHeaderForTheVip",
       Drop::kExtensionHeader,
       [](World& w) { return edited(udp(w), [](Frame& f) { f[kIp + 6] = kProtocolEsp; }); },
       World::kWan,
       {},
       false,
       true},
      {"AnIcmpMessageForTheVipThatIsNoEcho", Drop::kIcmpUnhandled,
       [](World& w) {
         return make_icmp(w.from_client(kProtocolUdp, 0), w.family == Family::kIpv4 ? 13 : 138);
       }},
      {"APacketForNobodyWeServe", Drop::kTransit,
       [](World& w) {
         return with(w, kProtocolUdp, [&](FrameSpec& s) { s.destination = w.stranger; });
       }},
      {"APacketForTheHostOnAPortWithoutATwin",
       Drop::kTransit,
       [](World& w) {
         return with(w, kProtocolUdp, [&](FrameSpec& s) { s.destination = w.wan_host; });
       },
       World::kWan,
       {.twin = false}},
  };
  return cases;
}

const std::vector<DropCase>& service_cases() {
  static const std::vector<DropCase> cases{
      {"APortTheVipDoesNotServe", Drop::kUnknownPort,
       [](World& w) {
         return with(w, kProtocolUdp, [](FrameSpec& s) { s.destination_port = 54; });
       }},
      {"AProtocolTheVipDoesNotServe", Drop::kUnknownPort,
       [](World& w) {
         return with(w, kProtocolUdp, [](FrameSpec& s) { s.destination_port = 80; });
       }},
      {"ATransportThatIsNeitherTcpNorUdp", Drop::kUnknownPort,
       [](World& w) {
         return edited(udp(w), [](Frame& f) {
           f[f[12] == 0x08 ? kIp + 9 : kIp + 6] = 132;
           if (f[12] == 0x08) {
             f[kIp + 10] = f[kIp + 11] = 0;
             const unsigned sum = [&] {
               unsigned total = 0;
               for (std::size_t i = kIp; i < kIp + 20; i += 2) {
                 total += static_cast<unsigned>(f[i] << 8U | f[i + 1]);
               }
               return (total & 0xffffU) + (total >> 16U);
             }();
             f[kIp + 10] = static_cast<std::uint8_t>((0xffff - sum) >> 8U);
             f[kIp + 11] = static_cast<std::uint8_t>((0xffff - sum) & 0xffU);
           }
         });
       }},
      {"APacketForTheSnatAddressWithoutAFlow", Drop::kSnatNoFlow,
       [](World& w) {
         return with(w, kProtocolUdp, [&](FrameSpec& s) { s.destination = w.snat; });
       }},
      {"AClientOutsideTheSourceRanges", Drop::kSourceRange,
       [](World& w) {
         w.change_service(World::kDnsId, [&](ServicePort& s) {
           s.allowed = std::make_shared<SourceRanges>(
               std::vector{prefix_of(w.stranger, w.stranger.bits())});
         });
         return udp(w);
       }},
      {"AClientInADeniedRange", Drop::kSourceDenied,
       [](World& w) {
         w.change_service(World::kDnsId, [&](ServicePort& s) {
           s.denied = std::make_shared<SourceRanges>(std::vector{prefix_of(w.client, 24)});
         });
         return udp(w);
       }},
      {"AServiceWithoutABackend", Drop::kNoBackend,
       [](World& w) {
         return with(w, kProtocolTcp, [](FrameSpec& s) { s.destination_port = 81; });
       }},
      {"AClientOfAServiceThatItsTrafficPolicyShuts", Drop::kTrafficPolicy,
       [](World& w) {
         w.change_service(World::kDnsId, [](ServicePort& s) {
           s.shut = true;
           s.maglev = nullptr;
         });
         return udp(w);
       }},
      {"ANewFlowWhileTheGatewayDrains", Drop::kDraining,
       [](World& w) {
         w.snapshot.draining = true;
         return udp(w);
       }},
      {"ATcpSegmentOfAFlowWeDoNotKnow", Drop::kTcpNoFlow,
       [](World& w) { return with(w, kProtocolTcp, [](FrameSpec& s) { s.tcp_flags = kTcpAck; }); }},
      {"ABackendWeHaveNoRouteTo", Drop::kNoRoute, syn, World::kWan, {.route_to_backends = false}},
      {"AClientWeHaveNoRouteTo", Drop::kNoRoute,
       [](World& w) {
         return with(w, kProtocolTcp, [&](FrameSpec& s) {
           s.source = *parse_ip(w.family == Family::kIpv4 ? "100.64.0.1" : "2001:db8:dead::1");
         });
       }},
      {"APacketLargerThanTheBackendsMtu",
       Drop::kMtuExceeded,
       [](World& w) { return with(w, kProtocolUdp, [](FrameSpec& s) { s.payload = 1400; }); },
       World::kWan,
       {.lan_mtu = 1300}},
  };
  return cases;
}

void expect_dropped(const DropCase& test, Family family) {
  SCOPED_TRACE(test.claim);
  World world(family, test.given);
  const Outcome outcome = world.run(test.arrives(world), test.port);
  EXPECT_TRUE(outcome.verdict == Verdict::kDrop || outcome.answered);
  EXPECT_EQ(name_of(outcome.drop), name_of(test.drop));
  EXPECT_EQ(world.drops(test.drop), 1U) << "counted under its name";
}

void expect_all_dropped(const std::vector<DropCase>& cases) {
  for (const DropCase& test : cases) {
    if (test.ipv4) {
      expect_dropped(test, Family::kIpv4);
    }
    if (test.ipv6) {
      expect_dropped(test, Family::kIpv6);
    }
  }
}

TEST(Drops, MalformedPacketsAreDroppedByNameAndCounted) {
  expect_all_dropped(header_cases());
}

TEST(Drops, MalformedTransportHeadersAreDroppedByNameAndCounted) {
  expect_all_dropped(transport_cases());
}

TEST(Drops, PacketsForNobodyAreDroppedByNameAndCounted) {
  expect_all_dropped(address_cases());
}

TEST(Drops, PacketsWithoutAServiceOrAWayAreDroppedByNameAndCounted) {
  expect_all_dropped(service_cases());
}

class FamilyTest : public ::testing::TestWithParam<Family> {};
INSTANTIATE_TEST_SUITE_P(BothFamilies, FamilyTest, ::testing::Values(Family::kIpv4, Family::kIpv6));

TEST_P(FamilyTest, AFullFlowTableDropsNewFlowsAndKeepsOldOnes) {
  for (const std::uint8_t protocol : {kProtocolUdp, kProtocolTcp}) {
    World world(GetParam(), {.lcores = 1, .flows = 2});
    const auto send = [&](std::uint16_t port) {
      return world.run(make_frame(world.from_client(protocol, port)), World::kWan);
    };
    EXPECT_EQ(send(4000).verdict, Verdict::kTransmit);
    EXPECT_EQ(send(4001).verdict, Verdict::kTransmit);
    EXPECT_EQ(send(4002).drop, Drop::kFlowTableFull);
    const std::uint32_t id = protocol == kProtocolUdp ? World::kDnsId : World::kWebId;
    EXPECT_EQ(world.counters.services[id].drops.get(), 1U);
    EXPECT_EQ(send(4000).verdict, Verdict::kTransmit);
  }
}

TEST_P(FamilyTest, ExhaustedSnatPortsDropNewFlowsAndKeepOldOnes) {
  for (const std::uint8_t protocol : {kProtocolUdp, kProtocolTcp}) {
    World world(GetParam(), {.lcores = 1, .snat_port_begin = 20'000, .snat_port_end = 20'001});
    world.set_dns_backends({0});
    world.set_web_backends({0});
    const auto send = [&](std::uint16_t port) {
      return world.run(make_frame(world.from_client(protocol, port)), World::kWan);
    };
    EXPECT_EQ(send(4000).verdict, Verdict::kTransmit);
    EXPECT_EQ(send(4001).drop, Drop::kSnatExhausted);
    EXPECT_EQ(send(4000).verdict, Verdict::kTransmit);
  }
}

TEST_P(FamilyTest, AnEchoToAVipWithoutBackendsIsNotAnswered) {
  World world(GetParam());
  auto entry = std::make_shared<AddressEntry>(*world.snapshot.addresses->find(world.vip));
  entry->answers_echo = false;
  world.snapshot.addresses = std::make_shared<AddressTable>(
      world.snapshot.addresses->with(std::vector<AddressTable::Change>{{world.vip, entry}}));
  const std::uint8_t type = GetParam() == Family::kIpv4 ? kIcmpEchoRequest : kIcmp6EchoRequest;
  EXPECT_EQ(world.run(make_icmp(world.from_client(0, 0), type), World::kWan).drop,
            Drop::kNoBackend);
}

}  // namespace
}  // namespace sluice::testing
