// SPDX-License-Identifier: Apache-2.0
#include "controlplane/api/convert.h"

#include "controlplane/model/validate.h"

#include <google/protobuf/text_format.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <functional>

namespace sluice::api {
namespace {

v1::Service parse(const std::string& text) {
  v1::Service service;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &service)) << text;
  return service;
}

v1::Service full() {
  return parse(R"(
    metadata { name: "web" namespace: "shop"
               labels { key: "tier" value: "front" } annotations { key: "who" value: "me" } }
    spec { type: "LoadBalancer" load_balancer_ips: "203.0.113.10" load_balancer_ips: "2001:db8:113::10"
           ports { name: "http" port: 80 target_port: 8080 app_protocol: "http" }
           ports { name: "dns" protocol: "UDP" port: 53 }
           endpoints { addresses: "10.0.0.1" hostname: "h" node_name: "n" zone: "z"
                       conditions { ready: false serving: true terminating: true } weight: 7 }
           endpoints { addresses: "2001:db8::9" ports { key: "http" value: 8081 } }
           load_balancer_source_ranges: "192.0.2.0/24"
           load_balancer_source_ranges: "2001:db8::/32"
           session_affinity: "ClientIP"
           session_affinity_config { client_ip { timeout_seconds: 600 } }
           forwarding { deny_source_ranges: "192.0.2.128/25" mss_clamp: 1400 drain_deadline: "1m30s"
                        timers { udp: "1500ms" tcp_established: "2h" } } }
  )");
}

model::Service validated(const v1::Service& message) {
  model::Faults faults;
  model::Service service = model::validate(to_input(message), "s", faults);
  EXPECT_TRUE(faults.empty()) << (faults.empty() ? "" : faults.to_error().message);
  return service;
}

v1::Service told(const model::Service& service) {
  runtime::ServiceView view;
  view.service = service;
  v1::Service message;
  fill(view, message);
  return message;
}

TEST(Convert, TheForwardingModeComesBack) {
  for (const char* mode : {"DNAT", "FULL_NAT"}) {
    v1::Service message = full();
    message.mutable_spec()->mutable_forwarding()->set_mode(mode);
    EXPECT_EQ(told(validated(message)).spec().forwarding().mode(), mode);
  }
}

TEST(Convert, WhatHappensToFlowsOfARemovedEndpointComesBack) {
  for (const char* word : {"keep", "reset"}) {
    v1::Service message = full();
    message.mutable_spec()->mutable_forwarding()->set_on_endpoint_removal(word);
    EXPECT_EQ(told(validated(message)).spec().forwarding().on_endpoint_removal(), word);
  }
}

TEST(Convert, AServiceComesBackAsItWasWrittenWithItsDefaultsSpeltOut) {
  const v1::Service back = told(validated(full()));
  v1::Service expected = full();
  v1::ServiceSpec& spec = *expected.mutable_spec();
  spec.set_type("LoadBalancer");
  spec.set_external_traffic_policy("Cluster");
  spec.set_internal_traffic_policy("Cluster");
  spec.set_allocate_load_balancer_node_ports(true);
  spec.mutable_forwarding()->set_no_endpoints("drop");
  spec.mutable_forwarding()->set_on_endpoint_removal("keep");
  spec.mutable_ports(0)->set_protocol("TCP");
  spec.mutable_ports(1)->set_target_port(53);
  google::protobuf::util::MessageDifferencer differencer;
  std::string difference;
  differencer.ReportDifferencesToString(&difference);
  EXPECT_TRUE(differencer.Compare(expected.spec(), back.spec())) << difference;
  EXPECT_EQ(back.metadata().labels().at("tier"), "front");
  EXPECT_EQ(back.metadata().annotations().at("who"), "me");
}

TEST(Convert, WhatIsToldCanBeWrittenAgainAndMeansTheSame) {
  const model::Service once = validated(full());
  EXPECT_EQ(validated(told(once)), once);
}

