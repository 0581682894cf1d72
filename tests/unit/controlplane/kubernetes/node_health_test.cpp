// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/node_health.h"

#include "tests/unit/controlplane/kubernetes/cluster.h"
#include "tests/unit/controlplane/kubernetes/health_server.h"
#include "tests/unit/controlplane/kubernetes/within.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <dirent.h>
#include <functional>
#include <memory>
#include <sys/resource.h>
#include <thread>

namespace sluice::kubernetes {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using State = NodeHealth::State;

// Long enough that a busy machine does not make a server late three times in a row.
constexpr milliseconds kInterval{200};
const ServiceName kWeb{"shop", "web"};

ProbeTarget proxy_of(const std::string& node, const std::string& address, std::uint16_t port) {
  return {node, std::nullopt, ip(address), port};
}
ProbeTarget local_of(const std::string& node, const std::string& address, std::uint16_t port) {
  return {node, kWeb, ip(address), port};
}

class NodeHealthTest : public ::testing::Test {
 protected:
  void start(std::vector<ProbeTarget> targets, ProbeSettings settings = {.interval = kInterval}) {
    targets_ = std::move(targets);
    prober_ = std::make_unique<NodeHealthProber>(
        settings,
        [this] {
          const std::lock_guard lock(mutex_);
          lists_.push_back(steady_clock::now());
          return targets_;
        },
        [this](const NodeHealthProber::Changes& changes) {
          (void)prober_states();  // without the prober's lock held: this would wait for ever
          const std::lock_guard lock(mutex_);
          for (const std::string& node : changes.nodes) {
            told_ += node + " ";
          }
          for (const ServiceName& service : changes.services) {
            told_ += to_string(service) + " ";
          }
        });
    prober_->start();
  }
  void set_targets(std::vector<ProbeTarget> targets) {
    {
      const std::lock_guard lock(mutex_);
      targets_ = std::move(targets);
    }
    prober_->targets_changed();
  }
  void TearDown() override { end(); }
  // The callbacks use the pointer too.
  void end() {
    if (prober_ != nullptr) {
      prober_->stop();
    }
    prober_.reset();
  }

  // What is known of node a, at any time.
  int prober_states() { return static_cast<int>(prober_->kube_proxy("a")); }
  [[nodiscard]] State of(const std::string& node) const { return prober_->kube_proxy(node); }
  std::string told() {
    const std::lock_guard lock(mutex_);
    return std::exchange(told_, {});
  }
  std::vector<steady_clock::time_point> lists() {
    const std::lock_guard lock(mutex_);
    return lists_;
  }
  bool becomes(const std::string& node, State state) {
    return within(kSoon, [&] { return of(node) == state; });
  }
  // As long as a state takes to follow, whatever it is.
  static void let_it_ask() { std::this_thread::sleep_for(kInterval * 8); }
  static void wait_until_asked(const HealthServer& server, int times) {
    const int before = server.asked();
    ASSERT_TRUE(within(kSoon, [&] { return server.asked() >= before + times; }));
  }

