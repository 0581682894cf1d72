// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/decode.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sluice::kubernetes {
namespace {

using Texts = std::vector<std::string>;

constexpr const char* kService = R"({
  "kind": "Service", "apiVersion": "v1",
  "metadata": {
    "namespace": "shop", "name": "web", "uid": "u-1", "resourceVersion": "261",
    "labels": {"app": "web"}, "annotations": {"sluice.dev/delivery": "node"},
    "finalizers": ["service.kubernetes.io/load-balancer-cleanup"],
    "deletionTimestamp": "2026-01-01T00:00:00Z", "managedFields": [{"fieldsV1": {"f:x": {}}}]},
  "spec": {
    "type": "LoadBalancer", "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1", "fd00::1"],
    "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "PreferDualStack",
    "externalIPs": ["192.0.2.33"], "loadBalancerIP": "203.0.113.10",
    "loadBalancerClass": "sluice.dev/gateway", "loadBalancerSourceRanges": [" 10.0.0.0/8 "],
    "ports": [
      {"name": "http", "port": 80, "targetPort": 8080, "nodePort": 30080, "appProtocol": "h2c"},
      {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": "dns"}],
    "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}},
    "externalTrafficPolicy": "Local", "internalTrafficPolicy": "Cluster",
    "healthCheckNodePort": 30000, "externalName": "web.example.com", "selector": {"app": "web"}},
  "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.10", "ipMode": "VIP"}]}}})";

constexpr const char* kSlice = R"({
  "metadata": {"namespace": "shop", "name": "web-1",
               "labels": {"kubernetes.io/service-name": "web"}},
  "addressType": "IPv4",
  "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
  "endpoints": [
    {"addresses": ["10.0.0.1"],
     "conditions": {"ready": true, "serving": true, "terminating": false},
     "hostname": "web-0", "nodeName": "node-1", "zone": "eu-1a",
     "targetRef": {"kind": "Pod", "name": "web-0"},
     "hints": {"forZones": [{"name": "eu-1a"}, {"name": "eu-1b"}],
               "forNodes": [{"name": "node-1"}]}}]})";

constexpr const char* kNode = R"({
  "metadata": {"name": "node-1"},
  "spec": {"podCIDRs": ["10.0.1.0/24", "fd00:1::/64"],
           "taints": [{"key": "other", "effect": "NoSchedule"}]},
  "status": {"addresses": [
    {"type": "ExternalIP", "address": "198.51.100.1"},
    {"type": "InternalIP", "address": "10.1.0.1"}, {"type": "InternalIP", "address": "fd00:2::1"},
    {"type": "Hostname", "address": "node-1"}]}})";

constexpr const char* kMeta = R"("metadata":{"namespace":"shop","name":"web"})";

// An object with this beside its metadata.
std::string with(const std::string& members) {
  return "{" + std::string(kMeta) + (members.empty() ? "" : ",") + members + "}";
}
std::string with_spec(const std::string& members) {
  return with("\"spec\":{" + members + "}");
}
std::string with_endpoints(const std::string& elements) {
  return with("\"endpoints\":[" + elements + "]");
}

// Kept for the test, as what it has decoded points into it.
Names& names() {
  static Names kept;
  return kept;
}

Service service_of(const std::string& json) {
  Decoder decoder;
  auto service = decoder.service(json);
  EXPECT_TRUE(service) << decoder.fault() << "\n" << json;
  EXPECT_EQ(decoder.fault(), "");
  return service.value_or(Service());
}
EndpointSlice slice_of(const std::string& json) {
  Decoder decoder;
  auto slice = decoder.slice(json, names());
  EXPECT_TRUE(slice) << decoder.fault() << "\n" << json;
  return slice.value_or(EndpointSlice());
}
Node node_of(const std::string& json) {
  Decoder decoder;
  auto node = decoder.node(json);
  EXPECT_TRUE(node) << decoder.fault() << "\n" << json;
  return node.value_or(Node());
}
std::string service_fault_of(const std::string& json) {
  Decoder decoder;
  EXPECT_FALSE(decoder.service(json)) << json;
  return decoder.fault();
}
std::string slice_fault_of(const std::string& json) {
  Decoder decoder;
  EXPECT_FALSE(decoder.slice(json, names())) << json;
  return decoder.fault();
}
std::string node_fault_of(const std::string& json) {
  Decoder decoder;
  EXPECT_FALSE(decoder.node(json)) << json;
  return decoder.fault();
}
std::string text_of(const std::string* name) {
  return name == nullptr ? "none" : *name;
}

