// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/gateway_answers.h"

#include <absl/container/flat_hash_set.h>
#include <algorithm>

namespace sluice::kubernetes {

bool GatewayAnswers::Answer::has_all(const std::vector<IpAddress>& all) const {
  return std::all_of(all.begin(), all.end(), [&](const IpAddress& vip) {
    return std::find(vips.begin(), vips.end(), sluice::to_string(vip)) != vips.end();
  });
}

std::vector<ServiceName> GatewayAnswers::take(std::size_t gateway, const std::vector<Sent>& sent,
                                              bool all) {
  std::vector<ServiceName> changed;
  const std::lock_guard lock(mutex_);
  Known& known = of_[gateway];
  if (all) {
    absl::flat_hash_set<ServiceName> there;
    for (const Sent& each : sent) {
      there.insert(each.name);
    }
    absl::erase_if(known, [&](const auto& item) {
      const bool is_gone = !there.contains(item.first);
      if (is_gone) {
        changed.push_back(item.first);
      }
      return is_gone;
    });
  }
  for (const Sent& each : sent) {
    if (!each.served && each.refusal.empty()) {
      if (known.erase(each.name) != 0) {
        changed.push_back(each.name);
      }
      continue;
    }
    const auto [at, is_new] = known.try_emplace(each.name);
    Answer answer = each.served ? Answer{each.vips, "", "", ""}
                                : Answer{at->second.vips, each.refusal, each.resource, each.owner};
    if (is_new || answer != at->second) {
      at->second = std::move(answer);
      changed.push_back(each.name);
    }
  }
  return changed;
}

std::optional<GatewayAnswers::Answer> GatewayAnswers::of(std::size_t gateway,
                                                         const ServiceName& name) const {
  const std::lock_guard lock(mutex_);
  const auto at = of_[gateway].find(name);
  return at == of_[gateway].end() ? std::nullopt : std::optional(at->second);
}

bool GatewayAnswers::is_served(const ServiceName& name, const std::vector<IpAddress>& vips) const {
  const std::lock_guard lock(mutex_);
  return std::any_of(of_.begin(), of_.end(), [&](const Known& known) {
    const auto at = known.find(name);
    return at != known.end() && at->second.refusal.empty() && at->second.has_all(vips);
  });
}

}  // namespace sluice::kubernetes
