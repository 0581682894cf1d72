// SPDX-License-Identifier: Apache-2.0
#include "controlplane/api/error.h"

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace sluice::api {
namespace {

grpc::StatusCode to_code(model::Code code) {
  switch (code) {
    case model::Code::kInvalidArgument:
      return grpc::StatusCode::INVALID_ARGUMENT;
    case model::Code::kUnimplemented:
      return grpc::StatusCode::UNIMPLEMENTED;
    case model::Code::kAlreadyExists:
      return grpc::StatusCode::ALREADY_EXISTS;
    case model::Code::kAborted:
      return grpc::StatusCode::ABORTED;
    case model::Code::kNotFound:
      return grpc::StatusCode::NOT_FOUND;
    case model::Code::kDeadlineExceeded:
      return grpc::StatusCode::DEADLINE_EXCEEDED;
    case model::Code::kResourceExhausted:
      return grpc::StatusCode::RESOURCE_EXHAUSTED;
    case model::Code::kUnavailable:
      return grpc::StatusCode::UNAVAILABLE;
  }
  return grpc::StatusCode::UNKNOWN;
}

// gRPC sends the details as a header, which peers bound to 8 KiB or so: past this many faults they
// are told in number only.
constexpr std::size_t kFaultsToldMax = 200;
constexpr std::size_t kDetailBytesMax = 6'000;

}  // namespace

grpc::Status to_status(const model::Error& error) {
  google::rpc::Status status;
  status.set_code(static_cast<int>(to_code(error.code)));
  status.set_message(error.message);
  if (!error.faults.empty()) {
    google::rpc::BadRequest request;
    std::size_t bytes = 0;
    for (const model::Fault& fault : error.faults) {
      bytes += fault.path.size() + fault.message.size() + 8;
      if (static_cast<std::size_t>(request.field_violations_size()) == kFaultsToldMax ||
          bytes > kDetailBytesMax) {
        auto& rest = *request.add_field_violations();
        rest.set_description(
            "and " +
            std::to_string(error.faults.size() -
                           static_cast<std::size_t>(request.field_violations_size() - 1)) +
            " more faults; mend these first");
        break;
      }
      auto& violation = *request.add_field_violations();
      violation.set_field(fault.path);
      violation.set_description(fault.message);
    }
    status.add_details()->PackFrom(request);
  }
  if (!error.owner.empty()) {
    google::rpc::ResourceInfo resource;
    resource.set_resource_type("frontend");
    resource.set_resource_name(error.resource);
    resource.set_owner(error.owner);
    resource.set_description(error.message);
    status.add_details()->PackFrom(resource);
  }
  if (!error.reason.empty()) {
    google::rpc::ErrorInfo info;
    info.set_reason(error.reason);
    info.set_domain("sluice.dev");
    status.add_details()->PackFrom(info);
  }
  return {to_code(error.code), error.message, status.SerializeAsString()};
}

}  // namespace sluice::api
