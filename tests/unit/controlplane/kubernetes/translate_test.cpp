// SPDX-License-Identifier: Apache-2.0
// Which services are served, as what, where, and on which ports: KUBERNETES.md 2.1, 2.5, 3.8-3.12.
#include "controlplane/kubernetes/translate.h"

#include "controlplane/model/allocate.h"
#include "tests/unit/controlplane/kubernetes/cluster.h"

#include <gtest/gtest.h>

namespace sluice::kubernetes {
namespace {

constexpr const char* kProxyNameLabel = "service.kubernetes.io/service-proxy-name";
const std::string kNotOursText = "none: it is not this gateway's to serve";
const std::string kNoAddressText = "none: it has no address yet";
const std::string kHiddenText = "none: cluster addresses are not exposed and it has no other";

TEST(Translate, SkipsTheServicesThatAProxySkips) {
  expect_rows(
      {{"2.1: an ExternalName is skipped", [](Cluster& c) { c.become("ExternalName"); },
        kNotOursText},
       {"2.1: it is skipped even with cluster and external addresses left over",
        [](Cluster& c) {
          c.become("ExternalName");
          c.service.cluster_ips = {"10.96.0.10"};
          c.service.external_ips = {"192.0.2.7"};
          c.settings.expose_cluster_ips = true;
        },
        kNotOursText},
       {"2.1: clusterIP None is skipped", [](Cluster& c) { c.service.cluster_ips = {"None"}; },
        kNotOursText},
       {"2.1: an empty clusterIP is skipped", [](Cluster& c) { c.service.cluster_ips = {""}; },
        kNotOursText},
       {"2.1: no clusterIP is skipped", [](Cluster& c) { c.service.cluster_ips.clear(); },
        kNotOursText},
       {"2.1: a headless service is skipped whatever is exposed",
        [](Cluster& c) {
          c.become("ClusterIP");
          c.service.cluster_ips = {"None"};
          c.service.external_ips = {"192.0.2.7"};
          c.settings.expose_cluster_ips = true;
        },
        kNotOursText},
       {"2.1, 3.10: one labelled for another proxy is skipped",
        [](Cluster& c) { c.service.meta.labels[kProxyNameLabel] = "other"; }, kNotOursText},
       {"2.1: with any value of the label, an empty one too",
        [](Cluster& c) { c.service.meta.labels[kProxyNameLabel] = ""; }, kNotOursText},
       {"3.10: entirely: as a NodePort",
        [](Cluster& c) {
          c.become("NodePort");
          c.service.meta.labels[kProxyNameLabel] = "sluice";
        },
        kNotOursText},
       {"3.10: entirely: as an exposed name",
        [](Cluster& c) {
          c.expose_name();
          c.service.meta.labels[kProxyNameLabel] = "x";
        },
        kNotOursText},
       {"2.1: another label means nothing",
        [](Cluster& c) { c.service.meta.labels["service-proxy-name"] = "x"; }, "served"},
       {"2.5: one that is being deleted is withdrawn",
        [](Cluster& c) { c.service.meta.deleting = true; }, kNotOursText},
       {"2.5: and so is a name",
        [](Cluster& c) {
          c.expose_name();
          c.service.meta.deleting = true;
        },
        kNotOursText},
       {"2.1: a service may have no slice", [](Cluster& c) { c.slices.clear(); }, "served"}},
      fate);
}

TEST(Translate, ServesTheLoadBalancersOfItsClass) {
  expect_rows(
      {{"3.10: ours by its class", [](Cluster&) {}, "served"},
       {"2.1: no class is nobody's unless it is configured",
        [](Cluster& c) { c.service.load_balancer_class.reset(); }, kNotOursText},
       {"2.1, 3.10: no class is ours where this is the default implementation",
        [](Cluster& c) {
          c.service.load_balancer_class.reset();
          c.settings.default_class = true;
        },
        "served"},
       {"3.10: our class is ours there too", [](Cluster& c) { c.settings.default_class = true; },
        "served"},
       {"2.1: another class is not touched",
        [](Cluster& c) { c.service.load_balancer_class = "example.com/other"; }, kNotOursText},
       {"2.1: nor by a default implementation",
        [](Cluster& c) {
          c.service.load_balancer_class = "example.com/other";
          c.settings.default_class = true;
        },
        kNotOursText},
       {"2.1: an empty class is not an absent one",
        [](Cluster& c) {
          c.service.load_balancer_class = "";
          c.settings.default_class = true;
        },
        kNotOursText},
       {"2.1: a class is compared as a whole",
        [](Cluster& c) { c.service.load_balancer_class = "sluice.dev/gateway2"; }, kNotOursText},
       {"another's is not served by its other addresses either",
        [](Cluster& c) {
          c.service.load_balancer_class = "example.com/other";
          c.service.external_ips = {"192.0.2.7"};
          c.settings.expose_cluster_ips = true;
        },
        kNotOursText},
       {"2.1: a class left over on another type means nothing",
        [](Cluster& c) {
          c.become("NodePort");
          c.service.load_balancer_class = "example.com/other";
        },
        "served"}},
      fate);
}

TEST(Translate, ClaimsLoadBalancersAndExposedNamesAndServesTheRestWithoutVips) {
  using Change = std::function<void(Cluster&)>;
  const std::vector<std::pair<Change, Claim>> cases{
      {[](Cluster&) {}, Claim::kOurs},
      {[](Cluster& c) { c.service.load_balancer_class = "x/y"; }, Claim::kNotOurs},
      {[](Cluster& c) { c.become("NodePort"); }, Claim::kServed},
      {[](Cluster& c) { c.become("ClusterIP"); }, Claim::kServed},
      {[](Cluster& c) { c.become("ExternalName"); }, Claim::kNotOurs},
      {[](Cluster& c) { c.expose_name(); }, Claim::kOurs},
      {[](Cluster& c) {
         c.expose_name();
         c.annotate(model::kExposeExternalNameAnnotation, "false");
       },
       Claim::kNotOurs},
      {[](Cluster& c) {
         c.become("ClusterIP");
         c.annotate(model::kExposeExternalNameAnnotation, "true");
       },
       Claim::kServed},
      {[](Cluster& c) { c.service.meta.deleting = true; }, Claim::kNotOurs}};
  for (std::size_t i = 0; i < cases.size(); ++i) {
    Cluster cluster;
    cases[i].first(cluster);
    EXPECT_EQ(claim_of(cluster.service, cluster.settings), cases[i].second) << i;
  }
}

TEST(Translate, TellsALoadBalancerAsWhatItCanBeReachedBy) {
  expect_rows({{"2.5: a LoadBalancer has the VIPs it was given", [](Cluster&) {},
                "LoadBalancer vips=203.0.113.10"},
               {"2.5: one of each family",
                [](Cluster& c) {
                  c.service.ip_families = {"IPv6", "IPv4"};
                  c.vips = {ip("2001:db8:113::10"), ip("203.0.113.10")};
                },
                "LoadBalancer vips=2001:db8:113::10,203.0.113.10"},
               {"without VIPs it is a NodePort: the gateway chooses none",
                [](Cluster& c) { c.vips.clear(); }, "NodePort"},
               {"without VIPs and node ports it waits",
                [](Cluster& c) {
                  c.vips.clear();
                  c.service.ports[1].node_port = 0;
                },
                kNoAddressText},
               {"without VIPs, where node ports are not exposed, it waits too",
                [](Cluster& c) {
                  c.vips.clear();
                  c.settings.expose_node_ports = false;
                },
                kNoAddressText},
               {"without VIPs and node ports it is at its external addresses",
                [](Cluster& c) {
                  c.vips.clear();
                  c.settings.expose_node_ports = false;
                  c.service.external_ips = {"192.0.2.7"};
                },
                "ClusterIP external=192.0.2.7"},
               {"without VIPs its cluster address is exposed like any other",
                [](Cluster& c) {
                  c.vips.clear();
                  c.settings.expose_cluster_ips = true;
                },
                "NodePort cluster=10.96.0.10"},
               {"2.5: external addresses are served beside VIPs",
                [](Cluster& c) {
                  c.service.external_ips = {"192.0.2.7", "2001:db8::7"};
                },
                "LoadBalancer vips=203.0.113.10 external=192.0.2.7,2001:db8::7"},
               {"3.9: with everything",
                [](Cluster& c) {
                  c.service.external_ips = {"192.0.2.7"};
                  c.settings.expose_cluster_ips = true;
                },
                "LoadBalancer vips=203.0.113.10 external=192.0.2.7 cluster=10.96.0.10"}},
              reach);
}

TEST(Translate, TellsTheVipsThatAreTheServicesOwn) {
  expect_rows({{"an address that the status has twice is one",
                [](Cluster& c) {
                  c.vips = {ip("203.0.113.10"), ip("203.0.113.10")};
                },
                "LoadBalancer vips=203.0.113.10"},
               {"2.5: a VIP of a family that was removed is not served any more",
                [](Cluster& c) {
                  c.vips = {ip("203.0.113.10"), ip("2001:db8:113::10")};
                },
                "LoadBalancer vips=203.0.113.10"},
               {"2.5: when it was the only one the service waits",
                [](Cluster& c) {
                  c.vips = {ip("2001:db8:113::10")};
                  c.settings.expose_node_ports = false;
                },
                kNoAddressText},
               {"a server before 1.20 names no families",
                [](Cluster& c) {
                  c.service.ip_families.clear();
                  c.vips = {ip("2001:db8:113::10")};
                },
                "LoadBalancer vips=2001:db8:113::10"}},
              reach);
}

TEST(Translate, ServesOtherTypesWhereTheGatewayExposesThem) {
  expect_rows(
      {{"3.9: a NodePort is served", [](Cluster& c) { c.become("NodePort"); }, "NodePort"},
       {"3.9: where node ports are not exposed it is not",
        [](Cluster& c) {
          c.become("NodePort");
          c.settings.expose_node_ports = false;
        },
        kHiddenText},
       {"where they are not, its cluster address is by itself",
        [](Cluster& c) {
          c.become("NodePort");
          c.settings.expose_node_ports = false;
          c.settings.expose_cluster_ips = true;
        },
        "ClusterIP cluster=10.96.0.10"},
       {"a NodePort that has none for a port yet is not told as one: the gateway would choose it",
        [](Cluster& c) {
          c.become("NodePort");
          c.service.ports[0].node_port = 0;
          c.settings.expose_cluster_ips = true;
        },
        "ClusterIP cluster=10.96.0.10"},
       {"3.9: a ClusterIP is not served unless it is opted in",
        [](Cluster& c) { c.become("ClusterIP"); }, kHiddenText},
       {"3.9: with the opt-in it is",
        [](Cluster& c) {
          c.become("ClusterIP");
          c.settings.expose_cluster_ips = true;
        },
        "ClusterIP cluster=10.96.0.10"},
       {"2.5: both cluster addresses of a dual-stack service",
        [](Cluster& c) {
          c.become("ClusterIP");
          c.service.cluster_ips = {"10.96.0.10", "fd00::10"};
          c.service.ip_families = {"IPv4", "IPv6"};
          c.settings.expose_cluster_ips = true;
        },
        "ClusterIP cluster=10.96.0.10,fd00::10"},
       {"2.5: external addresses are of any type with a clusterIP",
        [](Cluster& c) {
          c.become("ClusterIP");
          c.service.external_ips = {"192.0.2.7"};
        },
        "ClusterIP external=192.0.2.7"},
       {"2.5: of a NodePort too",
        [](Cluster& c) {
          c.become("NodePort");
          c.service.external_ips = {"2001:db8::7"};
        },
        "NodePort external=2001:db8::7"},
       {"an external address written twice is one, whatever it is written like",
        [](Cluster& c) {
          c.become("NodePort");
          c.service.external_ips = {"2001:db8::7", "192.0.2.7", "2001:DB8:0::7", "192.0.2.7"};
        },
        "NodePort external=2001:db8::7,192.0.2.7"},
       {"VIPs are not of other types",
        [](Cluster& c) {
          c.become("NodePort");
          c.vips = {ip("203.0.113.10")};
        },
        "NodePort"}},
      reach);
}

TEST(Translate, HasNoClusterAddressChosenWhereTheClustersAreNotExposed) {
  const auto cluster_ip = [](const Translation& made) {
    return made.service ? made.service->spec().cluster_ip() : fate(made);
  };
  expect_rows(
      {{"3.9: a LoadBalancer's", [](Cluster&) {}, "None"},
       {"3.9: a NodePort's", [](Cluster& c) { c.become("NodePort"); }, "None"},
       {"3.9: that of one with external addresses alone",
        [](Cluster& c) {
          c.become("ClusterIP");
          c.service.external_ips = {"192.0.2.7"};
        },
        "None"},
       {"3.9: exposed, it is the cluster's",
        [](Cluster& c) { c.settings.expose_cluster_ips = true; }, ""},
       {"3.14: an exposed name has no such thing", [](Cluster& c) { c.expose_name(); }, ""}},
      cluster_ip);
}

TEST(Translate, LeavesOutAnExternalAddressThatIsNoneAndSaysSo) {
  Cluster cluster;
  cluster.service.external_ips = {"192.0.2.007", "192.0.2.8"};
  const Translation made = cluster.translated();
  EXPECT_EQ(reach(made), "LoadBalancer vips=203.0.113.10 external=192.0.2.8");
  EXPECT_EQ(reasons(made), "BadAddress");
  EXPECT_NE(findings(made).find("'192.0.2.007'"), std::string::npos) << findings(made);
}

TEST(Translate, LeavesOutAnExternalAddressThatIsNotAllowedAndServesTheRest) {
  Cluster cluster;
  cluster.service.external_ips = {"198.51.100.1", "192.0.2.8"};
  const Translation made = cluster.translated();
  EXPECT_EQ(reach(made), "LoadBalancer vips=203.0.113.10 external=192.0.2.8");
  EXPECT_EQ(reasons(made), "ExternalAddressNotAllowed");
  cluster.settings.external_ips.clear();
  EXPECT_EQ(reach(cluster.translated()), "LoadBalancer vips=203.0.113.10")
      << "none is allowed unless the configuration says so";
}

TEST(Translate, LeavesOutAnExternalAddressThatIsANodesUnlessItIsNamedByItself) {
  Cluster cluster;
  cluster.service.external_ips = {"192.0.2.8", "192.0.2.9", "192.0.2.10"};
  cluster.nodes["a"].internal_ips = {ip("192.0.2.8")};
  cluster.nodes["b"].external_ips = {ip("192.0.2.9")};
  const Translation made = cluster.translated();
  EXPECT_EQ(reach(made), "LoadBalancer vips=203.0.113.10 external=192.0.2.10");
  EXPECT_EQ(reasons(made), "ExternalAddressOfNode, ExternalAddressOfNode");
  EXPECT_NE(findings(made).find("192.0.2.9 is an address of node b"), std::string::npos);
  cluster.settings.external_ips.push_back({ip("192.0.2.8"), ip("192.0.2.8")});
  EXPECT_EQ(reach(cluster.translated()),
            "LoadBalancer vips=203.0.113.10 external=192.0.2.8,192.0.2.10");
}

TEST(Translate, LeavesOutAVipOfAnotherFamilyAndSaysSo) {
  Cluster cluster;
  cluster.vips.push_back(ip("2001:db8:113::10"));
  const Translation made = cluster.translated();
  EXPECT_EQ(reasons(made), "BadAddress");
  EXPECT_NE(findings(made).find("2001:db8:113::10"), std::string::npos) << findings(made);
}

TEST(Translate, ExposesAnExternalNameThatAsksForIt) {
  expect_rows({{"3.12: nothing for a plain one",
                [](Cluster& c) {
                  c.expose_name();
                  c.service.meta.annotations.clear();
                },
                kNotOursText},
               {"3.12: nor for one that says no",
                [](Cluster& c) {
                  c.expose_name();
                  c.annotate(model::kExposeExternalNameAnnotation, "false");
                },
                kNotOursText},
               {"3.12: with the annotation it gets a VIP", [](Cluster& c) { c.expose_name(); },
                "ExternalName vips=203.0.113.10"},
               {"3.12: of either family, as it has none itself",
                [](Cluster& c) {
                  c.expose_name();
                  c.vips = {ip("203.0.113.10"), ip("2001:db8:113::10")};
                },
                "ExternalName vips=203.0.113.10,2001:db8:113::10"},
               {"3.12: until it has one it waits",
                [](Cluster& c) {
                  c.expose_name();
                  c.vips.clear();
                },
                kNoAddressText},
               {"3.12: it needs ports",
                [](Cluster& c) {
                  c.expose_name();
                  c.service.ports.clear();
                },
                "none: it has no port that this gateway serves"},
               {"2.1: addresses left over are not its own",
                [](Cluster& c) {
                  c.expose_name();
                  c.service.cluster_ips = {"10.96.0.10"};
                  c.service.ip_families = {"IPv4"};
                  c.service.external_ips = {"192.0.2.7"};
                  c.settings.expose_cluster_ips = true;
                  c.vips = {ip("203.0.113.10"), ip("2001:db8:113::10")};
                },
                "ExternalName vips=203.0.113.10,2001:db8:113::10"},
               {"2.1: nor do those left over serve it before it has a VIP",
                [](Cluster& c) {
                  c.expose_name();
                  c.service.external_ips = {"192.0.2.7"};
                  c.vips.clear();
                },
                kNoAddressText}},
              reach);
}

TEST(Translate, GivesAnExposedNameItsNameForBackendsAndNothingElse) {
  Cluster cluster;
  cluster.expose_name();
  cluster.set_endpoints({endpoint("10.0.0.1")});  // left over
  cluster.service.internal_traffic_policy = "Local";
  cluster.service.external_traffic_policy = "Local";
  cluster.service.ports[0].node_port = 30'080;
  const Translation made = cluster.translated();
  ASSERT_TRUE(made.service);
  const v1::ServiceSpec& spec = made.service->spec();
  EXPECT_EQ(spec.external_name(), "api.example.com");
  EXPECT_TRUE(spec.endpoints().empty());
  EXPECT_EQ(ports(made), "http 80/TCP, dns 53/UDP");
  EXPECT_EQ(spec.ports(0).target_port(), 0) << "the same as port";
  EXPECT_EQ(faults_at_gateway(*made.service), "");
  EXPECT_EQ(made.service->metadata().annotations().at(model::kExposeExternalNameAnnotation), "true")
      << "the gateway wants to see it too";
}

}  // namespace
}  // namespace sluice::kubernetes
