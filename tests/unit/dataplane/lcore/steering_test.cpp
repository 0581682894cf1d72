// SPDX-License-Identifier: Apache-2.0
// What is asked of NICs that can this and not that, and what comes of it.
#include "dataplane/lcore/steering.h"

#include "dataplane/lcore/port.h"
#include "tests/support/test_nic.h"
#include "tests/unit/dataplane/lcore/environment.h"

#include <gtest/gtest.h>

#include <random>

namespace sluice::testing {
namespace {

constexpr unsigned kLcores = 2;

// Ports on test NICs, and what is agreed among them.
class Steered {
 public:
  struct Wish {
    NicModel nic = {};
    Steering steering = Steering::kAuto;
    Faces faces = Faces::kBoth;
  };
  explicit Steered(const std::vector<Wish>& wishes, unsigned lcores = kLcores) {
    static int number = 0;
    std::mt19937_64 random(20261125);
    ToeplitzKey seed;
    for (std::uint8_t& byte : seed.bytes) {
      byte = static_cast<std::uint8_t>(random());
    }
    keys = arrange_side_keys(seed);
    std::vector<SteeredPort> steered;
    for (const Wish& wish : wishes) {
      PortSettings settings;
      settings.name = "port" + std::to_string(number);
      settings.device = "net_nic" + std::to_string(number++);
      settings.steering = wish.steering;
      settings.faces = wish.faces;
      settings.rx_descriptors = 64;
      settings.tx_descriptors = 64;
      nics.push_back(
          std::make_unique<TestNic>(settings.device, static_cast<std::uint16_t>(lcores), wish.nic));
      ports.push_back(std::make_unique<Port>(settings, lcores, "ports[0]", keys.source));
      steered.push_back(ports.back()->steered());
    }
    steering = std::make_unique<PortsSteering>(steered, lcores, keys, snat);
  }
  ~Steered() {
    steering.reset();
    for (const auto& port : ports) {
      port->close();
    }
  }
  [[nodiscard]] const PortSteering& of(std::size_t i) const { return steering->port(i); }
  [[nodiscard]] OwnerInput input() const { return steering->ownership()->input(); }
  // What was refused, with the reason.
  [[nodiscard]] std::string refused(std::size_t i) const {
    std::string all;
    for (const NicRequest& request : of(i).requests) {
      all += request.accepted ? "" : request.what + ": " + request.answer + "; ";
    }
    return all;
  }

