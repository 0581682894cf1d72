// SPDX-License-Identifier: Apache-2.0
#include "controlplane/client/error.h"

#include <gtest/gtest.h>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace sluice::client {
namespace {

grpc::Status status_with(grpc::StatusCode code, const std::string& message,
                         const std::vector<const google::protobuf::Message*>& details) {
  google::rpc::Status status;
  status.set_code(code);
  status.set_message(message);
  for (const auto* detail : details) {
    status.add_details()->PackFrom(*detail);
  }
  return {code, message, status.SerializeAsString()};
}

google::rpc::ErrorInfo committed() {
  google::rpc::ErrorInfo info;
  info.set_reason("COMMITTED_NOT_CONFIRMED");
  info.set_domain("sluice.dev");
  return info;
}

TEST(ErrorOf, TakesTheDetailsApart) {
  google::rpc::BadRequest bad_request;
  for (const char* field : {"upsert[0].spec.ports[0].port", "provider"}) {
    auto* violation = bad_request.add_field_violations();
    violation->set_field(field);
    violation->set_description("is wrong");
  }
  google::rpc::ResourceInfo resource;
  resource.set_resource_type("frontend");
  resource.set_resource_name("203.0.113.10:80/TCP");
  resource.set_owner("k8s-a: default/web");
  const Error error =
      error_of(status_with(grpc::StatusCode::ALREADY_EXISTS, "taken", {&bad_request, &resource}));
  EXPECT_EQ(error.code, grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(error.message, "taken");
  EXPECT_EQ(error.violations,
            (std::vector<FieldViolation>{{"upsert[0].spec.ports[0].port", "is wrong"},
                                         {"provider", "is wrong"}}));
  EXPECT_EQ(error.resources,
            (std::vector<Resource>{{"frontend", "203.0.113.10:80/TCP", "k8s-a: default/web", ""}}));
  EXPECT_EQ(lines_of(error),
            (std::vector<std::string>{
                "taken", "upsert[0].spec.ports[0].port: is wrong", "provider: is wrong",
                "frontend 203.0.113.10:80/TCP is held by k8s-a: default/web"}));
}

TEST(ErrorOf, KeepsCodeAndMessageWhenTheDetailsCannotBeRead) {
  const Error error = error_of({grpc::StatusCode::ABORTED, "revision", "\xff\xff nonsense"});
  EXPECT_EQ(error.code, grpc::StatusCode::ABORTED);
  EXPECT_EQ(lines_of(error), std::vector<std::string>{"revision"});

  google::rpc::Status status;
  auto* any = status.add_details();
  any->set_type_url("type.googleapis.com/google.rpc.BadRequest");
  any->set_value("\xff");
  status.add_details()->set_type_url("type.googleapis.com/somebody.Else");
  EXPECT_TRUE(
      error_of({grpc::StatusCode::ABORTED, "x", status.SerializeAsString()}).violations.empty());
}

TEST(Error, OverAQuotaIsToldFromAGatewayThatIsFull) {
  google::rpc::ErrorInfo info;
  info.set_reason("OVER_QUOTA");
  info.set_domain("sluice.dev");
  EXPECT_TRUE(
      error_of(status_with(grpc::StatusCode::RESOURCE_EXHAUSTED, "x", {&info})).is_over_quota());
  EXPECT_FALSE(error_of({grpc::StatusCode::RESOURCE_EXHAUSTED, "too many"}).is_over_quota());
}

TEST(Error, AWriteInForceButNotConfirmedIsNotUnreachable) {
  const auto info = committed();
  const Error error =
      error_of(status_with(grpc::StatusCode::DEADLINE_EXCEEDED, "committed", {&info}));
  EXPECT_TRUE(error.is_committed_not_confirmed());
  EXPECT_FALSE(error.is_unreachable());
}

TEST(Error, NoAnswerIsUnreachable) {
  EXPECT_TRUE(error_of({grpc::StatusCode::UNAVAILABLE, ""}).is_unreachable());
  EXPECT_TRUE(error_of({grpc::StatusCode::DEADLINE_EXCEEDED, ""}).is_unreachable());
  EXPECT_FALSE(error_of({grpc::StatusCode::NOT_FOUND, ""}).is_unreachable());
}

TEST(Lines, SayNothingTwice) {
  Error error;
  error.message = "to: 'x' is no address (and 1 more)";
  error.violations = {{"to", "'x' is no address"}, {"from", "is missing"}};
  EXPECT_EQ(lines_of(error),
            (std::vector<std::string>{"to: 'x' is no address", "from: is missing"}));
  error.message = "a is taken";
  error.violations.clear();
  error.resources = {{"frontend", "a", "b", "a is taken"}};
  EXPECT_EQ(lines_of(error), (std::vector<std::string>{"a is taken", "frontend a is held by b"}));
}

TEST(Lines, NameTheCodeWhenThereIsNoMessage) {
  EXPECT_EQ(lines_of(error_of({grpc::StatusCode::NOT_FOUND, ""})),
            std::vector<std::string>{"NOT_FOUND"});
  EXPECT_EQ(name_of(grpc::StatusCode::UNAUTHENTICATED), "UNAUTHENTICATED");
}

}  // namespace
}  // namespace sluice::client
