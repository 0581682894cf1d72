// SPDX-License-Identifier: Apache-2.0
#include "bench/pktgen/frame.h"

#include "bench/pktgen/inspect.h"
#include "tests/unit/bench/pktgen/traffic_cases.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sluice::pktgen {
namespace {

using Frame = std::vector<std::uint8_t>;

struct Kind {
  Family family;
  std::uint8_t protocol;
};
constexpr Kind kKinds[] = {{Family::kIpv4, kProtocolUdp},
                           {Family::kIpv4, kProtocolTcp},
                           {Family::kIpv6, kProtocolUdp},
                           {Family::kIpv6, kProtocolTcp}};

// RFC 1071, word by word and with no regard to what the writer knows.
std::uint32_t naive_sum(const std::uint8_t* bytes, std::size_t count) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < count; i += 2) {
    sum += std::uint32_t{bytes[i]} << 8U;
    sum += i + 1 < count ? bytes[i + 1] : 0U;
  }
  return sum;
}

std::uint32_t folded(std::uint32_t sum) {
  while (sum > 0xffff) {
    sum = (sum & 0xffff) + (sum >> 16U);
  }
  return sum;
}

bool has_right_checksums(const Frame& frame, const Traffic& traffic) {
  const bool ipv4 = traffic.vip.is_ipv4();
  const std::uint8_t* ip = frame.data() + 14;
  const std::size_t addresses_at = ipv4 ? 12 : 8;
  const std::size_t address = ipv4 ? 4 : 16;
  const std::size_t header = ipv4 ? 20 : 40;
  const std::size_t length = frame.size() - 14 - header;
  const std::uint32_t pseudo = naive_sum(ip + addresses_at, 2 * address) + traffic.protocol +
                               static_cast<std::uint32_t>(length);
  return (!ipv4 || folded(naive_sum(ip, header)) == 0xffff) &&
         folded(pseudo + naive_sum(ip + header, length)) == 0xffff;
}

Frame written(const Traffic& traffic, std::uint16_t bytes, ClientSide client, Signature signature,
              std::uint8_t flags = kTcpAck) {
  Frame frame(std::max<std::size_t>(bytes, 128));
  FrameWriter(traffic, bytes, flags).write(frame.data(), client, signature);
  frame.resize(bytes);
  return frame;
}

// What a gateway without a fault makes of a client's frame: new ends, one hop less.
Frame carried(const Frame& frame, const Traffic& traffic, const IpAddress& source,
              std::uint16_t source_port, const IpAddress& destination,
              std::uint16_t destination_port, std::uint8_t hops) {
  Frame out = frame;
  const bool ipv4 = traffic.vip.is_ipv4();
  const std::size_t transport = traffic.transport_offset();
  const std::size_t address = ipv4 ? 4 : 16;
  std::copy_n(source.bytes.begin(), address, out.begin() + (ipv4 ? 26 : 22));
  std::copy_n(destination.bytes.begin(), address, out.begin() + (ipv4 ? 30 : 38));
  store(out.data() + transport, Be16::from_host(source_port));
  store(out.data() + transport + 2, Be16::from_host(destination_port));
  out[ipv4 ? 22 : 21] = hops;
  const std::size_t checksum = transport + (traffic.protocol == kProtocolUdp ? 6 : 16);
  const std::size_t length = out.size() - transport;
  if (ipv4) {
    store(out.data() + 24, std::uint16_t{0});
    store(out.data() + 24,
          Be16::from_host(static_cast<std::uint16_t>(~folded(naive_sum(out.data() + 14, 20)))));
  }
  store(out.data() + checksum, std::uint16_t{0});
  const std::uint32_t pseudo = naive_sum(out.data() + (ipv4 ? 26 : 22), 2 * address) +
                               traffic.protocol + static_cast<std::uint32_t>(length);
  store(out.data() + checksum, Be16::from_host(static_cast<std::uint16_t>(
                                   ~folded(pseudo + naive_sum(out.data() + transport, length)))));
  return out;
}