  std::vector<SnatAddress> snat{{*parse_ip("10.0.0.100"), 1024, 65'536},
                                {*parse_ip("2001:db8:10::100"), 1024, 65'536}};
  SideKeys keys;
  std::vector<std::unique_ptr<TestNic>> nics;
  std::vector<std::unique_ptr<Port>> ports;
  std::unique_ptr<PortsSteering> steering;
};

class SteeringTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    enter_own_network();
    start_eal();
    TestNic::install();
  }
};

TEST_F(SteeringTest, ANicWithRssGetsOurKeyAndOurTable) {
  const Steered gateway({Steered::Wish{}});
  EXPECT_EQ(gateway.of(0).method, Steering::kInverseRss) << gateway.refused(0);
  EXPECT_EQ(gateway.of(0).hash, HashInput::kTuple);
  EXPECT_EQ(gateway.input(), OwnerInput::kFullTuple);
  EXPECT_TRUE(std::equal(gateway.nics[0]->key().begin(), gateway.nics[0]->key().end(),
                         gateway.keys.source.bytes.begin()));
  for (std::size_t i = 0; i < gateway.nics[0]->reta().size(); ++i) {
    EXPECT_EQ(gateway.nics[0]->reta()[i],
              gateway.steering->ownership()->of_hash(static_cast<std::uint32_t>(i)));
  }
  EXPECT_EQ(gateway.refused(0), "");
}

TEST_F(SteeringTest, AForcedHandoffLeavesTheNicAlone) {
  const Steered gateway({{.steering = Steering::kHandoff}});
  EXPECT_EQ(gateway.of(0).method, Steering::kHandoff);
  EXPECT_EQ(gateway.of(0).why, "as configured");
  EXPECT_EQ(gateway.nics[0]->fields(), 0U);
  EXPECT_EQ(gateway.nics[0]->rules(), 0U);
}

TEST_F(SteeringTest, OneLcoreAsksForNothing) {
  const Steered gateway({{.nic = {.rules = true}}}, 1);
  EXPECT_EQ(gateway.steering->ownership()->lcores(), 1);
  EXPECT_EQ(gateway.nics[0]->fields(), 0U);
  EXPECT_EQ(gateway.nics[0]->rules(), 0U);
}

TEST_F(SteeringTest, ANicsOwnKeyAndTableAreTakenOver) {
  NicModel own;
  own.takes_key = false;
  own.takes_reta = false;
  const Steered gateway({{.nic = own}, {}});
  const Ownership& ownership = *gateway.steering->ownership();
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(gateway.of(i).method, Steering::kInverseRss) << gateway.refused(i);
    EXPECT_EQ(gateway.nics[i]->key(), gateway.nics[0]->key());
    for (std::uint32_t entry = 0; entry < 128; ++entry) {
      ASSERT_EQ(gateway.nics[i]->reta()[entry], ownership.of_hash(entry));
    }
  }
  EXPECT_NE(gateway.refused(0).find("rss key, 40 bytes: the device keeps its own"),
            std::string::npos);
}

TEST_F(SteeringTest, ASecondNicWithAnotherKeyOfItsOwnIsHandedOverFrom) {
  NicModel one;
  one.takes_key = false;
  NicModel two = one;
  two.own_seed = 99;
  const Steered gateway({{.nic = one}, {.nic = two}});
  EXPECT_EQ(gateway.of(0).method, Steering::kInverseRss);
  EXPECT_EQ(gateway.of(1).method, Steering::kHandoff);
  EXPECT_EQ(gateway.of(1).why, "the device keeps a key that is not the other ports'");
  EXPECT_EQ(gateway.of(1).hash, HashInput::kNone);
}

TEST_F(SteeringTest, ANicThatNeitherTakesNorTellsAKeyIsHandedOverFrom) {
  NicModel silent;
  silent.takes_key = false;
  silent.tells_key = false;
  const Steered gateway({{.nic = silent}});
  EXPECT_EQ(gateway.of(0).method, Steering::kHandoff);
  EXPECT_NE(gateway.refused(0).find("neither takes a hash key nor tells its own"),
            std::string::npos);
}

// 128 of 40 bytes, 512 and 2,048 of 52: all say the same of every hash, also for 3 lcores.
TEST_F(SteeringTest, TablesOfSeveralSizesAgree) {
  NicModel i40e;
  i40e.key_bytes = 52;
  i40e.reta_entries = 512;
  NicModel ice = i40e;
  ice.reta_entries = 2048;
  const Steered gateway({{.nic = i40e}, {}, {.nic = ice}}, 3);
  const Ownership& ownership = *gateway.steering->ownership();
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(gateway.of(i).method, Steering::kInverseRss) << gateway.refused(i);
    const std::vector<std::uint16_t>& reta = gateway.nics[i]->reta();
    for (std::uint32_t hash = 0; hash < 4096; ++hash) {
      ASSERT_EQ(reta[hash % reta.size()], ownership.of_hash(hash));
    }
  }
}

TEST_F(SteeringTest, NicsThatHashOneSideGetTwoKeysOrOne) {
  for (const bool compact : {false, true}) {
    NicModel nic;
    nic.sides = true;
    nic.compact = compact;
    nic.driver = compact ? "mlx5_pci" : "net_test_nic";
    const Steered gateway(
        {{.nic = nic, .faces = Faces::kClients}, {.nic = nic, .faces = Faces::kBackends}});
    EXPECT_EQ(gateway.input(), OwnerInput::kClientSide);
    EXPECT_EQ(gateway.of(0).hash, HashInput::kSource);
    EXPECT_EQ(gateway.of(1).hash, HashInput::kDestination);
    EXPECT_EQ(gateway.nics[0]->key() == gateway.nics[1]->key(), compact);
  }
}

TEST_F(SteeringTest, WholeTuplesAreHashedWhereOneNicCannotHashSidesOrFacesBoth) {
  NicModel sides;
  sides.sides = true;
  const Steered one_cannot({{.nic = sides, .faces = Faces::kClients}, {.faces = Faces::kBackends}});
  EXPECT_EQ(one_cannot.input(), OwnerInput::kFullTuple);
  EXPECT_EQ(one_cannot.of(0).hash, HashInput::kTuple);
  const Steered one_arm({{.nic = sides}});
  EXPECT_EQ(one_arm.input(), OwnerInput::kFullTuple);
}

TEST_F(SteeringTest, WithoutRssRulesSteer) {
  NicModel nic;
  nic.rss = false;
  nic.rules = true;
  const Steered gateway({{.nic = nic}});
  EXPECT_EQ(gateway.of(0).method, Steering::kRteFlow) << gateway.refused(0);
  EXPECT_EQ(gateway.input(), OwnerInput::kPortBits);
  // Two slices of two protocols for each of two SNAT addresses, and for clients of each family.
  EXPECT_EQ(gateway.nics[0]->rules(), 16U);
  EXPECT_NE(gateway.refused(0).find("rss: "), std::string::npos) << "it was asked for first";
}

TEST_F(SteeringTest, RulesCanBeForcedAndGoAwayAtTheEnd) {
  NicModel nic;
  nic.rules = true;
  Steered gateway({{.nic = nic, .steering = Steering::kRteFlow, .faces = Faces::kClients},
                   {.nic = nic, .faces = Faces::kBackends}});
  EXPECT_EQ(gateway.of(0).method, Steering::kRteFlow);
  EXPECT_EQ(gateway.of(1).method, Steering::kRteFlow) << "one owner for all ports";
  EXPECT_EQ(gateway.nics[0]->rules(), 8U);
  gateway.steering.reset();
  EXPECT_EQ(gateway.nics[0]->rules(), 0U);
  EXPECT_EQ(gateway.nics[1]->rules(), 0U);
}

TEST_F(SteeringTest, ANicWithOnePriorityHasRulesForRepliesAlone) {
  NicModel nic;
  nic.rules = true;
  nic.priorities = false;
  const Steered gateway({{.nic = nic, .steering = Steering::kRteFlow}});
  EXPECT_EQ(gateway.of(0).method, Steering::kRteFlow);
  EXPECT_EQ(gateway.nics[0]->rules(), 8U);
  EXPECT_NE(gateway.of(0).why.find("clients' packets, which are handed over"), std::string::npos);
}

NicModel one_arm() {
  NicModel nic;
  nic.sides = true;
  nic.rules = true;
  nic.rss_rules = true;
  return nic;
}

TEST_F(SteeringTest, APortThatFacesBothHashesDestinationsAndHasRulesForVips) {
  const Steered gateway({{.nic = one_arm(), .steering = Steering::kRteFlow},
                         {.nic = one_arm(), .faces = Faces::kBackends}});
  EXPECT_EQ(gateway.of(0).method, Steering::kRteFlow) << gateway.refused(0);
  EXPECT_EQ(gateway.of(0).hash, HashInput::kEitherSide);
  EXPECT_EQ(gateway.input(), OwnerInput::kClientSide);
  EXPECT_EQ(gateway.nics[0]->fields(), gateway.nics[1]->fields());
  EXPECT_EQ(gateway.nics[0]->key(), gateway.nics[1]->key());
  ASSERT_TRUE(gateway.of(0).vip_rss);
  EXPECT_TRUE(std::equal(gateway.of(0).vip_rss->key.bytes.begin(),
                         gateway.of(0).vip_rss->key.bytes.begin() + 40,
                         gateway.keys.source.bytes.begin()));
  EXPECT_EQ(gateway.of(0).vip_rss->queues, gateway.nics[0]->reta());
  EXPECT_EQ(gateway.nics[0]->rules(), 0U) << "until there is a VIP";
  EXPECT_FALSE(gateway.of(1).vip_rss) << "no client is behind it";
  EXPECT_EQ(gateway.of(1).method, Steering::kInverseRss);
}

TEST_F(SteeringTest, PortNumbersDecideWhereOneDeviceRefusesRulesForVips) {
  NicModel without = one_arm();
  without.rss_rules = false;
  const Steered gateway({{.nic = one_arm(), .steering = Steering::kRteFlow}, {.nic = without}});
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(gateway.of(i).method, Steering::kRteFlow) << gateway.refused(i);
    EXPECT_EQ(gateway.of(i).hash, HashInput::kNone);
    EXPECT_FALSE(gateway.of(i).vip_rss);
    EXPECT_EQ(gateway.nics[i]->rules(), 16U);
  }
  EXPECT_EQ(gateway.input(), OwnerInput::kPortBits);
  EXPECT_NE(gateway.refused(1).find("rss rules for VIPs: not a rule of this NIC"),
            std::string::npos);
}

