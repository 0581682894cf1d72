// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/controlplane/kubernetes/addresses_fixture.h"

#include <gtest/gtest.h>

namespace sluice::kubernetes {
namespace {

class AddressesTest : public ::testing::Test {
 protected:
  AddressesTest() {
    addresses_.set_pools({pool("lb", {"192.0.2.0/30"}), pool("more", {"198.51.100.0/30"}),
                          pool("six", {"2001:db8::/126"})});
  }
  std::string given(const Wish& wish, const std::vector<std::string>& requested = {}) {
    return kubernetes::given(addresses_, wish, requested);
  }
  [[nodiscard]] std::string held(const Wish& wish) const {
    return kubernetes::held(addresses_, wish);
  }
  void expect_denied(const Wish& wish, const std::vector<std::string>& requested,
                     const std::string& why) {
    const std::string text = given(wish, requested);
    EXPECT_TRUE(text.starts_with("(") && text.find(why) != std::string::npos) << text;
    EXPECT_EQ(held(wish), "");
  }

  Addresses addresses_{"cluster-a"};
};

TEST_F(AddressesTest, EachGetsTheLowestFreeAddressOfTheFirstPoolThatGives) {
  for (const char* expected :
       {"192.0.2.0", "192.0.2.1", "192.0.2.2", "192.0.2.3", "198.51.100.0"}) {
    EXPECT_EQ(given(Wish(expected)), expected);
    EXPECT_EQ(held(Wish(expected)), expected);
  }
  EXPECT_TRUE(addresses_.release({"shop", "192.0.2.2"}));
  EXPECT_EQ(given(Wish("late")), "192.0.2.2");
}

TEST_F(AddressesTest, WhoFindsNoneIsToldWhy) {
  addresses_.set_pools({pool("lb", {"192.0.2.7"})});
  EXPECT_EQ(given(Wish("a")), "192.0.2.7");
  EXPECT_EQ(given(Wish("b")), "(no free IPv4 address in pool 'lb')");
  EXPECT_EQ(held(Wish("b")), "");
}

TEST_F(AddressesTest, ADualStackServiceHasOneOfEachFamilyInItsOrder) {
  EXPECT_EQ(given(Wish("a").dual("PreferDualStack")), "192.0.2.0 2001:db8::");
  EXPECT_EQ(given(Wish("b").dual("RequireDualStack")), "192.0.2.1 2001:db8::1");
  Wish six_first("c");
  six_first.dual("PreferDualStack").service.ip_families = {"IPv6", "IPv4"};
  EXPECT_EQ(given(six_first), "2001:db8::2 192.0.2.2");
  Wish six("d");
  six.service.ip_families = {"IPv6"};
  EXPECT_EQ(given(six), "2001:db8::3");
}

TEST_F(AddressesTest, AServiceOfAServerWithoutFamiliesIsIpv4) {
  Wish old("old");
  old.service.ip_families.clear();
  EXPECT_EQ(given(old), "192.0.2.0");
}

TEST_F(AddressesTest, AFamilyThatIsNamedTwiceHasOneAddress) {
  Wish odd("odd");
  odd.service.ip_families = {"IPv4", "IPv4"};
  EXPECT_EQ(given(odd), "192.0.2.0");
  EXPECT_EQ(given(odd), "192.0.2.0");
}

TEST_F(AddressesTest, RequireDualStackIsAllOrNoneAndPreferWhatThereIs) {
  addresses_.set_pools({pool("lb", {"192.0.2.0/30"})});
  const std::string why = "no pool gives IPv6 addresses to this service";
  EXPECT_EQ(given(Wish("all").dual("RequireDualStack")), "(" + why + ")");
  EXPECT_EQ(held(Wish("all")), "");
  EXPECT_EQ(given(Wish("some").dual("PreferDualStack")), "192.0.2.0 (" + why + ")");
  addresses_.set_pools({pool("lb", {"192.0.2.0/30"}), pool("six", {"2001:db8::/126"})});
  EXPECT_EQ(given(Wish("some").dual("PreferDualStack")), "192.0.2.0 2001:db8::");
  EXPECT_EQ(given(Wish("all").dual("RequireDualStack")), "192.0.2.1 2001:db8::1");
}

TEST_F(AddressesTest, WhatIsRequestedIsHadExactly) {
  EXPECT_EQ(given(Wish("a"), {"198.51.100.2"}), "198.51.100.2");
  EXPECT_EQ(given(Wish("b"), {"2001:db8::3", "192.0.2.3"}), "2001:db8::3 192.0.2.3");
  EXPECT_EQ(given(Wish("a"), {"198.51.100.1"}), "198.51.100.1");  // it asks for another one now
  EXPECT_EQ(given(Wish("c"), {"198.51.100.2"}), "198.51.100.2");  // which frees this one
}

TEST_F(AddressesTest, OrNoneIsHad) {
  model::AddressPool others = pool("others", {"203.0.113.0/30"});
  others.providers = {"cluster-b"};
  addresses_.set_pools({pool("lb", {"192.0.2.0/30"}), others});
  EXPECT_EQ(given(Wish("a")), "192.0.2.0");
  expect_denied(Wish("b"), {"10.0.0.1"}, "10.0.0.1 is in none of the gateway's address pools");
  expect_denied(Wish("b"), {"203.0.113.1"}, "is of pool 'others', which is not for this service");
  expect_denied(Wish("b"), {"192.0.2.0"}, "192.0.2.0 is another service's");
  expect_denied(Wish("b"), {"192.0.2.1", "192.0.2.0"}, "192.0.2.0 is another service's");
  EXPECT_EQ(given(Wish("c")), "192.0.2.1");  // nothing was kept for b
}

TEST_F(AddressesTest, WhoAsksForWhatItCannotHaveLosesWhatItHad) {
  EXPECT_EQ(given(Wish("a")), "192.0.2.0");
  expect_denied(Wish("a"), {"10.0.0.1"}, "in none");
  EXPECT_EQ(given(Wish("b")), "192.0.2.0");
}

TEST_F(AddressesTest, AnAddressThatIsRequestedTwiceIsHadOnce) {
  EXPECT_EQ(given(Wish("a"), {"192.0.2.1", "192.0.2.1"}), "192.0.2.1");
  EXPECT_EQ(given(Wish("a"), {"192.0.2.1", "192.0.2.1"}), "192.0.2.1");
  EXPECT_TRUE(addresses_.release({"shop", "a"}));
  EXPECT_EQ(given(Wish("b"), {"192.0.2.1"}), "192.0.2.1");
}

TEST_F(AddressesTest, AnAddressIsSharedByKeyWithDistinctPortsOnly) {
  EXPECT_EQ(given(Wish("plain")), "192.0.2.0");
  EXPECT_EQ(given(Wish("a").key("k")), "192.0.2.1");
  EXPECT_EQ(given(Wish("b").key("k").port("TCP", 443)), "192.0.2.1");
  EXPECT_EQ(given(Wish("c").key("k").port("UDP", 80)), "192.0.2.1");
  EXPECT_EQ(given(Wish("clash").key("k").port("TCP", 8080).and_port("TCP", 443)), "192.0.2.2");
  EXPECT_EQ(given(Wish("other").key("j").port("TCP", 81)), "192.0.2.3");
  EXPECT_EQ(given(Wish("none").port("TCP", 82)), "198.51.100.0");
}

TEST_F(AddressesTest, ARequestedAddressIsSharedUnderTheSameRule) {
  EXPECT_EQ(given(Wish("a").key("k"), {"192.0.2.3"}), "192.0.2.3");
  EXPECT_EQ(given(Wish("b").key("k").port("TCP", 443), {"192.0.2.3"}), "192.0.2.3");
  const std::string why =
      "192.0.2.3 is another service's; ask for another one, or share it by the "
      "annotation sluice.dev/allow-shared-ip";
  expect_denied(Wish("c").key("k"), {"192.0.2.3"}, why);
  expect_denied(Wish("c").key("j").port("TCP", 1), {"192.0.2.3"}, why);
  expect_denied(Wish("c").port("TCP", 1), {"192.0.2.3"}, why);
}

TEST_F(AddressesTest, WhoStopsToShareGetsAnotherAddress) {
  EXPECT_EQ(given(Wish("a").key("k")), "192.0.2.0");
  EXPECT_EQ(given(Wish("b").key("k").port("TCP", 443)), "192.0.2.0");
  EXPECT_EQ(given(Wish("b").port("TCP", 443)), "192.0.2.1");
  EXPECT_EQ(given(Wish("c").key("k").port("TCP", 443)), "192.0.2.0");
  EXPECT_EQ(given(Wish("c").key("k").port("TCP", 80)), "192.0.2.2");  // a's port now
  EXPECT_EQ(held(Wish("a")), "192.0.2.0");
}

TEST_F(AddressesTest, ASharedAddressIsFreeWithItsLastService) {
  EXPECT_EQ(given(Wish("a").key("k")), "192.0.2.0");
  EXPECT_EQ(given(Wish("b").key("k").port("TCP", 443)), "192.0.2.0");
  EXPECT_TRUE(addresses_.release({"shop", "a"}));
  EXPECT_EQ(given(Wish("c")), "192.0.2.1");
  EXPECT_TRUE(addresses_.release({"shop", "b"}));
  EXPECT_EQ(given(Wish("d")), "192.0.2.0");
}

TEST_F(AddressesTest, WhatIsHeldBackIsItsOwnersAloneUntilItIsLetGo) {
  const IpAddress address = *parse_ip("192.0.2.0");
  EXPECT_EQ(given(Wish("a")), "192.0.2.0");
  addresses_.hold_back(address, {"shop", "a"});
  addresses_.release({"shop", "a"});
  EXPECT_EQ(given(Wish("b")), "192.0.2.1");
  EXPECT_EQ(given(Wish("c"), {"192.0.2.0"}),
            "(192.0.2.0 was another service's until now, and a gateway may serve it there still; "
            "it is this one's once the gateways have let go)");
  EXPECT_EQ(given(Wish("a")), "192.0.2.0");
  EXPECT_FALSE(addresses_.is_held_back(address, {"shop", "a"})) << "it has it again";
  addresses_.hold_back(address, {"shop", "a"});
  addresses_.release({"shop", "a"});
  addresses_.hold_back(address, {"shop", "z"});
  addresses_.let_go(address, {"shop", "a"});
  EXPECT_EQ(given(Wish("d")), "192.0.2.2") << "another one had it too";
  addresses_.let_go(address, {"shop", "z"});
  EXPECT_EQ(given(Wish("e")), "192.0.2.0");
}

TEST_F(AddressesTest, AnAddressThatOneOfSeveralHasLeftIsSharedByTheOthersAndNewOnes) {
  EXPECT_EQ(given(Wish("a").key("k")), "192.0.2.0");
  EXPECT_EQ(given(Wish("b").key("k").port("TCP", 443)), "192.0.2.0");
  addresses_.hold_back(*parse_ip("192.0.2.0"), {"shop", "a"});
  addresses_.release({"shop", "a"});
  EXPECT_EQ(given(Wish("b").key("k").port("TCP", 443)), "192.0.2.0");
  EXPECT_EQ(given(Wish("c").key("k").port("TCP", 8080)), "192.0.2.0");
  EXPECT_EQ(given(Wish("d")), "192.0.2.1");
}

TEST_F(AddressesTest, AChangeOfPortsOrKeyIsToldAsOthersMayFitInThen) {
  EXPECT_FALSE(addresses_.assign(Wish("a").key("k").service, {}).shares) << "it is new";
  EXPECT_FALSE(addresses_.assign(Wish("a").key("k").service, {}).shares);
  EXPECT_TRUE(addresses_.assign(Wish("a").key("k").port("TCP", 81).service, {}).shares);
  EXPECT_TRUE(addresses_.assign(Wish("a").port("TCP", 81).service, {}).shares);
}

TEST_F(AddressesTest, ReleaseSaysWhetherThereWasSomething) {
  EXPECT_FALSE(addresses_.release({"shop", "a"}));
  EXPECT_EQ(given(Wish("a")), "192.0.2.0");
  EXPECT_FALSE(addresses_.release({"other", "a"}));
  EXPECT_TRUE(addresses_.release({"shop", "a"}));
  EXPECT_FALSE(addresses_.release({"shop", "a"}));
  EXPECT_TRUE(addresses_.of({"shop", "a"}).empty());
}

TEST_F(AddressesTest, AServiceKeepsWhatItHasThroughItsChanges) {
  EXPECT_EQ(given(Wish("first")), "192.0.2.0");
  EXPECT_EQ(given(Wish("a").dual("PreferDualStack")), "192.0.2.1 2001:db8::");
  addresses_.release({"shop", "first"});
  EXPECT_EQ(given(Wish("a").dual("PreferDualStack").port("UDP", 53)), "192.0.2.1 2001:db8::");
  EXPECT_EQ(given(Wish("a").dual("PreferDualStack").key("k")), "192.0.2.1 2001:db8::");
  EXPECT_EQ(given(Wish("a")), "192.0.2.1");
  EXPECT_EQ(given(Wish("a").dual("RequireDualStack")), "192.0.2.1 2001:db8::");
  // Its status may be behind.
  EXPECT_EQ(given(Wish("a").status({"192.0.2.3"})), "192.0.2.1");
}

TEST_F(AddressesTest, WhatWasRequestedStaysWhenTheRequestEnds) {
  EXPECT_EQ(given(Wish("a"), {"198.51.100.2"}), "198.51.100.2");
  EXPECT_EQ(given(Wish("a")), "198.51.100.2");
}

TEST_F(AddressesTest, AnOutcomeSaysWhetherItIsNew) {
  EXPECT_TRUE(addresses_.assign(Wish("a").service, {}).changed);
  EXPECT_FALSE(addresses_.assign(Wish("a").service, {}).changed);
  EXPECT_FALSE(addresses_.assign(Wish("a").port("UDP", 53).service, {}).changed);
  EXPECT_FALSE(addresses_.assign(Wish("a").service, ips({"192.0.2.0"})).changed);
  EXPECT_TRUE(addresses_.assign(Wish("a").service, ips({"192.0.2.1"})).changed);
  EXPECT_TRUE(addresses_.assign(Wish("a").service, ips({"10.0.0.1"})).changed);
  EXPECT_FALSE(addresses_.assign(Wish("a").service, ips({"10.0.0.1"})).changed);
}

TEST_F(AddressesTest, WhatTheStatusSaysIsKeptBeforeAnythingIsChosen) {
  const Wish a = Wish("a").status({"192.0.2.0"});
  const Wish b = Wish("b").dual("PreferDualStack").status({"198.51.100.3", "2001:db8::2"});
  addresses_.adopt(a.service);
  addresses_.adopt(b.service);
  EXPECT_EQ(held(b), "198.51.100.3 2001:db8::2");
  EXPECT_EQ(given(Wish("new").dual("PreferDualStack")), "192.0.2.1 2001:db8::");
  EXPECT_EQ(given(b), "198.51.100.3 2001:db8::2");
  EXPECT_FALSE(addresses_.assign(a.service, {}).changed);
}

TEST_F(AddressesTest, OfTwoWhoseStatusNamesOneAddressTheFirstKeepsIt) {
  addresses_.adopt(Wish("a").status({"192.0.2.2"}).service);
  addresses_.adopt(Wish("b").status({"192.0.2.2"}).service);
  EXPECT_EQ(held(Wish("a")), "192.0.2.2");
  EXPECT_EQ(held(Wish("b")), "");
  EXPECT_EQ(given(Wish("b").status({"192.0.2.2"})), "192.0.2.0");
}

TEST_F(AddressesTest, ThoseThatShareAnAddressBothKeepIt) {
  addresses_.adopt(Wish("a").key("k").status({"192.0.2.2"}).service);
  addresses_.adopt(Wish("b").key("k").port("TCP", 443).status({"192.0.2.2"}).service);
  EXPECT_EQ(held(Wish("a")), "192.0.2.2");
  EXPECT_EQ(held(Wish("b")), "192.0.2.2");
}

TEST_F(AddressesTest, AStatusThatIsOfNoUseIsPassedOver) {
  addresses_.adopt(Wish("a").status({"10.0.0.1"}).service);
  addresses_.adopt(Wish("b").status({"", "lb.example.com", "192.0.2.300"}).service);
  EXPECT_EQ(held(Wish("a")) + held(Wish("b")), "");
  EXPECT_EQ(given(Wish("a").status({"10.0.0.1"})), "192.0.2.0");
  // Somebody else's controller may write what it likes.
  const Wish twice = Wish("twice").status({"192.0.2.3", "192.0.2.3"});
  addresses_.adopt(twice.service);
  EXPECT_EQ(held(twice), "192.0.2.3");
  EXPECT_TRUE(addresses_.release({"shop", "twice"}));
  EXPECT_EQ(given(twice), "192.0.2.3");
}

TEST_F(AddressesTest, AnAdoptedServiceIsNotAdoptedAgain) {
  addresses_.adopt(Wish("a").status({"192.0.2.2"}).service);
  addresses_.adopt(Wish("a").status({"192.0.2.3"}).service);
  EXPECT_EQ(held(Wish("a")), "192.0.2.2");
}

// 3.11: truth is the cluster; an ExternalName's status has no place for addresses.
TEST(Addresses, OfANameAreThoseOfTheAdaptersAnnotation) {
  const auto annotated = [](const std::string& type, const std::string& value) {
    Wish wish("a");
    wish.service.type = type;
    wish.service.meta.annotations[kAssignedIpsAnnotation] = value;
    return wish.service;
  };
  struct Case {
    const char* claim;
    Service service;
    std::string addresses;
  };
  const Case cases[] = {
      {"one", annotated("ExternalName", "192.0.2.2"), "192.0.2.2"},
      {"both families", annotated("ExternalName", "192.0.2.2,2001:db8::2"),
       "192.0.2.2 2001:db8::2"},
      {"each once", annotated("ExternalName", "192.0.2.2,192.0.2.2"), "192.0.2.2"},
      {"what is none is passed over", annotated("ExternalName", "x,,192.0.2.2"), "192.0.2.2"},
      {"none", annotated("ExternalName", ""), ""},
      {"of another type it says nothing", annotated("LoadBalancer", "192.0.2.2"), ""}};
  for (const auto& [claim, service, addresses] : cases) {
    EXPECT_EQ(text_of(vips_in_status(service)), addresses) << claim;
  }
  EXPECT_EQ(assigned_text(ips({"192.0.2.2", "2001:db8::2"})), "192.0.2.2,2001:db8::2")
      << "as it is read";
  EXPECT_EQ(assigned_text({}), "");
}

TEST(Addresses, ANameKeepsItsAddressOverARestartAndTakesNobodyElses) {
  Wish name("name");
  name.service.type = "ExternalName";
  name.service.ip_families.clear();
  name.service.meta.annotations[kAssignedIpsAnnotation] = "192.0.2.2";
  Addresses addresses("prod");
  addresses.set_pools({pool("web", {"192.0.2.0/29"})});
  addresses.adopt(name.service);
  EXPECT_EQ(held(addresses, name), "192.0.2.2");
  EXPECT_EQ(given(addresses, name), "192.0.2.2");

  Wish thief("thief");
  thief.service.type = "ExternalName";
  thief.service.meta.annotations[kAssignedIpsAnnotation] = "192.0.2.2";
  addresses.adopt(thief.service);
  EXPECT_EQ(held(addresses, thief), "") << "another has it";
}

}  // namespace
}  // namespace sluice::kubernetes