TEST(FrameWriter, MakesTheChecksumsThatANaiveSumMakes) {
  for (const Kind kind : kKinds) {
    const Traffic traffic = traffic_of(kind.family, kind.protocol);
    for (const std::uint32_t bytes : {traffic.frame_bytes_min(), 75U, 128U, 1514U}) {
      for (std::uint32_t i = 0; i < 2'000 && bytes >= traffic.frame_bytes_min(); ++i) {
        const std::uint32_t mixed = i * 0x9e37'79b1U;
        const Frame frame =
            written(traffic, static_cast<std::uint16_t>(bytes), client_side(mixed, 256),
                    {mixed ^ 0xffff'0000U, i % 3 == 0 ? 0 : ~mixed});
        ASSERT_TRUE(has_right_checksums(frame, traffic)) << bytes << " bytes, packet " << i;
      }
    }
  }
}

TEST(FrameWriter, NeverSendsAUdpChecksumOfZero) {
  const Traffic traffic = traffic_of(Family::kIpv4, kProtocolUdp);
  const FrameWriter writer(traffic, 60, 0);
  Frame frame(128);
  unsigned all_ones = 0;
  for (std::uint32_t sequence = 0; sequence < 70'000; ++sequence) {
    writer.write(frame.data(), {0, 20'000}, {sequence, 0});
    ASSERT_NE(load<std::uint16_t>(frame.data() + 40), 0);
    all_ones += load<std::uint16_t>(frame.data() + 40) == 0xffff ? 1 : 0;
  }
  EXPECT_GT(all_ones, 0U);  // the case occurred
}

TEST(FrameWriter, LeavesTheUdpChecksumOutWhereAsked) {
  Traffic traffic = traffic_of(Family::kIpv4, kProtocolUdp);
  traffic.udp_checksum = false;
  EXPECT_EQ(load<std::uint16_t>(written(traffic, 60, {3, 20'000}, {7, 9}).data() + 40), 0);
  Traffic six = traffic_of(Family::kIpv6, kProtocolUdp);
  six.udp_checksum = false;  // RFC 8200 §8.1 has no such thing
  EXPECT_TRUE(has_right_checksums(written(six, 70, {3, 20'000}, {7, 9}), six));
}

TEST(FrameReader, KnowsRequestsAndRepliesApartAndNothingElse) {
  for (const Kind kind : kKinds) {
    const Traffic traffic = traffic_of(kind.family, kind.protocol);
    const FrameReader reader(traffic);
    const auto bytes = static_cast<std::uint16_t>(traffic.frame_bytes_min());
    const ClientSide client = client_side(77, traffic.clients);
    const Frame sent = written(traffic, bytes, client, {41, 43});
    EXPECT_FALSE(reader.is_request(sent.data(), bytes));
    const Frame request =
        carried(sent, traffic, traffic.client, 1024, traffic.backend, traffic.target_port, 63);
    EXPECT_TRUE(reader.is_request(request.data(), bytes));
    EXPECT_FALSE(reader.is_request(request.data(), bytes - 1U));
    EXPECT_FALSE(reader.is_reply(request.data(), bytes));
    EXPECT_EQ(reader.signature(request.data()).sequence, 41U);
    EXPECT_EQ(reader.signature(request.data()).stamp, 43U);
    const Frame reply = carried(sent, traffic, traffic.vip, traffic.vip_port,
                                advanced(traffic.client, client.address_offset), client.port, 62);
    EXPECT_TRUE(reader.is_reply(reply.data(), bytes));
    EXPECT_TRUE(reader.is_for(reply.data(), client));
    EXPECT_FALSE(reader.is_for(reply.data(), client_side(78, traffic.clients)));
    Frame other = request;
    other[traffic.vip.is_ipv4() ? 23 : 20] = kProtocolIcmp;
    EXPECT_FALSE(reader.is_request(other.data(), bytes));
  }
}

TEST(TurnRound, MakesARightReplyThatTurnsBackToTheRequest) {
  for (const Kind kind : kKinds) {
    const Traffic traffic = traffic_of(kind.family, kind.protocol);
    const auto bytes = static_cast<std::uint16_t>(traffic.frame_bytes_min());
    const Frame request = written(traffic, bytes, {1, 20'001}, {5, 6});
    Frame frame = request;
    turn_round(frame.data());
    EXPECT_NE(frame, request);
    EXPECT_TRUE(has_right_checksums(frame, traffic));
    turn_round(frame.data());
    EXPECT_EQ(frame, request);
  }
}

TEST(TurnRound, TakesTheStepsOfATcpHandshake) {
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    const Traffic traffic = traffic_of(family, kProtocolTcp);
    const auto bytes = static_cast<std::uint16_t>(traffic.frame_bytes_min());
    Frame frame = written(traffic, bytes, {1, 20'001}, {5, 6}, kTcpSyn);
    const std::size_t flags = traffic.transport_offset() + 13;
    for (const int expected : {kTcpSyn | kTcpAck, int{kTcpAck}, int{kTcpAck}}) {
      turn_round(frame.data());
      EXPECT_EQ(frame[flags], expected);
      EXPECT_TRUE(has_right_checksums(frame, traffic));
    }
  }
}

TEST(Inspection, PassesWhatARightGatewaySendsAndNamesEachFault) {
  for (const Kind kind : kKinds) {
    Traffic traffic = traffic_of(kind.family, kind.protocol);
    traffic.source_kept = true;
    const auto bytes = static_cast<std::uint16_t>(traffic.frame_bytes_min());
    const ClientSide client = client_side(1'234, traffic.clients);
    const IpAddress from = advanced(traffic.client, client.address_offset);
    const Frame sent = written(traffic, bytes, client, {41, 43});
    const auto request = [&](const IpAddress& source, std::uint32_t backend, std::uint16_t port,
                             std::uint8_t hops) {
      const Frame frame = carried(sent, traffic, source, client.port,
                                  advanced(traffic.backend, backend), port, hops);
      const char* fault = fault_of_request(frame, traffic, client);
      return std::string(fault == nullptr ? "right" : fault);
    };
    EXPECT_EQ(request(from, 3, traffic.target_port, 63), "right");
    EXPECT_EQ(request(from, 4, traffic.target_port, 63), "destination is no backend");
    EXPECT_EQ(request(from, 3, 81, 63), "target port");
    EXPECT_EQ(request(traffic.vip, 3, traffic.target_port, 63), "source is not the client");
    EXPECT_NE(request(from, 3, traffic.target_port, 64), "right");
    Frame damaged =
        carried(sent, traffic, from, client.port, traffic.backend, traffic.target_port, 63);
    damaged.back() ^= 1U;
    EXPECT_STREQ(fault_of_request(damaged, traffic, client), "transport checksum");
    const Frame reply =
        carried(sent, traffic, traffic.vip, traffic.vip_port, from, client.port, 62);
    EXPECT_EQ(fault_of_reply(reply, traffic, client), nullptr);
    EXPECT_STREQ(fault_of_reply(reply, traffic, client_side(1'235, traffic.clients)),
                 "destination is another client");
  }
}

}  // namespace
}  // namespace sluice::pktgen