TEST_F(SteeringTest, RulesForVipsAreForWhoWishesForThem) {
  const Steered gateway({{.nic = one_arm()}});
  EXPECT_EQ(gateway.of(0).method, Steering::kInverseRss);
  EXPECT_EQ(gateway.of(0).hash, HashInput::kTuple);
}

TEST_F(SteeringTest, RefusedRulesLeaveNothingBehindAndSayWhy) {
  NicModel none;
  none.rss = false;
  const Steered refused({{.nic = none, .steering = Steering::kRteFlow}});
  EXPECT_EQ(refused.of(0).method, Steering::kHandoff);
  EXPECT_NE(refused.refused(0).find("Function not implemented"), std::string::npos);
  NicModel small;
  small.rules = true;
  small.rules_max = 3;
  const Steered full({{.nic = small, .steering = Steering::kRteFlow}});
  EXPECT_EQ(full.of(0).method, Steering::kHandoff);
  EXPECT_EQ(full.nics[0]->rules(), 0U);
  EXPECT_NE(full.of(0).why.find("No space left"), std::string::npos) << full.of(0).why;
}

// DPDK's own devices of this machine, through DPDK's own calls.
TEST_F(SteeringTest, NetNullTakesKeyAndTable) {
  PortSettings settings;
  settings.name = "null0";
  settings.device = "net_null7,no-rx=1";
  const ToeplitzKey key = arrange_side_keys(kMicrosoftToeplitzKey).source;
  Port port(settings, kLcores, "ports[0]", key);
  const PortsSteering steering({port.steered()}, kLcores, {key, key}, {});
  EXPECT_EQ(steering.port(0).method, Steering::kInverseRss) << steering.port(0).why;
}

TEST_F(SteeringTest, NetRingHasNeitherRssNorRules) {
  PortSettings settings;
  settings.name = "ring0";
  settings.device = "net_ring7";
  Port port(settings, kLcores, "ports[0]");
  const std::vector<SnatAddress> snat{{*parse_ip("10.0.0.100"), 1024, 65'536}};
  const PortsSteering steering({port.steered()}, kLcores, {}, snat);
  EXPECT_EQ(steering.port(0).method, Steering::kHandoff);
  EXPECT_NE(steering.port(0).why.find("Function not implemented"), std::string::npos);
}

}  // namespace
}  // namespace sluice::testing
