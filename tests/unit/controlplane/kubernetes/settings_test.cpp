// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/settings.h"

#include "controlplane/client/channel.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

namespace sluice::kubernetes {
namespace {

v1::KubernetesConfig good() {
  v1::KubernetesConfig config;
  config.set_provider("prod-1");
  config.add_gateways("unix:/run/sluice/sluice.sock");
  return config;
}

// "PATH: MESSAGE" of each fault.
std::vector<std::string> faults_of(const v1::KubernetesConfig& config) {
  std::vector<std::string> texts;
  if (const auto settings = validate(config); !settings) {
    for (const model::Fault& fault : settings.error().faults) {
      texts.push_back(fault.path + ": " + fault.message);
    }
    EXPECT_FALSE(texts.empty());
  }
  return texts;
}

TEST(Settings, WhatIsNotSaidHasItsDefault) {
  const auto settings = validate(good());
  ASSERT_TRUE(settings);
  EXPECT_EQ(settings->provider, "prod-1");
  EXPECT_EQ(settings->gateways, std::vector<std::string>{"unix:/run/sluice/sluice.sock"});
  EXPECT_EQ(settings->kubeconfig, "");
  EXPECT_EQ(settings->context, "");
  EXPECT_EQ(settings->lease_namespace, "");
  EXPECT_EQ(settings->log_level, "info");
  EXPECT_FALSE(settings->translate.default_class);
  EXPECT_FALSE(settings->translate.expose_cluster_ips);
  EXPECT_TRUE(settings->translate.expose_node_ports);
  EXPECT_EQ(settings->translate.delivery, Delivery::kAuto);
  EXPECT_EQ(settings->translate.zone, "");
  EXPECT_FALSE(settings->routes_pods_by_nodes);
  EXPECT_EQ(settings->node_health, std::chrono::seconds(5));
  EXPECT_EQ(settings->leave_max, std::chrono::seconds(60));
}

TEST(Settings, AllThatIsSaidIsTaken) {
  v1::KubernetesConfig config = good();
  config.add_gateways("unix:/run/sluice/second.sock");
  config.set_kubeconfig("/etc/sluice/kubeconfig");
  config.set_context("prod");
  config.set_lease_namespace("sluice-system");
  config.mutable_tls()->set_certificate_authority("ca.crt");
  config.mutable_tls()->set_client_certificate("web.crt");
  config.mutable_tls()->set_client_key("web.key");
  config.set_default_class(true);
  config.set_expose_cluster_ips(true);
  config.set_expose_node_ports(false);
  config.set_delivery("node");
  config.set_zone("eu-1a");
  config.set_pod_routes("nodes");
  config.set_node_health_interval("1m30s");
  config.mutable_log()->set_level("debug");
  const auto settings = validate(config);
  ASSERT_TRUE(settings);
  EXPECT_EQ(settings->gateways, (std::vector<std::string>{"unix:/run/sluice/sluice.sock",
                                                          "unix:/run/sluice/second.sock"}));
  EXPECT_EQ(settings->kubeconfig, "/etc/sluice/kubeconfig");
  EXPECT_EQ(settings->context, "prod");
  EXPECT_EQ(settings->lease_namespace, "sluice-system");
  EXPECT_EQ(settings->tls.authority, "ca.crt");
  EXPECT_EQ(settings->tls.certificate, "web.crt");
  EXPECT_EQ(settings->tls.key, "web.key");
  EXPECT_EQ(settings->log_level, "debug");
  EXPECT_TRUE(settings->translate.default_class);
  EXPECT_TRUE(settings->translate.expose_cluster_ips);
  EXPECT_FALSE(settings->translate.expose_node_ports);
  EXPECT_EQ(settings->translate.delivery, Delivery::kNode);
  EXPECT_EQ(settings->translate.zone, "eu-1a");
  EXPECT_TRUE(settings->routes_pods_by_nodes);
  EXPECT_EQ(settings->node_health, std::chrono::seconds(90));
}

TEST(Settings, WordsThatAreTheDefaultMayBeSaid) {
  v1::KubernetesConfig config = good();
  config.set_delivery("auto");
  config.set_node_health_interval("5s");
  config.set_expose_node_ports(true);
  for (const char* level : {"error", "warning", "info", "debug"}) {
    config.mutable_log()->set_level(level);
    const auto settings = validate(config);
    ASSERT_TRUE(settings) << level;
    EXPECT_EQ(settings->log_level, level);
    EXPECT_EQ(settings->translate.delivery, Delivery::kAuto);
    EXPECT_EQ(settings->node_health, std::chrono::seconds(5));
    EXPECT_TRUE(settings->translate.expose_node_ports);
  }
}

TEST(Settings, EachFaultNamesItsFieldAndTheWayOut) {
  struct Case {
    std::function<void(v1::KubernetesConfig&)> change;
    std::string fault;
  };
  const std::string label = "' is not a name; give the cluster one of a-z, 0-9 and '-'";
  const Case cases[] = {
      {[](auto& c) { c.clear_provider(); }, "provider: '" + label},
      {[](auto& c) { c.set_provider("Prod"); }, "provider: 'Prod" + label},
      {[](auto& c) { c.set_provider("prod.example"); }, "provider: 'prod.example" + label},
      {[](auto& c) { c.set_provider("-prod"); }, "provider: '-prod" + label},
      {[](auto& c) { c.set_provider(std::string(64, 'a')); },
       "provider: '" + std::string(64, 'a') + label},
      {[](auto& c) { c.set_provider("cli"); },
       "provider: 'cli' is sluicectl's; give the cluster a name of its own"},
      {[](auto& c) { c.clear_gateways(); },
       "gateways: none is given; name at least one, like unix:/run/sluice/sluice.sock"},
      {[](auto& c) {
         c.add_gateways("unix:/run/second.sock");
         c.add_gateways(c.gateways(0));
       },
       "gateways[2]: 'unix:/run/sluice/sluice.sock' is given twice; remove one"},
      {[](auto& c) { c.set_context("prod"); },
       "context: it is of a kubeconfig, and none is given; name one"},
      {[](auto& c) { c.set_lease_namespace("kube.system"); },
       "leaseNamespace: 'kube.system' is not a namespace's name"},
      {[](auto& c) { c.set_delivery("pod"); },
       "delivery: 'pod' is unknown; use 'auto', 'endpoint' or 'node'"},
      {[](auto& c) { c.set_pod_routes("pods"); },
       "podRoutes: 'pods' is unknown; use 'nodes', or none"},
      {[](auto& c) { c.mutable_log()->set_level("trace"); },
       "log.level: 'trace' is unknown; use 'error', 'warning', 'info' or 'debug'"}};
  for (const auto& [change, fault] : cases) {
    v1::KubernetesConfig config = good();
    change(config);
    EXPECT_EQ(faults_of(config), std::vector<std::string>{fault});
  }
}

TEST(Settings, AGatewayThatCannotBeConnectedToIsNamedWithTheReason) {
  for (const char* address : {"", "/run/sluice.sock", "unix:", "10.0.0.1", "10.0.0.1:9090"}) {
    v1::KubernetesConfig config = good();
    config.add_gateways(address);
    const std::string reason = client::connect(address).fault;
    EXPECT_NE(reason, "") << address;
    EXPECT_EQ(faults_of(config), std::vector<std::string>{"gateways[1]: " + reason});
  }
}

TEST(Settings, AGatewayOverTcpNeedsTheFilesOfTls) {
  v1::KubernetesConfig config = good();
  config.add_gateways("gateway.example.com:9090");
  config.mutable_tls()->set_certificate_authority("/no/such/ca.crt");
  config.mutable_tls()->set_client_certificate("/no/such/web.crt");
  config.mutable_tls()->set_client_key("/no/such/web.key");
  const std::vector<std::string> faults = faults_of(config);
  ASSERT_EQ(faults.size(), 1U);
  EXPECT_TRUE(faults[0].starts_with("gateways[1]: ")) << faults[0];
  EXPECT_NE(faults[0].find("/no/such/ca.crt"), std::string::npos) << faults[0];
}

TEST(Settings, AllFaultsAreToldAtOnce) {
  v1::KubernetesConfig config;
  config.set_context("prod");
  config.set_delivery("pod");
  config.set_pod_routes("pods");
  config.set_node_health_interval("soon");
  config.set_release_delay("later");
  config.mutable_log()->set_level("loud");
  const auto settings = validate(config);
  ASSERT_FALSE(settings);
  EXPECT_EQ(settings.error().code, model::Code::kInvalidArgument);
  std::vector<std::string> paths;
  for (const model::Fault& fault : settings.error().faults) {
    paths.push_back(fault.path);
  }
  EXPECT_EQ(paths,
            (std::vector<std::string>{"provider", "gateways", "context", "delivery", "podRoutes",
                                      "nodeHealthInterval", "releaseDelay", "log.level"}));
}

TEST(Settings, DeliveryIsOneOfThreeWords) {
  const std::pair<const char*, Delivery> words[] = {{"", Delivery::kAuto},
                                                    {"auto", Delivery::kAuto},
                                                    {"endpoint", Delivery::kEndpoint},
                                                    {"node", Delivery::kNode}};
  for (const auto& [word, delivery] : words) {
    v1::KubernetesConfig config = good();
    config.set_delivery(word);
    const auto settings = validate(config);
    ASSERT_TRUE(settings) << word;
    EXPECT_EQ(settings->translate.delivery, delivery) << word;
  }
}

TEST(Settings, NodesAreAskedEverySecondToFiveMinutesOrNever) {
  using std::chrono::milliseconds;
  const std::pair<const char*, milliseconds> sound[] = {{"0s", milliseconds(0)},
                                                        {"0ms", milliseconds(0)},
                                                        {"1s", milliseconds(1'000)},
                                                        {"1500ms", milliseconds(1'500)},
                                                        {"5m", milliseconds(300'000)}};
  for (const auto& [text, interval] : sound) {
    v1::KubernetesConfig config = good();
    config.set_node_health_interval(text);
    const auto settings = validate(config);
    ASSERT_TRUE(settings) << text;
    EXPECT_EQ(settings->node_health, interval) << text;
  }
  for (const std::string text : {"999ms", "301s", "5m1s", "5", "-1s", "often", " 5s", "1us"}) {
    v1::KubernetesConfig config = good();
    config.set_node_health_interval(text);
    EXPECT_EQ(faults_of(config),
              std::vector<std::string>{"nodeHealthInterval: '" + text +
                                       "' is not a duration from 1s to 5m; write it like 5s, or "
                                       "0s for never"});
  }
}

TEST(Settings, AServiceThatGoesKeepsItsAddressesForUpToTenMinutes) {
  using std::chrono::milliseconds;
  EXPECT_EQ(validate(good())->release_delay, milliseconds(0));
  const std::pair<const char*, milliseconds> sound[] = {
      {"0s", milliseconds(0)}, {"15s", milliseconds(15'000)}, {"10m", milliseconds(600'000)}};
  for (const auto& [text, delay] : sound) {
    v1::KubernetesConfig config = good();
    config.set_release_delay(text);
    const auto settings = validate(config);
    ASSERT_TRUE(settings) << text;
    EXPECT_EQ(settings->release_delay, delay) << text;
  }
  for (const std::string text : {"10m1s", "15", "-1s", "soon"}) {
    v1::KubernetesConfig config = good();
    config.set_release_delay(text);
    EXPECT_EQ(faults_of(config),
              std::vector<std::string>{"releaseDelay: '" + text +
                                       "' is not a duration up to 10m; write it like 15s"});
  }
}

TEST(Settings, AnUnknownDeliveryIsWrong) {
  v1::KubernetesConfig config = good();
  config.set_delivery("pod");
  const auto settings = validate(config);
  ASSERT_FALSE(settings);
  EXPECT_EQ(settings.error().code, model::Code::kInvalidArgument);
}

TEST(Settings, ExternalRangesAreThoseOfAddressPools) {
  v1::KubernetesConfig config = good();
  config.add_external_ip_ranges("198.51.100.0/28");
  config.add_external_ip_ranges("2001:db8::1-2001:db8::9");
  ASSERT_TRUE(validate(config));
  EXPECT_EQ(validate(config)->translate.external_ips.size(), 2U);
  config.add_external_ip_ranges("198.51.100.1/28");
  const std::vector<std::string> faults = faults_of(config);
  ASSERT_EQ(faults.size(), 1U);
  EXPECT_TRUE(faults[0].starts_with("externalIpRanges[2]: ")) << faults[0];
}

}  // namespace
}  // namespace sluice::kubernetes
