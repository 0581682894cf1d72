// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/address.h"

#include <cstdint>
#include <map>
#include <vector>

namespace sluice::model {

// What flows that outlive a change of their service need still: their VIP, which no service has any
// more, and that answers bear clients' addresses (DNAT). Both are kept for a service port until all
// lcores have seen the change and the port has no flows. A port that goes on elsewhere keeps what
// it left for as long as it has any flow.
class Withdrawn {
 public:
  // `epoch`: of the first snapshot without it.
  void keep_address(const IpAddress& vip, std::uint32_t port_id, std::uint64_t epoch) {
    addresses_[vip][port_id] = epoch;
  }
  void keep_dnat(std::uint32_t port_id, std::uint64_t epoch) { dnat_[port_id] = epoch; }
  // The port serves there again, or in this mode.
  void address_is_back(const IpAddress& vip, std::uint32_t port_id) {
    const auto at = addresses_.find(vip);
    if (at != addresses_.end() && at->second.erase(port_id) != 0 && at->second.empty()) {
      addresses_.erase(at);
    }
  }
  void dnat_is_back(std::uint32_t port_id) { dnat_.erase(port_id); }

  [[nodiscard]] bool keeps(const IpAddress& vip) const { return addresses_.contains(vip); }
  [[nodiscard]] bool keeps_dnat() const { return !dnat_.empty(); }

  struct Gone {
    std::vector<IpAddress> addresses;
    bool dnat = false;
  };
  // Forgets what nobody needs any more. `is_idle(port_id)`: the port has no flows.
  template <typename IsIdle>
  Gone reclaim(std::uint64_t seen_by_all, IsIdle&& is_idle) {
    const auto idle = [&](const auto& kept) {
      return kept.second <= seen_by_all && is_idle(kept.first);
    };
    Gone gone;
    for (auto at = addresses_.begin(); at != addresses_.end();) {
      std::erase_if(at->second, idle);
      if (at->second.empty()) {
        gone.addresses.push_back(at->first);
        at = addresses_.erase(at);
      } else {
        ++at;
      }
    }
    gone.dnat = std::erase_if(dnat_, idle) != 0 && dnat_.empty();
    return gone;
  }

 private:
  std::map<IpAddress, std::map<std::uint32_t, std::uint64_t>> addresses_;  // port id -> epoch
  std::map<std::uint32_t, std::uint64_t> dnat_;
};

}  // namespace sluice::model
