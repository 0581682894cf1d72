// SPDX-License-Identifier: Apache-2.0
// Two workers behind NICs that steer: whatever the method, nothing has to be handed over, and what
// a NIC brings to the wrong lcore nevertheless is, and not lost.
#include "dataplane/lcore/port.h"
#include "dataplane/lcore/steering.h"
#include "dataplane/lcore/vip_rules.h"
#include "dataplane/lcore/worker.h"
#include "tests/support/test_nic.h"
#include "tests/support/world.h"
#include "tests/unit/dataplane/lcore/environment.h"

#include <rte_mbuf.h>

#include <gtest/gtest.h>

#include <ostream>
#include <random>
#include <set>
#include <thread>

namespace sluice::testing {
namespace {

constexpr unsigned kLcores = 2;

// A way of steering, by what the NICs can and what is wished.
struct Way {
  const char* name;
  NicModel nic;
  Steering wished = Steering::kAuto;
  bool faces = false;  // the ports face clients and backends alone
  Steering method = Steering::kInverseRss;
  bool dnat_too = false;  // it brings DNAT's packets home as well
};

std::ostream& operator<<(std::ostream& out, const Way& way) {
  return out << way.name;
}

NicModel with(void (*change)(NicModel&)) {
  NicModel nic;
  change(nic);
  return nic;
}

// RSS of one side, and rules that take the other one for VIPs.
void one_arm(NicModel& nic) {
  nic.sides = true;
  nic.rules = true;
  nic.rss_rules = true;
}

const Way kWays[] = {
    {"Ixgbe", with([](NicModel&) {})},
    {"I40e", with([](NicModel& nic) {
       nic.key_bytes = 52;
       nic.reta_entries = 512;
     })},
    {"Ice", with([](NicModel& nic) {
       nic.key_bytes = 52;
       nic.reta_entries = 2048;
     })},
    {"OwnKeyAndTable", with([](NicModel& nic) {
       nic.takes_key = false;
       nic.takes_reta = false;
     })},
    {"WithoutToldHash", with([](NicModel& nic) { nic.tells_hash = false; })},
    {"OneSideInPlace", with([](NicModel& nic) { nic.sides = true; }), Steering::kAuto, true,
     Steering::kInverseRss, true},
    {"OneSideMlx5", with([](NicModel& nic) {
       nic.sides = true;
       nic.compact = true;
       nic.driver = "mlx5_pci";
     }),
     Steering::kAuto, true, Steering::kInverseRss, true},
    {"Rules", with([](NicModel& nic) {
       nic.rss = false;
       nic.rules = true;
     }),
     Steering::kAuto, false, Steering::kRteFlow},
    {"OneArm", with(one_arm), Steering::kRteFlow, false, Steering::kRteFlow, true},
    {"OneArmMlx5", with([](NicModel& nic) {
       one_arm(nic);
       nic.compact = true;
       nic.driver = "mlx5_pci";
     }),
     Steering::kRteFlow, false, Steering::kRteFlow, true},
    {"OneArmOwnTable", with([](NicModel& nic) {
       one_arm(nic);
       nic.takes_reta = false;
       nic.priorities = false;
     }),
     Steering::kRteFlow, false, Steering::kRteFlow, true},
    {"RulesOfOneSide", with([](NicModel& nic) { nic.rules = true; }), Steering::kRteFlow, true,
     Steering::kRteFlow, true},
};

class Gateway {
 public:
  Gateway(Family family, const Way& way, ForwardingMode mode = ForwardingMode::kFullNat)
      : world(family, {.lcores = kLcores, .mode = mode}),
        punt(nullptr),
        rcu(kLcores),
        handoff(kLcores) {
    static int number = 0;
    std::mt19937_64 random(20261125);
    ToeplitzKey seed;
    for (std::uint8_t& byte : seed.bytes) {
      byte = static_cast<std::uint8_t>(random());
    }
    const SideKeys keys = arrange_side_keys(seed);
    std::vector<SteeredPort> steered;
    for (const bool is_wan : {true, false}) {
      PortSettings settings;
      settings.name = is_wan ? "wan" : "lan";
      settings.device = "net_steered" + std::to_string(number++);
      settings.name += std::to_string(number);
      settings.steering = way.wished;
      settings.faces = !way.faces ? Faces::kBoth : is_wan ? Faces::kClients : Faces::kBackends;
      nics.push_back(std::make_unique<TestNic>(settings.device, kLcores, way.nic));
      ports.push_back(std::make_unique<Port>(settings, kLcores, "ports[0]", keys.source));
      steered.push_back(ports.back()->steered());
    }
    const std::vector<SnatAddress> snat{{world.snat, 1024, 65'536}};
    steering = std::make_unique<PortsSteering>(steered, kLcores, keys, snat);
    world.snapshot.ownership = steering->ownership();
    vip_rules = std::make_unique<VipRules>(std::vector<VipRules::Device>{
        {ports[0]->id(), steering->port(0).vip_rss}, {ports[1]->id(), steering->port(1).vip_rss}});
    vip_rules->change(std::vector<IpAddress>{world.vip}, {});
    punt.add_port(nullptr, world.wan_mac);
    punt.add_port(nullptr, world.lan_mac);
    for (std::size_t i = 0; i < 2; ++i) {
      world.snapshot.ports[i].hash = steering->port(i).hash;
    }
    for (unsigned i = 0; i < kLcores; ++i) {
      counters.push_back(std::make_unique<LcoreCounters>(16, 64));
      WorkerContext context;
      context.number = i;
      context.ports = {{ports[0]->id(), 0}, {ports[1]->id(), 0}};
      context.rcu = &rcu;
      context.punt = &punt;
      context.handoff = &handoff;
      context.hold_pool = hold_pool.get();
      context.fragment_pool = fragment_pool.get();
      context.counters = counters.back().get();
      context.hugepages = false;
      context.flows_ipv4 = 4096;
      context.flows_ipv6 = 4096;
      workers.push_back(std::make_unique<Worker>(context));
    }
    rcu.publish(std::make_shared<Snapshot>(world.snapshot));
  }
  ~Gateway() {
    vip_rules.reset();
    steering.reset();
    for (const auto& port : ports) {
      port->close();
    }
  }
  void turns(unsigned count) {
    for (unsigned turn = 0; turn < count * kLcores; ++turn) {
      rcu.join(turn % kLcores);
      workers[turn % kLcores]->turn();
      rcu.leave(turn % kLcores);
    }
  }
  std::vector<Frame> sent(std::size_t port) {
    std::vector<Frame> frames;
    while (rte_mbuf* mbuf = nics[port]->sent()) {
      frames.push_back(frame_of(mbuf));
      rte_pktmbuf_free(mbuf);
    }
    return frames;
  }
  [[nodiscard]] std::uint64_t total(Counter LcoreCounters::*what) const {
    return ((*counters[0]).*what).get() + ((*counters[1]).*what).get();
  }
  [[nodiscard]] std::uint64_t drops() const {
    std::uint64_t sum = 0;
    for (const auto& lcore : counters) {
      for (const Counter& drop : lcore->drops) {
        sum += drop.get();
      }
    }
    return sum;
  }
  [[nodiscard]] std::uint64_t different() const {
    std::uint64_t sum = 0;
    for (const auto& lcore : counters) {
      sum += lcore->hashes_different[0].get() + lcore->hashes_different[1].get();
    }
    return sum;
  }
  [[nodiscard]] std::uint64_t equal() const {
    std::uint64_t sum = 0;
    for (const auto& lcore : counters) {
      sum += lcore->hashes_equal[0].get() + lcore->hashes_equal[1].get();
    }
    return sum;
  }
  // UDP of so many clients' ports, there and back, several times. How many answers came through.
  unsigned converse(unsigned clients, unsigned rounds) {
    unsigned answers = 0;
    for (unsigned round = 0; round < rounds; ++round) {
      for (unsigned i = 0; i < clients; ++i) {
        const auto port = static_cast<std::uint16_t>(4000 + 7 * i);
        nics[0]->arrive(pool.make(make_frame(world.from_client(kProtocolUdp, port))));
        if (i % 32 == 31) {
          turns(1);
        }
      }
      turns(4);
      unsigned i = 0;
      for (const Frame& request : sent(1)) {
        nics[1]->arrive(pool.make(make_frame(world.answer_to(request))));
        if (i++ % 32 == 31) {
          turns(1);
        }
      }
      turns(4);
      for (const Frame& answer : sent(0)) {
        EXPECT_EQ(read_frame(answer).source, world.vip);
        EXPECT_EQ(read_frame(answer).fault, "");
        ++answers;
      }
    }
    return answers;
  }

  World world;
  TestPool pool{8191};
  TestPool hold_pool{1023};
  TestPool fragment_pool{2047};
  std::vector<std::unique_ptr<TestNic>> nics;
  std::vector<std::unique_ptr<Port>> ports;
  std::unique_ptr<PortsSteering> steering;
  std::unique_ptr<VipRules> vip_rules;
  Punt punt;
  std::vector<std::unique_ptr<LcoreCounters>> counters;
  SnapshotRcu rcu;
  Handoff handoff;
  std::vector<std::unique_ptr<Worker>> workers;
};

class SteeredTest : public ::testing::TestWithParam<std::tuple<Family, Way>> {
 protected:
  static void SetUpTestSuite() {
    enter_own_network();
    start_eal();
    TestNic::install();
  }
};
INSTANTIATE_TEST_SUITE_P(Ways, SteeredTest,
                         ::testing::Combine(::testing::Values(Family::kIpv4, Family::kIpv6),
                                            ::testing::ValuesIn(kWays)),
                         [](const auto& made) {
                           return std::string(std::get<1>(made.param).name) +
                                  (std::get<0>(made.param) == Family::kIpv4 ? "Ipv4" : "Ipv6");
                         });

TEST_P(SteeredTest, NoPacketComesToTheWrongLcore) {
  const auto& [family, way] = GetParam();
  Gateway gateway(family, way);
  ASSERT_EQ(gateway.steering->port(0).method, way.method) << gateway.steering->port(0).why;
  ASSERT_EQ(gateway.steering->port(1).method, way.method) << gateway.steering->port(1).why;
  constexpr unsigned kClients = 400;
  EXPECT_EQ(gateway.converse(kClients, 3), 3 * kClients);
  EXPECT_EQ(gateway.total(&LcoreCounters::handed_over), 0U);
  EXPECT_EQ(gateway.drops(), 0U);
  EXPECT_GT(gateway.counters[0]->packets.get(), kClients) << "both have work";
  EXPECT_GT(gateway.counters[1]->packets.get(), kClients);
  const bool tells = gateway.steering->port(0).hash != HashInput::kNone && way.nic.tells_hash;
  EXPECT_LE(gateway.equal(), 4U * HashTrust::kCompared) << "then they are trusted";
  EXPECT_EQ(gateway.equal() > 0, tells);
  EXPECT_EQ(gateway.different(), 0U);
}

TEST_P(SteeredTest, DnatIsCarriedAndComesHomeWhereOneSideDecides) {
  const auto& [family, way] = GetParam();
  Gateway gateway(family, way, ForwardingMode::kDnat);
  constexpr unsigned kClients = 200;
  EXPECT_EQ(gateway.converse(kClients, 2), 2 * kClients);
  EXPECT_EQ(gateway.drops(), 0U);
  EXPECT_EQ(gateway.total(&LcoreCounters::handed_over) == 0, way.dnat_too);
}

class SteeredBadly : public SteeredTest {};
INSTANTIATE_TEST_SUITE_P(
    Ways, SteeredBadly,
    ::testing::Combine(
        ::testing::Values(Family::kIpv4, Family::kIpv6),
        ::testing::Values(Way{"Lies", with([](NicModel& nic) { nic.lies = true; })},
                          Way{"LiesAboutOneSide", with([](NicModel& nic) {
                                nic.sides = true;
                                nic.driver = "mlx5_pci";  // which it is not: it leaves fields there
                              }),
                              Steering::kAuto, true},
                          Way{"Refuses", with([](NicModel& nic) { nic.rss = false; }),
                              Steering::kAuto, false, Steering::kHandoff},
                          Way{"Forced", with([](NicModel& nic) { nic.rules = true; }),
                              Steering::kHandoff, false, Steering::kHandoff})),
    [](const auto& made) {
      return std::string(std::get<1>(made.param).name) +
             (std::get<0>(made.param) == Family::kIpv4 ? "Ipv4" : "Ipv6");
    });

TEST_P(SteeredBadly, NothingIsLostWhenTheNicBringsPacketsToTheWrongLcore) {
  const auto& [family, way] = GetParam();
  Gateway gateway(family, way);
  ASSERT_EQ(gateway.steering->port(0).method, way.method) << gateway.steering->port(0).why;
  constexpr unsigned kClients = 400;
  EXPECT_EQ(gateway.converse(kClients, 3), 3 * kClients);
  EXPECT_EQ(gateway.drops(), 0U);
  EXPECT_GT(gateway.total(&LcoreCounters::handed_over), kClients);
  EXPECT_EQ(gateway.different() > 0, way.method == Steering::kInverseRss) << "it is found out";
}

// As they are until the rule is there, and where there is no room for one.
TEST(SteeredLate, PacketsForAVipWithoutARuleAreHandedOver) {
  enter_own_network();
  start_eal();
  TestNic::install();
  NicModel nic;
  one_arm(nic);
  for (const ForwardingMode mode : {ForwardingMode::kFullNat, ForwardingMode::kDnat}) {
    Gateway gateway(Family::kIpv4, {"OneArm", nic, Steering::kRteFlow}, mode);
    gateway.vip_rules->change({}, std::vector<IpAddress>{gateway.world.vip});
    constexpr unsigned kClients = 400;
    EXPECT_EQ(gateway.converse(kClients, 2), 2 * kClients);
    EXPECT_EQ(gateway.drops(), 0U);
    EXPECT_GT(gateway.total(&LcoreCounters::handed_over), kClients / 2);
    EXPECT_EQ(gateway.different(), 0U) << "which side was hashed is not held against the device";
  }
}

// A NIC whose table was changed behind our back.
TEST(SteeredLate, ATrustedHashOnTheWrongQueueIsHandedOver) {
  enter_own_network();
  start_eal();
  TestNic::install();
  Gateway gateway(Family::kIpv4, kWays[0]);
  constexpr unsigned kClients = 400;
  ASSERT_EQ(gateway.converse(kClients, 3), 3 * kClients);
  std::vector<rte_eth_rss_reta_entry64> reta(2);
  for (auto& group : reta) {
    group.mask = UINT64_MAX;
    std::fill(std::begin(group.reta), std::end(group.reta), 1);
  }
  for (const auto& port : gateway.ports) {
    ASSERT_EQ(nic_ops.reta_update(port->id(), reta.data(), 128), 0);
  }
  EXPECT_EQ(gateway.converse(kClients, 1), kClients);
  EXPECT_EQ(gateway.drops(), 0U);
  EXPECT_GT(gateway.total(&LcoreCounters::handed_over), kClients / 2);
}

// Both lcores at once, behind a NIC that a third thread plays.
TEST_P(SteeredTest, TwoThreadsNeedNoHandingOver) {
  const auto& [family, way] = GetParam();
  Gateway gateway(family, way);
  std::vector<std::thread> threads;
  for (const auto& worker : gateway.workers) {
    threads.emplace_back([&worker] { worker->run(); });
  }
  constexpr unsigned kPackets = 10'000;
  unsigned sent = 0;
  unsigned answers = 0;
  unsigned under_way = 0;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (answers < kPackets && std::chrono::steady_clock::now() < deadline) {
    if (sent < kPackets && under_way < 500) {
      const auto port = static_cast<std::uint16_t>(4000 + sent++ % 500);
      gateway.nics[0]->arrive(
          gateway.pool.make(make_frame(gateway.world.from_client(kProtocolUdp, port))));
      ++under_way;
    }
    for (const Frame& request : gateway.sent(1)) {
      gateway.nics[1]->arrive(gateway.pool.make(make_frame(gateway.world.answer_to(request))));
    }
    const auto back = static_cast<unsigned>(gateway.sent(0).size());
    answers += back;
    under_way -= back;
  }
  for (unsigned i = 0; i < kLcores; ++i) {
    gateway.workers[i]->stop();
    threads[i].join();
  }
  EXPECT_EQ(answers, kPackets);
  EXPECT_EQ(gateway.drops(), 0U);
  EXPECT_EQ(gateway.total(&LcoreCounters::handed_over), 0U);
}

}  // namespace
}  // namespace sluice::testing
