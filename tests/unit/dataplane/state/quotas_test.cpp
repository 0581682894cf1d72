// SPDX-License-Identifier: Apache-2.0
// Quotas that lcores share: never over, and what lies unused is bounded as quotas.h says.
#include "dataplane/state/quotas.h"

#include <gtest/gtest.h>

#include <random>
#include <thread>

namespace sluice {
namespace {

constexpr QuotaIds kProvider{1, 0};
constexpr QuotaIds kSpace{1, 2};

// How many flows an lcore can open until it is refused.
std::uint32_t open_all(LcoreQuotas& lcore, QuotaIds ids, bool snat = false) {
  std::uint32_t opened = 0;
  while (opened < 1'000'000 && lcore.reserve(ids, QuotaKind::kFlows) &&
         (!snat || lcore.reserve(ids, QuotaKind::kSnatPorts))) {
    lcore.count(ids, snat);
    ++opened;
  }
  return opened;
}

TEST(Quotas, OneLcoreHasAllOfAQuotaAndNoMore) {
  for (const std::uint32_t limit : {1U, 2U, 63U, 64U, 1'000U, 100'000U}) {
    QuotaPool pool({{.flows = limit}}, 1);
    LcoreQuotas lcore(pool, 0);
    EXPECT_EQ(open_all(lcore, kProvider), limit);
    EXPECT_FALSE(lcore.has_room(kProvider, QuotaKind::kFlows));
    EXPECT_EQ(pool.use(1), (QuotaLimits{.flows = limit}));
    lcore.release(kProvider, false);
    EXPECT_TRUE(lcore.has_room(kProvider, QuotaKind::kFlows));
    EXPECT_EQ(open_all(lcore, kProvider), 1U);
  }
}

TEST(Quotas, ASmallOneIsWholeForWhicheverLcore) {
  constexpr unsigned kLcores = 4;
  QuotaPool pool({{.flows = 127 * kLcores}}, kLcores);
  LcoreQuotas first(pool, 0);
  LcoreQuotas second(pool, 1);
  ASSERT_EQ(open_all(first, kProvider), 127U * kLcores);
  EXPECT_EQ(open_all(second, kProvider), 0U);
  for (unsigned i = 0; i < 127 * kLcores; ++i) {
    first.release(kProvider, false);
  }
  EXPECT_EQ(open_all(second, kProvider), 127U * kLcores) << "nothing stays with the first";
}

TEST(Quotas, WhatIsReservedForAFlowThatDoesNotOpenIsNotLost) {
  QuotaPool pool({{.flows = 1, .snat_ports = 1}, {.flows = 1}}, 2);
  LcoreQuotas first(pool, 0);
  LcoreQuotas second(pool, 1);
  ASSERT_TRUE(first.reserve(kProvider, QuotaKind::kFlows));
  ASSERT_TRUE(first.reserve(kProvider, QuotaKind::kSnatPorts));
  EXPECT_FALSE(second.has_room(kProvider, QuotaKind::kFlows));
  first.give_back(kProvider);
  EXPECT_EQ(open_all(second, kProvider, true), 1U);
  second.release(kProvider, true);
  ASSERT_EQ(open_all(second, QuotaIds{0, 2}), 1U) << "the namespace's, with another provider's";
  EXPECT_FALSE(first.reserve(kSpace, QuotaKind::kFlows));
  EXPECT_EQ(open_all(second, kProvider, true), 1U)
      << "the first has kept nothing of the provider's";
}

TEST(Quotas, OfALargeOneAtMostTwoChunksOfEachOtherLcoreLieUnused) {
  for (const std::uint32_t limit : {1'000U, 20'000U, 200'000U}) {
    QuotaPool pool({{.flows = limit}}, 2);
    LcoreQuotas first(pool, 0);
    LcoreQuotas second(pool, 1);
    ASSERT_EQ(open_all(first, kProvider), limit);
    for (std::uint32_t i = 0; i < limit; ++i) {
      first.release(kProvider, false);
    }
    EXPECT_GE(open_all(second, kProvider), limit - std::min(512U, limit / 64));
    EXPECT_LE(pool.use(1).flows, limit);
  }
}

TEST(Quotas, SnatPortsAreCountedApartAndOnlyOfFlowsThatHaveOne) {
  QuotaPool pool({{.flows = 10, .snat_ports = 3}}, 1);
  LcoreQuotas lcore(pool, 0);
  EXPECT_EQ(open_all(lcore, kProvider, true), 3U);
  EXPECT_FALSE(lcore.has_room(kProvider, QuotaKind::kSnatPorts));
  EXPECT_TRUE(lcore.has_room(kProvider, QuotaKind::kFlows));
  EXPECT_EQ(open_all(lcore, kProvider), 7U);
  EXPECT_EQ(pool.use(1), (QuotaLimits{.flows = 10, .snat_ports = 3}));
}

TEST(Quotas, ANamespaceCountsForItsProviderToo) {
  QuotaPool pool({{.flows = 5}, {.flows = 3}}, 1);
  LcoreQuotas lcore(pool, 0);
  EXPECT_EQ(open_all(lcore, kSpace), 3U);
  EXPECT_EQ(open_all(lcore, kProvider), 2U) << "the rest of the provider's";
  EXPECT_EQ(pool.use(1).flows, 5U);
  EXPECT_EQ(pool.use(2).flows, 3U);
  lcore.release(kSpace, false);
  EXPECT_EQ(pool.use(1).flows, 4U);
  EXPECT_EQ(open_all(lcore, kProvider), 1U);
  EXPECT_EQ(open_all(lcore, kSpace), 0U) << "its provider has no more";
}

TEST(Quotas, WithoutABoundFlowsAreCountedOnly) {
  QuotaPool pool({{}, {.snat_ports = 1}}, 1);
  LcoreQuotas lcore(pool, 0);
  for (int i = 0; i < 1'000; ++i) {
    ASSERT_TRUE(lcore.reserve(kSpace, QuotaKind::kFlows));
    lcore.count(kSpace, false);
  }
  EXPECT_EQ(pool.use(1).flows, 1'000U);
  EXPECT_EQ(pool.use(2).flows, 1'000U);
}

TEST(Quotas, LcoresThatOpenAndEndAtOnceNeverHaveMoreTogether) {
  constexpr unsigned kLcores = 3;
  constexpr std::uint32_t kLimit = 1'000;
  QuotaPool pool({{.flows = kLimit}}, kLcores);
  std::atomic<std::uint32_t> alive{0};
  std::atomic<std::uint32_t> most{0};
  std::vector<std::thread> threads;
  for (unsigned number = 0; number < kLcores; ++number) {
    threads.emplace_back([&, number] {
      LcoreQuotas lcore(pool, number);
      std::mt19937 random(number);
      std::uint32_t own = 0;
      for (int i = 0; i < 200'000; ++i) {
        if (random() % 100 < 55) {
          if (!lcore.reserve(kProvider, QuotaKind::kFlows)) {
            continue;
          }
          lcore.count(kProvider, false);
          ++own;
          const std::uint32_t now = alive.fetch_add(1) + 1;
          std::uint32_t seen = most.load();
          while (now > seen && !most.compare_exchange_weak(seen, now)) {
          }
        } else if (own > 0) {
          alive.fetch_sub(1);
          lcore.release(kProvider, false);
          --own;
        }
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_LE(most.load(), kLimit);
  EXPECT_GT(most.load(), kLimit / 2) << "it was reached for";
  EXPECT_EQ(pool.use(1).flows, alive.load());
}

}  // namespace
}  // namespace sluice
