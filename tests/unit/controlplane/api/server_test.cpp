// SPDX-License-Identifier: Apache-2.0
// The API as a client meets it: over the socket, by a plain gRPC channel, on a real dataplane.
#include "controlplane/api/server.h"

#include "tests/unit/controlplane/runtime/null_gateway.h"

#include <google/protobuf/empty.pb.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/client_unary_call.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <random>
#include <set>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "sluice/v1/gateway.grpc.pb.h"

namespace sluice::testing {
namespace {

using namespace std::chrono_literals;

std::string make_folder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "sluice-api-XXXXXX").string();
  return mkdtemp(pattern.data());
}

v1::Service message_of(const std::string& name, const std::string& vip) {
  v1::Service service;
  service.mutable_metadata()->set_name(name);
  service.mutable_spec()->set_type("LoadBalancer");
  service.mutable_spec()->add_load_balancer_ips(vip);
  service.mutable_spec()->add_ports()->set_port(80);
  service.mutable_spec()->add_endpoints()->add_addresses("192.0.2.9");
  return service;
}

class ServerTest : public ::testing::Test {
 protected:
  ~ServerTest() override {
    server_.reset();
    std::filesystem::remove_all(folder_);
  }

  grpc::Status apply(const v1::ApplyRequest& request, v1::ApplyResponse* response = nullptr) {
    grpc::ClientContext context;
    v1::ApplyResponse unused;
    return stub_->Apply(&context, request, response == nullptr ? &unused : response);
  }
  grpc::Status put(const v1::Service& service, const std::string& provider = "cli") {
    v1::ApplyRequest request;
    request.set_provider(provider);
    *request.add_upsert() = service;
    return apply(request);
  }
  grpc::Status report(const std::vector<std::array<std::string, 3>>& reports,
                      bool replace = false) const {
    v1::ReportServicesRequest request;
    request.set_provider("cli");
    request.set_replace(replace);
    for (const auto& [name, reason, message] : reports) {
      v1::ServiceReport& made = *request.add_reports();
      made.mutable_name()->set_name(name);
      made.set_reason(reason);
      made.set_message(message);
    }
    grpc::ClientContext context;
    v1::ReportServicesResponse response;
    return stub_->ReportServices(&context, request, &response);
  }
  v1::ListServicesResponse list(const std::string& space) const {
    v1::ListServicesRequest request;
    request.set_namespace_(space);
    grpc::ClientContext context;
    v1::ListServicesResponse response;
    EXPECT_TRUE(stub_->ListServices(&context, request, &response).ok());
    return response;
  }
  static std::multiset<std::string> fields_of(const grpc::Status& status) {
    google::rpc::Status details;
    google::rpc::BadRequest request;
    EXPECT_TRUE(details.ParseFromString(status.error_details()));
    std::multiset<std::string> fields;
    if (details.details_size() > 0 && details.details(0).UnpackTo(&request)) {
      for (const auto& violation : request.field_violations()) {
        fields.insert(violation.field());
      }
    }
    return fields;
  }
  int connect_raw() const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof(address.sun_path) - 1);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    return fd;
  }

  std::string folder_ = make_folder();
  std::string path_ = folder_ + "/sluice.sock";
  NullGateway gateway_;
  runtime::Inspector inspector_{null_dataplane()};
  runtime::BackendRoutes routes_;
  runtime::ServiceReports reports_;
  api::GatewayService service_{
      "edge", "1.2.3", {gateway_.reconciler, inspector_, routes_, reports_}, gateway_.config};
  std::unique_ptr<api::Server> server_ =
      std::make_unique<api::Server>(path_, model::TcpApiInput{}, service_);
  std::shared_ptr<grpc::Channel> channel_ =
      grpc::CreateChannel("unix:" + path_, grpc::InsecureChannelCredentials());
  std::unique_ptr<v1::Gateway::Stub> stub_ = v1::Gateway::NewStub(channel_);
};

TEST_F(ServerTest, TheSocketIsForOwnerAndGroup) {
  struct stat status {};
  ASSERT_EQ(stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0660U);
}

