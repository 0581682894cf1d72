// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/cli/options.h"
#include "controlplane/client/channel.h"
#include "controlplane/client/error.h"

#include <optional>
#include <ostream>

#include "sluice/v1/gateway.grpc.pb.h"

namespace sluice::cli {

// What a command works with.
struct Session {
  const Options& options;
  v1::Gateway::StubInterface& gateway;
  std::ostream& out;
  std::ostream& err;
};

template <typename Request, typename Response>
using Method = grpc::Status (v1::Gateway::StubInterface::*)(grpc::ClientContext*, const Request&,
                                                            Response*);

// One call within the time of the options.
template <typename Request, typename Response>
[[nodiscard]] std::optional<client::Error> call(const Session& session,
                                                Method<Request, Response> method,
                                                const Request& request, Response& response) {
  grpc::ClientContext context;
  client::set_deadline(context, session.options.timeout_or_default());
  const grpc::Status status = (session.gateway.*method)(&context, request, &response);
  if (status.ok()) {
    return std::nullopt;
  }
  return client::error_of(status);
}

// Prints the error and returns the exit code that stands for it.
int report(const Session& session, const client::Error& error);
[[nodiscard]] int exit_code_of(const client::Error& error);

// As `-o json` or `-o yaml` asks; false for the other outputs, which are the caller's.
bool print_message(const Session& session, const google::protobuf::Message& message);

// A write of the provider that the options mean, with their conditions and nothing to write yet.
[[nodiscard]] v1::ApplyRequest request_of(const Options& options);

int apply(const Session& session);
int remove(const Session& session);
int expose(const Session& session);
int describe(const Session& session);
int doctor(const Options& options, std::ostream& out, std::ostream& err);  // only if it fails
int port_forward(const Session& session);  // returns only when it cannot begin
int role(const Session& session);
int drain(const Session& session);
int undrain(const Session& session);
int get(const Session& session);
int delete_flows(const Session& session);
int watch_services(const Session& session);
int status(const Session& session);
int explain(const Session& session);
int version(const Session& session);

// The whole program but for its process. `arguments` without the program's name.
int run(const std::vector<std::string>& arguments, std::ostream& out, std::ostream& err);

}  // namespace sluice::cli
