// SPDX-License-Identifier: Apache-2.0
#include "dataplane/net/checksum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace sluice {
namespace {

using Bytes = std::vector<std::uint8_t>;

// RFC 1071 §1 word for word: 16-bit words in network order, carries added back one by one.
std::uint16_t naive_sum(const Bytes& bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); i += 2) {
    const std::uint32_t low = i + 1 < bytes.size() ? bytes[i + 1] : 0;
    sum += std::uint32_t{bytes[i]} << 8U | low;
    if (sum > 0xffff) {
      sum -= 0xffff;
    }
  }
  return static_cast<std::uint16_t>(sum);
}

std::uint16_t naive_checksum(const Bytes& bytes) {
  return static_cast<std::uint16_t>(~naive_sum(bytes));
}

// What the code under test says, as a number in host order.
std::uint16_t checksum_of(std::span<const std::uint8_t> bytes) {
  return Be16{checksum_finish(checksum_sum(bytes))}.host();
}

Bytes random_bytes(std::mt19937_64& random, std::size_t length) {
  Bytes bytes(length);
  std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<std::uint8_t>(random()); });
  return bytes;
}

void put16(Bytes& bytes, std::size_t at, std::uint16_t value) {
  bytes[at] = static_cast<std::uint8_t>(value >> 8U);
  bytes[at + 1] = static_cast<std::uint8_t>(value);
}

TEST(Checksum, TheExampleOfRfc1071) {
  const Bytes bytes{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};  // §3: the sum is ddf2
  EXPECT_EQ(Be16{fold(checksum_sum(bytes))}.host(), 0xddf2);
  EXPECT_EQ(checksum_of(bytes), 0x220d);
}

TEST(Checksum, AKnownIpv4HeaderVerifies) {
  Bytes header{0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11,
               0x00, 0x00, 0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7};
  EXPECT_EQ(checksum_of(header), 0xb861);
  put16(header, 10, 0xb861);
  EXPECT_EQ(checksum_of(header), 0);
}

TEST(Checksum, EveryLengthAgreesWithTheNaiveLoop) {
  std::mt19937_64 random(1);
  for (std::size_t length = 1; length <= 1600; ++length) {
    const Bytes bytes = random_bytes(random, length);
    ASSERT_EQ(checksum_of(bytes), naive_checksum(bytes)) << "length " << length;
  }
}

TEST(Checksum, TheStartNeedNoAlignment) {
  std::mt19937_64 random(2);
  const Bytes bytes = random_bytes(random, 100);
  for (std::size_t begin = 0; begin < 16; ++begin) {
    const Bytes part(bytes.begin() + static_cast<std::ptrdiff_t>(begin), bytes.end());
    ASSERT_EQ(checksum_of(std::span(bytes).subspan(begin)), naive_checksum(part));
  }
}