TEST(Convert, TheSingleAddressIsAListOfOne) {
  v1::Service message = full();
  message.mutable_spec()->clear_load_balancer_ips();
  message.mutable_spec()->set_load_balancer_ip("203.0.113.11");
  const v1::Service back = told(validated(message));
  ASSERT_EQ(back.spec().load_balancer_ips_size(), 1);
  EXPECT_EQ(back.spec().load_balancer_ips(0), "203.0.113.11");
}

TEST(Convert, AbsentConditionsStayAbsent) {
  const model::Service service = validated(full());
  EXPECT_EQ(service.endpoints[1].conditions, model::Conditions{});
  EXPECT_FALSE(told(service).spec().endpoints(1).has_conditions());
}

// Every field of the proto that is marked [later], with a value that asks for it.
TEST(Convert, EachFieldThatComesLaterIsRefusedUnderItsPath) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"spec { health_check_node_port: 30000 }", "s.spec.healthCheckNodePort"},
      {"spec { ports { name: 'p' port: 81 protocol: 'SCTP' } }", "s.spec.ports[2].protocol"},
      {"spec { endpoints { addresses: '10.0.0.9' network: 'blue' } }",
       "s.spec.endpoints[2].network"},
      {"spec { forwarding { mode: 'TUNNEL' } }", "s.spec.forwarding.mode"},
      {"spec { forwarding { network: 'blue' } }", "s.spec.forwarding.network"}};
  for (const auto& [change, path] : cases) {
    SCOPED_TRACE(change);
    v1::Service message = full();
    message.MergeFrom(parse(change));
    model::Faults faults;
    model::validate(to_input(message), "s", faults);
    EXPECT_TRUE(faults.invalid.empty());
    ASSERT_EQ(faults.unimplemented.size(), 1U);
    EXPECT_EQ(faults.unimplemented[0].path, path);
  }
}

TEST(Convert, AnExternalNameComesBackWithoutTheAddressesThatWereFound) {
  const v1::Service message = parse(R"(
    metadata { name: "web" annotations { key: "sluice.dev/expose-external-name" value: "true" } }
    spec { type: "ExternalName" external_name: "api.example.com" ports { port: 443 } })");
  model::Service service = validated(message);
  service.endpoints.emplace_back().address = *parse_ip("192.0.2.7");
  const v1::ServiceSpec spec = told(service).spec();
  EXPECT_EQ(spec.type(), "ExternalName");
  EXPECT_EQ(spec.external_name(), "api.example.com");
  EXPECT_EQ(spec.endpoints_size(), 0);
  EXPECT_EQ(spec.internal_traffic_policy(), "");
}

TEST(Convert, WhatAServiceChoosesEndpointsByComesBack) {
  const v1::Service message = parse(R"(
    metadata { name: "web" } spec {
      type: "LoadBalancer" external_traffic_policy: "Local" internal_traffic_policy: "Local"
      load_balancer_class: "sluice.dev/gateway" publish_not_ready_addresses: true
      selector { key: "app" value: "web" } ports { port: 80 }
      endpoints { addresses: "10.0.0.1" labels { key: "app" value: "web" } } })");
  const v1::ServiceSpec spec = told(validated(message)).spec();
  EXPECT_EQ(spec.external_traffic_policy(), "Local");
  EXPECT_EQ(spec.internal_traffic_policy(), "Local");
  EXPECT_EQ(spec.load_balancer_class(), "sluice.dev/gateway");
  EXPECT_TRUE(spec.publish_not_ready_addresses());
  EXPECT_EQ(spec.selector().at("app"), "web");
  EXPECT_EQ(spec.endpoints(0).labels().at("app"), "web");
}