  std::mutex mutex_;
  std::vector<ProbeTarget> targets_;
  std::string told_;
  std::vector<steady_clock::time_point> lists_;
  std::unique_ptr<NodeHealthProber> prober_;
};

TEST_F(NodeHealthTest, ANodeThatAnswers200IsUp) {
  HealthServer server("127.0.0.2");
  start({proxy_of("a", "127.0.0.2", server.port()), local_of("a", "127.0.0.2", server.port())});
  EXPECT_TRUE(becomes("a", State::kUp));
  EXPECT_TRUE(within(kSoon, [&] { return prober_->local("a", kWeb) == State::kUp; }));
  EXPECT_EQ(of("b"), State::kUnknown);
  EXPECT_EQ(prober_->local("a", {"shop", "other"}), State::kUnknown);
  EXPECT_TRUE(server.last_request().starts_with("GET /healthz HTTP/1.1\r\n"))
      << server.last_request();
  EXPECT_EQ(told(), "") << "unknown and up count alike";
}

TEST_F(NodeHealthTest, AnyOtherStatusIsDownAtOnce) {
  for (const int status : {503, 404, 500, 204, 302}) {
    HealthServer server("127.0.0.2");
    server.answer(status);
    start({proxy_of("a", "127.0.0.2", server.port())}, {.interval = milliseconds(60'000)});
    EXPECT_TRUE(becomes("a", State::kDown)) << status;
    EXPECT_LE(server.asked(), 1) << status;
    end();
    EXPECT_EQ(told(), "a ") << status;
  }
}

TEST_F(NodeHealthTest, WhatSaidNoIsAskedAgainWithinASecond) {
  HealthServer server("127.0.0.2");
  server.answer(503);
  start({local_of("a", "127.0.0.2", server.port())}, {.interval = milliseconds(60'000)});
  ASSERT_TRUE(within(kSoon, [&] { return prober_->local("a", kWeb) == State::kDown; }));
  server.answer(200);
  EXPECT_TRUE(within(milliseconds(5'000), [&] { return prober_->local("a", kWeb) == State::kUp; }));
  EXPECT_TRUE(within(milliseconds(5'000), [&] {
    const std::lock_guard lock(mutex_);
    return told_ == "shop/web shop/web ";
  }));
}

TEST_F(NodeHealthTest, ANodeIsDownAfterThreeRefusalsAndUpAtTheFirstAnswer) {
  HealthServer server("127.0.0.2");
  start({proxy_of("a", "127.0.0.2", server.port())});
  ASSERT_TRUE(becomes("a", State::kUp));
  server.close();
  ASSERT_TRUE(becomes("a", State::kDown));
  server.open();
  EXPECT_TRUE(becomes("a", State::kUp));
}

TEST_F(NodeHealthTest, ANodeThatHangsIsDownAfterThreeTimeouts) {
  HealthServer server("127.0.0.2");
  start({proxy_of("a", "127.0.0.2", server.port())});
  ASSERT_TRUE(becomes("a", State::kUp));
  server.hang();
  const int before = server.asked();
  ASSERT_TRUE(becomes("a", State::kDown));
  EXPECT_GE(server.asked() - before, 3);
  server.answer(200);
  EXPECT_TRUE(becomes("a", State::kUp));
}

TEST_F(NodeHealthTest, ALostAnswerNowAndThenIsNoSignal) {
  HealthServer server("127.0.0.2");
  start({proxy_of("a", "127.0.0.2", server.port())}, {.interval = milliseconds(600)});
  ASSERT_TRUE(becomes("a", State::kUp));
  for (int round = 0; round < 2; ++round) {
    server.hang();
    wait_until_asked(server, 2);
    server.answer(200);
    wait_until_asked(server, 2);
  }
  EXPECT_EQ(of("a"), State::kUp);
  EXPECT_EQ(told(), "");
}

TEST_F(NodeHealthTest, APortThatNobodyListensOnIsUnknown) {
  HealthServer server("127.0.0.2");
  const std::uint16_t port = server.port();
  start({proxy_of("a", "127.0.0.2", port), proxy_of("b", "127.0.0.3", port)});
  ASSERT_TRUE(becomes("a", State::kUp));
  let_it_ask();
  EXPECT_EQ(of("b"), State::kUnknown) << "it refuses, so the node is there";
  EXPECT_EQ(told(), "");
}

TEST_F(NodeHealthTest, SilenceSaysNothingWhileNoNodeHasAnsweredAtThatPort) {
  HealthServer other_port("127.0.0.2");
  HealthServer silent("127.0.0.3");
  silent.hang();
  start({proxy_of("a", "127.0.0.2", other_port.port()), proxy_of("b", "127.0.0.3", silent.port())});
  ASSERT_TRUE(becomes("a", State::kUp));
  wait_until_asked(silent, 6);
  EXPECT_EQ(of("b"), State::kUnknown);
}

TEST_F(NodeHealthTest, ANodeThatWasSilentFromTheBeginningIsDownWhereOthersAnswer) {
  HealthServer server("127.0.0.2");
  HealthServer silent("127.0.0.3", server.port());
  silent.hang();
  start({proxy_of("a", "127.0.0.2", server.port()), proxy_of("b", "127.0.0.3", server.port())});
  EXPECT_TRUE(becomes("b", State::kDown));
  EXPECT_EQ(of("a"), State::kUp);
  silent.close();  // it is back, and its proxy has no such port
  EXPECT_TRUE(becomes("b", State::kUnknown));
}

TEST_F(NodeHealthTest, WhatIsNotHttpIsNoAnswer) {
  HealthServer server("127.0.0.2");
  start({proxy_of("a", "127.0.0.2", server.port())});
  ASSERT_TRUE(becomes("a", State::kUp));
  server.answer_text("SSH-2.0-OpenSSH_9.2\r\n");
  wait_until_asked(server, 1);
  EXPECT_EQ(of("a"), State::kUp);
  EXPECT_TRUE(becomes("a", State::kDown));
  server.answer_text("HTTP/1.1 100 Continue\r\n\r\n");
  let_it_ask();
  EXPECT_EQ(of("a"), State::kDown) << "that is no answer yet";
}

TEST_F(NodeHealthTest, TheStatusCountsWhateverBecomesOfTheBody) {
  HealthServer server("127.0.0.2");
  server.answer_text("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nno more");
  start({proxy_of("a", "127.0.0.2", server.port())});
  EXPECT_TRUE(becomes("a", State::kUp));
  server.answer_text("HTTP/1.1 503 No\r\n\r\n" + std::string(100'000, 'x'));
  EXPECT_TRUE(becomes("a", State::kDown));
}

TEST_F(NodeHealthTest, NoRedirectIsFollowed) {
  HealthServer other("127.0.0.3");
  HealthServer server("127.0.0.2");
  server.answer_text("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.3:" +
                     std::to_string(other.port()) + "/\r\nContent-Length: 0\r\n\r\n");
  start({proxy_of("a", "127.0.0.2", server.port())});
  EXPECT_TRUE(becomes("a", State::kDown));
  EXPECT_EQ(other.asked(), 0);
}

TEST_F(NodeHealthTest, NoProxyOfTheEnvironmentIsAsked) {
  HealthServer proxy("127.0.0.3");
  ::setenv("http_proxy", ("http://127.0.0.3:" + std::to_string(proxy.port())).c_str(), 1);
  HealthServer server("127.0.0.2");
  start({proxy_of("a", "127.0.0.2", server.port())});
  EXPECT_TRUE(becomes("a", State::kUp));
  EXPECT_EQ(proxy.asked(), 0);
  end();
  ::unsetenv("http_proxy");
}

TEST_F(NodeHealthTest, TargetsThatStayKeepTheirStateAndOthersBecomeUnknown) {
  HealthServer a("127.0.0.2");
  HealthServer b("127.0.0.3", a.port());
  a.answer(503);
  b.answer(503);
  start({proxy_of("a", "127.0.0.2", a.port()), proxy_of("b", "127.0.0.3", a.port())});
  ASSERT_TRUE(becomes("a", State::kDown));
  ASSERT_TRUE(becomes("b", State::kDown));
  a.hang();  // so that nothing new is learnt
  b.hang();
  ASSERT_TRUE(within(kSoon, [&] {
    const std::lock_guard lock(mutex_);
    return told_.size() == 4;
  }));
  told();
  set_targets({proxy_of("a", "127.0.0.2", a.port())});
  ASSERT_TRUE(becomes("b", State::kUnknown));
  EXPECT_EQ(of("a"), State::kDown);
  EXPECT_TRUE(within(kSoon, [&] {
    const std::lock_guard lock(mutex_);
    return told_ == "b ";
  })) << told_;
  // Another address is another target.
  told();
  set_targets({proxy_of("a", "127.0.0.4", a.port())});
  EXPECT_TRUE(becomes("a", State::kUnknown));
}

TEST_F(NodeHealthTest, TargetsAreAskedForAtMostOnceASecondAndNoChangeIsLost) {
  start({});
  ASSERT_TRUE(within(kSoon, [&] { return lists().size() == 1; }));
  for (int i = 0; i < 200; ++i) {
    prober_->targets_changed();
    std::this_thread::sleep_for(milliseconds(1));
  }
  const std::size_t before = lists().size();
  prober_->targets_changed();
  ASSERT_TRUE(within(kSoon, [&] { return lists().size() > before; }));
  std::this_thread::sleep_for(milliseconds(1'500));
  const std::vector<steady_clock::time_point> listed = lists();
  EXPECT_LE(listed.size(), before + 2);
  for (std::size_t i = 1; i < listed.size(); ++i) {
    // A second, but for how late a busy machine is.
    EXPECT_GT(listed[i] - listed[i - 1], milliseconds(500)) << i;
  }
}

TEST_F(NodeHealthTest, ManyThatHangDoNotKeepTheOthersFromBeingAsked) {
  constexpr int kHanging = 60;
  HealthServer silent("127.0.0.3");
  silent.hang();
  HealthServer server("127.0.0.2");
  std::vector<ProbeTarget> targets{proxy_of("a", "127.0.0.2", server.port())};
  for (int i = 0; i < kHanging; ++i) {
    targets.push_back(proxy_of("silent" + std::to_string(i), "127.0.0.3", silent.port()));
  }
  start(std::move(targets), {.interval = kInterval, .concurrent_max = 8});
  EXPECT_TRUE(becomes("a", State::kUp));
  wait_until_asked(server, 3);
  EXPECT_LT(silent.held_max(), 40) << "some may not be closed yet";
  EXPECT_GE(silent.held_max(), 4);
}

TEST_F(NodeHealthTest, ItEndsAtOnceWhileNodesHang) {
  HealthServer server("127.0.0.2");
  server.hang();
  start({proxy_of("a", "127.0.0.2", server.port())}, {.interval = milliseconds(60'000)});
  ASSERT_TRUE(within(kSoon, [&] { return server.held() == 1; }));
  const auto begun = steady_clock::now();
  end();
  EXPECT_LT(steady_clock::now() - begun, milliseconds(1'500)) << "a probe may take two seconds";
}

TEST_F(NodeHealthTest, ItEndsAtOnceWhileThereIsNothingToDo) {
  start({});
  ASSERT_TRUE(within(kSoon, [&] { return lists().size() == 1; }));
  std::this_thread::sleep_for(milliseconds(100));
  const auto begun = steady_clock::now();
  end();
  EXPECT_LT(steady_clock::now() - begun, milliseconds(2'000));
}

TEST_F(NodeHealthTest, WhatWasKnownCanBeReadOnceItIsStopped) {
  HealthServer server("127.0.0.2");
  start({proxy_of("a", "127.0.0.2", server.port())});
  ASSERT_TRUE(becomes("a", State::kUp));
  prober_->stop();
  prober_->targets_changed();
  EXPECT_EQ(of("a"), State::kUp);
  const int before = server.asked();
  let_it_ask();
  EXPECT_EQ(server.asked(), before);
}

int open_descriptors() {
  int count = 0;
  DIR* folder = ::opendir("/proc/self/fd");
  while (::readdir(folder) != nullptr) {
    ++count;
  }
  ::closedir(folder);
  return count - 3;  // two dots, and the folder's own
}

TEST_F(NodeHealthTest, WantOfDescriptorsSaysNothingOfANode) {
  HealthServer server("127.0.0.2");
  start({proxy_of("a", "127.0.0.2", server.port())});
  ASSERT_TRUE(becomes("a", State::kUp));
  rlimit usual{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &usual), 0);
  rlimit none = usual;
  none.rlim_cur = 0;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  let_it_ask();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &usual), 0);
  EXPECT_EQ(of("a"), State::kUp);
  EXPECT_EQ(told(), "");
}

TEST_F(NodeHealthTest, NothingIsLeftOpen) {
  const int before = open_descriptors();
  {
    HealthServer server("127.0.0.2");
    start({proxy_of("a", "127.0.0.2", server.port())});
    ASSERT_TRUE(becomes("a", State::kUp));
    wait_until_asked(server, 10);
    EXPECT_LT(open_descriptors(), before + 10);
    end();
  }
  EXPECT_EQ(open_descriptors(), before);
}

}  // namespace
}  // namespace sluice::kubernetes
