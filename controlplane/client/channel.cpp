// SPDX-License-Identifier: Apache-2.0
#include "controlplane/client/channel.h"

#include <fmt/format.h>

#include <string_view>
#include <sys/un.h>

namespace sluice::client {
namespace {

constexpr std::string_view kUnix = "unix:";
// Details of an error travel in the trailer. gRPC lets 8 KiB through, which is some 80 faults.
constexpr int kMetadataBytesMax = 16 << 20;

// Why `server` is no address, or an empty text.
std::string fault_of(std::string_view server) {
  if (server.empty()) {
    return "the server's address is empty; expected unix:PATH";
  }
  if (server.starts_with('/')) {
    return fmt::format("'{}' is no address; write unix:{}", server, server);
  }
  if (!server.starts_with(kUnix)) {
    return fmt::format(
        "'{}': only Unix sockets (unix:PATH) are served; TCP comes with mutual TLS, later", server);
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

Connection connect(const std::string& server) {
  Connection connection;
  connection.fault = fault_of(server);
  if (!connection.fault.empty()) {
    return connection;
  }
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetInt(GRPC_ARG_MAX_METADATA_SIZE, kMetadataBytesMax);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  connection.channel =
      grpc::CreateCustomChannel(server, grpc::InsecureChannelCredentials(), arguments);
  return connection;
}

void set_deadline(grpc::ClientContext& context, std::chrono::milliseconds timeout) {
  context.set_deadline(std::chrono::system_clock::now() + timeout);
}

}  // namespace sluice::client
