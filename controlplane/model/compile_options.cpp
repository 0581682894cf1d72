// SPDX-License-Identifier: Apache-2.0
// The part of the compiler that is about a service's options: who may be a client, and how long an
// endpoint drains.
#include "controlplane/model/compile.h"

#include <algorithm>

namespace sluice::model {

std::size_t ServiceCompiler::PrefixesHash::operator()(const Prefixes& prefixes) const noexcept {
  std::uint64_t hash = prefixes.size();
  for (const IpPrefix& prefix : prefixes) {
    hash = multiply_fold(hash ^ hash_of(prefix.address), 0x9e3779b97f4a7c15ULL ^ prefix.length);
  }
  return hash;
}

// Services with the same prefixes, in whatever order, share one set; so equal sets are one pointer.
std::shared_ptr<const SourceRanges> ServiceCompiler::ranges_for(Prefixes prefixes) {
  if (prefixes.empty()) {
    return nullptr;
  }
  std::sort(prefixes.begin(), prefixes.end());
  prefixes.erase(std::unique(prefixes.begin(), prefixes.end()), prefixes.end());
  return ranges_.get(prefixes, [&] { return std::make_shared<const SourceRanges>(prefixes); });
}

void ServiceCompiler::take_over_ranges(const Service& service, const CompiledPort* before,
                                       ServicePort& port) {
  port.allowed = ranges_for(service.options.source_ranges);
  port.denied = ranges_for(service.options.deny_source_ranges);
  if (before != nullptr &&
      (before->port->allowed != port.allowed || before->port->denied != port.denied)) {
    disruptive_ = true;
  }
}

void ServiceCompiler::note_draining(const Key& key, const CompiledService& service) {
  const auto waits = [](const CompiledPort& port) {
    return std::any_of(port.endpoints.begin(), port.endpoints.end(),
                       [](const auto& endpoint) { return endpoint.drains() && !endpoint.drained; });
  };
  if (service.drain_deadline_ms != 0 &&
      std::any_of(service.ports.begin(), service.ports.end(), waits)) {
    draining_.insert(key);
  } else {
    draining_.erase(key);
  }
}

// The slot stays with its endpoint, in an incarnation that no flow is on: those there are find
// themselves stale at their next packet, and do not come to life again with the endpoint.
bool ServiceCompiler::expire_drains() {
  bool any = false;
  for (const Key& key : std::set<Key>(draining_)) {
    CompiledService& service = services_[key];
    for (CompiledPort& port : service.ports) {
      for (CompiledEndpoint& endpoint : port.endpoints) {
        if (!endpoint.drains() || endpoint.drained ||
            now_ms_ - endpoint.draining_since_ms < service.drain_deadline_ms) {
          continue;
        }
        endpoint.drained = any = true;
        incarnations_[endpoint.slot] = (incarnations_[endpoint.slot] + 1U) & 63U;
        changed_bindings_[endpoint.slot] = {
            endpoint.address, endpoint.port, port.id,
            BindingStateByte::make(BindingState::kFree, incarnations_[endpoint.slot])};
      }
    }
    note_draining(key, service);
  }
  return any;
}

}  // namespace sluice::model