TEST(Convert, ANodePortServiceComesBackWithItsNodePorts) {
  const v1::Service message = parse(R"(
    metadata { name: "web" } spec { type: "NodePort" ports { port: 80 node_port: 30080 } })");
  const v1::ServiceSpec spec = told(validated(message)).spec();
  EXPECT_EQ(spec.type(), "NodePort");
  EXPECT_EQ(spec.ports(0).node_port(), 30'080);
  EXPECT_EQ(spec.external_traffic_policy(), "Cluster");
  EXPECT_FALSE(spec.has_allocate_load_balancer_node_ports()) << "of the other type alone";
}

TEST(Convert, AClusterServiceComesBackWithItsAddresses) {
  const v1::Service message = parse(R"(
    metadata { name: "web" } spec { cluster_ip: "10.96.0.5" external_ips: "192.0.2.33"
                                    ports { port: 80 } })");
  const v1::ServiceSpec spec = told(validated(message)).spec();
  EXPECT_EQ(spec.type(), "ClusterIP");
  EXPECT_EQ(spec.cluster_ip(), "10.96.0.5");
  ASSERT_EQ(spec.cluster_ips_size(), 1);
  EXPECT_EQ(spec.cluster_ips(0), "10.96.0.5");
  EXPECT_EQ(spec.external_ips(0), "192.0.2.33");
  EXPECT_EQ(told(validated(told(validated(message)))).spec().cluster_ips_size(), 1);
}

TEST(Convert, FieldsThatAreNotInTheSchemaAreFoundByPath) {
  v1::ApplyRequest request;
  v1::Service& service = *request.add_upsert();
  service.mutable_spec()->add_ports();
  v1::ServicePort& port = *service.mutable_spec()->add_ports();
  EXPECT_TRUE(unknown_fields(request).empty());
  port.GetReflection()->MutableUnknownFields(&port)->AddVarint(99, 1);
  request.GetReflection()->MutableUnknownFields(&request)->AddVarint(77, 1);
  EXPECT_EQ(unknown_fields(request),
            (std::vector<std::string>{"#77", "upsert[0].spec.ports[1].#99"}));
}

TEST(Convert, IdentityIsWhatTheWriterClaims) {
  v1::ObjectMeta metadata;
  EXPECT_TRUE(to_identity(metadata).empty());
  metadata.set_uid("u");
  metadata.mutable_creation_timestamp()->set_seconds(5);
  EXPECT_EQ(to_identity(metadata).uid, "u");
  EXPECT_EQ(to_identity(metadata).created_seconds, 5);
  metadata.mutable_creation_timestamp()->set_nanos(1);
  EXPECT_NE(to_identity(metadata).created_seconds, 5) << "the gateway's are whole seconds";
}

TEST(Convert, StatusTellsWhatIsServedAndWhyNot) {
  runtime::ServiceView view;
  view.service = validated(full());
  runtime::PortView dead{"http", Family::kIpv4, {80, 6}, false, {}};
  dead.endpoints.push_back(
      {{*parse_ip("10.0.0.1"), 8080, 1, 3, BindingState::kDraining, "terminating"}, {}});
  view.ports = {dead, {"http", Family::kIpv6, {80, 6}, true, {}}};
  v1::Service message;
  fill(view, message);
  const v1::ServiceStatus& status = message.status();
  ASSERT_EQ(status.frontends_size(), 2);
  EXPECT_EQ(status.frontends(0).address(), "203.0.113.10");
  EXPECT_FALSE(status.frontends(0).served());
  EXPECT_EQ(status.frontends(0).reason(), "no endpoint is ready");
  EXPECT_TRUE(status.frontends(1).served());
  EXPECT_TRUE(status.frontends(1).reason().empty());
  ASSERT_EQ(status.endpoints_size(), 1);
  EXPECT_EQ(status.endpoints(0).state(), "draining");
  EXPECT_EQ(status.endpoints(0).reason(), "terminating");
}

TEST(Convert, WhatIsShutToClustersServesByNodePortsOrNotAtAll) {
  runtime::ServiceView view;
  view.service = validated(full());
  view.service.vips.clear();
  view.service.cluster_ips = {*parse_ip("10.96.0.1")};
  view.service.internal_local = true;
  view.ports = {{"http", Family::kIpv4, {80, 6}, true, {}}};
  const auto is_serving = [&] {
    v1::Service message;
    fill(view, message);
    EXPECT_FALSE(message.status().frontends(0).served());
    const auto& conditions = message.status().conditions();
    return std::any_of(conditions.begin(), conditions.end(), [](const auto& condition) {
      return condition.type() == "Serving" && condition.status() == "True";
    });
  };
  view.service.ports[0].node_port = 0;
  EXPECT_FALSE(is_serving());
  view.service.ports[0].node_port = 30'080;
  EXPECT_TRUE(is_serving());
}

TEST(Convert, ChosenAddressesAreTheStatusAndNotTheSpec) {
  runtime::ServiceView view;
  view.service = validated(full());
  view.service.vips_chosen = true;
  view.service.families = {Family::kIpv6, Family::kIpv4};
  view.service.family_policy = model::FamilyPolicy::kPreferDualStack;
  v1::Service message;
  fill(view, message);
  EXPECT_EQ(message.spec().load_balancer_ips_size(), 0);
  EXPECT_EQ(message.spec().ip_families(0), "IPv6");
  EXPECT_EQ(message.spec().ip_family_policy(), "PreferDualStack");
  ASSERT_EQ(message.status().load_balancer().ingress_size(), 2);
  EXPECT_EQ(message.status().load_balancer().ingress(0).ip(), "203.0.113.10");
  EXPECT_EQ(message.status().load_balancer().ingress(0).ip_mode(), "VIP");
  const model::Service again = validated(message);
  EXPECT_EQ(again.families, view.service.families);
  EXPECT_EQ(again.family_policy, view.service.family_policy);
}

TEST(Convert, WhoWaitsForAnAddressIsToldWhy) {
  runtime::ServiceView view;
  view.service = validated(full());
  view.service.vips.clear();
  view.service.pending.why = "no free IPv4 address in pool 'lb'";
  v1::Service message;
  fill(view, message);
  const auto& conditions = message.status().conditions();
  const auto assigned = std::find_if(conditions.begin(), conditions.end(),
                                     [](const auto& c) { return c.type() == "AddressesAssigned"; });
  ASSERT_NE(assigned, conditions.end());
  EXPECT_EQ(assigned->status(), "False");
  EXPECT_EQ(assigned->reason(), "NoFreeAddress");
  EXPECT_EQ(assigned->message(), "no free IPv4 address in pool 'lb'");
}

TEST(Convert, EverySettingOfAConfigurationReachesTheModel) {
  v1::GatewayConfig message;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(R"(
    name: "edge" api { listen: "unix:/run/x" } log { level: "debug" }
    dataplane { lcores: 3 memory: "1GiB" no_hugepages: true idle_sleep: "50us" idle_wait: "sleep" flows_ipv4: 1000
                flows_ipv6: 2000 bindings: 3000 service_ports: 4000 maglev_seed: 5
                affinity_clients: 6000 half_open_percent: 7
                eal_arguments: "--log-level=8" }
    ports { name: "wan0" device: "net_null0" mtu: 9000 twin: "none" transit: "drop"
            rx_descriptors: 512 tx_descriptors: 256 buffers: 70000 buffer_size: "256"
            steering: "rte_flow" faces: "clients" announce_on: "203.0.113.0/24"
            addresses: "192.0.2.1/24" neighbours { address: "192.0.2.2" mac: "02:00:00:00:00:01" }
            routes { prefix: "0.0.0.0/0" gateway: "192.0.2.2" } }
    snat { address: "192.0.2.100" port_range: "2000-2999" }
    address_pools { name: "lb" addresses: "203.0.113.0/28" auto_assign: false avoid_buggy_ips: true
                    providers: "east" namespaces: "shop"
                    service_selector { key: "tier" value: "gold" } }
    address_pools { name: "open" addresses: "203.0.113.16" }
    cluster_ip_ranges: "10.96.0.0/16" external_ip_ranges: "192.0.2.32/28" )",
                                                            &message));
  const auto config = model::validate(to_input(message), 4);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->name, "edge");
  EXPECT_EQ(config->lcores, std::vector<unsigned>{3});
  EXPECT_EQ(config->memory_bytes, 1ULL << 30U);
  EXPECT_FALSE(config->hugepages);
  EXPECT_EQ(config->idle_sleep_us, 50U);
  EXPECT_EQ(config->idle_wait, IdleWait::kSleep);
  EXPECT_EQ(config->flows_ipv4, 1000U);
  EXPECT_EQ(config->flows_ipv6, 2000U);
  EXPECT_EQ(config->bindings, 3000U);
  EXPECT_EQ(config->service_ports, 4000U);
  EXPECT_EQ(config->maglev_seed, 5U);
  EXPECT_EQ(config->affinity_clients, 6000U);
  EXPECT_EQ(config->half_open_percent, 7U);
  EXPECT_EQ(config->eal_arguments, std::vector<std::string>{"--log-level=8"});
  const model::PortConfig& port = config->ports.at(0);
  EXPECT_EQ(port.mtu, 9000);
  EXPECT_FALSE(port.twin);
  EXPECT_FALSE(port.transit_to_kernel);
  EXPECT_EQ(port.steering, Steering::kRteFlow);
  EXPECT_EQ(port.faces, Faces::kClients);
  EXPECT_EQ(port.rx_descriptors, 512);
  EXPECT_EQ(port.tx_descriptors, 256);
  EXPECT_EQ(port.buffers, 70'000U);
  EXPECT_EQ(port.buffer_bytes, 256);
  EXPECT_EQ(
      port.announce_on.size() + port.addresses.size() + port.neighbours.size() + port.routes.size(),
      4U);
  EXPECT_EQ(config->snat.at(0).port_begin, 2000U);
  EXPECT_EQ(config->snat.at(0).port_end, 3000U);
  const model::AddressPool& pool = config->grants.pools.at(0);
  EXPECT_EQ(pool.name, "lb");
  EXPECT_EQ(pool.ranges, std::vector{*model::parse_address_range("203.0.113.0/28")});
  EXPECT_FALSE(pool.auto_assign);
  EXPECT_TRUE(pool.avoid_buggy_ips);
  EXPECT_EQ(pool.providers, std::vector<std::string>{"east"});
  EXPECT_EQ(pool.namespaces, std::vector<std::string>{"shop"});
  EXPECT_EQ(pool.service_selector, (std::map<std::string, std::string>{{"tier", "gold"}}));
  EXPECT_TRUE(config->grants.pools.at(1).auto_assign) << "absent: it assigns";
  EXPECT_EQ(config->grants.cluster_ips, std::vector{*model::parse_address_range("10.96.0.0/16")});
  EXPECT_EQ(config->grants.external_ips, std::vector{*model::parse_address_range("192.0.2.32/28")});
  EXPECT_EQ(config->socket_path, "/run/x");
  EXPECT_EQ(config->log_level, "debug");
}

TEST(Convert, WhatProvidersMayHaveReachesTheModel) {
  v1::GatewayConfig message;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(R"(
    providers { name: "west" backend_ranges: "10.244.0.0/16"
                quota { services: 1 addresses: 2 frontends: 3 flows: 7 snat_ports: 8 }
                namespace_quotas { namespace: "shop"
                                   quota { services: 4 addresses: 5 frontends: 6 } } } )",
                                                            &message));
  const model::ConfigInput config = to_input(message);
  const model::ProviderInput& provider = config.providers.at(0);
  EXPECT_EQ(provider.name, "west");
  EXPECT_EQ(provider.backend_ranges, std::vector<std::string>{"10.244.0.0/16"});
  EXPECT_EQ(provider.quota, (model::Quota{1, 2, 3, {7, 8}}));
  EXPECT_EQ(provider.namespace_quotas,
            (std::vector<model::NamespaceQuota>{{"shop", {4, 5, 6, {}}}}));
}

}  // namespace
}  // namespace sluice::api
