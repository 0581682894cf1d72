// SPDX-License-Identifier: Apache-2.0
// Addresses against a model that knows no more than who has what, and looks at everything each
// time.
#include "tests/unit/controlplane/kubernetes/addresses_fixture.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

namespace sluice::kubernetes {
namespace {

constexpr int kSteps = 4'000;

// What a service had when it was looked at last.
struct Had {
  std::vector<IpAddress> vips;
  std::string key;
  std::set<std::pair<std::string, std::int64_t>> ports;
};

class AddressesRandom : public ::testing::TestWithParam<unsigned> {
 protected:
  AddressesRandom() { change_pools(); }

  unsigned below(unsigned bound) { return static_cast<unsigned>(random_() % bound); }

  void change_pools() {
    static const char* const kRanges[] = {"192.0.2.0/30", "192.0.2.4-192.0.2.6", "198.51.100.0/31",
                                          "2001:db8::/126", "2001:db8:1::-2001:db8:1::2"};
    pools_.clear();
    for (const char* range : kRanges) {
      if (below(4) != 0) {
        pools_.push_back(pool("p" + std::to_string(pools_.size()), {range}));
        pools_.back().auto_assign = below(4) != 0;
        if (below(4) == 0) {
          pools_.back().service_selector = {{"tier", "gold"}};
        }
      }
    }
    avoided_.clear();
    addresses_.set_pools(pools_);
  }

  Wish wish() {
    Wish made("s" + std::to_string(below(14)));
    if (below(3) == 0) {
      made.dual(below(2) == 0 ? "PreferDualStack" : "RequireDualStack");
    }
    if (below(2) == 0) {
      made.key(below(3) == 0 ? "j" : "k");
    }
    if (below(2) == 0) {
      made.label("tier", "gold");
    }
    made.port(below(4) == 0 ? "UDP" : "TCP", 80 + below(4));
    if (below(3) == 0) {
      made.and_port("TCP", 90 + below(2));
    }
    if (below(3) == 0) {
      made.status({text(), text()});
    }
    return made;
  }
  std::string text() {
    return (below(3) == 0 ? "2001:db8::" : "192.0.2.") + std::to_string(below(8));
  }

  static Had had_of(const Wish& wish) {
    Had had;
    const auto key = wish.service.meta.annotations.find(model::kSharedIpAnnotation);
    had.key = key == wish.service.meta.annotations.end() ? "" : key->second;
    for (const ServicePort& port : wish.service.ports) {
      had.ports.emplace(port.protocol, port.port);
    }
    return had;
  }
  static bool may_share(const Had& one, const Had& other) {
    return !one.key.empty() && one.key == other.key &&
           std::none_of(one.ports.begin(), one.ports.end(),
                        [&](const auto& port) { return other.ports.contains(port); });
  }
  [[nodiscard]] bool is_free(const std::string& name, const Had& wish,
                             const IpAddress& address) const {
    bool held = false;
    for (const auto& [other, had] : had_) {
      if (std::find(had.vips.begin(), had.vips.end(), address) != had.vips.end()) {
        held = true;
        if (other != name && !may_share(wish, had)) {
          return false;
        }
      }
    }
    return held || !avoided_.contains(address);
  }
  [[nodiscard]] bool is_held(const IpAddress& address) const {
    return std::any_of(had_.begin(), had_.end(), [&](const auto& each) {
      return std::find(each.second.vips.begin(), each.second.vips.end(), address) !=
             each.second.vips.end();
    });
  }
  // What pools give to it by themselves and it may have, the first pool's lowest address first.
  [[nodiscard]] std::vector<IpAddress> choices(const Wish& wish, Family family) const {
    std::vector<IpAddress> found;
    for (const model::AddressPool& pool : pools_) {
      const bool gold = wish.service.meta.labels.contains("tier");
      if (!pool.auto_assign || (!pool.service_selector.empty() && !gold) ||
          pool.ranges[0].first.family != family) {
        continue;
      }
      for (std::optional<IpAddress> at = pool.ranges[0].first; at && *at <= pool.ranges[0].last;
           at = model::next_address(*at)) {
        if (is_free(wish.service.meta.name.name, had_of(wish), *at)) {
          found.push_back(*at);
        }
      }
    }
    return found;
  }
  // What it has already, else the lowest that it can share, else the first.
  [[nodiscard]] std::optional<IpAddress> choice(const Wish& wish, Family family,
                                                const std::vector<IpAddress>& before) const {
    const std::vector<IpAddress> found = choices(wish, family);
    std::optional<IpAddress> lowest;
    for (const IpAddress& old : before) {
      if (std::find(found.begin(), found.end(), old) != found.end()) {
        return old;
      }
    }
    for (const IpAddress& address : found) {
      if (!had_of(wish).key.empty() && is_held(address) && (!lowest || address < *lowest)) {
        lowest = address;
      }
    }
    return lowest || found.empty() ? lowest : found.front();
  }

