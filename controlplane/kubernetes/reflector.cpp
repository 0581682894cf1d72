// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/reflector.h"

#include "controlplane/kubernetes/json_stream.h"

#include <spdlog/spdlog.h>

#include <random>

namespace sluice::kubernetes {
namespace {

constexpr int kGone = 410;
// A version that expires sooner than this after its list is a server's fault: it is given a pause.
constexpr std::chrono::milliseconds kListAtOnce = Backoff::kLast;

std::string refusal_of(Decoder& decoder, const HttpResponse& response) {
  std::string text = std::to_string(response.status);
  if (const auto status = decoder.status(response.body)) {
    text += " " + status->reason + ": " + status->message;
  }
  return text;
}

}  // namespace

Reflector::Reflector(ReflectorSettings settings, const ClusterAccess& access,
                     Credentials& credentials, ObjectSink& sink)
    : settings_(std::move(settings)), sink_(sink), http_(access, credentials, stop_) {
  thread_ = std::thread([this] { run(); });
}

Reflector::~Reflector() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void Reflector::run() {
  while (!stop_) {
    const bool lists = version_.empty();
    const Outcome outcome = lists ? list() : watch();
    if (outcome == Outcome::kEnded) {
      continue;
    }
    ++counts_.failures;
    if (outcome == Outcome::kExpired) {
      version_.clear();
      if (!lists && Backoff::Clock::now() - listed_at_ > kListAtOnce) {
        retry_after_ = {};
        continue;
      }
    }
    wait();
  }
}

void Reflector::wait() {
  const auto time = backoff_.next(Backoff::Clock::now(), retry_after_);
  retry_after_ = {};
  std::unique_lock lock(mutex_);
  wake_.wait_for(lock, time, [this] { return stop_.load(); });
}

Reflector::Outcome Reflector::fail(const char* verb, const HttpResponse& response) {
  if (stop_) {
    return Outcome::kFailed;
  }
  const std::string why = response.fault.empty() ? refusal_of(decoder_, response) : response.fault;
  if (why != said_) {
    spdlog::warn("{} {}: {}; what is known stays", verb, settings_.what, why);
    said_ = why;
  }
  retry_after_ = response.retry_after.value_or(std::chrono::seconds(0));
  return response.status == kGone ? Outcome::kExpired : Outcome::kFailed;
}

void Reflector::note_success(const char* verb) {
  if (!said_.empty()) {
    spdlog::info("{} {}: it works again", verb, settings_.what);
    said_.clear();
  }
}

// A list that takes longer than the server keeps its version is tried once more in one piece.
Reflector::Outcome Reflector::list() {
  ++counts_.lists;
  Outcome outcome = list_pages(settings_.page);
  if (outcome == Outcome::kExpired && !stop_) {
    outcome = list_pages(0);
  }
  return outcome;
}

Reflector::Outcome Reflector::list_pages(std::size_t limit) {
  sink_.begin_list();
  ListMeta meta;
  do {
    const Outcome outcome = list_page(limit, meta);
    if (outcome != Outcome::kEnded) {
      return outcome;
    }
  } while (!meta.continue_token.empty() && !stop_);
  if (stop_) {
    return Outcome::kFailed;
  }
  sink_.end_list();
  version_ = meta.resource_version;
  listed_at_ = Backoff::Clock::now();
  note_success("list");
  return Outcome::kEnded;
}

Reflector::Outcome Reflector::list_page(std::size_t limit, ListMeta& meta) {
  HttpRequest request{.path = settings_.path + "?limit=" + std::to_string(limit)};
  if (!settings_.selector.empty()) {
    request.path += "&labelSelector=" + percent_encoded(settings_.selector);
  }
  if (!meta.continue_token.empty()) {
    request.path += "&continue=" + percent_encoded(meta.continue_token);
  }
  ListSplitter splitter([this](std::string_view item) { sink_.take(item); });
  HttpResponse response = http_.send(request, [&](std::string_view piece) {
    splitter.feed(piece);
    return true;
  });
  if (!response.is_ok()) {
    return fail("list", response);
  }
  const auto envelope =
      splitter.is_complete() ? decoder_.list(splitter.envelope()) : std::optional<ListMeta>{};
  if (!envelope || envelope->resource_version.empty()) {
    response.fault = "the answer is no list with a resourceVersion";
    return fail("list", response);
  }
  meta = *envelope;
  return Outcome::kEnded;
}

Reflector::Outcome Reflector::watch() {
  ++counts_.watches;
  expired_ = broken_ = heard_ = false;
  std::uniform_int_distribution<std::int64_t> more(0, settings_.watch_least.count());
  std::random_device random;
  HttpRequest request{
      .path = settings_.path +
              "?watch=1&allowWatchBookmarks=true&resourceVersion=" + percent_encoded(version_) +
              "&timeoutSeconds=" + std::to_string(settings_.watch_least.count() + more(random)),
      .silence_max = settings_.silence_max,
      .cut = &sink_.wants_list()};
  if (!settings_.selector.empty()) {
    request.path += "&labelSelector=" + percent_encoded(settings_.selector);
  }
  EventSplitter splitter([this](std::string_view event) {
    if (!expired_ && !broken_ && !take_event(event)) {
      broken_ = !expired_;
    }
  });
  const auto begun = Backoff::Clock::now();
  HttpResponse response = http_.send(request, [&](std::string_view piece) {
    splitter.feed(piece);
    return !expired_ && !broken_;
  });
  if (sink_.wants_list()) {
    version_.clear();
    return Outcome::kEnded;
  }
  if (expired_) {
    return Outcome::kExpired;
  }
  if (broken_) {
    return Outcome::kExpired;  // whatever the server means, a list is right
  }
  const bool is_short = Backoff::Clock::now() - begun < std::chrono::seconds(1);
  if (response.status == 200 && !response.fault.empty() && !response.is_silent && !is_short) {
    // It has lived: a proxy that cuts what rests does so again and again.
    spdlog::debug("watch {}: {}", settings_.what, response.fault);
    return Outcome::kEnded;
  }
  if (!response.is_ok()) {
    const Outcome outcome = fail("watch", response);
    // A version that the server does not know yet is answered by silence (1.12).
    return response.is_silent && !heard_ ? Outcome::kExpired : outcome;
  }
  note_success("watch");
  // A server that ends each watch at once is not asked without a pause.
  return is_short && !heard_ ? Outcome::kFailed : Outcome::kEnded;
}

// False: the watch is over.
bool Reflector::take_event(std::string_view json) {
  heard_ = true;
  const auto event = decoder_.event(json);
  if (!event) {
    spdlog::warn("watch {}: an event cannot be read: {}", settings_.what, decoder_.fault());
    return false;
  }
  const std::string object(event->object);
  if (event->type == EventType::kError) {
    const auto status = decoder_.status(object);
    expired_ = status && status->code == kGone;
    const std::string why = status ? status->reason + ": " + status->message : "an error";
    if (why != said_) {
      spdlog::info("watch {}: {}", settings_.what, why);
      said_ = why;
    }
    return false;
  }
  if (event->type == EventType::kAdded || event->type == EventType::kModified) {
    sink_.take(object);
  } else if (event->type == EventType::kDeleted) {
    sink_.remove(object);
  }
  const std::string version = decoder_.resource_version(object);
  if (!version.empty()) {
    version_ = version;
  }
  note_success("watch");
  return true;
}

}  // namespace sluice::kubernetes
