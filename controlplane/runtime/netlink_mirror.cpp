// SPDX-License-Identifier: Apache-2.0
#include "controlplane/runtime/netlink_mirror.h"

#include <algorithm>

namespace sluice::runtime {

void NetlinkMirror::forget_interface(int interface) {
  const auto first = addresses_.lower_bound({interface, IpAddress(), 0});
  const auto last = addresses_.lower_bound({interface + 1, IpAddress(), 0});
  addresses_changed_ = addresses_changed_ || first != last;
  addresses_.erase(first, last);
  auto at = neighbours_.lower_bound({interface, IpAddress()});
  while (at != neighbours_.end() && at->first.first == interface) {
    changed_neighbours_[at->first] = {interface, at->first.second, {}, false};
    at = neighbours_.erase(at);
  }
}

// The kernel flushes IPv4 routes of a link that goes down, and wakes next hops of one that comes
// up, without telling.
bool NetlinkMirror::take(const LinkNews& news) {
  const auto before = links_.find(news.interface);
  if (news.gone) {
    forget_interface(news.interface);
    if (before == links_.end()) {
      return true;
    }
    links_.erase(before);
    changed_links_[news.interface] = false;
    return false;
  }
  const Link link{news.up, news.carrier};
  if (before == links_.end()) {
    links_[news.interface] = link;
    changed_links_[news.interface] = link.up;
    return true;
  }
  if (before->second == link) {
    return true;
  }
  if (before->second.up != link.up) {
    changed_links_[news.interface] = link.up;
  }
  before->second = link;
  return false;
}

// With the last IPv4 address of a link, or one that routes prefer as their source, routes are
// flushed in silence.
bool NetlinkMirror::take(const AddressNews& news) {
  const Address key{news.address.interface, news.address.address, news.address.prefix_length};
  if (news.gone) {
    const bool known = addresses_.erase(key) != 0;
    addresses_changed_ = addresses_changed_ || known;
    return !known || !news.address.address.is_ipv4();
  }
  addresses_changed_ = addresses_.insert(key).second || addresses_changed_;
  return true;
}

bool NetlinkMirror::take(const RouteNews& news) {
  if (news.key.prefix.address.is_ipv4()) {
    return take_ipv4(news);
  }
  take_ipv6(news);
  return true;
}

bool NetlinkMirror::take_ipv4(const RouteNews& news) {
  const auto [first, last] = routes_.equal_range(news.key);
  // News from before a dump may be heard after it, so an unknown route need not alarm; one of
  // other next hops does: some of them died in silence.
  if (news.verb == RouteNews::Verb::kDelete) {
    const auto same =
        std::find_if(first, last, [&](const auto& route) { return route.second == news.ways; });
    if (same == last) {
      return first == last;
    }
    routes_.erase(same);
    routes_changed_ = true;
    return true;
  }
  if (news.verb == RouteNews::Verb::kReplace && first != last) {
    routes_changed_ = routes_changed_ || first->second != news.ways;
    first->second = news.ways;
    for (auto at = std::next(first); at != last;) {
      at = at->second == news.ways ? routes_.erase(at) : std::next(at);
    }
    return true;
  }
  const bool known =
      std::any_of(first, last, [&](const auto& route) { return route.second == news.ways; });
  if (!known && !news.ways.empty()) {
    const bool append = news.verb == RouteNews::Verb::kAppend;
    routes_.emplace_hint(append ? last : first, news.key, news.ways);
    routes_changed_ = true;
  }
  return true;
}

void NetlinkMirror::take_ipv6(const RouteNews& news) {
  auto route = routes_.find(news.key);
  if (route == routes_.end()) {
    if (news.verb == RouteNews::Verb::kDelete || news.ways.empty()) {
      return;
    }
    route = routes_.emplace(news.key, std::vector<Way>());
  }
  std::vector<Way> ways = route->second;
  if (news.verb == RouteNews::Verb::kReplace) {
    ways = news.ways;
  } else if (news.verb == RouteNews::Verb::kDelete) {
    std::erase_if(ways, [&](const Way& way) {
      return std::find(news.ways.begin(), news.ways.end(), way) != news.ways.end();
    });
  } else {
    std::copy_if(news.ways.begin(), news.ways.end(), std::back_inserter(ways), [&](const Way& way) {
      return std::find(ways.begin(), ways.end(), way) == ways.end();
    });
  }
  routes_changed_ = routes_changed_ || ways != route->second;
  if (ways.empty()) {
    routes_.erase(route);
  } else {
    route->second = std::move(ways);
  }
}

bool NetlinkMirror::take(const NeighbourNews& news) {
  const model::KernelNeighbour& now = news.neighbour;
  const NeighbourKey key{now.interface, now.address};
  const auto before = neighbours_.find(key);
  const bool was_reachable = before != neighbours_.end();
  if (now.reachable != was_reachable || (was_reachable && before->second.mac != now.mac)) {
    changed_neighbours_[key] = now;
  }
  if (now.reachable) {
    neighbours_[key] = {now.mac, news.fixed};
  } else if (was_reachable) {
    neighbours_.erase(before);
  }
  return true;
}

void NetlinkMirror::adopt_routes(NetlinkMirror&& dumped) {
  routes_changed_ = routes_changed_ || routes_ != dumped.routes_;
  routes_ = std::move(dumped.routes_);
}

void NetlinkMirror::adopt_all_but_routes(NetlinkMirror&& dumped) {
  addresses_changed_ = addresses_changed_ || addresses_ != dumped.addresses_;
  addresses_ = std::move(dumped.addresses_);
  for (const auto& [interface, link] : links_) {
    if (!dumped.links_.contains(interface)) {
      changed_links_[interface] = false;
    }
  }
  for (const auto& [interface, link] : dumped.links_) {
    const auto before = links_.find(interface);
    if (before == links_.end() || before->second.up != link.up) {
      changed_links_[interface] = link.up;
    }
  }
  links_ = std::move(dumped.links_);
  for (const auto& [key, known] : neighbours_) {
    if (!dumped.neighbours_.contains(key)) {
      changed_neighbours_[key] = {key.first, key.second, {}, false};
    }
  }
  for (const auto& [key, known] : dumped.neighbours_) {
    const auto before = neighbours_.find(key);
    if (before == neighbours_.end() || before->second.mac != known.mac) {
      changed_neighbours_[key] = {key.first, key.second, known.mac, true};
    }
  }
  neighbours_ = std::move(dumped.neighbours_);
}

bool NetlinkMirror::changed() const {
  return addresses_changed_ || routes_changed_ || !changed_neighbours_.empty() ||
         !changed_links_.empty();
}

std::optional<std::vector<model::KernelAddress>> NetlinkMirror::changed_addresses() {
  if (!std::exchange(addresses_changed_, false)) {
    return std::nullopt;
  }
  std::vector<model::KernelAddress> addresses;
  for (const auto& [interface, address, length] : addresses_) {
    addresses.push_back({interface, address, length});
  }
  return addresses;
}

std::optional<std::vector<model::KernelRoute>> NetlinkMirror::changed_routes() {
  if (!std::exchange(routes_changed_, false)) {
    return std::nullopt;
  }
  std::vector<model::KernelRoute> routes;
  routes.reserve(routes_.size());
  const RouteKey* before = nullptr;
  for (const auto& [key, ways] : routes_) {
    if (ways.empty() || (before != nullptr && *before == key)) {
      continue;
    }
    before = &key;
    const Way& way = ways.front();
    routes.push_back({key.prefix, way.kind, way.interface, way.gateway, key.metric});
  }
  return routes;
}

std::vector<model::KernelNeighbour> NetlinkMirror::changed_neighbours() {
  std::vector<model::KernelNeighbour> neighbours;
  for (const auto& [key, neighbour] : std::exchange(changed_neighbours_, {})) {
    neighbours.push_back(neighbour);
  }
  return neighbours;
}

std::vector<std::pair<int, bool>> NetlinkMirror::changed_links() {
  const auto links = std::exchange(changed_links_, {});
  return {links.begin(), links.end()};
}

bool NetlinkMirror::is_fixed(const NeighbourKey& key) const {
  const auto at = neighbours_.find(key);
  return at != neighbours_.end() && at->second.fixed;
}

}  // namespace sluice::runtime
