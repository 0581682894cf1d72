// SPDX-License-Identifier: Apache-2.0
#include "dataplane/lcore/claim.h"

#include "dataplane/stages/pipeline.h"
#include "tests/support/frame.h"

#include <gtest/gtest.h>

namespace sluice::testing {
namespace {

const MacAddress kMac{{2, 0, 0, 0, 7, 7}};

std::vector<std::uint8_t> announcement_of(const IpAddress& address) {
  std::vector<std::uint8_t> memory(256);
  rte_mbuf mbuf{};
  mbuf.buf_addr = memory.data();
  mbuf.buf_len = static_cast<std::uint16_t>(memory.size());
  mbuf.nb_segs = 1;
  EXPECT_TRUE(write_announcement(&mbuf, kMac, address));
  memory.resize(mbuf.pkt_len);
  return memory;
}

TEST(Claim, AGatewaysOwnAnnouncementIsOne) {
  for (const char* text : {"203.0.113.10", "2001:db8:113::10"}) {
    const auto claim = read_claim(announcement_of(*parse_ip(text)));
    ASSERT_TRUE(claim) << text;
    EXPECT_EQ(claim->address, *parse_ip(text));
    EXPECT_EQ(claim->mac, kMac);
  }
}

TEST(Claim, AnArpRequestClaimsItsSender) {
  const auto claim =
      read_claim(make_arp_request(kMac, *parse_ip("192.0.2.7"), *parse_ip("192.0.2.1")));
  ASSERT_TRUE(claim);
  EXPECT_EQ(claim->address, *parse_ip("192.0.2.7"));
}

TEST(Claim, AProbeClaimsNothing) {
  EXPECT_FALSE(read_claim(make_arp_request(kMac, *parse_ip("0.0.0.0"), *parse_ip("192.0.2.1"))));
}

TEST(Claim, ASolicitationAndOtherPacketsClaimNothing) {
  EXPECT_FALSE(
      read_claim(make_solicitation(kMac, *parse_ip("2001:db8::7"), *parse_ip("2001:db8::1"))));
  FrameSpec spec;
  spec.source = *parse_ip("192.0.2.7");
  spec.destination = *parse_ip("192.0.2.1");
  EXPECT_FALSE(read_claim(make_frame(spec)));
}

TEST(Claim, AFrameThatEndsEarlyClaimsNothing) {
  for (const char* text : {"203.0.113.10", "2001:db8:113::10"}) {
    const std::vector<std::uint8_t> whole = announcement_of(*parse_ip(text));
    const std::size_t option = parse_ip(text)->is_ipv4() ? 0 : 8;  // it may be left out
    for (std::size_t length = 0; length + option < whole.size(); ++length) {
      EXPECT_FALSE(read_claim({whole.data(), length})) << text << " " << length;
    }
  }
}

}  // namespace
}  // namespace sluice::testing
