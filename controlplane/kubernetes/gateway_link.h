// SPDX-License-Identifier: Apache-2.0
// What one provider asks of one gateway: one call at a time, each with a deadline, and all of them
// over at once when it is time to stop.
#pragma once

#include "controlplane/client/channel.h"
#include "controlplane/client/error.h"

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "sluice/v1/gateway.grpc.pb.h"

namespace sluice::kubernetes {

// For a question, which a gateway answers at once.
inline constexpr std::chrono::milliseconds kAskDeadline{2'000};

class GatewayLink {
 public:
  using Gateway = v1::Gateway::StubInterface;

  // `gateway`: its address, for the log.
  GatewayLink(std::string gateway, std::string provider, std::shared_ptr<Gateway> stub);

  // Any thread. The call in progress is cancelled, and no other one is made.
  void stop();
  // False: it is time to stop.
  bool pause(std::chrono::milliseconds time);
  [[nodiscard]] bool is_stopped() const;

  // The rest: one thread.
  template <typename Request, typename Response>
  grpc::Status call(grpc::Status (Gateway::*method)(grpc::ClientContext*, const Request&,
                                                    Response*),
                    std::chrono::milliseconds deadline, const Request& request,
                    Response& response) {
    grpc::ClientContext context;
    client::set_deadline(context, deadline);
    {
      const std::lock_guard lock(mutex_);
      if (stop_) {
        return {grpc::StatusCode::CANCELLED, "it is time to stop"};
      }
      calling_ = &context;
    }
    const grpc::Status status = (stub_.get()->*method)(&context, request, &response);
    const std::lock_guard lock(mutex_);
    calling_ = nullptr;
    is_away_ = !status.ok() && client::error_of(status).is_unreachable();
    return status;
  }

  // Of the provider there, 0 before its first write; nothing when the gateway does not answer.
  std::optional<std::uint64_t> ask_revision();
  // Whether it tells the network where addresses are; not when it does not answer.
  bool ask_announces();
  // When the gateway's process was started, in some unit; nothing when it does not say.
  std::optional<std::int64_t> ask_started();

  // What the gateway has is not known any more; told once for each reason.
  void lost(const client::Error& error);
  void reached();

  // Nobody has answered the last call.
  [[nodiscard]] bool is_away() const { return is_away_; }

  [[nodiscard]] const std::string& gateway() const { return gateway_; }
  [[nodiscard]] const std::string& provider() const { return provider_; }

 private:
  const std::string gateway_;
  const std::string provider_;
  const std::shared_ptr<Gateway> stub_;
  std::string said_;
  bool is_away_ = false;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
  grpc::ClientContext* calling_ = nullptr;
};

}  // namespace sluice::kubernetes