TEST(Decode, AServiceIsReadWhole) {
  const Service service = service_of(kService);
  EXPECT_EQ(service.meta.name, (ServiceName{"shop", "web"}));
  EXPECT_EQ(service.meta.uid, "u-1");
  EXPECT_EQ(service.meta.resource_version, "261");
  EXPECT_EQ(service.meta.labels.at("app"), "web");
  EXPECT_EQ(service.meta.annotations.at("sluice.dev/delivery"), "node");
  EXPECT_EQ(service.meta.finalizers, Texts{"service.kubernetes.io/load-balancer-cleanup"});
  EXPECT_TRUE(service.meta.deleting);
  EXPECT_EQ(service.type, "LoadBalancer");
  EXPECT_EQ(service.cluster_ips, (Texts{"10.96.0.1", "fd00::1"}));
  EXPECT_EQ(service.ip_families, (Texts{"IPv4", "IPv6"}));
  EXPECT_EQ(service.ip_family_policy, "PreferDualStack");
  EXPECT_EQ(service.external_ips, Texts{"192.0.2.33"});
  EXPECT_EQ(service.load_balancer_ip, "203.0.113.10");
  EXPECT_EQ(service.load_balancer_class, "sluice.dev/gateway");
  EXPECT_EQ(service.source_ranges, Texts{" 10.0.0.0/8 "});
  ASSERT_EQ(service.ports.size(), 2U);
  EXPECT_EQ(service.ports[0].name, "http");
  EXPECT_EQ(service.ports[0].protocol, "TCP");
  EXPECT_EQ(service.ports[0].port, 80);
  EXPECT_EQ(service.ports[0].node_port, 30'080);
  EXPECT_EQ(service.ports[0].app_protocol, "h2c");
  EXPECT_EQ(service.ports[1].protocol, "UDP");
  EXPECT_EQ(service.ports[1].node_port, 0);
  EXPECT_EQ(service.session_affinity, "ClientIP");
  EXPECT_EQ(service.affinity_seconds, 60);
  EXPECT_EQ(service.external_traffic_policy, "Local");
  EXPECT_EQ(service.internal_traffic_policy, "Cluster");
  EXPECT_EQ(service.health_check_node_port, 30'000);
  EXPECT_EQ(service.external_name, "web.example.com");
  EXPECT_EQ(service.ingress, (std::vector<LoadBalancerIngress>{{"203.0.113.10", "VIP"}}));
}

TEST(Decode, ConditionsOfAStatusAreReadAndKeptWhole) {
  const Service service = service_of(with(
      R"("status":{"conditions":[{"type":"LoadBalancerPortsError","status":"True",
         "reason":"Mixed","message":"no","lastTransitionTime":"2026-01-01T00:00:00Z",
         "observedGeneration":3,"later":[1]},{"type":"Ready"}]})"));
  ASSERT_EQ(service.conditions.size(), 2U);
  EXPECT_EQ(service.conditions[0].type, "LoadBalancerPortsError");
  EXPECT_EQ(service.conditions[0].status, "True");
  EXPECT_EQ(service.conditions[0].reason, "Mixed");
  EXPECT_EQ(service.conditions[0].message, "no");
  EXPECT_EQ(service.conditions[0].last_transition_time, "2026-01-01T00:00:00Z");
  EXPECT_EQ(service.conditions[0].json,
            R"({"type":"LoadBalancerPortsError","status":"True","reason":"Mixed","message":"no",)"
            R"("lastTransitionTime":"2026-01-01T00:00:00Z","observedGeneration":3,"later":[1]})");
  EXPECT_EQ(service.conditions[1].status, "");
  EXPECT_TRUE(service_of(with(R"("status":{"conditions":null})")).conditions.empty());
}

