// SPDX-License-Identifier: Apache-2.0
#include "controlplane/model/allocate.h"

#include "tests/unit/controlplane/model/pools.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace sluice::model {
namespace {

Service service(const std::string& space = "default") {
  Service made;
  made.name = {space, "web"};
  return made;
}

bool nobody(const IpAddress&) {
  return false;
}

std::string chosen(const Allocator& allocator, const Service& wanting, Family family,
                   const std::string& provider = "cli") {
  Allocator::Cursor cursor = allocator.begin();
  const auto choice = allocator.choose(provider, wanting, family, nobody, cursor);
  return choice.address ? sluice::to_string(*choice.address) : choice.why_not;
}

TEST(AddressRange, IsAPrefixTwoEndsOrOneAddress) {
  EXPECT_EQ(to_string(*parse_address_range("192.0.2.16/28")), "192.0.2.16-192.0.2.31");
  EXPECT_EQ(to_string(*parse_address_range("192.0.2.9-192.0.2.10")), "192.0.2.9-192.0.2.10");
  EXPECT_EQ(to_string(*parse_address_range("2001:db8::/126")), "2001:db8::-2001:db8::3");
  EXPECT_EQ(to_string(*parse_address_range("2001:db8::7")), "2001:db8::7");
}

TEST(AddressRange, AnythingElseIsNone) {
  for (const char* text : {"", "192.0.2.1/24", "192.0.2.9-192.0.2.8", "192.0.2.9-2001:db8::1",
                           "192.0.2.9-", "-", "192.0.2.1 - 192.0.2.2", "web"}) {
    EXPECT_FALSE(parse_address_range(text)) << text;
  }
}

TEST(AddressRange, TheNextAddressCarriesOverBytesAndEndsWithItsFamily) {
  EXPECT_EQ(next_address(ip("192.0.2.255")), ip("192.0.3.0"));
  EXPECT_EQ(next_address(ip("2001:db8::ffff:ffff")), ip("2001:db8::1:0:0"));
  EXPECT_FALSE(next_address(ip("255.255.255.255")));
}

TEST(Allocator, GivesTheLowestFreeAddress) {
  Allocator allocator({pool("lb", {"192.0.2.0/29"})});
  EXPECT_EQ(chosen(allocator, service(), Family::kIpv4), "192.0.2.0");
  for (const char* used : {"192.0.2.0", "192.0.2.1", "192.0.2.3"}) {
    allocator.take(ip(used));
  }
  EXPECT_EQ(chosen(allocator, service(), Family::kIpv4), "192.0.2.2");
  EXPECT_EQ(allocator.used(0), 3U);
  allocator.give_back(ip("192.0.2.0"));
  EXPECT_EQ(chosen(allocator, service(), Family::kIpv4), "192.0.2.0");
  EXPECT_EQ(allocator.used(0), 2U);
}

TEST(Allocator, PassesByWhatTheCallerSaysIsTaken) {
  const Allocator allocator({pool("lb", {"192.0.2.0/30"})});
  Allocator::Cursor cursor = allocator.begin();
  const auto choice = allocator.choose(
      "cli", service(), Family::kIpv4,
      [](const IpAddress& address) { return address < ip("192.0.2.2"); }, cursor);
  EXPECT_EQ(choice.address, ip("192.0.2.2"));
}

TEST(Allocator, AnExhaustedPoolIsNamed) {
  Allocator allocator({pool("small", {"192.0.2.1"}), pool("v6", {"2001:db8::1"})});
  allocator.take(ip("192.0.2.1"));
  EXPECT_EQ(chosen(allocator, service(), Family::kIpv4), "no free IPv4 address in pool 'small'");
  EXPECT_EQ(chosen(allocator, service(), Family::kIpv6), "2001:db8::1");
}

TEST(Allocator, TheNextPoolFollowsAnExhaustedOne) {
  Allocator allocator({pool("a", {"192.0.2.1"}), pool("b", {"198.51.100.1"})});
  allocator.take(ip("192.0.2.1"));
  EXPECT_EQ(chosen(allocator, service(), Family::kIpv4), "198.51.100.1");
  allocator.take(ip("198.51.100.1"));
  EXPECT_EQ(chosen(allocator, service(), Family::kIpv4), "no free IPv4 address in pool 'a', 'b'");
}

TEST(Allocator, AvoidsBuggyAddressesOnlyWhereItIsTold) {
  AddressPool careful = pool("lb", {"192.0.2.254-192.0.3.1"});
  EXPECT_EQ(chosen(Allocator({careful}), service(), Family::kIpv4), "192.0.2.254");
  careful.avoid_buggy_ips = true;
  Allocator allocator({careful});
  allocator.take(ip("192.0.2.254"));
  EXPECT_EQ(chosen(allocator, service(), Family::kIpv4), "192.0.3.1");
  AddressPool six = pool("six", {"2001:db8::/127"});
  six.avoid_buggy_ips = true;
  EXPECT_EQ(chosen(Allocator({six}), service(), Family::kIpv6), "2001:db8::");
}

TEST(Allocator, APoolServesWhoItIsGrantedTo) {
  AddressPool granted = pool("lb", {"192.0.2.1"});
  granted.providers = {"east"};
  granted.namespaces = {"shop"};
  granted.service_selector = {{"tier", "gold"}};
  const Allocator allocator({granted});
  Service wanting = service("shop");
  wanting.labels["tier"] = "gold";
  EXPECT_EQ(chosen(allocator, wanting, Family::kIpv4, "east"), "192.0.2.1");
  const std::string none = "no pool gives IPv4 addresses to this service";
  EXPECT_EQ(chosen(allocator, wanting, Family::kIpv4, "west"), none);
  wanting.labels["tier"] = "tin";
  EXPECT_EQ(chosen(allocator, wanting, Family::kIpv4, "east"), none);
  wanting = service("blog");
  wanting.labels["tier"] = "gold";
  EXPECT_EQ(chosen(allocator, wanting, Family::kIpv4, "east"), none);
}

TEST(Allocator, APoolThatAssignsNothingByItselfServesWhoNamesIt) {
  AddressPool reserved = pool("reserved", {"192.0.2.1"});
  reserved.auto_assign = false;
  const Allocator allocator({reserved, pool("lb", {"198.51.100.1"})});
  Service wanting = service();
  EXPECT_EQ(chosen(allocator, wanting, Family::kIpv4), "198.51.100.1");
  wanting.annotations[kAddressPoolAnnotation] = "reserved";
  EXPECT_EQ(chosen(allocator, wanting, Family::kIpv4), "192.0.2.1");
  wanting.annotations[kAddressPoolAnnotation] = "nowhere";
  EXPECT_EQ(chosen(allocator, wanting, Family::kIpv4),
            "pool 'nowhere' has no IPv4 address for this service");
}

TEST(Allocator, TellsTheFamiliesThatItsPoolsGive) {
  const Allocator allocator({pool("six", {"2001:db8::/64"}), pool("four", {"192.0.2.0/24"})});
  EXPECT_EQ(allocator.families("cli", service()), (std::vector{Family::kIpv4, Family::kIpv6}));
  Service wanting = service();
  wanting.annotations[kAddressPoolAnnotation] = "six";
  EXPECT_EQ(allocator.families("cli", wanting), (std::vector{Family::kIpv6}));
}

TEST(Allocator, AgreesWithASetThroughRandomTakingAndGivingBack) {
  Allocator allocator({pool("lb", {"192.0.2.250-192.0.3.5", "198.51.100.7", "203.0.113.0/29"})});
  std::vector<IpAddress> all;
  for (const AddressRange& range : allocator.pools()[0].ranges) {
    for (auto at = std::optional(range.first); at && *at <= range.last; at = next_address(*at)) {
      all.push_back(*at);
    }
  }
  ASSERT_EQ(all.size(), 21U);
  std::set<IpAddress> used;
  std::mt19937 random(1);
  for (int step = 0; step < 10'000; ++step) {
    const IpAddress& address = all[random() % all.size()];
    if (random() % 5 < 3) {
      allocator.take(address);
      used.insert(address);
    } else {
      allocator.give_back(address);
      used.erase(address);
    }
    const auto free = std::find_if(all.begin(), all.end(),
                                   [&](const IpAddress& one) { return !used.contains(one); });
    Allocator::Cursor cursor = allocator.begin();
    const auto choice = allocator.choose("cli", service(), Family::kIpv4, nobody, cursor);
    ASSERT_EQ(choice.address, free == all.end() ? std::nullopt : std::optional(*free)) << step;
    ASSERT_EQ(allocator.used(0), used.size());
  }
}

TEST(Allocator, HundredThousandAddressesAreGivenOutOneByOne) {
  Allocator allocator({pool("lb", {"10.0.0.0/15"})});
  for (int i = 0; i < 100'000; ++i) {
    Allocator::Cursor cursor = allocator.begin();
    const auto choice = allocator.choose("cli", service(), Family::kIpv4, nobody, cursor);
    ASSERT_TRUE(choice.address);
    allocator.take(*choice.address);
  }
  EXPECT_EQ(chosen(allocator, service(), Family::kIpv4), "10.1.134.160");
}

// Of one transaction: nobody tells take() before all have been chosen.
TEST(Allocator, ACursorPassesByEachAddressOnce) {
  AddressPool range = pool("lb", {"10.0.0.0/15"});
  range.avoid_buggy_ips = true;
  Allocator allocator({range});
  std::set<IpAddress> given;
  std::size_t asked = 0;
  const auto taken = [&](const IpAddress& address) {
    ++asked;
    return given.contains(address);
  };
  Allocator::Cursor cursor = allocator.begin();
  for (int i = 0; i < 100'000; ++i) {
    const auto choice = allocator.choose("cli", service(), Family::kIpv4, taken, cursor);
    ASSERT_TRUE(choice.address && given.insert(*choice.address).second);
  }
  EXPECT_LT(asked, 200'001U);
}

}  // namespace
}  // namespace sluice::model
