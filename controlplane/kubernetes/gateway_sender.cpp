// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/gateway_sender.h"

#include <spdlog/spdlog.h>

#include <algorithm>

namespace sluice::kubernetes {
namespace {

using std::chrono::steady_clock;

constexpr std::size_t kBatchServices = 1'000;
constexpr std::size_t kBatchBytes = std::size_t{8} << 20;
constexpr std::chrono::milliseconds kLostPause{500};
constexpr std::chrono::milliseconds kLostPauseMax{5'000};
// In step for so long, a gateway is not one that has to be told everything again and again.
constexpr std::chrono::seconds kSteady{10};
// Other adapters send what they see of the same cluster, so a write of theirs is mostly one of the
// same. What it may have made worse is mended soon, and ever more seldom if it goes on.
constexpr std::chrono::milliseconds kComparePause{500};
constexpr std::chrono::milliseconds kComparePauseMax{60'000};
constexpr std::chrono::minutes kAlone{2};
constexpr int kRevisionTries = 3;
// A gateway that has too many writes waiting, or no room. Both are waited for once in a turn, and
// not for each part of a batch.
constexpr std::chrono::milliseconds kFullPause{100};
constexpr int kFullTries = 10;
// Trying again what is refused takes at most this share of the time: where the gateway does not say
// which service is at fault, it may be two writes for each.
constexpr int kRetryShare = 10;
// Reports wait for writes, and a gateway that does not take them makes writes wait no longer.
constexpr std::chrono::milliseconds kReportDeadline{1'000};

}  // namespace

GatewaySender::GatewaySender(SenderSettings settings,
                             std::shared_ptr<v1::Gateway::StubInterface> gateway, Wanted wanted,
                             Report report)
    : settings_(std::move(settings)),
      wanted_(std::move(wanted)),
      report_(std::move(report)),
      link_(settings_.gateway, settings_.provider, std::move(gateway)),
      routing_(link_, settings_.again),
      thread_([this] { run(); }) {}

GatewaySender::~GatewaySender() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  link_.stop();
  thread_.join();
}

void GatewaySender::changed(const std::vector<ServiceName>& names) {
  bool is_news = false;
  {
    const std::lock_guard lock(mutex_);
    if (dirty_.empty()) {
      dirty_since_ = steady_clock::now();
    }
    dirty_.insert(names.begin(), names.end());
    is_news = !std::exchange(told_, true);
  }
  if (is_news) {  // else it is awake, or woken: a list is a change for each of its objects
    wake_.notify_all();
  }
}

GatewaySender::Counts GatewaySender::counts() const {
  const std::lock_guard lock(mutex_);
  Counts counts = counts_;
  counts.is_away = !counts.in_step;
  counts.in_step = counts.in_step && dirty_.empty() && !busy_;
  return counts;
}

void GatewaySender::run() {
  while (true) {
    Names dirty;
    if (!await_work(dirty)) {
      return;
    }
    if (!wanted_.is_synced()) {
      in_step_ = false;  // what was told is not kept: all of it is sent once there is all of it
      const std::lock_guard lock(mutex_);
      counts_.in_step = busy_ = false;
      continue;
    }
    full_tries_ = kFullTries;
    note(in_step_ ? keep_in_step(dirty) : send_all());
  }
}

void GatewaySender::note(Outcome outcome) {
  const auto now = steady_clock::now();
  if (outcome == Outcome::kLost) {
    // To look whether one that is away is back costs nothing.
    lost_pause_ =
        link_.is_away() ? kLostPause : std::clamp(lost_pause_ * 2, kLostPause, kLostPauseMax);
  } else if (!in_step_) {
    in_step_since_ = now;
  } else if (now - in_step_since_ >= kSteady) {
    lost_pause_ = std::chrono::milliseconds(0);
  }
  in_step_ = outcome == Outcome::kDone;
  const std::lock_guard lock(mutex_);
  busy_ = false;
  counts_.in_step = in_step_;
  counts_.refused = refused_.size();
}

// False: it is time to stop. What comes together within a moment is one write.
bool GatewaySender::await_work(Names& dirty) {
  std::unique_lock lock(mutex_);
  if (in_step_) {
    wake_.wait_for(lock, settings_.poll, [this] { return stop_ || told_; });
  } else if (polled_ != steady_clock::time_point{}) {
    // It is lost, and gets all that has changed by then.
    wake_.wait_for(lock, std::max(lost_pause_, kLostPause), [this] { return stop_; });
  } else {
    wake_.wait_for(lock, kLostPause, [this] { return stop_ || told_; });
  }
  if (!stop_ && !dirty_.empty()) {
    wake_.wait_for(lock, settings_.fold, [this] { return stop_; });
  }
  told_ = false;
  dirty.swap(dirty_);
  changed_at_ = dirty_since_;
  busy_ = !dirty.empty();
  return !stop_;
}

bool GatewaySender::has_work() const {
  const std::lock_guard lock(mutex_);
  return stop_ || !dirty_.empty();
}

// Once a poll it is asked whether it is as it was left, and told what can wait.
GatewaySender::Outcome GatewaySender::keep_in_step(const Names& dirty) {
  if (send_changes(dirty) == Outcome::kLost) {
    return Outcome::kLost;
  }
  const auto now = steady_clock::now();
  if (now - polled_ < settings_.poll) {
    return Outcome::kDone;
  }
  polled_ = now;
  if (compare_at_ && now >= *compare_at_ && wanted_.decides()) {
    spdlog::info("{}: another has written as this provider; all is compared", settings_.gateway);
    return send_all();
  }
  ask_announces();
  if (!is_as_left() || !routing_.ask() || send_changes({}) == Outcome::kLost ||
      retry_refused() == Outcome::kLost) {
    return Outcome::kLost;
  }
  tell_reports();
  return Outcome::kDone;
}

// Routes first: by them it is decided how services are served. Prints keep those out that are the
// same with other routes.
GatewaySender::Outcome GatewaySender::send_changes(const Names& dirty) {
  if (!routing_.set(wanted_.routes(), wanted_.decides())) {
    return Outcome::kLost;
  }
  auto routes = routing_.routes();
  if (routes == routes_) {
    return dirty.empty() ? Outcome::kDone : send(dirty);
  }
  routes_ = std::move(routes);
  {
    const std::lock_guard lock(mutex_);
    busy_ = true;
  }
  const std::vector<ServiceName> names = wanted_.names();
  Names all(names.begin(), names.end());
  all.insert(dirty.begin(), dirty.end());
  return send(all);
}

WantedService GatewaySender::wanted_now(const ServiceName& name) {
  return wanted_.service(name, routes_.get());
}

// Puts the difference between what is wanted and what the gateway has into the batch.
void GatewaySender::add(const ServiceName& name, Batch& batch) {
  WantedService wanted = wanted_now(name);
  reports_.translated(name, wanted.service ? "" : wanted.why_not, wanted.findings);
  const auto had = has_.find(name);
  if (!wanted.service) {
    forget_refusal(name);
    if (had != has_.end()) {
      batch.gone.push_back(name);
    }
    return;
  }
  std::size_t bytes = 0;
  Batch::Upsert upsert{.name = name, .service = std::move(*wanted.service)};
  upsert.print = print_of(upsert.service, bytes);
  if (had != has_.end() && had->second == upsert.print) {
    if (forget_refusal(name)) {  // another form was
      report_({{.name = name, .served = true, .vips = upsert.vips()}}, false);
    }
    return;
  }
  const auto refused = refused_.find(name);
  if (refused != refused_.end() && refused->second == upsert.print) {
    return;
  }
  batch.bytes += bytes;
  batch.upserts.push_back(std::move(upsert));
}

GatewaySender::Outcome GatewaySender::send(const Names& dirty) {
  Batch batch;
  std::vector<Sent> absent;
  for (const ServiceName& name : dirty) {
    const std::size_t before = batch.size();
    add(name, batch);
    if (batch.size() == before && !has_.contains(name) && !refused_.contains(name)) {
      absent.push_back({.name = name});  // wanted nowhere, and nowhere it is
    }
    if (batch.size() >= kBatchServices || batch.bytes >= kBatchBytes) {
      if (write(std::move(batch)) == Outcome::kLost) {
        return Outcome::kLost;
      }
      batch = {};
    }
  }
  if (!absent.empty()) {
    report_(absent, false);
  }
  return batch.empty() ? Outcome::kDone : write(std::move(batch));
}

GatewaySender::Outcome GatewaySender::write(Batch batch) {
  while (!batch.empty()) {
    v1::ApplyRequest request = batch.request();
    const auto error = apply(request);
    if (!error) {
      break;
    }
    const bool is_full =
        error->code == grpc::StatusCode::RESOURCE_EXHAUSTED && !error->is_over_quota();
    if (is_full && --full_tries_ > 0) {
      link_.pause(kFullPause);
      continue;  // when it is time to stop, the next call says so
    }
    if (drop_gone(batch, *error)) {
      continue;
    }
    if (!is_about_services(*error) || batch.upserts.empty()) {
      link_.lost(*error);
      return Outcome::kLost;
    }
    const std::vector<std::size_t> places = culprits(*error, batch);
    if (places.empty()) {
      auto [first, second] = std::move(batch).halves();
      if (write(std::move(first)) == Outcome::kLost) {
        return Outcome::kLost;
      }
      return write(std::move(second));
    }
    drop(batch, places, *error);
  }
  if (batch.empty()) {
    return Outcome::kDone;  // all of it is refused, or gone already
  }
  {
    const std::lock_guard lock(mutex_);
    ++counts_.writes;
    counts_.upserts += batch.upserts.size();
    counts_.deletes += batch.gone.size();
  }
  const std::chrono::duration<double, std::milli> took = steady_clock::now() - changed_at_;
  spdlog::debug("{}: {} changed, {} deleted, seen by every lcore {:.2f} ms after the first change",
                settings_.gateway, batch.upserts.size(), batch.gone.size(), took.count());
  settle(batch, false);
  return Outcome::kDone;
}

// Refused services stay at the gateway as they were; the others go on without them.
void GatewaySender::drop(Batch& batch, const std::vector<std::size_t>& places,
                         const client::Error& error) {
  if (refused_.empty()) {
    retry_at_ = steady_clock::now() + settings_.again;
  }
  std::vector<Sent> sent;
  for (auto place = places.rbegin(); place != places.rend(); ++place) {
    const Batch::Upsert& upsert = batch.upserts[*place];
    Sent refused{.name = upsert.name, .refusal = refusal_of(error, *place)};
    spdlog::warn("{}: {} is refused: {}", settings_.gateway, to_string(refused.name),
                 refused.refusal);
    refused.resource = refused_vip_of(error, *place, upsert.service);
    if (error.code == grpc::StatusCode::ALREADY_EXISTS && !error.resources.empty() &&
        (refused.resource.empty() || refused.resource == error.resources[0].name)) {
      refused.resource = error.resources[0].name;
      refused.owner = error.resources[0].owner;
    }
    refused_[upsert.name] = upsert.print;
    reports_.refused(upsert.name, refused.refusal);
    sent.push_back(std::move(refused));
    batch.upserts.erase(batch.upserts.begin() + static_cast<std::ptrdiff_t>(*place));
  }
  report_(sent, false);
}

// Another has deleted them before. True: there were such.
bool GatewaySender::drop_gone(Batch& batch, const client::Error& error) {
  if (error.code != grpc::StatusCode::NOT_FOUND) {
    return false;
  }
  std::vector<Sent> sent;
  const std::vector<std::size_t> places = gone_already(error, batch);
  for (auto place = places.rbegin(); place != places.rend(); ++place) {
    const ServiceName& name = batch.gone[*place];
    has_.erase(name);
    sent.push_back({.name = name});
    batch.gone.erase(batch.gone.begin() + static_cast<std::ptrdiff_t>(*place));
  }
  report_(sent, false);
  return !places.empty();
}

bool GatewaySender::forget_refusal(const ServiceName& name) {
  reports_.refused(name, "");
  return refused_.erase(name) > 0;
}

void GatewaySender::settle(const Batch& batch, bool all) {
  std::vector<Sent> sent;
  sent.reserve(batch.size());
  for (const Batch::Upsert& upsert : batch.upserts) {
    has_[upsert.name] = upsert.print;
    forget_refusal(upsert.name);
    sent.push_back({.name = upsert.name, .served = true, .vips = upsert.vips()});
  }
  for (const ServiceName& name : batch.gone) {
    has_.erase(name);
    sent.push_back({.name = name});
  }
  report_(sent, all);
}

// A write that is in force but not confirmed by a stalled lcore counts as done, unless the gateway
// has gone since: it may come back without it.
std::optional<client::Error> GatewaySender::apply(v1::ApplyRequest& request) {
  request.set_provider(settings_.provider);
  client::Error error;
  for (int tries = 0; tries < kRevisionTries; ++tries) {
    if (revision_ && !request.replace() && wanted_.decides()) {
      request.set_expected_revision(*revision_);
    }
    v1::ApplyResponse response;
    const grpc::Status status =
        link_.call(&GatewayLink::Gateway::Apply, settings_.deadline, request, response);
    if (status.ok()) {
      revision_ = response.revision();
      return std::nullopt;
    }
    error = client::error_of(status);
    const auto now = error.code == grpc::StatusCode::ABORTED && request.has_expected_revision()
                         ? link_.ask_revision()
                         : std::nullopt;
    if (!now || *now < *revision_) {
      break;
    }
    note_another(*now);
  }
  if (error.is_committed_not_confirmed()) {
    spdlog::warn("{}: {}", settings_.gateway, error.message);
    revision_ = link_.ask_revision();
    if (revision_.value_or(0) != 0) {
      return std::nullopt;
    }
  }
  return error;
}

// A gateway that has been restarted has nothing, or something older; it does not call.
bool GatewaySender::is_as_left() {
  const auto revision = link_.ask_revision();
  if (!revision) {
    return false;
  }
  if (revision_ && *revision > *revision_) {
    note_another(*revision);
  }
  if (revision_ && *revision != *revision_) {
    spdlog::warn("{}: it is at revision {} and was left at {}; all is sent again",
                 settings_.gateway, *revision, *revision_);
    return false;
  }
  return true;
}

// Whoever decides has all compared, now or once it does.
void GatewaySender::note_another(std::uint64_t revision) {
  revision_ = revision;
  if (compare_at_) {
    return;
  }
  const auto now = steady_clock::now();
  compare_pause_ = now - another_wrote_ >= kAlone
                       ? kComparePause
                       : std::clamp(compare_pause_ * 2, kComparePause, kComparePauseMax);
  another_wrote_ = now;
  compare_at_ = now + compare_pause_;
}

GatewaySender::Outcome GatewaySender::retry_refused() {
  const auto begun = steady_clock::now();
  if (refused_.empty() || begun < retry_at_) {
    return Outcome::kDone;
  }
  Names again;
  for (auto& [name, print] : refused_) {
    again.insert(name);
    print = 0;  // no service's
  }
  const Outcome outcome = send(again);
  const auto ended = steady_clock::now();
  retry_at_ =
      ended + std::max<steady_clock::duration>(settings_.again, (ended - begun) * kRetryShare);
  return outcome;
}

void GatewaySender::ask_announces() {
  const bool announces = link_.ask_announces();
  const std::lock_guard lock(mutex_);
  counts_.announces = announces;
}

// For people, after the writes, and given up for the next one's sake: what is not told now is told
// later.
void GatewaySender::tell_reports() {
  if (!takes_reports_ || steady_clock::now() < report_at_) {
    return;
  }
  while (auto request = reports_.next()) {
    request->set_provider(settings_.provider);
    v1::ReportServicesResponse response;
    const grpc::Status status =
        link_.call(&GatewayLink::Gateway::ReportServices, kReportDeadline, *request, response);
    if (!status.ok()) {
      takes_reports_ = status.error_code() != grpc::StatusCode::UNIMPLEMENTED;
      report_at_ = steady_clock::now() + settings_.again;
      const std::string why = client::name_of(status.error_code()) + ": " + status.error_message();
      if (takes_reports_ && why != said_of_reports_) {
        spdlog::warn("{}: it does not take reports of services: {}", settings_.gateway, why);
        said_of_reports_ = why;
      }
      return;
    }
    reports_.told(*request);
    if (has_work()) {
      return;
    }
  }
}

}  // namespace sluice::kubernetes