TEST(Checksum, CarriesAreNotLostInTheLargestPacket) {
  const Bytes ones(65'535, 0xff);
  EXPECT_EQ(checksum_of(ones), naive_checksum(ones));
  EXPECT_EQ(fold(~ChecksumSum{0}), 0xffff);
  EXPECT_EQ(fold(0), 0);
}

TEST(Checksum, NothingSumsToZero) {
  const Bytes bytes{1};
  EXPECT_EQ(checksum_sum(std::span(bytes).first(0)), 0U);
}

TEST(Checksum, PartsOfEvenLengthAddUpToTheWhole) {
  std::mt19937_64 random(3);
  for (std::size_t split = 0; split <= 64; split += 2) {
    const Bytes bytes = random_bytes(random, 65);
    const auto whole = std::span<const std::uint8_t>(bytes);
    const ChecksumSum parts = checksum_sum(whole.subspan(split), checksum_sum(whole.first(split)));
    ASSERT_EQ(fold(parts), fold(checksum_sum(whole))) << "split at " << split;
  }
}

TEST(Checksum, ThePseudoHeadersAreThoseOfTheRfcs) {
  std::mt19937_64 random(4);
  for (int i = 0; i < 1'000; ++i) {
    const Bytes addresses = random_bytes(random, 32);
    const auto protocol = static_cast<std::uint8_t>(random());
    const auto length = static_cast<std::uint16_t>(random());

    Bytes four(addresses.begin(), addresses.begin() + 8);  // RFC 9293 §3.1
    four.insert(four.end(), {0, protocol, 0, 0});
    put16(four, 10, length);
    Ipv4Address source4{};
    Ipv4Address destination4{};
    std::memcpy(&source4, addresses.data(), 4);
    std::memcpy(&destination4, addresses.data() + 4, 4);
    ASSERT_EQ(Be16{fold(pseudo_header_sum(source4, destination4, protocol, length))}.host(),
              naive_sum(four));

    Bytes six = addresses;  // RFC 8200 §8.1
    six.insert(six.end(), {0, 0, 0, 0, 0, 0, 0, protocol});
    put16(six, 34, length);
    Ipv6Address source6{};
    Ipv6Address destination6{};
    std::memcpy(&source6, addresses.data(), 16);
    std::memcpy(&destination6, addresses.data() + 16, 16);
    const auto length6 = std::uint32_t{length};
    ASSERT_EQ(Be16{fold(pseudo_header_sum(source6, destination6, protocol, length6))}.host(),
              naive_sum(six));
  }
}

// A jumbo length needs its upper half in the sum, too.
TEST(Checksum, TheIpv6PseudoHeaderTakesAThirtyTwoBitLength) {
  Bytes six(40, 0);
  put16(six, 32, 0x0001);
  put16(six, 34, 0x0002);
  six[39] = 6;
  EXPECT_EQ(Be16{fold(pseudo_header_sum(Ipv6Address{}, Ipv6Address{}, 6, 0x00010002U))}.host(),
            naive_sum(six));
}

TEST(ChecksumDelta, TheExampleOfRfc1624) {
  // §4: HC = 0xDD2F, m = 0x5555, m' = 0x3285; equation 2 errs to 0xFFFF, equation 3 gives 0x0000.
  const auto delta =
      ChecksumDelta::exchange(Be16::from_host(0x5555).raw, Be16::from_host(0x3285).raw);
  EXPECT_EQ(checksum_update(Be16::from_host(0xdd2f), delta).host(), 0x0000);
}

// One random exchange of `width` words in a header whose checksum is at 10: what the update gives
// must be what the naive loop gives over the changed header.
void exchange_words(std::mt19937_64& random, std::size_t width) {
  Bytes header = random_bytes(random, 40);
  header[0] = 0x45;  // not all zero, as in any IP header
  put16(header, 10, 0);
  const std::uint16_t before = naive_checksum(header);
  const std::size_t at = 12 + random() % 4 * 2;
  const auto words = std::span(header).subspan(at, width * 2);
  const ChecksumSum old_sum = checksum_sum(words);
  for (std::uint8_t& byte : words) {
    byte = random() % 4 == 0 ? std::uint8_t{0} : static_cast<std::uint8_t>(random());
  }
  const auto delta = ChecksumDelta::exchange(old_sum, checksum_sum(words));
  const Be16 updated = checksum_update(Be16::from_host(before), delta);
  ASSERT_EQ(updated.host(), naive_checksum(header));
  ASSERT_EQ(checksum_update(updated, delta.reversed()).host(), before);
}

TEST(ChecksumDelta, AnUpdateEqualsAFullComputationAndItsReverseUndoesIt) {
  std::mt19937_64 random(5);
  for (int i = 0; i < 100'000; ++i) {
    ASSERT_NO_FATAL_FAILURE(exchange_words(random, 1 + random() % 8));
  }
}

// NAT there and back on both words of interest: no pair of checksum and delta may be lost.
TEST(ChecksumDelta, ThereAndBackVerifiesForEveryChecksum) {
  for (std::uint32_t checksum = 0; checksum <= 0xffff; ++checksum) {
    for (const unsigned word : {0x0000U, 0x0001U, 0x7fffU, 0x8000U, 0xfffeU, 0xffffU}) {
      const ChecksumDelta delta{static_cast<std::uint16_t>(word)};
      const Be16 there = checksum_update(Be16{static_cast<std::uint16_t>(checksum)}, delta);
      const std::uint16_t back = checksum_update(there, delta.reversed()).raw;
      // 0x0000 and 0xffff are both zero in one's complement, so either verifies.
      ASSERT_EQ(back % 0xffffU, checksum % 0xffffU) << checksum << " by " << word;
    }
  }
}

}  // namespace
}  // namespace sluice
