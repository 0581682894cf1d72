// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/leader_election.h"

#include <spdlog/spdlog.h>

#include <absl/time/clock.h>
#include <absl/time/time.h>

namespace sluice::kubernetes {
namespace {

constexpr const char* kLeases = "/apis/coordination.k8s.io/v1/namespaces/";

// metav1.MicroTime: exactly six digits of a second.
std::string now_text() {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", absl::Now(), absl::UTCTimeZone());
}

std::string text_of(const nlohmann::json& of, const char* key) {
  return of.is_object() && of.contains(key) && of[key].is_string() ? of[key].get<std::string>()
                                                                   : std::string();
}

}  // namespace

LeaderElection::LeaderElection(LeaseSettings settings, const ClusterAccess& access,
                               Credentials& credentials, Told told)
    : settings_(std::move(settings)),
      path_(kLeases + settings_.space + "/leases"),
      told_(std::move(told)),
      http_(access, credentials, cut_),
      thread_([this] { run(); }) {}

LeaderElection::~LeaderElection() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

bool LeaderElection::leads() const {
  const std::lock_guard lock(mutex_);
  return Clock::now() < until_;
}

void LeaderElection::run() {
  while (true) {
    try_once();
    tell();
    std::unique_lock lock(mutex_);
    tried_ = true;
    tried_once_.notify_all();
    wake_.wait_for(lock, settings_.retry, [this] { return stop_; });
    if (stop_) {
      break;
    }
  }
  if (leads()) {
    release();
  }
}

void LeaderElection::await_first_try(std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  tried_once_.wait_for(lock, patience, [this] { return tried_; });
}

void LeaderElection::tell() {
  const bool leads = this->leads();
  if (leads != led_) {
    led_ = leads;
    spdlog::info("this adapter {} to the cluster, as {}",
                 leads ? "writes" : "does not write any more", settings_.identity);
  }
  const bool is_first = leads && std::exchange(another_held_, false);
  told_(!leads ? Leads::kNot : is_first ? Leads::kFirst : Leads::kAgain, until_);
}

void LeaderElection::try_once() {
  const auto begun = Clock::now();
  Json lease;
  if (!read_lease(lease)) {
    return;
  }
  const bool creates = lease.is_null();
  const Json spec = creates || !lease.contains("spec") ? Json::object() : lease["spec"];
  const std::string holder = text_of(spec, "holderIdentity");
  if (const std::string record = spec.dump(); record != seen_record_) {
    seen_record_ = record;
    seen_at_ = begun;
  }
  another_held_ = another_held_ || holder != settings_.identity;
  const bool is_over = begun - seen_at_ > settings_.duration;
  if (!holder.empty() && holder != settings_.identity && !is_over) {
    const std::lock_guard lock(mutex_);
    until_ = {};  // whoever has put it there knows why
    return;
  }
  if (write(std::move(lease), settings_.identity, creates)) {
    const std::lock_guard lock(mutex_);
    until_ = begun + settings_.renew_deadline;
  }
}

// False: nobody knows who holds it. Null: there is none yet.
bool LeaderElection::read_lease(Json& lease) {
  const HttpResponse response =
      http_.send({.path = path_ + "/" + settings_.name, .time_max = settings_.renew_deadline / 2});
  if (response.status == 404) {
    return true;
  }
  lease = Json::parse(response.body, nullptr, false);
  if (!response.is_ok() || !lease.is_object()) {
    say(response.fault.empty() ? std::to_string(response.status) : response.fault);
    return false;
  }
  return true;
}

bool LeaderElection::write(Json lease, const std::string& holder, bool creates) {
  if (creates) {
    lease = {{"apiVersion", "coordination.k8s.io/v1"},
             {"kind", "Lease"},
             {"metadata", {{"name", settings_.name}, {"namespace", settings_.space}}}};
  }
  Json& spec = lease["spec"];
  const std::string now = now_text();
  if (text_of(spec, "holderIdentity") != holder) {
    spec["acquireTime"] = now;
    const bool counts = spec.contains("leaseTransitions") && spec["leaseTransitions"].is_number();
    spec["leaseTransitions"] = counts ? spec["leaseTransitions"].get<int>() + 1 : 0;
  }
  spec["holderIdentity"] = holder;
  spec["renewTime"] = now;
  spec["leaseDurationSeconds"] = std::max<std::int64_t>(
      1, std::chrono::duration_cast<std::chrono::seconds>(settings_.duration).count());
  const HttpResponse response = http_.send({.method = creates ? "POST" : "PUT",
                                            .path = path_ + (creates ? "" : "/" + settings_.name),
                                            .body = lease.dump(),
                                            .content_type = "application/json",
                                            .time_max = settings_.renew_deadline / 2});
  if (response.is_ok()) {
    said_.clear();
    return true;
  }
  if (response.status != 409) {  // another was faster
    say(response.fault.empty() ? std::to_string(response.status) + " " + response.body
                               : response.fault);
  }
  return false;
}

void LeaderElection::release() {
  Json lease;
  if (read_lease(lease) && lease.is_object() &&
      text_of(lease["spec"], "holderIdentity") == settings_.identity) {
    write(std::move(lease), "", false);
  }
}

void LeaderElection::say(const std::string& what) {
  if (what != said_) {
    spdlog::warn("lease {}/{}: {}", settings_.space, settings_.name, what);
    said_ = what;
  }
}

}  // namespace sluice::kubernetes
