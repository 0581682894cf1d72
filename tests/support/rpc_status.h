// SPDX-License-Identifier: Apache-2.0
// A status as gateways answer it: with google.rpc details.
#pragma once

#include <grpcpp/grpcpp.h>

#include <string>

#include "google/rpc/status.pb.h"

namespace sluice {

template <typename... Details>
grpc::Status status_of(grpc::StatusCode code, const std::string& message,
                       const Details&... details) {
  google::rpc::Status status;
  status.set_code(code);
  status.set_message(message);
  (status.add_details()->PackFrom(details), ...);
  return {code, message, status.SerializeAsString()};
}

}  // namespace sluice
