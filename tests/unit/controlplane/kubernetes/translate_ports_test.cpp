// SPDX-License-Identifier: Apache-2.0
// Which ports of a service are served, and what is carried over as it is: KUBERNETES.md 2.5, 3.9.
#include "controlplane/kubernetes/translate.h"
#include "tests/unit/controlplane/kubernetes/cluster.h"

#include <gtest/gtest.h>

namespace sluice::kubernetes {
namespace {

TEST(TranslatePorts, AreCarriedOver) {
  expect_rows(
      {{"names, numbers, protocols and node ports", [](Cluster&) {},
        "http 80/TCP 30080, dns 53/UDP 30053"},
       {"2.5: appProtocol is a hint, carried along",
        [](Cluster& c) { c.service.ports[0].app_protocol = "kubernetes.io/h2c"; },
        "http 80/TCP 30080 (kubernetes.io/h2c), dns 53/UDP 30053"},
       {"2.5: a port is (protocol, port), and 53/UDP and 53/TCP may share a node port",
        [](Cluster& c) {
          c.service.ports[0] = {"dns-tcp", "TCP", 53, 30'053, ""};
        },
        "dns-tcp 53/TCP 30053, dns 53/UDP 30053"},
       {"2.1: an only port may have no name",
        [](Cluster& c) {
          c.service.ports = {{"", "TCP", 80, 30'080, ""}};
        },
        " 80/TCP 30080"},
       {"2.5: with allocateLoadBalancerNodePorts: false there are none, and none are chosen",
        [](Cluster& c) {
          for (ServicePort& port : c.service.ports) {
            port.node_port = 0;
          }
        },
        "http 80/TCP, dns 53/UDP"},
       {"2.5: a LoadBalancer may have node ports for some of its ports",
        [](Cluster& c) { c.service.ports[1].node_port = 0; }, "http 80/TCP 30080, dns 53/UDP"},
       {"3.9: node ports that are not exposed are not told",
        [](Cluster& c) { c.settings.expose_node_ports = false; }, "http 80/TCP, dns 53/UDP"},
       {"2.1: a ClusterIP has none, whatever is left over",
        [](Cluster& c) {
          c.become("ClusterIP");
          c.settings.expose_cluster_ips = true;
          c.service.ports[0].node_port = 30'080;
        },
        "http 80/TCP, dns 53/UDP"},
       {"2.5: a protocol that is not served leaves the other ports alone",
        [](Cluster& c) {
          c.service.ports.push_back({"s1ap", "SCTP", 36'412, 30'412, ""});
        },
        "http 80/TCP 30080, dns 53/UDP 30053"},
       {"2.5: TCP, UDP and SCTP of one number are three ports",
        [](Cluster& c) {
          c.service.ports = {{"a", "SCTP", 53, 30'001, ""},
                             {"b", "UDP", 53, 30'001, ""},
                             {"c", "TCP", 53, 30'001, ""}};
        },
        "b 53/UDP 30001, c 53/TCP 30001"},
       {"2.5: with no other port nothing is served",
        [](Cluster& c) {
          c.service.ports = {{"s1ap", "SCTP", 36'412, 30'412, ""}};
        },
        "none: it has no port that this gateway serves"}},
      ports);
}

TEST(TranslatePorts, OfAServiceThatNobodyAskedForAreNobodysMatter) {
  Cluster cluster;
  cluster.become("ClusterIP");
  cluster.service.ports.push_back({"s1ap", "SCTP", 36'412, 0, ""});
  const Translation made = cluster.translated();
  EXPECT_EQ(made.why_not, "cluster addresses are not exposed and it has no other");
  EXPECT_TRUE(made.findings.empty());
  cluster.settings.expose_cluster_ips = true;
  EXPECT_EQ(cluster.translated().findings.size(), 1U);
}

TEST(TranslatePorts, ThatAreNotServedAreToldWithTheReason) {
  Cluster cluster;
  cluster.service.ports.push_back({"s1ap", "SCTP", 36'412, 30'412, ""});
  cluster.service.ports.push_back({"later", "QUIC", 443, 30'443, ""});
  const Translation made = cluster.translated();
  const std::vector<PortError> expected{{36'412, "SCTP", "LoadBalancerMixedProtocolNotSupported"},
                                        {443, "QUIC", "LoadBalancerMixedProtocolNotSupported"}};
  EXPECT_EQ(made.port_errors, expected);
  ASSERT_EQ(made.findings.size(), 2U);
  EXPECT_NE(made.findings[0].message.find("36412: SCTP"), std::string::npos);
  EXPECT_NE(made.findings[1].message.find("443: QUIC"), std::string::npos);

  cluster.service.ports.erase(cluster.service.ports.begin(), cluster.service.ports.begin() + 2);
  EXPECT_EQ(cluster.translated().port_errors, expected) << "without any other port too";
  EXPECT_EQ(Cluster{}.translated().port_errors, std::vector<PortError>{});
}

TEST(TranslatePorts, MoreThanAGatewayServesAreNotMadeIntoAnything) {
  Cluster cluster;
  cluster.service.ports.clear();
  for (int port = 1; port <= 100; ++port) {
    cluster.service.ports.push_back({"p" + std::to_string(port), "TCP", port, 0, ""});
  }
  EXPECT_TRUE(cluster.translated().service.has_value());
  cluster.service.ports.push_back({"p101", "TCP", 101, 0, ""});
  const Translation made = cluster.translated();
  EXPECT_FALSE(made.service.has_value());
  EXPECT_EQ(made.why_not, "it has more than 100 ports");
  ASSERT_FALSE(made.findings.empty());
  EXPECT_EQ(made.findings.back().reason, "TooManyPorts");
}

TEST(Translate, LeavesNothingForTheGatewayToAllocate) {
  Cluster cluster;
  Translation made = cluster.translated();
  ASSERT_TRUE(made.service);
  EXPECT_TRUE(made.service->spec().has_allocate_load_balancer_node_ports());
  EXPECT_FALSE(made.service->spec().allocate_load_balancer_node_ports());

  cluster.become("NodePort");
  made = cluster.translated();
  ASSERT_TRUE(made.service);
  EXPECT_FALSE(made.service->spec().has_allocate_load_balancer_node_ports())
      << "another type has no such field";
}

TEST(Translate, CarriesNameLabelsAndFamiliesOver) {
  Cluster cluster;
  cluster.service.meta.labels = {{"app", "web"}, {"tier", ""}};
  cluster.service.meta.annotations["kubectl.kubernetes.io/last-applied-configuration"] = "{}";
  cluster.service.ip_families = {"IPv6", "IPv4"};
  const Translation made = cluster.translated();
  ASSERT_TRUE(made.service);
  EXPECT_EQ(made.service->metadata().namespace_(), "shop");
  EXPECT_EQ(made.service->metadata().name(), "web");
  EXPECT_EQ(made.service->metadata().labels().size(), 2U);
  EXPECT_TRUE(made.service->metadata().annotations().empty()) << "others' are nothing to a gateway";
  EXPECT_TRUE(made.service->metadata().uid().empty()) << "the gateway has its own";
  EXPECT_TRUE(made.service->metadata().resource_version().empty());
  ASSERT_EQ(made.service->spec().ip_families_size(), 2);
  EXPECT_EQ(made.service->spec().ip_families(0), "IPv6") << "the primary one first";
}

TEST(Translate, OfAServiceThatPrefersToHaveBothFamiliesAGatewayMayServeOne) {
  Cluster cluster;
  const auto told = [&](std::vector<std::string> families, const std::string& policy) {
    cluster.service.ip_families = std::move(families);
    cluster.service.ip_family_policy = policy;
    return cluster.translated().service->spec().ip_family_policy();
  };
  EXPECT_EQ(told({"IPv4", "IPv6"}, "PreferDualStack"), "PreferDualStack");
  EXPECT_EQ(told({"IPv4", "IPv6"}, "RequireDualStack"), "") << "it insists on those it names";
  EXPECT_EQ(told({"IPv4"}, "PreferDualStack"), "") << "the cluster has one family";
  EXPECT_EQ(told({"IPv4"}, "SingleStack"), "");
}

}  // namespace
}  // namespace sluice::kubernetes
