// SPDX-License-Identifier: Apache-2.0
#include "dataplane/net/endian.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <type_traits>

namespace sluice {
namespace {

// A missing byte swap must not compile.
static_assert(!std::is_convertible_v<Be16, std::uint16_t>);
static_assert(!std::is_convertible_v<std::uint16_t, Be16>);
static_assert(!std::is_convertible_v<Be32, std::uint32_t>);
static_assert(!std::is_convertible_v<Be16, Be32>);
static_assert(std::is_trivially_copyable_v<Be32> && std::has_unique_object_representations_v<Be32>);

template <typename T>
std::array<std::uint8_t, sizeof(T)> bytes_of(T value) {
  std::array<std::uint8_t, sizeof(T)> bytes{};
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

TEST(Endian, TheMostSignificantByteComesFirstInMemory) {
  EXPECT_EQ(bytes_of(Be16::from_host(0x0102)), (std::array<std::uint8_t, 2>{1, 2}));
  EXPECT_EQ(bytes_of(Be32::from_host(0x01020304)), (std::array<std::uint8_t, 4>{1, 2, 3, 4}));
  EXPECT_EQ(bytes_of(BigEndian<std::uint64_t>::from_host(0x0102030405060708)),
            (std::array<std::uint8_t, 8>{1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(bytes_of(BigEndian<std::uint8_t>::from_host(7)), (std::array<std::uint8_t, 1>{7}));
}

TEST(Endian, EverySixteenBitValueComesBack) {
  for (std::uint32_t value = 0; value <= 0xffff; ++value) {
    const auto host = static_cast<std::uint16_t>(value);
    ASSERT_EQ(Be16::from_host(host).host(), host);
    ASSERT_EQ(Be16::from_host(host).raw, static_cast<std::uint16_t>(host << 8U | host >> 8U));
  }
}

TEST(Endian, EachByteOfAThirtyTwoBitValueComesBack) {
  for (unsigned shift = 0; shift < 32; ++shift) {
    const std::uint32_t host = 1U << shift;
    ASSERT_EQ(Be32::from_host(host).host(), host);
  }
}

TEST(Endian, OrderIsByValueNotByMemory) {
  EXPECT_LT(Be16::from_host(0x0100), Be16::from_host(0x0201));
  EXPECT_LT(Be16::from_host(0x00ff), Be16::from_host(0x0100));
  EXPECT_LT(Be32::from_host(0x000000ff), Be32::from_host(0x01000000));
  EXPECT_EQ(Be32::from_host(5), Be32::from_host(5));
}

}  // namespace
}  // namespace sluice