  void expect_none_is_shared_without_leave() const {
    for (const auto& [name, had] : had_) {
      ASSERT_EQ(text_of(addresses_.of({"shop", name})), text_of(had.vips)) << name;
      for (const auto& [other, theirs] : had_) {
        for (const IpAddress& vip : had.vips) {
          ASSERT_TRUE(other == name || may_share(had, theirs) ||
                      std::find(theirs.vips.begin(), theirs.vips.end(), vip) == theirs.vips.end())
              << sluice::to_string(vip) << " of " << name << " and " << other;
        }
      }
    }
  }

  void assign_any(const Wish& wish) {
    const std::string& name = wish.service.meta.name.name;
    std::vector<IpAddress> before = had_[name].vips;
    if (before.empty()) {
      for (const LoadBalancerIngress& ingress : wish.service.ingress) {
        before.push_back(ip(ingress.ip));
      }
    }
    std::vector<IpAddress> expected;
    for (const std::string& family : wish.service.ip_families) {
      if (const auto one = choice(wish, family == "IPv6" ? Family::kIpv6 : Family::kIpv4, before)) {
        expected.push_back(*one);
      }
    }
    const bool is_whole = expected.size() == wish.service.ip_families.size();
    if (wish.service.ip_family_policy == "RequireDualStack" && !is_whole) {
      expected.clear();
    }
    const auto outcome = addresses_.assign(wish.service, {});
    ASSERT_EQ(outcome.changed, outcome.vips != had_[name].vips);
    if (!pools_.empty()) {
      ASSERT_EQ(text_of(outcome.vips), text_of(expected)) << name;
      ASSERT_EQ(outcome.why_not.empty(), is_whole) << name;
    }
    had_[name] = had_of(wish);
    had_[name].vips = outcome.vips;
  }

  void assign_requested(const Wish& wish, const std::vector<std::string>& requested) {
    const std::string& name = wish.service.meta.name.name;
    const bool gold = wish.service.meta.labels.contains("tier");
    const bool can = std::all_of(requested.begin(), requested.end(), [&](const auto& text) {
      const auto pool = std::find_if(pools_.begin(), pools_.end(),
                                     [&](const auto& each) { return each.contains(ip(text)); });
      const bool granted =
          pools_.empty() || (pool != pools_.end() && (pool->service_selector.empty() || gold));
      return granted && is_free(name, had_of(wish), ip(text));
    });
    const auto outcome = addresses_.assign(wish.service, ips(requested));
    ASSERT_EQ(text_of(outcome.vips), can ? text_of(ips(requested)) : "") << name;
    ASSERT_EQ(outcome.why_not.empty(), can);
    had_[name] = had_of(wish);
    had_[name].vips = outcome.vips;
  }

  std::mt19937 random_{GetParam()};
  Addresses addresses_{"cluster-a"};
  std::vector<model::AddressPool> pools_;
  std::set<IpAddress> avoided_;
  std::map<std::string, Had> had_;
};

TEST_P(AddressesRandom, NoAddressHasTwoServicesThatDoNotShareIt) {
  for (int step = 0; step < kSteps; ++step) {
    SCOPED_TRACE(step);
    const unsigned what = below(100);
    if (what < 2) {
      change_pools();
    } else if (what < 4) {
      const IpAddress address = ip(text());
      ASSERT_EQ(addresses_.avoid(address), avoided_.insert(address).second);
    } else if (what < 20) {
      const std::string name = "s" + std::to_string(below(14));
      const auto at = had_.find(name);
      ASSERT_EQ(addresses_.release({"shop", name}), at != had_.end() && !at->second.vips.empty());
      had_.erase(name);
    } else if (what < 30) {
      const Wish adopted = wish();
      const std::string& name = adopted.service.meta.name.name;
      if (had_[name].vips.empty()) {
        addresses_.adopt(adopted.service);
        had_[name] = had_of(adopted);
        had_[name].vips = addresses_.of({"shop", name});
      }
    } else if (what < 45) {
      const std::string first = text();
      const std::string second = text();
      ASSERT_NO_FATAL_FAILURE(assign_requested(
          wish(), first == second ? std::vector{first} : std::vector{first, second}));
    } else {
      ASSERT_NO_FATAL_FAILURE(assign_any(wish()));
    }
    ASSERT_NO_FATAL_FAILURE(expect_none_is_shared_without_leave());
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, AddressesRandom, ::testing::Range(1U, 9U));

}  // namespace
}  // namespace sluice::kubernetes
