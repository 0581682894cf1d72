// SPDX-License-Identifier: Apache-2.0
// The punt thread between rings and real TAP interfaces, in a network namespace of its own.
#include "dataplane/lcore/punt.h"

#include "dataplane/lcore/dataplane.h"
#include "tests/support/frame.h"
#include "tests/unit/dataplane/lcore/environment.h"

#include <rte_mbuf.h>
#include <rte_ring.h>
#include <rte_ring_elem.h>

#include <gtest/gtest.h>

#include <chrono>
#include <ctime>
#include <mutex>
#include <net/if.h>
#include <thread>

namespace sluice::testing {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr MacAddress kMac{{2, 0, 0, 0, 0, 1}};
constexpr MacAddress kOtherMac{{2, 0, 0, 0, 0, 9}};

std::unique_ptr<Twin> make_twin(const std::string& name, const MacAddress& mac = kMac,
                                std::uint16_t mtu = 1500) {
  return std::make_unique<Twin>(name, mac, mtu, "ports[0].name");
}

std::string link(const std::string& name) {
  return output_of("ip link show dev " + name + " 2>&1");
}

Frame some_frame(std::uint16_t number = 4000) {
  FrameSpec spec;
  spec.from_mac = kOtherMac;
  spec.to_mac = kMac;
  spec.source = *parse_ip("192.0.2.7");
  spec.destination = *parse_ip("192.0.2.1");
  spec.protocol = kProtocolUdp;
  spec.source_port = number;
  spec.destination_port = 5000;
  return make_frame(spec);
}

class TwinTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { enter_own_network(); }
  void TearDown() override {
    for (const char* name : {"wan0", "lan0"}) {
      run(std::string("ip link del ") + name);
    }
  }
};

TEST_F(TwinTest, HasThePortsMacAndMtuAndIsUp) {
  const auto twin = make_twin("wan0", kMac, 1400);
  EXPECT_EQ(twin->index(), static_cast<int>(if_nametoindex("wan0")));
  const std::string shown = link("wan0");
  EXPECT_NE(shown.find(to_string(kMac)), std::string::npos) << shown;
  EXPECT_NE(shown.find("mtu 1400"), std::string::npos) << shown;
  EXPECT_NE(shown.find(",UP"), std::string::npos) << shown;
}

TEST_F(TwinTest, GoesWithAStartThatFails) {
  make_twin("wan0");
  EXPECT_EQ(if_nametoindex("wan0"), 0U);
}

TEST_F(TwinTest, KeepsItsAddressesOnceKept) {
  int index = 0;
  {
    const auto twin = make_twin("wan0");
    twin->keep();
    index = twin->index();
    ASSERT_TRUE(run("ip addr add 192.0.2.1/24 dev wan0"));
  }
  const auto twin = make_twin("wan0", kOtherMac, 1400);
  EXPECT_EQ(twin->index(), index);
  EXPECT_NE(output_of("ip addr show dev wan0").find("192.0.2.1/24"), std::string::npos);
  EXPECT_NE(link("wan0").find(to_string(kOtherMac)), std::string::npos);
  EXPECT_NE(link("wan0").find("mtu 1400"), std::string::npos);
}

TEST_F(TwinTest, OneThatWasKeptBeforeSurvivesAStartThatFails) {
  {
    const auto twin = make_twin("wan0");
    twin->keep();
  }
  make_twin("wan0");
  EXPECT_NE(if_nametoindex("wan0"), 0U);
}

TEST_F(TwinTest, IsRefusedInOneSentenceWhereTheNameIsAnothersAlready) {
  for (const std::string name : {"lo", "wan0"}) {
    const auto holder = name == "lo" ? nullptr : make_twin(name);
    try {
      make_twin(name);
      FAIL() << name << " was taken";
    } catch (const StartFault& fault) {
      EXPECT_EQ(std::string(fault.what()).rfind("ports[0].name: the twin '" + name + "'", 0), 0U)
          << fault.what();
    }
  }
}

class PuntTest : public TwinTest {
 protected:
  static void SetUpTestSuite() {
    enter_own_network();
    start_eal();
  }
  void SetUp() override {
    punt_ = std::make_unique<Punt>(pool_.get());
    punt_->add_port(make_twin("wan0"), kMac);
    punt_->add_port(nullptr, kMac);
  }
  void TearDown() override {
    punt_.reset();
    TwinTest::TearDown();
  }
  void start() {
    punt_->start([this](std::uint8_t port, const IpAddress& address) {
      const std::lock_guard lock(mutex_);
      wanted_.emplace_back(port, address);
    });
  }
  static bool within(Clock::duration time, const std::function<bool()>& condition) {
    const auto deadline = Clock::now() + time;
    while (!condition() && Clock::now() < deadline) {
      std::this_thread::sleep_for(1ms);
    }
    return condition();
  }
  rte_ring* from_kernel() { return punt_->port(0).from_kernel.get(); }

  TestPool pool_;
  std::unique_ptr<Punt> punt_;
  std::mutex mutex_;
  std::vector<std::pair<std::uint8_t, IpAddress>> wanted_;
};

TEST_F(PuntTest, WhatAnLcorePuntsReachesTheKernel) {
  const RawSocket kernel("wan0");
  start();
  for (std::uint16_t i = 0; i < 100; ++i) {
    ASSERT_EQ(rte_ring_enqueue(punt_->port(0).to_kernel.get(), pool_.make(some_frame(i))), 0);
  }
  for (std::uint16_t i = 0; i < 100; ++i) {
    ASSERT_EQ(kernel.receive(), some_frame(i));
  }
  EXPECT_TRUE(within(1s, [&] { return punt_->port(0).punted.get() == 100; }));
}

