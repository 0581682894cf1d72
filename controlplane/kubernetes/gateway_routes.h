// SPDX-License-Identifier: Apache-2.0
// Where a gateway has routes to, its default one apart: what decides between pods and nodes.
#pragma once

#include "dataplane/net/address.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace sluice::kubernetes {

// Immutable once made.
class GatewayRoutes {
 public:
  // None of them within another one, in any order.
  explicit GatewayRoutes(std::vector<IpPrefix> destinations = {})
      : destinations_(std::move(destinations)) {
    std::sort(destinations_.begin(), destinations_.end(),
              [](const IpPrefix& a, const IpPrefix& b) { return a.address < b.address; });
  }

  // The destination that holds `address`; null: it is reached by the default route, or not at all.
  [[nodiscard]] const IpPrefix* find(const IpAddress& address) const {
    auto at = std::upper_bound(
        destinations_.begin(), destinations_.end(), address,
        [](const IpAddress& wanted, const IpPrefix& each) { return wanted < each.address; });
    return at != destinations_.begin() && (--at)->contains(address) ? &*at : nullptr;
  }

 private:
  std::vector<IpPrefix> destinations_;
};

}  // namespace sluice::kubernetes
