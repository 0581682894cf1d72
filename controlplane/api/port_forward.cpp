// SPDX-License-Identifier: Apache-2.0
// A connection carried through the API: two threads, one for each direction, both of which wait, so
// that gRPC's flow control and TCP's hold each other back.
#include "controlplane/api/convert.h"
#include "controlplane/api/error.h"
#include "controlplane/api/gateway_service.h"
#include "controlplane/runtime/tcp_connection.h"

#include <array>
#include <thread>

namespace sluice::api {
namespace {

constexpr int kForwardsMax = 100;
constexpr auto kConnectPatience = std::chrono::seconds(5);
constexpr std::size_t kChunk = 64 << 10;

using Stream = grpc::ServerReaderWriter<v1::PortForwardResponse, v1::PortForwardRequest>;

void carry_to_client(runtime::TcpConnection& backend, Stream& stream) {
  std::array<char, kChunk> chunk;
  v1::PortForwardResponse response;
  std::ptrdiff_t received = 0;
  while ((received = backend.receive(chunk)) > 0) {
    response.set_data(chunk.data(), static_cast<std::size_t>(received));
    if (!stream.Write(response)) {
      return;
    }
  }
  if (received == 0) {
    response.set_end(true);
  } else {
    response.set_reset(true);
  }
  stream.Write(response);
}

// False when the client is gone without having said that this was all.
bool carry_to_backend(Stream& stream, runtime::TcpConnection& backend) {
  v1::PortForwardRequest request;
  bool open = true;
  bool ended = false;
  while (stream.Read(&request)) {
    if (request.end()) {
      ended = true;
      backend.end_sending();
    } else {
      // What comes after the backend has broken it is read all the same: the client ends the
      // stream.
      open = open && backend.send(request.data());
    }
  }
  return ended;
}

}  // namespace

model::Result<SocketAddress> GatewayService::vip_of(const v1::PortForwardOpen& open,
                                                    std::uint16_t port) {
  const model::ServiceName name = to_name(open.service());
  const auto view = reconciler_.service(open.provider(), name);
  if (!view) {
    return model::Error{.code = model::Code::kNotFound,
                        .message = "there is no service " + to_string(name)};
  }
  if (view->service.vips.empty()) {
    return model::Error{.code = model::Code::kFailedPrecondition,
                        .message = "service " + to_string(name) + " has no VIP"};
  }
  return SocketAddress{view->service.vips.front(), port};
}

grpc::Status GatewayService::PortForward(grpc::ServerContext* context, Stream* stream) {
  const Place place(forwards_);
  if (!place.is_among(kForwardsMax)) {
    return to_status({.code = model::Code::kResourceExhausted,
                      .message = "100 connections are forwarded already; close one"});
  }
  v1::PortForwardRequest request;
  if (!stream->Read(&request) || !request.has_open()) {
    model::Faults faults;
    faults.add("open", "the first message opens the connection");
    return to_status(faults.to_error());
  }
  const v1::PortForwardOpen& open = request.open();
  if (open.port() == 0 || open.port() > 65'535) {
    model::Faults faults;
    faults.add("open.port", std::to_string(open.port()) + " is not a port; use 1 to 65535");
    return to_status(faults.to_error());
  }
  const auto port = static_cast<std::uint16_t>(open.port());
  const auto picked =
      open.through_vip() ? vip_of(open, port)
                         : reconciler_.pick_backend(open.provider(), to_name(open.service()), port);
  if (!picked) {
    return to_status(picked.error());
  }
  const std::string name = to_string(picked->address, picked->port);
  runtime::TcpConnection backend([&] { return stopping_ || context->IsCancelled(); });
  if (const std::string why = backend.connect(picked->address, picked->port, kConnectPatience);
      !why.empty()) {
    return to_status({.code = model::Code::kFailedPrecondition,
                      .message = std::string("no connection to ") +
                                 (open.through_vip() ? "VIP " : "backend ") + name + ": " + why});
  }
  v1::PortForwardResponse response;
  response.set_opened(name);
  response.set_segment_max(backend.segment_max());
  if (!stream->Write(response)) {
    return grpc::Status::OK;
  }
  std::thread back([&] { carry_to_client(backend, *stream); });
  if (!carry_to_backend(*stream, backend)) {
    backend.abort();
  }
  back.join();
  return grpc::Status::OK;
}

}  // namespace sluice::api
