// SPDX-License-Identifier: Apache-2.0
// Virtual reassembly against a model that keeps every octet in a map and knows no bounds.
#include "dataplane/state/fragments.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <random>
#include <set>

namespace sluice {
namespace {

DatagramKey key_of(std::uint32_t client, std::uint32_t identification) {
  DatagramKey key;
  key.source = IpAddress(Ipv4Address{Be32::from_host(0xc000'0200 + client)});
  key.destination = IpAddress(Ipv4Address{Be32::from_host(0xcb00'710a)});
  key.identification = identification;
  key.protocol = 17;
  return key;
}

std::optional<LentPorts> ports_of(std::uint32_t number) {
  return LentPorts{Be16::from_host(static_cast<std::uint16_t>(number)), Be16::from_host(53), 17};
}

// What one datagram is, as RFC 5722 and RFC 8200 §4.5 say it.
struct Model {
  std::set<std::uint32_t> octets;
  std::uint32_t end = 0;
  bool overlapped = false;
  bool first = false;

  Drop take(const FragmentRange& range) {
    if (overlapped) {
      return Drop::kFragmentOverlap;
    }
    std::uint32_t known = 0;
    for (std::uint32_t i = 0; i < range.length; ++i) {
      known += octets.contains(range.offset + i) ? 1 : 0;
    }
    if (known == range.length) {
      return Drop::kFragmentDuplicate;
    }
    const std::uint32_t stop = range.offset + range.length;
    const bool beyond =
        end != 0 && (stop > end || (!range.more && stop != end) || (range.more && stop == end));
    if (known != 0 || beyond || (!range.more && !octets.empty() && stop < *octets.rbegin() + 1)) {
      overlapped = true;
      return Drop::kFragmentOverlap;
    }
    for (std::uint32_t i = 0; i < range.length; ++i) {
      octets.insert(range.offset + i);
    }
    end = range.more ? end : stop;
    first = first || range.offset == 0;
    return Drop::kNone;
  }
  [[nodiscard]] bool complete() const { return end != 0 && octets.size() == end; }
};

unsigned seed() {
  const char* wanted = std::getenv("SLUICE_SEED");
  return wanted == nullptr ? 20261123U : static_cast<unsigned>(std::atoi(wanted));
}

TEST(Fragments, AgreesWithAModelThatKeepsEveryOctet) {
  std::mt19937 engine(seed());
  const auto random = [&engine] { return static_cast<std::uint32_t>(engine()); };
  SCOPED_TRACE("SLUICE_SEED=" + std::to_string(seed()));
  Fragments fragments;
  std::map<std::uint32_t, Model> models;
  std::map<std::uint32_t, std::uint32_t> identifications;
  for (int step = 0; step < 60'000; ++step) {
    const std::uint32_t number = random() % 40;
    FragmentRange range;
    // Of some datagrams the pieces are large enough to cross the words of a bitmap.
    const std::uint32_t piece = 8 * (1 + number % 9 * 3);
    range.offset = random() % 12 * piece;
    range.more = random() % 3 != 0;
    range.length = range.more ? (random() % 4 + 1) * piece : random() % (4 * piece) + 1;
    const DatagramKey key = key_of(number % 5, number);
    Model& model = models[number];
    const Drop expected = model.take(range);
    const auto first = range.offset == 0 ? ports_of(number) : std::nullopt;
    ASSERT_EQ(name_of(fragments.take(key, range, first, 0)), name_of(expected)) << step;
    const auto known = fragments.known(key);
    ASSERT_TRUE(known);
    EXPECT_EQ(known->overlapped, model.overlapped);
    if (!model.overlapped) {
      ASSERT_EQ(known->lent.has_value(), model.first);
    }
    const auto [at, is_new] = identifications.emplace(number, known->identification);
    EXPECT_EQ(at->second, known->identification) << "one datagram, one identification";
    fragments.forget_complete();
    if (model.complete()) {
      EXPECT_FALSE(fragments.known(key));
      models.erase(number);
      identifications.erase(number);
    } else if (model.overlapped && random() % 4 == 0) {
      fragments.clear();
      models.clear();
      identifications.clear();
    }
    ASSERT_EQ(fragments.datagrams(), models.size());
  }
}

TEST(Fragments, HeldOnesAreReleasedInTheOrderInWhichTheyCameOrDiscarded) {
  Fragments fragments;
  const DatagramKey key = key_of(1, 1);
  for (std::uint8_t i = 1; i <= 3; ++i) {
    ASSERT_EQ(fragments.take(key, {i * 8U, 8, true}, {}, 0), Drop::kNone);
    ASSERT_TRUE(fragments.hold(fragments.known(key)->datagram, {nullptr, i, false}));
  }
  EXPECT_EQ(fragments.held(), 3U);
  ASSERT_EQ(fragments.take(key, {0, 8, true}, ports_of(7), 0), Drop::kNone);
  ASSERT_EQ(fragments.released().size(), 3U);
  for (unsigned i = 0; i < 3; ++i) {
    EXPECT_EQ(fragments.released()[i].port, i + 1);
    EXPECT_EQ(fragments.released()[i].lent.source.host(), 7);
    EXPECT_EQ(fragments.released()[i].identification, fragments.known(key)->identification);
  }
  EXPECT_EQ(fragments.held(), 0U);
  EXPECT_TRUE(fragments.discarded().empty());
}

TEST(Fragments, ItsIdentificationsAreNoOtherLcoresAndDoNotRepeatSoon) {
  for (const unsigned lcores : {1U, 2U, 3U, 64U}) {
    std::set<std::uint32_t> all;
    const std::uint32_t each = 65'536U / lcores;
    for (unsigned number = 0; number < lcores; ++number) {
      Fragments fragments(static_cast<std::uint8_t>(number), static_cast<std::uint8_t>(lcores),
                          HashSecret{{1, 2, 3, 4, 5, 0xffff'fff0U}});
      std::set<std::uint32_t> mine;
      for (std::uint32_t i = 0; i < each; ++i) {
        mine.insert(fragments.next_identification() & 0xffffU);
      }
      EXPECT_GE(mine.size(), each - 1) << "but for where the counter wraps";
      const std::size_t before = all.size();
      all.insert(mine.begin(), mine.end());
      EXPECT_EQ(all.size(), before + mine.size()) << "of lcore " << number;
    }
  }
}

TEST(Fragments, TimeIsCountedFromTheFirstPacketAcrossTheClocksWrap) {
  Fragments fragments;
  const std::uint32_t start = 0xffff'ff00;
  ASSERT_EQ(fragments.take(key_of(1, 1), {8, 8, true}, {}, start), Drop::kNone);
  ASSERT_EQ(fragments.take(key_of(1, 1), {16, 8, true}, {}, start + 3000), Drop::kNone);
  fragments.expire(start + Fragments::kPatienceMs - 1);
  EXPECT_EQ(fragments.datagrams(), 1U);
  fragments.expire(start + Fragments::kPatienceMs);
  EXPECT_EQ(fragments.datagrams(), 0U);
}

}  // namespace
}  // namespace sluice
