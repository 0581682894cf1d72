// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/controller.h"

#include <spdlog/spdlog.h>

#include <algorithm>

namespace sluice::kubernetes {
namespace {

constexpr std::chrono::milliseconds kTurn{500};
constexpr std::chrono::seconds kPoolsEvery{10};
constexpr std::chrono::seconds kModeEvery{10};
constexpr std::chrono::minutes kAvoid{5};  // an address that was somebody else's
constexpr std::chrono::milliseconds kAfterStale{1'000};
constexpr std::chrono::milliseconds kAfterFailure{30'000};  // one that is about the service
// A gateway that is away cannot say that it serves a service no more.
constexpr std::chrono::seconds kLeaveMax{60};

bool has_all(const std::vector<std::string>& served, const std::vector<IpAddress>& vips) {
  return std::all_of(vips.begin(), vips.end(), [&](const IpAddress& vip) {
    return std::find(served.begin(), served.end(), sluice::to_string(vip)) != served.end();
  });
}

// Of "203.0.113.10:80/TCP" or "[2001:db8::10]:80/TCP".
std::optional<IpAddress> address_of(const std::string& frontend) {
  const std::size_t colon = frontend.rfind(':');
  std::string text = frontend.substr(0, colon);
  if (text.starts_with('[') && text.ends_with(']')) {
    text = text.substr(1, text.size() - 2);
  }
  return parse_ip(text);
}

}  // namespace

Controller::Controller(const Settings& settings, std::string identity, ClusterState& state,
                       const ClusterAccess& access, Credentials& credentials, Outside outside)
    : settings_(settings),
      state_(state),
      outside_(std::move(outside)),
      at_gateway_(settings.gateways.size()),
      writer_({settings.provider, std::move(identity)}, access, credentials, stop_),
      addresses_(settings.provider),
      thread_([this] { run(); }) {}

Controller::~Controller() {
  stop();
}

void Controller::stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) {
    thread_.join();
  }
}

void Controller::changed(const std::vector<ServiceName>& names) {
  bool is_news = false;
  {
    const std::lock_guard lock(mutex_);
    if (!leads_) {
      return;  // who takes over looks at all of them
    }
    is_news = dirty_.empty();
    dirty_.insert(names.begin(), names.end());
  }
  if (is_news) {
    wake_.notify_all();
  }
}

void Controller::sent(std::size_t gateway, const std::vector<Sent>& sent, bool all) {
  {
    const std::lock_guard lock(mutex_);
    auto& known = at_gateway_[gateway];
    const auto look_at = [this](const ServiceName& name) {
      if (leads_) {
        dirty_.insert(name);
      }
    };
    if (all) {
      Names there;
      for (const Sent& each : sent) {
        there.insert(each.name);
      }
      absl::erase_if(known, [&](const auto& item) {
        const bool is_gone = !there.contains(item.first);
        if (is_gone) {
          look_at(item.first);
        }
        return is_gone;
      });
    }
    for (const Sent& each : sent) {
      const auto before = known.find(each.name);
      const bool same = before != known.end() && before->second.vips == each.vips &&
                        before->second.refusal == each.refusal;
      if (!same) {
        look_at(each.name);
      }
      if (each.served) {
        known[each.name] = {each.vips, "", "", ""};
      } else if (!each.refusal.empty()) {
        known[each.name].refusal = each.refusal;
        known[each.name].resource = each.resource;
        known[each.name].owner = each.owner;
      } else {
        known.erase(each.name);
      }
    }
  }
  wake_.notify_all();
}

void Controller::set_leads(LeaderElection::Leads leads, Clock::time_point until) {
  {
    const std::lock_guard lock(mutex_);
    const bool had_lapsed = !leads_ || Clock::now() >= leads_until_;
    leads_ = leads != LeaderElection::Leads::kNot;
    leads_until_ = until;
    // Whatever was to be done then was let go.
    lapsed_ = lapsed_ || (leads_ && had_lapsed);
    if (leads == LeaderElection::Leads::kFirst) {
      took_over_ = Clock::now();
    }
  }
  wake_.notify_all();
}

std::vector<IpAddress> Controller::vips_of(const Service& service) const {
  {
    const std::lock_guard lock(mutex_);
    const auto at = vips_.find(service.meta.name);
    // Without the Lease what the cluster says counts; where it says nothing, what was assigned last
    // is not taken away.
    if (assigns_ || vips_in_status(service).empty()) {
      return at == vips_.end() ? std::vector<IpAddress>{} : at->second;
    }
  }
  return vips_in_status(service);
}

void Controller::run() {
  while (true) {
    Names names;
    if (!await_work(names)) {
      return;
    }
    if (!led_ || !state_.is_synced()) {
      continue;
    }
    refresh_pools();
    for (const ServiceName& name : names) {
      if (!still_leads()) {
        break;
      }
      if (Clock::now() < paused_until_) {
        again(name, std::chrono::milliseconds(0));
      } else {
        reconcile(name);
      }
    }
  }
}

bool Controller::leads() const {
  const std::lock_guard lock(mutex_);
  return leads_;
}

bool Controller::still_leads() const {
  const std::lock_guard lock(mutex_);
  return leads_ && Clock::now() < leads_until_ && !stop_;
}

// False: it is time to stop.
bool Controller::await_work(Names& names) {
  bool leads = false;
  bool is_anew = false;  // it has not led all the time since it took over
  {
    std::unique_lock lock(mutex_);
    const bool pauses = Clock::now() < paused_until_;
    wake_.wait_for(lock, kTurn, [&] {
      return stop_ || (led_ && !leads_) || (led_ && !pauses && !dirty_.empty());
    });
    leads = leads_;
    is_anew = lapsed_;
    if (!leads) {
      dirty_.clear();  // who takes over looks at all of them
    } else if (led_ && !pauses) {
      names.swap(dirty_);
    }
  }
  if (stop_) {
    return false;
  }
  if (led_ && (!leads || is_anew)) {
    step_down();
  }
  if (leads && !led_ && state_.is_synced()) {
    take_over();
  }
  take_due(names);
  return true;
}

void Controller::take_due(Names& names) {
  const auto now = Clock::now();
  if (now < paused_until_) {
    return;
  }
  for (auto at = later_.begin(); at != later_.end();) {
    if (at->second <= now) {
      names.insert(at->first);
      later_.erase(at++);
    } else {
      ++at;
    }
  }
}

// Before anything is chosen, all that has an address already keeps it. The holder before may have
// given some a moment ago, and a watch can be silent for minutes: so a list comes first. Where
// there was no other, what was given here is known better than by any list.
void Controller::take_over() {
  std::optional<Clock::time_point> since;
  {
    const std::lock_guard lock(mutex_);
    since = took_over_;
    lapsed_ = false;  // from now on no change is let go
  }
  if (since) {
    if (!state_.are_services_listed_since(*since)) {
      return;
    }
    addresses_ = Addresses(settings_.provider);
  }
  pools_asked_ = {};
  pools_.reset();
  if (!refresh_pools()) {
    return;  // no gateway answers, so nobody knows which addresses there are
  }
  std::vector<ServiceName> names = state_.service_names();
  for (const ServiceName& name : names) {
    const ServiceView view = state_.view(name);
    if (view.service != nullptr && claim_of(*view.service, settings_.translate) == Claim::kOurs) {
      addresses_.adopt(*view.service);
      publish(name, addresses_.of(name));
    }
  }
  led_ = true;
  {
    const std::lock_guard lock(mutex_);
    assigns_ = true;
    if (took_over_ == since) {
      took_over_.reset();
    }
    for (const auto& [name, vips] : vips_) {  // of some that are gone by now
      names.push_back(name);
    }
    dirty_.insert(names.begin(), names.end());
  }
  outside_.addressed(names);
}

// From now on addresses are those of the cluster's status, which the next holder writes.
void Controller::step_down() {
  led_ = false;
  {
    const std::lock_guard lock(mutex_);
    assigns_ = false;
    dirty_.clear();
  }
  later_.clear();
  pending_.clear();
  leaving_.clear();
  delivered_.clear();
  outside_.addressed(state_.service_names());
}

// False: they are not known.
bool Controller::refresh_pools() {
  const auto now = Clock::now();
  if (pools_asked_ != Clock::time_point{} && now - pools_asked_ < kPoolsEvery) {
    return pools_.has_value();
  }
  pools_asked_ = now;
  if (now - avoided_since_ >= kAvoid) {
    avoided_since_ = now;
    addresses_.forget_avoided();
    for (const ServiceName& name : pending_) {
      again(name, std::chrono::milliseconds(0));
    }
  }
  auto pools = outside_.pools();
  if (!pools || pools == pools_) {
    return pools_.has_value();
  }
  pools_ = pools;
  addresses_.set_pools(std::move(*pools));
  const std::vector<ServiceName> names = state_.service_names();
  const std::lock_guard lock(mutex_);
  dirty_.insert(names.begin(), names.end());
  return true;
}

void Controller::reconcile(const ServiceName& name) {
  const ServiceView view = state_.view(name);
  if (view.service == nullptr) {
    free_address(name);
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
      told_.erase(name);
      delivered_.erase(name);
      break;
  }
}

// A service that has no VIP of ours can still be refused, and have annotations.
void Controller::tell_of_served(const ServiceView& view) {
  std::vector<Finding> findings = translated(view, {}).findings;
  acknowledged(*view.service, {}, false, findings);
  tell(*view.service, std::move(findings));
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
  write_status(service, vips, ack, translation.port_errors);
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
  if (is_due && is_served(name, vips)) {
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

// Once for each change. What a service with a status had already when this adapter came is no
// change; and while it has no endpoint, what was told last holds.
void Controller::tell_of_delivery(const Service& service,
                                  const std::optional<DeliveryChoice>& choice) {
  using Why = DeliveryChoice::Why;
  if (!choice || choice->why == Why::kRoutesUnknown) {
    return;
  }
  const std::pair now{choice->delivery, choice->why};
  const auto [at, is_first] = delivered_.try_emplace(service.meta.name, now);
  const bool is_news = is_first ? service.ingress.empty() : at->second != now;
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

std::vector<IpAddress> Controller::give_addresses(const Service& service,
                                                  const std::vector<IpAddress>& requested,
                                                  std::vector<Finding>& findings) {
  const Addresses::Outcome outcome = addresses_.assign(service, requested);
  if (!outcome.why_not.empty()) {
    findings.push_back({"AddressPending", outcome.why_not});
    pending_.insert(service.meta.name);
  } else {
    pending_.erase(service.meta.name);
  }
  if (outcome.changed) {
    publish(service.meta.name, outcome.vips);
    outside_.addressed({service.meta.name});
  }
  return outcome.vips;
}

bool Controller::is_served(const ServiceName& name, const std::vector<IpAddress>& vips) const {
  const std::lock_guard lock(mutex_);
  return std::any_of(at_gateway_.begin(), at_gateway_.end(), [&](const auto& gateway) {
    const auto at = gateway.find(name);
    return at != gateway.end() && at->second.refusal.empty() && has_all(at->second.vips, vips);
  });
}

// One gateway that serves it is enough, if none refuses it. And if one does, what its status says
// already stays, for as long as another gateway serves it: that one may be full, or come late.
Controller::Ack Controller::acknowledged(const Service& service, const std::vector<IpAddress>& vips,
                                         bool may_choose, std::vector<Finding>& findings) {
  const ServiceName& name = service.meta.name;
  const bool holds = !vips.empty() && vips_in_status(service) == vips && is_served(name, vips);
  Ack ack = holds ? Ack::kServed : Ack::kWaiting;
  std::optional<IpAddress> taken;
  bool is_silent = false;  // at a gateway that serves it
  {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < at_gateway_.size(); ++i) {
      const auto at = at_gateway_[i].find(name);
      if (at == at_gateway_[i].end()) {
        continue;
      }
      if (!at->second.refusal.empty()) {
        findings.push_back({"GatewayRefused", settings_.gateways[i] + ": " + at->second.refusal});
        if (may_choose && !holds && !at->second.owner.starts_with(settings_.provider + ":")) {
          taken = address_of(at->second.resource);
        }
        // What it had before may go on there in its last good form.
        if (!holds && (vips.empty() || !has_all(at->second.vips, vips))) {
          ack = Ack::kRefused;
        }
      } else if (ack == Ack::kWaiting && !vips.empty() && has_all(at->second.vips, vips)) {
        ack = outside_.announces(i) ? Ack::kServed : ack;
        is_silent = true;
      }
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
    addresses_.release(name);
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
  free_address(name);
  if (!is_marked) {
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
    for (const ServiceName& waiting : pending_) {
      again(waiting, std::chrono::milliseconds(0));
    }
  }
}

// No gateway has an address of it any more, as far as they can be asked.
bool Controller::is_gone(const ServiceName& name) {
  const auto since = leaving_.try_emplace(name, Clock::now()).first->second;
  const bool waits = Clock::now() - since < kLeaveMax;
  for (std::size_t i = 0; i < settings_.gateways.size(); ++i) {
    if (!outside_.in_step(i)) {
      if (waits) {
        return false;
      }
      spdlog::warn("{}: it is away, and {} is let go without it", settings_.gateways[i],
                   to_string(name));
      continue;
    }
    const std::lock_guard lock(mutex_);
    const auto at = at_gateway_[i].find(name);
    if (at != at_gateway_[i].end() && !at->second.vips.empty()) {
      return false;
    }
  }
  return true;
}

// True: it differs from what it was.
bool Controller::publish(const ServiceName& name, const std::vector<IpAddress>& vips) {
  const std::lock_guard lock(mutex_);
  if (vips.empty()) {
    return vips_.erase(name) != 0;
  }
  std::vector<IpAddress>& present = vips_[name];
  const bool differs = present != vips;
  present = vips;
  return differs;
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

// The earliest time counts.
void Controller::again(const ServiceName& name, std::chrono::milliseconds in) {
  const auto at = Clock::now() + in;
  const auto [entry, is_new] = later_.try_emplace(name, at);
  if (!is_new) {
    entry->second = std::min(entry->second, at);
  }
}

void Controller::after(ClusterWriter::Written written, const ServiceName& name) {
  if (written == ClusterWriter::Written::kStale) {
    again(name, kAfterStale);
  } else if (written == ClusterWriter::Written::kFailed) {
    again(name, kAfterFailure);
  } else if (written == ClusterWriter::Written::kRefusedNow) {
    // The server's state, not the service's: everything waits, longer each time.
    paused_until_ = Clock::now() + backoff_.next(Clock::now(), writer_.retry_after());
    again(name, std::chrono::milliseconds(0));
  }
}

}  // namespace sluice::kubernetes
