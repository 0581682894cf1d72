// SPDX-License-Identifier: Apache-2.0
// Requests to the API server: HTTP/2 where the server offers it, connections kept between requests.
#pragma once

#include "controlplane/kubernetes/credentials.h"

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace sluice::kubernetes {

struct HttpRequest {
  std::string method = "GET";
  std::string path;  // with its query: "/api/v1/services?limit=500"
  std::string body{};
  std::string content_type{};
  // No octet for so long ends it: a connection can be half open (KUBERNETES.md 1.18).
  std::chrono::milliseconds silence_max{30'000};
  std::chrono::milliseconds time_max{0};  // for all of it; 0: as long as something comes
  // Ends this one, as `stop` ends all; null: nothing does. Outlives the request.
  const std::atomic<bool>* cut = nullptr;
};

struct HttpResponse {
  int status = 0;    // 0: there is none, and `fault` says why
  std::string body;  // of a refusal, its first MiB; else what no sink has taken
  std::optional<std::chrono::seconds> retry_after;
  std::string fault;       // also of an answer that broke off
  bool is_silent = false;  // the fault is that nothing came
  [[nodiscard]] bool is_ok() const { return status >= 200 && status < 300 && fault.empty(); }
};

// For one thread.
class HttpClient {
 public:
  // `stop`: when it becomes true, a request ends within a second. Both outlive this.
  HttpClient(const ClusterAccess& access, Credentials& credentials, const std::atomic<bool>& stop);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Takes the body of a success as it comes; false ends the request, which is no fault.
  using Sink = std::function<bool(std::string_view piece)>;
  // A 401 makes the credentials fresh and is asked once more.
  HttpResponse send(const HttpRequest& request, const Sink& sink = {});

 private:
  struct Transfer;
  HttpResponse send_once(const HttpRequest& request, const Sink& sink);
  void forget_connections();

  const ClusterAccess& access_;
  Credentials& credentials_;
  const std::atomic<bool>& stop_;
  void* easy_;  // CURL
};

// "%2F" and so on, for a value in a query.
std::string percent_encoded(std::string_view text);

}  // namespace sluice::kubernetes
