// SPDX-License-Identifier: Apache-2.0
#include "bench/publish/writer.h"

#include "controlplane/client/channel.h"

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <thread>

namespace sluice::bench {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kTimeout = std::chrono::seconds(60);
constexpr std::uint32_t kTicksPerSecond = 1'000;
constexpr std::uint32_t kPatienceFactor = 3;

void check(const grpc::Status& status) {
  if (!status.ok()) {
    throw std::runtime_error("a write is refused: " + status.error_message());
  }
}

std::uint32_t micros_since(Clock::time_point begun) {
  return static_cast<std::uint32_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begun).count());
}

void note(Writer::Changes& changes, std::uint32_t call_us, const v1::ApplyResponse& response) {
  changes.call_us.push_back(call_us);
  changes.publish_us.push_back(static_cast<std::uint32_t>(response.publish_ns() / 1'000));
  changes.confirmed += static_cast<std::uint64_t>(response.changed_size());
}

struct Call {
  grpc::ClientContext context;
  v1::ApplyResponse response;
  grpc::Status status;
  std::unique_ptr<grpc::ClientAsyncResponseReader<v1::ApplyResponse>> reader;
  Clock::time_point begun = Clock::now();
};

// The calls under way, and what became of the others.
class Calls {
 public:
  Calls(v1::Gateway::Stub& stub, Writer::Changes& changes) : stub_(stub), changes_(changes) {}

  void start(const v1::ApplyRequest& request) {
    auto call = std::make_unique<Call>();
    client::set_deadline(call->context, kTimeout);
    call->reader = stub_.AsyncApply(&call->context, request, &queue_);
    call->reader->Finish(&call->response, &call->status, call.get());
    call.release();
    ++under_way_;
  }
  // Takes answers until `deadline`; false when it has come.
  bool take(Clock::time_point deadline) {
    void* tag = nullptr;
    bool ok = false;
    const auto left = deadline - Clock::now();
    if (queue_.AsyncNext(&tag, &ok, std::chrono::system_clock::now() + left) !=
        grpc::CompletionQueue::GOT_EVENT) {
      return false;
    }
    const std::unique_ptr<Call> call(static_cast<Call*>(tag));
    check(call->status);
    note(changes_, micros_since(call->begun), call->response);
    --under_way_;
    return true;
  }
  [[nodiscard]] std::uint32_t under_way() const { return under_way_; }

 private:
  v1::Gateway::Stub& stub_;
  Writer::Changes& changes_;
  grpc::CompletionQueue queue_;
  std::uint32_t under_way_ = 0;
};

}  // namespace

Writer::Writer(const std::string& server) {
  const client::Connection connection = client::connect(server);
  if (!connection.fault.empty()) {
    throw std::runtime_error(connection.fault);
  }
  stub_ = v1::Gateway::NewStub(connection.channel);
}

double Writer::apply(const std::vector<v1::ApplyRequest>& requests) {
  const auto begun = Clock::now();
  for (const v1::ApplyRequest& request : requests) {
    apply(request);
  }
  return std::chrono::duration<double>(Clock::now() - begun).count();
}

v1::ApplyResponse Writer::apply(const v1::ApplyRequest& request) {
  grpc::ClientContext context;
  client::set_deadline(context, kTimeout);
  v1::ApplyResponse response;
  check(stub_->Apply(&context, request, &response));
  return response;
}

std::string Writer::drops() {
  v1::ListDropsResponse response;
  const auto ask = [&] {
    grpc::ClientContext context;
    client::set_deadline(context, kTimeout);
    return stub_->ListDrops(&context, v1::ListDropsRequest{}, &response);
  };
  // After a silence the server has closed the connection, which a client learns by trying.
  const grpc::Status first = ask();
  check(first.error_code() == grpc::StatusCode::UNAVAILABLE ? ask() : first);
  std::string text;
  for (const v1::Drop& drop : response.drops()) {
    if (drop.packets() != 0) {
      text += (text.empty() ? "" : ", ") + drop.reason() + " " + std::to_string(drop.packets());
    }
  }
  return text.empty() ? "nothing" : text;
}

Writer::Changes Writer::change_singly(Fleet& fleet, std::uint32_t count, std::uint32_t pause_us) {
  Changes changes;
  const auto begun = Clock::now();
  for (std::uint32_t i = 0; i < count; ++i) {
    const v1::ApplyRequest change = fleet.next_changes(1);
    const auto called = Clock::now();
    const v1::ApplyResponse answer = apply(change);
    note(changes, micros_since(called), answer);
    std::this_thread::sleep_for(std::chrono::microseconds(pause_us));
  }
  changes.seconds = std::chrono::duration<double>(Clock::now() - begun).count();
  return changes;
}

Writer::Changes Writer::change_steadily(Fleet& fleet, std::uint32_t rate, std::uint32_t seconds) {
  Changes changes;
  Calls calls(*stub_, changes);
  const std::uint32_t each = rate / kTicksPerSecond;
  const auto begun = Clock::now();
  auto next = begun;
  // A machine that cannot keep up is given up on: what it did until then is the answer.
  const auto latest = begun + std::chrono::seconds(kPatienceFactor * seconds);
  for (std::uint32_t tick = 0; tick < seconds * kTicksPerSecond && Clock::now() < latest; ++tick) {
    while (calls.under_way() >= kInFlight) {
      calls.take(Clock::now() + kTimeout);
    }
    calls.start(fleet.next_changes(each));
    next += std::chrono::microseconds(1'000'000 / kTicksPerSecond);
    while (calls.take(next)) {
    }
  }
  while (calls.under_way() != 0) {
    calls.take(Clock::now() + kTimeout);
  }
  changes.seconds = std::chrono::duration<double>(Clock::now() - begun).count();
  return changes;
}

}  // namespace sluice::bench
