// SPDX-License-Identifier: Apache-2.0
#include "controlplane/model/topology.h"

#include <gtest/gtest.h>

namespace sluice::model {
namespace {

constexpr int kWan = 7;
constexpr int kLan = 8;
constexpr int kManagement = 2;

Config config() {
  Config made;
  made.ports.resize(2);
  made.ports[0].name = "wan0";
  made.ports[1].name = "lan0";
  made.snat = {{*parse_ip("10.0.0.100"), 1024, 65'536}};
  return made;
}

struct World {
  Topology topology{config(),
                    {{MacAddress{{2, 0, 0, 0, 0, 1}}, 1500, true, false},
                     {MacAddress{{2, 0, 0, 0, 0, 2}}, 9000, true, false}},
                    {kWan, kLan}};
  AddressTable addresses;
  Topology::Built built;

  World() {
    topology.set_addresses(
        {{kWan, *parse_ip("198.51.100.2"), 24}, {kLan, *parse_ip("10.0.0.1"), 24}});
    topology.set_routes({on_link("198.51.100.0/24", kWan), on_link("10.0.0.0/24", kLan),
                         via("0.0.0.0/0", kWan, "198.51.100.1")});
    take();
  }
  static KernelRoute on_link(const char* prefix, int interface) {
    return {*parse_prefix(prefix), KernelRoute::Kind::kUnicast, interface, std::nullopt, 0};
  }
  static KernelRoute via(const char* prefix, int interface, const char* gateway,
                         std::uint32_t metric = 0) {
    return {*parse_prefix(prefix), KernelRoute::Kind::kUnicast, interface, parse_ip(gateway),
            metric};
  }
  void take() {
    built = topology.build();
    addresses = addresses.with(built.addresses);
  }
  const NextHop& hop(std::uint8_t port, const char* address) const {
    return built.next_hops->at(built.next_hops->find(port, *parse_ip(address)));
  }
};

TEST(Topology, RoutesLeadToPortsGatewaysAndTheHost) {
  World world;
  EXPECT_EQ(world.built.routes->find(*parse_ip("10.0.0.7"))->kind, Route::Kind::kOnLink);
  EXPECT_EQ(world.built.routes->find(*parse_ip("10.0.0.1"))->kind, Route::Kind::kHost);
  const Route* far = world.built.routes->find(*parse_ip("192.0.2.1"));
  EXPECT_EQ(far->kind, Route::Kind::kGateway);
  EXPECT_EQ(far->port, 0);
  EXPECT_EQ(far->gateway, *parse_ip("198.51.100.1"));
}

TEST(Topology, DestinationsAreWhereTheDefaultRouteIsNotNeeded) {
  World world;
  world.topology.set_routes(
      {World::on_link("10.0.0.0/24", kLan),
       World::via("0.0.0.0/0", kWan, "198.51.100.1"),
       World::via("10.244.0.0/16", kLan, "10.0.0.9"),
       World::via("10.244.3.0/24", kLan, "10.0.0.8"),
       World::via("10.9.0.0/16", kManagement, "172.16.0.1"),
       {*parse_prefix("10.8.0.0/16"), KernelRoute::Kind::kBlackhole, 0, std::nullopt, 0},
       World::via("2001:db8::/32", kLan, "fe80::1")});
  std::vector<std::string> shown;
  for (const IpPrefix& destination : world.topology.destinations()) {
    shown.push_back(to_string(destination));
  }
  EXPECT_EQ(shown, (std::vector<std::string>{"10.0.0.0/24", "10.244.0.0/16", "2001:db8::/32"}));
}

TEST(Topology, DestinationsLeaveOutWhatABetterOrALongerRouteLeadsElsewhere) {
  World world;
  world.topology.set_routes({World::via("10.0.0.0/8", kLan, "10.0.0.9"),
                             World::via("10.64.0.0/10", kManagement, "172.16.0.1"),
                             World::via("10.64.7.0/24", kLan, "10.0.0.8"),
                             World::via("192.168.0.0/24", kManagement, "172.16.0.1", 100),
                             World::via("192.168.0.0/24", kLan, "10.0.0.9", 2'048),
                             World::via("192.168.1.0/24", kLan, "10.0.0.9", 100),
                             World::via("192.168.1.0/24", kManagement, "172.16.0.1", 2'048)});
  std::vector<std::string> shown;
  for (const IpPrefix& destination : world.topology.destinations()) {
    shown.push_back(to_string(destination));
  }
  EXPECT_EQ(shown, (std::vector<std::string>{"10.0.0.0/10", "10.64.7.0/24", "10.128.0.0/9",
                                             "192.168.1.0/24"}));
}

TEST(Topology, ARouteThroughAnInterfaceThatIsNotOursLeadsNowhere) {
  World world;
  world.topology.set_routes({World::via("0.0.0.0/0", kManagement, "172.16.0.1")});
  world.take();
  EXPECT_TRUE(world.built.routes_changed);
  EXPECT_EQ(world.built.routes->find(*parse_ip("192.0.2.1"))->kind, Route::Kind::kBlackhole);
}

TEST(Topology, OfTwoRoutesWithOnePrefixTheLowerMetricWins) {
  World world;
  world.topology.set_routes({World::via("0.0.0.0/0", kWan, "198.51.100.1", 200),
                             World::via("0.0.0.0/0", kLan, "10.0.0.9", 100)});
  world.take();
  EXPECT_EQ(world.built.routes->find(*parse_ip("192.0.2.1"))->gateway, *parse_ip("10.0.0.9"));
}

TEST(Topology, AWantedNeighbourIsUnresolvedUntilTheKernelKnowsIt) {
  World world;
  ASSERT_TRUE(world.topology.want(1, *parse_ip("10.0.0.7"), 0));
  world.take();
  EXPECT_EQ(world.hop(1, "10.0.0.7").state, NextHop::State::kUnresolved);
  const MacAddress mac{{2, 0, 0, 0, 9, 9}};
  world.topology.set_neighbours({{kLan, *parse_ip("10.0.0.7"), mac, true}});
  world.take();
  EXPECT_FALSE(world.built.routes_changed) << "a neighbour is no route change";
  EXPECT_EQ(world.hop(1, "10.0.0.7").state, NextHop::State::kReachable);
  EXPECT_EQ(world.hop(1, "10.0.0.7").header.destination, mac);
  EXPECT_EQ(world.hop(1, "10.0.0.7").header.source, (MacAddress{{2, 0, 0, 0, 0, 2}}));
  EXPECT_EQ(world.hop(1, "10.0.0.7").mtu, 9000);
  world.topology.set_neighbours({{kLan, *parse_ip("10.0.0.7"), {}, false}});
  world.take();
  EXPECT_EQ(world.hop(1, "10.0.0.7").state, NextHop::State::kUnresolved);
}

TEST(Topology, ANeighbourKnownBeforeItWasWantedIsReachableAtOnce) {
  World world;
  world.topology.set_neighbours(
      {{kLan, *parse_ip("10.0.0.7"), MacAddress{{2, 0, 0, 0, 9, 9}}, true}});
  world.topology.want(1, *parse_ip("10.0.0.7"), 0);
  world.take();
  EXPECT_EQ(world.hop(1, "10.0.0.7").state, NextHop::State::kReachable);
}

TEST(Topology, ANextHopKeepsItsIndexWhateverItsState) {
  World world;
  world.topology.want(1, *parse_ip("10.0.0.7"), 0);
  world.take();
  const NextHopIndex index = world.built.next_hops->find(1, *parse_ip("10.0.0.7"));
  world.topology.want(1, *parse_ip("10.0.0.8"), 0);
  world.topology.set_neighbours(
      {{kLan, *parse_ip("10.0.0.7"), MacAddress{{2, 0, 0, 0, 9, 9}}, true}});
  world.take();
  EXPECT_EQ(world.built.next_hops->find(1, *parse_ip("10.0.0.7")), index);
}

TEST(Topology, TheHostsAddressesAreTheHostsAndSnatAddressesOurs) {
  World world;
  EXPECT_EQ(world.addresses.find(*parse_ip("198.51.100.2"))->kind, AddressKind::kHost);
  EXPECT_EQ(world.hop(0, "198.51.100.2").state, NextHop::State::kHost);
  const AddressEntry* snat = world.addresses.find(*parse_ip("10.0.0.100"));
  EXPECT_EQ(snat->kind, AddressKind::kSnat);
  EXPECT_EQ(snat->answer_ports, 2) << "on the port whose prefix holds it";
  world.topology.set_addresses({{kLan, *parse_ip("10.0.0.1"), 24}});
  world.take();
  EXPECT_EQ(world.addresses.find(*parse_ip("198.51.100.2")), nullptr);
}

TEST(Topology, NodePortsAreServedOnTheHostsAddressesThatAreNamedAndOnNodes) {
  Config listed = config();
  listed.node_ports = {.addresses = {*parse_address_range("198.51.100.0/24")},
                       .nodes = {*parse_ip("10.0.0.200")},
                       .on_nodes = true};
  Topology topology(listed, {{}, {}}, {kWan, kLan});
  topology.set_addresses(
      {{kWan, *parse_ip("198.51.100.2"), 24}, {kLan, *parse_ip("10.0.0.1"), 24}});
  const AddressTable addresses = AddressTable().with(topology.build().addresses);
  EXPECT_TRUE(addresses.find(*parse_ip("198.51.100.2"))->serves_node_ports);
  EXPECT_FALSE(addresses.find(*parse_ip("10.0.0.1"))->serves_node_ports);
  const AddressEntry* node = addresses.find(*parse_ip("10.0.0.200"));
  EXPECT_EQ(node->kind, AddressKind::kNode);
  EXPECT_TRUE(node->serves_node_ports);
  EXPECT_TRUE(topology.facts_of(*parse_ip("10.0.0.200")).is_node);
  EXPECT_EQ(topology.facts_of(*parse_ip("10.0.0.200")).answer_ports, 0);
  EXPECT_TRUE(topology.facts_of(*parse_ip("198.51.100.77")).serves_node_ports) << "on VIPs";
}

TEST(Topology, AnAddressIsAnsweredWhereItsPrefixIsOrWhereItIsListed) {
  World world;
  EXPECT_EQ(world.topology.answer_ports(*parse_ip("198.51.100.77")), 1);
  EXPECT_EQ(world.topology.answer_ports(*parse_ip("203.0.113.10")), 0);
  Config listed = config();
  listed.ports[0].announce_on = {*parse_prefix("203.0.113.0/24")};
  const Topology topology(listed, {{}, {}}, {kWan, kLan});
  EXPECT_EQ(topology.answer_ports(*parse_ip("203.0.113.10")), 1);
}

TEST(Topology, APortWithoutATwinIsToldByTheConfiguration) {
  Config fixed = config();
  fixed.ports[1].twin = false;
  fixed.ports[1].addresses = {{*parse_ip("10.0.0.1"), 24}};
  fixed.ports[1].neighbours = {{*parse_ip("10.0.0.7"), MacAddress{{2, 0, 0, 0, 9, 9}}}};
  fixed.ports[1].routes = {{*parse_prefix("10.9.0.0/16"), *parse_ip("10.0.0.7")}};
  Topology topology(fixed, {{}, {}}, {kWan, std::nullopt});
  EXPECT_TRUE(topology.build().routes_changed);
  const auto towards = topology.neighbour_towards(*parse_ip("10.9.1.1"));
  ASSERT_TRUE(towards);
  EXPECT_EQ(towards->port, 1);
  EXPECT_EQ(towards->address, *parse_ip("10.0.0.7"));
  topology.want(1, *parse_ip("10.0.0.7"), 0);
  const auto built = topology.build();
  EXPECT_EQ(built.next_hops->at(built.next_hops->find(1, *parse_ip("10.0.0.7"))).state,
            NextHop::State::kReachable);
  EXPECT_EQ(topology.host_addresses(), std::vector<IpAddress>{*parse_ip("10.0.0.1")});
}

TEST(Topology, TheSameStateAgainIsNoChange) {
  World world;
  world.topology.set_addresses(
      {{kWan, *parse_ip("198.51.100.2"), 24}, {kLan, *parse_ip("10.0.0.1"), 24}});
  EXPECT_FALSE(world.topology.changed());
}

TEST(Topology, WhatTheAddressTableHasIsKnownForAVipThatGoes) {
  World world;
  EXPECT_EQ(world.topology.entry_for(*parse_ip("10.0.0.1"))->kind, AddressKind::kHost);
  EXPECT_EQ(world.topology.entry_for(*parse_ip("10.0.0.100"))->kind, AddressKind::kSnat);
  EXPECT_EQ(world.topology.entry_for(*parse_ip("10.0.0.2")), nullptr);
}

TEST(Topology, AnAddressTheHostGivesUpIsANeighbourLikeAnyOther) {
  World world;
  world.topology.set_addresses({{kWan, *parse_ip("198.51.100.2"), 24}});
  world.take();
  EXPECT_EQ(world.hop(1, "10.0.0.1").state, NextHop::State::kUnresolved);
  world.topology.set_neighbours(
      {{kLan, *parse_ip("10.0.0.1"), MacAddress{{2, 0, 0, 0, 9, 9}}, true}});
  world.take();
  EXPECT_EQ(world.hop(1, "10.0.0.1").state, NextHop::State::kReachable);
}

TEST(Topology, TheSameNeighbourAgainPublishesNothing) {
  World world;
  const MacAddress mac{{2, 0, 0, 0, 9, 9}};
  world.topology.want(1, *parse_ip("10.0.0.7"), 0);
  world.topology.set_neighbours({{kLan, *parse_ip("10.0.0.7"), mac, true}});
  world.take();
  world.topology.set_neighbours({{kLan, *parse_ip("10.0.0.7"), mac, true}});
  EXPECT_FALSE(world.topology.changed());
  world.topology.set_neighbours({{kManagement, *parse_ip("10.0.0.7"), {}, false}});
  EXPECT_FALSE(world.topology.changed()) << "an interface that is not ours";
}

TEST(Topology, ASilentNeighbourIsForgottenAndItsIndexUsedAgain) {
  World world;
  world.topology.want(1, *parse_ip("10.0.0.7"), 0);
  world.topology.want(1, *parse_ip("10.0.0.8"), 0);
  world.take();
  const NextHopIndex index = world.built.next_hops->find(1, *parse_ip("10.0.0.7"));
  EXPECT_TRUE(world.topology.forget_silent(60'000, {}).empty());
  const auto gone = world.topology.forget_silent(60'001, {{1, *parse_ip("10.0.0.8")}});
  ASSERT_EQ(gone.size(), 1U) << "neither what is kept nor the host's own";
  EXPECT_EQ(gone[0].address, *parse_ip("10.0.0.7"));
  world.topology.want(1, *parse_ip("10.0.0.9"), 60'001);
  world.take();
  EXPECT_EQ(world.built.next_hops->find(1, *parse_ip("10.0.0.9")), index);
  EXPECT_EQ(world.built.next_hops->find(1, *parse_ip("10.0.0.7")), kNoNextHop);
  EXPECT_TRUE(world.built.routes_changed) << "flows that bear the index look again";
}

TEST(Topology, TellsWhoIsSilentAndNobodyElse) {
  World world;
  for (const char* neighbour : {"10.0.0.7", "10.0.0.8"}) {
    world.topology.want(1, *parse_ip(neighbour), 0);
  }
  world.topology.set_neighbours({{kLan, *parse_ip("10.0.0.8"), {{2, 0, 0, 0, 9, 9}}, true}});
  EXPECT_TRUE(world.topology.silent(60'000).empty());
  const auto silent = world.topology.silent(60'001);
  ASSERT_EQ(silent.size(), 1U) << "neither who answers nor the host's own";
  EXPECT_EQ(silent[0].address, *parse_ip("10.0.0.7"));
  world.topology.want(1, *parse_ip("10.0.0.7"), 60'001);
  EXPECT_TRUE(world.topology.silent(60'002).empty()) << "asked for again";
}

TEST(Topology, KeepsSoManyRoutesOfEachFamilyAndThoseFirstThatLeadToOthers) {
  World world;
  std::vector<KernelRoute> routes;
  const auto add_far = [&](std::uint32_t count) {
    for (std::uint32_t i = 0; i < count; ++i) {
      const IpAddress four(Ipv4Address{Be32::from_host(0x14000000 + i)});
      routes.push_back(
          {{four, 32}, KernelRoute::Kind::kUnicast, kWan, parse_ip("198.51.100.1"), 32});
    }
  };
  add_far(kRoutesMax - 5);  // with two of the host's own addresses and the three below: all of them
  routes.push_back(
      {*parse_prefix("10.0.0.0/24"), KernelRoute::Kind::kUnicast, kLan, std::nullopt, 256});
  routes.push_back(World::via("0.0.0.0/0", kWan, "198.51.100.1", 1024));
  routes.push_back(World::on_link("198.51.100.0/24", kWan));
  for (const char* prefix : {"2001:db8:10::/64", "2001:db8:20::/64"}) {
    routes.push_back({*parse_prefix(prefix), KernelRoute::Kind::kUnicast, kLan, std::nullopt, 256});
  }
  world.topology.set_routes(routes);
  world.take();
  EXPECT_EQ(world.topology.routes_left_out(), 0U) << "the other family has room of its own";
  EXPECT_NE(world.built.routes->find(*parse_ip("2001:db8:10::1")), nullptr);

  add_far(kRoutesMax);
  world.topology.set_routes(routes);
  world.take();
  EXPECT_EQ(world.topology.routes_left_out(), kRoutesMax);
  for (const char* reached : {"10.0.0.7", "192.0.2.1", "198.51.100.7", "2001:db8:20::1"}) {
    EXPECT_NE(world.built.routes->find(*parse_ip(reached)), nullptr) << reached;
  }
}

}  // namespace
}  // namespace sluice::model
