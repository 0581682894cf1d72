// SPDX-License-Identifier: Apache-2.0
// What a write would do, or why it is refused: the part of the reconciler that changes nothing.
#include "controlplane/runtime/reconciler.h"

#include <algorithm>

namespace sluice::runtime {

// What it would do, its VIPs chosen, or everything that it is refused for.
model::Result<model::Plan> Reconciler::plan(model::Transaction& transaction) const {
  model::Faults faults;
  const std::vector<IpAddress> hosts = topology_.host_addresses();
  desired_.assign_addresses(transaction, hosts, faults);
  for (model::Service& service : transaction.upsert) {
    settle_mode(service);
  }
  for (std::size_t i = 0; i < transaction.upsert.size(); ++i) {
    const model::Service& service = transaction.upsert[i];
    const std::string path = "upsert[" + std::to_string(i) + "]";
    const std::vector<model::FrontendAddress> frontends = frontends_of(service);
    for (std::size_t f = 0; f < frontends.size(); ++f) {
      check_frontend(frontends[f], hosts, path + ".spec." + model::frontend_field(service, f),
                     faults);
    }
    check_node_port_families(service, path, faults);
    if (i < transaction.claimed.size()) {
      check_identity(transaction.claimed[i], {transaction.provider, service.name}, path, faults);
    }
  }
  model::Result<model::Plan> planned = desired_.plan(transaction, std::move(faults));
  if (!planned) {
    return planned;
  }
  std::vector<const model::Service*> services;
  for (const auto* some : {&planned->created, &planned->changed}) {
    for (const model::Brought& brought : *some) {
      services.push_back(&transaction.upsert[brought.index]);
    }
  }
  if (!compiler_.fits(transaction.provider, services)) {
    return model::Error{.code = model::Code::kResourceExhausted,
                        .message =
                            "this needs more service ports or bindings than there are; "
                            "raise dataplane.servicePorts or dataplane.bindings"};
  }
  return planned;
}

// An address of a service is not the host's, an external one not a router's either, which whoever
// may write services could else take over; and its flows need a SNAT address of their family.
void Reconciler::check_frontend(const model::FrontendAddress& frontend,
                                const std::vector<IpAddress>& hosts, const std::string& path,
                                model::Faults& faults) const {
  const IpAddress& vip = frontend.address;
  if (frontend.kind == model::FrontendKind::kExternal && topology_.is_gateway(vip)) {
    faults.add(path, "'" + to_string(vip) + "' is a router of this gateway; choose another");
  }
  if (frontend.kind != model::FrontendKind::kExternal && topology_.is_node(vip)) {
    faults.add(path, "'" + to_string(vip) + "' is a node's address; choose another");
  }
  if (std::find(hosts.begin(), hosts.end(), vip) != hosts.end()) {
    faults.add(path, "'" + to_string(vip) +
                         "' is an address of this host; remove it there or choose another");
  }
  if (!has_snat(vip.family)) {
    faults.add(path, "'" + to_string(vip) + "' needs an " + to_string(vip.family) +
                         " SNAT address and this gateway has none; give it one under snat in its "
                         "configuration, or leave the VIP out");
  }
}

// A service that leaves it to the gateway keeps clients' addresses where it asks for that by its
// traffic policy, and answers come back this way.
void Reconciler::settle_mode(model::Service& service) const {
  if (service.mode_left) {
    service.mode = service.external_local && config_.return_path ? ForwardingMode::kDnat
                                                                 : ForwardingMode::kFullNat;
  }
}

bool Reconciler::has_snat(Family family) const {
  return !(family == Family::kIpv4 ? published_->snat4 : published_->snat6).empty();
}

// Of a service with addresses, these have been looked at. Without any it needs what it insists on,
// and what its endpoints could be reached by; one of these where it only prefers to have both.
void Reconciler::check_node_port_families(const model::Service& service, const std::string& path,
                                          model::Faults& faults) const {
  if (!has_node_ports(service) || !frontends_of(service).empty()) {
    return;
  }
  std::set<Family> needed(service.families.begin(), service.families.end());
  if (service.family_policy == model::FamilyPolicy::kRequireDualStack) {
    needed = {Family::kIpv4, Family::kIpv6};
  }
  const std::vector<Family> served = families_of(service);
  for (const model::Endpoint& endpoint : service.endpoints) {
    if (std::find(served.begin(), served.end(), endpoint.address.family) != served.end()) {
      needed.insert(endpoint.address.family);
    }
  }
  std::set<Family> missing = needed;
  std::erase_if(missing, [this](Family family) { return has_snat(family); });
  if (service.family_policy == model::FamilyPolicy::kPreferDualStack &&
      missing.size() < needed.size()) {
    return;
  }
  for (const Family family : missing) {
    faults.add(path + ".spec.ipFamilies",
               to_string(family) + " node ports need an " + to_string(family) +
                   " SNAT address and this gateway has none; give it one under snat in its "
                   "configuration, or name the other family");
  }
}

// The gateway's own fields may come back as it gave them, and not otherwise. Those of a service
// that is not there, or not any more, are of an earlier life: it gets new ones, as in Kubernetes.
void Reconciler::check_identity(const model::Identity& claimed, const ChangeLog::Key& key,
                                const std::string& path, model::Faults& faults) const {
  if (claimed.empty()) {
    return;
  }
  const auto record = records_.find(key);
  const bool known = record != records_.end();
  if (known && !claimed.uid.empty() && record->second.uid != claimed.uid) {
    faults.add(path + ".metadata.uid", "'" + claimed.uid +
                                           "' is not what the gateway gave this service; leave "
                                           "it out");
  }
  const auto* stored = known ? desired_.find(key.first, key.second) : nullptr;
  if (stored != nullptr && !claimed.resource_version.empty() &&
      claimed.resource_version != std::to_string(stored->revision)) {
    faults.add(path + ".metadata.resourceVersion",
               "'" + claimed.resource_version + "' is not the present one, " +
                   std::to_string(stored->revision) +
                   ": the service has changed since it was read; read it again, or leave this out");
  }
  if (known && claimed.created_seconds &&
      record->second.created_seconds != *claimed.created_seconds) {
    faults.add(path + ".metadata.creationTimestamp",
               "this is not what the gateway gave this service; leave it out");
  }
}

}  // namespace sluice::runtime