TEST(Decode, AServiceThatSaysNothingHasTheDefaults) {
  const std::string nulls =
      R"("spec":{"type":null,"clusterIP":null,"clusterIPs":null,"ipFamilies":null,
      "externalIPs":null,"ports":null,"loadBalancerIP":null,"loadBalancerClass":null,
      "loadBalancerSourceRanges":null,"sessionAffinityConfig":null,
      "healthCheckNodePort":null,"externalName":null},"status":null)";
  for (const std::string& json :
       {with(""), with(R"("spec":null,"status":null)"), with(R"("spec":{},"status":{})"),
        with(nulls), with(R"("status":{"loadBalancer":{}})"),
        with(R"("status":{"loadBalancer":{"ingress":null}})"),
        with_spec(R"("sessionAffinityConfig":{"clientIP":null})"),
        with_spec(R"("sessionAffinityConfig":{"clientIP":{"timeoutSeconds":null}})"),
        std::string(R"({"metadata":{"namespace":"shop","name":"web","labels":null,
                        "annotations":null,"finalizers":null,"deletionTimestamp":null}})")}) {
    const Service service = service_of(json);
    EXPECT_EQ(service.meta.name, (ServiceName{"shop", "web"}));
    EXPECT_FALSE(service.meta.deleting);
    EXPECT_EQ(service.type, "ClusterIP");
    EXPECT_TRUE(service.cluster_ips.empty());
    EXPECT_TRUE(service.ports.empty());
    EXPECT_FALSE(service.load_balancer_class);
    EXPECT_FALSE(service.affinity_seconds);
    EXPECT_EQ(service.health_check_node_port, 0);
    EXPECT_TRUE(service.ingress.empty());
  }
  const Service portful = service_of(with_spec(
      R"("ports":[{},{"name":null,"protocol":null,"port":null,"nodePort":null,
      "appProtocol":null}])"));
  ASSERT_EQ(portful.ports.size(), 2U);
  EXPECT_EQ(portful.ports[1].protocol, "TCP");
  EXPECT_EQ(portful.ports[1].port, 0);
}

