// SPDX-License-Identifier: Apache-2.0
#include "dataplane/lcore/vip_rules.h"

#include "dataplane/net/headers.h"

#include <algorithm>
#include <utility>

namespace sluice {

bool make_vip_rules(FlowRules& rules, const IpAddress& vip, const RuleRss& rss) {
  const std::size_t before = rules.size();
  for (const std::uint8_t protocol : {kProtocolTcp, kProtocolUdp}) {
    FlowMatch match{vip.family, protocol};
    match.destination = IpPrefix{vip, vip.bits()};
    // Below the rules that drop what is denied; a device with one priority has no order.
    if (!rules.spread(match, rss, 1) && !rules.spread(match, rss, 0)) {
      rules.clear(before);
      return false;
    }
  }
  return true;
}

VipRules::VipRules(const std::vector<Device>& devices) {
  for (const Device& device : devices) {
    states_.push_back({device, {}, {}, ""});
  }
}

bool VipRules::needed() const {
  return std::any_of(states_.begin(), states_.end(),
                     [](const State& state) { return state.device.rss.has_value(); });
}

void VipRules::change(std::span<const IpAddress> gained, std::span<const IpAddress> lost) {
  const std::lock_guard lock(mutex_);
  for (State& state : states_) {
    if (!state.device.rss) {
      continue;
    }
    for (const IpAddress& vip : lost) {
      state.made.erase(vip);
      state.without.erase(vip);
    }
    for (const IpAddress& vip : gained) {
      gain(state, vip);
    }
    if (!lost.empty()) {
      // As many as have gone: a change costs what it changes.
      std::vector<IpAddress> again;
      for (const IpAddress& vip : state.without) {
        if (again.size() == lost.size()) {
          break;
        }
        again.push_back(vip);
      }
      for (const IpAddress& vip : again) {
        gain(state, vip);
      }
    }
  }
}

void VipRules::gain(State& state, const IpAddress& vip) {
  if (state.made.contains(vip)) {
    return;
  }
  FlowRules rules(state.device.id);
  if (state.made.size() == kVipsMax) {
    state.why = "at most " + std::to_string(kVipsMax) + " VIPs have them";
    state.without.insert(vip);
  } else if (make_vip_rules(rules, vip, *state.device.rss)) {
    state.made.emplace(vip, std::move(rules));
    state.without.erase(vip);
  } else {
    state.why = rules.why();
    state.without.insert(vip);
  }
}

std::optional<NicRequest> VipRules::told(std::size_t i) const {
  const std::lock_guard lock(mutex_);
  const State& state = states_[i];
  const std::size_t all = state.made.size() + state.without.size();
  if (all == 0) {
    return std::nullopt;
  }
  NicRequest request{
      "rss rules for VIPs, " + std::to_string(state.made.size()) + " of " + std::to_string(all),
      state.without.empty(), ""};
  if (!state.without.empty()) {
    request.answer = state.why + "; the others' packets are handed over";
  }
  return request;
}

}  // namespace sluice
