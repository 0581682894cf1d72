// SPDX-License-Identifier: Apache-2.0
// Who gets which node port, and where the snapshot has it.
#include "controlplane/model/node_ports.h"

#include "controlplane/model/compile.h"
#include "controlplane/model/desired.h"
#include "dataplane/net/headers.h"
#include "tests/unit/controlplane/model/pools.h"

#include <gtest/gtest.h>

#include <set>

namespace sluice::model {
namespace {

Service service(const std::string& name, const std::vector<std::uint16_t>& node_ports = {0}) {
  Service made;
  made.name = {"default", name};
  made.type = ServiceType::kNodePort;
  made.allocates_node_ports = true;
  for (const std::uint16_t node_port : node_ports) {
    const auto port = static_cast<std::uint16_t>(80 + made.ports.size());
    made.ports.push_back({"p" + std::to_string(port), kProtocolTcp, port, 8080, "", node_port});
  }
  Endpoint endpoint;
  endpoint.address = ip("10.0.0.1");
  made.endpoints.push_back(endpoint);
  return made;
}

struct Gateway {
  explicit Gateway(NodePorts node_ports = {}) : desired({}, {}, std::move(node_ports)) {}

  Result<Plan> apply(std::vector<Service> upsert, const std::string& provider = "cli",
                     bool replace = false) {
    Transaction transaction;
    transaction.provider = provider;
    transaction.upsert = std::move(upsert);
    transaction.replace = replace;
    Faults faults;
    desired.assign_addresses(transaction, {}, faults);
    Result<Plan> plan = desired.plan(transaction, std::move(faults));
    if (plan) {
      desired.commit(*plan, std::move(transaction));
    }
    return plan;
  }
  std::uint16_t port_of(const std::string& name, std::size_t port = 0) const {
    return desired.find("cli", {"default", name})->service.ports[port].node_port;
  }

