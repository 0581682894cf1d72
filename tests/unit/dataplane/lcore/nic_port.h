// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/lcore/port.h"
#include "tests/support/test_nic.h"
#include "tests/unit/dataplane/lcore/environment.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace sluice::testing {

// A test whose subject makes rules on a software NIC with two queues and an open port before it.
// The subject is to be gone, and its rules with it, before this is.
class NicPortTest : public ::testing::Test {
 protected:
  static constexpr std::uint16_t kQueues = 2;

  static void SetUpTestSuite() {
    enter_own_network();
    start_eal();
    TestNic::install();
  }
  explicit NicPortTest(const NicModel& model) {
    static int number = 0;
    PortSettings settings;
    settings.name = "nic" + std::to_string(number);
    settings.device = "net_nic" + std::to_string(number++);
    settings.steering = Steering::kHandoff;
    nic = std::make_unique<TestNic>(settings.device, kQueues, model);
    port = std::make_unique<Port>(settings, kQueues, "ports[0]");
  }
  ~NicPortTest() override {
    EXPECT_EQ(nic->rules(), 0U);
    port->close();
  }

  TestPool pool;
  std::unique_ptr<TestNic> nic;
  std::unique_ptr<Port> port;
};

}  // namespace sluice::testing
