// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/model/observed.h"
#include "controlplane/runtime/netlink_decode.h"

#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

namespace sluice::runtime {

// The kernel's state as its news tell it, and what of that has not been passed on yet. Pure: no
// socket, no clock, one thread. A dump is taken into a mirror of its own and then adopted, so that
// what vanished without a word vanishes here too.
class NetlinkMirror {
 public:
  // Each returns false when the news does not fit what is known, so that a dump is due: something
  // happened in silence (see Netlink).
  bool take(const LinkNews& news);
  bool take(const AddressNews& news);
  bool take(const RouteNews& news);
  bool take(const NeighbourNews& news);

  // Everything but the routes, and the routes, of a mirror that took a whole dump.
  void adopt_all_but_routes(NetlinkMirror&& dumped);
  void adopt_routes(NetlinkMirror&& dumped);

  // What changed since the last call; nothing when nothing did.
  [[nodiscard]] bool changed() const;
  std::optional<std::vector<model::KernelAddress>> changed_addresses();
  // One per route: of several next hops the first, which is all that a route of a snapshot holds.
  std::optional<std::vector<model::KernelRoute>> changed_routes();
  std::vector<model::KernelNeighbour> changed_neighbours();
  std::vector<std::pair<int, bool>> changed_links();

  [[nodiscard]] bool is_reachable(const NeighbourKey& key) const {
    return neighbours_.contains(key);
  }
  // The kernel has a MAC for it that it never checks.
  [[nodiscard]] bool is_fixed(const NeighbourKey& key) const;

 private:
  struct Known {
    MacAddress mac{};
    bool fixed = false;
  };
  // Interface, address, prefix length: one address may stand on a link with several lengths.
  using Address = std::tuple<int, IpAddress, std::uint8_t>;
  struct Link {
    bool up = false;
    bool carrier = false;
    friend bool operator==(const Link&, const Link&) = default;
  };
  void take_ipv6(const RouteNews& news);
  bool take_ipv4(const RouteNews& news);
  void forget_interface(int interface);

  std::map<int, Link> links_;
  std::set<Address> addresses_;
  // IPv4 routes with one key are routes of their own, the first of which counts; of IPv6 ones the
  // kernel makes next hops of one route.
  std::multimap<RouteKey, std::vector<Way>> routes_;
  std::map<NeighbourKey, Known> neighbours_;  // the reachable ones

  // True before the first dump: that there is nothing is worth telling too.
  bool addresses_changed_ = true;
  bool routes_changed_ = true;
  std::map<NeighbourKey, model::KernelNeighbour> changed_neighbours_;
  std::map<int, bool> changed_links_;
};

}  // namespace sluice::runtime
