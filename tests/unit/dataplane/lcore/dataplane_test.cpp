// SPDX-License-Identifier: Apache-2.0
// The control plane's door, with everything behind it running: EAL, two ports on veths, their
// twins, the punt thread and a worker. A process has one EAL, so every test runs in a child.
#include "dataplane/lcore/dataplane.h"

#include "tests/support/world.h"
#include "tests/unit/dataplane/lcore/environment.h"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <mutex>
#include <net/if.h>
#include <optional>
#include <sched.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace sluice::testing {
namespace {

using namespace std::chrono_literals;

bool within(std::chrono::milliseconds time, const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < deadline) {
    if (condition()) {
      return true;
    }
    std::this_thread::sleep_for(1ms);
  }
  return false;
}

DataplaneSettings veth_settings() {
  DataplaneSettings settings = small_settings();
  cpu_set_t cpus;
  sched_getaffinity(0, sizeof(cpus), &cpus);
  unsigned cpu = 0;
  while (!CPU_ISSET(cpu, &cpus)) {
    ++cpu;
  }
  settings.lcores = {cpu};
  settings.idle_sleep_us = 100;
  for (const std::string name : {"wan", "lan"}) {
    PortSettings port;
    port.name = name + "0";
    port.device = "net_af_packet_" + name + ",iface=" + name + ",blocksz=65536,framecnt=4096";
    settings.ports.push_back(port);
  }
  return settings;
}

class DataplaneTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { enter_own_network(); }
  void SetUp() override {
    ASSERT_TRUE(run("ip link add wan type veth peer name client && ip link set client up"));
    ASSERT_TRUE(run("ip link add lan type veth peer name backend && ip link set backend up"));
  }
  void TearDown() override {
    run("ip link del wan; ip link del lan; ip link del wan0; ip link del lan0");
  }
  // Runs in a child; the failures it printed are ours.
  static void in_child(const std::function<void()>& body) {
    const pid_t child = fork();
    if (child == 0) {
      body();
      std::fflush(nullptr);
      _exit(::testing::Test::HasFailure() ? 1 : 0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
  }
  static std::string fault_of(const DataplaneSettings& settings) {
    try {
      const Dataplane dataplane(settings);
    } catch (const StartFault& fault) {
      return fault.what();
    }
    return "";
  }
};

// A running dataplane with the services of the small world on it.
struct Running {
  Running() {
    const std::vector<PortFacts> facts = dataplane.port_facts();
    world.snapshot.ports = facts;
    world.wan_mac = facts[0].mac;
    world.lan_mac = facts[1].mac;
    first = dataplane.publish(std::make_shared<Snapshot>(world.snapshot));
    dataplane.start([this](std::uint8_t port, const IpAddress& address) {
      const std::lock_guard lock(mutex);
      wanted.emplace_back(port, address);
    });
  }
  bool publish() {
    ++world.snapshot.epoch;
    const std::uint64_t ticket = dataplane.publish(std::make_shared<Snapshot>(world.snapshot));
    return within(5s, [&] { return dataplane.confirmed(ticket); }) &&
           dataplane.unconfirmed(ticket).empty();
  }
  // Frames that are not of the gateway's making: the kernel multicasts on its twin.
  static std::optional<Frame> next_ours(const RawSocket& socket, std::uint8_t protocol) {
    while (auto frame = socket.receive(3000)) {
      const FrameFacts facts = read_frame(*frame);
      if (facts.protocol == protocol && facts.source.is_ipv4()) {
        return frame;
      }
    }
    return std::nullopt;
  }

  World world{Family::kIpv4};
  Dataplane dataplane{veth_settings()};
  std::uint64_t first = 0;
  std::mutex mutex;
  std::vector<std::pair<std::uint8_t, IpAddress>> wanted;
};

TEST_F(DataplaneTest, CarriesPacketsAnswersQuestionsAndLeavesOnlyItsTwins) {
  in_child([] {
    cpu_set_t before;
    sched_getaffinity(0, sizeof(before), &before);
    const RawSocket client("client");
    const RawSocket backend("backend");
    {
      Running running;
      Dataplane& dataplane = running.dataplane;
      cpu_set_t after;
      sched_getaffinity(0, sizeof(after), &after);
      EXPECT_TRUE(CPU_EQUAL(&before, &after));
      EXPECT_TRUE(within(5s, [&] { return dataplane.confirmed(running.first); }));
      ASSERT_TRUE(client.send(make_frame(running.world.from_client(kProtocolUdp, 4000))));
      const auto request = Running::next_ours(backend, kProtocolUdp);
      ASSERT_TRUE(request);
      EXPECT_EQ(read_frame(*request).source, running.world.snat);
      ASSERT_TRUE(backend.send(make_frame(running.world.answer_to(*request))));
      const auto answer = Running::next_ours(client, kProtocolUdp);
      ASSERT_TRUE(answer);
      EXPECT_EQ(read_frame(*answer).source, running.world.vip);
      bool truncated = true;
      const auto rows = dataplane.list_flows({}, 10, &truncated);
      ASSERT_TRUE(rows);
      ASSERT_EQ(rows->size(), 1U);
      EXPECT_FALSE(truncated);
      EXPECT_EQ(rows->front().client.port, 4000);
      EXPECT_TRUE(dataplane.list_flows({}, 0, &truncated)->empty());
      EXPECT_TRUE(truncated);
      const auto explained = dataplane.explain(
          {{running.world.client, 4000}, {running.world.vip, 53}, kProtocolUdp, 0});
      ASSERT_TRUE(explained);
      EXPECT_TRUE(explained->live_flow);
      EXPECT_EQ(explained->lcore, dataplane.lcores()[0]);
      const std::vector<PortState> states = dataplane.port_states();
      ASSERT_EQ(states.size(), 2U);
      EXPECT_EQ(states[0].twin, "wan0");
      EXPECT_GE(states[0].rx_packets, 1U);
      EXPECT_GE(states[0].tx_packets, 1U);
      EXPECT_EQ(dataplane.twin_index(1), static_cast<int>(if_nametoindex("lan0")));
      dataplane.stop();
      dataplane.stop();
      EXPECT_EQ(dataplane.explain({}), std::nullopt) << "after its end nobody answers";
      EXPECT_EQ(dataplane.list_flows({}, 10, &truncated), std::nullopt);
    }
    EXPECT_NE(if_nametoindex("wan0"), 0U);
    EXPECT_NE(if_nametoindex("lan0"), 0U);
    EXPECT_EQ(output_of("nft list ruleset"), "");
    EXPECT_EQ(output_of("ls -d /var/run/dpdk/sluice-" + std::to_string(getpid()) + " 2>/dev/null"),
              "");
  });
}

TEST_F(DataplaneTest, APublicationIsConfirmedByIdleLcoresToo) {
  in_child([] {
    Running running;
    for (int i = 0; i < 200; ++i) {
      ASSERT_TRUE(running.publish()) << i;
    }
    EXPECT_TRUE(within(1s, [&] {
      return running.dataplane.counters()[0]->epoch_seen.get() == running.world.snapshot.epoch;
    }));
  });
}

TEST_F(DataplaneTest, AsksForANeighbourAndSendsWhatWaitedOnceItIsKnown) {
  in_child([] {
    const RawSocket client("client");
    const RawSocket backend("backend");
    Running running;
    const auto set_backends = [&](NextHop::State state) {
      for (std::uint8_t i = 0; i < 3; ++i) {
        running.world.set_next_hop(static_cast<NextHopIndex>(World::kBackendHop + i), state,
                                   MacAddress{{2, 0, 0, 7, 7, i}});
      }
      ASSERT_TRUE(running.publish());
    };
    set_backends(NextHop::State::kUnresolved);
    ASSERT_TRUE(client.send(make_frame(running.world.from_client(kProtocolUdp, 4000))));
    const auto first = [&] {
      const std::lock_guard lock(running.mutex);
      return running.wanted.empty() ? std::nullopt : std::optional(running.wanted.front());
    };
    ASSERT_TRUE(within(3s, [&] { return first().has_value(); }));
    EXPECT_EQ(first()->first, World::kLan);
    set_backends(NextHop::State::kReachable);
    const auto request = Running::next_ours(backend, kProtocolUdp);
    ASSERT_TRUE(request);
    EXPECT_EQ(read_frame(*request).destination, first()->second);
    EXPECT_EQ(read_frame(*request).to_mac.bytes[3], 7);
  });
}

TEST_F(DataplaneTest, TheKernelSpeaksThroughTheTwin) {
  in_child([] {
    const RawSocket client("client");
    Running running;
    ASSERT_TRUE(run("ip addr add 198.51.100.254/24 dev wan0"));
    ASSERT_TRUE(run("ip neigh add 198.51.100.9 lladdr 02:00:00:00:01:02 dev wan0"));
    FrameSpec spec;
    spec.from_mac = running.world.client_mac;
    spec.to_mac = running.world.wan_mac;
    spec.source = *parse_ip("198.51.100.9");
    spec.destination = running.world.wan_host;
    ASSERT_TRUE(client.send(make_icmp(spec, 8)));
    const auto reply = Running::next_ours(client, kProtocolIcmp);
    ASSERT_TRUE(reply) << "the kernel answers an echo to its own address";
    EXPECT_EQ(read_frame(*reply).icmp_type, 0);
    EXPECT_EQ(read_frame(*reply).source, running.world.wan_host);
    const std::vector<PortState> states = running.dataplane.port_states();
    EXPECT_GE(states[0].punted, 1U);
    EXPECT_GE(states[0].injected, 1U);
  });
}

TEST_F(DataplaneTest, AnAnnouncedAddressIsHeardOnTheWire) {
  in_child([] {
    const RawSocket client("client");
    Running running;
    running.dataplane.announce(0, running.world.vip);
    const Frame wanted =
        make_arp_request(running.world.wan_mac, running.world.vip, running.world.vip);
    const auto begun = std::chrono::steady_clock::now();
    int heard = 0;
    while (heard < 3 && std::chrono::steady_clock::now() - begun < 5s) {
      const auto frame = client.receive(1500);
      heard += frame && std::equal(wanted.begin(), wanted.begin() + 42, frame->begin()) ? 1 : 0;
    }
    EXPECT_EQ(heard, 3);
    EXPECT_GT(std::chrono::steady_clock::now() - begun, 1800ms);
  });
}

TEST_F(DataplaneTest, AFaultHalfWayIsOneSentenceAndLeavesNothing) {
  struct FaultCase {
    std::string named;
    std::function<void(DataplaneSettings&)> spoil;
  };
  const std::vector<FaultCase> cases{
      {"ports[1].device: ", [](auto& settings) { settings.ports[1].device = "net_nonsense"; }},
      {"ports[1].device: ",
       [](auto& settings) { settings.ports[1].device = "net_af_packet_lan,iface=none"; }},
      {"ports[1].name: ", [](auto& settings) { settings.ports[1].name = "lo"; }},
      {"dataplane.memory: ", [](auto& settings) { settings.memory_bytes = 8ULL << 20U; }},
  };
  for (const FaultCase& given : cases) {
    const auto state = [] {
      return output_of(
          "ip -br link | cut -d@ -f1; ip -d link show wan | sed 's/qdisc [a-z]*//'; "
          "nft list ruleset");
    };
    const std::string before = state();
    in_child([&] {
      DataplaneSettings settings = veth_settings();
      given.spoil(settings);
      const std::string fault = fault_of(settings);
      EXPECT_EQ(fault.rfind(given.named, 0), 0U) << fault;
      EXPECT_EQ(fault.find('\n'), std::string::npos) << fault;
    });
    EXPECT_EQ(state(), before) << given.named;
  }
}

}  // namespace
}  // namespace sluice::testing
