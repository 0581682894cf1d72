// SPDX-License-Identifier: Apache-2.0
#include "controlplane/client/error.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace sluice::client {
namespace {

constexpr std::string_view kCommittedNotConfirmed = "COMMITTED_NOT_CONFIRMED";
constexpr std::string_view kOverQuota = "OVER_QUOTA";

constexpr std::array<std::string_view, 17> kCodeNames = {
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
};

void add_detail(const google::protobuf::Any& detail, Error& error) {
  google::rpc::BadRequest bad_request;
  google::rpc::ResourceInfo resource;
  google::rpc::ErrorInfo info;
  if (detail.Is<google::rpc::BadRequest>() && detail.UnpackTo(&bad_request)) {
    for (const auto& violation : bad_request.field_violations()) {
      error.violations.push_back({violation.field(), violation.description()});
    }
  } else if (detail.Is<google::rpc::ResourceInfo>() && detail.UnpackTo(&resource)) {
    error.resources.push_back({resource.resource_type(), resource.resource_name(), resource.owner(),
                               resource.description()});
  } else if (detail.Is<google::rpc::ErrorInfo>() && detail.UnpackTo(&info)) {
    error.reason = info.reason();
  }
}

}  // namespace

bool Error::is_unreachable() const {
  return code == grpc::StatusCode::UNAVAILABLE ||
         (code == grpc::StatusCode::DEADLINE_EXCEEDED && !is_committed_not_confirmed());
}

bool Error::is_committed_not_confirmed() const {
  return code == grpc::StatusCode::DEADLINE_EXCEEDED && reason == kCommittedNotConfirmed;
}

bool Error::is_over_quota() const {
  return code == grpc::StatusCode::RESOURCE_EXHAUSTED && reason == kOverQuota;
}

Error error_of(const grpc::Status& status) {
  Error error;
  error.code = status.error_code();
  error.message = status.error_message();
  google::rpc::Status details;
  if (!status.error_details().empty() && details.ParseFromString(status.error_details())) {
    for (const auto& detail : details.details()) {
      add_detail(detail, error);
    }
  }
  return error;
}

std::string name_of(grpc::StatusCode code) {
  const auto index = static_cast<std::size_t>(code);
  return index < kCodeNames.size() ? std::string(kCodeNames[index])
                                   : fmt::format("code {}", static_cast<int>(code));
}

bool repeats_violation(const Error& error) {
  return !error.violations.empty() && error.message.starts_with(error.violations[0].field + ":");
}

std::string line_of(const FieldViolation& violation) {
  return violation.field.empty() ? violation.description
                                 : fmt::format("{}: {}", violation.field, violation.description);
}

std::vector<std::string> lines_of(const Error& error) {
  std::vector<std::string> lines;
  if (!repeats_violation(error)) {
    lines.push_back(error.message.empty() ? name_of(error.code) : error.message);
  }
  for (const FieldViolation& violation : error.violations) {
    lines.push_back(line_of(violation));
  }
  for (const Resource& resource : error.resources) {
    std::string line = fmt::format("{} {}", resource.type, resource.name);
    if (!resource.owner.empty()) {
      line += fmt::format(" is held by {}", resource.owner);
    }
    if (!resource.description.empty() && resource.description != error.message) {
      line += fmt::format(": {}", resource.description);
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace sluice::client
