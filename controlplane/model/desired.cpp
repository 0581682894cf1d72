// SPDX-License-Identifier: Apache-2.0
#include "controlplane/model/desired.h"

#include "controlplane/model/validate.h"

#include <algorithm>

namespace sluice::model {
namespace {

std::string upsert_path(std::size_t index) {
  return "upsert[" + std::to_string(index) + "]";
}

}  // namespace

Result<Plan> Desired::plan(const Transaction& transaction) const {
  Faults faults;
  if (!is_label(transaction.provider)) {
    faults.add("provider", "'" + transaction.provider +
                               "' is not a name; use 1 to 63 of a-z, 0-9 "
                               "and '-'");
    return faults.to_error();
  }
  const std::uint64_t now = revision(transaction.provider);
  if (transaction.expected_revision && *transaction.expected_revision != now) {
    Error error;
    error.code = Code::kAborted;
    error.message =
        "provider '" + transaction.provider + "' is at revision " + std::to_string(now) + ", not " +
        std::to_string(*transaction.expected_revision) + "; read it again and repeat the change";
    return error;
  }
  static const Provider kNone;
  const auto at = providers_.find(transaction.provider);
  const Provider& provider = at == providers_.end() ? kNone : at->second;
  Plan plan;
  plan.provider = transaction.provider;
  std::set<ServiceName> leaving;
  for (std::size_t i = 0; i < transaction.remove.size(); ++i) {
    if (!provider.services.contains(transaction.remove[i])) {
      Error error;
      error.code = Code::kNotFound;
      error.message = "provider '" + transaction.provider + "' has no service " +
                      to_string(transaction.remove[i]);
      error.faults = {{"delete[" + std::to_string(i) + "]", "no such service"}};
      return error;
    }
    leaving.insert(transaction.remove[i]);
  }
  std::set<ServiceName> coming;
  for (std::size_t i = 0; i < transaction.upsert.size(); ++i) {
    const ServiceName& name = transaction.upsert[i].name;
    if (!coming.insert(name).second || leaving.contains(name)) {
      faults.add(upsert_path(i) + ".metadata.name",
                 "'" + to_string(name) + "' is in this transaction twice");
    }
  }
  if (transaction.replace) {
    for (const auto& [name, stored] : provider.services) {
      if (!coming.contains(name)) {
        leaving.insert(name);
      }
    }
  }
  std::optional<Error> taken;
  check_frontends(transaction, leaving, faults, taken);
  if (!faults.empty()) {
    return faults.to_error();
  }
  if (taken) {
    return *taken;
  }
  for (const Service& service : transaction.upsert) {
    const auto stored = provider.services.find(service.name);
    if (stored == provider.services.end()) {
      plan.created.push_back(service);
    } else if (stored->second.service == service) {
      plan.unchanged.push_back(service.name);
    } else {
      plan.changed.push_back(service);
    }
  }
  plan.removed.assign(leaving.begin(), leaving.end());
  return plan;
}

// A frontend has one holder. Among the services of one transaction a clash is a fault of the
// transaction; with one that stays, the other holds it.
void Desired::check_frontends(const Transaction& transaction, const std::set<ServiceName>& leaving,
                              Faults& faults, std::optional<Error>& taken) const {
  std::set<ServiceName> moving = leaving;
  for (const Service& service : transaction.upsert) {
    moving.insert(service.name);
  }
  std::map<FrontendKey, std::size_t> here;
  for (std::size_t i = 0; i < transaction.upsert.size(); ++i) {
    const Service& service = transaction.upsert[i];
    for (std::size_t v = 0; v < service.vips.size(); ++v) {
      if (reserved_.contains(service.vips[v])) {
        faults.add(upsert_path(i) + ".spec.loadBalancerIPs[" + std::to_string(v) + "]",
                   "'" + sluice::to_string(service.vips[v]) +
                       "' is a SNAT address of this gateway; choose another");
      }
      for (std::size_t p = 0; p < service.ports.size(); ++p) {
        const FrontendKey key{service.vips[v], {service.ports[p].port, service.ports[p].protocol}};
        const std::string path = upsert_path(i) + ".spec.ports[" + std::to_string(p) + "].port";
        const auto [other, fresh] = here.emplace(key, i);
        if (!fresh && other->second != i) {
          faults.add(path, "duplicate frontend: " + to_string(key) + " is in " +
                               upsert_path(other->second) + " of this transaction too");
        }
        const auto holder = holders_.find(key);
        if (holder != holders_.end() && !taken &&
            !(holder->second.provider == transaction.provider &&
              moving.contains(holder->second.name))) {
          taken.emplace();
          taken->code = Code::kAlreadyExists;
          taken->resource = to_string(key);
          taken->owner = holder->second.provider + ": " + to_string(holder->second.name);
          taken->message = to_string(key) + " belongs to service " +
                           to_string(holder->second.name) + " of provider '" +
                           holder->second.provider + "'; choose another address or port";
          taken->faults = {{path, taken->message}};
        }
      }
    }
  }
}

void Desired::forget(const std::string& provider, const Service& service) {
  for (const IpAddress& vip : service.vips) {
    for (const ServicePortSpec& port : service.ports) {
      const auto at = holders_.find({vip, {port.port, port.protocol}});
      if (at != holders_.end() && at->second == Holder{provider, service.name}) {
        holders_.erase(at);
      }
    }
  }
}

void Desired::remember(const std::string& provider, const Service& service) {
  for (const IpAddress& vip : service.vips) {
    for (const ServicePortSpec& port : service.ports) {
      holders_[{vip, {port.port, port.protocol}}] = {provider, service.name};
    }
  }
}

std::uint64_t Desired::commit(const Plan& plan) {
  Provider& provider = providers_[plan.provider];
  if (plan.empty()) {
    return provider.revision;
  }
  ++provider.revision;
  for (const ServiceName& name : plan.removed) {
    const auto at = provider.services.find(name);
    forget(plan.provider, at->second.service);
    provider.services.erase(at);
  }
  for (const Service& service : plan.changed) {
    forget(plan.provider, provider.services[service.name].service);
  }
  for (const auto* services : {&plan.created, &plan.changed}) {
    for (const Service& service : *services) {
      remember(plan.provider, service);
      provider.services[service.name] = {service, provider.revision};
    }
  }
  return provider.revision;
}

std::uint64_t Desired::revision(const std::string& provider) const {
  const auto at = providers_.find(provider);
  return at == providers_.end() ? 0 : at->second.revision;
}

std::size_t Desired::services() const {
  std::size_t count = 0;
  for (const auto& [name, provider] : providers_) {
    count += provider.services.size();
  }
  return count;
}

const Desired::Stored* Desired::find(const std::string& provider, const ServiceName& name) const {
  const auto at = providers_.find(provider);
  if (at == providers_.end()) {
    return nullptr;
  }
  const auto stored = at->second.services.find(name);
  return stored == at->second.services.end() ? nullptr : &stored->second;
}

}  // namespace sluice::model
