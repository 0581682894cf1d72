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
    case model::Code::kFailedPrecondition:
      return grpc::StatusCode::FAILED_PRECONDITION;
    case model::Code::kUnavailable:
      return grpc::StatusCode::UNAVAILABLE;
  }
  return grpc::StatusCode::UNKNOWN;
}

// gRPC sends all of this in the trailer, which peers bound to 8 KiB, in base64: past this many
// bytes faults are told in number only, and each text quotes what was given up to a length.
constexpr std::size_t kFaultsToldMax = 200;
constexpr std::size_t kDetailBytesMax = 5'000;
constexpr std::size_t kTextBytesMax = 300;

// Not cut within a character: protobuf takes UTF-8 only.
std::string shortened(const std::string& text) {
  if (text.size() <= kTextBytesMax) {
    return text;
  }
  std::size_t length = kTextBytesMax;
  while (length > 0 && (static_cast<unsigned char>(text[length]) & 0xc0U) == 0x80U) {
    --length;
  }
  return text.substr(0, length) + "...";
}

google::rpc::BadRequest bad_request(const std::vector<model::Fault>& faults) {
  google::rpc::BadRequest request;
  std::size_t bytes = 0;
  std::size_t told = 0;
  for (const model::Fault& fault : faults) {
    const std::string field = shortened(fault.path);
    const std::string description = shortened(fault.message);
    bytes += field.size() + description.size() + 8;
    if (told == kFaultsToldMax || bytes > kDetailBytesMax) {
      request.add_field_violations()->set_description(
          "and " + std::to_string(faults.size() - told) + " more faults; mend these first");
      break;
    }
    auto& violation = *request.add_field_violations();
    violation.set_field(field);
    violation.set_description(description);
    ++told;
  }
  return request;
}

}  // namespace

grpc::Status to_status(const model::Error& error) {
  google::rpc::Status status;
  status.set_code(static_cast<int>(to_code(error.code)));
  status.set_message(shortened(error.message));
  if (!error.faults.empty()) {
    status.add_details()->PackFrom(bad_request(error.faults));
  }
  if (!error.owner.empty()) {
    google::rpc::ResourceInfo resource;
    resource.set_resource_type("frontend");
    resource.set_resource_name(error.resource);
    resource.set_owner(error.owner);
    resource.set_description(shortened(error.message));
    status.add_details()->PackFrom(resource);
  }
  if (!error.reason.empty()) {
    google::rpc::ErrorInfo info;
    info.set_reason(error.reason);
    info.set_domain("sluice.dev");
    status.add_details()->PackFrom(info);
  }
  return {to_code(error.code), status.message(), status.SerializeAsString()};
}

}  // namespace sluice::api
