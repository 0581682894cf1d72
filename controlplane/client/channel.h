// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <string>

namespace sluice::client {

inline constexpr const char* kDefaultServer = "unix:/run/sluice/sluice.sock";

// PEM files, read again when they change. Over TCP all three are needed.
struct TlsFiles {
  std::string authority;    // whose certificate the gateway has
  std::string certificate;  // the client's
  std::string key;
};

struct Connection {
  std::shared_ptr<grpc::Channel> channel;  // null when `fault` is set
  std::string fault;                       // one sentence about the address, without a period
};

// `server` is "unix:PATH", or "HOST:PORT" with TLS on both sides; HOST is what the gateway's
// certificate is for. Nothing is sent yet: whether anyone answers shows in the first call.
[[nodiscard]] Connection connect(const std::string& server, const TlsFiles& tls = {});

// From now.
void set_deadline(grpc::ClientContext& context, std::chrono::milliseconds timeout);

}  // namespace sluice::client
