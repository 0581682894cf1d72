// SPDX-License-Identifier: Apache-2.0
#include "bench/pktgen/rss.h"

#include "dataplane/snapshot/ownership.h"
#include "tests/unit/bench/pktgen/traffic_cases.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <vector>

namespace sluice::pktgen {
namespace {

TEST(QueueChoice, BringsEachPacketToTheLcoreThatOwnsItsFlowInBothDirections) {
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    for (const std::uint16_t queues : std::initializer_list<std::uint16_t>{2, 3, 8}) {
      const Traffic traffic = traffic_of(family, kProtocolUdp);
      const FrameWriter writer(traffic, 80, 0);
      const QueueChoice choice(traffic, queues);
      const Ownership ownership(static_cast<std::uint8_t>(queues));
      std::vector<unsigned> packets(queues);
      for (std::uint32_t flow = 0; flow < 2'000; ++flow) {
        std::vector<std::uint8_t> frame(128);
        const ClientSide client = client_side(flow, traffic.clients);
        writer.write(frame.data(), client, {flow, 0});
        const std::uint16_t queue = choice.of_source(frame.data());
        ASSERT_EQ(queue,
                  ownership.of_side(advanced(traffic.client, client.address_offset), client.port));
        ++packets[queue];
        turn_round(frame.data());
        ASSERT_EQ(choice.of_destination(frame.data()), queue);
      }
      for (const unsigned count : packets) {
        EXPECT_GT(count, 1'000U / queues);
      }
    }
  }
}

}  // namespace
}  // namespace sluice::pktgen
