// SPDX-License-Identifier: Apache-2.0
// The next snapshot: the part of the reconciler that builds it from what is wanted and observed,
// hands it to the lcores, and tells the ports and the network.
#include "controlplane/runtime/reconciler.h"
#include "dataplane/snapshot/limits.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

namespace sluice::runtime {
namespace {

// What an address is by the services that were there, perhaps with flows yet, and by the network,
// which says more.
std::shared_ptr<const AddressEntry> both_entries(
    const std::shared_ptr<const AddressEntry>& services,
    const std::shared_ptr<const AddressEntry>& network) {
  if (services == nullptr || network == nullptr) {
    return network == nullptr ? services : network;
  }
  auto both = std::make_shared<AddressEntry>(*network);
  both->keeps_flows = true;
  return both;
}

}  // namespace

void Reconciler::publish() {
  model::Topology::Built ways = topology_.build();
  if (ways.addresses_changed) {
    compiler_.refresh_addresses();
  }
  want_neighbours(ways.routes_changed);
  if (topology_.changed()) {
    const model::Topology::Built wanted = topology_.build();
    ways.next_hops = wanted.next_hops;
    ways.routes_changed = ways.routes_changed || wanted.routes_changed;
  }
  tell_of_routes_left_out();
  const model::ServiceCompiler::Built services = compiler_.build();
  std::vector<AddressTable::Change> changes;
  for (const AddressTable::Change& change : ways.addresses) {
    if (!compiler_.holds(change.address)) {
      changes.push_back(
          {change.address, both_entries(compiler_.entry_for(change.address), change.entry)});
    }
  }
  for (const AddressTable::Change& change : services.addresses) {
    // What serves no more may have become the host's meanwhile.
    const bool serves = change.entry != nullptr && change.entry->kind != AddressKind::kWithdrawn;
    const auto other = serves ? nullptr : topology_.entry_for(change.address);
    changes.push_back({change.address, both_entries(change.entry, other)});
  }
  auto next = std::make_shared<Snapshot>(*published_);
  ++next->epoch;
  next->policy_epoch =
      static_cast<std::uint16_t>(next->policy_epoch + (services.disruptive ? 1 : 0));
  next->route_epoch = static_cast<std::uint16_t>(next->route_epoch + (ways.routes_changed ? 1 : 0));
  next->any_dnat = services.any_dnat;
  next->draining = standing_.draining;
  next->bindings = services.bindings;
  next->node_ports = services.node_ports;
  next->routes = ways.routes;
  next->next_hops = ways.next_hops;
  if (!changes.empty()) {
    next->addresses = std::make_shared<AddressTable>(next->addresses->with(changes));
  }
  note_baselines(services);
  const std::shared_ptr<const Snapshot> before = std::exchange(published_, next);
  last_ticket_ = dataplane_.publish(published_);
  steer_vips(changes, *before);
  if (denied_changed_) {
    std::vector<DeniedSource> denied;
    for (const auto& [key, sources] : denied_) {
      denied.insert(denied.end(), sources.begin(), sources.end());
    }
    dataplane_.set_denied(denied);
    denied_changed_ = false;
  }
  announce(changes);
  dirty_ = false;
  for (Waiting& write : unpublished_) {
    write.ticket = last_ticket_;
    waiting_.push_back(std::move(write));
  }
  unpublished_.clear();
}

void Reconciler::tell_of_routes_left_out() {
  const std::size_t left_out = topology_.routes_left_out();
  if (left_out != 0 && !std::exchange(routes_left_out_, true)) {
    spdlog::error(
        "{} routes are left out, those of the highest metric: {} of a family are carried out; have "
        "the routing daemon export fewer, a default route for one",
        left_out, kRoutesMax);
  } else if (left_out == 0 && std::exchange(routes_left_out_, false)) {
    spdlog::info("no route is left out any more");
  }
}

// Of what clients send to, while flows of it may live.
void Reconciler::steer_vips(const std::vector<AddressTable::Change>& changes,
                            const Snapshot& before) {
  if (!dataplane_.steers_vips()) {
    return;
  }
  const auto is_vip = [](const AddressEntry* entry) {
    return entry != nullptr &&
           (entry->kind == AddressKind::kVip || entry->kind == AddressKind::kWithdrawn);
  };
  std::vector<IpAddress> gained;
  std::vector<IpAddress> lost;
  for (const AddressTable::Change& change : changes) {
    const bool was = is_vip(before.addresses->find(change.address));
    const bool is = is_vip(change.entry.get());
    if (was != is) {
      (is ? gained : lost).push_back(change.address);
    }
  }
  if (!gained.empty() || !lost.empty()) {
    dataplane_.change_vips(gained, lost);
  }
}

// The lcores' counters go on when a number is used again: what its new holder counts from.
void Reconciler::note_baselines(const model::ServiceCompiler::Built& services) {
  const auto note = [](Baselines& baselines, std::uint32_t number, const FlowTotals& totals) {
    if (totals == FlowTotals{}) {
      baselines.erase(number);
    } else {
      baselines[number] = totals;
    }
  };
  for (const std::uint32_t id : services.new_ports) {
    note(port_baselines_, id, port_counts(id));
  }
  for (const std::uint32_t slot : services.new_bindings) {
    note(binding_baselines_, slot, binding_counts(slot));
  }
}

// What lies on the way to a backend is resolved before the first packet asks for it: for new
// backends, and for all of them when the ways have changed. Most lie behind few neighbours.
void Reconciler::want_neighbours(bool ways_changed) {
  std::set<model::Topology::Neighbour> wanted;
  const auto want_towards = [&](const IpAddress& backend) {
    if (const auto neighbour = topology_.neighbour_towards(backend)) {
      wanted.insert(*neighbour);
    }
  };
  const std::vector<IpAddress> fresh = compiler_.take_new_backends();
  if (ways_changed) {
    for (const model::Topology::Neighbour& gateway : topology_.gateways()) {
      wanted.insert(gateway);
    }
    for (const auto& [address, bindings] : compiler_.backends()) {
      want_towards(address);
    }
  } else {
    std::for_each(fresh.begin(), fresh.end(), want_towards);
  }
  for (const model::Topology::Neighbour& neighbour : wanted) {
    want(neighbour);
  }
}

}  // namespace sluice::runtime
