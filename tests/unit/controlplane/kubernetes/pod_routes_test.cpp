// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/pod_routes.h"

#include "tests/unit/controlplane/kubernetes/cluster.h"

#include <gtest/gtest.h>

namespace sluice::kubernetes {
namespace {

Node with_pods(const std::string& name, const std::vector<std::string>& internal_ips,
               std::vector<std::string> pod_cidrs) {
  Node made = node(name, internal_ips);
  made.pod_cidrs = std::move(pod_cidrs);
  return made;
}

std::string routes_of(const std::vector<Node>& given) {
  Nodes nodes;
  for (const Node& each : given) {
    nodes.emplace(each.meta.name.name, each);
  }
  std::string text;
  for (const v1::ProviderRoute& route : pod_routes_of(nodes)) {
    text += (text.empty() ? "" : ", ") + route.destination() + " by " + route.gateway();
  }
  return text;
}

TEST(PodRoutes, AreEachNodesPodCidrsByItsFirstInternalIpOfTheFamily) {
  struct Case {
    const char* claim;
    std::vector<Node> nodes;
    std::string routes;
  };
  Node leaving = with_pods("a", {"192.168.0.1"}, {"10.244.1.0/24"});
  leaving.meta.deleting = true;
  leaving.to_be_deleted = true;
  leaving.meta.labels["node.kubernetes.io/exclude-from-external-load-balancers"] = "";
  const Case cases[] = {
      {"no nodes", {}, ""},
      {"one", {with_pods("a", {"192.168.0.1"}, {"10.244.1.0/24"})}, "10.244.1.0/24 by 192.168.0.1"},
      {"in the order of names",
       {with_pods("b", {"192.168.0.2"}, {"10.244.1.0/24"}),
        with_pods("a", {"192.168.0.1"}, {"10.244.2.0/24"})},
       "10.244.2.0/24 by 192.168.0.1, 10.244.1.0/24 by 192.168.0.2"},
      {"both families, each by its own first address",
       {with_pods("a", {"fd00::1", "192.168.0.1", "192.168.0.9", "fd00::9"},
                  {"10.244.1.0/24", "fd01::/64"})},
       "10.244.1.0/24 by 192.168.0.1, fd01::/64 by fd00::1"},
      {"no address of the family",
       {with_pods("a", {"192.168.0.1"}, {"10.244.1.0/24", "fd01::/64"})},
       "10.244.1.0/24 by 192.168.0.1"},
      {"no address", {with_pods("a", {}, {"10.244.1.0/24"})}, ""},
      {"no podCIDR", {with_pods("a", {"192.168.0.1"}, {})}, ""},
      {"what is none",
       {with_pods("a", {"192.168.0.1"}, {"pods", "10.244.1.0", "10.244.1.7/24", "0.0.0.0/0"})},
       ""},
      {"an address that no packet can be sent to",
       {with_pods("a", {"169.254.0.1", "192.168.0.1"}, {"10.244.1.0/24"})},
       "10.244.1.0/24 by 192.168.0.1"},
      {"a node that is about to go keeps them", {leaving}, "10.244.1.0/24 by 192.168.0.1"},
      {"each destination once, of the first by name",
       {with_pods("b", {"192.168.0.2"}, {"10.244.1.0/24"}),
        with_pods("a", {"192.168.0.1"}, {"10.244.1.0/24"})},
       "10.244.1.0/24 by 192.168.0.1"}};
  for (const auto& [claim, nodes, routes] : cases) {
    EXPECT_EQ(routes_of(nodes), routes) << claim;
  }
}

}  // namespace
}  // namespace sluice::kubernetes
