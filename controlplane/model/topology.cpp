// SPDX-License-Identifier: Apache-2.0
#include "controlplane/model/topology.h"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

namespace sluice::model {
namespace {

constexpr std::uint64_t kSilenceMs = 60'000;
// Below this nothing is forgotten.
constexpr std::size_t kNextHopsComfortable = 16'384;

// Neither is routed by destination alone: fe80::/10 exists on every port, groups are the kernel's.
bool is_routable(const IpPrefix& prefix) {
  return !prefix.address.is_multicast() &&
         !(prefix.address.family == Family::kIpv6 && prefix.address.v6().is_link_local());
}

// Without these the others lead nowhere.
bool leads_to_others(const KernelRoute& route) {
  return (route.kind == KernelRoute::Kind::kUnicast && !route.gateway) || route.prefix.length == 0;
}

// What kRoutesMax leaves, by family.
class Room {
 public:
  // False when there is none for another one.
  bool take(Family family) {
    std::size_t& left = left_[family == Family::kIpv4 ? 0 : 1];
    left_out_ += left == 0 ? 1 : 0;
    return left != 0 && left-- != 0;
  }
  [[nodiscard]] std::size_t left_out() const { return left_out_; }

 private:
  std::array<std::size_t, 2> left_{kRoutesMax, kRoutesMax};
  std::size_t left_out_ = 0;
};

// A prefix, and whether what is in it can be sent to.
using Reach = std::pair<IpPrefix, bool>;

// The parts of a prefix that can be sent to, as few as there may be. `inside`: the routes within
// it, of which the longest counts; in order.
void add_reached(const Reach& whole, std::span<const Reach> inside, std::vector<IpPrefix>& found) {
  const auto& [prefix, leads] = whole;
  if (std::all_of(inside.begin(), inside.end(),
                  [&](const Reach& route) { return route.second == whole.second; })) {
    if (leads) {
      found.push_back(prefix);
    }
    return;
  }
  const auto length = static_cast<std::uint8_t>(prefix.length + 1);
  for (const IpAddress& address : {prefix.address, last_of(prefix)}) {
    Reach half{prefix_of(address, length), leads};
    const auto begin = std::find_if(inside.begin(), inside.end(), [&](const Reach& route) {
      return half.first.contains(route.first.address);
    });
    const auto end = std::find_if(begin, inside.end(), [&](const Reach& route) {
      return !half.first.contains(route.first.address);
    });
    std::span<const Reach> part(begin, end);
    if (!part.empty() && part.front().first == half.first) {
      half.second = part.front().second;
      part = part.subspan(1);
    }
    add_reached(half, part, found);
  }
}

}  // namespace

Topology::Topology(const Config& config, std::vector<PortFacts> ports,
                   std::vector<std::optional<int>> twins)
    : ports_(std::move(ports)),
      twins_(std::move(twins)),
      configs_(config.ports),
      snat_(config.snat),
      node_ports_(config.node_ports) {
  read_static(config);
}

// Ports without a twin are told by the configuration what a kernel would tell.
void Topology::read_static(const Config& config) {
  for (std::size_t i = 0; i < config.ports.size(); ++i) {
    const PortConfig& port = config.ports[i];
    const int interface = -1 - static_cast<int>(i);
    for (const InterfaceAddress& address : port.addresses) {
      static_addresses_.push_back({interface, address.address, address.prefix_length});
      static_routes_.push_back({prefix_of(address.address, address.prefix_length),
                                KernelRoute::Kind::kUnicast, interface, std::nullopt, 0});
    }
    for (const StaticRoute& route : port.routes) {
      static_routes_.push_back(
          {route.prefix, KernelRoute::Kind::kUnicast, interface, route.gateway, 0});
    }
    for (const StaticNeighbour& neighbour : port.neighbours) {
      known_[{static_cast<std::uint8_t>(i), neighbour.address}] = neighbour.mac;
    }
  }
}

std::optional<std::uint8_t> Topology::port_of(int interface) const {
  if (interface < 0) {
    return static_cast<std::uint8_t>(-1 - interface);
  }
  for (std::size_t i = 0; i < twins_.size(); ++i) {
    if (twins_[i] == interface) {
      return static_cast<std::uint8_t>(i);
    }
  }
  return std::nullopt;
}

void Topology::set_addresses(std::vector<KernelAddress> addresses) {
  if (addresses != addresses_) {
    addresses_ = std::move(addresses);
    addresses_dirty_ = true;
    routes_dirty_ = true;
  }
}

void Topology::set_routes(std::vector<KernelRoute> routes) {
  if (routes != kernel_routes_) {
    kernel_routes_ = std::move(routes);
    routes_dirty_ = true;
  }
}

void Topology::set_neighbours(const std::vector<KernelNeighbour>& neighbours) {
  for (const KernelNeighbour& neighbour : neighbours) {
    const auto port = port_of(neighbour.interface);
    if (!port) {
      continue;
    }
    const Neighbour key{*port, neighbour.address};
    if (neighbour.reachable) {
      known_[key] = neighbour.mac;
    } else {
      known_.erase(key);
    }
    const auto hop = hops_.find(key);
    if (hop == hops_.end()) {
      continue;
    }
    const MacAddress mac = neighbour.reachable ? neighbour.mac : MacAddress{};
    const bool same = hop->second.reachable == neighbour.reachable && hop->second.mac == mac;
    hop->second.reachable = neighbour.reachable;
    hop->second.mac = mac;
    if (!same && !hop->second.host) {
      changed_hops_.insert(key);
    }
  }
}

bool Topology::want(std::uint8_t port, const IpAddress& neighbour, std::uint64_t now_ms) {
  const Neighbour key{port, neighbour};
  const auto at = hops_.find(key);
  if (at != hops_.end()) {
    at->second.wanted_ms = now_ms;
    return true;
  }
  Hop hop;
  hop.wanted_ms = now_ms;
  if (!free_.empty()) {
    hop.index = free_.back();
    free_.pop_back();
    indices_reused_ = true;
  } else if (next_index_ == kNextHopsMax) {
    return false;
  } else {
    hop.index = next_index_++;
  }
  const auto known = known_.find(key);
  hop.reachable = known != known_.end();
  hop.mac = hop.reachable ? known->second : MacAddress{};
  hops_[key] = hop;
  changed_hops_.insert(key);
  return true;
}

bool Topology::Hop::is_silent(std::uint64_t now_ms) const {
  return !reachable && !host && now_ms - wanted_ms > kSilenceMs;
}

std::vector<Topology::Neighbour> Topology::silent(std::uint64_t now_ms) const {
  std::vector<Neighbour> found;
  for (const auto& [neighbour, hop] : hops_) {
    if (hop.is_silent(now_ms)) {
      found.push_back(neighbour);
    }
  }
  return found;
}

std::vector<Topology::Neighbour> Topology::forget_silent(std::uint64_t now_ms,
                                                         const std::set<Neighbour>& keep) {
  std::vector<Neighbour> forgotten;
  for (auto at = hops_.begin(); at != hops_.end();) {
    if (!at->second.is_silent(now_ms) || keep.contains(at->first)) {
      ++at;
      continue;
    }
    free_.push_back(at->second.index);
    changed_hops_.erase(at->first);
    forgotten.push_back(at->first);
    at = hops_.erase(at);
  }
  return forgotten;
}

bool Topology::crowded() const {
  return hops_.size() >= kNextHopsComfortable;
}

std::optional<Topology::Neighbour> Topology::neighbour_towards(const IpAddress& destination) const {
  const Route* route = routes_->find(destination);
  if (route == nullptr || route->kind == Route::Kind::kBlackhole ||
      route->kind == Route::Kind::kHost) {
    return std::nullopt;
  }
  return Neighbour{route->port,
                   route->kind == Route::Kind::kGateway ? route->gateway : destination};
}

std::vector<Topology::Neighbour> Topology::gateways() const {
  std::set<Neighbour> found;
  for (const auto* routes : {&kernel_routes_, &static_routes_}) {
    for (const KernelRoute& route : *routes) {
      const auto port = port_of(route.interface);
      if (route.gateway && port) {
        found.insert({*port, *route.gateway});
      }
    }
  }
  return {found.begin(), found.end()};
}

bool Topology::is_gateway(const IpAddress& address) const {
  return std::any_of(kernel_routes_.begin(), kernel_routes_.end(),
                     [&](const KernelRoute& route) { return route.gateway == address; }) ||
         std::any_of(static_routes_.begin(), static_routes_.end(),
                     [&](const KernelRoute& route) { return route.gateway == address; });
}

AddressFacts Topology::facts_of(const IpAddress& address) const {
  if (is_node(address)) {
    return {.is_node = true, .serves_node_ports = node_ports_.on_nodes};
  }
  return {.answer_ports = answer_ports(address), .serves_node_ports = node_ports_.on_vips};
}

std::uint16_t Topology::answer_ports(const IpAddress& address) const {
  std::uint16_t bits = 0;
  for (const auto* addresses : {&addresses_, &static_addresses_}) {
    for (const KernelAddress& on : *addresses) {
      const auto port = port_of(on.interface);
      if (port && prefix_of(on.address, on.prefix_length).contains(address)) {
        bits = static_cast<std::uint16_t>(bits | 1U << *port);
      }
    }
  }
  for (std::size_t port = 0; port < configs_.size(); ++port) {
    for (const IpPrefix& prefix : configs_[port].announce_on) {
      if (prefix.contains(address)) {
        bits = static_cast<std::uint16_t>(bits | 1U << port);
      }
    }
  }
  return bits;
}

std::vector<IpAddress> Topology::host_addresses() const {
  std::vector<IpAddress> hosts;
  for (const auto* addresses : {&addresses_, &static_addresses_}) {
    for (const KernelAddress& address : *addresses) {
      hosts.push_back(address.address);
    }
  }
  return hosts;
}

// Of routes with one prefix the one with the lowest metric comes first, and RouteTable keeps it.
std::pair<std::vector<Route>, std::size_t> Topology::compile_routes() const {
  std::vector<KernelRoute> sorted = kernel_routes_;
  sorted.insert(sorted.end(), static_routes_.begin(), static_routes_.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const KernelRoute& a, const KernelRoute& b) { return a.metric < b.metric; });
  std::vector<Route> routes;
  for (const auto* addresses : {&addresses_, &static_addresses_}) {
    for (const KernelAddress& own : *addresses) {
      if (const auto port = port_of(own.interface)) {
        routes.push_back({{own.address, own.address.bits()}, Route::Kind::kHost, *port, {}});
      }
    }
  }
  std::erase_if(sorted, [](const KernelRoute& route) { return !is_routable(route.prefix); });
  Room room;
  for (const Route& own : routes) {
    room.take(own.prefix.address.family);
  }
  std::vector<bool> kept(sorted.size());
  for (const bool first : {true, false}) {
    for (std::size_t i = 0; i < sorted.size(); ++i) {
      if (leads_to_others(sorted[i]) == first) {
        kept[i] = room.take(sorted[i].prefix.address.family);
      }
    }
  }
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    const KernelRoute& route = sorted[i];
    if (!kept[i]) {
      continue;
    }
    const auto port = port_of(route.interface);
    if (route.kind == KernelRoute::Kind::kBlackhole || !port) {
      routes.push_back({route.prefix, Route::Kind::kBlackhole, 0, {}});
    } else if (route.gateway) {
      routes.push_back({route.prefix, Route::Kind::kGateway, *port, *route.gateway});
    } else {
      routes.push_back({route.prefix, Route::Kind::kOnLink, *port, {}});
    }
  }
  return {std::move(routes), room.left_out()};
}

