// SPDX-License-Identifier: Apache-2.0
// How slices become the endpoints of a service, and which of them a gateway then uses:
// KUBERNETES.md 2.1, 2.2, 2.5, 3.3.
#include "controlplane/kubernetes/endpoints.h"

#include "tests/unit/controlplane/kubernetes/cluster.h"

#include <gtest/gtest.h>

namespace sluice::kubernetes {
namespace {

TEST(Endpoints, AreJoinedByNameAndProtocolOfThePort) {
  expect_rows(
      {{"2.1: both ports of one slice", [](Cluster&) {},
        "http 10.0.0.1:8080, 10.0.0.2:8080; dns 10.0.0.1:5353, 10.0.0.2:5353"},
       {"2.1: there may be no slice", [](Cluster& c) { c.slices.clear(); }, "http ; dns "},
       {"2.1: nor endpoints in it", [](Cluster& c) { c.set_endpoints({}); }, "http ; dns "},
       {"2.1: nor ports in it", [](Cluster& c) { c.slices = {slice({}, {endpoint("10.0.0.1")})}; },
        "http ; dns "},
       {"2.1: a slice for each port",
        [](Cluster& c) {
          c.slices = {slice({{"http", "TCP", 8'080}}, {endpoint("10.0.0.1")}),
                      slice({{"dns", "UDP", 5'353}}, {endpoint("10.0.0.2")})};
        },
        "http 10.0.0.1:8080; dns 10.0.0.2:5353"},
       {"2.1: slices of one port are put together",
        [](Cluster& c) {
          c.slices = {slice({{"http", "TCP", 8'080}}, {endpoint("10.0.0.2")}),
                      slice({{"http", "TCP", 8'080}}, {endpoint("10.0.0.1")})};
        },
        "http 10.0.0.1:8080, 10.0.0.2:8080; dns "},
       {"2.1: partial during a roll: an endpoint that only one port has yet",
        [](Cluster& c) {
          c.slices = {
              slice({{"http", "TCP", 8'080}, {"dns", "UDP", 5'353}}, {endpoint("10.0.0.1")}),
              slice({{"http", "TCP", 8'080}}, {endpoint("10.0.0.2")})};
        },
        "http 10.0.0.1:8080, 10.0.0.2:8080; dns 10.0.0.1:5353"},
       {"2.5: TCP and UDP of one number have their own",
        [](Cluster& c) {
          c.service.ports[0] = {"dns-tcp", "TCP", 53, 30'053, ""};
          c.slices = {
              slice({{"dns", "UDP", 5'353}, {"dns-tcp", "TCP", 5'354}}, {endpoint("10.0.0.1")})};
        },
        "dns-tcp 10.0.0.1:5354; dns 10.0.0.1:5353"},
       {"2.5: what is behind a port that is not served is left out",
        [](Cluster& c) {
          c.service.ports = {{"s1ap", "SCTP", 36'412, 30'412, ""}, {"http", "TCP", 80, 30'080, ""}};
          c.slices = {slice({{"s1ap", "SCTP", 36'412}}, {endpoint("10.0.0.1")}),
                      slice({{"http", "TCP", 8'080}}, {endpoint("10.0.0.2")})};
        },
        "http 10.0.0.2:8080"},
       {"2.5: IPv6 slices beside IPv4 ones",
        [](Cluster& c) {
          c.slices = {slice({{"http", "TCP", 8'080}}, {endpoint("2001:db8::1")}),
                      slice({{"http", "TCP", 8'080}}, {endpoint("10.0.0.1")})};
        },
        "http 10.0.0.1:8080, [2001:db8::1]:8080; dns "}},
      behind);
}

TEST(Endpoints, OfPortsThatDifferInNameOrProtocolAreNotTheServices) {
  expect_rows(
      {{"2.1: another name is another port",
        [](Cluster& c) {
          c.slices = {slice({{"web", "TCP", 8'080}, {"", "TCP", 80}}, {endpoint("10.0.0.1")})};
        },
        "http ; dns "},
       {"2.1: and so is another protocol",
        [](Cluster& c) {
          c.slices = {
              slice({{"http", "UDP", 8'080}, {"dns", "TCP", 5'353}}, {endpoint("10.0.0.1")})};
        },
        "http ; dns "},
       {"2.1: an absent name is the empty one",
        [](Cluster& c) {
          c.service.ports = {{"", "TCP", 80, 30'080, ""}};
          c.slices = {slice({{"", "TCP", 8'080}}, {endpoint("10.0.0.1")})};
        },
        " 10.0.0.1:8080"},
       {"2.1: and not any",
        [](Cluster& c) {
          c.service.ports = {{"", "TCP", 80, 30'080, ""}};
          c.slices = {slice({{"http", "TCP", 8'080}}, {endpoint("10.0.0.1")})};
        },
        " "}},
      behind);
}

TEST(Endpoints, ListenWhereTheirSliceSays) {
  expect_rows(
      {{"2.1: the backend port is the slice's, whatever the service port is",
        [](Cluster& c) {
          c.slices = {slice({{"http", "TCP", 80}, {"dns", "UDP", 53}}, {endpoint("10.0.0.1")})};
        },
        "http 10.0.0.1:80; dns 10.0.0.1:53"},
       {"2.1: named ports give different ones per slice",
        [](Cluster& c) {
          c.slices = {
              slice({{"http", "TCP", 8'080}, {"dns", "UDP", 5'353}}, {endpoint("10.0.0.1")}),
              slice({{"http", "TCP", 8'081}, {"dns", "UDP", 5'353}}, {endpoint("10.0.0.2")}),
              slice({{"http", "TCP", 8'082}, {"dns", "UDP", 5'354}}, {endpoint("10.0.0.3")})};
        },
        "http 10.0.0.1:8080, 10.0.0.2:8081, 10.0.0.3:8082; "
        "dns 10.0.0.1:5353, 10.0.0.2:5353, 10.0.0.3:5354"},
       {"2.1: an address may listen on two ports for one",
        [](Cluster& c) {
          c.slices = {slice({{"http", "TCP", 8'080}}, {endpoint("10.0.0.1")}),
                      slice({{"http", "TCP", 8'081}}, {endpoint("10.0.0.1")})};
        },
        "http 10.0.0.1:8080, 10.0.0.1:8081; dns "},
       {"2.1: within one slice too",
        [](Cluster& c) {
          c.slices = {slice({{"http", "TCP", 8'080}, {"http", "TCP", 8'081}, {"dns", "UDP", 5'353}},
                            {endpoint("10.0.0.1")})};
        },
        "http 10.0.0.1:8080, 10.0.0.1:8081; dns 10.0.0.1:5353"},
       {"2.1: two ports of the service may end at one of the endpoint",
        [](Cluster& c) {
          c.service.ports[1] = {"alt", "TCP", 81, 30'081, ""};
          c.slices = {
              slice({{"http", "TCP", 8'080}, {"alt", "TCP", 8'080}}, {endpoint("10.0.0.1")})};
        },
        "http 10.0.0.1:8080; alt 10.0.0.1:8080"},
       {"the last port there is",
        [](Cluster& c) {
          c.slices = {slice({{"http", "TCP", 65'535}, {"dns", "UDP", 1}}, {endpoint("10.0.0.1")})};
        },
        "http 10.0.0.1:65535; dns 10.0.0.1:1"}},
      behind);
}

TEST(Endpoints, CountOnceHoweverManySlicesHaveThem) {
  const std::vector<SlicePort> http{{"http", "TCP", 8'080}};
  const auto twice = [&](const State& one, const State& other) {
    return [&http, one, other](Cluster& c) {
      c.slices = {slice(http, {endpoint("10.0.0.1", one)}),
                  slice(http, {endpoint("10.0.0.1", other)})};
    };
  };
  constexpr State kReadyAndTerminating{kYes, kYes, kYes};
  constexpr State kDone{kNo, kNo, kYes};
  const std::vector<Row> rows{
      {"2.1: alike ones are one, without double weight", twice(kReady, kReady),
       "http 10.0.0.1:8080; dns "},
      {"2.1: within one slice too",
       [&](Cluster& c) {
         c.slices = {slice(http, {endpoint("10.0.0.1"), endpoint("10.0.0.1")})};
       },
       "http 10.0.0.1:8080; dns "},
      {"2.1: the one that does not terminate wins", twice(kReady, kDraining),
       "http 10.0.0.1:8080; dns "},
      {"2.1: wherever it stands", twice(kDraining, kReady), "http 10.0.0.1:8080; dns "},
      {"2.1: even when it is not ready", twice(kDraining, kStarting),
       "http 10.0.0.1:8080[FFF]; dns "},
      {"2.1: and the other is, as the controller makes it", twice(kReadyAndTerminating, kStarting),
       "http 10.0.0.1:8080[FFF]; dns "},
      {"of two that do not terminate the ready one wins", twice(kStarting, kReady),
       "http 10.0.0.1:8080; dns "},
      {"and not the one that serves only", twice(State{kNo, kYes, kNo}, kReady),
       "http 10.0.0.1:8080; dns "},
      {"of two that terminate the serving one wins", twice(kDone, kDraining),
       "http 10.0.0.1:8080[FTT]; dns "},
      {"2.1: a state of its own for each port",
       [](Cluster& c) {
         c.slices = {slice({{"http", "TCP", 8'080}}, {endpoint("10.0.0.1", kDraining)}),
                     slice({{"dns", "UDP", 5'353}}, {endpoint("10.0.0.1", kReady)})};
       },
       "http 10.0.0.1:8080[FTT]; dns 10.0.0.1:5353"},
      {"2.1: and for each of two target ports",
       [](Cluster& c) {
         c.slices = {slice({{"http", "TCP", 8'080}}, {endpoint("10.0.0.1", kDraining)}),
                     slice({{"http", "TCP", 8'081}}, {endpoint("10.0.0.1", kReady)})};
       },
       "http 10.0.0.1:8080[FTT], 10.0.0.1:8081; dns "}};
  expect_rows(rows, behind);
}

TEST(Endpoints, AreTheSameInWhateverOrderTheSlicesCome) {
  const auto varied = [](const char* node, const char* zone, const char* hostname,
                         Condition ready) {
    SliceEndpoint made = endpoint("10.0.0.1", {ready, kYes, kNo}, node);
    made.zone = kept(zone);
    made.hostname = kept(hostname);
    return made;
  };
  const std::vector<std::pair<SliceEndpoint, SliceEndpoint>> pairs{
      {varied("a", "x", "h", kYes), varied("b", "x", "h", kYes)},
      {varied("a", "x", "h", kYes), varied("a", "y", "h", kYes)},
      {varied("a", "x", "h", kYes), varied("a", "x", "i", kYes)},
      {varied("a", "x", "h", kYes), varied("", "", "", kYes)},
      {varied("a", "x", "h", kYes), varied("a", "x", "h", kAbsent)}};
  for (const auto& [one, other] : pairs) {
    Cluster cluster;
    cluster.slices = {slice({{"http", "TCP", 8'080}}, {one}),
                      slice({{"http", "TCP", 8'080}}, {other})};
    const Translation made = cluster.translated();
    std::reverse(cluster.slices.begin(), cluster.slices.end());
    EXPECT_EQ(serialized(*made.service), serialized(*cluster.translated().service))
        << made.service->DebugString();
  }
}

TEST(Endpoints, AreFewerInWordsThanInNumber) {
  Cluster cluster;
  const Translation made = cluster.translated();
  ASSERT_TRUE(made.service);
  const v1::ServiceSpec& spec = made.service->spec();
  EXPECT_EQ(spec.endpoints_size(), 2) << "one for all ports that it is behind";
  EXPECT_EQ(spec.ports(0).target_port(), 8'080);
  EXPECT_EQ(spec.ports(1).target_port(), 5'353);
  EXPECT_TRUE(spec.endpoints(0).ports().empty()) << "what all have in common is said once";
}

TEST(Endpoints, KeepWhatASliceSaysOfThem) {
  Cluster cluster;
  SliceEndpoint full = endpoint("10.0.0.1", kReady, "a");
  full.hostname = kept("web-0");
  full.zone = kept("rack-1");
  cluster.set_endpoints({full, endpoint("10.0.0.2")});
  const Translation made = cluster.translated();
  ASSERT_EQ(made.service->spec().endpoints_size(), 2);
  const v1::Endpoint& first = made.service->spec().endpoints(0);
  EXPECT_EQ(first.hostname(), "web-0");
  EXPECT_EQ(first.node_name(), "a");
  EXPECT_EQ(first.zone(), "rack-1");
  EXPECT_FALSE(first.has_weight()) << "2.2: balancing is even";
  const v1::Endpoint& second = made.service->spec().endpoints(1);
  EXPECT_EQ(second.hostname() + second.node_name() + second.zone(), "");
}

TEST(Endpoints, HaveTheirConditionsAsRawAsTheSlice) {
  // 2.2: absent is not the same as false, and the gateway is told which it is.
  const std::vector<Condition> all{kAbsent, kNo, kYes};
  const auto letter = [](Condition condition) {
    return condition == kAbsent ? '-' : condition == kYes ? 'T' : 'F';
  };
  for (const Condition ready : all) {
    for (const Condition serving : all) {
      for (const Condition terminating : all) {
        Cluster cluster;
        cluster.set_endpoints({endpoint("10.0.0.1", {ready, serving, terminating})});
        const std::string marks{letter(ready), letter(serving), letter(terminating)};
        const std::string shown = marks == "TTF" || marks == "---" ? "" : "[" + marks + "]";
        const Translation made = cluster.translated();
        EXPECT_EQ(behind(made), "http 10.0.0.1:8080" + shown + "; dns 10.0.0.1:5353" + shown);
        const v1::EndpointConditions& to = made.service->spec().endpoints(0).conditions();
        EXPECT_EQ(to.has_ready(), ready != kAbsent) << marks;
        EXPECT_EQ(to.has_serving(), serving != kAbsent) << marks;
        EXPECT_EQ(to.has_terminating(), terminating != kAbsent) << marks;
      }
    }
  }
}

TEST(Endpoints, AreChosenByTheGatewayAsAProxyWould) {
  constexpr State kUnsaid{kAbsent, kAbsent, kAbsent};
  constexpr State kWarming{kNo, kYes, kNo};
  const auto of = [](std::vector<SliceEndpoint> endpoints) {
    return [endpoints](Cluster& c) {
      c.service.ports.pop_back();
      c.set_endpoints(endpoints);
    };
  };
  expect_rows(
      {{"2.2: all ready ones", of({endpoint("10.0.0.1"), endpoint("10.0.0.2")}),
        "http 10.0.0.1:8080, 10.0.0.2:8080"},
       {"2.2: ready is true or absent", of({endpoint("10.0.0.1", kUnsaid)}), "http 10.0.0.1:8080"},
       {"2.2: draining ones not while another is ready",
        of({endpoint("10.0.0.1", kDraining), endpoint("10.0.0.2")}), "http 10.0.0.2:8080"},
       {"2.2, 3.3: they are when none is ready anywhere",
        of({endpoint("10.0.0.1", kDraining, "a"), endpoint("10.0.0.2", kDraining, "b"),
            endpoint("10.0.0.3", kStarting)}),
        "http 10.0.0.1:8080, 10.0.0.2:8080"},
       {"2.2: serving is true or absent", of({endpoint("10.0.0.1", {kNo, kAbsent, kYes})}),
        "http 10.0.0.1:8080"},
       {"2.2: terminating is true only when it says so",
        of({endpoint("10.0.0.1", {kNo, kYes, kAbsent})}), "http "},
       {"2.2: not ready, serving, not terminating is never used",
        of({endpoint("10.0.0.1", kWarming)}), "http "},
       {"2.2: nor beside draining ones",
        of({endpoint("10.0.0.1", kWarming), endpoint("10.0.0.2", kDraining)}),
        "http 10.0.0.2:8080"},
       {"2.2: terminating and not serving is never used",
        of({endpoint("10.0.0.1", {kNo, kNo, kYes})}), "http "},
       {"2.2: with publishNotReadyAddresses the controller says ready, even of terminating ones",
        of({endpoint("10.0.0.1", {kYes, kYes, kYes}), endpoint("10.0.0.2")}),
        "http 10.0.0.1:8080, 10.0.0.2:8080"},
       {"2.2: no usable one anywhere", of({endpoint("10.0.0.1", kStarting)}), "http "},
       {"2.5: each family by itself",
        of({endpoint("10.0.0.1", kDraining), endpoint("2001:db8::1")}),
        "http 10.0.0.1:8080, [2001:db8::1]:8080"},
       {"2.5: a family without endpoints is without in that family only",
        of({endpoint("2001:db8::1")}), "http [2001:db8::1]:8080"},
       {"2.2: each port by itself",
        [](Cluster& c) {
          c.slices = {slice({{"http", "TCP", 8'080}},
                            {endpoint("10.0.0.1", kDraining), endpoint("10.0.0.2")}),
                      slice({{"dns", "UDP", 5'353}},
                            {endpoint("10.0.0.1", kDraining), endpoint("10.0.0.2", kStarting)})};
        },
        "http 10.0.0.2:8080; dns 10.0.0.1:5353"},
       {"2.1: a ready copy saves one that another slice says is terminating",
        [](Cluster& c) {
          c.service.ports.pop_back();
          c.slices = {slice({{"http", "TCP", 8'080}}, {endpoint("10.0.0.1", kDraining)}),
                      slice({{"http", "TCP", 8'080}}, {endpoint("10.0.0.1")})};
        },
        "http 10.0.0.1:8080"},
       {"3.3: Local chooses among all too, with endpoint delivery",
        [](Cluster& c) {
          c.service.ports.pop_back();
          c.service.external_traffic_policy = "Local";
          c.set_endpoints({endpoint("10.0.0.1", kDraining, "a"), endpoint("10.0.0.2", kReady, "b"),
                           endpoint("10.0.0.3")});
        },
        "http 10.0.0.2:8080, 10.0.0.3:8080"}},
      chosen);
}

TEST(Endpoints, OnExcludedNodesAreUsedLikeOthers) {
  // 2.4: exclusion is about nodes as next hops; straight to the pod there is none.
  Cluster cluster;
  cluster.nodes.at("a").meta.labels["node.kubernetes.io/exclude-from-external-load-balancers"] = "";
  cluster.nodes.at("b").meta.deleting = true;
  cluster.nodes.erase("b");
  EXPECT_EQ(behind(cluster.translated()),
            "http 10.0.0.1:8080, 10.0.0.2:8080; dns 10.0.0.1:5353, 10.0.0.2:5353");
}

}  // namespace
}  // namespace sluice::kubernetes
