// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/controlplane/kubernetes/api_stub.h"

#include <gtest/gtest.h>

#include <httplib.h>
#include <thread>

namespace sluice::kubernetes {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

struct ApiStub::Server {
  httplib::Server http;
  int port = 0;
  std::thread thread;
};

namespace {

// httplib compresses what it knows to be text, and holds pieces of a stream back for it.
constexpr const char* kType = "application/octet-stream";

Asked asked_of(const httplib::Request& request) {
  Asked asked{.method = request.method,
              .path = request.path,
              .query = {},
              .body = request.body,
              .content_type = request.get_header_value("Content-Type"),
              .authorization = request.get_header_value("Authorization"),
              .port = request.remote_port,
              .at = steady_clock::now()};
  asked.query.insert(request.params.begin(), request.params.end());
  return asked;
}

}  // namespace

ApiStub::ApiStub(Handle handle) : handle_(std::move(handle)), server_(std::make_unique<Server>()) {
  httplib::Server& http = server_->http;
  const auto handler = [this](const httplib::Request& request, httplib::Response& response) {
    answer(asked_of(request), response);
  };
  http.Get(".*", handler);
  http.Post(".*", handler);
  http.Put(".*", handler);
  http.Patch(".*", handler);
  server_->port = http.bind_to_any_port("127.0.0.1");
  EXPECT_GT(server_->port, 0);
  server_->thread = std::thread([this] { server_->http.listen_after_bind(); });
  EXPECT_TRUE(within(kSoon, [&] { return http.is_running(); }));
}

ApiStub::~ApiStub() {
  stop_ = true;
  server_->http.stop();
  server_->thread.join();
}

void ApiStub::answer(const Asked& asked, httplib::Response& response) {
  Answer answer;
  {
    const std::lock_guard lock(mutex_);
    asked_.push_back(asked);
    answer = handle_(asked);
  }
  response.status = answer.status;
  if (!answer.retry_after.empty()) {
    response.set_header("Retry-After", answer.retry_after);
  }
  if (answer.stream) {
    response.set_chunked_content_provider(
        kType, [this, stream = answer.stream, breaks_off = answer.breaks_off](
                   std::size_t, httplib::DataSink& sink) {
          const auto piece = stop_ ? std::nullopt : stream();
          if (!piece && breaks_off) {
            return false;
          }
          if (!piece) {
            sink.done();
          } else if (piece->empty()) {
            std::this_thread::sleep_for(milliseconds(5));
          } else {
            sink.write(piece->data(), piece->size());
          }
          return true;
        });
  } else if (answer.breaks_off) {
    response.set_content_provider(
        answer.body.size() + 1, kType,
        [body = answer.body](std::size_t offset, std::size_t, httplib::DataSink& sink) {
          return offset == 0 && !body.empty() && sink.write(body.data(), body.size());
        });
  } else {
    response.set_content(answer.body, kType);
  }
}

ClusterAccess ApiStub::access() const {
  ClusterAccess access;
  access.server = "http://127.0.0.1:" + std::to_string(server_->port);
  access.token = "token";
  return access;
}

std::vector<Asked> ApiStub::asked() const {
  const std::lock_guard lock(mutex_);
  return asked_;
}

std::function<std::optional<std::string>()> open_after(std::string first) {
  return [first = std::move(first)]() mutable -> std::optional<std::string> {
    return std::exchange(first, "");
  };
}

}  // namespace sluice::kubernetes
