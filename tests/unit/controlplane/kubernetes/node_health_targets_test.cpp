// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/node_health.h"
#include "tests/unit/controlplane/kubernetes/cluster.h"

#include <gtest/gtest.h>

namespace sluice::kubernetes {
namespace {

class ProbeTargetsTest : public ::testing::Test {
 protected:
  ProbeTargetsTest() {
    nodes_.emplace("a", node("a", {"192.168.0.1", "fd00::1"}));
    nodes_.emplace("b", node("b", {"fd00::2", "192.168.0.2"}));
    nodes_.emplace("c", node("c", {"192.168.0.3"}));
    nodes_.emplace("none", node("none", {}));
  }

  void add(const std::string& name, const std::string& policy, std::int64_t port,
           std::vector<SliceEndpoint> endpoints) {
    Service made = service();
    made.meta.name.name = name;
    made.external_traffic_policy = policy;
    made.health_check_node_port = port;
    services_.push_back({std::make_shared<const Service>(std::move(made)),
                         {slice({{"http", "TCP", 8080}}, std::move(endpoints))}});
  }
  [[nodiscard]] std::string asked() const {
    std::string text;
    for (const ProbeTarget& target : probe_targets(services_, nodes_, rules_)) {
      text += (text.empty() ? "" : ", ") + target.node + " " +
              (target.service ? target.service->name : "proxy") + " " +
              sluice::to_string(target.address) + " " + std::to_string(target.port);
    }
    return text;
  }

  Nodes nodes_;
  std::vector<ServiceView> services_;
  ProbeRules rules_{[](const ServiceView&) { return true; },
                    [](const Node& node) { return !node.to_be_deleted; }};
};

TEST_F(ProbeTargetsTest, KubeProxyIsAskedAtEachNodesFirstAddress) {
  add("web", "Cluster", 0, {endpoint("10.0.0.1", kReady, "a")});
  add("dns", "Cluster", 0, {});
  EXPECT_EQ(asked(), "a proxy 192.168.0.1 10256, b proxy fd00::2 10256, c proxy 192.168.0.3 10256");
}

TEST_F(ProbeTargetsTest, AnAddressThatNoFlowCouldGoToIsNotAskedEither) {
  nodes_.at("a") = node("a", {"169.254.0.1", "192.168.0.9"});
  nodes_.at("b") = node("b", {"169.254.0.2"});
  add("web", "Cluster", 0, {endpoint("10.0.0.1", kReady, "a")});
  EXPECT_EQ(asked(), "a proxy 192.168.0.9 10256, c proxy 192.168.0.3 10256");
}

TEST_F(ProbeTargetsTest, NobodyIsAskedWhileNoServiceGoesToNodes) {
  add("web", "Cluster", 0, {endpoint("10.0.0.1", kReady, "a")});
  add("local", "Local", 30'100, {endpoint("10.0.0.1", kReady, "a")});
  services_.push_back({});  // it went meanwhile
  rules_.goes_to_nodes = [](const ServiceView&) { return false; };
  EXPECT_EQ(asked(), "");
}

TEST_F(ProbeTargetsTest, OfALocalServiceOnlyNodesWithAUsableEndpointAreAsked) {
  add("web", "Local", 30'100,
      {endpoint("10.0.0.1", kReady, "a"), endpoint("10.0.0.2", kReady, "a"),
       endpoint("10.0.0.3", kStarting, "b"), endpoint("10.0.0.4", kDraining, "c"),
       endpoint("10.0.0.5", kReady), endpoint("10.0.0.6", kReady, "gone"),
       endpoint("10.0.0.7", kReady, "none")});
  EXPECT_EQ(asked(), "a web 192.168.0.1 30100, c web 192.168.0.3 30100");
}

TEST_F(ProbeTargetsTest, EachLocalServiceHasItsOwnPort) {
  add("web", "Local", 30'100, {endpoint("10.0.0.1", kReady, "a")});
  add("dns", "Local", 30'200, {endpoint("10.0.0.1", kReady, "a")});
  EXPECT_EQ(asked(), "a dns 192.168.0.1 30200, a web 192.168.0.1 30100");
}

TEST_F(ProbeTargetsTest, ALocalServiceWithoutAPortOfItsOwnDependsOnKubeProxy) {
  nodes_.erase("b");
  nodes_.erase("c");
  for (const std::int64_t port : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{65'536}}) {
    services_.clear();
    add("web", "Local", port, {endpoint("10.0.0.1", kReady, "a")});
    EXPECT_EQ(asked(), "a proxy 192.168.0.1 10256") << port;
  }
}

TEST_F(ProbeTargetsTest, ANodeThatIsNoNextHopIsNotAsked) {
  nodes_.at("a").to_be_deleted = true;
  add("web", "Cluster", 0, {});
  add("local", "Local", 30'100,
      {endpoint("10.0.0.1", kReady, "a"), endpoint("10.0.0.1", kReady, "b")});
  EXPECT_EQ(asked(), "b proxy fd00::2 10256, b local fd00::2 30100, c proxy 192.168.0.3 10256");
}

}  // namespace
}  // namespace sluice::kubernetes
