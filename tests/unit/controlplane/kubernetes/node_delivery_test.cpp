// SPDX-License-Identifier: Apache-2.0
// Services delivered to node ports: which nodes, how heavy, and when not: KUBERNETES.md 2.2-2.5,
// 3.1, 3.3, 3.4.
#include "controlplane/kubernetes/endpoints.h"
#include "tests/unit/controlplane/kubernetes/cluster.h"

#include <gtest/gtest.h>

namespace sluice::kubernetes {
namespace {

constexpr const char* kExclude = "node.kubernetes.io/exclude-from-external-load-balancers";

using Change = std::function<void(Cluster&)>;

// http by nodes, and whatever else.
Change by_nodes(const Change& change = [](Cluster&) {}) {
  return [change](Cluster& c) {
    c.annotate(kDeliveryAnnotation, "node");
    c.service.ports.pop_back();
    change(c);
  };
}
Change locally(const Change& change) {
  return by_nodes([change](Cluster& c) {
    c.service.external_traffic_policy = "Local";
    change(c);
  });
}

// 2.6: kube-proxy's own affinity is to the address that it sees.
TEST(NodeDelivery, AffinityIsToldToHoldToANodeWhereItsProxyDoesNotSeeClients) {
  const auto with_affinity = [](const Change& change) {
    return [change](Cluster& c) {
      c.service.session_affinity = "ClientIP";
      change(c);
    };
  };
  const auto reasons = [](const Translation& made) {
    std::string text;
    for (const Finding& finding : made.findings) {
      text += finding.reason + " ";
    }
    return text;
  };
  expect_rows({{"by nodes", with_affinity(by_nodes()), "AffinityByNode "},
               {"to pods, where the gateway keeps it", with_affinity([](Cluster&) {}), ""},
               {"without affinity", by_nodes(), ""},
               {"Local, and the gateway keeps clients' addresses",
                with_affinity(locally([](Cluster&) {})), ""}},
              reasons);
  Cluster cluster;
  with_affinity(locally([](Cluster&) {}))(cluster);
  cluster.loses_clients = true;
  EXPECT_NE(reasons(cluster.translated()).find("AffinityByNode"), std::string::npos);
}

const std::string kToBoth = "http 192.168.0.1:30080, 192.168.0.2:30080";
const std::string kToB = "http 192.168.0.2:30080";
const std::string kToNeither = "http 192.168.0.1:30080[FFF], 192.168.0.2:30080[FFF]";

TEST(NodeDelivery, IsAskedForByTheServiceOrConfigured) {
  expect_rows(
      {{"3.1: endpoint is straight to the pod",
        [](Cluster& c) { c.annotate(kDeliveryAnnotation, "endpoint"); },
        "http 10.0.0.1:8080, 10.0.0.2:8080; dns 10.0.0.1:5353, 10.0.0.2:5353"},
       {"3.1: node is nodeIP:nodePort, for each port",
        [](Cluster& c) { c.annotate(kDeliveryAnnotation, "node"); },
        "http 192.168.0.1:30080, 192.168.0.2:30080; dns 192.168.0.1:30053, 192.168.0.2:30053"},
       {"3.1: services that do not say have what is configured",
        [](Cluster& c) {
          c.service.ports.pop_back();
          c.settings.delivery = Delivery::kNode;
        },
        kToBoth},
       {"3.1: and the service has the last word",
        [](Cluster& c) {
          c.service.ports.pop_back();
          c.settings.delivery = Delivery::kNode;
          c.annotate(kDeliveryAnnotation, "endpoint");
        },
        "http 10.0.0.1:8080, 10.0.0.2:8080"},
       {"3.13: a bad word leaves it at what is configured",
        [](Cluster& c) {
          c.service.ports.pop_back();
          c.settings.delivery = Delivery::kNode;
          c.annotate(kDeliveryAnnotation, "pod");
        },
        kToBoth},
       {"3.9: that node ports are not exposed is no matter: they are the cluster's",
        by_nodes([](Cluster& c) { c.settings.expose_node_ports = false; }), kToBoth},
       {"3.1: a NodePort service too", by_nodes([](Cluster& c) { c.service.type = "NodePort"; }),
        kToBoth},
       {"3.12: a name is not behind nodes",
        [](Cluster& c) {
          c.expose_name();
          c.annotate(kDeliveryAnnotation, "node");
        },
        "http ; dns "}},
      behind);
}

TEST(NodeDelivery, NeedsANodePortForEachPort) {
  const auto how = [](const Translation& made) {
    return behind(made) + " (" + reasons(made) + ")";
  };
  expect_rows(
      {{"2.5: without node ports it goes to the pods, and says so",
        by_nodes([](Cluster& c) { c.service.ports[0].node_port = 0; }),
        "http 10.0.0.1:8080, 10.0.0.2:8080 (NoNodePort)"},
       {"2.5: when one port has none, none goes to nodes",
        [](Cluster& c) {
          c.annotate(kDeliveryAnnotation, "node");
          c.service.ports[1].node_port = 0;
        },
        "http 10.0.0.1:8080, 10.0.0.2:8080; dns 10.0.0.1:5353, 10.0.0.2:5353 (NoNodePort)"},
       {"2.5: a port that is not served needs none", by_nodes([](Cluster& c) {
          c.service.ports.push_back({"s1ap", "SCTP", 36'412, 0, ""});
        }),
        kToBoth + " (ProtocolNotSupported, 36412/SCTP LoadBalancerMixedProtocolNotSupported)"},
       {"with them there is nothing to say", by_nodes(), kToBoth + " ()"}},
      how);
}

TEST(NodeDelivery, TakesTheNodesThatMayBeNextHops) {
  const auto exclude = [](const char* value) {
    return by_nodes([value](Cluster& c) { c.nodes.at("a").meta.labels[kExclude] = value; });
  };
  expect_rows(
      {{"2.4: all of them", by_nodes(), kToBoth},
       {"2.4: not one that is being deleted",
        by_nodes([](Cluster& c) { c.nodes.at("a").meta.deleting = true; }), kToB},
       {"2.4: not one that the autoscaler is about to delete",
        by_nodes([](Cluster& c) { c.nodes.at("a").to_be_deleted = true; }), kToB},
       {"2.4: not one that is excluded", exclude("true"), kToB},
       {"2.4: nor with an empty value", exclude(""), kToB},
       {"2.4: nor with junk", exclude("no"), kToB},
       {"2.4: nor with another spelling of false", exclude("False"), kToB},
       {"2.4: false includes it", exclude("false"), kToBoth},
       {"2.4: another label excludes nothing", by_nodes([](Cluster& c) {
          c.nodes.at("a").meta.labels["node.kubernetes.io/exclude-from-others"] = "";
        }),
        kToBoth},
       {"a node without an address is none",
        by_nodes([](Cluster& c) { c.nodes.at("a").internal_ips.clear(); }), kToB},
       {"nor is one to whose address no packet can be sent",
        by_nodes([](Cluster& c) { c.nodes.at("a").internal_ips = {ip("169.254.0.1")}; }), kToB},
       {"there may be no node", by_nodes([](Cluster& c) { c.nodes.clear(); }), "http "},
       {"3.1: whether it has an endpoint does not matter with Cluster",
        by_nodes([](Cluster& c) { c.set_endpoints({endpoint("10.0.0.1", kReady, "a")}); }),
        kToBoth},
       {"2.2: nor which node, nor whether one is named",
        by_nodes([](Cluster& c) { c.set_endpoints({endpoint("10.0.0.1")}); }), kToBoth},
       {"2.8: nor do hints, which its proxy reads", by_nodes([](Cluster& c) {
          c.settings.zone = "x";
          c.set_endpoints({hinted("10.0.0.1", "x"), hinted("10.0.0.2", "y")});
        }),
        kToBoth},
       {"2.5: at its primary address, as kube-proxy accepts no other", by_nodes([](Cluster& c) {
          c.nodes.at("a").internal_ips = {ip("192.168.0.9"), ip("192.168.0.1")};
        }),
        "http 192.168.0.9:30080, 192.168.0.2:30080"}},
      behind);
}

// With endpoint delivery it is so too: an endpoint that is there and takes no new flows.
TEST(NodeDelivery, HasNoNewFlowsWhereNoEndpointIsUsableAndKeepsThoseThatItHas) {
  const auto with = [](std::vector<SliceEndpoint> endpoints) {
    return by_nodes([endpoints](Cluster& c) { c.set_endpoints(endpoints); });
  };
  expect_rows(
      {{"2.2, 3.4: none anywhere: refused here, as it would be there", with({}), "http "},
       {"2.2: starting ones are none", with({endpoint("10.0.0.1", kStarting, "a")}), kToNeither},
       {"2.2: nor are serving ones that do not terminate",
        with({endpoint("10.0.0.1", {kNo, kYes, kNo}, "a")}), kToNeither},
       {"2.2: nor terminating ones that do not serve",
        with({endpoint("10.0.0.1", {kNo, kNo, kYes}, "a")}), kToNeither},
       {"2.2: draining ones are, while none is ready", with({endpoint("10.0.0.1", kDraining, "a")}),
        kToBoth},
       {"2.2: absent conditions are ready",
        with({endpoint("10.0.0.1", {kAbsent, kAbsent, kAbsent}, "a")}), kToBoth},
       {"2.1: a copy that does not terminate outweighs one that drains", by_nodes([](Cluster& c) {
          c.slices = {slice({{"http", "TCP", 8'080}}, {endpoint("10.0.0.1", kDraining, "a")}),
                      slice({{"http", "TCP", 8'080}}, {endpoint("10.0.0.1", kStarting, "a")})};
        }),
        kToNeither},
       {"2.1: endpoints of a port that the service does not have are none",
        by_nodes([](Cluster& c) {
          c.slices = {slice({{"metrics", "TCP", 9'090}}, {endpoint("10.0.0.1", kReady, "a")})};
        }),
        "http "},
       {"2.2: each port by itself",
        [](Cluster& c) {
          c.annotate(kDeliveryAnnotation, "node");
          c.slices = {slice({{"dns", "UDP", 5'353}}, {endpoint("10.0.0.1", kReady, "a")})};
        },
        "http ; dns 192.168.0.1:30053, 192.168.0.2:30053"}},
      behind);
}

void make_dual_stack(Cluster& cluster) {
  cluster.service.ip_families = {"IPv4", "IPv6"};
  cluster.vips = {ip("203.0.113.10"), ip("2001:db8:113::10")};
  cluster.nodes.at("a") = node("a", {"192.168.0.1", "fd00::1", "fd00::9"});
  cluster.nodes.at("b") = node("b", {"fd00::2"});
}

TEST(NodeDelivery, HasEachFamilyByItself) {
  expect_rows(
      {{"2.5: nodes of both families, each by its first address of one", by_nodes([](Cluster& c) {
          make_dual_stack(c);
          c.set_endpoints(
              {endpoint("10.0.0.1", kReady, "a"), endpoint("2001:db8::1", kReady, "a")});
        }),
        "http 192.168.0.1:30080, [fd00::1]:30080, [fd00::2]:30080"},
       {"2.5: a family without endpoints has none, though its nodes have addresses",
        by_nodes([](Cluster& c) {
          make_dual_stack(c);
          c.set_endpoints({endpoint("10.0.0.1", kReady, "a")});
        }),
        "http 192.168.0.1:30080"},
       {"2.5: the other way round too", by_nodes([](Cluster& c) {
          make_dual_stack(c);
          c.set_endpoints(
              {endpoint("10.0.0.1", kStarting, "a"), endpoint("2001:db8::1", kReady, "a")});
        }),
        "http 192.168.0.1:30080[FFF], [fd00::1]:30080, [fd00::2]:30080"},
       {"3.1: a dual-stack pod counts once in each family", locally([](Cluster& c) {
          make_dual_stack(c);
          c.set_endpoints({endpoint("10.0.0.1", kReady, "a"), endpoint("2001:db8::1", kReady, "a"),
                           endpoint("2001:db8::2", kReady, "a"),
                           endpoint("2001:db8::3", kReady, "b")});
        }),
        "http 192.168.0.1:30080*1, [fd00::1]:30080*2, [fd00::2]:30080*1"}},
      behind);
}

TEST(NodeDelivery, OfLocalServicesGoesToNodesThatHaveAnEndpointByHowMany) {
  const auto with = [](std::vector<SliceEndpoint> endpoints) {
    return locally([endpoints](Cluster& c) { c.set_endpoints(endpoints); });
  };
  expect_rows({{"2.3, 3.1: only to nodes that have one", with({endpoint("10.0.0.1", kReady, "b")}),
                "http 192.168.0.2:30080*1"},
               {"3.1: weighted by usable endpoints",
                with({endpoint("10.0.0.1", kReady, "a"), endpoint("10.0.0.2", kReady, "b"),
                      endpoint("10.0.0.3", kReady, "b"), endpoint("10.0.0.4", kReady, "b")}),
                "http 192.168.0.1:30080*1, 192.168.0.2:30080*3"},
               {"2.1: one that stands in two slices counts once", locally([](Cluster& c) {
                  c.slices = {slice({{"http", "TCP", 8'080}}, {endpoint("10.0.0.1", kReady, "a")}),
                              slice({{"http", "TCP", 8'080}}, {endpoint("10.0.0.1", kReady, "a"),
                                                               endpoint("10.0.0.2", kReady, "b")})};
                }),
                "http 192.168.0.1:30080*1, 192.168.0.2:30080*1"},
               {"2.2: with a ready one there, draining ones do not count",
                with({endpoint("10.0.0.1", kReady, "a"), endpoint("10.0.0.2", kDraining, "a"),
                      endpoint("10.0.0.3", kReady, "b"), endpoint("10.0.0.4", kReady, "b")}),
                "http 192.168.0.1:30080*1, 192.168.0.2:30080*2"},
               {"2.2, 2.4: without, they do for the flows that are there, and not for new ones",
                with({endpoint("10.0.0.1", kDraining, "a"), endpoint("10.0.0.2", kDraining, "a"),
                      endpoint("10.0.0.3", kReady, "b")}),
                "http 192.168.0.1:30080[FTT]*2, 192.168.0.2:30080*1"},
               {"2.2: starting ones never do, but for flows that are there",
                with({endpoint("10.0.0.1", kStarting, "a"), endpoint("10.0.0.2", kReady, "b")}),
                "http 192.168.0.1:30080[FFF]*1, 192.168.0.2:30080*1"},
               {"one on no node is on none here",
                with({endpoint("10.0.0.1"), endpoint("10.0.0.2", kReady, "b")}),
                "http 192.168.0.2:30080*1"},
               {"one on a node that is not known is not reached",
                with({endpoint("10.0.0.1", kReady, "c"), endpoint("10.0.0.2", kReady, "b")}),
                "http 192.168.0.2:30080*1"},
               {"2.4: one on a node that may not be a next hop is not reached",
                locally([](Cluster& c) { c.nodes.at("a").meta.labels[kExclude] = ""; }),
                "http 192.168.0.2:30080*1"},
               {"2.2: each port by itself",
                [](Cluster& c) {
                  c.annotate(kDeliveryAnnotation, "node");
                  c.service.external_traffic_policy = "Local";
                  c.slices = {slice({{"http", "TCP", 8'080}}, {endpoint("10.0.0.1", kReady, "a"),
                                                               endpoint("10.0.0.2", kReady, "a"),
                                                               endpoint("10.0.0.3", kReady, "b")}),
                              slice({{"dns", "UDP", 5'353}}, {endpoint("10.0.0.3", kReady, "b")})};
                },
                "http 192.168.0.1:30080*2, 192.168.0.2:30080*1; dns 192.168.0.2:30053*1"},
               {"2.2: and weighted by itself",
                [](Cluster& c) {
                  c.annotate(kDeliveryAnnotation, "node");
                  c.service.external_traffic_policy = "Local";
                  c.slices = {slice({{"http", "TCP", 8'080}}, {endpoint("10.0.0.1", kReady, "a"),
                                                               endpoint("10.0.0.2", kReady, "a")}),
                              slice({{"dns", "UDP", 5'353}}, {endpoint("10.0.0.1", kReady, "a")})};
                },
                "http 192.168.0.1:30080*2; dns 192.168.0.1:30053*1"}},
              behind);
}

// Http by nodes, Local, with so many endpoints on node a and on node b.
Change weighing(int on_a, int on_b) {
  return locally([=](Cluster& c) {
    std::vector<SliceEndpoint> many;
    for (int i = 0; i < on_a; ++i) {
      many.push_back(endpoint("10.1." + std::to_string(i / 200) + "." + std::to_string(i % 200 + 1),
                              kReady, "a"));
    }
    for (int i = 0; i < on_b; ++i) {
      many.push_back(endpoint("10.2." + std::to_string(i / 200) + "." + std::to_string(i % 200 + 1),
                              kReady, "b"));
    }
    c.set_endpoints(many);
  });
}

TEST(NodeDelivery, KeepsTheRatioOfNodesWithMoreEndpointsThanTheGatewayHasWeights) {
  const auto weights = [](int a, int b) {
    return "http 192.168.0.1:30080*" + std::to_string(a) + ", 192.168.0.2:30080*" +
           std::to_string(b);
  };
  expect_rows({{"up to the most there is, as they are", weighing(100, 3), weights(100, 3)},
               {"one more, and all are scaled", weighing(101, 50), weights(100, 50)},
               {"twice as many", weighing(200, 100), weights(100, 50)},
               {"alike ones stay alike", weighing(250, 250), weights(100, 100)},
               {"the other way round", weighing(30, 300), weights(10, 100)},
               {"one with any has some", weighing(1'000, 1), weights(100, 1)}},
              behind);
}

TEST(NodeDelivery, ScalesEachPortAndFamilyByItself) {
  Cluster cluster;
  cluster.annotate(kDeliveryAnnotation, "node");
  cluster.service.external_traffic_policy = "Local";
  std::vector<SliceEndpoint> many;
  for (int i = 0; i < 200; ++i) {
    many.push_back(endpoint("10.1.0." + std::to_string(i + 1), kReady, "a"));
  }
  cluster.slices = {
      slice({{"http", "TCP", 8'080}}, many),
      slice({{"http", "TCP", 8'080}, {"dns", "UDP", 5'353}}, {endpoint("10.2.0.1", kReady, "b")}),
      slice({{"dns", "UDP", 5'353}}, {endpoint("10.1.0.1", kReady, "a")})};
  EXPECT_EQ(behind(cluster.translated()),
            "http 192.168.0.1:30080*100, 192.168.0.2:30080*1; "
            "dns 192.168.0.1:30053*1, 192.168.0.2:30053*1");
}

TEST(NodeDelivery, ScalesEachFamilyByItself) {
  Cluster cluster;
  by_nodes()(cluster);
  make_dual_stack(cluster);
  cluster.service.external_traffic_policy = "Local";
  std::vector<SliceEndpoint> many;
  for (int i = 1; i <= 200; ++i) {
    many.push_back(endpoint("10.1.0." + std::to_string(i), kReady, "a"));
    if (i <= 60) {
      many.push_back(endpoint("2001:db8::" + std::to_string(i), kReady, i <= 50 ? "a" : "b"));
    }
  }
  cluster.set_endpoints(many);
  EXPECT_EQ(behind(cluster.translated()),
            "http 192.168.0.1:30080*100, [fd00::1]:30080*50, [fd00::2]:30080*10");
}

constexpr auto kUp = NodeHealth::State::kUp;
constexpr auto kDown = NodeHealth::State::kDown;
constexpr auto kUnknown = NodeHealth::State::kUnknown;

TEST(NodeDelivery, SparesNodesWhoseProxyIsDownNewFlowsUnlessAllAre) {
  const auto proxies = [](NodeHealth::State a, NodeHealth::State b) {
    return by_nodes([=](Cluster& c) { c.health.proxies = {{"a", a}, {"b", b}}; });
  };
  const std::vector<Row> rows{
      {"2.4: up", proxies(kUp, kUp), kToBoth},
      {"2.4: one is down", proxies(kDown, kUp), kToB},
      {"2.4: the other is", proxies(kUp, kDown), "http 192.168.0.1:30080"},
      {"one that has not said is used", proxies(kUnknown, kDown), "http 192.168.0.1:30080"},
      {"all are down: better one of them than none", proxies(kDown, kDown), kToBoth},
      {"2.4: healthCheckNodePort is of Local services", by_nodes([](Cluster& c) {
         c.service.health_check_node_port = 30'999;
         c.health.locals = {{"a", kDown}};
       }),
       kToBoth},
      {"2.4: a Local service without it asks the proxy", locally([](Cluster& c) {
         c.health.proxies = {{"a", kDown}};
       }),
       kToB}};
  expect_rows(rows, chosen);
}

TEST(NodeDelivery, TellsADownNodeAsDrainingSoThatItsFlowsGoOn) {
  expect_rows(
      {{"2.4: Cluster", by_nodes([](Cluster& c) {
          c.health.proxies = {{"a", kDown}};
        }),
        "http 192.168.0.1:30080[FTT], 192.168.0.2:30080"},
       {"for each port",
        [](Cluster& c) {
          c.annotate(kDeliveryAnnotation, "node");
          c.health.proxies = {{"b", kDown}};
        },
        "http 192.168.0.1:30080, 192.168.0.2:30080[FTT]; "
        "dns 192.168.0.1:30053, 192.168.0.2:30053[FTT]"},
       {"2.2: where there is no endpoint there is no node, down or not", by_nodes([](Cluster& c) {
          c.set_endpoints({});
          c.health.proxies = {{"a", kDown}};
        }),
        "http "},
       {"pods are not a node's",
        [](Cluster& c) {
          c.service.ports.pop_back();
          c.health.proxies = {{"a", kDown}, {"b", kDown}};
        },
        "http 10.0.0.1:8080, 10.0.0.2:8080"}},
      behind);
}

TEST(NodeDelivery, OfLocalServicesSparesNodesThatOnlyDrain) {
  const auto asked = [](NodeHealth::State a, NodeHealth::State b,
                        const std::vector<SliceEndpoint>& endpoints) {
    return locally([=](Cluster& c) {
      c.service.health_check_node_port = 30'999;
      c.health.locals = {{"a", a}, {"b", b}};
      c.set_endpoints(endpoints);
    });
  };
  const std::vector<SliceEndpoint> ready{endpoint("10.0.0.1", kReady, "a"),
                                         endpoint("10.0.0.2", kReady, "b")};
  const std::vector<SliceEndpoint> draining{endpoint("10.0.0.1", kDraining, "a"),
                                            endpoint("10.0.0.2", kReady, "b")};
  const std::vector<SliceEndpoint> all_draining{endpoint("10.0.0.1", kDraining, "a"),
                                                endpoint("10.0.0.2", kDraining, "b")};
  expect_rows(
      {{"2.4: 200 is ready", asked(kUp, kUp, ready), kToBoth},
       {"2.4: 503 is the drain signal", asked(kDown, kUp, ready), kToB},
       {"nothing said: as the slices say", asked(kUnknown, kUnknown, ready), kToBoth},
       {"2.4: only draining endpoints, as the slices say", asked(kUnknown, kUp, draining), kToB},
       {"2.4: whatever the node says, which may be late", asked(kUp, kUp, draining), kToB},
       {"2.2: all drain: all are used", asked(kDown, kDown, all_draining), kToBoth},
       {"all say 503: all are used", asked(kDown, kDown, ready), kToBoth},
       {"2.4: what its proxy says is in its answer", locally([](Cluster& c) {
          c.service.health_check_node_port = 30'999;
          c.health.proxies = {{"a", kDown}};
        }),
        kToBoth}},
      chosen);
}

TEST(NodeDelivery, RefusesWithoutEndpointsAndDropsWhereNoneIsAllowed) {
  const auto answer = [](const Translation& made) {
    return made.service->spec().forwarding().no_endpoints();
  };
  const auto on_no_node = [](Cluster& c) { c.set_endpoints({endpoint("10.0.0.1")}); };
  expect_rows(
      {{"2.2, 3.4: Cluster without any", by_nodes([](Cluster& c) { c.slices.clear(); }), "refuse"},
       {"2.2, 3.4: Local without any anywhere", locally([](Cluster& c) { c.slices.clear(); }),
        "refuse"},
       {"2.2, 3.4: Local with a usable one elsewhere and none allowed", locally(on_no_node),
        "drop"},
       {"2.4: or on a node that may not be a next hop", locally([](Cluster& c) {
          c.nodes.at("a").to_be_deleted = true;
          c.nodes.at("b").to_be_deleted = true;
        }),
        "drop"},
       {"3.4: Local with one that is not usable",
        locally([](Cluster& c) { c.set_endpoints({endpoint("10.0.0.1", kStarting, "a")}); }),
        "refuse"},
       {"3.4: Local with one that is not usable on a node that may be a next hop, and one that is "
        "elsewhere",
        locally([](Cluster& c) {
          c.set_endpoints({endpoint("10.0.0.1", kStarting, "a"), endpoint("10.0.0.2")});
        }),
        "drop"},
       {"3.4: Local with one allowed", locally([](Cluster&) {}), "refuse"},
       {"3.3: with endpoint delivery every usable one is allowed",
        [&](Cluster& c) {
          c.service.external_traffic_policy = "Local";
          on_no_node(c);
        },
        "refuse"}},
      answer);
}

TEST(NodeDelivery, TellsNodesByNameAndReady) {
  Cluster cluster;
  by_nodes()(cluster);
  const Translation made = cluster.translated();
  ASSERT_EQ(made.service->spec().endpoints_size(), 2);
  const v1::Endpoint& first = made.service->spec().endpoints(0);
  EXPECT_EQ(first.node_name(), "a");
  EXPECT_FALSE(first.has_conditions());
  EXPECT_FALSE(first.has_weight()) << "with Cluster all nodes are alike";
  EXPECT_EQ(made.service->spec().ports(0).target_port(), 30'080);
  EXPECT_EQ(chosen(made), kToBoth);
}

}  // namespace
}  // namespace sluice::kubernetes
