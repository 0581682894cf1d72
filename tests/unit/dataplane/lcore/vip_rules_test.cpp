// SPDX-License-Identifier: Apache-2.0
#include "dataplane/lcore/vip_rules.h"

#include "dataplane/net/headers.h"
#include "dataplane/snapshot/ownership.h"
#include "tests/unit/dataplane/lcore/nic_port.h"

#include <rte_ethdev.h>

#include <gtest/gtest.h>

#include <set>

namespace sluice::testing {
namespace {

NicModel model_of(std::size_t rules_max) {
  NicModel model;
  model.sides = true;
  model.compact = true;
  model.rules = true;
  model.rss_rules = true;
  model.rules_max = rules_max;
  return model;
}

class VipRulesTest : public NicPortTest {
 protected:
  explicit VipRulesTest(std::size_t rules_max = 1024) : NicPortTest(model_of(rules_max)) {
    const RuleRss rss{
        RTE_ETH_RSS_L3_SRC_ONLY | RTE_ETH_RSS_L4_SRC_ONLY, 40, kMicrosoftToeplitzKey, {0, 1}};
    rules = std::make_unique<VipRules>(std::vector<VipRules::Device>{{port->id(), rss}, {0, {}}});
  }
  // In how many queues packets of many clients for an address end.
  std::size_t queues_of(const char* vip, std::uint8_t protocol) {
    std::set<int> queues;
    for (std::uint16_t client = 1; client < 40; ++client) {
      FrameSpec spec;
      spec.destination = *parse_ip(vip);
      spec.source =
          *parse_ip(spec.destination.family == Family::kIpv4 ? "192.0.2.9" : "2001:db8::9");
      spec.protocol = protocol;
      spec.source_port = static_cast<std::uint16_t>(4000 + client);
      spec.destination_port = 80;
      queues.insert(nic->arrive(pool.make(make_frame(spec))));
    }
    return queues.size();
  }
  void change(const std::vector<std::string>& gained, const std::vector<std::string>& lost = {}) {
    rules->change(addresses(gained), addresses(lost));
  }
  static std::vector<IpAddress> addresses(const std::vector<std::string>& texts) {
    std::vector<IpAddress> parsed;
    for (const std::string& text : texts) {
      parsed.push_back(*parse_ip(text));
    }
    return parsed;
  }

  std::unique_ptr<VipRules> rules;
};

class VipRulesOfASmallNic : public VipRulesTest {
 protected:
  VipRulesOfASmallNic() : VipRulesTest(5) {}
};

TEST_F(VipRulesTest, WhatIsForAVipIsSpreadByItsClientAndNothingElse) {
  change({"203.0.113.10", "2001:db8:113::10"});
  EXPECT_EQ(nic->rules(), 4U);
  for (const std::uint8_t protocol : {kProtocolTcp, kProtocolUdp}) {
    EXPECT_EQ(queues_of("203.0.113.10", protocol), kQueues);
    EXPECT_EQ(queues_of("2001:db8:113::10", protocol), kQueues);
    EXPECT_EQ(queues_of("203.0.113.11", protocol), 1U);
    EXPECT_EQ(queues_of("2001:db8:113::11", protocol), 1U);
  }
  EXPECT_EQ(rules->told(0)->what, "rss rules for VIPs, 2 of 2");
  EXPECT_TRUE(rules->told(0)->accepted);
}

TEST_F(VipRulesTest, ARuleGoesWithItsVip) {
  change({"203.0.113.10", "203.0.113.11"});
  change({}, {"203.0.113.10"});
  EXPECT_EQ(queues_of("203.0.113.10", kProtocolTcp), 1U);
  EXPECT_EQ(queues_of("203.0.113.11", kProtocolTcp), kQueues);
  change({"203.0.113.11"});
  EXPECT_EQ(nic->rules(), 2U) << "it had one";
}

TEST_F(VipRulesTest, ADeviceThatNeedsNoneIsAskedForNone) {
  change({"203.0.113.10"});
  EXPECT_FALSE(rules->told(1));
}

TEST_F(VipRulesTest, NoDeviceHasMoreThanItsShareOfVips) {
  std::vector<std::string> vips;
  for (std::size_t i = 0; i < VipRules::kVipsMax + 2; ++i) {
    vips.push_back("203.0." + std::to_string(i / 256) + "." + std::to_string(i % 256));
  }
  change(vips);
  EXPECT_EQ(nic->rules(), 2 * VipRules::kVipsMax);
  EXPECT_EQ(rules->told(0)->what, "rss rules for VIPs, 512 of 514");
  EXPECT_NE(rules->told(0)->answer.find("at most 512 VIPs have them"), std::string::npos);
}

TEST_F(VipRulesOfASmallNic, WhatWasRefusedIsMadeWhenThereIsRoom) {
  change({"203.0.113.10", "203.0.113.11", "203.0.113.12"});
  EXPECT_EQ(nic->rules(), 4U) << "of half a VIP nothing is left";
  EXPECT_FALSE(rules->told(0)->accepted);
  EXPECT_NE(rules->told(0)->answer.find("the others' packets are handed over"), std::string::npos);
  change({}, {"203.0.113.10"});
  EXPECT_EQ(rules->told(0)->what, "rss rules for VIPs, 2 of 2");
  EXPECT_EQ(queues_of("203.0.113.12", kProtocolUdp), kQueues);
}

}  // namespace
}  // namespace sluice::testing
