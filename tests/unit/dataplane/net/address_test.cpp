// SPDX-License-Identifier: Apache-2.0
#include "dataplane/net/address.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <unordered_set>
#include <vector>

namespace sluice {
namespace {

IpAddress ip(std::string_view text) {
  const auto address = parse_ip(text);
  EXPECT_TRUE(address.has_value()) << text;
  return address.value_or(IpAddress{});
}

IpAddress random_address(std::mt19937_64& random, Family family) {
  IpAddress address;
  address.family = family;
  for (std::size_t i = 0; i < address.bits() / 8U; ++i) {
    address.bytes[i] = static_cast<std::uint8_t>(random());
  }
  return address;
}

bool bit(const IpAddress& address, std::size_t index) {
  return (address.bytes[index / 8] >> (7 - index % 8) & 1) != 0;
}

TEST(Address, Ipv4LiesInTheFirstFourBytes) {
  const IpAddress address = ip("192.0.2.1");
  EXPECT_TRUE(address.is_ipv4());
  EXPECT_EQ(address.v4().value.host(), 0xc0000201U);
  EXPECT_EQ(address.bytes, (std::array<std::uint8_t, 16>{192, 0, 2, 1}));
  EXPECT_EQ(IpAddress(address.v4()), address);
}

// RFC 5952: §4.1 leading zeros, §4.2.1 as short as possible, §4.2.2 no lone group, §4.2.3 the
// longest run and of equals the first, §4.3 lower case, §5 embedded IPv4.
TEST(Address, Ipv6TextIsTheFormOfRfc5952) {
  const std::vector<std::pair<const char*, const char*>> cases{
      {"2001:0db8::0001", "2001:db8::1"},
      {"2001:db8:0:0:0:0:2:1", "2001:db8::2:1"},
      {"2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
      {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},
      {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
      {"2001:DB8::AAAA", "2001:db8::aaaa"},
      {"0:0:0:0:0:0:0:0", "::"},
      {"0:0:0:0:0:0:0:1", "::1"},
      {"::ffff:c000:201", "::ffff:192.0.2.1"},
      {"fe80::1", "fe80::1"},
  };
  for (const auto& [text, canonical] : cases) {
    EXPECT_EQ(to_string(ip(text)), canonical) << text;
  }
}

TEST(Address, TextOfAnyAddressParsesBackToIt) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 20'000; ++i) {
    IpAddress address = random_address(random, i % 2 == 0 ? Family::kIpv4 : Family::kIpv6);
    for (std::size_t group = 0; group < address.bits() / 16U; ++group) {
      if (random() % 2 == 0) {  // runs of zero groups are what the text form is about
        address.bytes[group * 2] = 0;
        address.bytes[group * 2 + 1] = 0;
      }
    }
    ASSERT_EQ(parse_ip(to_string(address)), address) << to_string(address);
  }
}

TEST(Address, WhatIsNotExactlyOneAddressIsRefused) {
  using namespace std::string_view_literals;
  for (const std::string_view text : {""sv,
                                      " "sv,
                                      "192.0.2"sv,
                                      "192.0.2.1.1"sv,
                                      "192.0.2.256"sv,
                                      "192.0.2.01"sv,
                                      "192.0.2.1 "sv,
                                      " 192.0.2.1"sv,
                                      "192.0.2.1\0"sv,
                                      "192.0.2.1/32"sv,
                                      "0x7f.0.0.1"sv,
                                      "1"sv,
                                      "::1%lo"sv,
                                      "fe80::1%eth0"sv,
                                      "[::1]"sv,
                                      "1::2::3"sv,
                                      "1:2:3:4:5:6:7"sv,
                                      "1:2:3:4:5:6:7:8:9"sv,
                                      "12345::"sv,
                                      "::g"sv,
                                      "example.org"sv,
                                      ":"sv,
                                      "::1\n"sv}) {
    EXPECT_FALSE(parse_ip(text).has_value()) << text;
  }
}

TEST(Address, OrderIsIpv4FirstThenNumeric) {
  const std::vector<const char*> ascending{
      "0.0.0.0", "1.2.3.4", "2.0.0.0",    "10.0.0.0", "255.255.255.255",
      "::",      "::1",     "2001:db8::", "ff02::1"};
  for (std::size_t i = 0; i + 1 < ascending.size(); ++i) {
    EXPECT_LT(ip(ascending[i]), ip(ascending[i + 1])) << ascending[i];
  }
  EXPECT_LT(ip("1.2.3.4").v4(), ip("2.0.0.0").v4());
}

TEST(Address, KindsAreRecognisedAtTheirBoundaries) {
  EXPECT_TRUE(ip("0.0.0.0").is_unspecified());
  EXPECT_TRUE(ip("::").is_unspecified());
  EXPECT_FALSE(ip("::1").is_unspecified());
  EXPECT_TRUE(ip("127.255.255.255").is_loopback());
  EXPECT_FALSE(ip("128.0.0.0").is_loopback());
  EXPECT_FALSE(ip("126.255.255.255").is_loopback());
  EXPECT_TRUE(ip("::1").is_loopback());
  EXPECT_FALSE(ip("::2").is_loopback());
  EXPECT_TRUE(ip("224.0.0.0").is_multicast());
  EXPECT_TRUE(ip("239.255.255.255").is_multicast());
  EXPECT_FALSE(ip("223.255.255.255").is_multicast());
  EXPECT_FALSE(ip("240.0.0.0").is_multicast());
  EXPECT_TRUE(ip("ff02::1").is_multicast());
  EXPECT_FALSE(ip("fe80::1").is_multicast());
  EXPECT_TRUE(ip("169.254.0.1").is_link_local());
  EXPECT_FALSE(ip("169.255.0.1").is_link_local());
  EXPECT_TRUE(ip("fe80::1").is_link_local());
  EXPECT_TRUE(ip("febf::1").is_link_local());
  EXPECT_FALSE(ip("fec0::1").is_link_local());
}

TEST(Prefix, TheRestIsClearedBitByBit) {
  std::mt19937_64 random(2);
  for (int i = 0; i < 4'000; ++i) {
    const IpAddress address = random_address(random, i % 2 == 0 ? Family::kIpv4 : Family::kIpv6);
    const auto length = static_cast<std::uint8_t>(random() % (address.bits() + 1U));
    const IpPrefix prefix = prefix_of(address, length);
    ASSERT_EQ(prefix.length, length);
    for (std::size_t index = 0; index < address.bits(); ++index) {
      ASSERT_EQ(bit(prefix.address, index), index < length && bit(address, index));
    }
    ASSERT_TRUE(prefix.contains(address));
  }
}

TEST(Prefix, ContainsComparesItsLengthAndNoMore) {
  std::mt19937_64 random(3);
  for (int i = 0; i < 4'000; ++i) {
    const IpAddress inside = random_address(random, i % 2 == 0 ? Family::kIpv4 : Family::kIpv6);
    const auto length = static_cast<std::uint8_t>(random() % (inside.bits() + 1U));
    const IpPrefix prefix = prefix_of(inside, length);
    const std::size_t flipped = random() % inside.bits();
    IpAddress other = inside;
    other.bytes[flipped / 8] ^= static_cast<std::uint8_t>(1U << (7 - flipped % 8));
    ASSERT_EQ(prefix.contains(other), flipped >= length);
  }
}

TEST(Prefix, NoPrefixContainsTheOtherFamily) {
  EXPECT_FALSE(parse_prefix("0.0.0.0/0")->contains(ip("::")));
  EXPECT_FALSE(parse_prefix("::/0")->contains(ip("0.0.0.0")));
}

TEST(Prefix, TextParsesBackAndHostBitsAreRefused) {
  for (const char* text : {"0.0.0.0/0", "192.0.2.0/24", "192.0.2.1/32", "192.0.2.128/25", "::/0",
                           "2001:db8::/32", "2001:db8::1/128"}) {
    const auto prefix = parse_prefix(text);
    ASSERT_TRUE(prefix.has_value()) << text;
    EXPECT_EQ(to_string(*prefix), text);
  }
  for (const char* text :
       {"192.0.2.1/24", "192.0.2.0/33", "2001:db8::/129", "192.0.2.0", "192.0.2.0/", "/24",
        "192.0.2.0/-1", "192.0.2.0/+8", "192.0.2.0/24 ", "192.0.2.0/ 24", "192.0.2.0/24/24",
        "2001:db8::1/64", "192.0.2.0/99999999999999999999", ""}) {
    EXPECT_FALSE(parse_prefix(text).has_value()) << text;
  }
}

TEST(Mac, TextParsesBackAndAnythingElseIsRefused) {
  const auto mac = parse_mac("02:00:5E:10:fF:0a");
  ASSERT_TRUE(mac.has_value());
  EXPECT_EQ(to_string(*mac), "02:00:5e:10:ff:0a");
  for (const char* text : {"", "02:00:5e:10:ff", "02:00:5e:10:ff:0", "02:00:5e:10:ff:0g",
                           "02-00-5e-10-ff-0a", "2:00:5e:10:ff:00a", "02:00:5e:10:ff:0a:",
                           "02:00:5e:10:ff:-1", " 2:00:5e:10:ff:0a", "02:00:5e:10:ff:+1"}) {
    EXPECT_FALSE(parse_mac(text).has_value()) << text;
  }
}

TEST(Mac, KindsAreRecognised) {
  EXPECT_TRUE(kBroadcastMac.is_multicast());
  EXPECT_TRUE(parse_mac("01:00:5e:00:00:01")->is_multicast());
  EXPECT_FALSE(parse_mac("02:00:5e:00:00:01")->is_multicast());
  EXPECT_TRUE(MacAddress{}.is_zero());
  EXPECT_FALSE(kBroadcastMac.is_zero());
}

TEST(Address, WithAPortReadsAsPeopleWriteIt) {
  EXPECT_EQ(to_string(ip("192.0.2.1"), 80), "192.0.2.1:80");
  EXPECT_EQ(to_string(ip("2001:db8::1"), 65535), "[2001:db8::1]:65535");
}

TEST(Address, NeighbouringAddressesSpreadOverHashShards) {
  constexpr std::size_t kShards = 1024;
  constexpr std::size_t kEach = 16;
  for (const char* first : {"10.0.0.0", "2001:db8::"}) {
    const IpAddress base = ip(first);
    std::vector<std::size_t> shards(kShards);
    std::unordered_set<std::uint64_t> hashes;
    for (std::size_t i = 0; i < kShards * kEach; ++i) {
      IpAddress address = base;
      const std::size_t last = address.bits() / 8U - 1;
      address.bytes[last] = static_cast<std::uint8_t>(i);
      address.bytes[last - 1] = static_cast<std::uint8_t>(i >> 8U);
      hashes.insert(hash_of(address));
      ++shards[hash_of(address) % kShards];
    }
    EXPECT_EQ(hashes.size(), kShards * kEach) << first;
    EXPECT_LE(*std::max_element(shards.begin(), shards.end()), kEach * 4) << first;
  }
}

TEST(Address, TheSameBytesInTheOtherFamilyAreAnotherAddress) {
  IpAddress six = ip("1.2.3.4");
  six.family = Family::kIpv6;
  EXPECT_NE(six, ip("1.2.3.4"));
  EXPECT_NE(hash_of(six), hash_of(ip("1.2.3.4")));
}

}  // namespace
}  // namespace sluice
