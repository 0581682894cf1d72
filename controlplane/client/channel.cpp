// SPDX-License-Identifier: Apache-2.0
#include "controlplane/client/channel.h"

#include <fmt/format.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <fstream>
#include <string_view>
#include <sys/un.h>
#include <utility>

namespace sluice::client {
namespace {

constexpr std::string_view kUnix = "unix:";
// Details of an error travel in the trailer. gRPC lets 8 KiB through, which is some 80 faults.
constexpr int kMetadataBytesMax = 16 << 20;
constexpr unsigned kRefreshSeconds = 5;
// gRPC waits ever longer before it tries to connect again, two minutes in the end, and until then
// every call fails at once: a gateway that is back would not be seen.
constexpr int kReconnectMs = 250;
constexpr int kReconnectMaxMs = 2'000;
// A gateway whose host has gone is noticed, though a watch waits for it without a deadline.
constexpr int kPingMs = 20'000;
constexpr int kPingAnswerMs = 10'000;

// There is no TCP in the clear.
std::string fault_of_tcp(std::string_view server, const TlsFiles& tls) {
  const std::size_t colon = server.rfind(':');
  const std::string_view digits = colon == std::string_view::npos ? "" : server.substr(colon + 1);
  const bool is_port = !digits.empty() && digits.size() <= 5 &&
                       digits.find_first_not_of("0123456789") == std::string_view::npos;
  if (colon == 0 || !is_port) {
    return fmt::format("'{}' is no address; write unix:PATH or HOST:PORT", server);
  }
  for (const auto& [what, file] :
       {std::pair("certificate authority", &tls.authority),
        std::pair("client certificate", &tls.certificate), std::pair("client key", &tls.key)}) {
    if (file->empty()) {
      return fmt::format("'{}': over TCP a {} is needed; name its file", server, what);
    }
    if (!std::ifstream(*file)) {
      return fmt::format("'{}': the {} {} cannot be read", server, what, *file);
    }
  }
  return {};
}

std::shared_ptr<grpc::ChannelCredentials> tls_credentials(const TlsFiles& tls) {
  grpc::experimental::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(
      std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
          tls.key, tls.certificate, tls.authority, kRefreshSeconds));
  options.watch_root_certs();
  options.watch_identity_key_cert_pairs();
  return grpc::experimental::TlsCredentials(options);
}

// Why `server` is no address, or an empty text.
std::string fault_of(std::string_view server, const TlsFiles& tls) {
  if (server.empty()) {
    return "the server's address is empty; expected unix:PATH or HOST:PORT";
  }
  if (server.starts_with('/')) {
    return fmt::format("'{}' is no address; write unix:{}", server, server);
  }
  if (!server.starts_with(kUnix)) {
    return fault_of_tcp(server, tls);
  }
  std::string_view path = server.substr(kUnix.size());
  if (path.starts_with("//")) {
    path.remove_prefix(2);
  }
  if (path.empty()) {
    return fmt::format("'{}': the path of the socket is missing", server);
  }
  constexpr std::size_t kPathMax = sizeof(sockaddr_un::sun_path) - 1;
  if (path.size() > kPathMax) {
    return fmt::format("'{}': the path of a socket has at most {} characters", server, kPathMax);
  }
  return {};
}

}  // namespace

Connection connect(const std::string& server, const TlsFiles& tls) {
  Connection connection;
  connection.fault = fault_of(server, tls);
  if (!connection.fault.empty()) {
    return connection;
  }
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetInt(GRPC_ARG_MAX_METADATA_SIZE, kMetadataBytesMax);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kReconnectMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kReconnectMaxMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kPingMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kPingAnswerMs);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);  // no bound
  const auto credentials =
      server.starts_with(kUnix) ? grpc::InsecureChannelCredentials() : tls_credentials(tls);
  connection.channel = grpc::CreateCustomChannel(server, credentials, arguments);
  return connection;
}

void set_deadline(grpc::ClientContext& context, std::chrono::milliseconds timeout) {
  context.set_deadline(std::chrono::system_clock::now() + timeout);
}

}  // namespace sluice::client