TEST_F(ServerTest, WhatWasAppliedIsReadBackWithItsStatus) {
  ASSERT_TRUE(put(message_of("web", "203.0.113.1")).ok());
  grpc::ClientContext context;
  v1::GetServiceRequest request;
  request.mutable_name()->set_name("web");
  v1::Service service;
  ASSERT_TRUE(stub_->GetService(&context, request, &service).ok());
  EXPECT_EQ(service.metadata().namespace_(), "default");
  EXPECT_FALSE(service.metadata().uid().empty());
  EXPECT_EQ(service.status().revision(), 1U);
  ASSERT_EQ(service.status().frontends_size(), 1);
  EXPECT_TRUE(service.status().frontends(0).served());
  EXPECT_TRUE(put(service).ok()) << "and can be written as it was read";
}

TEST_F(ServerTest, WhichWayAProviderDeliversIsKeptAndReturned) {
  v1::Service asked = message_of("web", "203.0.113.1");
  asked.mutable_spec()->mutable_forwarding()->set_delivery("node");
  asked.mutable_spec()->mutable_forwarding()->set_delivery_reason("no route to 10.1.0.7");
  ASSERT_TRUE(put(asked).ok());
  grpc::ClientContext context;
  v1::GetServiceRequest request;
  request.mutable_name()->set_name("web");
  v1::Service service;
  ASSERT_TRUE(stub_->GetService(&context, request, &service).ok());
  EXPECT_EQ(service.spec().forwarding().delivery(), "node");
  EXPECT_EQ(service.spec().forwarding().delivery_reason(), "no route to 10.1.0.7");
  asked.mutable_spec()->mutable_forwarding()->set_delivery("pigeon");
  asked.mutable_spec()->mutable_forwarding()->set_delivery_reason(std::string(1025, 'x'));
  EXPECT_EQ(fields_of(put(asked)),
            (std::multiset<std::string>{"upsert[0].spec.forwarding.delivery",
                                        "upsert[0].spec.forwarding.deliveryReason"}));
}

TEST_F(ServerTest, WhatAProviderReportsIsShownWithTheServicesServedOrNot) {
  ASSERT_TRUE(put(message_of("web", "203.0.113.1")).ok());
  ASSERT_TRUE(
      report({{"web", "NoRoute", "no route"}, {"shop", "AddressPending", "none is free"}}).ok());
  v1::ListServicesResponse all = list("");
  ASSERT_EQ(all.services_size(), 1);
  EXPECT_EQ(all.services(0).report().reason(), "NoRoute");
  ASSERT_EQ(all.unserved_size(), 1);
  EXPECT_EQ(all.unserved(0).provider(), "cli");
  EXPECT_EQ(all.unserved(0).service().metadata().name(), "shop");
  EXPECT_EQ(all.unserved(0).report().message(), "none is free");
  EXPECT_EQ(list("elsewhere").unserved_size(), 0);
  grpc::ClientContext context;
  v1::GetServiceRequest request;
  request.mutable_name()->set_name("shop");
  v1::Service service;
  EXPECT_EQ(stub_->GetService(&context, request, &service).error_message(),
            "there is no service default/shop; cli does not ask for it: none is free");
  ASSERT_TRUE(report({{"shop", "", ""}}).ok());
  EXPECT_EQ(list("").unserved_size(), 0) << "it has nothing to say of it any more";
  EXPECT_TRUE(list("").services(0).has_report());
  ASSERT_TRUE(report({}, true).ok());
  EXPECT_FALSE(list("").services(0).has_report());
}

TEST_F(ServerTest, AReportIsNamedAndBounded) {
  EXPECT_EQ(
      fields_of(report(
          {{"Not a name", "R", "m"}, {"web", std::string(129, 'R'), std::string(1025, 'm')}})),
      (std::multiset<std::string>{"reports[0].name", "reports[1].reason", "reports[1].message"}));
}

TEST_F(ServerTest, RoutesAreToldOnceUntilTheyChange) {
  grpc::ClientContext first;
  v1::ListRoutesResponse routes;
  ASSERT_TRUE(stub_->ListRoutes(&first, {}, &routes).ok());
  EXPECT_NE(routes.revision(), 0U);
  const std::vector<std::string> told(routes.destinations().begin(), routes.destinations().end());
  EXPECT_FALSE(told.empty()) << "the links of its ports";
  v1::ListRoutesRequest known;
  known.set_known_revision(routes.revision());
  grpc::ClientContext again;
  v1::ListRoutesResponse same;
  ASSERT_TRUE(stub_->ListRoutes(&again, known, &same).ok());
  EXPECT_EQ(same.revision(), routes.revision());
  EXPECT_TRUE(same.destinations().empty());
}

