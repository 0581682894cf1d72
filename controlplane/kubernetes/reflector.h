// SPDX-License-Identifier: Apache-2.0
// One kind of object kept equal to the API server's: a list, then a watch from the list's version
// for as long as the server goes on from there, and a list again when it does not.
#pragma once

#include "controlplane/kubernetes/backoff.h"
#include "controlplane/kubernetes/decode.h"
#include "controlplane/kubernetes/http.h"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace sluice::kubernetes {

// Where a reflector puts what it has seen; called from its thread alone.
class ObjectSink {
 public:
  virtual ~ObjectSink() = default;
  // All objects follow; what is not among them is gone, but only once end_list() says so.
  virtual void begin_list() = 0;
  virtual void end_list() = 0;
  // There now, in this form. Undecodable ones are the sink's to report.
  virtual void take(std::string_view json) = 0;
  virtual void remove(std::string_view json) = 0;
  // True ends the watch: all is to be listed anew. Until begin_list().
  [[nodiscard]] virtual const std::atomic<bool>& wants_list() const = 0;
};

struct ReflectorSettings {
  std::string what;      // "services", for the log
  std::string path;      // "/api/v1/services"
  std::string selector;  // of labels
  std::size_t page = 500;
  std::chrono::seconds watch_least{300};  // a watch ends itself after this to twice as long
  std::chrono::milliseconds silence_max{150'000};  // of a watch; a bookmark comes every minute
};

class Reflector {
 public:
  // Seen from any thread.
  struct Counts {
    std::atomic<std::uint64_t> lists{0};
    std::atomic<std::uint64_t> watches{0};
    std::atomic<std::uint64_t> failures{0};
  };

  // All of these outlive it.
  Reflector(ReflectorSettings settings, const ClusterAccess& access, Credentials& credentials,
            ObjectSink& sink);
  ~Reflector();
  Reflector(const Reflector&) = delete;
  Reflector& operator=(const Reflector&) = delete;

  [[nodiscard]] const Counts& counts() const { return counts_; }

 private:
  enum class Outcome {
    kEnded,    // cleanly: go on from the version that is known
    kExpired,  // the server does not know that version any more
    kFailed,
  };

  void run();
  Outcome list();
  Outcome list_pages(std::size_t limit);
  Outcome list_page(std::size_t limit, ListMeta& meta);
  Outcome watch();
  bool take_event(std::string_view json);
  // Says once what goes wrong, and again when it is something else.
  Outcome fail(const char* verb, const HttpResponse& response);
  void note_success(const char* verb);
  void wait();

  const ReflectorSettings settings_;
  ObjectSink& sink_;
  std::atomic<bool> stop_{false};
  HttpClient http_;
  Decoder decoder_;
  Backoff backoff_;
  Counts counts_;
  std::string version_;  // to watch from; empty: list first
  std::string said_;     // the last failure in the log
  Backoff::Clock::time_point listed_at_{};
  std::chrono::milliseconds retry_after_{0};
  bool expired_ = false;  // by an event of the present watch
  bool broken_ = false;
  bool heard_ = false;  // an event of it
  std::mutex mutex_;
  std::condition_variable wake_;
  std::thread thread_;
};

}  // namespace sluice::kubernetes
