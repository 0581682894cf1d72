// SPDX-License-Identifier: Apache-2.0
// Desired: which VIPs a service has when it leaves that to the gateway, and who may share one.
#include "controlplane/model/desired.h"

#include <absl/container/flat_hash_set.h>
#include <algorithm>
#include <memory>

namespace sluice::model {
namespace {

std::string spec_path(std::size_t index) {
  return "upsert[" + std::to_string(index) + "].spec";
}

Family other(Family family) {
  return family == Family::kIpv4 ? Family::kIpv6 : Family::kIpv4;
}

bool contains(const std::vector<Family>& families, Family family) {
  return std::find(families.begin(), families.end(), family) != families.end();
}

// As Kubernetes defaults it.
bool requires_both(const Service& service) {
  return service.family_policy == FamilyPolicy::kRequireDualStack ||
         (service.family_policy == FamilyPolicy::kUnset && service.families.size() == 2);
}

std::string names_of(const std::vector<AddressPool>& pools) {
  std::string names;
  for (const AddressPool& pool : pools) {
    for (const AddressRange& range : pool.ranges) {
      names += (names.empty() ? "" : ", ") + pool.name + " (" + to_string(range) + ")";
    }
  }
  return names;
}

}  // namespace

std::string sharing_key(const Service& service) {
  const auto at = service.annotations.find(kSharedIpAnnotation);
  return at == service.annotations.end() ? "" : at->second;
}

void Desired::assign_vips(Transaction& transaction, const std::vector<IpAddress>& hosts,
                          Faults& faults) const {
  Taken taken;  // made when somebody needs it: a transaction may name a million addresses
  auto chosen = std::make_shared<absl::flat_hash_set<IpAddress, std::hash<IpAddress>>>();
  for (std::size_t i = 0; i < transaction.upsert.size(); ++i) {
    Service& service = transaction.upsert[i];
    if (!service.vips.empty()) {
      check_pool(transaction.provider, service, spec_path(i), faults);
      continue;
    }
    if (service.vip_fields.given) {
      continue;  // it asked, and its faults are known
    }
    if (allocator_.pools().empty()) {
      faults.add(spec_path(i) + ".loadBalancerIPs",
                 "no address is given and this gateway has no address pools; name at least one, "
                 "or configure addressPools");
      continue;
    }
    if (!taken) {
      taken = [others = others_addresses(transaction, hosts), chosen](const IpAddress& address) {
        return others(address) || chosen->contains(address);
      };
    }
    choose_vips(transaction.provider, service, taken);
    chosen->insert(service.vips.begin(), service.vips.end());
  }
}

// Addresses that somebody has or asks for, other than as a VIP that is there already.
Desired::Taken Desired::others_addresses(const Transaction& transaction,
                                         const std::vector<IpAddress>& hosts) const {
  auto named = std::make_shared<absl::flat_hash_set<IpAddress, std::hash<IpAddress>>>(hosts.begin(),
                                                                                       hosts.end());
  for (const Service& service : transaction.upsert) {
    named->insert(service.vips.begin(), service.vips.end());
    for (const Endpoint& endpoint : service.endpoints) {
      named->insert(endpoint.address);
    }
  }
  return [this, named](const IpAddress& address) {
    return named->contains(address) || reserved_.contains(address) ||
           endpoint_uses_.contains(address);
  };
}

// With pools, a VIP is an address of one that the service may have.
void Desired::check_pool(const std::string& provider, const Service& service,
                         const std::string& spec, Faults& faults) const {
  if (allocator_.pools().empty()) {
    return;
  }
  for (std::size_t v = 0; v < service.vips.size(); ++v) {
    const AddressPool* pool = allocator_.pool_of(service.vips[v]);
    const std::string text = "'" + sluice::to_string(service.vips[v]) + "' ";
    const auto wanted = service.annotations.find(kAddressPoolAnnotation);
    if (pool == nullptr) {
      faults.add(spec + "." + service.vip_fields.at(v),
                 text + "is in none of this gateway's address pools; use an address of " +
                     names_of(allocator_.pools()) + ", or leave it out");
    } else if (!pool->serves(provider, service)) {
      faults.add(spec + "." + service.vip_fields.at(v),
                 text + "is of pool '" + pool->name +
                     "', which is not for this service; its providers, namespaces or "
                     "serviceSelector leave it out");
    } else if (wanted != service.annotations.end() && wanted->second != pool->name) {
      faults.add(spec + "." + service.vip_fields.at(v),
                 text + "is of pool '" + pool->name + "' and the annotation " +
                     kAddressPoolAnnotation + " names '" + wanted->second + "'; change one");
    }
  }
}

// An address of a pool has one service, or several that say that they share it.
bool Desired::may_share(const std::string& provider, const Service& service,
                        const IpAddress& vip) const {
  const auto held = holders_.find(vip);
  if (held == holders_.end()) {
    return true;
  }
  const std::string key = sharing_key(service);
  return std::all_of(held->second.begin(), held->second.end(), [&](const auto& entry) {
    const auto& [port, holder] = entry;
    if (holder == Holder{provider, service.name}) {
      return true;
    }
    const bool clash = std::any_of(
        service.ports.begin(), service.ports.end(), [&, at = port](const ServicePortSpec& own) {
          return PortKey{own.port, own.protocol} == at;
        });
    return !key.empty() && holder.provider == provider && !clash &&
           sharing_key(find(holder.provider, holder.name)->service) == key;
  });
}

Allocator::Choice Desired::vip_for(const std::string& provider, const Service& service,
                                   Family family, const Taken& taken) const {
  const auto may_have = [&](const IpAddress& vip) {
    const AddressPool* pool = vip.family == family ? allocator_.pool_of(vip) : nullptr;
    return pool != nullptr && Allocator::gives(*pool, provider, service) && !taken(vip) &&
           may_share(provider, service, vip);
  };
  if (const Stored* before = find(provider, service.name)) {
    const auto& vips = before->service.vips;
    const auto kept = std::find_if(vips.begin(), vips.end(), may_have);
    if (kept != vips.end()) {
      return {*kept, ""};
    }
  }
  const auto shared = shared_.find({provider, sharing_key(service)});
  if (shared != shared_.end()) {
    const auto vip = std::find_if(shared->second.begin(), shared->second.end(), may_have);
    if (vip != shared->second.end()) {
      return {*vip, ""};
    }
  }
  return allocator_.choose(provider, service, family, taken);
}

void Desired::choose_vips(const std::string& provider, Service& service,
                          const Taken& taken) const {
  const std::vector<Family> able = allocator_.families(provider, service);
  std::vector<Family> wanted = service.families;
  if (wanted.empty()) {
    wanted.push_back(able.empty() ? Family::kIpv4 : able.front());
  }
  const bool prefers_both = service.family_policy == FamilyPolicy::kPreferDualStack;
  if ((prefers_both || requires_both(service)) && wanted.size() == 1) {
    wanted.push_back(other(wanted.front()));
  }
  service.vips.clear();
  service.vips_chosen = true;
  service.pending.why.clear();
  for (const Family family : wanted) {
    if (prefers_both && !contains(able, family) && family != wanted.front()) {
      continue;
    }
    Allocator::Choice choice = vip_for(provider, service, family, taken);
    if (choice.address) {
      service.vips.push_back(*choice.address);
    } else {
      service.pending.why += (service.pending.why.empty() ? "" : "; ") + choice.why_not;
    }
  }
  if (requires_both(service) && service.vips.size() < 2) {
    service.vips.clear();
  }
}

// Two services that name one address of a pool.
void Desired::check_sharing(const Transaction& transaction, std::size_t index,
                            const std::set<ServiceName>& moving,
                            std::optional<Error>& taken) const {
  const Service& service = transaction.upsert[index];
  for (std::size_t v = 0; v < service.vips.size(); ++v) {
    const IpAddress& vip = service.vips[v];
    const auto held = holders_.find(vip);
    if (held == holders_.end() || allocator_.pool_of(vip) == nullptr) {
      continue;
    }
    for (const auto& [port, holder] : held->second) {
      const bool ours = holder.provider == transaction.provider;
      const std::string key = sharing_key(service);
      if ((ours && moving.contains(holder.name)) ||
          (ours && !key.empty() &&
           sharing_key(find(holder.provider, holder.name)->service) == key)) {
        continue;
      }
      note_taken(spec_path(index) + "." + service.vip_fields.at(v), sluice::to_string(vip),
                 holder.provider, holder.name,
                 std::string("choose another, or give both services one value of the annotation ") +
                     kSharedIpAnnotation,
                 taken);
      break;
    }
  }
}

std::vector<std::pair<std::string, ServiceName>> Desired::serve_pending(
    const std::vector<IpAddress>& hosts, bool all_reasons,
    const std::function<bool(const std::string&, const Service&)>& fits) {
  std::vector<std::pair<std::string, ServiceName>> served;
  const bool freed = std::exchange(vip_freed_, false);
  if (pending_.empty() || !(freed || all_reasons)) {
    return served;
  }
  const Taken taken = others_addresses({}, hosts);
  for (const auto& key : std::set(pending_)) {
    Stored& stored = providers_[key.first].services[key.second];
    Service next = stored.service;
    choose_vips(key.first, next, taken);
    if (next.vips == stored.service.vips || !fits(key.first, next)) {
      continue;
    }
    forget(key.first, stored.service);
    stored.service = std::move(next);
    remember(key.first, stored.service);
    served.push_back(key);
  }
  return served;
}

}  // namespace sluice::model
