// SPDX-License-Identifier: Apache-2.0
// Desired: which addresses the backends of a service may have.
#include "controlplane/model/desired.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace sluice::model {
namespace {

std::string endpoint_path(std::size_t index, std::size_t endpoint) {
  return "upsert[" + std::to_string(index) + "].spec.endpoints[" + std::to_string(endpoint) +
         "].addresses[0]";
}

}  // namespace

// Nobody but the gateway answers for its VIPs and SNAT addresses, and it does not answer itself. A
// node answers for its own address, also where a service has that as an external one.
void Desired::check_backends(const Transaction& transaction, const std::set<ServiceName>& moving,
                             Faults& faults) const {
  AddressMap<std::size_t> vips;
  for (std::size_t i = 0; i < transaction.upsert.size(); ++i) {
    for (const FrontendAddress& frontend : frontends_of(transaction.upsert[i])) {
      vips.emplace(frontend.address, i);
    }
  }
  for (std::size_t i = 0; i < transaction.upsert.size(); ++i) {
    const std::vector<Endpoint>& endpoints = transaction.upsert[i].endpoints;
    for (std::size_t e = 0; e < endpoints.size(); ++e) {
      const IpAddress& address = endpoints[e].address;
      std::string what;
      if (node_ports_.is_node(address)) {
        continue;
      }
      if (const auto here = vips.find(address); here != vips.end()) {
        what = here->second == i ? "a VIP of this service; it cannot be its own backend"
                                 : "a VIP of upsert[" + std::to_string(here->second) + "]";
      } else if (const Holder* holder = holder_of(address, transaction.provider, moving)) {
        what = "a VIP of service " + to_string(holder->name) + " of provider '" + holder->provider +
               "'";
      } else if (reserved_.contains(address)) {
        what = "a SNAT address of this gateway";
      }
      if (!what.empty()) {
        faults.add(endpoint_path(i, e), "'" + sluice::to_string(address) + "' is " + what);
      }
    }
  }
}

// The first by name that has this address among its endpoints and keeps it. Looked for only where
// somebody uses the address, so that it costs nothing as a rule.
std::optional<Desired::Holder> Desired::backend_of(const IpAddress& address,
                                                   const std::string& provider,
                                                   const std::set<ServiceName>& moving) const {
  if (!endpoint_uses_.contains(address)) {
    return std::nullopt;
  }
  std::optional<Holder> first;
  for (const auto& [name, state] : providers_) {
    for (const auto& [service, stored] : state.services) {
      const std::vector<Endpoint>& endpoints = stored.service.endpoints;
      const bool stays = name != provider || !moving.contains(service);
      const bool earlier = !first || (name == first->provider && service < first->name);
      if (stays && earlier && std::any_of(endpoints.begin(), endpoints.end(), [&](const auto& e) {
            return e.address == address;
          })) {
        first = Holder{name, service};
      }
    }
  }
  return first;
}

// Of each service one first: an answer has room for few, and whoever writes many services looks in
// it for those to leave out.
void Desired::check_backend_ranges(const Transaction& transaction, Faults& faults) const {
  if (backend_ranges_.empty() || transaction.provider == kProbeProvider) {
    return;
  }
  std::vector<Fault> further;
  for (std::size_t i = 0; i < transaction.upsert.size(); ++i) {
    const std::vector<Endpoint>& endpoints = transaction.upsert[i].endpoints;
    bool first = true;
    for (std::size_t e = 0; e < endpoints.size(); ++e) {
      const IpAddress& address = endpoints[e].address;
      if (!backend_ranges_.allows(transaction.provider, address)) {
        (std::exchange(first, false) ? faults.invalid : further)
            .push_back(
                {endpoint_path(i, e), backend_ranges_.why_not(transaction.provider, address)});
      }
    }
  }
  std::move(further.begin(), further.end(), std::back_inserter(faults.invalid));
}

}  // namespace sluice::model
