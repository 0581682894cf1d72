// SPDX-License-Identifier: Apache-2.0
#include "dataplane/snapshot/source_ranges.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace sluice {
namespace {

std::vector<IpPrefix> prefixes(const std::vector<const char*>& texts) {
  std::vector<IpPrefix> parsed;
  for (const char* text : texts) {
    parsed.push_back(*parse_prefix(text));
  }
  return parsed;
}

TEST(SourceRanges, HoldExactlyTheAddressesOfTheirPrefixes) {
  const SourceRanges ranges(
      prefixes({"192.0.2.64/26", "10.0.0.0/8", "10.1.0.0/16", "2001:db8::/33", "198.51.100.7/32"}));
  for (const char* inside : {"192.0.2.64", "192.0.2.127", "10.0.0.0", "10.255.255.255", "10.1.2.3",
                             "198.51.100.7", "2001:db8::", "2001:db8:7fff:ffff::1"}) {
    EXPECT_TRUE(ranges.contains(*parse_ip(inside))) << inside;
  }
  for (const char* outside :
       {"192.0.2.63", "192.0.2.128", "9.255.255.255", "11.0.0.0", "198.51.100.6", "198.51.100.8",
        "2001:db8:8000::", "::", "0.0.0.0", "255.255.255.255", "ffff::"}) {
    EXPECT_FALSE(ranges.contains(*parse_ip(outside))) << outside;
  }
  EXPECT_EQ(ranges.intervals(), 4U) << "10.1.0.0/16 lies within 10.0.0.0/8";
}

TEST(SourceRanges, AZeroLengthPrefixIsItsWholeFamilyAndNoOther) {
  const SourceRanges ipv4(prefixes({"0.0.0.0/0", "10.0.0.0/8"}));
  EXPECT_TRUE(ipv4.contains(*parse_ip("0.0.0.0")));
  EXPECT_TRUE(ipv4.contains(*parse_ip("255.255.255.255")));
  EXPECT_FALSE(ipv4.contains(*parse_ip("2001:db8::1")));
  const SourceRanges ipv6(prefixes({"::/0"}));
  EXPECT_TRUE(ipv6.contains(*parse_ip("ffff::")));
  EXPECT_FALSE(ipv6.contains(*parse_ip("10.0.0.1")));
}

TEST(SourceRanges, TenThousandPrefixesAgreeWithAskingEachOfThem) {
  std::mt19937 random(7);
  std::vector<IpPrefix> list;
  while (list.size() < SourceRanges::kPrefixesMax) {
    IpAddress address;
    address.family = list.size() % 2 == 0 ? Family::kIpv4 : Family::kIpv6;
    for (unsigned i = 0; i < address.bits() / 8U; ++i) {
      address.bytes[i] = static_cast<std::uint8_t>(random());
    }
    const unsigned least = address.is_ipv4() ? 12 : 8;
    list.push_back(prefix_of(
        address, static_cast<std::uint8_t>(least + random() % (address.bits() - least + 1U))));
  }
  const SourceRanges ranges(list);
  for (int i = 0; i < 2'000; ++i) {
    IpAddress address = list[random() % list.size()].address;
    address.bytes[random() % (address.bits() / 8U)] ^= static_cast<std::uint8_t>(random());
    const bool listed = std::any_of(
        list.begin(), list.end(), [&](const IpPrefix& prefix) { return prefix.contains(address); });
    ASSERT_EQ(ranges.contains(address), listed) << to_string(address);
  }
}

}  // namespace
}  // namespace sluice
