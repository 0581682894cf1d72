// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/api/gateway_service.h"
#include "controlplane/api/listener.h"

#include <grpcpp/server.h>

#include <memory>
#include <string>

namespace sluice::api {

// The gRPC server on a Unix socket (mode 0660), with health and reflection. What a peer can cost is
// bounded: connections, message size, concurrent streams, threads.
class Server {
 public:
  // Throws StartFault when the socket cannot be served. `service` outlives this.
  Server(const std::string& socket_path, GatewayService& service);
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
