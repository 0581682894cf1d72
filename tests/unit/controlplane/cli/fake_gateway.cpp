// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/controlplane/cli/fake_gateway.h"

#include "controlplane/cli/session.h"
#include "tests/support/rpc_status.h"

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "google/rpc/error_details.pb.h"

namespace sluice::cli {

FakeGateway::FakeGateway() {
  std::string pattern = std::filesystem::temp_directory_path() / "sluice-cli-XXXXXX";
  folder_ = ::mkdtemp(pattern.data());
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address(), grpc::InsecureServerCredentials());
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
}

FakeGateway::~FakeGateway() {
  stop();
  std::filesystem::remove_all(folder_);
}

void FakeGateway::stop() {
  server_->Shutdown(std::chrono::system_clock::now());
}

Ran FakeGateway::run(std::vector<std::string> words) const {
  words.insert(words.begin(), {"--server", address()});
  std::ostringstream out;
  std::ostringstream err;
  Ran ran;
  ran.code = cli::run(words, out, err);
  ran.out = out.str();
  ran.err = err.str();
  return ran;
}

std::string FakeGateway::write(const std::string& name, const std::string& text) const {
  const std::filesystem::path file = folder_ / name;
  std::ofstream(file) << text;
  return file;
}

grpc::Status FakeGateway::Apply(grpc::ServerContext* /*context*/, const v1::ApplyRequest* request,
                                v1::ApplyResponse* response) {
  applied.push_back(*request);
  *response = apply_response;
  return apply_status;
}

grpc::Status FakeGateway::GetService(grpc::ServerContext* /*context*/,
                                     const v1::GetServiceRequest* request, v1::Service* response) {
  for (const auto& entry : services.services()) {
    if (entry.service().metadata().name() == request->name().name()) {
      *response = entry.service();
      return grpc::Status::OK;
    }
  }
  return {grpc::StatusCode::NOT_FOUND, "there is no service 'default/absent'"};
}

grpc::Status FakeGateway::ListServices(grpc::ServerContext* /*context*/,
                                       const v1::ListServicesRequest* request,
                                       v1::ListServicesResponse* response) {
  services_request = *request;
  *response = services;
  return grpc::Status::OK;
}

grpc::Status FakeGateway::WatchServices(grpc::ServerContext* /*context*/,
                                        const v1::ListServicesRequest* /*request*/,
                                        grpc::ServerWriter<v1::ServiceEvent>* writer) {
  for (const auto& event : events) {
    writer->Write(event);
  }
  return grpc::Status::OK;
}

grpc::Status FakeGateway::ListProviders(grpc::ServerContext* /*context*/,
                                        const v1::ListProvidersRequest* /*request*/,
                                        v1::ListProvidersResponse* response) {
  *response = providers;
  return grpc::Status::OK;
}

grpc::Status FakeGateway::ListAddressPools(grpc::ServerContext* /*context*/,
                                           const v1::ListAddressPoolsRequest* /*request*/,
                                           v1::ListAddressPoolsResponse* response) {
  *response = pools;
  return grpc::Status::OK;
}

grpc::Status FakeGateway::ListBackends(grpc::ServerContext* /*context*/,
                                       const v1::ListBackendsRequest* request,
                                       v1::ListBackendsResponse* response) {
  backends_request = *request;
  *response = backends;
  return grpc::Status::OK;
}

grpc::Status FakeGateway::ListPorts(grpc::ServerContext* /*context*/,
                                    const v1::ListPortsRequest* /*request*/,
                                    v1::ListPortsResponse* response) {
  *response = ports;
  return grpc::Status::OK;
}

grpc::Status FakeGateway::ListFlows(grpc::ServerContext* /*context*/,
                                    const v1::ListFlowsRequest* request,
                                    v1::ListFlowsResponse* response) {
  flows_request = *request;
  *response = flows;
  return grpc::Status::OK;
}

grpc::Status FakeGateway::DeleteFlows(grpc::ServerContext* /*context*/,
                                      const v1::DeleteFlowsRequest* request,
                                      v1::DeleteFlowsResponse* response) {
  delete_flows_request = *request;
  *response = deleted_flows;
  return grpc::Status::OK;
}

grpc::Status FakeGateway::ListDrops(grpc::ServerContext* /*context*/,
                                    const v1::ListDropsRequest* /*request*/,
                                    v1::ListDropsResponse* response) {
  *response = drops;
  return grpc::Status::OK;
}

grpc::Status FakeGateway::GetStatus(grpc::ServerContext* /*context*/,
                                    const v1::GetStatusRequest* /*request*/,
                                    v1::GatewayStatus* response) {
  *response = gateway_status;
  return grpc::Status::OK;
}

grpc::Status FakeGateway::Explain(grpc::ServerContext* /*context*/,
                                  const v1::ExplainRequest* request,
                                  v1::ExplainResponse* response) {
  explain_request = *request;
  *response = explanation;
  return grpc::Status::OK;
}

grpc::Status refusal(grpc::StatusCode code, const std::string& message,
                     const std::vector<std::pair<std::string, std::string>>& violations) {
  google::rpc::BadRequest detail;
  for (const auto& [field, description] : violations) {
    auto* violation = detail.add_field_violations();
    violation->set_field(field);
    violation->set_description(description);
  }
  return status_of(code, message, detail);
}

grpc::Status committed_not_confirmed() {
  google::rpc::ErrorInfo detail;
  detail.set_reason("COMMITTED_NOT_CONFIRMED");
  detail.set_domain("sluice.dev");
  return status_of(grpc::StatusCode::DEADLINE_EXCEEDED, "committed, lcore 1 not confirmed", detail);
}

grpc::Status held_by_another() {
  google::rpc::ResourceInfo detail;
  detail.set_resource_type("frontend");
  detail.set_resource_name("203.0.113.10:80/TCP");
  detail.set_owner("cluster-a: default/web");
  return status_of(grpc::StatusCode::ALREADY_EXISTS, "a frontend is taken", detail);
}

std::string manifest_of(const std::string& name, const std::string& rest) {
  return "apiVersion: v1\nkind: Service\nmetadata:\n  name: " + name + "\n" + rest;
}

}  // namespace sluice::cli
