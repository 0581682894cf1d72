// SPDX-License-Identifier: Apache-2.0
#include "controlplane/runtime/change_log.h"

#include <gtest/gtest.h>

namespace sluice::runtime {
namespace {

using Keys = std::vector<ChangeLog::Key>;

ChangeLog::Key key(const std::string& name, const std::string& provider = "cli") {
  return {provider, {"default", name}};
}

TEST(ChangeLog, FromTheBeginningMeansEverything) {
  ChangeLog log;
  EXPECT_TRUE(log.since(0).all);
  log.add({key("a")}, {});
  EXPECT_TRUE(log.since(0).all);
  EXPECT_FALSE(log.since(1).all);
}

TEST(ChangeLog, AServiceIsToldOnceHoweverOftenItChanged) {
  ChangeLog log;
  log.add({key("a"), key("b")}, {});
  for (int i = 0; i < 10; ++i) {
    log.add({key("a")}, {});
  }
  EXPECT_EQ(log.sequence(), 11U);
  EXPECT_EQ(log.since(1).changed, Keys{key("a")});
  EXPECT_EQ(log.since(11).changed, Keys{});
}

TEST(ChangeLog, ARemovedServiceIsGoneAndNoLongerChanged) {
  ChangeLog log;
  log.add({key("a"), key("b")}, {});
  log.add({key("a")}, {});
  log.add({}, {key("a")});
  const auto since = log.since(1);
  EXPECT_EQ(since.changed, Keys{});
  EXPECT_EQ(since.removed, Keys{key("a")});
}

TEST(ChangeLog, RemovedAndCreatedAgainIsToldAsBoth) {
  ChangeLog log;
  log.add({key("a")}, {});
  log.add({}, {key("a")});
  log.add({key("a")}, {});
  const auto since = log.since(1);
  EXPECT_EQ(since.changed, Keys{key("a")});
  EXPECT_EQ(since.removed, Keys{key("a")});
  EXPECT_EQ(log.since(2).removed, Keys{});
}

TEST(ChangeLog, EqualNamesOfTwoProvidersAreTwoServices) {
  ChangeLog log;
  log.add({key("a", "x"), key("a", "y")}, {});
  log.add({}, {key("a", "x")});
  log.add({key("a", "y")}, {});
  EXPECT_EQ(log.since(1).changed, Keys{key("a", "y")});
}

TEST(ChangeLog, WhoSleepsThroughTooManyRemovalsBeginsAnew) {
  ChangeLog log;
  log.add({key("a")}, {});
  for (std::size_t i = 0; i < ChangeLog::kRemovalsMax; ++i) {
    log.add({}, {key(std::to_string(i))});
  }
  EXPECT_FALSE(log.since(1).all);
  EXPECT_EQ(log.since(1).removed.size(), ChangeLog::kRemovalsMax);
  log.add({}, {key("one more")});
  EXPECT_TRUE(log.since(1).all);
  EXPECT_FALSE(log.since(2).all);
}

}  // namespace
}  // namespace sluice::runtime
