// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/lcore/dataplane.h"
#include "dataplane/lcore/flow_rules.h"

#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace sluice {

// Rules of devices that face clients and backends alike, under RSS of one side: what is for a VIP
// is spread by its source, the client, and everything else, replies, by its destination, which
// under DNAT is the client and under FULL_NAT stands for it. A rule saves hops: packets for a VIP
// without one, and those that came before it, are handed over.
class VipRules {
 public:
  struct Device {
    std::uint16_t id = 0;        // DPDK's number; it is open as long as this is there
    std::optional<RuleRss> rss;  // none: it needs no rules
  };
  static constexpr std::size_t kVipsMax = 512;  // on each device

  explicit VipRules(const std::vector<Device>& devices);

  // Whether any device needs them.
  [[nodiscard]] bool needed() const;
  // Addresses that clients send to from now on, and that they do not any more. One thread.
  void change(std::span<const IpAddress> gained, std::span<const IpAddress> lost);
  // What became of it on device `i`; nothing when it needs none or there is no VIP. Any thread.
  [[nodiscard]] std::optional<NicRequest> told(std::size_t i) const;

 private:
  struct State {
    Device device;
    std::map<IpAddress, FlowRules> made;
    std::set<IpAddress> without;  // refused; asked again when another VIP has gone
    std::string why;
  };
  static void gain(State& state, const IpAddress& vip);

  mutable std::mutex mutex_;  // over states_
  std::vector<State> states_;
};

// Those for one VIP. False when one is refused; none is left then, and rules.why() tells.
[[nodiscard]] bool make_vip_rules(FlowRules& rules, const IpAddress& vip, const RuleRss& rss);

}  // namespace sluice
