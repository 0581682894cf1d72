// SPDX-License-Identifier: Apache-2.0
#include "dataplane/snapshot/routes.h"

#include <algorithm>

namespace sluice {

RouteTable::RouteTable(std::span<const Route> routes) {
  for (const Route& route : routes) {
    auto& lengths = route.prefix.address.is_ipv4() ? ipv4_ : ipv6_;
    auto at = std::find_if(lengths.begin(), lengths.end(), [&](const Length& length) {
      return length.bits == route.prefix.length;
    });
    if (at == lengths.end()) {
      IpAddress all = route.prefix.address;
      all.bytes.fill(0xff);
      at = lengths.insert(
          lengths.end(),
          Length{route.prefix.length, prefix_of(all, route.prefix.length).address, {}});
    }
    size_ += at->routes.emplace(route.prefix.address, route).second ? 1 : 0;
  }
  const auto longest_first = [](const Length& a, const Length& b) { return a.bits > b.bits; };
  std::sort(ipv4_.begin(), ipv4_.end(), longest_first);
  std::sort(ipv6_.begin(), ipv6_.end(), longest_first);
}

const Route* RouteTable::find(const IpAddress& destination) const {
  for (const Length& length : destination.is_ipv4() ? ipv4_ : ipv6_) {
    if (length.bits == 0) {
      return &length.routes.begin()->second;  // the default route: there is one
    }
    const auto at = length.routes.find(destination.masked(length.mask));
    if (at != length.routes.end()) {
      return &at->second;
    }
  }
  return nullptr;
}

}  // namespace sluice
