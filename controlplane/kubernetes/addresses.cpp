// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/addresses.h"

#include <absl/strings/str_split.h>
#include <algorithm>
#include <iterator>

namespace sluice::kubernetes {
namespace {

// As much of it as pools ask about.
model::Service basics_of(const Service& service) {
  model::Service basics;
  basics.name = service.meta.name;
  basics.labels = service.meta.labels;
  basics.annotations = service.meta.annotations;
  const auto pool = basics.annotations.find(model::kAddressPoolAnnotation);
  if (pool != basics.annotations.end() && pool->second.empty()) {
    basics.annotations.erase(pool);  // told of as a bad one, and ignored (3.13)
  }
  return basics;
}

std::vector<Family> families_of(const Service& service) {
  std::vector<Family> families;
  for (const std::string& word : service.ip_families) {
    const Family family = word == "IPv6" ? Family::kIpv6 : Family::kIpv4;
    if ((word == "IPv4" || word == "IPv6") &&
        std::find(families.begin(), families.end(), family) == families.end()) {
      families.push_back(family);
    }
  }
  return families;
}

std::string pool_wanted(const Service& service) {
  return annotation_of(service, model::kAddressPoolAnnotation);
}

// A request or a status may name one twice.
void add_once(const IpAddress& address, std::vector<IpAddress>& addresses) {
  if (std::find(addresses.begin(), addresses.end(), address) == addresses.end()) {
    addresses.push_back(address);
  }
}

}  // namespace

std::string assigned_text(const std::vector<IpAddress>& vips) {
  std::string text;
  for (const IpAddress& vip : vips) {
    text += (text.empty() ? "" : ",") + sluice::to_string(vip);
  }
  return text;
}

std::vector<IpAddress> vips_in_status(const Service& service) {
  std::vector<std::string> texts;
  const auto annotated = service.meta.annotations.find(kAssignedIpsAnnotation);
  if (service.type != "ExternalName") {
    for (const LoadBalancerIngress& ingress : service.ingress) {
      texts.push_back(ingress.ip);
    }
  } else if (annotated != service.meta.annotations.end()) {
    texts = absl::StrSplit(annotated->second, ',');
  }
  std::vector<IpAddress> vips;
  for (const std::string& text : texts) {
    if (const auto address = parse_ip(text)) {
      add_once(*address, vips);
    }
  }
  return vips;
}

Addresses::Holding Addresses::wish_of(const Service& service) {
  Holding wish;
  const auto key = service.meta.annotations.find(model::kSharedIpAnnotation);
  wish.key = key == service.meta.annotations.end() ? "" : key->second;
  for (const ServicePort& port : service.ports) {
    wish.ports.emplace_back(port.protocol, port.port);
  }
  return wish;
}

void Addresses::set_pools(std::vector<model::AddressPool> pools) {
  allocator_ = model::Allocator(std::move(pools));
  avoided_.clear();
  for (const auto& [address, holders] : holders_) {
    allocator_.take(address);
  }
}

std::vector<IpAddress> Addresses::of(const ServiceName& name) const {
  const auto at = held_.find(name);
  return at == held_.end() ? std::vector<IpAddress>{} : at->second.vips;
}

// By itself, by whom it shares it with, or by nobody; with distinct ports in any case.
bool Addresses::is_free_for(const ServiceName& name, const Holding& wish,
                            const IpAddress& address) const {
  const auto at = holders_.find(address);
  if (at == holders_.end()) {
    return !avoided_.contains(address) && !is_held_back_for(name, address);
  }
  return std::all_of(at->second.begin(), at->second.end(), [&](const ServiceName& other) {
    if (other == name) {
      return true;
    }
    const Holding& theirs = held_.at(other);
    const bool clash = std::any_of(wish.ports.begin(), wish.ports.end(), [&](const auto& port) {
      return std::find(theirs.ports.begin(), theirs.ports.end(), port) != theirs.ports.end();
    });
    return !wish.key.empty() && theirs.key == wish.key && !clash;
  });
}

// Somebody else had it.
bool Addresses::is_held_back_for(const ServiceName& name, const IpAddress& address) const {
  const auto at = held_back_.find(address);
  return at != held_back_.end() && (at->second.size() > 1 || !at->second.contains(name));
}

bool Addresses::may_have(const Service& service, const Holding& wish,
                         const IpAddress& address) const {
  const model::AddressPool* pool = allocator_.pool_of(address);
  const bool granted = allocator_.pools().empty() ||
                       (pool != nullptr && pool->serves(provider_, basics_of(service)));
  return granted && is_free_for(service.meta.name, wish, address);
}

// Never another address silently (KUBERNETES.md 2.5).
std::string Addresses::take_requested(const Service& service,
                                      const std::vector<IpAddress>& requested,
                                      Holding& wish) const {
  for (const IpAddress& address : requested) {
    const std::string text = sluice::to_string(address);
    const model::AddressPool* pool = allocator_.pool_of(address);
    if (!allocator_.pools().empty() && pool == nullptr) {
      return text + " is in none of the gateway's address pools; ask for an address of one";
    }
    if (pool != nullptr && !pool->serves(provider_, basics_of(service))) {
      return text + " is of pool '" + pool->name + "', which is not for this service";
    }
    if (!holders_.contains(address) && is_held_back_for(service.meta.name, address)) {
      return text +
             " was another service's until now, and a gateway may serve it there still; it "
             "is this one's once the gateways have let go";
    }
    if (!is_free_for(service.meta.name, wish, address)) {
      return text + " is another service's; ask for another one, or share it by the annotation " +
             model::kSharedIpAnnotation;
    }
    add_once(address, wish.vips);
  }
  return "";
}

// Of the addresses that services with its key have.
std::optional<IpAddress> Addresses::lowest_shared(
    const Holding& wish, const std::function<bool(const IpAddress&)>& fits) const {
  std::optional<IpAddress> lowest;
  if (!wish.key.empty()) {
    for (const auto& [address, holders] : holders_) {
      if ((!lowest || address < *lowest) && fits(address)) {
        lowest = address;
      }
    }
  }
  return lowest;
}

// An ExternalName has no families, nor have services of servers before 1.20: one address, then.
// Of the family that it has while pools have that, whatever others come.
std::vector<Family> Addresses::families_for(const Service& service, const Holding& had) const {
  std::vector<Family> families = families_of(service);
  if (families.empty()) {
    families = allocator_.families(provider_, basics_of(service));
    const bool stays = !had.vips.empty() && std::find(families.begin(), families.end(),
                                                      had.vips[0].family) != families.end();
    families.resize(1, Family::kIpv4);
    families[0] = stays ? had.vips[0].family : families[0];
  }
  return families;
}

// What is wrong with the pool that it names; empty: nothing.
std::string Addresses::fault_of_pool(const Service& service,
                                     const std::vector<IpAddress>& requested) const {
  const std::string wanted = pool_wanted(service);
  if (wanted.empty() || allocator_.pools().empty()) {
    return "";
  }
  std::string names;
  bool is_one = false;
  for (const model::AddressPool& pool : allocator_.pools()) {
    names += (names.empty() ? "" : ", ") + pool.name;
    is_one = is_one || pool.name == wanted;
  }
  const std::string key = model::kAddressPoolAnnotation;
  if (!is_one) {
    return key + ": the gateway has no pool '" + wanted + "'; it has " + names;
  }
  for (const IpAddress& address : requested) {
    const model::AddressPool* pool = allocator_.pool_of(address);
    if (pool != nullptr && pool->name != wanted) {
      return sluice::to_string(address) + " is of pool '" + pool->name + "', and the annotation " +
             key + " names '" + wanted + "'; change one of them";
    }
  }
  return "";
}

void Addresses::keep(const Service& service, const Holding& had, Holding& wish) const {
  std::copy_if(had.vips.begin(), had.vips.end(), std::back_inserter(wish.vips),
               [&](const IpAddress& address) { return may_have(service, wish, address); });
}

std::string Addresses::choose(const Service& service, const Holding& had, Holding& wish) const {
  const model::Service basics = basics_of(service);
  std::string why_not;
  for (const Family family : families_for(service, had)) {
    const auto fits = [&](const IpAddress& address) {
      const model::AddressPool* pool = allocator_.pool_of(address);
      return address.family == family && may_have(service, wish, address) && pool != nullptr &&
             allocator_.gives(*pool, provider_, basics);
    };
    const auto kept = std::find_if(had.vips.begin(), had.vips.end(), fits);
    if (kept != had.vips.end()) {
      wish.vips.push_back(*kept);
      continue;
    }
    if (const auto shared = lowest_shared(wish, fits)) {
      wish.vips.push_back(*shared);
      continue;
    }
    const auto taken = [&](const IpAddress& address) {
      return !is_free_for(service.meta.name, wish, address);
    };
    auto cursor = allocator_.begin();
    const auto choice = allocator_.choose(provider_, basics, family, taken, cursor);
    if (choice.address) {
      wish.vips.push_back(*choice.address);
    } else {
      why_not += (why_not.empty() ? "" : "; ") + choice.why_not;
    }
  }
  if (service.ip_family_policy == "RequireDualStack" && wish.vips.size() < 2) {
    wish.vips.clear();
  }
  return why_not;
}

Addresses::Outcome Addresses::assign(const Service& service,
                                     const std::vector<IpAddress>& requested) {
  const auto before = held_.find(service.meta.name);
  Holding had = before == held_.end() ? Holding{} : before->second;
  if (had.vips.empty()) {
    had.vips = vips_in_status(service);
  }
  Holding wish = wish_of(service);
  Outcome outcome;
  if (std::string fault = fault_of_pool(service, requested); !fault.empty()) {
    // It may be a slip: what the service has stays, and it gets nothing else.
    keep(service, had, wish);
    outcome.why_not = std::move(fault);
  } else if (!requested.empty()) {
    outcome.why_not = take_requested(service, requested, wish);
    if (!outcome.why_not.empty()) {
      wish.vips.clear();
    }
  } else if (allocator_.pools().empty()) {
    // Whoever gave it what its status says: it stays.
    keep(service, had, wish);
    if (wish.vips.empty()) {
      outcome.why_not =
          "the gateway has no address pools and the service asks for no address; "
          "give the gateway addressPools, or set spec.loadBalancerIP";
    }
  } else {
    outcome.why_not = choose(service, had, wish);
  }
  outcome.vips = wish.vips;
  outcome.changed = wish.vips != of(service.meta.name);
  outcome.shares = before != held_.end() && (wish.key != had.key || wish.ports != had.ports);
  hold(service.meta.name, std::move(wish));
  return outcome;
}

void Addresses::adopt(const Service& service) {
  if (held_.contains(service.meta.name)) {
    return;
  }
  Holding holding = wish_of(service);
  for (const IpAddress& address : vips_in_status(service)) {
    if (may_have(service, holding, address)) {
      holding.vips.push_back(address);
    }
  }
  hold(service.meta.name, std::move(holding));
}

void Addresses::hold(const ServiceName& name, Holding holding) {
  release(name);
  if (holding.vips.empty()) {
    return;
  }
  for (const IpAddress& vip : holding.vips) {
    if (holders_[vip].empty()) {
      allocator_.take(vip);
    }
    holders_[vip].insert(name);
    let_go(vip, name);
  }
  held_.emplace(name, std::move(holding));
}

bool Addresses::release(const ServiceName& name) {
  const auto at = held_.find(name);
  if (at == held_.end()) {
    return false;
  }
  for (const IpAddress& vip : at->second.vips) {
    const auto holders = holders_.find(vip);
    holders->second.erase(name);
    if (holders->second.empty()) {
      holders_.erase(holders);
      allocator_.give_back(vip);
    }
  }
  held_.erase(at);
  return true;
}

void Addresses::let_go(const IpAddress& address, const ServiceName& owner) {
  const auto at = held_back_.find(address);
  if (at != held_back_.end()) {
    at->second.erase(owner);
    if (at->second.empty()) {
      held_back_.erase(at);
    }
  }
}

bool Addresses::avoid(const IpAddress& address) {
  return avoided_.insert(address).second;
}

}  // namespace sluice::kubernetes
