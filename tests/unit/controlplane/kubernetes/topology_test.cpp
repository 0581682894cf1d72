// SPDX-License-Identifier: Apache-2.0
// Hints of slices: KUBERNETES.md 2.8.
#include "controlplane/kubernetes/endpoints.h"
#include "tests/unit/controlplane/kubernetes/cluster.h"

#include <gtest/gtest.h>

namespace sluice::kubernetes {
namespace {

std::function<void(Cluster&)> in_zone(const std::string& zone,
                                      const std::vector<SliceEndpoint>& endpoints) {
  return [=](Cluster& c) {
    c.settings.zone = zone;
    c.service.ports.pop_back();
    c.set_endpoints(endpoints);
  };
}

SliceEndpoint for_node(const std::string& address, const char* node, const char* zone) {
  SliceEndpoint made = hinted(address, zone);
  made.hinted_nodes = kept(node);
  return made;
}

TEST(Topology, HintsNarrowTheSetWhenAllHaveThemAndOneNamesTheZone) {
  expect_rows(
      {{"2.8: only those that name it take new flows",
        in_zone("x", {hinted("10.0.0.1", "x"), hinted("10.0.0.2", "y"), hinted("10.0.0.3", "x")}),
        "http 10.0.0.1:8080, 10.0.0.2:8080[FTF], 10.0.0.3:8080"},
       {"2.8: a hint may name several zones",
        in_zone("y",
                {hinted("10.0.0.1", "x y"), hinted("10.0.0.2", "y z"), hinted("10.0.0.3", "x")}),
        "http 10.0.0.1:8080, 10.0.0.2:8080, 10.0.0.3:8080[FTF]"},
       {"2.8: missing on one: all are used",
        in_zone("x", {hinted("10.0.0.1", "x"), hinted("10.0.0.2", "y"), hinted("10.0.0.3", "")}),
        "http 10.0.0.1:8080, 10.0.0.2:8080, 10.0.0.3:8080"},
       {"2.8: no match for the zone: all are used",
        in_zone("z", {hinted("10.0.0.1", "x"), hinted("10.0.0.2", "y")}),
        "http 10.0.0.1:8080, 10.0.0.2:8080"},
       {"2.8: without a configured zone hints are ignored",
        in_zone("", {hinted("10.0.0.1", "x"), hinted("10.0.0.2", "y")}),
        "http 10.0.0.1:8080, 10.0.0.2:8080"},
       {"a zone is not the beginning of another",
        in_zone("x", {hinted("10.0.0.1", "x1"), hinted("10.0.0.2", "ax")}),
        "http 10.0.0.1:8080, 10.0.0.2:8080"},
       {"2.8: the zone of an endpoint is no hint",
        [](Cluster& c) {
          in_zone("x", {})(c);
          SliceEndpoint here = endpoint("10.0.0.1");
          here.zone = kept("x");
          SliceEndpoint there = endpoint("10.0.0.2");
          there.zone = kept("y");
          c.set_endpoints({here, there});
        },
        "http 10.0.0.1:8080, 10.0.0.2:8080"},
       {"2.8: nor does it matter beside hints",
        [](Cluster& c) {
          in_zone("x", {})(c);
          SliceEndpoint there = hinted("10.0.0.1", "x");
          there.zone = kept("y");
          SliceEndpoint here = hinted("10.0.0.2", "y");
          here.zone = kept("x");
          c.set_endpoints({there, here});
        },
        "http 10.0.0.1:8080, 10.0.0.2:8080[FTF]"},
       {"2.8: ready ones need hints, others do not",
        in_zone("x", {hinted("10.0.0.1", "x"), hinted("10.0.0.2", "y"),
                      hinted("10.0.0.3", "", kStarting)}),
        "http 10.0.0.1:8080, 10.0.0.2:8080[FTF], 10.0.0.3:8080[FFF]"},
       {"2.2: draining ones are left to the gateway, as raw as ever",
        in_zone("x", {hinted("10.0.0.1", "x"), hinted("10.0.0.2", "y", kDraining)}),
        "http 10.0.0.1:8080, 10.0.0.2:8080[FTT]"},
       {"2.2: without a ready one hints mean nothing",
        in_zone("x", {hinted("10.0.0.1", "x", kDraining), hinted("10.0.0.2", "y", kDraining)}),
        "http 10.0.0.1:8080[FTT], 10.0.0.2:8080[FTT]"},
       {"2.8: one that is not ready matches no zone for the others",
        in_zone("x", {hinted("10.0.0.1", "x", kStarting), hinted("10.0.0.2", "y")}),
        "http 10.0.0.1:8080[FFF], 10.0.0.2:8080"},
       {"2.8: ready is true or absent here too",
        in_zone("x",
                {hinted("10.0.0.1", "x", {kAbsent, kAbsent, kAbsent}), hinted("10.0.0.2", "y")}),
        "http 10.0.0.1:8080, 10.0.0.2:8080[FTF]"}},
      behind);
}

TEST(Topology, HintsOfNodesAreNotAGateways) {
  expect_rows({{"2.8: a gateway is no node: zone hints count instead",
                in_zone("x", {for_node("10.0.0.1", "x", "y"), for_node("10.0.0.2", "b", "x")}),
                "http 10.0.0.1:8080[FTF], 10.0.0.2:8080"},
               {"2.8: with node hints only, all are used",
                in_zone("x", {for_node("10.0.0.1", "x", ""), for_node("10.0.0.2", "b", "")}),
                "http 10.0.0.1:8080, 10.0.0.2:8080"}},
              behind);
}

TEST(Topology, HintsAreOfThePolicyClusterOnly) {
  expect_rows({{"2.8: Local ignores them",
                [](Cluster& c) {
                  in_zone("x", {hinted("10.0.0.1", "x"), hinted("10.0.0.2", "y")})(c);
                  c.service.external_traffic_policy = "Local";
                },
                "http 10.0.0.1:8080, 10.0.0.2:8080"},
               {"2.8: an absent policy is Cluster",
                [](Cluster& c) {
                  in_zone("x", {hinted("10.0.0.1", "x"), hinted("10.0.0.2", "y")})(c);
                  c.service.external_traffic_policy.clear();
                },
                "http 10.0.0.1:8080, 10.0.0.2:8080[FTF]"}},
              behind);
}

TEST(Topology, EachFamilyAndEachPortIsNarrowedByItself) {
  const std::vector<SlicePort> http{{"http", "TCP", 8'080}};
  const std::vector<SlicePort> dns{{"dns", "UDP", 5'353}};
  const std::vector<Row> rows{
      {"2.5: hints of one family are nothing to the other",
       in_zone("x", {hinted("10.0.0.1", "x"), hinted("10.0.0.2", "y"), hinted("2001:db8::1", ""),
                     hinted("2001:db8::2", "y")}),
       "http 10.0.0.1:8080, 10.0.0.2:8080[FTF], [2001:db8::1]:8080, [2001:db8::2]:8080"},
      {"2.5: nor is a match",
       in_zone("x", {hinted("10.0.0.1", "x"), hinted("10.0.0.2", "y"), hinted("2001:db8::1", "y"),
                     hinted("2001:db8::2", "y")}),
       "http 10.0.0.1:8080, 10.0.0.2:8080[FTF], [2001:db8::1]:8080, [2001:db8::2]:8080"},
      {"2.8: a port that has none in the zone keeps all of its own",
       [&](Cluster& c) {
         c.settings.zone = "x";
         c.slices = {slice(http, {hinted("10.0.0.1", "x"), hinted("10.0.0.2", "y")}),
                     slice(dns, {hinted("10.0.0.2", "y"), hinted("10.0.0.3", "y")})};
       },
       "http 10.0.0.1:8080, 10.0.0.2:8080[FTF]; dns 10.0.0.2:5353, 10.0.0.3:5353"},
      {"2.8: a port without hints does not take them from another",
       [&](Cluster& c) {
         c.settings.zone = "x";
         c.slices = {slice(http, {hinted("10.0.0.1", "x"), hinted("10.0.0.2", "y")}),
                     slice(dns, {hinted("10.0.0.1", ""), hinted("10.0.0.2", "")})};
       },
       "http 10.0.0.1:8080, 10.0.0.2:8080[FTF]; dns 10.0.0.1:5353, 10.0.0.2:5353"},
      {"2.8: an endpoint may be hinted differently for each port",
       [&](Cluster& c) {
         c.settings.zone = "x";
         c.slices = {slice(http, {hinted("10.0.0.1", "x"), hinted("10.0.0.2", "y")}),
                     slice(dns, {hinted("10.0.0.1", "y"), hinted("10.0.0.2", "x")})};
       },
       "http 10.0.0.1:8080, 10.0.0.2:8080[FTF]; dns 10.0.0.1:5353[FTF], 10.0.0.2:5353"}};
  expect_rows(rows, behind);
}

}  // namespace
}  // namespace sluice::kubernetes
