// SPDX-License-Identifier: Apache-2.0
#include "dataplane/lcore/drop_rules.h"

#include <algorithm>
#include <utility>

namespace sluice {

DropRules::DropRules(std::vector<std::uint16_t> devices) : devices_(devices.size()) {
  for (std::size_t i = 0; i < devices.size(); ++i) {
    devices_[i].id = devices[i];
  }
}

void DropRules::set(std::span<const DeniedSource> denied) {
  std::vector<DeniedSource> sorted(denied.begin(), denied.end());
  std::sort(sorted.begin(), sorted.end());
  const std::lock_guard lock(mutex_);
  for (Device& device : devices_) {
    update(device, sorted);
  }
}

void DropRules::update(Device& device, std::span<const DeniedSource> denied) {
  std::erase_if(device.made, [&](const auto& made) {
    return !std::binary_search(denied.begin(), denied.end(), made.first);
  });
  device.refused = 0;
  for (const DeniedSource& source : denied) {
    if (device.made.contains(source)) {
      continue;
    }
    FlowMatch match{source.vip.family, source.protocol};
    match.source = source.source;
    match.destination = IpPrefix{source.vip, source.vip.bits()};
    match.destination_port = MaskedPort{source.port};
    FlowRules rule(device.id);
    if (device.made.size() == kRulesMax) {
      device.why = "at most " + std::to_string(kRulesMax) + " are made";
      ++device.refused;
    } else if (rule.drop(match)) {
      device.made.emplace(source, std::move(rule));
    } else {
      device.why = rule.why();
      ++device.refused;
    }
  }
}

std::optional<NicRequest> DropRules::told(std::size_t i) const {
  const std::lock_guard lock(mutex_);
  const Device& device = devices_[i];
  const std::size_t all = device.made.size() + device.refused;
  if (all == 0) {
    return std::nullopt;
  }
  NicRequest request{"drop rules for denied sources, " + std::to_string(device.made.size()) +
                         " of " + std::to_string(all),
                     device.refused == 0, ""};
  if (device.refused != 0) {
    request.answer = device.why + "; the others are dropped in software";
  }
  return request;
}

}  // namespace sluice
