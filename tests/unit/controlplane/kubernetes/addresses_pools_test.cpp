// SPDX-License-Identifier: Apache-2.0
// Which pools there are, what they say, and what becomes of addresses when that changes.
#include "tests/unit/controlplane/kubernetes/addresses_fixture.h"

#include <gtest/gtest.h>

namespace sluice::kubernetes {
namespace {

TEST(AddressesPools, AnAddressOfNoPoolAnyMoreGivesWayToAnother) {
  Addresses addresses("cluster-a");
  addresses.set_pools({pool("lb", {"192.0.2.0/30"})});
  EXPECT_EQ(given(addresses, Wish("a")), "192.0.2.0");
  addresses.set_pools({pool("new", {"198.51.100.0/30"})});
  EXPECT_EQ(held(addresses, Wish("a")), "192.0.2.0");  // until it is looked at
  EXPECT_EQ(given(addresses, Wish("a")), "198.51.100.0");
  addresses.set_pools({pool("lb", {"192.0.2.0/30"})});
  EXPECT_EQ(given(addresses, Wish("b")), "192.0.2.0");
}

TEST(AddressesPools, AnEmptyNameOfAPoolIsNone) {
  Addresses addresses("cluster-a");
  addresses.set_pools({pool("lb", {"192.0.2.0/30"})});
  EXPECT_EQ(given(addresses, Wish("a").from("")), "192.0.2.0");
}

TEST(AddressesPools, ANameThatNoPoolHasLeavesAServiceWhatItHasAndGivesNothing) {
  Addresses addresses("cluster-a");
  addresses.set_pools({pool("lb", {"192.0.2.0/30"}), pool("other", {"198.51.100.0/30"})});
  const std::string why =
      "(sluice.dev/address-pool: the gateway has no pool 'tpyo'; it has lb, other)";
  EXPECT_EQ(given(addresses, Wish("new").from("tpyo")), why);
  EXPECT_EQ(given(addresses, Wish("a")), "192.0.2.0");
  EXPECT_EQ(given(addresses, Wish("a").from("tpyo")), "192.0.2.0 " + why);
  EXPECT_EQ(given(addresses, Wish("a").from("other")), "198.51.100.0") << "one that there is";
  EXPECT_EQ(given(addresses, Wish("b"), {"192.0.2.1"}), "192.0.2.1");
  EXPECT_EQ(given(addresses, Wish("b").from("tpyo"), {"192.0.2.1"}), "192.0.2.1 " + why);
  EXPECT_EQ(given(addresses, Wish("c").from("tpyo"), {"192.0.2.2"}), why) << "nothing new either";
}

TEST(AddressesPools, AnAddressOfAnotherPoolThanItNamesIsNotGivenAndNotTakenAway) {
  Addresses addresses("cluster-a");
  addresses.set_pools({pool("lb", {"192.0.2.0/30"}), pool("other", {"198.51.100.0/30"})});
  const std::string why =
      "(192.0.2.1 is of pool 'lb', and the annotation sluice.dev/address-pool names 'other'; "
      "change one of them)";
  EXPECT_EQ(given(addresses, Wish("a").from("other"), {"192.0.2.1"}), why);
  EXPECT_EQ(given(addresses, Wish("a").from("lb"), {"192.0.2.1"}), "192.0.2.1");
  EXPECT_EQ(given(addresses, Wish("a").from("other"), {"192.0.2.1"}), "192.0.2.1 " + why);
}

TEST(AddressesPools, ANameOutsideGetsAnAddressOfTheFamilyThatThereIs) {
  const auto external_name = [] {
    Wish wish("name");
    wish.service.type = "ExternalName";
    wish.service.ip_families.clear();
    wish.service.ip_family_policy.clear();
    return wish;
  };
  Addresses addresses("cluster-a");
  addresses.set_pools({pool("six", {"2001:db8::10-2001:db8::11"})});
  EXPECT_EQ(given(addresses, external_name()), "2001:db8::10");
  addresses.set_pools({pool("six", {"2001:db8::10-2001:db8::11"}), pool("lb", {"192.0.2.0/30"})});
  EXPECT_EQ(given(addresses, external_name()), "2001:db8::10") << "what it has stays";
  addresses.set_pools({pool("lb", {"192.0.2.0/30"})});
  EXPECT_EQ(given(addresses, external_name()), "192.0.2.0");
}

TEST(AddressesPools, WhatIsHeldIsNotGivenTwiceByNewPools) {
  Addresses addresses("cluster-a");
  addresses.set_pools({pool("lb", {"192.0.2.0/30"})});
  EXPECT_EQ(given(addresses, Wish("a")), "192.0.2.0");
  EXPECT_EQ(given(addresses, Wish("b")), "192.0.2.1");
  addresses.set_pools({pool("elsewhere", {"198.51.100.0/30"})});
  addresses.set_pools({pool("wider", {"192.0.2.0/29"})});
  EXPECT_EQ(given(addresses, Wish("c")), "192.0.2.2");
  EXPECT_EQ(given(addresses, Wish("b")), "192.0.2.1");
  addresses.release({"shop", "a"});
  EXPECT_EQ(given(addresses, Wish("d")), "192.0.2.0");
}

TEST(AddressesPools, APoolThatIsGrantedNoMoreTakesItsAddressesBack) {
  Addresses addresses("cluster-a");
  model::AddressPool lb = pool("lb", {"192.0.2.0/30"});
  addresses.set_pools({lb});
  EXPECT_EQ(given(addresses, Wish("a")), "192.0.2.0");
  lb.providers = {"cluster-b"};
  addresses.set_pools({lb});
  EXPECT_EQ(given(addresses, Wish("a")), "(no pool gives IPv4 addresses to this service)");
  EXPECT_EQ(held(addresses, Wish("a")), "");
}

TEST(AddressesPools, WithoutPoolsTheAddressesOfTheStatusStay) {
  Addresses addresses("cluster-a");
  addresses.set_pools({});
  const Wish a = Wish("a").status({"192.0.2.9", "2001:db8::9"});
  EXPECT_EQ(given(addresses, a), "192.0.2.9 2001:db8::9");
  EXPECT_EQ(given(addresses, Wish("b").status({"192.0.2.9"})),
            "(the gateway has no address pools and the service asks for no address; give the "
            "gateway addressPools, or set spec.loadBalancerIP)");
  const Wish twice = Wish("twice").status({"192.0.2.7", "192.0.2.7"});
  EXPECT_EQ(given(addresses, twice), "192.0.2.7");
  EXPECT_EQ(given(addresses, twice), "192.0.2.7");
}

TEST(AddressesPools, WithoutPoolsAnyAddressMayBeRequestedButByOne) {
  Addresses addresses("cluster-a");
  EXPECT_EQ(given(addresses, Wish("a"), {"10.9.9.9"}), "10.9.9.9");
  EXPECT_EQ(given(addresses, Wish("a")), "10.9.9.9");
  EXPECT_TRUE(given(addresses, Wish("b"), {"10.9.9.9"}).starts_with("(10.9.9.9 is another"));
}

TEST(AddressesPools, PoolsThatComeLaterLeaveWhatTheyGive) {
  Addresses addresses("cluster-a");
  EXPECT_EQ(given(addresses, Wish("a").status({"192.0.2.2"})), "192.0.2.2");
  EXPECT_EQ(given(addresses, Wish("b").status({"10.0.0.1"})), "10.0.0.1");
  addresses.set_pools({pool("lb", {"192.0.2.0/30"})});
  EXPECT_EQ(given(addresses, Wish("a").status({"192.0.2.2"})), "192.0.2.2");
  EXPECT_EQ(given(addresses, Wish("b").status({"10.0.0.1"})), "192.0.2.0");
}

TEST(AddressesPools, AnAddressThatIsSomebodyElsesIsNotChosenUntilThePoolsChange) {
  Addresses addresses("cluster-a");
  addresses.set_pools({pool("lb", {"192.0.2.0/30"})});
  EXPECT_EQ(given(addresses, Wish("a")), "192.0.2.0");
  EXPECT_TRUE(addresses.avoid(ip("192.0.2.0")));
  EXPECT_FALSE(addresses.avoid(ip("192.0.2.0")));
  addresses.release({"shop", "a"});
  // Not even if the status has it.
  EXPECT_EQ(given(addresses, Wish("a").status({"192.0.2.0"})), "192.0.2.1");
  EXPECT_EQ(given(addresses, Wish("b")), "192.0.2.2");
  EXPECT_TRUE(given(addresses, Wish("c"), {"192.0.2.0"}).starts_with("(192.0.2.0 is another"));
  addresses.set_pools({pool("lb", {"192.0.2.0/29"})});
  EXPECT_EQ(given(addresses, Wish("c")), "192.0.2.0");
  EXPECT_TRUE(addresses.avoid(ip("192.0.2.0")));
}

TEST(AddressesPools, APoolThatDoesNotAssignByItselfGivesToWhoAsks) {
  Addresses addresses("cluster-a");
  model::AddressPool manual = pool("manual", {"192.0.2.0/30"});
  manual.auto_assign = false;
  addresses.set_pools({manual, pool("auto", {"198.51.100.0/30"})});
  EXPECT_EQ(given(addresses, Wish("a")), "198.51.100.0");
  EXPECT_EQ(given(addresses, Wish("b").from("manual")), "192.0.2.0");
  EXPECT_EQ(given(addresses, Wish("c"), {"192.0.2.3"}), "192.0.2.3");
  EXPECT_EQ(given(addresses, Wish("d").from("absent")),
            "(sluice.dev/address-pool: the gateway has no pool 'absent'; it has manual, auto)");
  // Who asks no more has no claim to it.
  EXPECT_EQ(given(addresses, Wish("b")), "198.51.100.1");
}

TEST(AddressesPools, WhoAsksForAnotherPoolMoves) {
  Addresses addresses("cluster-a");
  addresses.set_pools({pool("one", {"192.0.2.0/30"}), pool("two", {"198.51.100.0/30"})});
  EXPECT_EQ(given(addresses, Wish("a")), "192.0.2.0");
  EXPECT_EQ(given(addresses, Wish("a").from("two")), "198.51.100.0");
  EXPECT_EQ(given(addresses, Wish("a")), "198.51.100.0");
}

TEST(AddressesPools, BuggyAddressesGoToWhoAsksForThemOnly) {
  Addresses addresses("cluster-a");
  model::AddressPool lb = pool("lb", {"192.0.2.254-192.0.3.1"});
  lb.avoid_buggy_ips = true;
  addresses.set_pools({lb});
  EXPECT_EQ(given(addresses, Wish("a")), "192.0.2.254");
  EXPECT_EQ(given(addresses, Wish("b")), "192.0.3.1");
  EXPECT_EQ(given(addresses, Wish("c")), "(no free IPv4 address in pool 'lb')");
  EXPECT_EQ(given(addresses, Wish("c"), {"192.0.2.255"}), "192.0.2.255");
  addresses.adopt(Wish("d").status({"192.0.3.0"}).service);
  EXPECT_EQ(held(addresses, Wish("d")), "192.0.3.0");
}

TEST(AddressesPools, AreForTheirProvidersNamespacesAndLabelsOnly) {
  model::AddressPool foreign = pool("foreign", {"192.0.2.0/30"});
  foreign.providers = {"cluster-b"};
  model::AddressPool prod = pool("prod", {"198.51.100.0/30"});
  prod.namespaces = {"prod"};
  model::AddressPool gold = pool("gold", {"203.0.113.0/30"});
  gold.service_selector = {{"tier", "gold"}};
  Addresses addresses("cluster-a");
  addresses.set_pools({foreign, prod, gold});
  EXPECT_EQ(given(addresses, Wish("a")), "(no pool gives IPv4 addresses to this service)");
  EXPECT_EQ(given(addresses, Wish("b").in("prod")), "198.51.100.0");
  EXPECT_EQ(given(addresses, Wish("c").label("tier", "gold")), "203.0.113.0");
  EXPECT_EQ(given(addresses, Wish("d").label("tier", "tin").from("gold")),
            "(pool 'gold' has no IPv4 address for this service)");
  EXPECT_TRUE(
      given(addresses, Wish("e"), {"198.51.100.1"}).starts_with("(198.51.100.1 is of pool"));
  addresses.adopt(Wish("f").status({"198.51.100.2"}).service);
  EXPECT_EQ(held(addresses, Wish("f")), "");
  // A label that goes takes the address with it.
  EXPECT_EQ(given(addresses, Wish("c").label("tier", "tin")),
            "(no pool gives IPv4 addresses to this service)");
}

}  // namespace
}  // namespace sluice::kubernetes