std::vector<IpPrefix> Topology::destinations() const {
  std::vector<Reach> all;
  for (const Route& route : compile_routes().first) {
    if (route.kind != Route::Kind::kHost && route.prefix.length != 0) {
      all.emplace_back(route.prefix, route.kind != Route::Kind::kBlackhole);
    }
  }
  // A wider one before those within it, and of each prefix the first.
  std::stable_sort(all.begin(), all.end(),
                   [](const Reach& a, const Reach& b) { return a.first < b.first; });
  const auto same = [](const Reach& a, const Reach& b) { return a.first == b.first; };
  all.erase(std::unique(all.begin(), all.end(), same), all.end());
  std::vector<IpPrefix> found;
  for (auto at = all.begin(); at != all.end();) {
    const auto end = std::find_if(at + 1, all.end(), [&](const Reach& other) {
      return !at->first.contains(other.first.address);
    });
    add_reached(*at, std::span(at + 1, end), found);
    at = end;
  }
  return found;
}

// The host's addresses on twins, those of nodes, and the SNAT addresses. A SNAT address that the
// host has too stays the host's: flows are found before addresses are looked at.
void Topology::compile_hosts(std::vector<AddressTable::Change>& changes) {
  std::map<IpAddress, std::shared_ptr<AddressEntry>> wanted;
  std::set<Neighbour> own_hops;
  for (const SnatAddress& snat : snat_) {
    auto entry = std::make_shared<AddressEntry>();
    entry->kind = AddressKind::kSnat;
    entry->answers_echo = true;
    entry->answer_ports = answer_ports(snat.address);
    wanted[snat.address] = std::move(entry);
  }
  for (const IpAddress& node : node_ports_.nodes) {
    auto entry = std::make_shared<AddressEntry>();
    entry->kind = AddressKind::kNode;
    entry->serves_node_ports = node_ports_.on_nodes;
    wanted[node] = std::move(entry);
  }
  for (const auto* addresses : {&addresses_, &static_addresses_}) {
    for (const KernelAddress& own : *addresses) {
      const auto port = port_of(own.interface);
      if (!port) {
        continue;
      }
      auto entry = std::make_shared<AddressEntry>();
      entry->kind = AddressKind::kHost;
      entry->serves_node_ports = node_ports_.served_at(own.address);
      wanted[own.address] = std::move(entry);
      own_hops.insert({*port, own.address});
    }
  }
  for (auto& [neighbour, hop] : hops_) {
    if (hop.host && !own_hops.contains(neighbour)) {
      hop.host = false;
      changed_hops_.insert(neighbour);
    }
  }
  for (const Neighbour& own : own_hops) {
    if (want(own.port, own.address, 0) && !hops_[own].host) {
      hops_[own].host = true;
      changed_hops_.insert(own);
    }
  }
  for (const auto& [address, entry] : placed_) {
    if (!wanted.contains(address)) {
      changes.push_back({address, nullptr});
    }
  }
  placed_.clear();
  for (auto& [address, entry] : wanted) {
    entry->address = address;
    changes.push_back({address, entry});
    placed_[address] = std::move(entry);
  }
}

