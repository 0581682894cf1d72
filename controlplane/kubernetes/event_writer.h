// SPDX-License-Identifier: Apache-2.0
// Events are written by a thread of their own, in their order: an API server that is slow or away
// holds up nothing else (KUBERNETES.md 1.29).
#pragma once

#include "controlplane/kubernetes/http.h"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace sluice::kubernetes {

struct EventWriterSettings {
  std::size_t waiting_max = 1'000;         // one more is left out, and the log says so
  int tries_max = 5;                       // of one event
  std::chrono::milliseconds pause{1'000};  // after the first failure, twice as long each time
};

class EventWriter {
 public:
  using Send = std::function<HttpResponse(const HttpRequest&)>;
  // `send` is called from the writer's thread.
  explicit EventWriter(Send send, EventWriterSettings settings = {});
  // What waits is dropped.
  ~EventWriter();
  EventWriter(const EventWriter&) = delete;
  EventWriter& operator=(const EventWriter&) = delete;

  // Any thread; takes a lock for a moment. `what`: for the log, when it cannot be written.
  void add(HttpRequest request, std::string what);

  struct Counts {
    std::uint64_t written = 0;
    std::uint64_t given_up = 0;
    std::uint64_t left_out = 0;
  };
  [[nodiscard]] Counts counts() const;

 private:
  struct Waiting {
    HttpRequest request;
    std::string what;
  };
  enum class Outcome : std::uint8_t { kWritten, kAgain, kRefused };

  void run();
  bool take(Waiting& next);
  bool rest(std::chrono::milliseconds pause);
  Outcome write(const Waiting& event);
  static Outcome outcome_of(const HttpResponse& response);

  const Send send_;
  const EventWriterSettings settings_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Waiting> waiting_;
  bool stop_ = false;
  Counts counts_;
  std::thread thread_;
};

}  // namespace sluice::kubernetes
