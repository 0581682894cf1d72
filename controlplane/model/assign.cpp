// SPDX-License-Identifier: Apache-2.0
// Desired: which addresses a service may have, which it gets when it leaves that to the gateway,
// and who may share one.
#include "controlplane/model/desired.h"
#include "controlplane/model/validate.h"

#include <absl/container/flat_hash_set.h>
#include <algorithm>
#include <numeric>

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

bool have_a_port_in_common(const Service& one, const Service& other) {
  return std::any_of(one.ports.begin(), one.ports.end(), [&](const ServicePortSpec& a) {
    return std::any_of(other.ports.begin(), other.ports.end(), [&](const ServicePortSpec& b) {
      return a.port == b.port && a.protocol == b.protocol;
    });
  });
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

// Whether it names VIPs itself, rightly or not.
bool asks_for_vips(const Service& service) {
  return service.vip_fields.given || !service.vips.empty();
}

void check_granted(const std::vector<IpAddress>& addresses, const std::vector<AddressRange>& ranges,
                   const std::string& field, const char* setting, Faults& faults) {
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    if (std::none_of(ranges.begin(), ranges.end(),
                     [&](const AddressRange& range) { return range.contains(addresses[i]); })) {
      std::string allowed;
      for (const AddressRange& range : ranges) {
        allowed += (allowed.empty() ? "" : ", ") + to_string(range);
      }
      faults.add(field + "[" + std::to_string(i) + "]",
                 "'" + sluice::to_string(addresses[i]) + "' is not in this gateway's " + setting +
                     (allowed.empty() ? ", which are empty; configure them, or leave it out"
                                      : "; use an address of " + allowed));
    }
  }
}

}  // namespace

std::string sharing_key(const Service& service) {
  const auto at = service.annotations.find(kSharedIpAnnotation);
  return at == service.annotations.end() ? "" : at->second;
}

Desired::Desired(std::set<IpAddress> reserved, AddressGrants grants, NodePorts node_ports,
                 const std::vector<ProviderTerms>& terms)
    : reserved_(std::move(reserved)),
      grants_(std::move(grants)),
      backend_ranges_(terms),
      quotas_(terms),
      node_ports_(std::move(node_ports)),
      allocator_(grants_.pools),
      cluster_allocator_(
          grants_.cluster_ips.empty()
              ? std::vector<AddressPool>{}
              : std::vector{AddressPool{.name = "clusterIpRanges", .ranges = grants_.cluster_ips}},
          "") {}

void Desired::assign_addresses(Transaction& transaction, const std::vector<IpAddress>& hosts,
                               Faults& faults) const {
  assign_node_ports(transaction, faults);
  keep_resolved(transaction);
  keep_chosen(transaction);
  std::optional<Choosing> choosing;  // when somebody needs it: they may name a million addresses
  std::map<std::string, Peers> peers;
  std::vector<Waiting> waiting;
  for (const std::size_t i : in_order_of_claims(transaction)) {
    Service& service = transaction.upsert[i];
    check_grants(transaction.provider, service, spec_path(i), faults);
    service.pending.why = why_nowhere(service);
    const std::string key = sharing_key(service);
    Peers& sharers = peers[key];  // without a key always empty
    if (leaves_a_choice(service)) {
      if (!choosing) {
        choosing = choosing_for(transaction, hosts);
      }
      if (waits(transaction.provider, service.name)) {
        waiting.push_back({i, leaves_vips(service), leaves_cluster_ips(service)});
      }
      choose_all(transaction.provider, service, *choosing, sharers);
      for (const FrontendAddress& frontend : frontends_of(service)) {
        choosing->named.insert(frontend.address);
      }
    }
    if (!key.empty()) {
      sharers.push_back(&service);
    }
  }
  keep_waiting(transaction, waiting);
}

