// SPDX-License-Identifier: Apache-2.0
#include "dataplane/lcore/worker.h"

#include <gtest/gtest.h>

namespace sluice::testing {
namespace {

// Workers are made one after the other; the end of one and the beginning of the next are written by
// two lcores each turn.
TEST(OwnLines, TwoWorkersShareNoCacheLine) {
  EXPECT_EQ(alignof(Worker) % 64, 0U);
  EXPECT_EQ(sizeof(Worker) % 64, 0U);
}

}  // namespace
}  // namespace sluice::testing
