// SPDX-License-Identifier: Apache-2.0
#include "controlplane/api/error.h"

#include <gtest/gtest.h>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace sluice::api {
namespace {

google::rpc::Status details_of(const grpc::Status& status) {
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  return details;
}

google::rpc::BadRequest bad_request_of(const grpc::Status& status) {
  google::rpc::BadRequest request;
  const google::rpc::Status details = details_of(status);
  EXPECT_TRUE(details.details_size() > 0 && details.details(0).UnpackTo(&request));
  return request;
}

TEST(Error, EachCodeIsItsNamesakeOfGrpc) {
  const std::vector<std::pair<model::Code, grpc::StatusCode>> pairs{
      {model::Code::kInvalidArgument, grpc::StatusCode::INVALID_ARGUMENT},
      {model::Code::kUnimplemented, grpc::StatusCode::UNIMPLEMENTED},
      {model::Code::kAlreadyExists, grpc::StatusCode::ALREADY_EXISTS},
      {model::Code::kAborted, grpc::StatusCode::ABORTED},
      {model::Code::kNotFound, grpc::StatusCode::NOT_FOUND},
      {model::Code::kDeadlineExceeded, grpc::StatusCode::DEADLINE_EXCEEDED},
      {model::Code::kResourceExhausted, grpc::StatusCode::RESOURCE_EXHAUSTED},
      {model::Code::kUnavailable, grpc::StatusCode::UNAVAILABLE}};
  for (const auto& [ours, theirs] : pairs) {
    const grpc::Status status = to_status({.code = ours, .message = "why"});
    EXPECT_EQ(status.error_code(), theirs);
    EXPECT_EQ(status.error_message(), "why");
    EXPECT_EQ(details_of(status).code(), static_cast<int>(theirs));
  }
}

TEST(Error, EveryFaultIsAFieldViolation) {
  const auto request =
      bad_request_of(to_status({.message = "m", .faults = {{"a", "x"}, {"b", "y"}}}));
  ASSERT_EQ(request.field_violations_size(), 2);
  EXPECT_EQ(request.field_violations(1).field(), "b");
  EXPECT_EQ(request.field_violations(1).description(), "y");
}

TEST(Error, TheHolderOfAFrontendAndTheReasonAreTold) {
  const grpc::Status status = to_status({.code = model::Code::kAlreadyExists,
                                         .message = "m",
                                         .resource = "203.0.113.1:80/TCP",
                                         .owner = "cli: default/web",
                                         .reason = "R"});
  const google::rpc::Status details = details_of(status);
  ASSERT_EQ(details.details_size(), 2);
  google::rpc::ResourceInfo resource;
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(details.details(0).UnpackTo(&resource) && details.details(1).UnpackTo(&info));
  EXPECT_EQ(resource.resource_name(), "203.0.113.1:80/TCP");
  EXPECT_EQ(resource.owner(), "cli: default/web");
  EXPECT_EQ(info.reason(), "R");
}

TEST(Error, ManyFaultsAreToldUpToABoundAndThenInNumber) {
  model::Error error;
  for (int i = 0; i < 1'000; ++i) {
    error.faults.push_back({"upsert[" + std::to_string(i) + "].metadata.name", "is not a name"});
  }
  const grpc::Status status = to_status(error);
  // Base64 makes four of three; 8 KiB is what peers take.
  EXPECT_LT(status.error_details().size() * 4 / 3 + status.error_message().size(), 8'000U);
  const auto request = bad_request_of(status);
  const int told = request.field_violations_size() - 1;
  EXPECT_GT(told, 50);
  EXPECT_EQ(request.field_violations(told).description(),
            "and " + std::to_string(1'000 - told) + " more faults; mend these first");
}

TEST(Error, LongTextsAreCutBetweenCharacters) {
  std::string text = "'";
  while (text.size() < 100'000) {
    text += "\u20ac";  // three bytes
  }
  for (std::size_t shift = 0; shift < 3; ++shift) {
    const grpc::Status status =
        to_status({.message = std::string(shift, 'x') + text,
                   .faults = {{"upsert[0].metadata.annotations[" + text + "]", text}}});
    EXPECT_LT(status.error_message().size(), 400U);
    EXPECT_LT(status.error_details().size(), 1'500U);
    const std::string field = bad_request_of(status).field_violations(0).field();
    EXPECT_EQ(field.substr(field.size() - 3), "...");
    EXPECT_EQ(status.error_message().find('\xe2', status.error_message().size() - 5),
              std::string::npos)
        << "a first byte without the others";
  }
}

}  // namespace
}  // namespace sluice::api
