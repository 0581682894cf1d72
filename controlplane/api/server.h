// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/api/gateway_service.h"
#include "controlplane/api/listener.h"
#include "controlplane/model/config.h"

#include <grpcpp/server.h>

#include <memory>
#include <string>

namespace sluice::api {

// The gRPC server on a Unix socket (mode 0660) and, if asked for, on TCP with TLS on both sides,
// with health and reflection. What a peer can cost is bounded: connections (on the socket), message
// size, concurrent streams, threads.
class Server {
 public:
  // Throws StartFault when either cannot be served. `tcp` empty: none. `service` outlives this.
  Server(const std::string& socket_path, const model::TcpApiInput& tcp, GatewayService& service);
  // Open calls get a second to end.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

 private:
  GatewayService& service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Listener> listener_;
};

}  // namespace sluice::api