TEST_F(PuntTest, WhatTheKernelSendsReachesTheLcore) {
  const RawSocket kernel("wan0");
  start();
  for (std::uint16_t i = 0; i < 100; ++i) {
    ASSERT_TRUE(kernel.send(some_frame(i)));
  }
  ASSERT_TRUE(within(2s, [&] { return rte_ring_count(from_kernel()) == 100; }));
  EXPECT_EQ(punt_->port(0).injected.get(), 100U);
  for (std::uint16_t i = 0; i < 100; ++i) {
    ASSERT_EQ(take_frame(from_kernel()), some_frame(i));
  }
}

TEST_F(PuntTest, FramesThatFindTheRingFullWaitInTheTwin) {
  const RawSocket kernel("wan0");
  start();
  const unsigned room = rte_ring_get_capacity(from_kernel());
  for (unsigned i = 0; i < room; ++i) {
    ASSERT_TRUE(kernel.send(some_frame(static_cast<std::uint16_t>(i))));
    if (i % 32 == 31) {
      ASSERT_TRUE(within(2s, [&] { return rte_ring_count(from_kernel()) == i + 1; }));
    }
  }
  for (unsigned i = room; i < room + 100; ++i) {
    ASSERT_TRUE(kernel.send(some_frame(static_cast<std::uint16_t>(i))));
  }
  std::this_thread::sleep_for(20ms);
  for (unsigned i = 0; i < room + 100; ++i) {
    ASSERT_TRUE(within(2s, [&] { return rte_ring_count(from_kernel()) != 0; })) << i;
    ASSERT_EQ(take_frame(from_kernel()), some_frame(static_cast<std::uint16_t>(i)));
  }
}

TEST_F(PuntTest, AnAddressIsAnnouncedThreeTimesOneSecondApart) {
  start();
  const auto begun = Clock::now();
  const IpAddress vip = *parse_ip("203.0.113.10");
  punt_->announce(1, vip);  // a port without a twin, too
  std::vector<Clock::duration> times;
  while (times.size() < 3 && Clock::now() - begun < 4s) {
    if (const auto frame = take_frame(punt_->port(1).announcements.get())) {
      EXPECT_EQ(frame->size(), 42U);
      EXPECT_EQ((*frame)[0], 0xff);
      times.push_back(Clock::now() - begun);
    }
    std::this_thread::sleep_for(1ms);
  }
  ASSERT_EQ(times.size(), 3U);
  EXPECT_LT(times[0], 500ms);
  EXPECT_GT(times[1] - times[0], 500ms);
  EXPECT_GT(times[2] - times[1], 500ms);
  std::this_thread::sleep_for(1200ms);
  EXPECT_EQ(rte_ring_count(punt_->port(1).announcements.get()), 0U);
}

TEST_F(PuntTest, TheNeighboursThatLcoresWantAreTold) {
  start();
  const IpAddress address = *parse_ip("2001:db8::7");
  WantedNeighbour wanted{address, 1, {}};
  ASSERT_EQ(rte_ring_enqueue_elem(punt_->wanted(), &wanted, sizeof(wanted)), 0);
  ASSERT_TRUE(within(2s, [this] {
    const std::lock_guard lock(mutex_);
    return !wanted_.empty();
  }));
  const std::lock_guard lock(mutex_);
  EXPECT_EQ(wanted_.front(), std::make_pair(std::uint8_t{1}, address));
}

TEST_F(PuntTest, TheTwinsOfAGatewayThatRanAreKept) {
  start();
  punt_->stop();
  punt_.reset();
  EXPECT_NE(if_nametoindex("wan0"), 0U);
}

TEST_F(PuntTest, ATwinThatSomebodyDeletesCostsNoCpu) {
  start();
  ASSERT_TRUE(run("ip link del wan0"));
  std::this_thread::sleep_for(50ms);
  const std::clock_t before = std::clock();
  std::this_thread::sleep_for(300ms);
  const auto used = (std::clock() - before) * 1000 / CLOCKS_PER_SEC;
  EXPECT_LT(used, 150) << "ms of 300";
  ASSERT_EQ(rte_ring_enqueue(punt_->port(0).to_kernel.get(), pool_.make(some_frame())), 0);
  EXPECT_TRUE(within(2s, [this] { return pool_.in_use() == 0; }));
}

TEST(TokenBucketTest, LetsATenthOfASecondThroughAtOnceAndThenTheRate) {
  TokenBucket bucket(2'000);
  const auto passed = [&](std::uint32_t now_ms, unsigned tries) {
    unsigned count = 0;
    for (unsigned i = 0; i < tries; ++i) {
      count += bucket.take(now_ms) ? 1U : 0U;
    }
    return count;
  };
  EXPECT_EQ(passed(5'000, 1'000), 200U);
  EXPECT_EQ(passed(5'000, 1'000), 0U);
  EXPECT_EQ(passed(5'001, 1'000), 2U);
  EXPECT_EQ(passed(5'011, 1'000), 20U);
  EXPECT_EQ(passed(60'000, 1'000), 200U);
}

TEST(TokenBucketTest, KeepsItsRateOverManySmallSteps) {
  TokenBucket bucket(2'500);  // two and a half a millisecond
  unsigned count = 0;
  for (std::uint32_t ms = 0xffff'ff00; ms != 900; ++ms) {  // over the wrap
    for (int i = 0; i < 10; ++i) {
      count += bucket.take(ms) ? 1U : 0U;
    }
  }
  EXPECT_NEAR(count, 2.5 * (256 + 900) + 250, 10);
}

}  // namespace
}  // namespace sluice::testing
