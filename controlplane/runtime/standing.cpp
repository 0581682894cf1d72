// SPDX-License-Identifier: Apache-2.0
// What the network is told about services' addresses, and what people are: the reconciler's part in
// announcing, roles, draining and events.
#include "controlplane/runtime/reconciler.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <ctime>

namespace sluice::runtime {

model::AddressFacts Reconciler::facts_of(const IpAddress& address) const {
  model::AddressFacts facts = topology_.facts_of(address);
  if (config_.announce != model::Announce::kL2 || standing_.standby) {
    facts.answer_ports = 0;
  }
  facts.is_silent = standing_.standby;
  return facts;
}

// Cluster addresses are not: who wants to reach them routes their range here.
bool Reconciler::is_routed(const AddressEntry* entry) const {
  if (config_.announce != model::Announce::kRoutes || standing_.draining || entry == nullptr ||
      entry->kind != AddressKind::kVip || !entry->answers_echo) {
    return false;
  }
  const auto& cluster = config_.grants.cluster_ips;
  return std::none_of(cluster.begin(), cluster.end(), [&](const model::AddressRange& range) {
    return range.contains(entry->address);
  });
}

// RFC 5227 §3, RFC 4861 §7.2.6: whoever had the address in its cache learns where it is now.
void Reconciler::announce(const std::vector<AddressTable::Change>& changes) {
  for (const AddressTable::Change& change : changes) {
    const AddressEntry* entry = change.entry.get();
    const bool ours = entry != nullptr && entry->is_ours();
    const std::uint16_t answers = ours ? entry->answer_ports : std::uint16_t{0};
    const auto known = announced_.find(change.address);
    const std::uint16_t before = known == announced_.end() ? std::uint16_t{0} : known->second;
    for (std::uint8_t port = 0; port < config_.ports.size(); ++port) {
      if (((answers & ~before) >> port & 1) != 0) {
        dataplane_.announce(port, change.address);
      }
    }
    if (answers != before) {
      dataplane_.set_answered(change.address, answers);
    }
    if (answers == 0) {
      announced_.erase(change.address);
    } else {
      announced_[change.address] = answers;
    }
    if (outside_.route) {
      outside_.route(change.address, is_routed(entry));
    }
  }
}

void Reconciler::change_standing(const Standing& next) {
  if (next.standby != standing_.standby) {
    note_event({.reason = next.standby ? "BecameStandby" : "BecameActive",
                .message = next.standby ? "nothing of services' is answered or announced any more"
                                        : "services' addresses are answered and announced"});
  }
  if (next.draining != standing_.draining) {
    note_event({.reason = next.draining ? "DrainStarted" : "DrainEnded",
                .message = next.draining ? "no new flows are taken" : "new flows are taken again"});
  }
  standing_ = next;
  compiler_.refresh_addresses();
  dirty_ = true;
}

void Reconciler::note_claim(const AddressClaim& claim) {
  ++address_conflicts_;
  Event event{.warning = true,
              .reason = "AddressConflict",
              .message = to_string(claim.address) + " is claimed by " +
                         to_string(MacAddress{claim.mac}) + " on " +
                         config_.ports[claim.port].name};
  if (const auto holder = desired_.service_at(claim.address)) {
    event.provider = holder->first;
    event.service = holder->second;
  }
  note_event(std::move(event));
}

void Reconciler::follow_name(const ChangeLog::Key& key, const std::string& name) {
  const auto tell_follow = [this](const std::string& which, bool followed) {
    if (outside_.follow) {
      outside_.follow(which, followed);
    }
  };
  const auto at = followed_.find(key);
  const std::string before = at == followed_.end() ? "" : at->second;
  if (before == name) {
    return;
  }
  if (!before.empty()) {
    followed_.erase(at);
    followers_[before].erase(key);
    if (followers_[before].empty()) {
      followers_.erase(before);
      resolved_.erase(before);
      tell_follow(before, false);
    }
  }
  if (!name.empty()) {
    followed_[key] = name;
    followers_[name].insert(key);
    tell_follow(name, true);  // again for each, so that a new one is told too
  }
}

// True when the service has other endpoints now.
bool Reconciler::take_resolved(const ChangeLog::Key& key, const ResolvedName& name) {
  const auto fits = [&](const model::Service& service) {
    return compiler_.fits(key.first, {&service});
  };
  switch (desired_.set_resolved(key.first, key.second, name.addresses, fits)) {
    case model::Desired::Resolved::kSame:
      return false;
    case model::Desired::Resolved::kTooMany:
      note_name_event(key, name.name + ": no room for its addresses, the last ones stay; raise " +
                               "dataplane.bindings or dataplane.servicePorts");
      return false;
    case model::Desired::Resolved::kChanged:
      break;
  }
  compile(key, desired_.find(key.first, key.second)->service);
  return true;
}

void Reconciler::note_name_event(const ChangeLog::Key& key, const std::string& message,
                                 bool warning) {
  note_event({.warning = warning,
              .reason = warning ? "NameNotResolved" : "NameResolved",
              .provider = key.first,
              .service = key.second,
              .message = message});
}

// The last good addresses stay when there are none of now.
void Reconciler::note_name(const ResolvedName& name) {
  const auto followers = followers_.find(name.name);
  if (followers == followers_.end()) {
    return;
  }
  const std::string before = std::exchange(resolved_[name.name], name).fault;
  for (const ChangeLog::Key& key : followers->second) {
    if (!name.fault.empty()) {
      note_name_event(key, name.name + ": " + name.fault +
                               (name.addresses.empty() ? "" : "; the last addresses stay"));
    } else if (!before.empty()) {
      note_name_event(key, name.name + ": it has an answer again", false);
    }
  }
  follow_resolved(name);
}

// What could not be a backend, an address of a service here, say, may be one by now.
void Reconciler::retry_names() {
  for (const auto& [text, name] : resolved_) {
    follow_resolved(name);
  }
}

void Reconciler::follow_resolved(const ResolvedName& name) {
  if (name.addresses.empty()) {
    return;
  }
  std::vector<ChangeLog::Key> changed;
  for (const ChangeLog::Key& key : followers_[name.name]) {
    if (take_resolved(key, name)) {
      changed.push_back(key);
    }
  }
  if (!changed.empty()) {
    note_changes(changed, {});
    dirty_ = true;
  }
}

void Reconciler::note_event(Event event) {
  const bool warning = event.warning;
  const std::string text = event.reason + ": " + event.message;
  if (events_.add(std::move(event), std::time(nullptr))) {
    spdlog::log(warning ? spdlog::level::warn : spdlog::level::info, "{}", text);
  }
}

// What of a change of a service somebody should hear about. That all is well with a new one is
// no news.
void Reconciler::note_service(const ChangeLog::Key& key, const model::Service& service,
                              bool served_before) {
  const auto note = [&](bool warning, const char* reason, const std::string& message) {
    note_event({.warning = warning,
                .reason = reason,
                .provider = key.first,
                .service = key.second,
                .message = to_string(key.second) + ": " + message});
  };
  if (!service.pending.why.empty()) {
    note(true, "AddressPending", service.pending.why);
  }
  if (service.external_local && service.mode != ForwardingMode::kDnat) {
    note(
        true, "ClientAddressNotPreserved",
        "externalTrafficPolicy is Local, and backends see the gateway's address; set the gateway's "
        "returnPath, or forwarding.mode: DNAT");
  }
  const bool served = compiler_.find(key.first, key.second)->is_served();
  if (!served && served_before) {
    note(true, "NoUsableEndpoint", "no endpoint takes new flows");
  } else if (served && !served_before) {
    note(false, "EndpointsUsable", "endpoints take new flows");
  }
}

}  // namespace sluice::runtime
