// SPDX-License-Identifier: Apache-2.0
#include "controlplane/runtime/event_log.h"

#include <gtest/gtest.h>

namespace sluice::runtime {
namespace {

Event event(const std::string& message, const std::string& service = "web") {
  return {.warning = true,
          .reason = "AddressPending",
          .provider = "cli",
          .service = {"default", service},
          .message = message};
}

TEST(EventLog, WhatHappensAgainIsCountedAndMovesToTheEnd) {
  EventLog log;
  EXPECT_TRUE(log.add(event("a"), 10));
  EXPECT_TRUE(log.add(event("b"), 20));
  EXPECT_FALSE(log.add(event("a"), 30));
  const auto events = log.events();
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].message, "b");
  EXPECT_EQ(events[1].message, "a");
  EXPECT_EQ(events[1].count, 2U);
  EXPECT_EQ(events[1].first_seconds, 10);
  EXPECT_EQ(events[1].last_seconds, 30);
}

TEST(EventLog, TheSameOfAnotherServiceIsAnother) {
  EventLog log;
  log.add(event("a", "web"), 10);
  EXPECT_TRUE(log.add(event("a", "dns"), 10));
}

TEST(EventLog, TheOldestGoFirstAndAreNewAgain) {
  EventLog log;
  for (std::size_t i = 0; i <= EventLog::kEventsMax; ++i) {
    log.add(event(std::to_string(i)), static_cast<std::int64_t>(i));
  }
  EXPECT_EQ(log.events().size(), EventLog::kEventsMax);
  EXPECT_EQ(log.events().front().message, "1");
  EXPECT_TRUE(log.add(event("0"), 5000)) << "forgotten";
}

}  // namespace
}  // namespace sluice::runtime
