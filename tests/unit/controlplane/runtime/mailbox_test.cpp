// SPDX-License-Identifier: Apache-2.0
#include "controlplane/runtime/mailbox.h"

#include <gtest/gtest.h>

#include <thread>

namespace sluice::runtime {
namespace {

using namespace std::chrono_literals;

const IpAddress kFirst = *parse_ip("192.0.2.1");
const IpAddress kSecond = *parse_ip("192.0.2.2");

PendingWrite write_of(const std::string& provider) {
  PendingWrite write;
  write.transaction.provider = provider;
  return write;
}

TEST(Mailbox, OfObservedSetsTheLastOneWins) {
  Mailbox mailbox;
  mailbox.post_addresses({{1, kFirst, 24}});
  mailbox.post_addresses({{1, kSecond, 24}});
  mailbox.post_routes({});
  const auto batch = mailbox.take(0us);
  ASSERT_TRUE(batch.addresses);
  ASSERT_EQ(batch.addresses->size(), 1U);
  EXPECT_EQ((*batch.addresses)[0].address, kSecond);
  ASSERT_TRUE(batch.routes) << "an empty set is news too";
  EXPECT_TRUE(batch.routes->empty());
}

TEST(Mailbox, OfNeighboursTheLastWordOnEachWins) {
  Mailbox mailbox;
  const MacAddress mac{{2, 0, 0, 0, 0, 1}};
  for (int i = 0; i < 100'000; ++i) {
    mailbox.post_neighbours({{7, kFirst, mac, i % 2 == 0}, {8, kFirst, mac, true}});
  }
  const auto batch = mailbox.take(0us);
  ASSERT_EQ(batch.neighbours.size(), 2U) << "one for each interface, however many came";
  EXPECT_FALSE(batch.neighbours[0].reachable);
  EXPECT_TRUE(batch.neighbours[1].reachable);
}

TEST(Mailbox, AWantedNeighbourIsWantedOnce) {
  Mailbox mailbox;
  for (int i = 0; i < 1000; ++i) {
    mailbox.post_wanted(0, kFirst);
  }
  mailbox.post_wanted(1, kFirst);
  EXPECT_EQ(mailbox.take(0us).wanted.size(), 2U);
}

TEST(Mailbox, WhatWasTakenIsGone) {
  Mailbox mailbox;
  mailbox.post_addresses({});
  mailbox.post_neighbours({{1, kFirst, {}, true}});
  EXPECT_EQ(mailbox.post([] {}), Mailbox::Posted::kTaken);
  mailbox.take(0us);
  const auto batch = mailbox.take(0us);
  EXPECT_FALSE(batch.addresses);
  EXPECT_TRUE(batch.neighbours.empty());
  EXPECT_TRUE(batch.questions.empty());
}

TEST(Mailbox, WritesKeepTheirOrderAndHaveABound) {
  Mailbox mailbox;
  for (std::size_t i = 0; i < Mailbox::kWritesMax; ++i) {
    PendingWrite write = write_of(std::to_string(i));
    ASSERT_EQ(mailbox.post(write), Mailbox::Posted::kTaken);
  }
  PendingWrite late = write_of("late");
  EXPECT_EQ(mailbox.post(late), Mailbox::Posted::kFull);
  EXPECT_EQ(late.transaction.provider, "late") << "it stays with its writer";
  const auto batch = mailbox.take(0us);
  for (std::size_t i = 0; i < batch.writes.size(); ++i) {
    ASSERT_EQ(batch.writes[i].transaction.provider, std::to_string(i));
  }
  EXPECT_EQ(mailbox.post(late), Mailbox::Posted::kTaken);
}

TEST(Mailbox, QuestionsHaveABound) {
  Mailbox mailbox;
  for (std::size_t i = 0; i < Mailbox::kQuestionsMax; ++i) {
    ASSERT_EQ(mailbox.post([] {}), Mailbox::Posted::kTaken);
  }
  EXPECT_EQ(mailbox.post([] {}), Mailbox::Posted::kFull);
}

TEST(Mailbox, AfterStopNothingIsTakenAndEveryBatchSaysSo) {
  Mailbox mailbox;
  PendingWrite before = write_of("before");
  ASSERT_EQ(mailbox.post(before), Mailbox::Posted::kTaken);
  mailbox.stop();
  PendingWrite after = write_of("after");
  EXPECT_EQ(mailbox.post(after), Mailbox::Posted::kStopped);
  EXPECT_EQ(mailbox.post([] {}), Mailbox::Posted::kStopped);
  const auto batch = mailbox.take(1s);
  EXPECT_TRUE(batch.stop);
  EXPECT_EQ(batch.writes.size(), 1U) << "what came before is still dealt with";
  EXPECT_TRUE(mailbox.take(0us).stop);
  EXPECT_EQ(mailbox.post([] {}), Mailbox::Posted::kStopped);
}

TEST(Mailbox, ATakerSleepsUntilSomethingComes) {
  Mailbox mailbox;
  std::thread poster([&] {
    std::this_thread::sleep_for(20ms);
    mailbox.post_wanted(0, kFirst);
  });
  const auto batch = mailbox.take(10s);
  poster.join();
  EXPECT_EQ(batch.wanted.size(), 1U);
}

TEST(Mailbox, NothingIsLostBetweenManyPostersAndATaker) {
  Mailbox mailbox;
  constexpr int kPosters = 4;
  constexpr int kEach = 2'000;
  std::vector<std::thread> posters;
  for (int p = 0; p < kPosters; ++p) {
    posters.emplace_back([&mailbox, p] {
      for (int i = 0; i < kEach; ++i) {
        PendingWrite write = write_of(std::to_string(p));
        while (mailbox.post(write) != Mailbox::Posted::kTaken) {
          std::this_thread::yield();
        }
        mailbox.post_neighbours({{p, kFirst, {}, i + 1 == kEach}});
      }
    });
  }
  int writes = 0;
  std::map<int, bool> last;
  while (writes < kPosters * kEach || last.size() < kPosters || !last[0] || !last[1] || !last[2] ||
         !last[3]) {
    const auto batch = mailbox.take(1s);
    writes += static_cast<int>(batch.writes.size());
    for (const auto& neighbour : batch.neighbours) {
      last[neighbour.interface] = neighbour.reachable;
    }
  }
  for (std::thread& poster : posters) {
    poster.join();
  }
  EXPECT_EQ(writes, kPosters * kEach);
}

}  // namespace
}  // namespace sluice::runtime
