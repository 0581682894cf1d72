// SPDX-License-Identifier: Apache-2.0
#include "dataplane/lcore/drop_rules.h"

#include "dataplane/net/headers.h"
#include "tests/unit/dataplane/lcore/nic_port.h"

#include <gtest/gtest.h>

namespace sluice::testing {
namespace {

NicModel model_of(std::size_t rules_max) {
  NicModel model;
  model.rss = false;
  model.rules = true;
  model.rules_max = rules_max;
  return model;
}

class DropRulesTest : public NicPortTest {
 protected:
  explicit DropRulesTest(std::size_t rules_max = 1024) : NicPortTest(model_of(rules_max)) {
    rules = std::make_unique<DropRules>(std::vector<std::uint16_t>{port->id()});
  }
  static DeniedSource denied(const char* source, std::uint16_t to = 80) {
    return {*parse_ip("203.0.113.10"), to, kProtocolTcp, *parse_prefix(source)};
  }
  bool passes(const char* source, std::uint16_t to = 80) {
    FrameSpec spec;
    spec.source = *parse_ip(source);
    spec.destination = *parse_ip("203.0.113.10");
    spec.protocol = kProtocolTcp;
    spec.source_port = 4000;
    spec.destination_port = to;
    return nic->arrive(pool.make(make_frame(spec))) >= 0;
  }

  std::unique_ptr<DropRules> rules;
};

class DropRulesOfASmallNic : public DropRulesTest {
 protected:
  DropRulesOfASmallNic() : DropRulesTest(1) {}
};

TEST_F(DropRulesTest, WhatIsDeniedIsDroppedAndNothingElse) {
  const std::vector<DeniedSource> all{denied("192.0.2.0/24"), denied("198.51.100.7/32")};
  rules->set(all);
  EXPECT_FALSE(passes("192.0.2.77"));
  EXPECT_FALSE(passes("198.51.100.7"));
  EXPECT_TRUE(passes("198.51.100.8"));
  EXPECT_TRUE(passes("192.0.2.77", 81)) << "another service's port";
  EXPECT_EQ(nic->dropped_by_rule(), 2U);
  EXPECT_EQ(rules->told(0)->what, "drop rules for denied sources, 2 of 2");
  EXPECT_TRUE(rules->told(0)->accepted);
}

TEST_F(DropRulesTest, WhatIsAllowedAgainPassesAtOnce) {
  rules->set(std::vector<DeniedSource>{denied("192.0.2.0/24"), denied("198.51.100.7/32")});
  rules->set(std::vector<DeniedSource>{denied("198.51.100.7/32")});
  EXPECT_TRUE(passes("192.0.2.77"));
  EXPECT_FALSE(passes("198.51.100.7"));
  EXPECT_EQ(nic->rules(), 1U);
  rules->set({});
  EXPECT_EQ(rules->told(0), std::nullopt);
}

TEST_F(DropRulesOfASmallNic, RefusedOnesAreToldAndTriedAgainWhenThereIsRoom) {
  rules->set(std::vector<DeniedSource>{denied("192.0.2.0/24"), denied("198.51.100.7/32")});
  EXPECT_EQ(rules->told(0)->what, "drop rules for denied sources, 1 of 2");
  EXPECT_FALSE(rules->told(0)->accepted);
  EXPECT_NE(rules->told(0)->answer.find("No space left"), std::string::npos);
  rules->set(std::vector<DeniedSource>{denied("198.51.100.7/32")});
  EXPECT_FALSE(passes("198.51.100.7"));
  EXPECT_TRUE(rules->told(0)->accepted);
}

TEST_F(DropRulesTest, ThereAreNeverMoreThanTheBound) {
  std::vector<DeniedSource> all;
  for (std::uint16_t i = 0; i < DropRules::kRulesMax + 10; ++i) {
    all.push_back(denied("192.0.2.0/24", static_cast<std::uint16_t>(1000 + i)));
  }
  rules->set(all);
  EXPECT_EQ(nic->rules(), DropRules::kRulesMax);
  EXPECT_FALSE(rules->told(0)->accepted);
}

}  // namespace
}  // namespace sluice::testing
