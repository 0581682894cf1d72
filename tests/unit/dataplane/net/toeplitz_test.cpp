// SPDX-License-Identifier: Apache-2.0
#include "dataplane/net/toeplitz.h"

#include "dataplane/net/address.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace sluice {
namespace {

struct Vector {
  const char* destination;
  std::uint16_t destination_port;
  const char* source;
  std::uint16_t source_port;
  std::uint32_t addresses;  // hash of the addresses alone
  std::uint32_t tuple;      // and with the ports
};

// "Verifying the RSS Hash Calculation", Microsoft: the suite that NIC vendors test against.
constexpr Vector kVectors[] = {
    {"161.142.100.80", 1766, "66.9.149.187", 2794, 0x323e8fc2, 0x51ccc178},
    {"65.69.140.83", 4739, "199.92.111.2", 14230, 0xd718262a, 0xc626b0ea},
    {"12.22.207.184", 38024, "24.19.198.95", 12898, 0xd2d0a5de, 0x5c2b394a},
    {"209.142.163.6", 2217, "38.27.205.30", 48228, 0x82989176, 0xafc7327f},
    {"202.188.127.2", 1303, "153.39.163.191", 44251, 0x5d1809c5, 0x10e828a2},
    {"3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794, 0x2cc18cd5, 0x40207d3d},
    {"ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230, 0x0f0c461c, 0xdde51bbf},
    {"fe80::200:f8ff:fe21:67cf", 38024, "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, 0x4b61e985,
     0x02d1feef},
};

std::vector<std::uint8_t> bytes_of(const char* text) {
  const IpAddress address = parse_ip(text).value();
  return {address.bytes.begin(), address.bytes.begin() + address.bits() / 8};
}

void append(std::vector<std::uint8_t>& input, std::uint16_t port) {
  input.push_back(static_cast<std::uint8_t>(port >> 8U));
  input.push_back(static_cast<std::uint8_t>(port));
}

TEST(Toeplitz, IsWhatNicsCompute) {
  const ToeplitzTable<36> table(kMicrosoftToeplitzKey);
  for (const Vector& vector : kVectors) {
    std::vector<std::uint8_t> input = bytes_of(vector.source);
    const std::vector<std::uint8_t> destination = bytes_of(vector.destination);
    input.insert(input.end(), destination.begin(), destination.end());
    EXPECT_EQ(toeplitz(kMicrosoftToeplitzKey, input), vector.addresses) << vector.source;
    append(input, vector.source_port);
    append(input, vector.destination_port);
    EXPECT_EQ(toeplitz(kMicrosoftToeplitzKey, input), vector.tuple) << vector.source;
    EXPECT_EQ(table.part(0, input), vector.tuple) << vector.source;
  }
}

TEST(Toeplitz, ByTablesAndInPartsIsTheSameAsBitByBit) {
  std::mt19937_64 random(20261123);
  for (int turn = 0; turn < 200; ++turn) {
    ToeplitzKey key;
    std::vector<std::uint8_t> input(1 + random() % 36);
    for (auto* bytes : {key.bytes.data(), input.data()}) {
      const std::size_t count = bytes == input.data() ? input.size() : key.bytes.size();
      for (std::size_t i = 0; i < count; ++i) {
        bytes[i] = static_cast<std::uint8_t>(random());
      }
    }
    const ToeplitzTable<36> table(key);
    const std::size_t cut = random() % (input.size() + 1);
    const std::span<const std::uint8_t> whole(input);
    EXPECT_EQ(table.part(0, whole.first(cut)) ^ table.part(cut, whole.subspan(cut)),
              toeplitz(key, whole));
  }
}

}  // namespace
}  // namespace sluice
