// SPDX-License-Identifier: Apache-2.0
// What is done for one service: each step looks at how things are, and goes on from there.
#include "controlplane/kubernetes/controller.h"

#include <spdlog/spdlog.h>

#include <algorithm>

namespace sluice::kubernetes {
namespace {

constexpr std::chrono::seconds kModeEvery{10};

// Of "203.0.113.10:80/TCP" or "[2001:db8::10]:80/TCP", or where it is of a pool, of the address
// alone.
std::optional<IpAddress> address_of(const std::string& frontend) {
  if (const auto whole = parse_ip(frontend)) {
    return whole;
  }
  const std::size_t colon = frontend.rfind(':');
  std::string text = frontend.substr(0, colon);
  if (text.starts_with('[') && text.ends_with(']')) {
    text = text.substr(1, text.size() - 2);
  }
  return parse_ip(text);
}

}  // namespace

void Controller::reconcile(const ServiceName& name) {
  const ServiceView view = state_.view(name);
  if (view.service == nullptr) {
    free_unmarked(name);
    publish(name, {});
    pending_.erase(name);
    told_.erase(name);
    delivered_.erase(name);
    leaving_.erase(name);
    writer_.forget(name);
    return;
  }
  switch (claim_of(*view.service, settings_.translate)) {
    case Claim::kOurs:
      leaving_.erase(name);
      set_up(view);
      break;
    case Claim::kServed:
      tear_down(*view.service);  // it may have been a LoadBalancer
      tell_of_served(view);
      break;
    case Claim::kNotOurs:
      tear_down(*view.service);
      if (view.service->type == "ExternalName") {  // whose annotation may be why
        tell(*view.service, translated(view, {}).findings);
      } else {
        told_.erase(name);
      }
      delivered_.erase(name);
      break;
  }
}

// A service that has no VIP of ours can still be refused, and have annotations.
void Controller::tell_of_served(const ServiceView& view) {
  Translation translation = translated(view, {});
  acknowledged(*view.service, {}, false, translation.findings);
  tell_of_delivery(*view.service, translation.delivery);
  tell(*view.service, std::move(translation.findings));
}

void Controller::set_up(const ServiceView& view) {
  const Service& service = *view.service;
  if (service.type == "LoadBalancer" && !ClusterWriter::is_marked(service, settings_.provider)) {
    after(writer_.mark(service), service.meta.name);
    return;  // what was written comes back as a change
  }
  std::vector<Finding> findings;
  const auto requested = requested_vips(service, findings);
  // Whose request cannot be read keeps what it has, and gets nothing else.
  std::vector<IpAddress> vips =
      requested ? give_addresses(service, *requested, findings) : addresses_.of(service.meta.name);
  const Translation translation = translated(view, vips);
  if (translation.service) {  // one of another family than the service's has been left out
    const auto& served = translation.service->spec().load_balancer_ips();
    std::erase_if(vips, [&](const IpAddress& vip) {
      return std::find(served.begin(), served.end(), sluice::to_string(vip)) == served.end();
    });
  }
  findings.insert(findings.end(), translation.findings.begin(), translation.findings.end());
  const Ack ack = acknowledged(service, vips, requested && requested->empty(), findings);
  const bool is_servable = translation.service.has_value();
  write_status(service, is_servable ? vips : std::vector<IpAddress>{}, ack,
               translation.port_errors);
  tell_of_delivery(service, translation.delivery);
  tell(service, std::move(findings));
}

Translation Controller::translated(const ServiceView& view, const std::vector<IpAddress>& vips) {
  const std::shared_ptr<const Nodes> nodes = state_.all_nodes();
  const auto routes = outside_.routes ? outside_.routes() : nullptr;
  return translate(*view.service, view.slices,
                   {.nodes = *nodes,
                    .routes = routes.get(),
                    .health = outside_.health,
                    .loses_clients = loses_clients(*view.service, vips)},
                   vips, settings_.translate);
}

bool Controller::loses_clients(const Service& service, const std::vector<IpAddress>& vips) {
  const ServiceName& name = service.meta.name;
  if (service.external_traffic_policy != "Local" || !outside_.forwarding_mode) {
    return false;
  }
  const auto now = Clock::now();
  const bool is_due = mode_asked_ == Clock::time_point{} || now - mode_asked_ >= kModeEvery;
  if (is_due && answers_.is_served(name, vips)) {
    mode_asked_ = now;  // also of one that does not answer: asking holds up the others
    const std::string mode = outside_.forwarding_mode(name);
    if (mode.empty()) {
      again(name, kModeEvery);
    } else {
      loses_clients_ = mode == "FULL_NAT";
    }
  }
  return loses_clients_;
}

std::vector<IpAddress> Controller::give_addresses(const Service& service,
                                                  const std::vector<IpAddress>& requested,
                                                  std::vector<Finding>& findings) {
  const std::vector<IpAddress> had = addresses_.of(service.meta.name);
  const Addresses::Outcome outcome = addresses_.assign(service, requested);
  if (!outcome.why_not.empty()) {
    findings.push_back({"AddressPending", outcome.why_not});
    pending_.insert(service.meta.name);
  } else {
    pending_.erase(service.meta.name);
  }
  if (outcome.shares) {
    wake_pending();
  }
  const bool differs = publish(service.meta.name, outcome.vips, service.meta.uid);
  if (outcome.changed || differs) {
    std::vector<IpAddress> left = had;
    std::erase_if(left, [&](const IpAddress& vip) {
      return std::find(outcome.vips.begin(), outcome.vips.end(), vip) != outcome.vips.end();
    });
    hold_back(service.meta.name, left);
    outside_.addressed({service.meta.name});
  }
  return outcome.vips;
}

// One gateway that serves it is enough, if none refuses it. And if one does, what its status says
// already stays, for as long as another gateway serves it: that one may be full, or come late.
Controller::Ack Controller::acknowledged(const Service& service, const std::vector<IpAddress>& vips,
                                         bool may_choose, std::vector<Finding>& findings) {
  const ServiceName& name = service.meta.name;
  const bool holds =
      !vips.empty() && vips_in_status(service) == vips && answers_.is_served(name, vips);
  Ack ack = holds ? Ack::kServed : Ack::kWaiting;
  std::optional<IpAddress> taken;
  bool is_silent = false;  // at a gateway that serves it
  for (std::size_t i = 0; i < settings_.gateways.size(); ++i) {
    const auto answer = answers_.of(i, name);
    if (!answer) {
      continue;
    }
    if (!answer->refusal.empty()) {
      findings.push_back({"GatewayRefused", settings_.gateways[i] + ": " + answer->refusal});
      if (may_choose && !holds && !answer->owner.starts_with(settings_.provider + ":")) {
        taken = address_of(answer->resource);
      }
      // What it had before may go on there in its last good form.
      if (!holds && (vips.empty() || !answer->has_all(vips))) {
        ack = Ack::kRefused;
      }
    } else if (ack == Ack::kWaiting && !vips.empty() && answer->has_all(vips)) {
      ack = outside_.announces(i) ? Ack::kServed : ack;
      is_silent = true;
    }
  }
  if (ack == Ack::kWaiting && is_silent) {
    findings.push_back({"GatewayStandby",
                        "the gateways that serve it are standby or drain, and announce nothing; it "
                        "gets its address once one is active"});
    again(name, kAfterStale);
  }
  // It is somebody else's at the gateway: one that was chosen is chosen no more.
  if (taken && std::find(vips.begin(), vips.end(), *taken) != vips.end() &&
      addresses_.avoid(*taken)) {
    free_address(name);
    publish(name, {});
    again(name, std::chrono::milliseconds(0));
  }
  return ack;
}

void Controller::write_status(const Service& service, const std::vector<IpAddress>& vips, Ack ack,
                              const std::vector<PortError>& errors) {
  const bool shows_these = vips_in_status(service) == vips;
  if (ack == Ack::kWaiting && !vips.empty() && shows_these) {
    return;  // a gateway that is away does not take it back
  }
  const WantedStatus wanted{ack == Ack::kServed ? vips : std::vector<IpAddress>{},
                            ip_mode_of(service), errors};
  const std::vector<IpAddress>& shown = wanted.vips;
  const bool is_name = service.type == "ExternalName";  // its status has no place for addresses
  if (is_name ? vips_in_status(service) == shown : writer_.is_settled(service, wanted)) {
    return;
  }
  const auto written =
      is_name ? writer_.set_assigned(service, shown) : writer_.set_status(service, wanted);
  after(written, service.meta.name);
  if (written == ClusterWriter::Written::kDone && !shown.empty() && !shows_these) {
    std::string addresses;
    for (const IpAddress& vip : shown) {
      addresses += (addresses.empty() ? "" : ", ") + sluice::to_string(vip);
    }
    writer_.tell(service, "Normal", {"Served", "served at " + addresses});
  }
}

// Once for each change. What a service with a status had already when this adapter came is no
// change, nor what one without a place for a status had; and while it has no endpoint, what was
// told last holds.
void Controller::tell_of_delivery(const Service& service,
                                  const std::optional<DeliveryChoice>& choice) {
  using Why = DeliveryChoice::Why;
  if (!choice || choice->why == Why::kRoutesUnknown) {
    return;
  }
  const bool is_new = service.type == "LoadBalancer" && service.ingress.empty();
  if (choice->why == Why::kNoEndpoints && !is_new) {
    return;
  }
  const std::pair now{choice->delivery, choice->why};
  const auto [at, is_first] = delivered_.try_emplace(service.meta.name, now);
  const bool is_news = is_first ? is_new : at->second != now;
  if (!is_news || choice->why == Why::kNoEndpoints) {
    return;
  }
  at->second = now;
  std::string message = choice->delivery == Delivery::kNode ? "to node ports: " : "to pods: ";
  message += choice->reason;
  if (choice->unrouted) {
    message += ", as to " + sluice::to_string(*choice->unrouted);
  }
  writer_.tell(service, "Normal", {"Delivery", message});
}

void Controller::tear_down(const Service& service) {
  const ServiceName& name = service.meta.name;
  pending_.erase(name);
  const bool is_marked = ClusterWriter::is_marked(service, settings_.provider);
  if (publish(name, {})) {
    outside_.addressed({name});
  }
  if (is_marked && !is_gone(name)) {
    again(name, kTurn);
    return;
  }
  if (!is_marked) {
    free_unmarked(name);
    leaving_.erase(name);
    if (service.type == "ExternalName" && !service.meta.deleting &&
        service.meta.annotations.contains(kAssignedIpsAnnotation)) {
      after(writer_.set_assigned(service, {}), name);
    }
    return;
  }
  auto written = ClusterWriter::Written::kDone;
  if (!writer_.is_settled(service, {})) {
    written = writer_.set_status(service, {});
    again(name, kAfterStale);  // the mark goes when its change has come back, or there is none
  } else {
    free_address(name);  // not before, as the next holder of the Lease believes the status
    written = writer_.unmark(service);
    if (written == ClusterWriter::Written::kDone) {
      leaving_.erase(name);
    }
  }
  after(written, name);
}

// It may be the one that others wait for.
void Controller::free_address(const ServiceName& name) {
  if (addresses_.release(name)) {
    wake_pending();
  }
}

void Controller::hold_back(const ServiceName& name, const std::vector<IpAddress>& vips) {
  for (const IpAddress& vip : vips) {
    addresses_.hold_back(vip, name);
    held_back_.insert_or_assign({vip, name}, Clock::now());
  }
}

// No finalizer has waited for the gateways, so the addresses do.
void Controller::free_unmarked(const ServiceName& name) {
  hold_back(name, addresses_.of(name));
  addresses_.release(name);
}

// Those that the gateways have let go of, and whose owner's status, which the next holder of the
// Lease believes, does not have them any more.
void Controller::free_held_back() {
  std::size_t freed = 0;
  Clock::time_point oldest = Clock::now();
  for (auto at = held_back_.begin(); at != held_back_.end();) {
    const auto& [address, name] = at->first;
    const auto service = state_.view(name).service;
    const auto shown = service == nullptr ? std::vector<IpAddress>{} : vips_in_status(*service);
    const bool is_back = !addresses_.is_held_back(address, name);
    if (!is_back && (std::find(shown.begin(), shown.end(), address) != shown.end() ||
                     !have_let_go(name, at->second, address))) {
      ++at;
      continue;
    }
    if (!is_back) {
      addresses_.let_go(address, name);
      oldest = std::min(oldest, at->second);
      ++freed;
    }
    at = held_back_.erase(at);
  }
  if (freed != 0) {
    tell_of_away(oldest, std::to_string(freed) + " addresses are");
    wake_pending();
  }
}

bool Controller::is_gone(const ServiceName& name) {
  const auto since = leaving_.try_emplace(name, Clock::now()).first->second;
  const bool is_gone = have_let_go(name, since, std::nullopt);
  if (is_gone) {
    tell_of_away(since, to_string(name) + " is");
  }
  return is_gone;
}

// No gateway has this address of it any more, or none at all, as far as they can be asked.
bool Controller::have_let_go(const ServiceName& name, Clock::time_point since,
                             const std::optional<IpAddress>& address) const {
  if (Clock::now() - since < settings_.release_delay) {
    return false;  // gateways that are not known here may be as late
  }
  const bool waits = Clock::now() - since < settings_.leave_max;
  for (std::size_t i = 0; i < settings_.gateways.size(); ++i) {
    const auto answer = answers_.of(i, name);
    const bool serves = answer && (address ? answer->has_all({*address}) : !answer->vips.empty());
    if (waits ? serves || !outside_.in_step(i) : serves && !outside_.is_away(i)) {
      return false;
    }
  }
  return true;
}

void Controller::tell_of_away(Clock::time_point since, const std::string& what) const {
  for (std::size_t i = 0; i < settings_.gateways.size(); ++i) {
    if (Clock::now() - since >= settings_.leave_max && outside_.is_away(i)) {
      spdlog::warn("{}: it is away, and {} let go without it", settings_.gateways[i], what);
    }
  }
}

// Each once, until it is no longer so.
void Controller::tell(const Service& service, std::vector<Finding> findings) {
  auto& told = told_[service.meta.name];
  std::set<std::pair<std::string, std::string>> now;
  for (const Finding& finding : findings) {
    if (now.emplace(finding.reason, finding.message).second &&
        !told.contains({finding.reason, finding.message})) {
      writer_.tell(service, "Warning", finding);
    }
  }
  told = std::move(now);
  if (told.empty()) {
    told_.erase(service.meta.name);
  }
}

}  // namespace sluice::kubernetes
