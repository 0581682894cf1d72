// SPDX-License-Identifier: Apache-2.0
#include "controlplane/model/desired.h"

#include "controlplane/model/validate.h"

#include <absl/container/flat_hash_set.h>
#include <algorithm>
#include <string_view>

namespace sluice::model {
namespace {

std::string upsert_path(std::size_t index) {
  return "upsert[" + std::to_string(index) + "]";
}

std::string address_path(const Service& service, std::size_t index, std::size_t frontend) {
  return upsert_path(index) + ".spec." + frontend_field(service, frontend);
}

Error not_at_revision(const Transaction& transaction, std::uint64_t now) {
  Error error;
  error.code = Code::kAborted;
  error.message = "provider '" + transaction.provider + "' is at revision " + std::to_string(now) +
                  ", not " + std::to_string(*transaction.expected_revision) +
                  "; read it again and repeat the change";
  return error;
}

// Faults of ports by themselves leave a zero behind; such a frontend takes nothing.
bool is_whole(const ServicePortSpec& port) {
  return port.port != 0 && port.protocol != 0;
}

}  // namespace

void Desired::note_taken(const std::string& path, const std::string& what,
                         const std::string& provider, const ServiceName& name,
                         const std::string& way_out, std::optional<Error>& taken) {
  note_existing({path, what + " belongs to service " + to_string(name) + " of provider '" +
                           provider + "'; " + way_out},
                what, provider, name, taken);
}

void Desired::note_existing(Fault fault, const std::string& what, const std::string& provider,
                            const ServiceName& name, std::optional<Error>& taken) {
  if (!taken) {
    taken.emplace();
    taken->code = Code::kAlreadyExists;
    taken->resource = what;
    taken->owner = provider + ": " + to_string(name);
    taken->message = fault.message;
  }
  taken->faults.push_back(std::move(fault));
}

Result<Plan> Desired::plan(const Transaction& transaction, Faults faults) const {
  check_names(transaction, faults);
  const std::uint64_t now = revision(transaction.provider);
  if (faults.empty() && transaction.expected_revision && *transaction.expected_revision != now) {
    return not_at_revision(transaction, now);
  }
  static const Provider kNone;
  const auto at = providers_.find(transaction.provider);
  const Provider& provider = at == providers_.end() ? kNone : at->second;
  std::optional<Error> absent;
  check_removed(transaction, absent);
  const std::set<ServiceName> leaving = this->leaving(transaction);
  std::set<ServiceName> moving = leaving;
  for (const Service& service : transaction.upsert) {
    moving.insert(service.name);
  }
  std::optional<Error> taken;
  check_new(transaction, provider, taken);
  check_frontends(transaction, moving, faults, taken);
  check_backends(transaction, moving, faults);
  check_backend_ranges(transaction, faults);
  if (absent && taken) {
    absent->faults.insert(absent->faults.end(), taken->faults.begin(), taken->faults.end());
  }
  if (absent || taken) {
    const Error& refused = absent ? *absent : *taken;
    if (faults.empty()) {
      return refused;
    }
    for (const Fault& fault : refused.faults) {
      faults.add(fault.path, fault.message);
    }
  }
  if (!faults.empty()) {
    return faults.to_error();
  }
  if (auto over = check_quotas(transaction, leaving)) {
    return *std::move(over);
  }
  Plan plan;
  plan.provider = transaction.provider;
  for (std::size_t i = 0; i < transaction.upsert.size(); ++i) {
    const Service& service = transaction.upsert[i];
    const auto stored = provider.services.find(service.name);
    if (stored == provider.services.end()) {
      plan.created.push_back({service.name, i});
    } else if (stored->second.service == service) {
      plan.unchanged.push_back(service.name);
    } else {
      plan.changed.push_back({service.name, i});
    }
  }
  plan.removed.assign(leaving.begin(), leaving.end());
  return plan;
}

void Desired::check_removed(const Transaction& transaction, std::optional<Error>& absent) const {
  for (std::size_t i = 0; i < transaction.remove.size(); ++i) {
    const ServiceName& name = transaction.remove[i];
    if (find(transaction.provider, name) != nullptr) {
      continue;
    }
    if (!absent) {
      absent.emplace();
      absent->code = Code::kNotFound;
      absent->message = "provider '" + transaction.provider + "' has no service " + to_string(name);
    }
    absent->faults.push_back({"delete[" + std::to_string(i) + "]", "no such service"});
  }
}

// Who is not there any more after it.
std::set<ServiceName> Desired::leaving(const Transaction& transaction) const {
  std::set<ServiceName> leaving(transaction.remove.begin(), transaction.remove.end());
  const auto provider = providers_.find(transaction.provider);
  if (!transaction.replace || provider == providers_.end()) {
    return leaving;
  }
  absl::flat_hash_set<std::pair<std::string_view, std::string_view>> staying;
  for (const Service& service : transaction.upsert) {
    staying.emplace(service.name.space, service.name.name);
  }
  for (const auto& [name, stored] : provider->second.services) {
    if (!staying.contains({name.space, name.name})) {
      leaving.insert(name);
    }
  }
  return leaving;
}

void Desired::check_new(const Transaction& transaction, const Provider& provider,
                        std::optional<Error>& taken) {
  for (std::size_t i = 0; transaction.create && i < transaction.upsert.size(); ++i) {
    const ServiceName& name = transaction.upsert[i].name;
    if (provider.services.contains(name)) {
      note_existing({upsert_path(i) + ".metadata.name",
                     "provider '" + transaction.provider + "' has a service " + to_string(name) +
                         " already; apply changes it, or choose another name"},
                    to_string(name), transaction.provider, name, taken);
    }
  }
}

void Desired::check_names(const Transaction& transaction, Faults& faults) const {
  if (!is_label(transaction.provider)) {
    faults.add("provider", "'" + transaction.provider +
                               "' is not a name; use 1 to 63 of a-z, 0-9 and '-', beginning and "
                               "ending with a letter or digit");
  }
  std::set<ServiceName> seen(transaction.remove.begin(), transaction.remove.end());
  for (std::size_t i = 0; i < transaction.upsert.size(); ++i) {
    const ServiceName& name = transaction.upsert[i].name;
    if (is_label(name.name) && !seen.insert(name).second) {
      faults.add(upsert_path(i) + ".metadata.name",
                 "'" + to_string(name) + "' is in this transaction twice");
    }
  }
}

// A frontend has one holder. Among the services of one transaction a clash is a fault of the
// transaction; with one that stays, the other holds it.
void Desired::check_frontends(const Transaction& transaction, const std::set<ServiceName>& moving,
                              Faults& faults, std::optional<Error>& taken) const {
  std::map<FrontendKey, std::size_t> here;
  const auto check = [&](const FrontendKey& key, std::size_t i, const std::string& path) {
    const auto [other, fresh] = here.emplace(key, i);
    if (!fresh && other->second != i) {
      faults.add(path, "duplicate frontend: " + to_string(key) + " is in " +
                           upsert_path(other->second) + " of this transaction too");
    }
    const Holder* holder = holder_of(key);
    if (holder == nullptr ||
        (holder->provider == transaction.provider && moving.contains(holder->name))) {
      return;
    }
    note_taken(path, to_string(key), holder->provider, holder->name,
               "choose another address or port", taken);
  };
  std::map<PortKey, std::size_t> node_ports_here;
  std::map<IpAddress, std::size_t> addresses_here;
  for (std::size_t i = 0; i < transaction.upsert.size(); ++i) {
    const Service& service = transaction.upsert[i];
    for (std::size_t p = 0; p < service.ports.size(); ++p) {
      check_node_port(transaction, i, p, moving, node_ports_here, faults, taken);
    }
    const std::vector<FrontendAddress> frontends = frontends_of(service);
    check_sharing(transaction, i, frontends, moving, addresses_here, faults, taken);
    for (std::size_t f = 0; f < frontends.size(); ++f) {
      const IpAddress& address = frontends[f].address;
      if (reserved_.contains(address)) {
        faults.add(address_path(service, i, f), "'" + sluice::to_string(address) +
                                                    "' is a SNAT address of this gateway; choose "
                                                    "another");
      }
      const auto user = node_ports_.is_node(address)
                            ? std::nullopt
                            : backend_of(address, transaction.provider, moving);
      if (user) {
        faults.add(address_path(service, i, f), "'" + sluice::to_string(address) +
                                                    "' is an endpoint of service " +
                                                    to_string(user->name) + " of provider '" +
                                                    user->provider + "'; choose another");
      }
      for (std::size_t p = 0; p < service.ports.size(); ++p) {
        const ServicePortSpec& port = service.ports[p];
        if (is_whole(port)) {
          check({address, {port.port, port.protocol}}, i,
                upsert_path(i) + ".spec.ports[" + std::to_string(p) + "].port");
        }
      }
    }
  }
}

// A node port has one holder in the whole gateway, by protocol.
void Desired::check_node_port(const Transaction& transaction, std::size_t index, std::size_t port,
                              const std::set<ServiceName>& moving,
                              std::map<PortKey, std::size_t>& here, Faults& faults,
                              std::optional<Error>& taken) const {
  const ServicePortSpec& spec = transaction.upsert[index].ports[port];
  if (spec.node_port == 0 || spec.protocol == 0) {
    return;
  }
  const PortKey key{spec.node_port, spec.protocol};
  const std::string path =
      upsert_path(index) + ".spec.ports[" + std::to_string(port) + "].nodePort";
  const std::string what =
      "node port " + std::to_string(key.port) + "/" + name_of_protocol(key.protocol);
  const auto [other, fresh] = here.emplace(key, index);
  if (!fresh && other->second != index) {
    faults.add(path, what + " is in " + upsert_path(other->second) + " of this transaction too");
  }
  const auto held = node_port_holders_.find(key);
  if (held != node_port_holders_.end() &&
      (held->second.provider != transaction.provider || !moving.contains(held->second.name))) {
    note_taken(path, what, held->second.provider, held->second.name,
               "choose another, or leave it out", taken);
  }
}

const Desired::Holder* Desired::holder_of(const FrontendKey& key) const {
  const auto vip = holders_.find(key.address);
  if (vip == holders_.end()) {
    return nullptr;
  }
  const auto at = vip->second.find(key.key);
  return at == vip->second.end() ? nullptr : &at->second;
}

// A service that has this VIP and keeps it; null without one.
const Desired::Holder* Desired::holder_of(const IpAddress& vip, const std::string& provider,
                                          const std::set<ServiceName>& moving) const {
  const auto at = holders_.find(vip);
  if (at == holders_.end()) {
    return nullptr;
  }
  for (const auto& [port, holder] : at->second) {
    if (holder.provider != provider || !moving.contains(holder.name)) {
      return &holder;
    }
  }
  return nullptr;
}

void Desired::forget(const std::string& provider, const Service& service) {
  quotas_.remove(provider, service);
  if (!pending_.empty()) {
    pending_.erase({provider, service.name});
  }
  for (const Endpoint& endpoint : service.endpoints) {
    const auto uses = endpoint_uses_.find(endpoint.address);
    if (uses != endpoint_uses_.end() && --uses->second == 0) {
      endpoint_uses_.erase(uses);
    }
  }
  for (const ServicePortSpec& port : service.ports) {
    const auto held = node_port_holders_.find({port.node_port, port.protocol});
    if (held != node_port_holders_.end() && held->second == Holder{provider, service.name}) {
      node_port_holders_.erase(held);
    }
  }
  const std::string key = sharing_key(service);
  for (const auto& [vip, kind] : frontends_of(service)) {
    const auto held = holders_.find(vip);
    if (held == holders_.end()) {
      continue;
    }
    for (const ServicePortSpec& port : service.ports) {
      const auto at = held->second.find({port.port, port.protocol});
      if (at != held->second.end() && at->second == Holder{provider, service.name}) {
        held->second.erase(at);
      }
    }
    if (held->second.empty()) {
      holders_.erase(held);
      allocator_.give_back(vip);
      cluster_allocator_.give_back(vip);
      if (given_up_.size() < kGivenUpMax) {
        given_up_[vip] = key;
      } else {
        vip_freed_ = true;
      }
      if (!key.empty()) {
        shared_[{provider, key}].erase(vip);
      }
    }
  }
}

void Desired::remember(const std::string& provider, const Service& service) {
  quotas_.add(provider, service);
  if (!service.pending.why.empty()) {
    pending_.emplace(provider, service.name);
  }
  for (const Endpoint& endpoint : service.endpoints) {
    ++endpoint_uses_[endpoint.address];
  }
  for (const ServicePortSpec& port : service.ports) {
    if (port.node_port != 0) {
      node_port_holders_.insert_or_assign({port.node_port, port.protocol},
                                          Holder{provider, service.name});
    }
  }
  const std::string key = sharing_key(service);
  for (const auto& [vip, kind] : frontends_of(service)) {
    allocator_.take(vip);
    cluster_allocator_.take(vip);
    if (!key.empty() && shared_[{provider, key}].insert(vip).second) {
      const auto before = given_up_.find(vip);
      vip_freed_ = vip_freed_ || before == given_up_.end() || before->second != key;
    }
    for (const ServicePortSpec& port : service.ports) {
      holders_[vip].insert_or_assign({port.port, port.protocol}, Holder{provider, service.name});
    }
  }
}

std::uint64_t Desired::commit(const Plan& plan, Transaction transaction) {
  Provider& provider = providers_[plan.provider];
  if (plan.empty() && provider.revision != 0) {
    return provider.revision;
  }
  ++provider.revision;
  for (const ServiceName& name : plan.removed) {
    const auto at = provider.services.find(name);
    forget(plan.provider, at->second.service);
    provider.services.erase(at);
  }
  std::vector<Stored*> stored;
  for (const auto* some : {&plan.changed, &plan.created}) {
    for (const Brought& brought : *some) {
      stored.push_back(&provider.services[brought.name]);
      if (some == &plan.changed) {
        forget(plan.provider, stored.back()->service);
      }
    }
  }
  // Only now: what one of them gave up another may have taken over.
  auto at = stored.begin();
  for (const auto* some : {&plan.changed, &plan.created}) {
    for (const Brought& brought : *some) {
      Service& service = transaction.upsert[brought.index];
      remember(plan.provider, service);
      **at++ = {std::move(service), provider.revision};
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

std::optional<std::pair<std::string, ServiceName>> Desired::service_at(
    const IpAddress& address) const {
  const auto held = holders_.find(address);
  if (held == holders_.end() || held->second.empty()) {
    return std::nullopt;
  }
  const Holder& holder = held->second.begin()->second;
  return std::pair(holder.provider, holder.name);
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