TEST_F(ServerTest, RoutesThatAreNoneAreNamedAllAtOnce) {
  v1::SetRoutesRequest request;
  const auto add = [&](const char* destination, const char* gateway) {
    request.add_routes()->set_destination(destination);
    request.mutable_routes()->rbegin()->set_gateway(gateway);
  };
  add("0.0.0.0/0", "192.0.2.1");
  add("10.1.0.0/24", "somewhere");
  add("10.2.0.0/24", "2001:db8::1");
  add("10.2.0.0/24", "192.0.2.1");
  grpc::ClientContext context;
  v1::SetRoutesResponse response;
  EXPECT_EQ(fields_of(stub_->SetRoutes(&context, request, &response)),
            (std::multiset<std::string>{"provider", "routes[0].destination", "routes[1].gateway",
                                        "routes[2].gateway", "routes[3].destination"}));
}

TEST_F(ServerTest, AFileFullOfMistakesYieldsThemAllAtOnceAndChangesNothing) {
  v1::ApplyRequest request;
  request.set_provider("cli");
  v1::Service& first = *request.add_upsert() = message_of("a", "203.0.113.1");
  v1::Service& second = *request.add_upsert() = message_of("b", "203.0.113.1");
  v1::Service& third = *request.add_upsert() = message_of("c", "203.0.113.300");
  first.GetReflection()->MutableUnknownFields(&first)->AddVarint(99, 1);
  second.mutable_spec()->mutable_endpoints(0)->set_weight(101);
  second.mutable_spec()->set_session_affinity("Cookie");
  third.mutable_spec()->mutable_ports(0)->set_port(0);
  *request.add_upsert() = message_of("d", "192.0.2.1");
  const grpc::Status status = apply(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(
      fields_of(status),
      (std::multiset<std::string>{
          "upsert[0].#99", "upsert[1].spec.endpoints[0].weight", "upsert[1].spec.sessionAffinity",
          "upsert[1].spec.ports[0].port",  // a's frontend
          "upsert[2].spec.loadBalancerIPs[0]", "upsert[2].spec.ports[0].port",
          "upsert[3].spec.loadBalancerIPs[0]"}));  // the host's address
  EXPECT_EQ(gateway_.reconciler.status().services, 0U);
}

TEST_F(ServerTest, AForwardedConnectionIsOpenedFirstAndForAPortThatThereIs) {
  ASSERT_TRUE(put(message_of("web", "203.0.113.1")).ok());
  const auto refused = [this](const v1::PortForwardRequest& first) {
    grpc::ClientContext context;
    const auto stream = stub_->PortForward(&context);
    stream->Write(first);
    v1::PortForwardResponse response;
    EXPECT_FALSE(stream->Read(&response));
    return stream->Finish();
  };
  v1::PortForwardRequest request;
  request.set_data("hello");
  EXPECT_EQ(fields_of(refused(request)), std::multiset<std::string>{"open"});
  request.mutable_open()->mutable_service()->set_name("web");
  EXPECT_EQ(fields_of(refused(request)), std::multiset<std::string>{"open.port"});
  request.mutable_open()->set_port(81);
  EXPECT_EQ(refused(request).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  request.mutable_open()->mutable_service()->set_name("nobody");
  EXPECT_EQ(refused(request).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(ServerTest, ARoleIsOneOfTwo) {
  const auto set = [this](const std::string& role) {
    grpc::ClientContext context;
    v1::SetRoleRequest request;
    v1::SetRoleResponse response;
    request.set_role(role);
    return stub_->SetRole(&context, request, &response);
  };
  EXPECT_EQ(fields_of(set("backup")), std::multiset<std::string>{"role"});
  EXPECT_TRUE(set("standby").ok());
  EXPECT_TRUE(gateway_.reconciler.status().standing.standby);
  EXPECT_TRUE(set("active").ok());
}

TEST_F(ServerTest, WhatIsNotBuiltYetIsUnimplementedByName) {
  v1::Service service = message_of("web", "203.0.113.1");
  service.mutable_spec()->set_health_check_node_port(30'000);
  const grpc::Status status = put(service);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(fields_of(status), std::multiset<std::string>{"upsert[0].spec.healthCheckNodePort"});
}

TEST_F(ServerTest, TheSecondHolderOfAFrontendHearsWhoTheFirstIs) {
  ASSERT_TRUE(put(message_of("web", "203.0.113.1"), "cluster").ok());
  const grpc::Status status = put(message_of("other", "203.0.113.1"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::ALREADY_EXISTS);
  google::rpc::Status details;
  google::rpc::ResourceInfo resource;
  ASSERT_TRUE(details.ParseFromString(status.error_details()));
  ASSERT_EQ(details.details_size(), 2);
  ASSERT_TRUE(details.details(1).UnpackTo(&resource));
  EXPECT_EQ(resource.owner(), "cluster: default/web");
}

TEST_F(ServerTest, AnotherRevisionThanExpectedAborts) {
  ASSERT_TRUE(put(message_of("web", "203.0.113.1")).ok());
  v1::ApplyRequest request;
  request.set_provider("cli");
  request.add_delete_()->set_name("web");
  request.set_expected_revision(7);
  EXPECT_EQ(apply(request).error_code(), grpc::StatusCode::ABORTED);
  request.set_expected_revision(1);
  v1::ApplyResponse response;
  ASSERT_TRUE(apply(request, &response).ok());
  EXPECT_EQ(response.deleted_size(), 1);
  EXPECT_EQ(response.revision(), 2U);
}

TEST_F(ServerTest, APlainClientGetsAsManyFaultsAsItCanHold) {
  v1::ApplyRequest request;
  request.set_provider("cli");
  for (int i = 0; i < 500; ++i) {
    *request.add_upsert() = message_of("Not A Name " + std::to_string(i), std::string(3'000, 'x'));
  }
  const grpc::Status status = apply(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << status.error_message();
  EXPECT_GT(fields_of(status).size(), 10U);
}

TEST_F(ServerTest, AWatchTellsTheListingThenEachChange) {
  ASSERT_TRUE(put(message_of("a", "203.0.113.1")).ok());
  grpc::ClientContext context;
  const auto reader = stub_->WatchServices(&context, v1::ListServicesRequest());
  const auto next = [&] {
    v1::ServiceEvent event;
    EXPECT_TRUE(reader->Read(&event));
    return v1::ServiceEvent::Type_Name(event.type()) + " " +
           event.entry().service().metadata().name();
  };
  EXPECT_EQ(next(), "ADDED a");
  EXPECT_EQ(next(), "SYNCED ");
  ASSERT_TRUE(put(message_of("b", "203.0.113.2")).ok());
  EXPECT_EQ(next(), "ADDED b");
  v1::Service changed = message_of("a", "203.0.113.1");
  changed.mutable_spec()->mutable_endpoints(0)->set_weight(9);
  ASSERT_TRUE(put(changed).ok());
  EXPECT_EQ(next(), "MODIFIED a");
  v1::ApplyRequest removal;
  removal.set_provider("cli");
  removal.add_delete_()->set_name("b");
  ASSERT_TRUE(apply(removal).ok());
  EXPECT_EQ(next(), "DELETED b");
  context.TryCancel();
}

TEST_F(ServerTest, AnOpenWatchDoesNotHoldTheServerUp) {
  grpc::ClientContext context;
  const auto reader = stub_->WatchServices(&context, v1::ListServicesRequest());
  v1::ServiceEvent event;
  ASSERT_TRUE(reader->Read(&event));
  const auto begin = std::chrono::steady_clock::now();
  server_.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 5s);
}

TEST_F(ServerTest, GarbageOnTheSocketHarmsNobodyElse) {
  std::mt19937 random(1);
  std::vector<int> peers;
  for (int i = 0; i < 100; ++i) {
    peers.push_back(connect_raw());
    std::string noise(random() % 4'096, '\0');
    for (char& c : noise) {
      c = static_cast<char>(random());
    }
    send(peers.back(), noise.data(), noise.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  }
  EXPECT_TRUE(put(message_of("web", "203.0.113.1")).ok());
  for (const int peer : peers) {
    close(peer);
  }
}

TEST_F(ServerTest, TheHealthServiceAnswersForTheWholeServer) {
  // An empty request asks for the whole server, status 1 is SERVING.
  grpc::internal::RpcMethod health("/grpc.health.v1.Health/Check",
                                   grpc::internal::RpcMethod::NORMAL_RPC, channel_);
  grpc::ClientContext context;
  google::protobuf::Empty request;
  google::protobuf::Empty response;
  const grpc::Status status =
      grpc::internal::BlockingUnaryCall<google::protobuf::Empty, google::protobuf::Empty,
                                        google::protobuf::MessageLite,
                                        google::protobuf::MessageLite>(
          channel_.get(), health, &context, request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  const auto& unknown = response.GetReflection()->GetUnknownFields(response);
  ASSERT_EQ(unknown.field_count(), 1);
  EXPECT_EQ(unknown.field(0).varint(), 1U);
}

TEST_F(ServerTest, QuestionsAreCheckedBeforeTheyAreAsked) {
  grpc::ClientContext flows_context;
  v1::ListFlowsRequest flows;
  flows.set_client("nobody");
  flows.set_limit(200'000);
  v1::ListFlowsResponse rows;
  EXPECT_EQ(fields_of(stub_->ListFlows(&flows_context, flows, &rows)),
            (std::multiset<std::string>{"client", "limit"}));
  grpc::ClientContext explain_context;
  v1::ExplainRequest explain;
  explain.set_source("192.0.2.7:1");
  explain.set_destination("2001:db8::1");
  explain.set_protocol("ICMP");
  explain.set_port("lan7");
  v1::ExplainResponse answer;
  EXPECT_EQ(fields_of(stub_->Explain(&explain_context, explain, &answer)),
            (std::multiset<std::string>{"destination", "port", "protocol"}));
}

TEST_F(ServerTest, FlowsAreDeletedByAFilterOrAllOfThemAndNotByChance) {
  const auto refused = [this](const v1::DeleteFlowsRequest& request) {
    grpc::ClientContext context;
    v1::DeleteFlowsResponse response;
    return fields_of(stub_->DeleteFlows(&context, request, &response));
  };
  v1::DeleteFlowsRequest request;
  EXPECT_EQ(refused(request), (std::multiset<std::string>{"all"}));
  request.set_all(true);
  request.set_state("asleep");
  EXPECT_EQ(refused(request), (std::multiset<std::string>{"all", "state"}));
  request.set_all(false);
  request.set_state("quarantine");
  request.set_client("me");
  EXPECT_EQ(refused(request), (std::multiset<std::string>{"client", "state"}));
  v1::DeleteFlowsRequest nobodys;
  nobodys.mutable_service()->set_name("nobody");
  grpc::ClientContext context;
  v1::DeleteFlowsResponse response;
  ASSERT_TRUE(stub_->DeleteFlows(&context, nobodys, &response).ok());
  EXPECT_EQ(response.deleted(), 0U);
}

TEST_F(ServerTest, ExplainNamesTheServiceANewFlowWouldGetTo) {
  ASSERT_TRUE(put(message_of("web", "203.0.113.1")).ok());
  grpc::ClientContext context;
  v1::ExplainRequest request;
  request.set_source("192.0.2.7:1234");
  request.set_destination("203.0.113.1:80");
  v1::ExplainResponse answer;
  ASSERT_TRUE(stub_->Explain(&context, request, &answer).ok());
  EXPECT_EQ(answer.service().name(), "web");
  EXPECT_EQ(answer.backend(), "192.0.2.9:80");
  EXPECT_FALSE(answer.live_flow());
}

TEST_F(ServerTest, StatusPortsAndDropsAreThoseOfTheDataplane) {
  grpc::ClientContext status_context;
  v1::GatewayStatus status;
  ASSERT_TRUE(stub_->GetStatus(&status_context, {}, &status).ok());
  EXPECT_EQ(status.name(), "edge");
  EXPECT_EQ(status.version(), "1.2.3");
  EXPECT_EQ(status.lcores_size(), 1);
  grpc::ClientContext ports_context;
  v1::ListPortsResponse ports;
  ASSERT_TRUE(stub_->ListPorts(&ports_context, {}, &ports).ok());
  ASSERT_EQ(ports.ports_size(), 1);
  EXPECT_EQ(ports.ports(0).name(), "wan0");
  grpc::ClientContext drops_context;
  v1::ListDropsResponse drops;
  ASSERT_TRUE(stub_->ListDrops(&drops_context, {}, &drops).ok());
  EXPECT_GT(drops.drops_size(), 10);
}

}  // namespace
}  // namespace sluice::testing
