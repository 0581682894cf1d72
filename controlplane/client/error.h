// SPDX-License-Identifier: Apache-2.0
// A refused or failed call as a value: the status with its google.rpc details taken apart.
#pragma once

#include <grpcpp/grpcpp.h>

#include <string>
#include <vector>

namespace sluice::client {

struct FieldViolation {
  std::string field;  // "upsert[2].spec.ports[0].port"
  std::string description;
  friend bool operator==(const FieldViolation&, const FieldViolation&) = default;
};

// What stands in the way: with ALREADY_EXISTS, the frontend and the service that holds it.
struct Resource {
  std::string type;
  std::string name;
  std::string owner;
  std::string description;
  friend bool operator==(const Resource&, const Resource&) = default;
};

struct Error {
  grpc::StatusCode code = grpc::StatusCode::UNKNOWN;
  std::string message;
  std::vector<FieldViolation> violations;
  std::vector<Resource> resources;
  std::string reason;  // of google.rpc.ErrorInfo: "COMMITTED_NOT_CONFIRMED", "OVER_QUOTA"; or empty

  // Nobody answered: the call may not have reached the gateway.
  [[nodiscard]] bool is_unreachable() const;
  // The write is in force, but not every lcore has reported to have seen it.
  [[nodiscard]] bool is_committed_not_confirmed() const;
  // Without the services that the violations name the write would be accepted; the same one again
  // would not. RESOURCE_EXHAUSTED for another reason is the gateway's, and may be over at once.
  [[nodiscard]] bool is_over_quota() const;
};

// `status` is not OK. Details that cannot be read are left out; code and message always remain.
[[nodiscard]] Error error_of(const grpc::Status& status);

// "INVALID_ARGUMENT"
[[nodiscard]] std::string name_of(grpc::StatusCode code);

// Whether the message is the first violation in short, and says nothing that the violations do not.
[[nodiscard]] bool repeats_violation(const Error& error);

// For people: the message unless it repeats a violation, then one line for each violation and
// resource.
[[nodiscard]] std::string line_of(const FieldViolation& violation);
[[nodiscard]] std::vector<std::string> lines_of(const Error& error);

}  // namespace sluice::client
