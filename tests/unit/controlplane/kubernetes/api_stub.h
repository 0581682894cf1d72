// SPDX-License-Identifier: Apache-2.0
// An API server of which a test says what it answers. tests/kubernetes has one that behaves as a
// real one does; this one does what a real one does once in a year.
#pragma once

#include "controlplane/kubernetes/cluster_access.h"
#include "tests/unit/controlplane/kubernetes/within.h"

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace httplib {
struct Response;
}

namespace sluice::kubernetes {

struct Asked {
  std::string method;
  std::string path;  // without its query
  std::map<std::string, std::string> query;
  std::string body;
  std::string content_type;
  std::string authorization;
  int port = 0;  // the client's: of one connection
  std::chrono::steady_clock::time_point at;

  [[nodiscard]] bool is_watch() const { return query.contains("watch"); }
};

struct Answer {
  int status = 200;
  std::string body;
  std::string retry_after{};
  // The body is what this says, piece by piece: "" is none at present, nothing its end.
  std::function<std::optional<std::string>()> stream{};
  bool breaks_off = false;  // after the body, before its end
};

class ApiStub {
 public:
  // Called for each request, one at a time, and with the lock that with() takes.
  using Handle = std::function<Answer(const Asked& asked)>;
  explicit ApiStub(Handle handle);
  ~ApiStub();
  ApiStub(const ApiStub&) = delete;
  ApiStub& operator=(const ApiStub&) = delete;

  [[nodiscard]] ClusterAccess access() const;
  [[nodiscard]] std::vector<Asked> asked() const;
  // Runs `what` while no request is answered.
  template <typename What>
  auto with(What what) const {
    const std::lock_guard lock(mutex_);
    return what();
  }

 private:
  struct Server;
  void answer(const Asked& asked, httplib::Response& response);

  Handle handle_;
  mutable std::mutex mutex_;
  std::vector<Asked> asked_;
  std::atomic<bool> stop_{false};
  std::unique_ptr<Server> server_;
};

// A body that is `first`, and then stays open until the client goes.
std::function<std::optional<std::string>()> open_after(std::string first);

}  // namespace sluice::kubernetes