std::shared_ptr<const AddressEntry> Topology::entry_for(const IpAddress& address) const {
  const auto at = placed_.find(address);
  return at == placed_.end() ? nullptr : at->second;
}

NextHop Topology::next_hop_of(const Neighbour& neighbour, const Hop& hop) const {
  NextHop next_hop;
  next_hop.port = neighbour.port;
  next_hop.address = neighbour.address;
  next_hop.mtu = ports_[neighbour.port].mtu;
  next_hop.header.source = ports_[neighbour.port].mac;
  if (hop.host) {
    next_hop.state = NextHop::State::kHost;
    next_hop.header.destination = ports_[neighbour.port].mac;
  } else if (hop.reachable) {
    next_hop.state = NextHop::State::kReachable;
    next_hop.header.destination = hop.mac;
  }
  return next_hop;
}

Topology::Built Topology::build() {
  Built built;
  if (addresses_dirty_) {
    compile_hosts(built.addresses);
    built.addresses_changed = true;
    addresses_dirty_ = false;
  }
  if (routes_dirty_) {
    auto [routes, left_out] = compile_routes();
    routes_ = std::make_shared<RouteTable>(routes);
    routes_left_out_ = left_out;
    built.routes_changed = true;
    routes_dirty_ = false;
  }
  if (!changed_hops_.empty()) {
    std::vector<NextHopTable::Change> changes;
    for (const Neighbour& neighbour : changed_hops_) {
      const Hop& hop = hops_.at(neighbour);
      changes.push_back({hop.index, next_hop_of(neighbour, hop)});
    }
    next_hops_ = std::make_shared<NextHopTable>(next_hops_->with(changes));
    changed_hops_.clear();
  }
  // A flow may still bear an index that means another neighbour now.
  built.routes_changed = built.routes_changed || indices_reused_;
  indices_reused_ = false;
  built.routes = routes_;
  built.next_hops = next_hops_;
  return built;
}

}  // namespace sluice::model