TEST(Decode, WhatAServiceHasBesidesAndWordsNobodyKnowsAreTaken) {
  const Service service = service_of(with_spec(
      R"("type":"Teleport","trafficDistribution":{"new":[1,2.5,null]},
      "externalTrafficPolicy":"Near","ipFamilies":["IPv9"],
      "ports":[{"protocol":"QUIC","port":443,"more":{}}])"));
  EXPECT_EQ(service.type, "Teleport");
  EXPECT_EQ(service.external_traffic_policy, "Near");
  EXPECT_EQ(service.ip_families, Texts{"IPv9"});
  EXPECT_EQ(service.ports.at(0).protocol, "QUIC");
}

TEST(Decode, TheOneClusterAddressOfOldServersCounts) {
  EXPECT_EQ(service_of(with_spec(R"("clusterIP":"10.96.0.1")")).cluster_ips, Texts{"10.96.0.1"});
  EXPECT_EQ(service_of(with_spec(R"("clusterIP":"None")")).cluster_ips, Texts{"None"});
  EXPECT_EQ(service_of(with_spec(R"("clusterIP":"10.96.0.1","clusterIPs":[])")).cluster_ips,
            Texts{"10.96.0.1"});
  EXPECT_EQ(service_of(with_spec(R"("clusterIP":"1.1.1.1","clusterIPs":["2.2.2.2"])")).cluster_ips,
            Texts{"2.2.2.2"});
  EXPECT_TRUE(service_of(with_spec(R"("clusterIP":"")")).cluster_ips.empty());
}

TEST(Decode, AnEmptyLoadBalancerClassIsNotAnAbsentOne) {
  EXPECT_EQ(service_of(with_spec(R"("loadBalancerClass":"")")).load_balancer_class, "");
  EXPECT_EQ(service_of(with_spec(R"("loadBalancerClass":null)")).load_balancer_class, std::nullopt);
  EXPECT_EQ(service_of(with_spec("")).load_balancer_class, std::nullopt);
}

TEST(Decode, AServiceWithAMemberOfTheWrongTypeIsUndecodableAndTheFaultNamesIt) {
  const std::pair<std::string, const char*> cases[] = {
      {R"({"spec":{}})", "metadata: expected an object"},
      {R"({"metadata":null})", "metadata: expected an object"},
      {R"({"metadata":[]})", "metadata: expected an object"},
      {R"({"metadata":{}})", "metadata.name: expected a name"},
      {R"({"metadata":{"name":""}})", "metadata.name: expected a name"},
      {R"({"metadata":{"name":5}})", "name: expected a string"},
      {R"({"metadata":{"name":"a","namespace":{}}})", "namespace: expected a string"},
      {R"({"metadata":{"name":"a","resourceVersion":261}})", "resourceVersion: expected a string"},
      {R"({"metadata":{"name":"a","labels":[]}})", "labels: expected an object"},
      {R"({"metadata":{"name":"a","labels":{"b":1}}})", "labels: expected strings"},
      {R"({"metadata":{"name":"a","annotations":{"b":null}}})", "annotations: expected strings"},
      {R"({"metadata":{"name":"a","finalizers":[1]}})", "finalizers: expected strings"},
      {R"({"metadata":{"name":"a","deletionTimestamp":1}})",
       "deletionTimestamp: expected a string"},
      {with(R"("spec":"x")"), "spec: expected an object"},
      {with_spec(R"("type":1)"), "type: expected a string"},
      {with_spec(R"("clusterIP":["10.96.0.1"])"), "clusterIP: expected a string"},
      {with_spec(R"("clusterIPs":"10.96.0.1")"), "clusterIPs: expected an array"},
      {with_spec(R"("clusterIPs":[{}])"), "clusterIPs: expected strings"},
      {with_spec(R"("loadBalancerClass":false)"), "loadBalancerClass: expected a string"},
      {with_spec(R"("loadBalancerSourceRanges":{})"),
       "loadBalancerSourceRanges: expected an array"},
      {with_spec(R"("ports":{})"), "ports: expected an array"},
      {with_spec(R"("ports":[80])"), "spec.ports: expected objects"},
      {with_spec(R"("ports":[null])"), "spec.ports: expected objects"},
      {with_spec(R"("ports":[{"port":"80"}])"), "port: expected a whole number"},
      {with_spec(R"("ports":[{"port":80.5}])"), "port: expected a whole number"},
      {with_spec(R"("ports":[{"port":18446744073709551615}])"),
       "port: expected a number of 64 bits"},
      {with_spec(R"("ports":[{"nodePort":true}])"), "nodePort: expected a whole number"},
      {with_spec(R"("sessionAffinityConfig":1)"), "sessionAffinityConfig: expected an object"},
      {with_spec(R"("sessionAffinityConfig":{"clientIP":{"timeoutSeconds":"1h"}})"),
       "timeoutSeconds: expected a whole number"},
      {with_spec(R"("healthCheckNodePort":[])"), "healthCheckNodePort: expected a whole number"},
      {with(R"("status":[])"), "status: expected an object"},
      {with(R"("status":{"loadBalancer":1})"), "loadBalancer: expected an object"},
      {with(R"("status":{"loadBalancer":{"ingress":[1]}})"),
       "status.loadBalancer.ingress: expected objects"},
      {with(R"("status":{"loadBalancer":{"ingress":[{"ip":1}]}})"), "ip: expected a string"}};
  for (const auto& [json, fault] : cases) {
    EXPECT_EQ(service_fault_of(json), fault) << json;
  }
}

TEST(Decode, TheFirstOfSeveralFaultsIsTold) {
  EXPECT_EQ(service_fault_of(with(R"("spec":{"type":1,"ports":2},"status":3)")),
            "type: expected a string");
}

TEST(Decode, OneUndecodableObjectDoesNotSpoilTheNext) {
  Decoder decoder;
  EXPECT_FALSE(decoder.service(with_spec(R"("type":1)")));
  EXPECT_EQ(decoder.name(with_spec(R"("type":1)")), (ServiceName{"shop", "web"}));
  EXPECT_FALSE(decoder.service("{"));
  EXPECT_TRUE(decoder.service(kService));
  EXPECT_EQ(decoder.fault(), "");
}

TEST(Decode, ASliceIsReadWhole) {
  const EndpointSlice slice = slice_of(kSlice);
  EXPECT_EQ(slice.name, (ServiceName{"shop", "web-1"}));
  EXPECT_EQ(slice.service, "web");
  EXPECT_FALSE(slice.headless);
  EXPECT_EQ(slice.ports, (std::vector<SlicePort>{{"http", "TCP", 8080}}));
  ASSERT_EQ(slice.endpoints.size(), 1U);
  const SliceEndpoint& endpoint = slice.endpoints[0];
  EXPECT_EQ(to_string(endpoint.address), "10.0.0.1");
  EXPECT_EQ(endpoint.ready, Condition::kTrue);
  EXPECT_EQ(endpoint.serving, Condition::kTrue);
  EXPECT_EQ(endpoint.terminating, Condition::kFalse);
  EXPECT_EQ(text_of(endpoint.hostname), "web-0");
  EXPECT_EQ(text_of(endpoint.node_name), "node-1");
  EXPECT_EQ(text_of(endpoint.zone), "eu-1a");
  EXPECT_EQ(text_of(endpoint.hinted_zones), "eu-1a eu-1b");
  EXPECT_EQ(text_of(endpoint.hinted_nodes), "node-1");
}

TEST(Decode, NullListsOfASliceAreEmpty) {
  for (const std::string& json : {with(""), with(R"("ports":null,"endpoints":null)"),
                                  with(R"("ports":[],"endpoints":[],"addressType":null)")}) {
    const EndpointSlice slice = slice_of(json);
    EXPECT_EQ(slice.service, "");
    EXPECT_FALSE(slice.headless);
    EXPECT_TRUE(slice.ports.empty());
    EXPECT_TRUE(slice.endpoints.empty());
  }
}

TEST(Decode, ConditionsAreTrueFalseOrAbsent) {
  const std::pair<const char*, Condition> cases[] = {
      {"true", Condition::kTrue}, {"false", Condition::kFalse}, {"null", Condition::kAbsent}};
  for (const auto& [word, condition] : cases) {
    for (const char* key : {"ready", "serving", "terminating"}) {
      const auto slice = slice_of(with_endpoints(
          std::string(R"({"addresses":["10.0.0.1"],"conditions":{")") + key + "\":" + word + "}}"));
      ASSERT_EQ(slice.endpoints.size(), 1U);
      const SliceEndpoint& endpoint = slice.endpoints[0];
      const auto is = [&](const char* other) {
        return std::string(key) == other ? condition : Condition::kAbsent;
      };
      EXPECT_EQ(endpoint.ready, is("ready"));
      EXPECT_EQ(endpoint.serving, is("serving"));
      EXPECT_EQ(endpoint.terminating, is("terminating"));
    }
  }
  for (const char* conditions : {"", R"(,"conditions":null)", R"(,"conditions":{})"}) {
    const auto slice =
        slice_of(with_endpoints(std::string(R"({"addresses":["10.0.0.1"])") + conditions + "}"));
    ASSERT_EQ(slice.endpoints.size(), 1U);
    EXPECT_EQ(slice.endpoints[0].ready, Condition::kAbsent);
  }
}

TEST(Decode, OnlyTheFirstAddressOfAnEndpointCounts) {
  const EndpointSlice slice = slice_of(with_endpoints(
      R"({"addresses":["10.0.0.1","10.0.0.2"]},{"addresses":["fd00::1"]},
      {"addresses":["web","10.0.0.3"]},{"addresses":[]},{"addresses":null},{},
      {"addresses":["10.0.0.4"]})"));
  Texts addresses;
  for (const SliceEndpoint& endpoint : slice.endpoints) {
    addresses.push_back(to_string(endpoint.address));
  }
  EXPECT_EQ(addresses, (Texts{"10.0.0.1", "fd00::1", "10.0.0.4"}));
}

TEST(Decode, WhatAnEndpointDoesNotSayIsNone) {
  for (const char* more : {"", R"(,"hostname":null,"nodeName":null,"zone":null,"hints":null)",
                           R"(,"hostname":"","nodeName":"","zone":"","hints":{})",
                           R"(,"hints":{"forZones":null,"forNodes":[]})",
                           R"(,"hints":{"forRegions":[{"name":"eu"}]})"}) {
    const auto slice =
        slice_of(with_endpoints(std::string(R"({"addresses":["10.0.0.1"])") + more + "}"));
    ASSERT_EQ(slice.endpoints.size(), 1U);
    const SliceEndpoint& endpoint = slice.endpoints[0];
    for (const std::string* name : {endpoint.hostname, endpoint.node_name, endpoint.zone,
                                    endpoint.hinted_zones, endpoint.hinted_nodes}) {
      EXPECT_EQ(text_of(name), "none") << more;
    }
  }
}

TEST(Decode, EndpointsShareTheirNames) {
  const EndpointSlice slice = slice_of(with_endpoints(
      R"({"addresses":["10.0.0.1"],"zone":"eu-1a"},{"addresses":["10.0.0.2"],"zone":"eu-1a"})"));
  ASSERT_EQ(slice.endpoints.size(), 2U);
  EXPECT_EQ(slice.endpoints[0].zone, slice.endpoints[1].zone);
}

TEST(Decode, PortsOfASliceWithoutANumberAreDropped) {
  const EndpointSlice slice = slice_of(with(
      R"("ports":[{"name":"all","port":null},{"name":"every"},{"name":"none","port":0},
      {"name":"low","port":-1},{"name":"high","port":65536},
      {"name":"last","port":65535,"protocol":null},{"port":53,"protocol":"UDP"}])"));
  EXPECT_EQ(slice.ports, (std::vector<SlicePort>{{"last", "TCP", 65'535}, {"", "UDP", 53}}));
}

TEST(Decode, SlicesThatAreNotForAProxyAreToldApartAndNotRead) {
  const std::string more =
      R"("ports":[{"port":1}],"endpoints":[{"addresses":["web.example.com"]}])";
  for (const std::string& json :
       {R"({"metadata":{"name":"a","labels":{"service.kubernetes.io/headless":""}},)" + more + "}",
        R"({"metadata":{"name":"a","labels":{"service.kubernetes.io/headless":"x"}},)" + more + "}",
        R"({"metadata":{"name":"a"},"addressType":"FQDN",)" + more + "}"}) {
    const EndpointSlice slice = slice_of(json);
    EXPECT_TRUE(slice.headless) << json;
    EXPECT_TRUE(slice.endpoints.empty());
  }
  EXPECT_FALSE(slice_of(with(R"("addressType":"IPv6")")).headless);
  EXPECT_FALSE(slice_of(with(R"("addressType":"IPv9")")).headless);
}

TEST(Decode, ASliceWithAMemberOfTheWrongTypeIsUndecodableAndTheFaultNamesIt) {
  const auto endpoint = [](const std::string& members) {
    return with_endpoints(R"({"addresses":["10.0.0.1"],)" + members + "}");
  };
  const std::pair<std::string, const char*> cases[] = {
      {R"({"endpoints":[]})", "metadata: expected an object"},
      {with(R"("addressType":4)"), "addressType: expected a string"},
      {with(R"("ports":"http")"), "ports: expected an array"},
      {with(R"("ports":["http"])"), "ports: expected objects"},
      {with(R"("ports":[{"port":"http"}])"), "port: expected a whole number"},
      {with(R"("ports":[{"port":80,"protocol":6}])"), "protocol: expected a string"},
      {with(R"("endpoints":{})"), "endpoints: expected an array"},
      {with_endpoints("null"), "endpoints: expected objects"},
      {with_endpoints(R"({"addresses":"10.0.0.1"})"), "addresses: expected an array"},
      {with_endpoints(R"({"addresses":[1]})"), "addresses: expected strings"},
      {endpoint(R"("conditions":true)"), "conditions: expected an object"},
      {endpoint(R"("conditions":{"ready":"true"})"), "ready: expected true or false"},
      {endpoint(R"("conditions":{"serving":1})"), "serving: expected true or false"},
      {endpoint(R"("conditions":{"terminating":[]})"), "terminating: expected true or false"},
      {endpoint(R"("nodeName":1)"), "nodeName: expected a string"},
      {endpoint(R"("zone":{})"), "zone: expected a string"},
      {endpoint(R"("hints":[])"), "hints: expected an object"},
      {endpoint(R"("hints":{"forZones":["eu"]})"), "forZones: expected objects"},
      {endpoint(R"("hints":{"forNodes":[{"name":1}]})"), "name: expected a string"}};
  for (const auto& [json, fault] : cases) {
    EXPECT_EQ(slice_fault_of(json), fault) << json;
  }
}

TEST(Decode, OfANodeTheInternalAddressesCount) {
  const Node node = node_of(kNode);
  EXPECT_EQ(node.meta.name, (ServiceName{"", "node-1"}));
  EXPECT_EQ(node.pod_cidrs, (Texts{"10.0.1.0/24", "fd00:1::/64"}));
  ASSERT_EQ(node.internal_ips.size(), 2U);
  EXPECT_EQ(to_string(node.internal_ips[0]), "10.1.0.1");
  EXPECT_EQ(to_string(node.internal_ips[1]), "fd00:2::1");
  EXPECT_FALSE(node.to_be_deleted);
}

TEST(Decode, ANodeThatTheAutoscalerTakesAwayIsToldByItsTaint) {
  EXPECT_TRUE(
      node_of(with_spec(R"("taints":[{"key":"a"},{"key":"ToBeDeletedByClusterAutoscaler"},{}])"))
          .to_be_deleted);
  EXPECT_FALSE(node_of(with_spec(R"("taints":[{"key":"ToBeDeleted"}])")).to_be_deleted);
}

TEST(Decode, WhatANodeDoesNotSayIsNone) {
  for (const std::string& json :
       {with(""), with(R"("spec":null,"status":null)"),
        with(R"("spec":{"podCIDRs":null,"taints":null},"status":{"addresses":null})"),
        with(R"("status":{"addresses":[{},{"type":null},{"type":"InternalIP"},
             {"type":"InternalIP","address":"node-1"},
             {"type":"Beacon","address":"10.0.0.1"}]})")}) {
    const Node node = node_of(json);
    EXPECT_TRUE(node.internal_ips.empty());
    EXPECT_TRUE(node.pod_cidrs.empty());
    EXPECT_FALSE(node.to_be_deleted);
  }
}

TEST(Decode, ANodeWithAMemberOfTheWrongTypeIsUndecodableAndTheFaultNamesIt) {
  const std::pair<std::string, const char*> cases[] = {
      {with_spec(R"("podCIDRs":[1])"), "podCIDRs: expected strings"},
      {with_spec(R"("taints":["x"])"), "spec.taints: expected objects"},
      {with_spec(R"("taints":[{"key":1}])"), "key: expected a string"},
      {with(R"("status":{"addresses":["10.0.0.1"]})"), "status.addresses: expected objects"},
      {with(R"("status":{"addresses":[{"type":1}]})"), "type: expected a string"},
      {with(R"("status":{"addresses":[{"type":"InternalIP","address":1}]})"),
       "address: expected a string"}};
  for (const auto& [json, fault] : cases) {
    EXPECT_EQ(node_fault_of(json), fault) << json;
  }
}

}  // namespace
}  // namespace sluice::kubernetes
