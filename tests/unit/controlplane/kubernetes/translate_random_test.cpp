// SPDX-License-Identifier: Apache-2.0
// Random services, slices and nodes against a model that is too simple to be wrong.
#include "controlplane/kubernetes/endpoints.h"
#include "tests/unit/controlplane/kubernetes/cluster.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <tuple>

namespace sluice::kubernetes {
namespace {

// Small numbers of everything, so that all of it meets.
class Maker {
 public:
  explicit Maker(std::uint32_t seed) : random_(seed) {}

  Cluster cluster() {
    Cluster made;
    make_ports(made);
    made.slices.clear();
    for (std::uint32_t i = pick(6); i != 0; --i) {
      made.slices.push_back(make_slice());
    }
    make_nodes(made);
    made.vips = {ip("203.0.113.10"), ip("2001:db8:113::10")};
    made.service.ip_families = {"IPv4", "IPv6"};
    made.service.external_traffic_policy = chance(3) ? "Local" : "Cluster";
    made.settings.zone = chance(2) ? "" : "x";
    return made;
  }

  // The same slices and endpoints in another order.
  Slices shuffled(const Slices& slices) {
    Slices made;
    for (const auto& each : slices) {
      EndpointSlice copy = *each;
      std::shuffle(copy.endpoints.begin(), copy.endpoints.end(), random_);
      std::shuffle(copy.ports.begin(), copy.ports.end(), random_);
      made.push_back(std::make_shared<const EndpointSlice>(std::move(copy)));
    }
    std::shuffle(made.begin(), made.end(), random_);
    return made;
  }

 private:
  std::uint32_t pick(std::uint32_t bound) { return static_cast<std::uint32_t>(random_() % bound); }
  bool chance(std::uint32_t of) { return pick(of) == 0; }
  Condition condition() { return static_cast<Condition>(pick(3)); }

