// SPDX-License-Identifier: Apache-2.0
// Slices joined to their services, and nodes: KUBERNETES.md 2.1, 2.4, 2.9.
#include "tests/unit/controlplane/kubernetes/cluster_state_fixture.h"

namespace sluice::kubernetes {
namespace {

TEST_F(ClusterStateTest, SlicesAreJoinedByTheirLabelAndNamespace) {
  list(state_.services(), {service_json("web", "1"), service_json("api", "2")});
  list(
      state_.slices(),
      {slice_json("w-1", "web", "10.0.0.1"), slice_json("w-2", "web", "10.0.0.2"),
       slice_json("web", "api", "10.0.0.3"),
       R"({"metadata":{"namespace":"other","name":"w-1","labels":{"kubernetes.io/service-name":"web"}},)"
       R"("ports":[{"port":1}],"endpoints":[{"addresses":["10.0.0.4"]}]})"});
  EXPECT_EQ(addresses_of("web"), "10.0.0.1 10.0.0.2");
  EXPECT_EQ(addresses_of("api"), "10.0.0.3") << "2.1: its name says nothing";
}

TEST_F(ClusterStateTest, SlicesAreAnybodys) {
  list(state_.services(), {service_json("web", "1")});
  list(state_.slices(),
       {slice_json("a", "web", "10.0.0.1", R"(,"endpointslice.kubernetes.io/managed-by":"x")"),
        slice_json("b", "web", "10.0.0.2", R"(,"endpointslice.kubernetes.io/managed-by":"")")});
  EXPECT_EQ(addresses_of("web"), "10.0.0.1 10.0.0.2") << "2.1: any managed-by";
}

TEST_F(ClusterStateTest, SlicesThatAreNotForAProxyAreIgnored) {
  list(state_.services(), {service_json("web", "1")});
  list(state_.slices(),
       {slice_json("a", "web", "10.0.0.1", R"(,"service.kubernetes.io/headless":"")"),
        slice_json("b", "", "10.0.0.2"),
        "{" + meta("c", R"(,"labels":{"kubernetes.io/service-name":"web"})") +
            R"(,"addressType":"FQDN","ports":[{"port":1}],"endpoints":[{"addresses":["a.b"]}]})"});
  EXPECT_EQ(addresses_of("web"), "") << "2.1";
  EXPECT_TRUE(state_.view({"shop", "web"}).slices.empty());
  EXPECT_EQ(state_.undecodable(), 0U);
}

TEST_F(ClusterStateTest, ASliceThatTurnsHeadlessOrNobodysGoes) {
  list(state_.services(), {service_json("web", "1")});
  list(state_.slices(), {slice_json("a", "web", "10.0.0.1"), slice_json("b", "web", "10.0.0.2")});
  told();
  state_.slices().take(
      slice_json("a", "web", "10.0.0.1", R"(,"service.kubernetes.io/headless":"")"));
  EXPECT_EQ(addresses_of("web"), "10.0.0.2");
  EXPECT_EQ(told(), "web");
  state_.slices().take(slice_json("b", "", "10.0.0.2"));
  EXPECT_EQ(addresses_of("web"), "");
  EXPECT_EQ(told(), "web");
}

TEST_F(ClusterStateTest, OnlyTheFirstAddressOfAnEndpointCounts) {
  list(state_.services(), {service_json("web", "1")});
  list(state_.slices(),
       {"{" + meta("a", R"(,"labels":{"kubernetes.io/service-name":"web"})") +
        R"(,"ports":[{"port":80},{"name":"none"},{"name":"zero","port":0}],"endpoints":[)"
        R"({"addresses":["10.0.0.1","10.0.0.2"]},{"addresses":[]},{"addresses":null}]})"});
  EXPECT_EQ(addresses_of("web"), "10.0.0.1") << "2.1";
  const Slices slices = state_.view({"shop", "web"}).slices;
  ASSERT_EQ(slices.size(), 1U);
  ASSERT_EQ(slices[0]->ports.size(), 1U) << "2.1: those without a number, or with 0, are none";
  EXPECT_EQ(slices[0]->ports[0].name, "") << "2.1: an absent name is the empty one";
}

TEST_F(ClusterStateTest, SlicesMayComeBeforeTheirService) {
  list(state_.slices(), {slice_json("w", "web", "10.0.0.1")});
  EXPECT_EQ(told(), "web");
  EXPECT_EQ(addresses_of("web"), "");
  EXPECT_EQ(state_.view({"shop", "web"}).service, nullptr);
  list(state_.services(), {service_json("web", "1")});
  EXPECT_EQ(addresses_of("web"), "10.0.0.1") << "2.1";
  state_.services().remove(service_json("web", "1"));
  EXPECT_EQ(addresses_of("web"), "");
  state_.services().take(service_json("web", "2", "ClusterIP", "u2"));
  EXPECT_EQ(addresses_of("web"), "10.0.0.1") << "and stay after it";
}

TEST_F(ClusterStateTest, ASliceThatChangesItsServiceConcernsBoth) {
  list(state_.services(), {service_json("web", "1"), service_json("api", "2")});
  list(state_.slices(), {slice_json("s", "web", "10.0.0.1"), slice_json("w", "web", "10.0.0.2")});
  told();
  state_.slices().take(slice_json("s", "api", "10.0.0.1"));
  EXPECT_EQ(told(), "api web");
  EXPECT_EQ(addresses_of("web"), "10.0.0.2");
  EXPECT_EQ(addresses_of("api"), "10.0.0.1");
  state_.slices().remove(slice_json("s", "web", "10.0.0.1"));
  EXPECT_EQ(told(), "api") << "whose it was last, whatever the event says";
  EXPECT_EQ(addresses_of("api"), "");
}

TEST_F(ClusterStateTest, ASliceIsReplacedAsAWhole) {
  list(state_.services(), {service_json("web", "1")});
  list(state_.slices(), {slice_json("s", "web", "10.0.0.1")});
  const ServiceView before = state_.view({"shop", "web"});
  told();
  state_.slices().take(slice_json("s", "web", "10.0.0.9"));
  EXPECT_EQ(told(), "web");
  EXPECT_EQ(addresses_of("web"), "10.0.0.9");
  EXPECT_EQ(sluice::to_string(before.slices[0]->endpoints[0].address), "10.0.0.1")
      << "who looks at the old one still may";
}

TEST_F(ClusterStateTest, RemovingASliceThatIsNotThereConcernsNobody) {
  list(state_.slices(), {});
  state_.slices().remove(slice_json("s", "web", "10.0.0.1"));
  EXPECT_EQ(told(), "");
}

TEST_F(ClusterStateTest, AHeartbeatOfANodeChangesNothing) {
  list(state_.services(), {service_json("web", "1")});
  list(state_.nodes(), {node_json("a", "192.168.0.1")});
  told();
  const auto before = state_.all_nodes();
  calls_ = 0;
  state_.nodes().take(
      R"({"metadata":{"name":"a","resourceVersion":"8","annotations":{"x":"y"}},"status":{)"
      R"("conditions":[{"type":"Ready","status":"False"}],"images":[],"addresses":[)"
      R"({"type":"ExternalIP","address":"198.51.100.1"},)"
      R"({"type":"InternalIP","address":"192.168.0.1"},{"type":"Hostname","address":"a"}]}})");
  EXPECT_EQ(calls_, 0);
  EXPECT_EQ(state_.all_nodes(), before) << "2.4: not even that it is not ready";
}

TEST_F(ClusterStateTest, WhatMattersOfANodeConcernsAllServices) {
  list(state_.services(), {service_json("web", "1"), service_json("api", "2")});
  list(state_.nodes(), {node_json("a", "192.168.0.1")});
  const std::string address = "192.168.0.1";
  const std::vector<std::string> changes{
      node_json("a", "192.168.0.9"), node_json("a", address, R"("podCIDRs":["10.1.0.0/24"])"),
      node_json("a", address, R"("taints":[{"key":"ToBeDeletedByClusterAutoscaler"}])"),
      node_json("a", address, "", R"(,"deletionTimestamp":"2026-01-01T00:00:00Z")"),
      node_json("a", address, "",
                R"(,"labels":{"node.kubernetes.io/exclude-from-external-load-balancers":""})")};
  for (const std::string& json : changes) {
    told();
    state_.nodes().take(json);
    EXPECT_EQ(told(), "api web") << json;
    state_.nodes().take(node_json("a", address));
    EXPECT_EQ(told(), "api web") << "back from " << json;
  }
  state_.nodes().take(node_json("b", "192.168.0.2"));
  EXPECT_EQ(told(), "api web") << "a new one";
  state_.nodes().remove(node_json("b", "192.168.0.2"));
  EXPECT_EQ(told(), "api web");
  state_.nodes().remove(node_json("b", "192.168.0.2"));
  EXPECT_EQ(told(), "") << "it is gone already";
}

TEST_F(ClusterStateTest, NodesOfAListAreSeenTogether) {
  list(state_.services(), {service_json("web", "1")});
  told();
  state_.nodes().begin_list();
  state_.nodes().take(node_json("a", "192.168.0.1"));
  state_.nodes().take(node_json("b", "192.168.0.2"));
  EXPECT_EQ(told(), "") << "a thousand nodes are not a thousand changes of every service";
  EXPECT_EQ(nodes(), "") << "2.9: no rules from half a view";
  const auto before = state_.all_nodes();
  state_.nodes().end_list();
  EXPECT_EQ(told(), "web");
  EXPECT_EQ(nodes(), "a=192.168.0.1 b=192.168.0.2");
  EXPECT_TRUE(before->empty()) << "who looks at the old ones still may";
}

}  // namespace
}  // namespace sluice::kubernetes