// Who is there comes before who is new, so that an address with a service that keeps it is not
// shared by one that it does not share with any more.
std::vector<std::size_t> Desired::in_order_of_claims(const Transaction& transaction) const {
  std::vector<std::size_t> order(transaction.upsert.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_partition(order.begin(), order.end(), [&](std::size_t i) {
    return find(transaction.provider, transaction.upsert[i].name) != nullptr;
  });
  return order;
}

// Cluster addresses are among what a service is shown with. Where they come back with it they are
// still the gateway's choice, which may not be complete yet.
void Desired::keep_chosen(Transaction& transaction) const {
  for (Service& service : transaction.upsert) {
    const Stored* stored =
        service.cluster_ips.empty() ? nullptr : find(transaction.provider, service.name);
    const Service* before = stored == nullptr ? nullptr : &stored->service;
    if (before != nullptr && before->cluster_ips_chosen &&
        before->cluster_ips == service.cluster_ips && before->families == service.families &&
        before->family_policy == service.family_policy) {
      service.cluster_ips.clear();
    }
  }
}

// A name's addresses are not the writer's; what was found so far goes on.
void Desired::keep_resolved(Transaction& transaction) const {
  for (Service& service : transaction.upsert) {
    const Stored* before =
        service.external_name.empty() ? nullptr : find(transaction.provider, service.name);
    if (before != nullptr && before->service.external_name == service.external_name) {
      service.endpoints = before->service.endpoints;
    }
  }
}

Desired::Resolved Desired::set_resolved(const std::string& provider, const ServiceName& name,
                                        const std::vector<IpAddress>& addresses,
                                        const std::function<bool(const Service&)>& fits) {
  Stored& stored = providers_.at(provider).services.at(name);
  std::vector<Endpoint> endpoints;
  for (const IpAddress& address : addresses) {
    // A name's owner may write what he likes: loopback, an address of the gateway's own, or one of
    // another provider's backends.
    if (is_usable_unicast(address) && !holders_.contains(address) && !reserved_.contains(address) &&
        backend_ranges_.allows(provider, address)) {
      endpoints.emplace_back().address = address;
    }
  }
  if (endpoints == stored.service.endpoints) {
    return Resolved::kSame;
  }
  Service next = stored.service;
  next.endpoints = std::move(endpoints);
  if (!fits(next)) {
    return Resolved::kTooMany;
  }
  forget(provider, stored.service);
  stored.service = std::move(next);
  remember(provider, stored.service);
  return Resolved::kChanged;
}

bool Desired::leaves_a_choice(const Service& service) const {
  return leaves_vips(service) || leaves_cluster_ips(service);
}

// From pools, if there are any.
bool Desired::leaves_vips(const Service& service) const {
  return has_vips(service) && (service.vips_chosen || !asks_for_vips(service)) &&
         !allocator_.pools().empty();
}

bool Desired::leaves_cluster_ips(const Service& service) const {
  return service.type != ServiceType::kExternalName && !service.no_cluster_ip &&
         (service.cluster_ips_chosen || service.cluster_ips.empty()) &&
         !cluster_allocator_.pools().empty();
}

// Why it has no address at all, whatever is free.
std::string Desired::why_nowhere(const Service& service) const {
  if (has_vips(service) || !service.external_ips.empty() ||
      (!service.no_cluster_ip && !cluster_allocator_.pools().empty())) {
    return "";
  }
  if (service.type == ServiceType::kClusterIp) {
    return "this gateway has no clusterIpRanges and the service no externalIPs";
  }
  return node_ports_.served_anywhere()
             ? ""
             : "this gateway serves node ports nowhere; give it nodePortAddresses";
}

void Desired::check_grants(const std::string& provider, const Service& service,
                           const std::string& spec, Faults& faults) const {
  check_pool(provider, service, spec, faults);
  check_granted(service.cluster_ips, grants_.cluster_ips, spec + ".clusterIPs", "clusterIpRanges",
                faults);
  check_granted(service.external_ips, grants_.external_ips, spec + ".externalIPs",
                "externalIpRanges", faults);
  if (has_vips(service) && !asks_for_vips(service) && allocator_.pools().empty()) {
    faults.add(spec + ".loadBalancerIPs",
               "no address is given and this gateway has no address pools; name at least one, "
               "or configure addressPools");
  }
}

Desired::Choosing Desired::choosing_for(const Transaction& transaction,
                                        const std::vector<IpAddress>& hosts) const {
  Choosing choosing{.hosts = {hosts.begin(), hosts.end()},
                    .named = {},
                    .vips = allocator_.begin(),
                    .cluster_ips = cluster_allocator_.begin()};
  for (const Service& service : transaction.upsert) {
    for (const FrontendAddress& frontend : frontends_of(service)) {
      choosing.named.insert(frontend.address);
    }
    for (const Endpoint& endpoint : service.endpoints) {
      choosing.named.insert(endpoint.address);
    }
  }
  return choosing;
}

// As a VIP, even to a service that has it.
bool Desired::is_unusable(const Choosing& choosing, const IpAddress& address) const {
  return choosing.hosts.contains(address) || reserved_.contains(address) ||
         endpoint_uses_.contains(address) || node_ports_.is_node(address);
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
  const bool is_pools = allocator_.pool_of(vip) != nullptr;  // a cluster address is never shared
  const std::string key = is_pools ? sharing_key(service) : "";
  return std::all_of(held->second.begin(), held->second.end(), [&](const auto& entry) {
    const auto& [port, holder] = entry;
    if (holder == Holder{provider, service.name}) {
      return true;
    }
    const bool clash = std::any_of(service.ports.begin(), service.ports.end(),
                                   [&, at = port](const ServicePortSpec& own) {
                                     return PortKey{own.port, own.protocol} == at;
                                   });
    return !key.empty() && holder.provider == provider && !clash &&
           sharing_key(find(holder.provider, holder.name)->service) == key;
  });
}

Allocator::Choice Desired::address_for(const Wish& wish, const std::string& provider,
                                       const Service& service, Family family,
                                       const Choosing& choosing, const Peers& peers) const {
  // Who has it keeps it, though another names it: that one is refused, or shares it.
  const auto may_keep = [&](const IpAddress& address) {
    const AddressPool* pool = address.family == family ? wish.allocator.pool_of(address) : nullptr;
    return pool != nullptr && wish.allocator.gives(*pool, provider, service) &&
           !is_unusable(choosing, address) && may_share(provider, service, address);
  };
  const auto may_have = [&](const IpAddress& address) {
    return !choosing.named.contains(address) && may_keep(address);
  };
  if (const Stored* before = find(provider, service.name)) {
    const auto& had = before->service.*wish.addresses;
    const auto kept = std::find_if(had.begin(), had.end(), may_keep);
    if (kept != had.end()) {
      return {*kept, ""};
    }
  }
  if (const auto address = address_of_peers(wish, provider, service, family, peers)) {
    return {address, ""};
  }
  const auto shared = shared_.find({provider, sharing_key(service)});
  if (shared != shared_.end()) {
    const auto address = std::find_if(shared->second.begin(), shared->second.end(), may_have);
    if (address != shared->second.end()) {
      return {*address, ""};
    }
  }
  const auto taken = [&](const IpAddress& address) {
    return choosing.named.contains(address) || is_unusable(choosing, address);
  };
  return wish.allocator.choose(provider, service, family, taken, wish.cursor);
}

// One on which none of them has a port of this service.
std::optional<IpAddress> Desired::address_of_peers(const Wish& wish, const std::string& provider,
                                                   const Service& service, Family family,
                                                   const Peers& peers) const {
  const auto clashes = [&](const IpAddress& address) {
    return std::any_of(peers.begin(), peers.end(), [&](const Service* peer) {
      const auto& theirs = peer->*wish.addresses;
      return std::find(theirs.begin(), theirs.end(), address) != theirs.end() &&
             have_a_port_in_common(*peer, service);
    });
  };
  for (const Service* peer : peers) {
    for (const IpAddress& address : peer->*wish.addresses) {
      const AddressPool* pool = allocator_.pool_of(address);
      if (address.family == family && pool != nullptr &&
          wish.allocator.gives(*pool, provider, service) && !clashes(address) &&
          may_share(provider, service, address)) {
        return address;
      }
    }
  }
  return std::nullopt;
}

namespace {

// Of the addresses that a service names, for those that it leaves to the gateway.
std::optional<Family> family_named(const Service& service) {
  if (!service.vips_chosen && !service.vips.empty()) {
    return service.vips.front().family;
  }
  if (!service.cluster_ips_chosen && !service.cluster_ips.empty()) {
    return service.cluster_ips.front().family;
  }
  return std::nullopt;
}

// In which a service is served that has not said in which: where it is already, or its other
// addresses are.
Family first_family(const std::vector<Family>& able, const std::vector<IpAddress>* had,
                    const Service& service) {
  const auto named = family_named(service);
  if (had != nullptr && !had->empty() && contains(able, had->front().family)) {
    return had->front().family;
  }
  if (named && contains(able, *named)) {
    return *named;
  }
  return able.empty() ? Family::kIpv4 : able.front();
}

}  // namespace

void Desired::choose(const Wish& wish, const std::string& provider, Service& service,
                     const Choosing& choosing, const Peers& peers) const {
  const std::vector<Family> able = wish.allocator.families(provider, service);
  std::vector<Family> wanted = service.families;
  const bool prefers_both = service.family_policy == FamilyPolicy::kPreferDualStack;
  const bool both = prefers_both || requires_both(service);
  if (wanted.empty()) {
    const Stored* before = both ? nullptr : find(provider, service.name);
    wanted.push_back(first_family(
        able, before == nullptr ? nullptr : &(before->service.*wish.addresses), service));
  }
  if (both && wanted.size() == 1) {
    wanted.push_back(other(wanted.front()));
  }
  std::vector<IpAddress>& addresses = service.*wish.addresses;
  addresses.clear();
  for (const Family family : wanted) {
    if (prefers_both && !contains(able, family) && family != wanted.front()) {
      continue;
    }
    Allocator::Choice choice = address_for(wish, provider, service, family, choosing, peers);
    if (choice.address) {
      addresses.push_back(*choice.address);
    } else {
      service.pending.why += (service.pending.why.empty() ? "" : "; ") + choice.why_not;
    }
  }
  if (requires_both(service) && addresses.size() < 2) {
    addresses.clear();
  }
}

void Desired::choose_all(const std::string& provider, Service& service, Choosing& choosing,
                         const Peers& peers) const {
  service.pending.why = why_nowhere(service);
  if (leaves_vips(service)) {
    choose({allocator_, &Service::vips, choosing.vips}, provider, service, choosing, peers);
    service.vips_chosen = true;
  }
  if (leaves_cluster_ips(service)) {
    const std::string why = service.pending.why;
    choose({cluster_allocator_, &Service::cluster_ips, choosing.cluster_ips}, provider, service,
           choosing, {});
    // Who has named it and does not any more keeps it, and that is no change.
    const Stored* before = find(provider, service.name);
    const bool as_before = before != nullptr && service.pending.why == why &&
                           before->service.cluster_ips == service.cluster_ips;
    service.cluster_ips_chosen = !as_before || before->service.cluster_ips_chosen;
  }
}

// Two services that name one address of a pool.
void Desired::check_sharing(const Transaction& transaction, std::size_t index,
                            const std::vector<FrontendAddress>& frontends,
                            const std::set<ServiceName>& moving,
                            std::map<IpAddress, std::size_t>& here, Faults& faults,
                            std::optional<Error>& taken) const {
  const Service& service = transaction.upsert[index];
  for (std::size_t f = 0; f < frontends.size(); ++f) {
    const IpAddress& vip = frontends[f].address;
    const bool is_pools = allocator_.pool_of(vip) != nullptr;  // a cluster address is never shared
    if (!is_pools && cluster_allocator_.pool_of(vip) == nullptr) {
      continue;
    }
    const std::string key = is_pools ? sharing_key(service) : "";
    const auto may_share_with = [&key](const Service& other) {
      return !key.empty() && sharing_key(other) == key;
    };
    const auto path = [&] { return spec_path(index) + "." + frontend_field(service, f); };
    const auto way_out = [is_pools] {
      return std::string("choose another") +
             (is_pools ? std::string(", or give both services one value of the annotation ") +
                             kSharedIpAnnotation
                       : "");
    };
    const auto [other, fresh] = here.emplace(vip, index);
    if (!fresh && other->second != index && !may_share_with(transaction.upsert[other->second])) {
      faults.add(path(), "'" + sluice::to_string(vip) + "' is also of upsert[" +
                             std::to_string(other->second) + "] of this transaction; " + way_out());
    }
    const auto held = holders_.find(vip);
    if (held == holders_.end()) {
      continue;
    }
    for (const auto& [port, holder] : held->second) {
      const bool ours = holder.provider == transaction.provider;
      if (!ours || (!moving.contains(holder.name) &&
                    !may_share_with(find(holder.provider, holder.name)->service))) {
        note_taken(path(), sluice::to_string(vip), holder.provider, holder.name, way_out(), taken);
        break;
      }
    }
  }
}

bool Desired::any_freed() {
  const bool freed = vip_freed_ || std::any_of(given_up_.begin(), given_up_.end(),
                                               [this](const auto& vip_and_key) {
                                                 return !holders_.contains(vip_and_key.first);
                                               });
  given_up_.clear();
  vip_freed_ = false;
  return freed;
}

std::vector<std::pair<std::string, ServiceName>> Desired::serve_pending(
    const std::vector<IpAddress>& hosts, bool all_reasons,
    const std::function<bool(const std::string&, const Service&)>& fits,
    const std::function<void(const std::string&, const Service&)>& served) {
  std::vector<std::pair<std::string, ServiceName>> all_served;
  const bool freed = any_freed();
  if (!freed && !all_reasons) {
    return all_served;
  }
  Choosing choosing = choosing_for({}, hosts);
  for (const auto& key : std::set<std::pair<std::string, ServiceName>>(pending_)) {
    Stored& stored = providers_[key.first].services[key.second];
    Service next = stored.service;
    choose_all(key.first, next, choosing, {});
    if (frontends_of(next) == frontends_of(stored.service)) {
      stored.service.pending = next.pending;
      if (next.pending.why.empty()) {
        pending_.erase(key);
      }
      continue;
    }
    if (const std::string why = why_over_quota(key.first, stored.service, next); !why.empty()) {
      stored.service.pending.why = why;
      continue;
    }
    if (!fits(key.first, next)) {
      continue;
    }
    forget(key.first, stored.service);
    stored.service = std::move(next);
    remember(key.first, stored.service);
    if (served) {
      served(key.first, stored.service);
    }
    all_served.push_back(key);
  }
  return all_served;
}

}  // namespace sluice::model
