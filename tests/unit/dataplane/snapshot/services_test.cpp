// SPDX-License-Identifier: Apache-2.0
#include "dataplane/snapshot/services.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

namespace sluice {
namespace {

using Entry = std::shared_ptr<const AddressEntry>;

IpAddress nth_address(std::uint32_t n) {
  if (n % 2 == 0) {
    return IpAddress(Ipv4Address{Be32::from_host(0xcb007100U + n)});
  }
  Ipv6Address address{{0x20, 0x01, 0x0d, 0xb8}};
  address.bytes[14] = static_cast<std::uint8_t>(n >> 8U);
  address.bytes[15] = static_cast<std::uint8_t>(n);
  return IpAddress(address);
}

Entry make_entry(const IpAddress& address) {
  auto entry = std::make_shared<AddressEntry>();
  entry->address = address;
  return entry;
}

Frontend frontend(std::uint16_t port, std::uint8_t protocol, std::uint32_t id) {
  auto service = std::make_shared<ServicePort>();
  service->id = id;
  return Frontend{{port, protocol}, std::move(service)};
}

TEST(AddressEntry, FindsPortAndProtocolExactly) {
  AddressEntry entry;
  entry.frontends = {frontend(53, 6, 1), frontend(53, 17, 2), frontend(80, 6, 3),
                     frontend(65535, 17, 4)};
  ASSERT_TRUE(std::is_sorted(entry.frontends.begin(), entry.frontends.end(),
                             [](const auto& a, const auto& b) { return a.key < b.key; }));
  EXPECT_EQ(entry.find({53, 6})->id, 1U);
  EXPECT_EQ(entry.find({53, 17})->id, 2U);
  EXPECT_EQ(entry.find({80, 6})->id, 3U);
  EXPECT_EQ(entry.find({65535, 17})->id, 4U);
  EXPECT_EQ(entry.find({80, 17}), nullptr);
  EXPECT_EQ(entry.find({0, 6}), nullptr);
  EXPECT_EQ(entry.find({65535, 6}), nullptr);
  EXPECT_EQ(entry.find({65535, 255}), nullptr);
}

TEST(AddressEntry, WithoutFrontendsServesNothing) {
  EXPECT_EQ(AddressEntry{}.find({80, 6}), nullptr);
}

TEST(AddressTable, IsEmptyAtFirst) {
  const AddressTable table;
  EXPECT_EQ(table.size(), 0U);
  EXPECT_EQ(table.find(nth_address(0)), nullptr);
}

// Every table that was ever published must go on saying what it said: lcores still read it.
TEST(AddressTable, FollowsAModelAndLeavesFormerTablesAlone) {
  std::mt19937_64 random(1);
  std::map<IpAddress, Entry> model;
  AddressTable table;
  for (int step = 0; step < 60; ++step) {
    const AddressTable former = table;
    const auto former_model = model;
    std::vector<AddressTable::Change> changes;
    for (std::size_t count = random() % 200; count > 0; --count) {
      const IpAddress address = nth_address(static_cast<std::uint32_t>(random() % 3'000));
      const Entry entry = random() % 3 == 0 ? nullptr : make_entry(address);
      changes.push_back({address, entry});  // the last of several for one address counts
      model.erase(address);
      if (entry != nullptr) {
        model[address] = entry;
      }
    }
    table = former.with(changes);
    ASSERT_EQ(table.size(), model.size());
    ASSERT_EQ(former.size(), former_model.size());
    for (std::uint32_t n = 0; n < 3'000; ++n) {
      const auto now = model.find(nth_address(n));
      ASSERT_EQ(table.find(nth_address(n)), now == model.end() ? nullptr : now->second.get());
      const auto then = former_model.find(nth_address(n));
      ASSERT_EQ(former.find(nth_address(n)),
                then == former_model.end() ? nullptr : then->second.get());
    }
  }
}

TEST(AddressTable, ReplacesAnEntryAndKeepsTheOthersThemselves) {
  std::vector<AddressTable::Change> changes;
  for (std::uint32_t n = 0; n < 500; ++n) {
    changes.push_back({nth_address(n), make_entry(nth_address(n))});
  }
  const AddressTable before = AddressTable{}.with(changes);
  const Entry entry = make_entry(nth_address(77));
  const AddressTable after =
      before.with(std::vector<AddressTable::Change>{{nth_address(77), entry}});
  EXPECT_EQ(after.size(), 500U);
  EXPECT_EQ(after.find(nth_address(77)), entry.get());
  for (std::uint32_t n = 0; n < 500; ++n) {
    EXPECT_EQ(after.find(nth_address(n)) == before.find(nth_address(n)), n != 77) << n;
  }
}

TEST(AddressTable, RemovingWhatIsNotThereChangesNothing) {
  const AddressTable one = AddressTable{}.with(
      std::vector<AddressTable::Change>{{nth_address(1), make_entry(nth_address(1))}});
  const AddressTable same = one.with(std::vector<AddressTable::Change>{{nth_address(2), nullptr}});
  EXPECT_EQ(same.size(), 1U);
  EXPECT_EQ(same.find(nth_address(1)), one.find(nth_address(1)));
}

TEST(AddressTable, LivesOnWhenTheTableItCameFromIsGone) {
  AddressTable table;
  for (std::uint32_t n = 0; n < 100; ++n) {
    table =
        table.with(std::vector<AddressTable::Change>{{nth_address(n), make_entry(nth_address(n))}});
  }
  EXPECT_EQ(table.size(), 100U);
  for (std::uint32_t n = 0; n < 100; ++n) {
    ASSERT_NE(table.find(nth_address(n)), nullptr);
    EXPECT_EQ(table.find(nth_address(n))->address, nth_address(n));
  }
}

// The same bytes in the other family are another address.
TEST(AddressTable, DoesNotMixTheFamilies) {
  const IpAddress four(Ipv4Address{Be32::from_host(0xc0000201)});
  IpAddress six = four;
  six.family = Family::kIpv6;
  const AddressTable table =
      AddressTable{}.with(std::vector<AddressTable::Change>{{four, make_entry(four)}});
  EXPECT_NE(table.find(four), nullptr);
  EXPECT_EQ(table.find(six), nullptr);
}

}  // namespace
}  // namespace sluice
