// SPDX-License-Identifier: Apache-2.0
#include "dataplane/lcore/flow_rules.h"

#include "dataplane/lcore/nic_ops.h"
#include "dataplane/lcore/port.h"
#include "dataplane/net/headers.h"
#include "tests/support/test_nic.h"
#include "tests/unit/dataplane/lcore/environment.h"

#include <rte_ethdev.h>

#include <gtest/gtest.h>

namespace sluice::testing {
namespace {

NicModel with_rules() {
  NicModel nic;
  nic.rss = false;
  nic.rules = true;
  return nic;
}

class FlowRulesTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    enter_own_network();
    start_eal();
    TestNic::install();
  }
};

// Frames of a tuple that is one bit away from what a rule says pass by it.
TEST_F(FlowRulesTest, ARuleIsAboutExactlyWhatItSays) {
  TestNic nic("net_rules0", 2, with_rules());
  PortSettings settings;
  settings.name = "nic0";
  settings.device = "net_rules0";
  settings.steering = Steering::kHandoff;
  Port port(settings, 2, "ports[0]");
  const TestPool pool;
  FlowRules rules(port.id());
  for (const bool ipv4 : {true, false}) {
    FrameSpec spec;
    spec.from_mac = MacAddress{{2, 0, 0, 0, 0, 9}};
    spec.to_mac = port.mac();
    spec.source = *parse_ip(ipv4 ? "192.0.2.7" : "2001:db8:9::7");
    spec.destination = *parse_ip(ipv4 ? "203.0.113.10" : "2001:db8:113::10");
    spec.protocol = kProtocolUdp;
    spec.source_port = 4000;
    spec.destination_port = 53;
    FlowMatch match{ipv4 ? Family::kIpv4 : Family::kIpv6, kProtocolUdp};
    match.source = parse_prefix(ipv4 ? "192.0.2.0/25" : "2001:db8:8::/47");
    match.destination = IpPrefix{spec.destination, spec.destination.bits()};
    match.destination_port = MaskedPort{53, 0xffff};
    ASSERT_TRUE(rules.to_queue(match, 1, 0)) << rules.why();
    const auto queue_of = [&](const FrameSpec& frame) {
      return nic.arrive(pool.make(make_frame(frame)));
    };
    EXPECT_EQ(queue_of(spec), 1);
    FrameSpec other = spec;
    other.source = *parse_ip(ipv4 ? "192.0.2.135" : "2001:db8:a::7");
    EXPECT_EQ(queue_of(other), 0);
    other = spec;
    other.destination = *parse_ip(ipv4 ? "203.0.113.11" : "2001:db8:113::11");
    EXPECT_EQ(queue_of(other), 0);
    other = spec;
    other.destination_port = 52;
    EXPECT_EQ(queue_of(other), 0);
    other = spec;
    other.protocol = kProtocolTcp;
    EXPECT_EQ(queue_of(other), 0);
    ASSERT_TRUE(rules.drop({match.family, kProtocolTcp, match.source, match.destination}));
    EXPECT_EQ(queue_of(other), -1);
    rules.clear();
    EXPECT_EQ(queue_of(spec), 0);
  }
  port.close();
}

TEST_F(FlowRulesTest, BitsOfAPortAreEnough) {
  TestNic nic("net_rules1", 2, with_rules());
  PortSettings settings;
  settings.name = "nic1";
  settings.device = "net_rules1";
  settings.steering = Steering::kHandoff;
  Port port(settings, 2, "ports[0]");
  const TestPool pool;
  FlowRules rules(port.id());
  FlowMatch match{Family::kIpv4, kProtocolTcp};
  match.source_port = MaskedPort{0x0002, 0x0002};
  ASSERT_TRUE(rules.to_queue(match, 1, 0));
  for (std::uint16_t client = 4000; client < 4016; ++client) {
    FrameSpec spec;
    spec.source = *parse_ip("192.0.2.7");
    spec.destination = *parse_ip("203.0.113.10");
    spec.protocol = kProtocolTcp;
    spec.source_port = client;
    EXPECT_EQ(nic.arrive(pool.make(make_frame(spec))), client >> 1U & 1U) << client;
  }
  rules.clear();
  port.close();
}

// net_tap knows rules, and this kernel's traffic control does not: it finds ours well formed, and
// cannot make them. Never the rss action: it ends the process.
TEST_F(FlowRulesTest, NetTapFindsOurRulesWellFormed) {
  PortSettings settings;
  settings.name = "tap0";
  settings.device = "net_tap0,iface=dtap0";
  settings.steering = Steering::kHandoff;
  Port port(settings, 2, "ports[0]");
  FlowMatch match{Family::kIpv4, kProtocolUdp};
  match.destination = IpPrefix{*parse_ip("10.0.0.100"), 32};
  match.destination_port = MaskedPort{40'000, 0xffff};
  static int validated = 0;
  validated = 0;
  const auto before = nic_ops.flow_validate;
  nic_ops.flow_validate = [](std::uint16_t id, const rte_flow_attr* attr,
                             const rte_flow_item pattern[], const rte_flow_action actions[],
                             rte_flow_error* error) {
    const int result = rte_flow_validate(id, attr, pattern, actions, error);
    validated += result == 0 ? 1 : 0;
    return result;
  };
  {
    FlowRules rules(port.id());
    const bool queued = rules.to_queue(match, 1, 0);
    EXPECT_EQ(validated, 1) << rules.why();
    match.source = parse_prefix("192.0.2.0/24");
    const bool dropped = rules.drop(match);
    EXPECT_EQ(validated, 2) << rules.why();
    EXPECT_TRUE(dropped == queued && (queued || !rules.why().empty()));
  }
  nic_ops.flow_validate = before;
  port.close();
}

}  // namespace
}  // namespace sluice::testing
