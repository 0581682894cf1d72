// SPDX-License-Identifier: Apache-2.0
#include "controlplane/model/validate.h"

#include "controlplane/model/allocate.h"
#include "dataplane/net/headers.h"

#include <gtest/gtest.h>

#include <functional>

namespace sluice::model {
namespace {

ServiceInput good() {
  ServiceInput input;
  input.name = {"shop", "web"};
  input.type = "LoadBalancer";
  input.load_balancer_ips = {"203.0.113.10", "2001:db8:113::10"};
  input.ports = {{"http", "TCP", 80, 8080, 0, ""}, {"dns", "UDP", 53, 0, 0, ""}};
  input.endpoints = {{{"10.0.0.1"}, {}, "", "", "", "", {}, std::nullopt},
                     {{"10.0.0.2"}, {}, "", "", "", "", {{"http", 8081}}, 5}};
  return input;
}

struct Case {
  const char* claim;
  std::function<void(ServiceInput&)> change;
  const char* path;
};

const std::vector<Case>& wrong_services() {
  static const std::vector<Case> cases{
      {"a name with a dot", [](auto& s) { s.name.name = "we.b"; }, "s.metadata.name"},
      {"no name", [](auto& s) { s.name.name = ""; }, "s.metadata.name"},
      {"an upper-case namespace", [](auto& s) { s.name.space = "Shop"; }, "s.metadata.namespace"},
      {"an annotation of ours that does not exist",
       [](auto& s) { s.annotations["sluice.dev/x"] = "1"; },
       "s.metadata.annotations[sluice.dev/x]"},
      {"an unknown type", [](auto& s) { s.type = "Balancer"; }, "s.spec.type"},
      {"an unknown mode", [](auto& s) { s.mode = "NAT"; }, "s.spec.forwarding.mode"},
      {"neither refused nor dropped", [](auto& s) { s.no_endpoints = "reject"; },
       "s.spec.forwarding.noEndpoints"},
      {"an empty annotation of ours",
       [](auto& s) { s.annotations["sluice.dev/allow-shared-ip"] = ""; },
       "s.metadata.annotations[sluice.dev/allow-shared-ip]"},
      {"a VIP of a cluster service", [](auto& s) { s.type = "ClusterIP"; },
       "s.spec.loadBalancerIPs[0]"},
      {"source ranges of a cluster service",
       [](auto& s) {
         s.type = "";
         s.load_balancer_ips.clear();
         s.source_ranges = {"10.0.0.0/8"};
       },
       "s.spec.loadBalancerSourceRanges"},
      {"a headless service",
       [](auto& s) {
         s.type = "ClusterIP";
         s.load_balancer_ips.clear();
         s.cluster_ip = "None";
       },
       "s.spec.clusterIP"},
      {"no cluster address, and one",
       [](auto& s) {
         s.cluster_ips = {"None", "10.96.0.1"};
       },
       "s.spec.clusterIPs[1]"},
      {"two cluster addresses that differ",
       [](auto& s) {
         s.cluster_ip = "10.96.0.1";
         s.cluster_ips = {"10.96.0.2"};
       },
       "s.spec.clusterIP"},
      {"two cluster addresses of one family",
       [](auto& s) {
         s.cluster_ips = {"10.96.0.1", "10.96.0.2"};
       },
       "s.spec.clusterIPs[1]"},
      {"three cluster addresses",
       [](auto& s) {
         s.cluster_ips = {"10.96.0.1", "2001:db8::1", "10.96.0.2"};
       },
       "s.spec.clusterIPs"},
      {"a cluster address that is none", [](auto& s) { s.cluster_ips = {"web"}; },
       "s.spec.clusterIPs[0]"},
      {"an external address given twice",
       [](auto& s) {
         s.external_ips = {"192.0.2.33", "192.0.2.33"};
       },
       "s.spec.externalIPs[1]"},
      {"a multicast external address", [](auto& s) { s.external_ips = {"224.0.0.1"}; },
       "s.spec.externalIPs[0]"},
      {"an unknown family",
       [](auto& s) {
         s.ip_families = {"IPv4", "IPv5", "IPv6"};
       },
       "s.spec.ipFamilies[1]"},
      {"a family given twice",
       [](auto& s) {
         s.ip_families = {"IPv4", "IPv6", "IPv4"};
       },
       "s.spec.ipFamilies[2]"},
      {"an unknown family policy", [](auto& s) { s.ip_family_policy = "DualStack"; },
       "s.spec.ipFamilyPolicy"},
      {"one stack and two families",
       [](auto& s) {
         s.load_balancer_ips.clear();
         s.ip_families = {"IPv4", "IPv6"};
         s.ip_family_policy = "SingleStack";
       },
       "s.spec.ipFamilyPolicy"},
      {"one stack and addresses of both", [](auto& s) { s.ip_family_policy = "SingleStack"; },
       "s.spec.ipFamilyPolicy"},
      {"two stacks and addresses of one",
       [](auto& s) {
         s.load_balancer_ips.pop_back();
         s.ip_family_policy = "RequireDualStack";
       },
       "s.spec.ipFamilyPolicy"},
      {"an address of a family that is not named", [](auto& s) { s.ip_families = {"IPv4"}; },
       "s.spec.loadBalancerIPs[1]"},
      {"a bad address", [](auto& s) { s.load_balancer_ips[1] = "203.0.113.300"; },
       "s.spec.loadBalancerIPs[1]"},
      {"a multicast VIP", [](auto& s) { s.load_balancer_ips[0] = "224.0.0.1"; },
       "s.spec.loadBalancerIPs[0]"},
      {"a loopback VIP", [](auto& s) { s.load_balancer_ips[1] = "::1"; },
       "s.spec.loadBalancerIPs[1]"},
      {"an IPv4-mapped VIP", [](auto& s) { s.load_balancer_ips[1] = "::ffff:203.0.113.10"; },
       "s.spec.loadBalancerIPs[1]"},
      {"an IPv4-compatible VIP", [](auto& s) { s.load_balancer_ips[1] = "::203.0.113.10"; },
       "s.spec.loadBalancerIPs[1]"},
      {"a VIP of this network", [](auto& s) { s.load_balancer_ips[0] = "0.1.2.3"; },
       "s.spec.loadBalancerIPs[0]"},
      {"a reserved VIP", [](auto& s) { s.load_balancer_ips[0] = "240.0.0.1"; },
       "s.spec.loadBalancerIPs[0]"},
      {"a link-local VIP", [](auto& s) { s.load_balancer_ips[1] = "fe80::1"; },
       "s.spec.loadBalancerIPs[1]"},
      {"a VIP given twice", [](auto& s) { s.load_balancer_ip = "203.0.113.10"; },
       "s.spec.loadBalancerIP"},
      {"a source range without a length", [](auto& s) { s.source_ranges = {"10.0.0.0"}; },
       "s.spec.loadBalancerSourceRanges[0]"},
      {"a source range of 33 bits",
       [](auto& s) {
         s.source_ranges = {"0.0.0.0/0", "10.0.0.0/33"};
       },
       "s.spec.loadBalancerSourceRanges[1]"},
      {"more source ranges than a list has",
       [](auto& s) { s.source_ranges.assign(10'001, "10.0.0.0/8"); },
       "s.spec.loadBalancerSourceRanges"},
      {"a denied range that is a name", [](auto& s) { s.deny_source_ranges = {"home"}; },
       "s.spec.forwarding.denySourceRanges[0]"},
      {"no port",
       [](auto& s) {
         s.ports.clear();
         s.endpoints[1].ports.clear();
       },
       "s.spec.ports"},
      {"port 0", [](auto& s) { s.ports[0].port = 0; }, "s.spec.ports[0].port"},
      {"port 65536", [](auto& s) { s.ports[1].port = 65'536; }, "s.spec.ports[1].port"},
      {"a negative target port", [](auto& s) { s.ports[0].target_port = -1; },
       "s.spec.ports[0].targetPort"},
      {"an unknown protocol", [](auto& s) { s.ports[0].protocol = "tcp"; },
       "s.spec.ports[0].protocol"},
      {"two ports without names", [](auto& s) { s.ports[1].name = ""; }, "s.spec.ports[1].name"},
      {"two ports of one name", [](auto& s) { s.ports[1].name = "http"; }, "s.spec.ports[1].name"},
      {"a frontend given twice", [](auto& s) { s.ports[1] = {"again", "TCP", 80, 1, 0, ""}; },
       "s.spec.ports[1].port"},
      {"a node port that is none", [](auto& s) { s.ports[1].node_port = 70'000; },
       "s.spec.ports[1].nodePort"},
      {"a node port given twice",
       [](auto& s) {
         s.ports[0].node_port = 30'080;
         s.ports[1] = {"again", "TCP", 81, 1, 30'080, ""};
       },
       "s.spec.ports[1].nodePort"}};
  return cases;
}

const std::vector<Case>& wrong_options() {
  static const std::vector<Case> cases{
      {"an affinity of another kind", [](auto& s) { s.session_affinity = "Cookie"; },
       "s.spec.sessionAffinity"},
      {"an affinity timeout without affinity", [](auto& s) { s.has_affinity_config = true; },
       "s.spec.sessionAffinityConfig"},
      {"an affinity of no time",
       [](auto& s) {
         s.session_affinity = "ClientIP";
         s.affinity_seconds = 0;
       },
       "s.spec.sessionAffinityConfig.clientIP.timeoutSeconds"},
      {"an affinity of more than a day",
       [](auto& s) {
         s.session_affinity = "ClientIP";
         s.affinity_seconds = 86'401;
       },
       "s.spec.sessionAffinityConfig.clientIP.timeoutSeconds"},
      {"a timer without a unit", [](auto& s) { s.udp_timer = "60"; },
       "s.spec.forwarding.timers.udp"},
      {"a UDP timer below a second", [](auto& s) { s.udp_timer = "999ms"; },
       "s.spec.forwarding.timers.udp"},
      {"a UDP timer of more than a day", [](auto& s) { s.udp_timer = "24h1s"; },
       "s.spec.forwarding.timers.udp"},
      {"an established timer of 9 s",
       [](auto& s) {
         s.tcp_established_timer = "9s";
         s.tcp_transitory_timer = "5s";
       },
       "s.spec.forwarding.timers.tcpEstablished"},
      {"an established timer below the transitory one",
       [](auto& s) { s.tcp_established_timer = "1m"; }, "s.spec.forwarding.timers.tcpEstablished"},
      {"a transitory timer of more than an hour", [](auto& s) { s.tcp_transitory_timer = "61m"; },
       "s.spec.forwarding.timers.tcpTransitory"},
      {"an MSS below what every host takes", [](auto& s) { s.mss_clamp = 535; },
       "s.spec.forwarding.mssClamp"},
      {"an MSS above any MTU", [](auto& s) { s.mss_clamp = 8'961; }, "s.spec.forwarding.mssClamp"},
      {"a drain deadline of nothing", [](auto& s) { s.drain_deadline = "0s"; },
       "s.spec.forwarding.drainDeadline"},
      {"an unknown word for removals", [](auto& s) { s.on_endpoint_removal = "drop"; },
       "s.spec.forwarding.onEndpointRemoval"}};
  return cases;
}

const std::vector<Case>& wrong_endpoints() {
  static const std::vector<Case> cases{
      {"an endpoint without an address", [](auto& s) { s.endpoints[0].addresses.clear(); },
       "s.spec.endpoints[0].addresses"},
      {"an endpoint with two addresses",
       [](auto& s) { s.endpoints[0].addresses.push_back("10.0.0.9"); },
       "s.spec.endpoints[0].addresses"},
      {"an endpoint with a name for an address",
       [](auto& s) { s.endpoints[0].addresses[0] = "web-1"; }, "s.spec.endpoints[0].addresses[0]"},
      {"weight 0", [](auto& s) { s.endpoints[1].weight = 0; }, "s.spec.endpoints[1].weight"},
      {"weight 101", [](auto& s) { s.endpoints[1].weight = 101; }, "s.spec.endpoints[1].weight"},
      {"a port override for no port",
       [](auto& s) {
         s.endpoints[1].ports = {{"https", 1}};
       },
       "s.spec.endpoints[1].ports[https]"},
      {"a port override below 0", [](auto& s) { s.endpoints[1].ports["http"] = -1; },
       "s.spec.endpoints[1].ports[http]"},
      {"an endpoint given twice", [](auto& s) { s.endpoints[1] = s.endpoints[0]; },
       "s.spec.endpoints[1].addresses[0]"},
      {"an endpoint given twice in other words",
       [](auto& s) {
         s.endpoints[1] = s.endpoints[0];
         s.endpoints[1].ports = {{"http", 8080}, {"dns", 54}};
       },
       "s.spec.endpoints[1].addresses[0]"},
      {"more VIPs than anybody has",
       [](auto& s) { s.load_balancer_ips.assign(101, "203.0.113.10"); }, "s.spec.loadBalancerIPs"},
      {"more ports than anybody has",
       [](auto& s) {
         s.ports.assign(101, s.ports[0]);
         s.endpoints[1].ports.clear();
       },
       "s.spec.ports"},
      {"more endpoints than fit a table",
       [](auto& s) { s.endpoints.assign(65'536, s.endpoints[0]); }, "s.spec.endpoints"}};
  return cases;
}

const std::vector<Case>& later() {
  static const std::vector<Case> cases{
      {"TUNNEL", [](auto& s) { s.mode = "TUNNEL"; }, "s.spec.forwarding.mode"},
      {"networks", [](auto& s) { s.network = "blue"; }, "s.spec.forwarding.network"},
      {"networks of endpoints", [](auto& s) { s.endpoints[0].network = "blue"; },
       "s.spec.endpoints[0].network"},
      {"SCTP", [](auto& s) { s.ports[0].protocol = "SCTP"; }, "s.spec.ports[0].protocol"},
      {"a field noted by the API", [](auto& s) { s.later = {"spec.healthCheckNodePort"}; },
       "s.spec.healthCheckNodePort"}};
  return cases;
}

TEST(Validate, AGoodServiceHasNoFaultAndItsDefaultsFilledIn) {
  Faults faults;
  const Service service = validate(good(), "s", faults);
  EXPECT_TRUE(faults.empty());
  EXPECT_EQ(service.vips.size(), 2U);
  EXPECT_EQ(service.ports[1].target_port, 53) << "absent: the same as port";
  EXPECT_EQ(service.ports[0].protocol, kProtocolTcp);
  EXPECT_EQ(service.ports[1].protocol, kProtocolUdp);
  EXPECT_EQ(service.endpoints[0].weight, 1);
  EXPECT_EQ(service.endpoints[1].weight, 5);
  EXPECT_EQ(service.endpoints[1].ports.at("http"), 8081);
}

TEST(Validate, OneAddressServesTwiceWhenEachPortOfItIsAnother) {
  ServiceInput input = good();
  input.endpoints[1].addresses = input.endpoints[0].addresses;
  input.endpoints[1].ports = {{"http", 8081}, {"dns", 54}};
  Faults faults;
  EXPECT_EQ(validate(input, "s", faults).endpoints.size(), 2U);
  EXPECT_TRUE(faults.empty());
}

TEST(Validate, PortZeroOfAnEndpointSaysThatItIsNotBehindThatPort) {
  ServiceInput input = good();
  input.endpoints[1].addresses = input.endpoints[0].addresses;
  input.endpoints[0].ports = {{"http", 0}};
  input.endpoints[1].ports = {{"dns", 0}};
  Faults faults;
  EXPECT_EQ(validate(input, "s", faults).endpoints[0].ports.at("http"), 0);
  EXPECT_TRUE(faults.empty());
}

TEST(Validate, SourceRangesLoseTheSpacesAroundThemAndTheirHostBitsAsInKubernetes) {
  ServiceInput input = good();
  input.source_ranges = {" 10.1.2.3/8 ", "2001:db8::1/32", "0.0.0.0/0"};
  Faults faults;
  const ServiceOptions options = validate(input, "s", faults).options;
  EXPECT_TRUE(faults.empty());
  ASSERT_EQ(options.source_ranges.size(), 3U);
  EXPECT_EQ(to_string(options.source_ranges[0]), "10.0.0.0/8");
  EXPECT_EQ(to_string(options.source_ranges[1]), "2001:db8::/32");
  EXPECT_EQ(to_string(options.source_ranges[2]), "0.0.0.0/0");
}

TEST(Validate, AffinityIsThreeHoursUnlessItIsSaid) {
  ServiceInput input = good();
  Faults faults;
  EXPECT_EQ(validate(input, "s", faults).options.affinity_seconds, 0U);
  input.session_affinity = "ClientIP";
  EXPECT_EQ(validate(input, "s", faults).options.affinity_seconds, 10'800U);
  input.affinity_seconds = 86'400;
  EXPECT_EQ(validate(input, "s", faults).options.affinity_seconds, 86'400U);
  EXPECT_TRUE(faults.empty());
}

TEST(Validate, AServiceDropsWithoutEndpointsUnlessItRefuses) {
  for (const char* word : {"", "drop", "refuse"}) {
    ServiceInput input = good();
    input.no_endpoints = word;
    Faults faults;
    EXPECT_EQ(validate(input, "s", faults).refuses, std::string(word) == "refuse");
    EXPECT_TRUE(faults.empty());
  }
}

TEST(Validate, AnEmptyNamespaceIsDefault) {
  ServiceInput input = good();
  input.name.space.clear();
  Faults faults;
  EXPECT_EQ(validate(input, "s", faults).name.space, "default");
}

TEST(Validate, EveryRuleNamesTheFieldThatBreaksIt) {
  for (const auto* cases : {&wrong_services(), &wrong_options(), &wrong_endpoints()}) {
    for (const Case& test : *cases) {
      SCOPED_TRACE(test.claim);
      ServiceInput input = good();
      test.change(input);
      Faults faults;
      validate(input, "s", faults);
      ASSERT_EQ(faults.invalid.size(), 1U);
      EXPECT_EQ(faults.invalid[0].path, test.path);
      EXPECT_TRUE(faults.unimplemented.empty());
      EXPECT_EQ(faults.to_error().code, Code::kInvalidArgument);
    }
  }
}

TEST(Validate, WhatComesLaterIsRefusedByNameAndNotAsAMistake) {
  for (const Case& test : later()) {
    SCOPED_TRACE(test.claim);
    ServiceInput input = good();
    test.change(input);
    Faults faults;
    validate(input, "s", faults);
    ASSERT_EQ(faults.unimplemented.size(), 1U);
    EXPECT_EQ(faults.unimplemented[0].path, test.path);
    EXPECT_TRUE(faults.invalid.empty());
    EXPECT_EQ(faults.to_error().code, Code::kUnimplemented);
  }
}

TEST(Validate, AllFaultsComeInOneAnswer) {
  ServiceInput input = good();
  input.load_balancer_ips[0] = "nowhere";
  input.ports[0].port = 0;
  input.endpoints[1].weight = 1'000;
  input.mode = "TUNNEL";
  Faults faults;
  validate(input, "s", faults);
  const Error error = faults.to_error();
  EXPECT_EQ(error.faults.size(), 4U);
  EXPECT_EQ(error.code, Code::kInvalidArgument) << "a mistake outweighs what comes later";
}

TEST(Validate, LabelsAreThoseOfRfc1123) {
  for (const char* name : {"a", "a-b", "0", "a1234567890"}) {
    EXPECT_TRUE(is_label(name)) << name;
  }
  for (const char* name : {"", "-a", "a-", "A", "a.b", "a_b", " a"}) {
    EXPECT_FALSE(is_label(name)) << name;
  }
  EXPECT_TRUE(is_label(std::string(63, 'a')));
  EXPECT_FALSE(is_label(std::string(64, 'a')));
}

TEST(Validate, NodePortsAreOfTheTypesThatHaveThem) {
  const auto fault_of = [](const char* type, int node_port, std::optional<bool> allocates) {
    ServiceInput input = good();
    input.type = type;
    input.load_balancer_ips.clear();
    input.ports[0].node_port = node_port;
    input.allocate_node_ports = allocates;
    Faults faults;
    const Service service = validate(input, "s", faults);
    return faults.invalid.empty() ? std::string(service.allocates_node_ports ? "chosen" : "none")
                                  : faults.invalid[0].path;
  };
  EXPECT_EQ(fault_of("NodePort", 30'080, {}), "chosen");
  EXPECT_EQ(fault_of("LoadBalancer", 0, {}), "chosen");
  EXPECT_EQ(fault_of("LoadBalancer", 30'080, false), "none") << "but for the one that is named";
  EXPECT_EQ(fault_of("ClusterIP", 0, {}), "none");
  EXPECT_EQ(fault_of("ClusterIP", 30'080, {}), "s.spec.ports[0].nodePort");
  EXPECT_EQ(fault_of("NodePort", 0, true), "s.spec.allocateLoadBalancerNodePorts");
}

ServiceInput external_name() {
  ServiceInput input;
  input.name = {"shop", "partner"};
  input.type = "ExternalName";
  input.external_name = "api.example.com";
  input.annotations[kExposeExternalNameAnnotation] = "true";
  input.load_balancer_ips = {"203.0.113.10"};
  input.ports = {{"https", "TCP", 443, 0, 0, ""}};
  return input;
}

// The only fault of a service, or "" without any.
std::string only_fault(const ServiceInput& input) {
  Faults faults;
  validate(input, "s", faults);
  EXPECT_TRUE(faults.unimplemented.empty());
  EXPECT_LE(faults.invalid.size(), 1U);
  return faults.invalid.empty() ? "" : faults.invalid[0].path;
}

TEST(Validate, AnExternalNameIsExposedOnlyWhenItIsAskedForAndNamesAHost) {
  EXPECT_EQ(only_fault(external_name()), "");
  const std::vector<std::pair<std::function<void(ServiceInput&)>, std::string>> cases{
      {[](auto& s) { s.annotations.clear(); },
       "s.metadata.annotations[sluice.dev/expose-external-name]"},
      {[](auto& s) { s.annotations[kExposeExternalNameAnnotation] = "false"; },
       "s.metadata.annotations[sluice.dev/expose-external-name]"},
      {[](auto& s) { s.external_name = ""; }, "s.spec.externalName"},
      {[](auto& s) { s.external_name = "no_such.example.com"; }, "s.spec.externalName"},
      {[](auto& s) { s.external_name = "a..b"; }, "s.spec.externalName"},
      {[](auto& s) { s.external_name = std::string(64, 'a') + ".com"; }, "s.spec.externalName"},
      {[](auto& s) {
         s.endpoints = good().endpoints;
         s.endpoints.resize(1);
       },
       "s.spec.endpoints"},
      {[](auto& s) { s.selector["a"] = "b"; }, "s.spec.selector"},
      {[](auto& s) { s.cluster_ip = "10.96.0.1"; }, "s.spec.clusterIPs"},
      {[](auto& s) { s.internal_traffic_policy = "Local"; }, "s.spec.internalTrafficPolicy"},
      {[](auto& s) { s.publish_not_ready = true; }, "s.spec.publishNotReadyAddresses"},
      {[](auto& s) { s.external_traffic_policy = "Local"; }, "s.spec.externalTrafficPolicy"},
      {[](auto& s) { s.ports[0].node_port = 30'080; }, "s.spec.ports[0].nodePort"}};
  for (const auto& [change, path] : cases) {
    ServiceInput input = external_name();
    change(input);
    EXPECT_EQ(only_fault(input), path);
  }
  EXPECT_TRUE(is_domain_name("API.Example.com."));
  EXPECT_FALSE(is_domain_name("."));
}

TEST(Validate, TrafficPoliciesAndClassesAreOfTheServicesThatHaveThem) {
  const auto fault_of = [](const std::string& type,
                           const std::function<void(ServiceInput&)>& change) {
    ServiceInput input = good();
    input.type = type;
    input.load_balancer_ips.clear();
    change(input);
    return only_fault(input);
  };
  const auto local = [](auto& s) { s.external_traffic_policy = "Local"; };
  EXPECT_EQ(fault_of("LoadBalancer", local), "");
  EXPECT_EQ(fault_of("NodePort", local), "");
  EXPECT_EQ(fault_of("ClusterIP", local), "s.spec.externalTrafficPolicy");
  EXPECT_EQ(fault_of("ClusterIP",
                     [](auto& s) {
                       s.external_traffic_policy = "Local";
                       s.external_ips = {"192.0.2.33"};
                     }),
            "");
  EXPECT_EQ(fault_of("ClusterIP", [](auto& s) { s.internal_traffic_policy = "Local"; }), "");
  EXPECT_EQ(fault_of("NodePort", [](auto& s) { s.internal_traffic_policy = "Near"; }),
            "s.spec.internalTrafficPolicy");
  EXPECT_EQ(fault_of("LoadBalancer", [](auto& s) { s.load_balancer_class = "sluice.dev/gateway"; }),
            "");
  EXPECT_EQ(fault_of("LoadBalancer", [](auto& s) { s.load_balancer_class = "x/y"; }),
            "s.spec.loadBalancerClass");
  EXPECT_EQ(fault_of("NodePort", [](auto& s) { s.load_balancer_class = "sluice.dev/gateway"; }),
            "s.spec.loadBalancerClass");
  EXPECT_EQ(fault_of("Headless", [](auto&) {}), "s.spec.type");
  EXPECT_EQ(fault_of("NodePort", [](auto& s) { s.external_name = "a.b"; }), "s.spec.externalName");
}

}  // namespace
}  // namespace sluice::model
