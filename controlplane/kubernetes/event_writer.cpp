// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/event_writer.h"

#include <spdlog/spdlog.h>

#include <algorithm>

namespace sluice::kubernetes {

EventWriter::EventWriter(Send send, EventWriterSettings settings)
    : send_(std::move(send)), settings_(settings), thread_([this] { run(); }) {}

EventWriter::~EventWriter() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void EventWriter::add(HttpRequest request, std::string what) {
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.size() >= settings_.waiting_max) {
      // Once for a full queue, not for each that finds it full.
      if (counts_.left_out++ % settings_.waiting_max == 0) {
        spdlog::warn("{}: too many events wait to be written; it and others are left out", what);
      }
      return;
    }
    waiting_.push_back({std::move(request), std::move(what)});
  }
  wake_.notify_all();
}

EventWriter::Counts EventWriter::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

void EventWriter::run() {
  Waiting next;
  while (take(next)) {
    const Outcome outcome = write(next);
    const std::lock_guard lock(mutex_);
    ++(outcome == Outcome::kWritten ? counts_.written : counts_.given_up);
  }
}

// False: it is time to stop.
bool EventWriter::take(Waiting& next) {
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [this] { return stop_ || !waiting_.empty(); });
  if (stop_) {
    return false;
  }
  next = std::move(waiting_.front());
  waiting_.pop_front();
  return true;
}

bool EventWriter::rest(std::chrono::milliseconds pause) {
  std::unique_lock lock(mutex_);
  return !wake_.wait_for(lock, pause, [this] { return stop_; });
}

// The others wait as long: they would fare no better.
EventWriter::Outcome EventWriter::write(const Waiting& event) {
  std::chrono::milliseconds pause = settings_.pause;
  for (int tries = 1;; ++tries) {
    const HttpResponse response = send_(event.request);
    const Outcome outcome = outcome_of(response);
    if (outcome == Outcome::kWritten) {
      return outcome;
    }
    const std::chrono::milliseconds asked = response.retry_after.value_or(std::chrono::seconds(0));
    if (outcome == Outcome::kRefused || tries == settings_.tries_max ||
        !rest(std::max(pause, asked))) {
      spdlog::warn("{} is not written: {}", event.what,
                   response.fault.empty() ? std::to_string(response.status) : response.fault);
      return outcome;
    }
    pause *= 2;
  }
}

// 409: an answer was lost, not the event.
EventWriter::Outcome EventWriter::outcome_of(const HttpResponse& response) {
  if (response.is_ok() || response.status == 409) {
    return Outcome::kWritten;
  }
  const bool is_servers = response.status < 400 || response.status == 401 ||
                          response.status == 408 || response.status == 429 ||
                          response.status >= 500;
  return is_servers ? Outcome::kAgain : Outcome::kRefused;
}

}  // namespace sluice::kubernetes