  void make_ports(Cluster& made) {
    made.service.ports.clear();
    const std::uint32_t count = 1 + pick(3);
    for (std::uint32_t i = 0; i < count; ++i) {
      const char* protocol = chance(8) ? "SCTP" : chance(2) ? "UDP" : "TCP";
      made.service.ports.push_back({count == 1 && chance(2) ? "" : "p" + std::to_string(i),
                                    protocol, 80 + i, 30'080 + i, ""});
    }
  }

  std::shared_ptr<const EndpointSlice> make_slice() {
    std::vector<SlicePort> ports;
    for (std::uint32_t i = pick(4); i != 0; --i) {
      ports.push_back({chance(6) ? "" : "p" + std::to_string(pick(4)), chance(2) ? "UDP" : "TCP",
                       static_cast<std::uint16_t>(8'080 + pick(3))});
    }
    std::vector<SliceEndpoint> endpoints;
    const std::string prefix = chance(2) ? "10.0.0." : "2001:db8::";
    for (std::uint32_t i = pick(5); i != 0; --i) {
      SliceEndpoint each =
          endpoint(prefix + std::to_string(1 + pick(5)), {condition(), condition(), condition()},
                   std::array{"", "a", "b", "c", "d"}[pick(5)]);
      each.zone = kept(std::array{"", "x", "y"}[pick(3)]);
      each.hostname = kept(std::array{"", "web-0"}[pick(2)]);
      each.hinted_zones = kept(std::array{"x", "y", "x y", "x", ""}[pick(chance(2) ? 5 : 4)]);
      endpoints.push_back(each);
    }
    return slice(std::move(ports), std::move(endpoints));
  }

  void make_nodes(Cluster& made) {
    made.nodes.clear();
    int number = 0;
    for (const char* name : {"a", "b", "c"}) {
      ++number;
      std::vector<std::string> addresses;
      if (!chance(5)) {
        addresses.push_back("192.168.0." + std::to_string(number));
      }
      if (!chance(3)) {
        addresses.push_back("fd00::" + std::to_string(number));
      }
      made.nodes.emplace(name, node(name, addresses));
      made.nodes.at(name).to_be_deleted = chance(6);
    }
  }

  std::mt19937 random_;
};

constexpr std::uint32_t kClusters = 3'000;

// Of one service port, where packets may go, with what the cluster says of it.
using Target = std::pair<IpAddress, int>;
using State3 = std::tuple<Condition, Condition, Condition>;
using Model = std::map<std::string, std::map<Target, std::vector<const SliceEndpoint*>>>;

Model model_of(const Cluster& cluster) {
  Model model;
  for (const ServicePort& port : cluster.service.ports) {
    if (port.protocol == "SCTP") {
      continue;
    }
    auto& targets = model[port.name];
    for (const auto& slice : cluster.slices) {
      for (const SlicePort& listens : slice->ports) {
        if (listens.name != port.name || listens.protocol != port.protocol) {
          continue;
        }
        for (const SliceEndpoint& each : slice->endpoints) {
          targets[{each.address, listens.port}].push_back(&each);
        }
      }
    }
  }
  return model;
}

int target_of(const v1::Endpoint& endpoint, const v1::ServicePort& port) {
  const auto own = endpoint.ports().find(port.name());
  return own != endpoint.ports().end() ? own->second
         : port.target_port() == 0     ? port.port()
                                       : port.target_port();
}

State3 state_of(const v1::EndpointConditions& of) {
  const auto condition = [](bool has, bool value) { return !has ? kAbsent : value ? kYes : kNo; };
  return {condition(of.has_ready(), of.ready()), condition(of.has_serving(), of.serving()),
          condition(of.has_terminating(), of.terminating())};
}

// Whether one of the copies says so, and it is one that does not terminate if there is any (2.1).
// In a zone a ready one may be passed over by hints: it takes no new flows then (2.8).
void expect_a_copys_state(const std::vector<const SliceEndpoint*>& copies, const State3& state,
                          bool in_zone) {
  const bool any_stays = std::any_of(copies.begin(), copies.end(), [](const SliceEndpoint* copy) {
    return copy->terminating != kYes;
  });
  EXPECT_TRUE(std::any_of(copies.begin(), copies.end(), [&](const SliceEndpoint* copy) {
    const bool is_passed = in_zone && copy->ready != kNo && copy->hinted_zones != nullptr &&
                           State3{kNo, kYes, copy->terminating} == state;
    return State3{copy->ready, copy->serving, copy->terminating} == state || is_passed;
  }));
  EXPECT_TRUE(!any_stays || std::get<2>(state) != kYes) << "2.1: one that terminates has won";
}

// Each once, each of a slice; without a zone each that any slice has.
void expect_endpoints_of(const Cluster& cluster, const v1::ServiceSpec& spec) {
  const Model model = model_of(cluster);
  for (const v1::ServicePort& port : spec.ports()) {
    const auto& expected = model.at(port.name());
    std::set<Target> seen;
    for (const v1::Endpoint& each : spec.endpoints()) {
      const Target target{ip(each.addresses(0)), target_of(each, port)};
      if (target.second == 0) {
        continue;
      }
      EXPECT_TRUE(seen.insert(target).second)
          << port.name() << ": twice " << each.ShortDebugString();
      const auto copies = expected.find(target);
      if (copies == expected.end()) {
        ADD_FAILURE() << port.name() << ": no slice has " << each.ShortDebugString();
        continue;
      }
      expect_a_copys_state(copies->second, state_of(each.conditions()),
                           !cluster.settings.zone.empty());
    }
    if (cluster.settings.zone.empty()) {
      EXPECT_EQ(seen.size(), expected.size()) << port.name();
    }
    EXPECT_EQ(seen.empty(), expected.empty()) << "2.8: hints never leave a port with none";
  }
}

TEST(TranslateRandom, EndpointsAreThoseOfTheSlicesEachOnce) {
  for (std::uint32_t seed = 0; seed < kClusters && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Cluster cluster = Maker(seed).cluster();
    const Translation made = cluster.translated();
    if (made.service) {
      expect_endpoints_of(cluster, made.service->spec());
      EXPECT_EQ(faults_at_gateway(*made.service), "") << made.service->DebugString();
    }
  }
}

bool is_usable(const SliceEndpoint& each) {
  return each.ready != kNo || (each.terminating == kYes && each.serving != kNo);
}

// Nodes that may be next hops, at one address of a family in which there is an endpoint; of a Local
// service only those with one. They are ready or drain where one is usable.
void expect_nodes_of(const Cluster& cluster, const v1::ServiceSpec& spec) {
  const bool is_local = cluster.service.external_traffic_policy == "Local";
  const Model model = model_of(cluster);
  for (const v1::ServicePort& port : spec.ports()) {
    std::set<IpAddress> seen;
    for (const v1::Endpoint& each : spec.endpoints()) {
      if (target_of(each, port) == 0) {
        continue;
      }
      const IpAddress address = ip(each.addresses(0));
      const auto node = cluster.nodes.find(each.node_name());
      ASSERT_TRUE(node != cluster.nodes.end());
      EXPECT_FALSE(node->second.to_be_deleted);
      EXPECT_EQ(target_of(each, port), port.port() + 30'000);
      EXPECT_TRUE(seen.insert(address).second) << "twice " << each.ShortDebugString();
      EXPECT_EQ(each.has_weight(), is_local);
      bool any = false;
      bool any_usable = false;
      for (const auto& [target, copies] : model.at(port.name())) {
        for (const auto* copy : copies) {
          const bool is_behind =
              target.first.family == address.family &&
              (!is_local || (copy->node_name != nullptr && *copy->node_name == each.node_name()));
          any = any || is_behind;
          any_usable = any_usable || (is_behind && is_usable(*copy));
        }
      }
      EXPECT_TRUE(any) << "no endpoint for " << each.ShortDebugString();
      const v1::EndpointConditions& conditions = each.conditions();
      EXPECT_TRUE(any_usable || (conditions.has_ready() && !conditions.serving()))
          << each.ShortDebugString();
    }
  }
}

TEST(TranslateRandom, NodesAreNextHopsWithAUsableEndpointBehindThem) {
  for (std::uint32_t seed = 0; seed < kClusters && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Cluster cluster = Maker(seed).cluster();
    cluster.settings.delivery = Delivery::kNode;
    const Translation made = cluster.translated();
    if (made.service) {
      expect_nodes_of(cluster, made.service->spec());
      EXPECT_EQ(faults_at_gateway(*made.service), "") << made.service->DebugString();
    }
  }
}

TEST(TranslateRandom, TheOrderOfSlicesAndNodesMeansNothing) {
  for (std::uint32_t seed = 0; seed < kClusters && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Maker maker(seed);
    Cluster cluster = maker.cluster();
    cluster.settings.delivery = seed % 3 == 0 ? Delivery::kNode : Delivery::kEndpoint;
    const Translation made = cluster.translated();
    const Translation again = cluster.translated();
    cluster.slices = maker.shuffled(cluster.slices);
    Nodes rehashed;
    rehashed.rehash(64);
    rehashed.insert(cluster.nodes.begin(), cluster.nodes.end());
    cluster.nodes = std::move(rehashed);
    const Translation other = cluster.translated();
    ASSERT_EQ(made.service.has_value(), other.service.has_value());
    if (made.service) {
      EXPECT_EQ(serialized(*made.service), serialized(*again.service));
      EXPECT_EQ(serialized(*made.service), serialized(*other.service))
          << made.service->DebugString() << other.service->DebugString();
      EXPECT_EQ(chosen(made), chosen(other));
    }
    EXPECT_EQ(findings(made), findings(other));
    EXPECT_EQ(made.port_errors, other.port_errors);
  }
}

}  // namespace
}  // namespace sluice::kubernetes
