// SPDX-License-Identifier: Apache-2.0
// Whether a service goes to its pods or to nodes, and what is said of it: KUBERNETES.md 2.5, 3.1.
#include "controlplane/kubernetes/delivery.h"

#include "tests/unit/controlplane/kubernetes/cluster.h"

#include <gtest/gtest.h>

namespace sluice::kubernetes {
namespace {

GatewayRoutes to(const std::vector<std::string>& destinations) {
  std::vector<IpPrefix> prefixes;
  for (const std::string& text : destinations) {
    prefixes.push_back(parse_prefix(text).value());
  }
  return GatewayRoutes(std::move(prefixes));
}

using Change = std::function<void(Cluster&)>;

// http alone, to a gateway with these routes.
Change routed(
    const std::vector<std::string>& destinations, const Change& change = [](Cluster&) {}) {
  return [=](Cluster& c) {
    c.service.ports.pop_back();
    c.routes = to(destinations);
    change(c);
  };
}
Change without_node_ports(const Change& change = [](Cluster&) {}) {
  return [=](Cluster& c) {
    for (ServicePort& port : c.service.ports) {
      port.node_port = 0;
    }
    change(c);
  };
}
Change with(const std::vector<SliceEndpoint>& endpoints) {
  return [=](Cluster& c) { c.set_endpoints(endpoints); };
}

const std::string kPods = "http 10.0.0.1:8080, 10.0.0.2:8080";
const std::string kNodes = "http 192.168.0.1:30080, 192.168.0.2:30080";

TEST(Delivery, GoesToPodsWhenAllThatAreUsedAreRoutedElseToNodes) {
  expect_rows(
      {{"3.1: a route to all of them", routed({"10.0.0.0/24"}), kPods},
       {"3.1: several routes, one each", routed({"10.0.0.1/32", "10.0.0.2/32"}), kPods},
       {"3.1: none: to nodes", routed({}), kNodes},
       {"3.1: a route to somewhere else is none", routed({"10.0.1.0/24", "192.168.0.0/24"}),
        kNodes},
       {"3.1: a route to some is as none", routed({"10.0.0.1/32"}), kNodes},
       {"3.1: whichever of them it is", routed({"10.0.0.2/32"}), kNodes},
       {"3.1: one that is starting needs none yet",
        routed({"10.0.0.1/32"}, with({endpoint("10.0.0.1"), endpoint("10.0.0.2", kStarting)})),
        "http 10.0.0.1:8080, 10.0.0.2:8080[FFF]"},
       {"3.1: nor does a draining one beside a ready one",
        routed({"10.0.0.1/32"}, with({endpoint("10.0.0.1"), endpoint("10.0.0.2", kDraining)})),
        "http 10.0.0.1:8080, 10.0.0.2:8080[FTT]"},
       {"3.1: when none is ready, the draining ones count",
        routed({"10.0.0.1/32"},
               with({endpoint("10.0.0.1", kStarting), endpoint("10.0.0.2", kDraining)})),
        kNodes},
       {"3.1: and only they",
        routed({"10.0.0.2/32"},
               with({endpoint("10.0.0.1", kStarting), endpoint("10.0.0.2", kDraining)})),
        "http 10.0.0.1:8080[FFF], 10.0.0.2:8080[FTT]"},
       {"2.2: each port has its own draining ones",
        [](Cluster& c) {
          c.routes = to({"10.0.0.1/32"});
          c.slices = {slice({{"http", "TCP", 8'080}}, {endpoint("10.0.0.1")}),
                      slice({{"dns", "UDP", 5'353}}, {endpoint("10.0.0.2", kDraining)})};
        },
        "http 192.168.0.1:30080, 192.168.0.2:30080; dns 192.168.0.1:30053, 192.168.0.2:30053"},
       {"without an endpoint there is nothing to decide", routed({}, with({})), "http "},
       {"3.1: one that is not used decides while there is no other: its flows stay where they are",
        routed({}, with({endpoint("10.0.0.1", kStarting)})),
        "http 192.168.0.1:30080[FFF], 192.168.0.2:30080[FFF]"},
       {"2.8: those that hints leave out need no route",
        routed({"10.0.0.1/32"},
               [](Cluster& c) {
                 c.settings.zone = "x";
                 c.set_endpoints({hinted("10.0.0.1", "x"), hinted("10.0.0.2", "y")});
               }),
        "http 10.0.0.1:8080, 10.0.0.2:8080[FTF]"},
       {"2.8: with nodes, hints are their proxies' to read: all endpoints count",
        routed({},
               [](Cluster& c) {
                 c.settings.zone = "x";
                 c.service.external_traffic_policy = "Cluster";
                 c.set_endpoints({hinted("10.0.0.1", "x"), hinted("10.0.0.2", "y")});
               }),
        kNodes},
       {"a gateway that has not told its routes is as one that has them",
        [](Cluster& c) { c.service.ports.pop_back(); }, kPods}},
      behind);
}

TEST(Delivery, LooksAtTheFamiliesThatTheServiceHasAddressesOf) {
  const auto dual = [](std::vector<IpAddress> vips) {
    return [=](Cluster& c) {
      c.service.ip_families = {"IPv4", "IPv6"};
      c.vips = vips;
      c.set_endpoints({endpoint("10.0.0.1"), endpoint("2001:db8::1")});
    };
  };
  const IpAddress v4 = ip("203.0.113.10");
  const IpAddress v6 = ip("2001:db8:113::10");
  const std::string pods = "http 10.0.0.1:8080, [2001:db8::1]:8080";
  expect_rows({{"an IPv6 pod that nobody is sent to needs no route",
                routed({"10.0.0.0/24"}, dual({v4})), pods},
               {"nor the other way round", routed({"2001:db8::/64"}, dual({v6})), pods},
               {"with both, both need one", routed({"10.0.0.0/24"}, dual({v4, v6})), kNodes},
               {"and have it", routed({"10.0.0.0/24", "2001:db8::/64"}, dual({v4, v6})), pods},
               {"an external address counts too",
                routed({"10.0.0.0/24"},
                       [&](Cluster& c) {
                         dual({v4})(c);
                         c.service.external_ips = {"2001:db8::7"};
                       }),
                kNodes},
               {"without an address of its own a node port may be of either",
                routed({"10.0.0.0/24"},
                       [&](Cluster& c) {
                         dual({})(c);
                         c.become("NodePort");
                       }),
                kNodes}},
              behind);
}

TEST(Delivery, WithoutRouteAndNodePortIsAnErrorOfThePort) {
  const auto fate_of = [](const Translation& made) {
    return behind(made) + " (" + reasons(made) + ")";
  };
  expect_rows(
      {{"3.1: nothing is behind it", routed({}, without_node_ports()),
        "http  (NoRoute, 80/TCP NoRouteToEndpoints)"},
       {"3.1: each port has an error of its own",
        [](Cluster& c) {
          c.routes = to({});
          without_node_ports()(c);
        },
        "http ; dns  (NoRoute, 80/TCP NoRouteToEndpoints, 53/UDP NoRouteToEndpoints)"},
       {"3.1: one port without a node port is enough",
        [](Cluster& c) {
          c.routes = to({});
          c.service.ports[1].node_port = 0;
        },
        "http ; dns  (NoRoute, 80/TCP NoRouteToEndpoints, 53/UDP NoRouteToEndpoints)"},
       {"those with a route are served, and no port is without",
        routed({"10.0.0.1/32"}, without_node_ports()), "http 10.0.0.1:8080 (NoRoute)"},
       {"a port all of whose endpoints are left out has the error",
        [](Cluster& c) {
          c.routes = to({"10.0.0.1/32"});
          without_node_ports()(c);
          c.slices = {slice({{"http", "TCP", 8'080}}, {endpoint("10.0.0.1")}),
                      slice({{"dns", "UDP", 5'353}}, {endpoint("10.0.0.2")})};
        },
        "http 10.0.0.1:8080; dns  (NoRoute, 53/UDP NoRouteToEndpoints)"},
       {"a port without endpoints has none: there is nothing to reach",
        [](Cluster& c) {
          c.routes = to({});
          without_node_ports()(c);
          c.slices = {slice({{"http", "TCP", 8'080}}, {endpoint("10.0.0.1")})};
        },
        "http ; dns  (NoRoute, 80/TCP NoRouteToEndpoints)"},
       {"a draining one with a route takes over from ready ones without",
        routed({"10.0.0.1/32"},
               without_node_ports(with({endpoint("10.0.0.1", kDraining), endpoint("10.0.0.2")}))),
        "http 10.0.0.1:8080[FTT] (NoRoute)"},
       {"3.1: with a route no node port is needed", routed({"10.0.0.0/24"}, without_node_ports()),
        kPods + " ()"},
       {"unknown routes are no error",
        [](Cluster& c) {
          c.service.ports.pop_back();
          without_node_ports()(c);
        },
        kPods + " ()"},
       {"no endpoint is no error", routed({}, without_node_ports(with({}))), "http  ()"},
       {"2.5: asked to go to nodes without node ports, it goes to pods that are routed",
        routed({"10.0.0.0/24"},
               without_node_ports([](Cluster& c) { c.annotate(kDeliveryAnnotation, "node"); })),
        kPods + " (NoNodePort)"},
       {"2.5: and not to those that are not",
        routed({}, without_node_ports([](Cluster& c) { c.annotate(kDeliveryAnnotation, "node"); })),
        "http  (NoNodePort, NoRoute, 80/TCP NoRouteToEndpoints)"},
       {"3.1: the default route is used when the service says so",
        routed({},
               without_node_ports([](Cluster& c) { c.annotate(kDeliveryAnnotation, "endpoint"); })),
        kPods + " ()"}},
      fate_of);
}

TEST(Delivery, IsToldWithItsReason) {
  const auto told = [](const Translation& made) {
    const v1::Forwarding& forwarding = made.service->spec().forwarding();
    return forwarding.delivery() + ": " + forwarding.delivery_reason();
  };
  expect_rows(
      {{"3.1: by a route", routed({"10.0.0.0/16"}),
        "endpoint: the gateway has a route to 10.0.0.0/16"},
       {"3.1: by several", routed({"10.0.0.1/32", "10.0.0.2/32"}),
        "endpoint: the gateway has routes to all of its pods"},
       {"3.1: by none", routed({}), "node: the gateway has only its default route to its pods"},
       {"3.1: by too few", routed({"10.0.0.1/32"}),
        "node: the gateway has only its default route to some of its pods"},
       {"3.1: nor node ports", routed({}, without_node_ports()),
        "endpoint: the gateway has only its default route to its pods, and it has no node ports"},
       {"3.1: the service says so",
        routed({"10.0.0.0/16"}, [](Cluster& c) { c.annotate(kDeliveryAnnotation, "node"); }),
        "node: sluice.dev/delivery says so"},
       {"3.1: or endpoint",
        routed({}, [](Cluster& c) { c.annotate(kDeliveryAnnotation, "endpoint"); }),
        "endpoint: sluice.dev/delivery says so"},
       {"3.1: or auto, whatever is configured",
        routed({},
               [](Cluster& c) {
                 c.annotate(kDeliveryAnnotation, "auto");
                 c.settings.delivery = Delivery::kEndpoint;
               }),
        "node: the gateway has only its default route to its pods"},
       {"the configuration says so",
        routed({}, [](Cluster& c) { c.settings.delivery = Delivery::kEndpoint; }),
        "endpoint: the adapter's configuration says so"},
       {"3.13: a bad word is none",
        routed({},
               [](Cluster& c) {
                 c.annotate(kDeliveryAnnotation, "pod");
                 c.settings.delivery = Delivery::kEndpoint;
               }),
        "endpoint: the adapter's configuration says so"},
       {"no routes known", [](Cluster&) {}, "endpoint: the gateway has not told its routes"},
       {"no endpoint", routed({}, with({})), "endpoint: it has no endpoint"},
       {"none that is usable: as when they are again",
        routed({}, with({endpoint("10.0.0.1", kStarting, "a")})),
        "node: the gateway has only its default route to its pods"},
       {"and by a route", routed({"10.0.0.0/24"}, with({endpoint("10.0.0.1", kStarting, "a")})),
        "endpoint: the gateway has a route to 10.0.0.0/24"},
       {"one of them is: the others do not matter",
        routed({"10.0.0.1/32"},
               with({endpoint("10.0.0.1", kReady, "a"), endpoint("10.0.0.2", kStarting, "b")})),
        "endpoint: the gateway has a route to 10.0.0.1/32"},
       {"3.12: a name has no delivery", [](Cluster& c) { c.expose_name(); }, ": "}},
      told);
}

TEST(Delivery, ToNodesIsTheSameTextWhilePodsComeAndGo) {
  std::string before;
  for (int i = 1; i < 200; i += 7) {
    Cluster cluster;
    routed({}, with({endpoint("10.0." + std::to_string(i) + ".1", kReady, "a"),
                     endpoint("10.1.0." + std::to_string(i), kReady, "b")}))(cluster);
    const std::string now = serialized(*cluster.translated().service);
    EXPECT_TRUE(before.empty() || now == before) << i;
    before = now;
  }
}

TEST(Delivery, NamesAnAddressWithoutRouteForPeople) {
  Cluster cluster;
  routed({"10.0.0.1/32"})(cluster);
  const Translation made = cluster.translated();
  ASSERT_TRUE(made.delivery);
  EXPECT_EQ(made.delivery->why, DeliveryChoice::Why::kNotRouted);
  EXPECT_EQ(made.delivery->unrouted, ip("10.0.0.2"));
}

TEST(Delivery, TellsWhoHasDecided) {
  using Why = DeliveryChoice::Why;
  const auto why = [](const Change& change) {
    Cluster cluster;
    change(cluster);
    return cluster.translated().delivery.value().why;
  };
  EXPECT_EQ(why([](Cluster& c) { c.annotate(kDeliveryAnnotation, "node"); }), Why::kAnnotated);
  EXPECT_EQ(why([](Cluster& c) { c.settings.delivery = Delivery::kNode; }), Why::kConfigured);
  EXPECT_EQ(why([](Cluster&) {}), Why::kRoutesUnknown);
  EXPECT_EQ(why(routed({}, with({}))), Why::kNoEndpoints);
  EXPECT_EQ(why(routed({"10.0.0.0/24"})), Why::kRouted);
  EXPECT_EQ(why(routed({}, without_node_ports())), Why::kUnreached);
}

TEST(Delivery, LeavesOutEndpointsToWhichNoPacketCanBeSent) {
  const auto fate_of = [](const Translation& made) {
    return behind(made) + " (" + findings(made) + ")";
  };
  const auto bad = [](const char* address) {
    return [=](Cluster& c) {
      c.service.ports.pop_back();
      c.set_endpoints({endpoint("10.0.0.1"), endpoint(address)});
    };
  };
  const auto said = [](const std::string& address) {
    return "http 10.0.0.1:8080 (BadEndpoint: no packet can be sent to the endpoint " + address +
           "; it is left out. Give its EndpointSlice a unicast address)";
  };
  expect_rows({{"multicast", bad("224.0.0.1"), said("224.0.0.1")},
               {"unspecified", bad("0.0.0.0"), said("0.0.0.0")},
               {"loopback", bad("127.0.0.1"), said("127.0.0.1")},
               {"link-local", bad("169.254.1.1"), said("169.254.1.1")},
               {"broadcast", bad("255.255.255.255"), said("255.255.255.255")},
               {"IPv6 multicast", bad("ff02::1"), said("ff02::1")},
               {"IPv6 loopback", bad("::1"), said("::1")},
               {"a sound one", bad("10.0.0.2"), kPods + " ()"}},
              fate_of);
}

TEST(Delivery, TellsOfAFewBadEndpointsForAll) {
  Cluster cluster;
  std::vector<SliceEndpoint> many;
  for (int i = 0; i < 50; ++i) {
    many.push_back(endpoint("224.0.0." + std::to_string(i)));
  }
  cluster.set_endpoints(many);
  EXPECT_EQ(reasons(cluster.translated()), "BadEndpoint, BadEndpoint, BadEndpoint");
}

}  // namespace
}  // namespace sluice::kubernetes
