// SPDX-License-Identifier: Apache-2.0
#include "controlplane/model/compile.h"

#include "dataplane/net/headers.h"

#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <set>

namespace sluice::model {
namespace {

constexpr std::uint64_t kNoFlows = 0;

Endpoint endpoint(const std::string& address, Conditions conditions = {}) {
  Endpoint made;
  made.address = *parse_ip(address);
  made.conditions = conditions;
  return made;
}

Service service(const std::string& name, const std::vector<std::string>& vips,
                std::vector<Endpoint> endpoints) {
  Service made;
  made.name = {"default", name};
  for (const std::string& vip : vips) {
    made.vips.push_back(*parse_ip(vip));
  }
  made.ports = {{"http", kProtocolTcp, 80, 8080, ""}};
  made.endpoints = std::move(endpoints);
  return made;
}

// A compiler together with the address table its changes go into.
struct Compiled {
  ServiceCompiler compiler{
      {64, 128}, 42, [](const IpAddress&) { return AddressFacts{.answer_ports = 1}; }};
  AddressTable addresses;
  std::shared_ptr<const BindingTable> bindings;
  std::uint64_t epoch = 1;

  ServiceCompiler::Built put(const Service& wanted) {
    compiler.update("cli", wanted, ++epoch);
    return take();
  }
  ServiceCompiler::Built drop(const std::string& name) {
    compiler.remove("cli", {"default", name}, ++epoch);
    return take();
  }
  ServiceCompiler::Built take() {
    auto built = compiler.build();
    addresses = addresses.with(built.addresses);
    bindings = built.bindings;
    return built;
  }
  const ServicePort* at(const std::string& vip, std::uint16_t port = 80) {
    const AddressEntry* entry = addresses.find(*parse_ip(vip));
    return entry == nullptr ? nullptr : entry->find({port, kProtocolTcp});
  }
  const MaglevTable* table(const std::string& vip, std::uint16_t port = 80) {
    const ServicePort* found = at(vip, port);
    return found == nullptr ? nullptr : found->maglev.get();
  }
  // Backends that new flows of a frontend can get.
  std::set<std::string> usable(const std::string& vip) {
    std::set<std::string> found;
    const ServicePort* port = at(vip);
    if (port != nullptr && port->maglev != nullptr) {
      for (const std::uint16_t entry : port->maglev->entries()) {
        found.insert(to_string(bindings->at(port->binding_slots[entry]).address));
      }
    }
    return found;
  }
  std::uint32_t slot_of(const std::string& name, std::size_t i) {
    return compiler.find("cli", {"default", name})->ports[0].endpoints[i].slot;
  }
  bool reclaim(std::uint64_t flows) {
    const auto count = [flows](std::uint32_t) { return flows; };
    return compiler.reclaim(epoch, count, count);
  }
};

TEST(ChooseEndpoints, FollowsKubernetesClusterPolicy) {
  const Conditions ready{true, true, false};
  const Conditions draining{false, true, true};
  const Conditions dead{false, false, true};
  const Conditions starting{false, true, false};
  struct Row {
    std::vector<Conditions> given;
    std::vector<bool> active;
  };
  const std::vector<Row> rows{
      {{{}, {}}, {true, true}},                // absent ready means ready
      {{ready, draining}, {true, false}},      // a draining one gives way to a ready one
      {{draining, draining}, {true, true}},    // none ready: those that still serve
      {{draining, dead}, {true, false}},       // but not those that do not
      {{starting, starting}, {false, false}},  // not ready and not terminating: never
      {{dead}, {false}},
      {{starting, draining}, {false, true}}};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    SCOPED_TRACE(i);
    std::vector<Endpoint> endpoints;
    for (const Conditions& conditions : rows[i].given) {
      endpoints.push_back(endpoint("10.0.0.1", conditions));
    }
    std::vector<const Endpoint*> pointers;
    for (const Endpoint& one : endpoints) {
      pointers.push_back(&one);
    }
    const auto chosen = choose_endpoints(pointers);
    for (std::size_t e = 0; e < chosen.size(); ++e) {
      EXPECT_EQ(chosen[e].active, rows[i].active[e]) << e;
      EXPECT_EQ(std::string(chosen[e].reason).empty(), rows[i].given[e].ready.value_or(true)) << e;
    }
  }
}

TEST(Compile, ASelectorLeavesOutEndpointsWhoseLabelsItDoesNotMatch) {
  Compiled world;
  Endpoint blue = endpoint("10.0.0.1");
  blue.labels = {{"color", "blue"}, {"tier", "front"}};
  Endpoint green = endpoint("10.0.0.2");
  green.labels = {{"color", "green"}};
  Service web = service("web", {"192.0.2.1"}, {blue, green, endpoint("10.0.0.3")});
  web.choice.selector = {{"color", "blue"}};
  world.put(web);
  EXPECT_EQ(world.usable("192.0.2.1"), (std::set<std::string>{"10.0.0.1"}));
  web.choice.selector = {{"color", "blue"}, {"tier", "back"}};
  world.put(web);
  EXPECT_TRUE(world.usable("192.0.2.1").empty());
  web.choice.selector.clear();
  world.put(web);
  EXPECT_EQ(world.usable("192.0.2.1").size(), 3U);
}

TEST(Compile, AnEndpointThatIsNotSelectedDoesNotKeepOthersFromServingWhileTheyTerminate) {
  Compiled world;
  Endpoint draining = endpoint("10.0.0.1", {false, true, true});
  draining.labels = {{"a", "b"}};
  Service web = service("web", {"192.0.2.1"}, {draining, endpoint("10.0.0.2")});
  web.choice.selector = {{"a", "b"}};
  world.put(web);
  EXPECT_EQ(world.usable("192.0.2.1"), (std::set<std::string>{"10.0.0.1"}));
}

TEST(Compile, NotReadyAddressesAreUsedWhereTheyArePublished) {
  Compiled world;
  Service web = service("web", {"192.0.2.1"}, {endpoint("10.0.0.1", {false, {}, {}})});
  world.put(web);
  EXPECT_TRUE(world.usable("192.0.2.1").empty());
  web.choice.publish_not_ready = true;
  world.put(web);
  EXPECT_EQ(world.usable("192.0.2.1"), (std::set<std::string>{"10.0.0.1"}));
}

TEST(Compile, AnInternalPolicyShutsClusterAddressesAndNothingElse) {
  Compiled world;
  Service web = service("web", {"192.0.2.1"}, {endpoint("10.0.0.1")});
  web.cluster_ips = {*parse_ip("10.96.0.1")};
  web.internal_local = true;
  world.put(web);
  EXPECT_TRUE(world.at("10.96.0.1")->shut);
  EXPECT_FALSE(world.at("192.0.2.1")->shut);
  EXPECT_EQ(world.at("10.96.0.1")->id, world.at("192.0.2.1")->id) << "one service port";
  web.endpoints.clear();
  web.refuses = true;
  world.put(web);
  EXPECT_FALSE(world.at("10.96.0.1")->shut) << "there is none anywhere: clients are told";
}

TEST(Compile, AFrontendLeadsToItsReadyEndpoints) {
  Compiled world;
  world.put(service("web", {"192.0.2.1"}, {endpoint("10.0.0.1"), endpoint("10.0.0.2")}));
  EXPECT_EQ(world.usable("192.0.2.1"), (std::set<std::string>{"10.0.0.1", "10.0.0.2"}));
  const AddressEntry* entry = world.addresses.find(*parse_ip("192.0.2.1"));
  ASSERT_NE(entry, nullptr);
  EXPECT_TRUE(entry->answers_echo);
}

TEST(Compile, AVipAnswersEchoesWhileAnyPortOfItHasAUsableEndpoint) {
  Compiled world;
  Service web = service("web", {"192.0.2.1"}, {endpoint("10.0.0.1")});
  web.ports.push_back({"alt", kProtocolTcp, 81, 8081, ""});
  const auto answers = [&] {
    world.put(web);
    return world.addresses.find(*parse_ip("192.0.2.1"))->answers_echo;
  };
  web.endpoints[0].ports = {{"http", 0}};
  EXPECT_TRUE(answers()) << "the other port has one";
  web.endpoints[0].ports = {{"alt", 0}};
  EXPECT_TRUE(answers());
  web.endpoints[0].ports = {{"http", 0}, {"alt", 0}};
  EXPECT_FALSE(answers());
}

TEST(Compile, AnEndpointServesTheVipsOfItsFamilyOnly) {
  Compiled world;
  world.put(service("web", {"192.0.2.1", "2001:db8::1"}, {endpoint("10.0.0.1")}));
  EXPECT_EQ(world.usable("192.0.2.1"), (std::set<std::string>{"10.0.0.1"}));
  EXPECT_TRUE(world.usable("2001:db8::1").empty());
  EXPECT_NE(world.at("2001:db8::1"), nullptr) << "known, so that it is dropped as no_backend";
}

TEST(Compile, ServicesWithTheSameSourceRangesShareThemAndOthersHaveNone) {
  Compiled world;
  const IpPrefix home = *parse_prefix("192.0.2.0/24");
  const IpPrefix office = *parse_prefix("2001:db8::/32");
  Service one = service("one", {"192.0.2.1"}, {endpoint("10.0.0.1")});
  Service two = service("two", {"192.0.2.2"}, {endpoint("10.0.0.1")});
  one.options.source_ranges = {home, office};
  two.options.source_ranges = {office, home, home};
  two.options.deny_source_ranges = {home};
  world.put(one);
  world.put(two);
  world.put(service("three", {"192.0.2.3"}, {endpoint("10.0.0.1")}));
  EXPECT_EQ(world.at("192.0.2.1")->allowed, world.at("192.0.2.2")->allowed);
  EXPECT_TRUE(world.at("192.0.2.1")->allowed->contains(*parse_ip("192.0.2.9")));
  EXPECT_TRUE(world.at("192.0.2.2")->denied->contains(*parse_ip("192.0.2.9")));
  EXPECT_EQ(world.at("192.0.2.3")->allowed, nullptr);
  EXPECT_EQ(world.at("192.0.2.3")->denied, nullptr);
}

TEST(Compile, EveryWayToAServiceCountsAgainstTheQuotasOfItsProviderAndNamespace) {
  const TrafficQuotas quotas({{.name = "cli", .namespace_quotas = {{"default", {.services = 1}}}}});
  Compiled world;
  world.compiler = ServiceCompiler(
      {64, 128}, 42, [](const IpAddress&) { return AddressFacts{}; }, quotas);
  Service web = service("web", {"192.0.2.1"}, {endpoint("10.0.0.1")});
  web.cluster_ips = {*parse_ip("10.96.0.1")};
  web.options.source_ranges = {*parse_prefix("198.51.100.0/24")};
  Service other = service("other", {"192.0.2.2"}, {endpoint("10.0.0.1")});
  other.name.space = "shop";
  world.put(web);
  world.put(other);
  EXPECT_EQ(world.at("192.0.2.1")->quotas, (QuotaIds{1, 2}));
  EXPECT_EQ(world.at("10.96.0.1")->quotas, (QuotaIds{1, 2}));
  EXPECT_EQ(world.at("192.0.2.2")->quotas, (QuotaIds{1, 0}));
}

TEST(Compile, AllAddressesOfAServiceLeadToItAndSourceRangesStayOffClusterOnes) {
  Compiled world;
  Service web = service("web", {"192.0.2.1"}, {endpoint("10.0.0.1")});
  web.external_ips = {*parse_ip("192.0.2.33")};
  web.cluster_ips = {*parse_ip("10.96.0.1")};
  web.options.source_ranges = {*parse_prefix("198.51.100.0/24")};
  web.options.deny_source_ranges = {*parse_prefix("198.51.100.9/32")};
  world.put(web);
  const ServicePort* vip = world.at("192.0.2.1");
  const ServicePort* cluster = world.at("10.96.0.1");
  ASSERT_TRUE(vip != nullptr && cluster != nullptr);
  EXPECT_EQ(world.at("192.0.2.33"), vip);
  EXPECT_NE(vip->allowed, nullptr);
  EXPECT_EQ(cluster->allowed, nullptr);
  EXPECT_EQ(cluster->denied, vip->denied) << "a denied client is denied everywhere";
  EXPECT_EQ(cluster->id, vip->id);
  EXPECT_EQ(cluster->maglev, vip->maglev);
  world.put(service("web", {"192.0.2.1"}, {endpoint("10.0.0.1")}));
  EXPECT_EQ(world.at("10.96.0.1"), nullptr) << "an address that it has no more is not served";
  EXPECT_EQ(world.at("192.0.2.33"), nullptr);
  world.drop("web");
  EXPECT_EQ(world.at("192.0.2.1"), nullptr);
}

TEST(Compile, OnlyAChangeOfTheSourceRangesHasLiveFlowsJudgedAgain) {
  Compiled world;
  Service web = service("web", {"192.0.2.1"}, {endpoint("10.0.0.1")});
  world.put(web);
  web.options.source_ranges = {*parse_prefix("192.0.2.0/24")};
  EXPECT_TRUE(world.put(web).disruptive);
  web.labels["a"] = "b";
  EXPECT_FALSE(world.put(web).disruptive);
  web.options.deny_source_ranges = {*parse_prefix("192.0.2.0/25")};
  EXPECT_TRUE(world.put(web).disruptive);
  web.options = {};
  EXPECT_TRUE(world.put(web).disruptive);
}

TEST(Compile, AServicePortTakesTheOptionsOfItsProtocol) {
  Compiled world;
  Service web = service("web", {"192.0.2.1"}, {endpoint("10.0.0.1")});
  web.ports.push_back({"dns", kProtocolUdp, 53, 53, ""});
  web.options.udp_ms = 5'000;
  web.options.tcp_established_ms = 60'000;
  web.options.tcp_transitory_ms = 7'000;
  web.options.mss_clamp = 1'400;
  web.options.affinity_seconds = 30;
  world.put(web);
  const AddressEntry* entry = world.addresses.find(*parse_ip("192.0.2.1"));
  const ServicePort* http = entry->find({80, kProtocolTcp});
  const ServicePort* dns = entry->find({53, kProtocolUdp});
  EXPECT_EQ(http->flow_options, (FlowOptions{60'000, 7'000, 1'400}));
  EXPECT_EQ(dns->flow_options, (FlowOptions{5'000, 0, 0}));
  EXPECT_EQ(http->affinity_ms, 30'000U);
  EXPECT_NE(http->id, dns->id) << "so that each has an affinity of its own";
}

TEST(Compile, AnEndpointIsNotBehindAPortOfWhichItSaysZero) {
  Compiled world;
  Service web = service("web", {"192.0.2.1"}, {endpoint("10.0.0.1"), endpoint("10.0.0.2")});
  web.ports.push_back({"alt", kProtocolTcp, 81, 8081, ""});
  web.endpoints[1].ports = {{"http", 0}};
  world.put(web);
  EXPECT_EQ(world.usable("192.0.2.1"), std::set<std::string>{"10.0.0.1"});
  const ServicePort* alt = world.at("192.0.2.1", 81);
  ASSERT_NE(alt, nullptr);
  EXPECT_EQ(alt->binding_slots.size(), 2U);
  web.endpoints[1].ports.clear();
  world.put(web);
  EXPECT_EQ(world.usable("192.0.2.1").size(), 2U);
}

TEST(Compile, AfterItsDrainDeadlineAnEndpointsFlowsAreOverAndStayOverWhenItComesBack) {
  Compiled world;
  const Conditions draining{false, true, true};
  const auto with = [](const Conditions& conditions) {
    Service web =
        service("web", {"192.0.2.1"}, {endpoint("10.0.0.1", conditions), endpoint("10.0.0.2")});
    web.options.drain_deadline_ms = 10'000;
    return web;
  };
  world.compiler.set_time(1'000);
  world.put(with({}));
  const std::uint32_t slot = world.slot_of("web", 0);
  const std::uint8_t incarnation = world.bindings->state(slot).incarnation();
  world.compiler.set_time(5'000);
  world.put(with(draining));
  world.compiler.set_time(14'999);
  EXPECT_FALSE(world.compiler.expire_drains());
  Service other = with(draining);
  other.labels["a"] = "b";
  world.put(other);  // a write meanwhile does not begin the wait anew
  world.compiler.set_time(15'000);
  EXPECT_TRUE(world.compiler.expire_drains());
  world.take();
  EXPECT_EQ(world.bindings->state(slot).state(), BindingState::kFree);
  EXPECT_NE(world.bindings->state(slot).incarnation(), incarnation);
  EXPECT_FALSE(world.compiler.expire_drains()) << "once";
  const auto reason = [&world] {
    return world.compiler.find("cli", {"default", "web"})->ports[0].endpoints[0].reason();
  };
  EXPECT_EQ(reason(), "terminating; its drain deadline is past");
  world.put(with(draining));
  EXPECT_EQ(reason(), "terminating; its drain deadline is past");
  world.put(with({}));
  EXPECT_EQ(reason(), "");
  EXPECT_EQ(world.slot_of("web", 0), slot);
  EXPECT_EQ(world.bindings->state(slot).state(), BindingState::kActive);
  EXPECT_NE(world.bindings->state(slot).incarnation(), incarnation);
}

TEST(Compile, AnEndpointThatGoesEndsItsTcpFlowsWhereItsServiceSaysSoThen) {
  for (const bool resets : {false, true}) {
    for (const bool all : {false, true}) {
      SCOPED_TRACE(std::to_string(resets) + std::to_string(all));
      Compiled world;
      Service web = service("web", {"192.0.2.1"}, {endpoint("10.0.0.1"), endpoint("10.0.0.2")});
      web.options.reset_on_removal = resets;
      world.put(web);
      const std::uint32_t slot = world.slot_of("web", 0);
      EXPECT_FALSE(world.bindings->at(slot).resets);
      if (all) {
        world.compiler.remove("cli", {"default", "web"}, 2);
        world.take();
      } else {
        web.endpoints.erase(web.endpoints.begin());
        world.put(web);
      }
      EXPECT_EQ(world.bindings->state(slot).state(), BindingState::kRemoved);
      EXPECT_EQ(world.bindings->at(slot).resets, resets);
    }
  }
}

// KUBERNETES.md 2.7: UDP flows leave an endpoint that does not serve, though it is still listed.
TEST(Compile, AnEndpointThatDoesNotServeAnyMoreKeepsItsTcpFlowsAndNotThoseOfUdp) {
  struct Row {
    Conditions conditions;
    BindingState tcp, udp;
  };
  using State = BindingState;
  const std::vector<Row> rows{
      {{true, true, false}, State::kActive, State::kActive},
      {{false, true, true}, State::kDraining, State::kDraining},
      {{false, true, false}, State::kDraining, State::kDraining},
      {{false, {}, {}}, State::kDraining, State::kDraining},  // absent serving means serving
      {{false, false, true}, State::kDraining, State::kRemoved},
      {{false, false, false}, State::kDraining, State::kRemoved}};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    SCOPED_TRACE(i);
    Compiled world;
    const auto with = [](const Conditions& conditions) {
      Service dns =
          service("dns", {"192.0.2.1"}, {endpoint("10.0.0.1", conditions), endpoint("10.0.0.2")});
      dns.ports.push_back({"udp", kProtocolUdp, 80, 8080, ""});
      dns.options.drain_deadline_ms = 10'000;
      return dns;
    };
    world.put(with({}));
    const auto slot = [&world](std::size_t port) {
      return world.compiler.find("cli", {"default", "dns"})->ports[port].endpoints[0].slot;
    };
    world.put(with(rows[i].conditions));
    EXPECT_EQ(world.bindings->state(slot(0)).state(), rows[i].tcp);
    EXPECT_EQ(world.bindings->state(slot(1)).state(), rows[i].udp);
    EXPECT_EQ(world.usable("192.0.2.1").contains("10.0.0.1"), rows[i].tcp == State::kActive);
    world.compiler.set_time(10'000);
    EXPECT_EQ(world.compiler.expire_drains(), rows[i].tcp != State::kActive) << "for both";
    world.take();
    EXPECT_EQ(world.bindings->state(slot(1)).state(),
              rows[i].udp == State::kActive ? State::kActive : State::kFree);
    world.put(with({}));
    EXPECT_EQ(world.bindings->state(slot(1)).state(), State::kActive) << "it serves again";
  }
}

TEST(Compile, ItsDrainDeadlineGoesOnWhereADrainingEndpointStopsServing) {
  Compiled world;
  const auto with = [](const Conditions& conditions) {
    Service dns =
        service("dns", {"192.0.2.1"}, {endpoint("10.0.0.1", conditions), endpoint("10.0.0.2")});
    dns.ports = {{"udp", kProtocolUdp, 80, 8080, ""}};
    dns.options.drain_deadline_ms = 10'000;
    return dns;
  };
  world.put(with({}));
  world.put(with({false, true, true}));
  world.compiler.set_time(6'000);
  world.put(with({false, false, true}));
  world.compiler.set_time(9'999);
  EXPECT_FALSE(world.compiler.expire_drains());
  world.compiler.set_time(10'000);
  EXPECT_TRUE(world.compiler.expire_drains());
}

TEST(Compile, WithoutADrainDeadlineNothingEverExpires) {
  Compiled world;
  world.compiler.set_time(1'000);
  world.put(service("web", {"192.0.2.1"}, {endpoint("10.0.0.1"), endpoint("10.0.0.2")}));
  world.put(service("web", {"192.0.2.1"},
                    {endpoint("10.0.0.1", {false, true, true}), endpoint("10.0.0.2")}));
  world.compiler.set_time(1ULL << 40U);
  EXPECT_FALSE(world.compiler.expire_drains());
}

TEST(Compile, ADrainedEndpointKeepsItsSlotAndTakesNoNewFlows) {
  Compiled world;
  world.put(service("web", {"192.0.2.1"}, {endpoint("10.0.0.1"), endpoint("10.0.0.2")}));
  const std::uint32_t slot = world.slot_of("web", 0);
  world.put(service("web", {"192.0.2.1"},
                    {endpoint("10.0.0.1", {false, true, true}), endpoint("10.0.0.2")}));
  EXPECT_EQ(world.usable("192.0.2.1"), (std::set<std::string>{"10.0.0.2"}));
  EXPECT_EQ(world.slot_of("web", 0), slot);
  EXPECT_EQ(world.bindings->state(slot).state(), BindingState::kDraining);
}

TEST(Compile, ARemovedEndpointsSlotIsReusedOnlyWhenIdleAndAsAnotherIncarnation) {
  Compiled world;
  world.put(service("web", {"192.0.2.1"}, {endpoint("10.0.0.1")}));
  const std::uint32_t slot = world.slot_of("web", 0);
  const std::uint8_t incarnation = world.bindings->state(slot).incarnation();
  const auto built = world.put(service("web", {"192.0.2.1"}, {endpoint("10.0.0.2")}));
  EXPECT_TRUE(built.disruptive);
  EXPECT_EQ(world.bindings->state(slot).state(), BindingState::kRemoved);
  world.reclaim(3);
  world.put(service("a", {"192.0.2.2"}, {endpoint("10.0.0.3")}));
  EXPECT_NE(world.slot_of("a", 0), slot) << "flows are on it still";
  world.reclaim(kNoFlows);
  world.put(service("b", {"192.0.2.3"}, {endpoint("10.0.0.4")}));
  EXPECT_EQ(world.slot_of("b", 0), slot);
  EXPECT_NE(world.bindings->state(slot).incarnation(), incarnation);
}

TEST(Compile, NothingIsReclaimedBeforeAllLcoresHaveSeenIt) {
  Compiled world;
  world.put(service("web", {"192.0.2.1"}, {endpoint("10.0.0.1")}));
  const std::uint32_t slot = world.slot_of("web", 0);
  world.drop("web");
  const auto none = [](std::uint32_t) { return kNoFlows; };
  world.compiler.reclaim(world.epoch - 1, none, none);
  EXPECT_TRUE(world.compiler.reclaimable());
  world.put(service("b", {"192.0.2.3"}, {endpoint("10.0.0.4")}));
  EXPECT_NE(world.slot_of("b", 0), slot);
}

TEST(Compile, PortsWithOneEndpointSetShareOneMaglevTable) {
  Compiled world;
  const std::vector<Endpoint> endpoints{endpoint("10.0.0.1"), endpoint("10.0.0.2")};
  world.put(service("a", {"192.0.2.1"}, endpoints));
  world.put(service("b", {"192.0.2.2", "192.0.2.3"}, {endpoints[1], endpoints[0]}));
  const ServicePort* first = world.at("192.0.2.1");
  const ServicePort* second = world.at("192.0.2.2");
  ASSERT_TRUE(first != nullptr && second != nullptr);
  EXPECT_EQ(first->maglev, second->maglev);
  EXPECT_EQ(second, world.at("192.0.2.3"));
}

TEST(Compile, AChangeOfOneBackendBuildsTheTableOfItsSetOnceHoweverManyPortsShareIt) {
  Compiled world;
  std::vector<Endpoint> endpoints{endpoint("10.0.0.1"), endpoint("10.0.0.2")};
  Service shared = service("shared", {"192.0.2.1", "2001:db8::1"}, endpoints);
  shared.ports.clear();
  for (std::uint16_t port = 80; port < 100; ++port) {
    shared.ports.push_back({"p" + std::to_string(port), kProtocolTcp, port, 8080, ""});
  }
  world.put(shared);
  EXPECT_EQ(world.compiler.tables_built(), 1U) << "20 ports, one set";
  world.put(service("other", {"192.0.2.2"}, {endpoint("10.0.0.3")}));
  EXPECT_EQ(world.compiler.tables_built(), 2U);
  const MaglevTable* const other = world.table("192.0.2.2");
  const auto before = world.compiler.find("cli", shared.name)->ports[0].port->maglev;

  shared.endpoints[1].conditions.ready = false;
  world.put(shared);
  EXPECT_EQ(world.compiler.tables_built(), 3U) << "its own table, once";
  EXPECT_EQ(world.table("192.0.2.2"), other);
  EXPECT_NE(world.table("192.0.2.1"), before.get());
  for (std::uint16_t port = 80; port < 100; ++port) {
    EXPECT_EQ(world.table("192.0.2.1", port), world.table("192.0.2.1"));
  }

  shared.labels["tier"] = "gold";
  shared.refuses = true;
  world.put(shared);
  EXPECT_EQ(world.compiler.tables_built(), 3U) << "the set is the same";
}

TEST(Compile, WhatIsHeldBackDoesNotGrowWithTheChangesOfOneEndpoint) {
  Compiled world;
  world.put(service("web", {"203.0.113.1"}, {endpoint("10.0.0.1"), endpoint("10.0.0.2")}));
  for (int i = 0; i < 1'001; ++i) {
    const Conditions conditions{i % 2 != 0, true, false};
    world.compiler.update(
        "cli",
        service("web", {"203.0.113.1"}, {endpoint("10.0.0.1", conditions), endpoint("10.0.0.2")}),
        ++world.epoch);
    ASSERT_EQ(world.compiler.bindings_changed(), 1U);
  }
  world.take();
  EXPECT_EQ(world.usable("203.0.113.1"), std::set<std::string>{"10.0.0.2"});
  EXPECT_EQ(world.bindings->state(world.slot_of("web", 0)).state(), BindingState::kDraining);
  EXPECT_EQ(world.compiler.bindings_changed(), 0U);
}

TEST(Compile, TablesThatNobodyUsesAreForgottenWhileOthersAreMade) {
  Compiled world;
  for (int i = 0; i < 10'000; ++i) {
    world.put(
        service("web", {"192.0.2.1"},
                {endpoint("10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250))}));
    world.reclaim(kNoFlows);
  }
  EXPECT_EQ(world.compiler.tables_built(), 10'000U);
  EXPECT_LT(world.compiler.tables_kept(), 100U);
}

TEST(Compile, SourceRangesThatNobodyUsesAreForgottenWhileOthersAreMade) {
  Compiled world;
  Service web = service("web", {"192.0.2.1"}, {endpoint("10.0.0.1")});
  for (int i = 0; i < 1'000; ++i) {
    web.options.source_ranges = {
        *parse_prefix("10." + std::to_string(i / 250) + "." + std::to_string(i % 250) + ".0/24")};
    world.put(web);
    world.take();
  }
  EXPECT_LT(world.compiler.source_ranges_kept(), 100U);
}

TEST(Compile, WhatIsNotTouchedIsSharedByPointer) {
  Compiled world;
  world.put(service("a", {"192.0.2.1"}, {endpoint("10.0.0.1")}));
  const AddressEntry* before = world.addresses.find(*parse_ip("192.0.2.1"));
  const auto built = world.put(service("b", {"192.0.2.2"}, {endpoint("10.0.0.2")}));
  EXPECT_EQ(world.addresses.find(*parse_ip("192.0.2.1")), before);
  EXPECT_EQ(built.addresses.size(), 1U) << "only the address that changed";
  EXPECT_FALSE(built.disruptive);
}

TEST(Compile, ARemovedServiceLeavesNoFrontend) {
  Compiled world;
  world.put(service("web", {"192.0.2.1"}, {endpoint("10.0.0.1")}));
  world.drop("web");
  EXPECT_EQ(world.at("192.0.2.1"), nullptr);
  EXPECT_FALSE(world.compiler.holds(*parse_ip("192.0.2.1")));
  EXPECT_TRUE(world.compiler.backends().empty());
}

TEST(Compile, AVipThatServesNothingStaysKnownUntilItsFlowsAreOver) {
  Compiled world;
  const IpAddress vip = *parse_ip("192.0.2.1");
  world.put(service("web", {"192.0.2.1"}, {endpoint("10.0.0.1")}));
  world.drop("web");
  const auto kind = [&] { return world.addresses.find(vip)->kind; };
  EXPECT_EQ(kind(), AddressKind::kWithdrawn);
  EXPECT_FALSE(world.reclaim(3));
  world.take();
  ASSERT_NE(world.addresses.find(vip), nullptr) << "flows of it live";
  EXPECT_TRUE(world.reclaim(kNoFlows)) << "the next snapshot is another one";
  world.take();
  EXPECT_EQ(world.addresses.find(vip), nullptr);
  EXPECT_FALSE(world.reclaim(kNoFlows));
}

TEST(Compile, AVipIsKeptForThePortsThatLeftItBeforeTheLastOne) {
  Compiled world;
  const IpAddress vip = *parse_ip("192.0.2.1");
  Service other = service("other", {"192.0.2.1"}, {endpoint("10.0.0.2")});
  other.ports[0].port = 443;
  world.put(service("web", {"192.0.2.1"}, {endpoint("10.0.0.1")}));
  world.put(other);
  const std::uint32_t web = world.compiler.find("cli", {"default", "web"})->ports[0].id;
  world.put(service("web", {"192.0.2.9"}, {endpoint("10.0.0.1")}));
  world.drop("other");
  const auto only_web = [web](std::uint32_t id) { return std::uint64_t{id == web ? 1U : 0U}; };
  world.compiler.reclaim(world.epoch, only_web, only_web);
  world.take();
  ASSERT_NE(world.addresses.find(vip), nullptr) << "web has flows, perhaps from there";
  world.reclaim(kNoFlows);
  world.take();
  EXPECT_EQ(world.addresses.find(vip), nullptr);
}

TEST(Compile, AVipThatServesAgainIsAVipAndStaysOne) {
  Compiled world;
  const IpAddress vip = *parse_ip("192.0.2.1");
  world.put(service("web", {"192.0.2.1"}, {endpoint("10.0.0.1")}));
  world.drop("web");
  world.put(service("again", {"192.0.2.1"}, {endpoint("10.0.0.1")}));
  EXPECT_EQ(world.addresses.find(vip)->kind, AddressKind::kVip);
  world.reclaim(kNoFlows);
  world.take();
  EXPECT_EQ(world.usable("192.0.2.1"), (std::set<std::string>{"10.0.0.1"}));
}

TEST(Compile, AnswersBearClientsAddressesUntilTheLastDnatFlowIsOver) {
  Compiled world;
  Service dnat = service("web", {"192.0.2.1"}, {endpoint("10.0.0.1")});
  dnat.mode = ForwardingMode::kDnat;
  EXPECT_TRUE(world.put(dnat).any_dnat);
  dnat.mode = ForwardingMode::kFullNat;
  EXPECT_TRUE(world.put(dnat).any_dnat) << "those that are open stay as they are";
  world.reclaim(1);
  EXPECT_TRUE(world.take().any_dnat);
  EXPECT_TRUE(world.reclaim(kNoFlows));
  EXPECT_FALSE(world.take().any_dnat);
  dnat.mode = ForwardingMode::kDnat;
  EXPECT_TRUE(world.put(dnat).any_dnat);
  EXPECT_TRUE(world.drop("web").any_dnat);
  world.reclaim(1);
  EXPECT_TRUE(world.take().any_dnat);
  world.reclaim(kNoFlows);
  EXPECT_FALSE(world.take().any_dnat);
}

TEST(Compile, AVipSharedByTwoServicesKeepsTheOther) {
  Compiled world;
  Service other = service("other", {"192.0.2.1"}, {endpoint("10.0.0.2")});
  other.ports[0].port = 443;
  world.put(service("web", {"192.0.2.1"}, {endpoint("10.0.0.1")}));
  world.put(other);
  world.drop("web");
  EXPECT_EQ(world.at("192.0.2.1", 80), nullptr);
  EXPECT_NE(world.at("192.0.2.1", 443), nullptr);
}

TEST(Compile, LimitsAreAskedForBeforeAnythingIsDone) {
  Compiled world;
  std::vector<Endpoint> many;
  for (int i = 1; i < 130; ++i) {
    many.push_back(endpoint("10.0.1." + std::to_string(i)));
  }
  const Service large = service("large", {"192.0.2.1"}, many);
  EXPECT_FALSE(world.compiler.fits("cli", {&large}));
}

// Any sequence of writes leads to the same frontends as a naive reading of the last of them.
TEST(Compile, ASequenceOfChangesEndsWhereANaiveModelDoes) {
  for (std::uint32_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    Compiled world;
    std::map<std::string, std::set<std::string>> model;
    for (int step = 0; step < 60; ++step) {
      const std::string name(1, static_cast<char>('a' + random() % 4));
      const std::string vip = "192.0.2." + std::to_string(1 + name[0] - 'a');
      if (random() % 5 == 0) {
        world.drop(name);
        model[vip].clear();
      } else {
        std::vector<Endpoint> endpoints;
        std::set<std::string> ready;
        for (int i = 1; i <= 6; ++i) {
          const std::string address = "10.0.0." + std::to_string(i);
          const auto dice = random() % 3;
          if (dice == 0) {
            endpoints.push_back(endpoint(address));
            ready.insert(address);
          } else if (dice == 1) {
            endpoints.push_back(endpoint(address, {false, false, false}));
          }
        }
        std::shuffle(endpoints.begin(), endpoints.end(), random);
        world.put(service(name, {vip}, endpoints));
        model[vip] = ready;
      }
      world.reclaim(random() % 2);
      for (const auto& [address, expected] : model) {
        ASSERT_EQ(world.usable(address), expected);
      }
    }
  }
}

TEST(Compile, AServiceThatIsChangedInPlaceNeedsNoRoomOfItsOwnAgain) {
  Compiled world;
  std::vector<Endpoint> many;
  for (int i = 1; i < 128; ++i) {
    many.push_back(endpoint("10.0.1." + std::to_string(i)));
  }
  Service full = service("full", {"192.0.2.1"}, many);
  ASSERT_TRUE(world.compiler.fits("cli", {&full}));
  world.put(full);
  full.endpoints[5].weight = 9;
  EXPECT_TRUE(world.compiler.fits("cli", {&full}));
  EXPECT_FALSE(world.compiler.fits("another", {&full})) << "that would be one more";
  full.endpoints[5].address = *parse_ip("10.0.2.1");
  EXPECT_FALSE(world.compiler.fits("cli", {&full})) << "the old slot rests first";
}

TEST(Compile, WhatStaysKeepsItsSlotWhateverComesAndGoesAroundIt) {
  Compiled world;
  world.put(service("web", {"192.0.2.1"},
                    {endpoint("10.0.0.2"), endpoint("10.0.0.4"), endpoint("10.0.0.6")}));
  const std::uint32_t middle = world.slot_of("web", 1);
  world.put(service(
      "web", {"192.0.2.1"},
      {endpoint("10.0.0.1"), endpoint("10.0.0.4"), endpoint("10.0.0.5"), endpoint("10.0.0.9")}));
  EXPECT_EQ(world.slot_of("web", 1), middle);
  EXPECT_EQ(world.usable("192.0.2.1"),
            (std::set<std::string>{"10.0.0.1", "10.0.0.4", "10.0.0.5", "10.0.0.9"}));
  EXPECT_EQ(world.compiler.backends().size(), 4U);
}

TEST(Compile, ATargetPortThatChangesMakesAnotherBackendOfTheEndpoint) {
  Compiled world;
  Service web = service("web", {"192.0.2.1"}, {endpoint("10.0.0.1")});
  world.put(web);
  const std::uint32_t before = world.slot_of("web", 0);
  web.ports[0].target_port = 9090;
  world.put(web);
  EXPECT_NE(world.slot_of("web", 0), before);
  EXPECT_EQ(world.bindings->state(before).state(), BindingState::kRemoved);
  EXPECT_EQ(world.bindings->at(world.slot_of("web", 0)).port, 9090);
}

// The square of the endpoints would take minutes here.
TEST(Compile, OneChangeAmongManyEndpointsCostsAWalkOverThem) {
  ServiceCompiler compiler({64, 70'000}, 42,
                           [](const IpAddress&) { return AddressFacts{.answer_ports = 1}; });
  Service large = service("large", {"192.0.2.1"}, {});
  for (int i = 0; i < 60'000; ++i) {
    large.endpoints.push_back(
        endpoint("10.1." + std::to_string(i / 250) + "." + std::to_string(1 + i % 250)));
  }
  compiler.update("cli", large, 1);
  EXPECT_EQ(compiler.build().new_bindings.size(), large.endpoints.size());
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 5; ++i) {
    large.endpoints[static_cast<std::size_t>(1'000 * i)].conditions.ready = false;
    compiler.update("cli", large, 2);
    EXPECT_EQ(compiler.build().addresses.size(), 1U);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

}  // namespace
}  // namespace sluice::model
