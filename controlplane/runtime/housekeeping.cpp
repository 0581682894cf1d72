// SPDX-License-Identifier: Apache-2.0
// What the reconciler does once a second: lcores and links are looked at, and what nothing needs
// any more is taken back.
#include "controlplane/runtime/reconciler.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <string>

namespace sluice::runtime {

// An lcore that makes no turn holds up its own packets and whoever waits for all to have seen a
// write; an operator should know which it is.
void Reconciler::watch_lcores() {
  turns_.resize(dataplane_.lcores().size());
  for (std::size_t i = 0; i < turns_.size(); ++i) {
    const unsigned lcore = dataplane_.lcores()[i];
    const std::uint64_t turns = dataplane_.counters()[i]->turns.get();
    const bool stalled = turns == turns_[i] && turns != 0;
    turns_[i] = turns;
    if (stalled && stalled_.insert(lcore).second) {
      spdlog::error("lcore {} stands still: no turn for a second; is its CPU taken away?", lcore);
    } else if (!stalled && stalled_.erase(lcore) != 0) {
      spdlog::info("lcore {} goes on", lcore);
    }
  }
}

// Said while there is some left: before new flows are dropped for want of it.
void Reconciler::watch_room() {
  const auto watch_table = [this](std::size_t i, std::uint64_t flows, std::uint64_t flows_max,
                                  const char* setting) {
    if (flows_max - flows <= flows_max / 10) {
      note_event({.warning = true,
                  .reason = "FlowTableNearlyFull",
                  .message = "lcore " + std::to_string(dataplane_.lcores()[i]) +
                             " has used nine tenths of its entries or more; raise dataplane." +
                             setting});
    }
  };
  std::uint64_t broken = 0;
  for (std::size_t i = 0; i < dataplane_.counters().size(); ++i) {
    const LcoreCounters& counters = *dataplane_.counters()[i];
    watch_table(i, counters.flows_ipv4.get(), config_.flows_ipv4, "flows_ipv4");
    watch_table(i, counters.flows_ipv6.get(), config_.flows_ipv6, "flows_ipv6");
    broken += counters.snat_quarantine_broken.get();
  }
  if (broken != snat_quarantine_broken_) {
    note_event({.warning = true,
                .reason = "SnatPortsShort",
                .message = "SNAT ports of connections that ended within the last minute are used "
                           "again, as an endpoint has no others; add addresses to snat"});
  }
  snat_quarantine_broken_ = broken;
}

// A link that comes up may lead to another switch, which learns again where our addresses are.
void Reconciler::follow_links() {
  for (const Dataplane::LinkChange& change : dataplane_.follow_links()) {
    const std::string& name = config_.ports[change.port].name;
    if (!change.up) {
      spdlog::warn("{}: the link is down", name);
      continue;
    }
    spdlog::info("{}: the link is up", name);
    for (const auto& [address, ports] : announced_) {
      if ((ports >> change.port & 1U) != 0) {
        dataplane_.announce(change.port, address);
      }
    }
  }
}

// The kernel asks for a neighbour that it is to keep fresh again and again, with broadcasts; for
// who does not answer, once somebody sends there again. Backends and routers are asked for all the
// time.
void Reconciler::leave_silent() {
  std::vector<model::Topology::Neighbour> silent = topology_.silent(clock_ms());
  std::erase_if(silent, [this](const model::Topology::Neighbour& neighbour) {
    return !asked_.contains(neighbour) || compiler_.backends().contains(neighbour.address);
  });
  if (silent.empty()) {
    return;
  }
  const std::vector<model::Topology::Neighbour> gateways = topology_.gateways();
  for (const model::Topology::Neighbour& neighbour : silent) {
    if (!std::binary_search(gateways.begin(), gateways.end(), neighbour)) {
      unwant(neighbour);
    }
  }
}

void Reconciler::unwant(const model::Topology::Neighbour& neighbour) {
  const auto twin = topology_.twin(neighbour.port);
  if (asked_.erase(neighbour) != 0 && twin && outside_.unwant) {
    outside_.unwant(*twin, neighbour.address);
  }
}

void Reconciler::keep_house() {
  housekept_ = Clock::now();
  watch_lcores();
  watch_room();
  follow_links();
  compiler_.set_time(clock_ms());
  dirty_ = compiler_.expire_drains() || dirty_;
  serve_pending(true);
  if (outside_.repair_routes) {
    outside_.repair_routes();
  }
  retry_names();
  // The snapshot of a housekeeping ago: the newest one may never be confirmed when asked for,
  // because there is always a newer one.
  if (dataplane_.confirmed(house_ticket_)) {
    confirmed_epoch_ = house_epoch_;
    house_ticket_ = last_ticket_;
    house_epoch_ = published_->epoch;
  }
  const bool reclaimed = compiler_.reclaim(
      confirmed_epoch_, [this](std::uint32_t slot) { return binding_totals(slot).flows_active(); },
      [this](std::uint32_t id) { return port_totals(id).flows_active(); });
  dirty_ = dirty_ || reclaimed;
  leave_silent();
  if (!topology_.crowded()) {
    return;
  }
  std::set<model::Topology::Neighbour> keep;
  for (const auto& [address, bindings] : compiler_.backends()) {
    if (const auto neighbour = topology_.neighbour_towards(address)) {
      keep.insert(*neighbour);
    }
  }
  for (const model::Topology::Neighbour& silent : topology_.forget_silent(clock_ms(), keep)) {
    unwant(silent);
  }
}

}  // namespace sluice::runtime
