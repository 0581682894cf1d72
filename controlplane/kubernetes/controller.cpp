// SPDX-License-Identifier: Apache-2.0
// When a service is looked at, and by whom: the thread, the Lease, what is to be done again.
#include "controlplane/kubernetes/controller.h"

#include <algorithm>

namespace sluice::kubernetes {
namespace {

constexpr std::chrono::seconds kPoolsEvery{10};
constexpr std::chrono::minutes kAvoid{5};                   // an address that was somebody else's
constexpr std::chrono::milliseconds kAfterFailure{30'000};  // one that is about the service

}  // namespace

Controller::Controller(const Settings& settings, std::string identity, ClusterState& state,
                       const ClusterAccess& access, Credentials& credentials, Outside outside)
    : settings_(settings),
      state_(state),
      outside_(std::move(outside)),
      answers_(settings.gateways.size()),
      writer_(
          {settings.provider, std::move(identity)}, access, credentials,
          [this] { return still_leads(); }, stop_),
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
  changed(answers_.take(gateway, sent, all));
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
    // is not taken away from it.
    if (assigns_ || vips_in_status(service).empty()) {
      const bool is_its = at != vips_.end() && (assigns_ || at->second.uid == service.meta.uid);
      return is_its ? at->second.vips : std::vector<IpAddress>{};
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
    free_held_back();
    for (const ServiceName* name : in_order(names)) {
      if (!still_leads()) {
        break;
      }
      if (Clock::now() < paused_until_) {
        again(*name, std::chrono::milliseconds(0));
      } else {
        reconcile(*name);
      }
    }
  }
}

// Last those at which the server has failed: that may be their own matter, and holds up no other.
std::vector<const ServiceName*> Controller::in_order(const Names& names) const {
  std::vector<const ServiceName*> order;
  order.reserve(names.size());
  for (const ServiceName& name : names) {
    order.push_back(&name);
  }
  std::partition(order.begin(), order.end(),
                 [this](const ServiceName* name) { return !failed_at_.contains(*name); });
  return order;
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
    } else if (led_ && Clock::now() >= paused_until_) {
      names.swap(dirty_);  // with what is due, so that no one of these comes before all the others
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
    held_back_.clear();
  }
  pools_asked_ = {};
  pools_.reset();
  if (!refresh_pools()) {
    return;  // no gateway answers, so nobody knows which addresses there are
  }
  std::vector<ServiceName> names = state_.service_names();
  std::vector<std::shared_ptr<const Service>> leaving;
  for (const ServiceName& name : names) {
    const ServiceView view = state_.view(name);
    if (view.service == nullptr) {
      continue;
    }
    if (claim_of(*view.service, settings_.translate) == Claim::kOurs) {
      addresses_.adopt(*view.service);
      publish(name, addresses_.of(name), view.service->meta.uid);
    } else if (ClusterWriter::is_marked(*view.service, settings_.provider)) {
      leaving.push_back(view.service);
    }
  }
  for (const auto& service : leaving) {
    addresses_.adopt(*service);  // it goes: nobody else's until the gateways have let go
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
  failed_at_.clear();
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
    wake_pending();
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

// True: it differs from what it was.
bool Controller::publish(const ServiceName& name, const std::vector<IpAddress>& vips,
                         const std::string& uid) {
  const std::lock_guard lock(mutex_);
  if (vips.empty()) {
    return vips_.erase(name) != 0;
  }
  Published& present = vips_[name];
  const bool differs = present.vips != vips;
  present = {vips, uid};
  return differs;
}

void Controller::wake_pending() {
  for (const ServiceName& name : pending_) {
    again(name, std::chrono::milliseconds(0));
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

// After kMayNot nothing: whoever leads next looks at all of them.
void Controller::after(ClusterWriter::Written written, const ServiceName& name) {
  if (written != ClusterWriter::Written::kRefusedNow) {
    failed_at_.erase(name);
  }
  if (written == ClusterWriter::Written::kStale) {
    again(name, kAfterStale);
  } else if (written == ClusterWriter::Written::kFailed) {
    again(name, kAfterFailure);
  } else if (written == ClusterWriter::Written::kRefusedNow) {
    // The server's state, not the service's: everything waits, longer each time.
    failed_at_.insert(name);
    paused_until_ = Clock::now() + backoff_.next(Clock::now(), writer_.retry_after());
    again(name, std::chrono::milliseconds(0));
  }
}

}  // namespace sluice::kubernetes
