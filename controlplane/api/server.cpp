// SPDX-License-Identifier: Apache-2.0
#include "controlplane/api/server.h"

#include "controlplane/api/tls.h"
#include "controlplane/runtime/start_fault.h"

#include <grpc/grpc.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_posix.h>

#include <chrono>

namespace sluice::api {
namespace {

// 50,000 services with ten endpoints each fit in one message.
constexpr int kMessageBytesMax = 64 << 20;
constexpr int kPollersMax = 64;
constexpr int kThreadsMax = 192;  // each forwarded connection and each watch has one
constexpr std::size_t kMemoryMax = std::size_t{512} << 20U;
constexpr int kStreamsMax = 128;
// A peer that says nothing does not keep its place; clients that come back connect again unseen.
constexpr int kIdleMsMax = 5'000;
constexpr int kHandshakeMsMax = 5'000;
// One that has gone without a word, its host down or its NAT full, keeps no watch and no forwarded
// connection. Clients ask likewise (client/channel.cpp).
constexpr int kPingMs = 20'000;
constexpr int kPingAnswerMs = 10'000;

}  // namespace

Server::Server(const std::string& socket_path, const model::TcpApiInput& tcp,
               GatewayService& service)
    : service_(service) {
  // Held for good: when its last user goes, gRPC waits up to 10 s for a poller that it has started
  // for a large answer.
  static const bool held = (grpc_init(), true);
  (void)held;
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ResourceQuota quota("api");
  quota.SetMaxThreads(kThreadsMax).Resize(kMemoryMax);
  grpc::ServerBuilder builder;
  builder.SetResourceQuota(quota);
  // By default all threads but two end with their call: under a busy writer, one made for each.
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::NUM_CQS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::MAX_POLLERS, kPollersMax);
  builder.SetMaxReceiveMessageSize(kMessageBytesMax);
  builder.SetMaxSendMessageSize(-1);  // a list says more of a service than its write did
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kStreamsMax);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, kIdleMsMax);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kPingMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kPingAnswerMs);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kPingMs / 2);
  builder.RegisterService(&service_);
  int port = 0;
  if (!tcp.empty()) {
    builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeMsMax);
    builder.AddListeningPort(tcp.listen, tls_credentials(tcp), &port);
  }
  server_ = builder.BuildAndStart();
  if (!tcp.empty() && port == 0) {
    throw StartFault("api.tcp.listen: " + tcp.listen +
                     " cannot be served; use an address of this host and a port that is free");
  }
  if (server_ == nullptr) {
    throw StartFault("api: gRPC does not start; more is in the log");
  }
  listener_ = std::make_unique<Listener>(socket_path, [this](int connection) {
    grpc::AddInsecureChannelFromFd(server_.get(), connection);
  });
}

Server::~Server() {
  listener_.reset();
  service_.stop();
  server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
  server_->Wait();
}

}  // namespace sluice::api
