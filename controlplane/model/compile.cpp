// SPDX-License-Identifier: Apache-2.0
#include "controlplane/model/compile.h"

#include "controlplane/model/validate.h"
#include "dataplane/net/flow_key.h"
#include "dataplane/net/headers.h"

#include <algorithm>

namespace sluice::model {
namespace {

// 0: the endpoint is not behind this port.
std::uint16_t target_of(const Endpoint& endpoint, const ServicePortSpec& port) {
  const auto at = endpoint.ports.find(port.name);
  return at == endpoint.ports.end() ? port.target_port : at->second;
}

bool is_ready(const Endpoint& endpoint) {
  return endpoint.conditions.ready.value_or(true);
}
bool is_selected(const Endpoint& endpoint, const std::map<std::string, std::string>& selector) {
  return std::all_of(selector.begin(), selector.end(), [&](const auto& wanted) {
    return std::binary_search(endpoint.labels.begin(), endpoint.labels.end(),
                              std::pair<std::string, std::string>(wanted));
  });
}
bool serves_while_terminating(const Endpoint& endpoint) {
  return endpoint.conditions.serving.value_or(true) &&
         endpoint.conditions.terminating.value_or(false);
}

// What an endpoint that takes no new flows means for those that it has. UDP clients never say that
// they are done: where it does not even serve any more, theirs move, as if it were gone (2.7).
BindingState state_of_unchosen(const Endpoint& endpoint, std::uint8_t protocol) {
  const bool serves = endpoint.conditions.serving.value_or(true);
  return serves || protocol != kProtocolUdp ? BindingState::kDraining : BindingState::kRemoved;
}

bool before_in_order(const IpAddress& address, std::uint16_t port, const IpAddress& other,
                     std::uint16_t other_port) {
  return std::tie(address, port) < std::tie(other, other_port);
}

// The endpoints that can serve this port in this family, in the order of their bindings.
std::vector<const Endpoint*> members_of(const Service& service, const ServicePortSpec& spec,
                                        Family family) {
  std::vector<const Endpoint*> members;
  members.reserve(service.endpoints.size());
  for (const Endpoint& endpoint : service.endpoints) {
    if (endpoint.address.family == family && target_of(endpoint, spec) != 0) {
      members.push_back(&endpoint);
    }
  }
  std::sort(members.begin(), members.end(), [&](const Endpoint* a, const Endpoint* b) {
    return before_in_order(a->address, target_of(*a, spec), b->address, target_of(*b, spec));
  });
  return members;
}

FlowOptions flow_options_of(const ServiceOptions& options, std::uint8_t protocol) {
  if (protocol == kProtocolUdp) {
    return {.idle_ms = options.udp_ms};
  }
  return {options.tcp_established_ms, options.tcp_transitory_ms, options.mss_clamp};
}

const CompiledPort* port_of(const CompiledService& service, Family family, PortKey key) {
  const auto at = std::find_if(
      service.ports.begin(), service.ports.end(),
      [&](const CompiledPort& port) { return port.family == family && port.key == key; });
  return at == service.ports.end() ? nullptr : &*at;
}

// Of two lists in the same order: calls `both(member, compiled)` for each member, with null where
// the endpoint was not there before, and `gone(compiled)` for the others.
template <typename Both, typename Gone>
void match(const std::vector<const Endpoint*>& members, const ServicePortSpec& spec,
           const CompiledPort* before, Both&& both, Gone&& gone) {
  static const std::vector<CompiledEndpoint> kNone;
  const std::vector<CompiledEndpoint>& had = before == nullptr ? kNone : before->endpoints;
  auto old = had.begin();
  for (const Endpoint* member : members) {
    const std::uint16_t port = target_of(*member, spec);
    for (; old != had.end() && before_in_order(old->address, old->port, member->address, port);
         ++old) {
      gone(*old);
    }
    const bool same = old != had.end() && old->address == member->address && old->port == port;
    both(*member, same ? &*old : nullptr);
    old += same ? 1 : 0;
  }
  std::for_each(old, had.end(), gone);
}

// As it is served at other addresses than VIPs: without source ranges (KUBERNETES 2.5), and at
// cluster ones by the internal traffic policy (2.3). Copies of its own only where they differ.
void serve_elsewhere(bool internal_local, CompiledPort& port) {
  port.unfiltered = port.port;
  if (port.port->allowed != nullptr) {
    auto unfiltered = std::make_shared<ServicePort>(*port.port);
    unfiltered->allowed = nullptr;
    port.unfiltered = std::move(unfiltered);
  }
  port.on_cluster = port.unfiltered;
  if (internal_local && port.port->maglev != nullptr) {  // else there is none anywhere
    auto shut = std::make_shared<ServicePort>(*port.unfiltered);
    shut->shut = true;
    shut->maglev = nullptr;
    port.on_cluster = std::move(shut);
  }
}

}  // namespace

std::vector<Chosen> choose_endpoints(const std::vector<const Endpoint*>& endpoints,
                                     const EndpointChoice& choice) {
  const auto ready = [&](const Endpoint& endpoint) {
    return is_selected(endpoint, choice.selector) &&
           (choice.publish_not_ready || is_ready(endpoint));
  };
  const bool any_ready =
      std::any_of(endpoints.begin(), endpoints.end(), [&](const Endpoint* e) { return ready(*e); });
  std::vector<Chosen> chosen;
  chosen.reserve(endpoints.size());
  for (const Endpoint* endpoint : endpoints) {
    if (!is_selected(*endpoint, choice.selector)) {
      chosen.push_back({false, "the selector does not match its labels"});
    } else if (ready(*endpoint) || (!any_ready && serves_while_terminating(*endpoint))) {
      chosen.push_back({true, ready(*endpoint) ? "" : "terminating, but no endpoint is ready"});
    } else if (endpoint->conditions.terminating.value_or(false)) {
      chosen.push_back({false, "terminating"});
    } else {
      chosen.push_back({false, "not ready"});
    }
  }
  return chosen;
}

ServiceCompiler::ServiceCompiler(const Limits& limits, std::uint64_t maglev_seed, FactsOf facts_of,
                                 TrafficQuotas quotas)
    : seed_(maglev_seed),
      limits_(limits),
      facts_of_(std::move(facts_of)),
      quotas_(std::move(quotas)),
      port_ids_(limits.service_ports),
      slots_(limits.bindings),
      incarnations_(limits.bindings, 0),
      bindings_(std::make_shared<BindingTable>()) {}

// What a write gives back rests for a while, so only what it keeps is not counted as new.
bool ServiceCompiler::fits(const std::string& provider,
                           const std::vector<const Service*>& services) const {
  std::uint64_t ids = ids_used_;
  std::uint64_t slots = slots_used_;
  for (const Service* service : services) {
    const std::size_t ports = service->ports.size() * families_of(*service).size();
    ids += ports;
    slots += ports * service->endpoints.size();
  }
  if (ids < limits_.service_ports && slots < limits_.bindings) {
    return true;  // even if all of it were new
  }
  static const CompiledService kNone;
  ids = ids_used_;
  slots = slots_used_;
  for (const Service* service : services) {
    const CompiledService* found = find(provider, service->name);
    const CompiledService& before = found == nullptr ? kNone : *found;
    for (const ServicePortSpec& spec : service->ports) {
      for (const Family family : families_of(*service)) {
        const CompiledPort* port = port_of(before, family, {spec.port, spec.protocol});
        ids += port == nullptr ? 1 : 0;
        const auto count = [&slots](const Endpoint&, const CompiledEndpoint* old) {
          slots += old == nullptr || old->slot == 0 ? 1 : 0;
        };
        match(members_of(*service, spec, family), spec, port, count, [](const auto&) {});
      }
    }
  }
  return ids < limits_.service_ports && slots < limits_.bindings;
}

void ServiceCompiler::update(const std::string& provider, const Service& service,
                             std::uint64_t epoch) {
  const Key key{provider, service.name};
  CompiledService& stored = services_[key];
  const CompiledService before = std::move(stored);
  withdraw_frontends(before, epoch);
  CompiledService after;
  after.frontends = frontends_of(service);
  after.mode = service.mode;
  dnat_services_ += after.mode == ForwardingMode::kDnat ? 1 : 0;
  dnat_services_ -= before.mode == ForwardingMode::kDnat ? 1 : 0;
  after.drain_deadline_ms = service.options.drain_deadline_ms;
  for (const ServicePortSpec& spec : service.ports) {
    for (const Family family : families_of(service)) {
      const CompiledPort* kept = port_of(before, family, {spec.port, spec.protocol});
      after.ports.push_back(compile_port(key, service, spec, family, kept, epoch));
    }
  }
  for (const CompiledPort& port : before.ports) {
    if (port_of(after, port.family, port.key) == nullptr) {
      release_port(port, epoch);
    }
  }
  place_frontends(after);
  stored = std::move(after);
  note_draining(key, stored);
}

void ServiceCompiler::remove(const std::string& provider, const ServiceName& name,
                             std::uint64_t epoch) {
  const auto at = services_.find({provider, name});
  if (at == services_.end()) {
    return;
  }
  withdraw_frontends(at->second, epoch);
  dnat_services_ -= at->second.mode == ForwardingMode::kDnat ? 1 : 0;
  for (const CompiledPort& port : at->second.ports) {
    release_port(port, epoch);
  }
  draining_.erase(at->first);
  services_.erase(at);
}

// As who it was before, or as somebody new.
CompiledPort ServiceCompiler::begin_port(const Key& key, const ServicePortSpec& spec, Family family,
                                         const CompiledPort* before) {
  CompiledPort port;
  port.name = spec.name;
  port.family = family;
  port.key = {spec.port, spec.protocol};
  port.node_port = spec.node_port;
  if (before != nullptr) {
    port.id = before->id;
  } else {
    port.id = port_ids_.take().value_or(0);
    ++ids_used_;
    new_ports_.push_back(port.id);
  }
  if (before == nullptr || before->name != spec.name) {
    owners_[port.id] = {key.first, key.second, spec.name};
  }
  return port;
}

CompiledPort ServiceCompiler::compile_port(const Key& key, const Service& service,
                                           const ServicePortSpec& spec, Family family,
                                           const CompiledPort* before, std::uint64_t epoch) {
  CompiledPort port = begin_port(key, spec, family, before);
  port.resets = service.options.reset_on_removal;
  const std::vector<const Endpoint*> members = members_of(service, spec, family);
  const std::vector<Chosen> chosen = choose_endpoints(members, service.choice);
  auto made = std::make_shared<ServicePort>();
  made->id = port.id;
  made->mode = service.mode;
  made->protocol = spec.protocol;
  take_over_ranges(service, before, *made);
  made->flow_options = flow_options_of(service.options, spec.protocol);
  made->affinity_ms = service.options.affinity_seconds * 1'000;
  made->refuses = service.refuses;
  made->quotas = quotas_.of(key.first, key.second.space);
  EndpointSet ring;
  ring.reserve(members.size());
  made->binding_slots.reserve(members.size());
  port.endpoints.reserve(members.size());
  const auto take_over = [&](const Endpoint& member, const CompiledEndpoint* old) {
    const Chosen& choice = chosen[ring.size()];
    CompiledEndpoint endpoint;
    endpoint.address = member.address;
    endpoint.port = target_of(member, spec);
    endpoint.weight = member.weight;
    endpoint.choice = choice.reason;
    if (old != nullptr) {
      endpoint.slot = old->slot;
      endpoint.state = old->state;
      endpoint.draining_since_ms = old->draining_since_ms;
      endpoint.drained = old->drained;
    }
    bind(port, endpoint,
         choice.active ? BindingState::kActive : state_of_unchosen(member, spec.protocol));
    ring.push_back({endpoint.address, endpoint.port,
                    static_cast<std::uint16_t>(choice.active ? endpoint.weight : 0)});
    made->binding_slots.push_back(endpoint.slot);
    port.endpoints.push_back(std::move(endpoint));
  };
  match(members, spec, before, take_over,
        [&](const CompiledEndpoint& gone) { release_endpoint(gone, port, epoch); });
  made->maglev = maglev_for(ring);
  port.port = std::move(made);
  serve_elsewhere(service.internal_local, port);
  return port;
}

// Gives an endpoint its binding, or its binding another state. An endpoint that has never taken a
// flow needs none to drain.
void ServiceCompiler::bind(const CompiledPort& port, CompiledEndpoint& endpoint,
                           BindingState state) {
  if (endpoint.slot == 0) {
    if (state != BindingState::kActive) {
      return;
    }
    endpoint.slot = slots_.take().value_or(0);
    ++slots_used_;
    incarnations_[endpoint.slot] = (incarnations_[endpoint.slot] + 1U) & 63U;
    new_bindings_.push_back(endpoint.slot);
    if (++backends_[endpoint.address] == 1) {
      new_backends_.push_back(endpoint.address);
    }
  } else if (endpoint.state == state) {
    return;
  }
  if (!endpoint.drains() || state == BindingState::kActive) {
    endpoint.draining_since_ms = now_ms_;
    endpoint.drained = false;
  }
  endpoint.state = state;
  changed_bindings_[endpoint.slot] = {endpoint.address, endpoint.port, port.id,
                                      BindingStateByte::make(state, incarnations_[endpoint.slot])};
}

void ServiceCompiler::release_endpoint(const CompiledEndpoint& endpoint, const CompiledPort& port,
                                       std::uint64_t epoch) {
  if (endpoint.slot == 0) {
    return;
  }
  changed_bindings_[endpoint.slot] = {
      endpoint.address, endpoint.port, port.id,
      BindingStateByte::make(BindingState::kRemoved, incarnations_[endpoint.slot]), port.resets};
  slots_.give_back(endpoint.slot, epoch);
  disruptive_ = true;
  if (--backends_[endpoint.address] == 0) {
    backends_.erase(endpoint.address);
  }
}

void ServiceCompiler::release_port(const CompiledPort& port, std::uint64_t epoch) {
  for (const CompiledEndpoint& endpoint : port.endpoints) {
    release_endpoint(endpoint, port, epoch);
  }
  port_ids_.give_back(port.id, epoch);
  disruptive_ = true;
}

std::size_t ServiceCompiler::EndpointSetHash::operator()(
    const EndpointSet& endpoints) const noexcept {
  std::uint64_t hash = endpoints.size();
  for (const MaglevEndpoint& endpoint : endpoints) {
    hash = multiply_fold(hash ^ hash_of(endpoint.address),
                         0x9e3779b97f4a7c15ULL ^ (endpoint.port * 65'536ULL + endpoint.weight));
  }
  return hash;
}

std::shared_ptr<const MaglevTable> ServiceCompiler::maglev_for(const EndpointSet& endpoints) {
  return tables_.get(endpoints, [&] {
    auto table = MaglevTable::build(endpoints, seed_);
    tables_built_ += table == nullptr ? 0 : 1;
    return table;
  });
}

void ServiceCompiler::place_frontends(const CompiledService& service) {
  for (const CompiledPort& port : service.ports) {
    if (service.mode == ForwardingMode::kDnat) {
      withdrawn_.dnat_is_back(port.id);
    }
    place_node_port(port);
  }
  for (const FrontendAddress& frontend : service.frontends) {
    const IpAddress& vip = frontend.address;
    for (const CompiledPort& port : service.ports) {
      if (port.family != vip.family) {
        continue;
      }
      // VIPs come first: an external address that is one too stays a VIP.
      const bool is_vip = frontend.kind == FrontendKind::kVip;
      const auto [at, fresh] = frontends_[vip].try_emplace(port.key);
      if (is_vip || fresh || !at->second.on_vip || at->second.port->id != port.id) {
        at->second = {port.at(frontend), is_vip};
      }
      withdrawn_.address_is_back(vip, port.id);
    }
    changed_addresses_.insert(vip);
  }
}

void ServiceCompiler::withdraw_frontends(const CompiledService& service, std::uint64_t epoch) {
  for (const CompiledPort& port : service.ports) {
    if (service.mode == ForwardingMode::kDnat) {
      withdrawn_.keep_dnat(port.id, epoch);
    }
    withdraw_node_port(port);
  }
  for (const FrontendAddress& frontend : service.frontends) {
    const IpAddress& vip = frontend.address;
    const auto at = frontends_.find(vip);
    if (at == frontends_.end()) {
      continue;
    }
    for (const CompiledPort& port : service.ports) {
      const auto held = at->second.find(port.key);
      if (held != at->second.end() && held->second.port == port.at(frontend)) {
        at->second.erase(held);
        withdrawn_.keep_address(vip, port.id, epoch);
      }
    }
    if (at->second.empty()) {
      frontends_.erase(at);
    }
    changed_addresses_.insert(vip);
  }
}

void ServiceCompiler::place_node_port(const CompiledPort& port) {
  if (port.node_port == 0) {
    return;
  }
  node_ports_.set(port.family, {port.node_port, port.key.protocol},
                  std::make_shared<NodePort>(NodePort{port.port, port.unfiltered}));
  node_ports_changed_ = true;
}

// Another service of the same transaction may have it by now.
void ServiceCompiler::withdraw_node_port(const CompiledPort& port) {
  const PortKey key{port.node_port, port.key.protocol};
  const NodePort* held = port.node_port == 0 ? nullptr : node_ports_.find(port.family, key);
  if (held != nullptr && held->on_vips == port.port) {
    node_ports_.set(port.family, key, nullptr);
    node_ports_changed_ = true;
  }
}

void ServiceCompiler::refresh_addresses() {
  for (const auto& [vip, ports] : frontends_) {
    changed_addresses_.insert(vip);
  }
}

std::shared_ptr<const AddressEntry> ServiceCompiler::entry_for(const IpAddress& vip) const {
  const auto at = frontends_.find(vip);
  if (at == frontends_.end() && !withdrawn_.keeps(vip)) {
    return nullptr;
  }
  auto entry = std::make_shared<AddressEntry>();
  entry->address = vip;
  if (at == frontends_.end()) {
    entry->kind = AddressKind::kWithdrawn;
    return entry;
  }
  const AddressFacts facts = facts_of_(vip);
  bool any_vip = false;
  bool any_usable = false;
  for (const auto& [key, placed] : at->second) {
    entry->frontends.push_back({key, placed.port});
    any_vip = any_vip || placed.on_vip;
    any_usable = any_usable || placed.port->maglev != nullptr;
  }
  entry->kind = facts.is_node ? AddressKind::kNode : AddressKind::kVip;
  entry->answer_ports = facts.answer_ports;
  entry->answers_echo = any_usable && !facts.is_node && !facts.is_silent;
  entry->serves_node_ports = facts.serves_node_ports && (facts.is_node || any_vip);
  return entry;
}

ServiceCompiler::Built ServiceCompiler::build() {
  Built built;
  if (!changed_bindings_.empty()) {
    std::vector<BindingTable::Change> changes;
    changes.reserve(changed_bindings_.size());
    for (const auto& [slot, binding] : changed_bindings_) {
      changes.push_back({slot, binding});
    }
    bindings_ = std::make_shared<BindingTable>(bindings_->with(changes));
  }
  built.bindings = bindings_;
  for (const IpAddress& vip : changed_addresses_) {
    built.addresses.push_back({vip, entry_for(vip)});
  }
  if (std::exchange(node_ports_changed_, false)) {
    built_node_ports_ = std::make_shared<NodePortTable>(node_ports_);
  }
  built.node_ports = built_node_ports_;
  built.disruptive = disruptive_;
  built.any_dnat = dnat_services_ != 0 || withdrawn_.keeps_dnat();
  built.new_ports = std::move(new_ports_);
  built.new_bindings = std::move(new_bindings_);
  changed_bindings_.clear();
  changed_addresses_.clear();
  new_ports_.clear();
  new_bindings_.clear();
  disruptive_ = false;
  return built;
}

bool ServiceCompiler::reclaim(std::uint64_t seen_by_all,
                              const std::function<std::uint64_t(std::uint32_t)>& flows,
                              const std::function<std::uint64_t(std::uint32_t)>& flows_of_port) {
  slots_.reclaim(seen_by_all, [&](std::uint32_t slot) {
    const bool idle = flows(slot) == 0;
    slots_used_ -= idle ? 1 : 0;
    return idle;
  });
  port_ids_.reclaim(seen_by_all, [&](std::uint32_t id) {
    const bool idle = flows_of_port(id) == 0;
    if (idle) {
      --ids_used_;
      owners_.erase(id);
    }
    return idle;
  });
  const auto gone = withdrawn_.reclaim(seen_by_all, [&](std::uint32_t id) {
    return !owners_.contains(id) || flows_of_port(id) == 0;
  });
  for (const IpAddress& vip : gone.addresses) {
    changed_addresses_.insert(vip);
  }
  return gone.dnat || !gone.addresses.empty();
}

bool ServiceCompiler::reclaimable() const {
  return slots_.any_resting() || port_ids_.any_resting();
}

const CompiledService* ServiceCompiler::find(const std::string& provider,
                                             const ServiceName& name) const {
  const auto at = services_.find({provider, name});
  return at == services_.end() ? nullptr : &at->second;
}

const ServiceCompiler::Owner* ServiceCompiler::owner_of(std::uint32_t id) const {
  const auto at = owners_.find(id);
  return at == owners_.end() ? nullptr : &at->second;
}

}  // namespace sluice::model
