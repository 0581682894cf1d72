// SPDX-License-Identifier: Apache-2.0
#include "bench/pktgen/neighbours.h"

#include "tests/unit/bench/pktgen/traffic_cases.h"

#include <gtest/gtest.h>

namespace sluice::pktgen {
namespace {

std::span<const std::uint8_t> bytes_of(const NeighbourMessage& message) {
  return {message.frame.data(), message.bytes};
}

TEST(Neighbours, AreAskedForAndAnswerInBothFamilies) {
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    const Traffic traffic = traffic_of(family, kProtocolUdp);
    const Station asker{traffic.client, 1, traffic.client_mac};
    const Station asked{traffic.backend, 4, traffic.backend_mac};
    IpAddress wanted = traffic.backend;
    wanted.bytes[family == Family::kIpv4 ? 3 : 15] += 3;
    const NeighbourMessage question = ask_for(asker, wanted);
    EXPECT_EQ(mac_told(bytes_of(question), wanted), std::nullopt);
    const auto answer = answer_of(asked, bytes_of(question));
    ASSERT_TRUE(answer);
    EXPECT_EQ(mac_told(bytes_of(*answer), wanted), traffic.backend_mac);
    EXPECT_EQ(mac_told(bytes_of(*answer), traffic.backend), std::nullopt);
    // To the asker alone.
    EXPECT_TRUE(std::equal(traffic.client_mac.bytes.begin(), traffic.client_mac.bytes.end(),
                           answer->frame.begin()));
  }
}

TEST(Neighbours, AreSilentAboutAddressesOfOthers) {
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    const Traffic traffic = traffic_of(family, kProtocolUdp);
    const Station asker{traffic.client, 1, traffic.client_mac};
    const Station asked{traffic.backend, 4, traffic.backend_mac};
    EXPECT_FALSE(answer_of(asked, bytes_of(ask_for(asker, traffic.vip))));
    const NeighbourMessage question = ask_for(asker, traffic.backend);
    EXPECT_FALSE(answer_of(asked, bytes_of(question).first(30)));
  }
}

}  // namespace
}  // namespace sluice::pktgen