  Desired desired;
};

TEST(NodePorts, TheLowPartIsAsLargeAsKep3668Says) {
  EXPECT_EQ(NodePorts{}.dynamic_begin(), 30'086U) << "2768 ports";
  EXPECT_EQ((NodePorts{.range = {30'000, 30'100}}.dynamic_begin()), 30'016U) << "at least 16";
  EXPECT_EQ((NodePorts{.range = {20'000, 40'000}}.dynamic_begin()), 20'128U) << "at most 128";
}

TEST(NodePorts, OneIsChosenAboveTheLowPartAndKept) {
  Gateway gateway;
  ASSERT_TRUE(gateway.apply({service("web")}));
  const std::uint16_t chosen = gateway.port_of("web");
  EXPECT_GE(chosen, 30'086);
  EXPECT_LE(chosen, 32'767);
  Service changed = service("web");
  changed.endpoints.clear();
  ASSERT_TRUE(gateway.apply({changed}));
  EXPECT_EQ(gateway.port_of("web"), chosen);
  EXPECT_TRUE(gateway.apply({changed})->empty());
}

TEST(NodePorts, ThePortsOfServicesAreSpreadAndDistinct) {
  Gateway gateway;
  std::set<std::uint16_t> chosen;
  bool in_order = true;
  for (int i = 0; i < 100; ++i) {
    const std::string name = "s" + std::to_string(i);
    ASSERT_TRUE(gateway.apply({service(name)}));
    in_order = in_order && (chosen.empty() || gateway.port_of(name) == *chosen.rbegin() + 1);
    EXPECT_TRUE(chosen.insert(gateway.port_of(name)).second);
  }
  EXPECT_FALSE(in_order);
}

TEST(NodePorts, AServiceThatIsMadeAgainElsewhereGetsTheSame) {
  Gateway one;
  Gateway other;
  ASSERT_TRUE(one.apply({service("a"), service("b")}));
  ASSERT_TRUE(other.apply({service("b")}));
  EXPECT_EQ(one.port_of("b"), other.port_of("b"));
}

TEST(NodePorts, OneThatIsNamedIsNotChosenForAnotherOfTheTransaction) {
  Gateway alone;
  ASSERT_TRUE(alone.apply({service("web")}));
  const std::uint16_t wished = alone.port_of("web");
  Gateway gateway;
  ASSERT_TRUE(
      gateway.apply({service("web"), service("named", {wished}), service("low", {30'000})}));
  EXPECT_EQ(gateway.port_of("named"), wished);
  EXPECT_EQ(gateway.port_of("low"), 30'000);
  EXPECT_NE(gateway.port_of("web"), wished);
}

TEST(NodePorts, TcpAndUdpOfOnePortShareTheNumber) {
  Gateway gateway;
  Service dns = service("dns", {0, 0});
  dns.ports[1].port = dns.ports[0].port;
  dns.ports[1].protocol = kProtocolUdp;
  ASSERT_TRUE(gateway.apply({dns}));
  EXPECT_EQ(gateway.port_of("dns", 0), gateway.port_of("dns", 1));
}

TEST(NodePorts, OneThatIsHeldIsRefusedNamingItsHolder) {
  Gateway gateway;
  ASSERT_TRUE(gateway.apply({service("web", {30'080})}));
  const auto refused = gateway.apply({service("other", {30'080})}, "cluster");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kAlreadyExists);
  EXPECT_EQ(refused.error().faults[0].path, "upsert[0].spec.ports[0].nodePort");
  EXPECT_NE(refused.error().message.find("default/web of provider 'cli'"), std::string::npos);
  Service udp = service("udp", {30'080});
  udp.ports[0].protocol = kProtocolUdp;
  EXPECT_TRUE(gateway.apply({udp})) << "of another protocol";
}

TEST(NodePorts, OneOutOfRangeOrTwiceInATransactionIsAFault) {
  Gateway gateway;
  const auto outside = gateway.apply({service("web", {8080})});
  ASSERT_FALSE(outside);
  EXPECT_EQ(outside.error().faults[0].path, "upsert[0].spec.ports[0].nodePort");
  EXPECT_NE(outside.error().faults[0].message.find("30000-32767"), std::string::npos);
  const auto twice = gateway.apply({service("a", {30'080}), service("b", {30'080})});
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.error().faults[0].path, "upsert[1].spec.ports[0].nodePort");
}

TEST(NodePorts, WhenNoneIsLeftTheServiceIsRefusedAndALowOneCanBeNamed) {
  Gateway gateway({.range = {30'000, 30'032}});  // the low part: 16
  for (int i = 0; i < 16; ++i) {
    ASSERT_TRUE(gateway.apply({service("s" + std::to_string(i))})) << i;
  }
  const auto refused = gateway.apply({service("late")});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().faults[0].path, "upsert[0].spec.ports[0].nodePort");
  EXPECT_NE(refused.error().faults[0].message.find("30016-30031"), std::string::npos);
  EXPECT_TRUE(gateway.apply({service("late", {30'003})}));
  EXPECT_FALSE(gateway.apply({service("late")}, "other", true)) << "they are not this provider's";
  EXPECT_TRUE(gateway.apply({service("late")}, "cli", true)) << "the others leave with it";
}

TEST(NodePorts, OneThatIsGivenUpIsFree) {
  Gateway gateway;
  ASSERT_TRUE(gateway.apply({service("web", {30'080})}));
  Service plain = service("web");
  plain.type = ServiceType::kClusterIp;
  plain.allocates_node_ports = false;
  ASSERT_TRUE(gateway.apply({plain}));
  EXPECT_TRUE(gateway.apply({service("other", {30'080})}));
}

TEST(NodePorts, AServiceThatIsServedNowhereSaysSo) {
  Gateway gateway({.on_vips = false});
  ASSERT_TRUE(gateway.apply({service("web")}));
  const std::string why = gateway.desired.find("cli", {"default", "web"})->service.pending.why;
  EXPECT_NE(why.find("nodePortAddresses"), std::string::npos);
}

TEST(NodePorts, FamiliesAreThoseOfAddressesOrNamedOrBoth) {
  Service web = service("web", {30'080});
  EXPECT_EQ(families_of(web), (std::vector{Family::kIpv4, Family::kIpv6}));
  web.endpoints.clear();
  EXPECT_EQ(families_of(web).size(), 2U) << "endpoints come and go";
  web.families = {Family::kIpv6};
  EXPECT_EQ(families_of(web), std::vector{Family::kIpv6});
  web.family_policy = FamilyPolicy::kPreferDualStack;
  EXPECT_EQ(families_of(web), (std::vector{Family::kIpv4, Family::kIpv6}));
  web.cluster_ips = {ip("10.96.0.1")};
  EXPECT_EQ(families_of(web), std::vector{Family::kIpv4}) << "those it has";
}

TEST(NodePorts, AServiceMayGiveItsOwnToAnotherPortOfIt) {
  Gateway gateway;
  ASSERT_TRUE(gateway.apply({service("web")}));
  const std::uint16_t chosen = gateway.port_of("web");
  ASSERT_TRUE(gateway.apply({service("web", {0, chosen})}));
  EXPECT_EQ(gateway.port_of("web", 1), chosen);
  EXPECT_NE(gateway.port_of("web", 0), chosen);
  EXPECT_NE(gateway.port_of("web", 0), 0);
}

TEST(NodePorts, WhatWasChosenIsNotLostToWhoNamesItLater) {
  Gateway gateway;
  ASSERT_TRUE(gateway.apply({service("web")}));
  const std::uint16_t chosen = gateway.port_of("web");
  const auto refused = gateway.apply({service("web"), service("thief", {chosen})});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().faults[0].path, "upsert[1].spec.ports[0].nodePort");
  EXPECT_EQ(gateway.port_of("web"), chosen);
}

// What the snapshot gets.
struct Compiled {
  AddressFacts facts{.answer_ports = 1, .serves_node_ports = true};
  ServiceCompiler compiler{{64, 128}, 42, [this](const IpAddress&) { return facts; }};
  std::shared_ptr<const NodePortTable> table;
  std::uint64_t epoch = 1;

  const NodePort* at(std::uint16_t port, Family family = Family::kIpv4) const {
    return table->find(family, {port, kProtocolTcp});
  }
  void update(const Service& service) { compiler.update("cli", service, ++epoch); }
  void take() { table = compiler.build().node_ports; }
};

TEST(NodePorts, TheTableHasThemInTheServicesFamiliesUntilTheServiceGoes) {
  Compiled world;
  Service web = service("web", {30'080});
  web.families = {Family::kIpv4};
  world.update(web);
  world.take();
  ASSERT_NE(world.at(30'080), nullptr);
  EXPECT_EQ(world.at(30'080, Family::kIpv6), nullptr);
  EXPECT_EQ(world.at(30'081), nullptr);
  const auto before = world.table;
  world.take();
  EXPECT_EQ(world.table, before) << "shared when nothing has changed";
  world.compiler.remove("cli", {"default", "web"}, ++world.epoch);
  world.take();
  EXPECT_EQ(world.at(30'080), nullptr);
}

TEST(NodePorts, OneThatChangesHandsInATransactionIsTheNewHolders) {
  Compiled world;
  world.update(service("old", {30'080}));
  world.take();
  const std::uint32_t before = world.at(30'080)->on_nodes->id;
  world.update(service("new", {30'080}));
  world.update(service("old", {30'081}));
  world.take();
  ASSERT_NE(world.at(30'080), nullptr);
  EXPECT_NE(world.at(30'080)->on_nodes->id, before);
  EXPECT_EQ(world.at(30'081)->on_nodes->id, before);
}

TEST(NodePorts, SourceRangesHoldOnVipsOnly) {
  Compiled world;
  Service filtered = service("web", {30'080});
  filtered.options.source_ranges = {*parse_prefix("192.0.2.0/24")};
  world.update(filtered);
  world.take();
  EXPECT_NE(world.at(30'080)->on_vips->allowed, nullptr);
  EXPECT_EQ(world.at(30'080)->on_nodes->allowed, nullptr);
}

TEST(NodePorts, VipsServeThemAndOtherAddressesOfServicesDoNot) {
  Compiled world;
  Service web = service("web", {30'080});
  web.vips = {ip("203.0.113.1")};
  web.cluster_ips = {ip("10.96.0.1")};
  web.external_ips = {ip("203.0.113.2")};
  world.update(web);
  EXPECT_TRUE(world.compiler.entry_for(ip("203.0.113.1"))->serves_node_ports);
  EXPECT_FALSE(world.compiler.entry_for(ip("10.96.0.1"))->serves_node_ports);
  EXPECT_FALSE(world.compiler.entry_for(ip("203.0.113.2"))->serves_node_ports);
  web.external_ips.push_back(ip("203.0.113.1"));
  world.update(web);
  EXPECT_TRUE(world.compiler.entry_for(ip("203.0.113.1"))->serves_node_ports)
      << "a VIP all the same";
  world.facts.serves_node_ports = false;
  EXPECT_FALSE(world.compiler.entry_for(ip("203.0.113.1"))->serves_node_ports);
}

TEST(NodePorts, AnExternalAddressThatIsANodesIsNeverAnsweredFor) {
  Compiled world;
  world.facts = {.answer_ports = 0, .is_node = true};
  Service web = service("web", {30'080});
  web.external_ips = {ip("10.0.0.200")};
  world.update(web);
  const auto entry = world.compiler.entry_for(ip("10.0.0.200"));
  EXPECT_EQ(entry->kind, AddressKind::kNode);
  EXPECT_FALSE(entry->answers_echo);
  EXPECT_FALSE(entry->is_ours());
  EXPECT_NE(entry->find({80, kProtocolTcp}), nullptr);
}

}  // namespace
}  // namespace sluice::model
