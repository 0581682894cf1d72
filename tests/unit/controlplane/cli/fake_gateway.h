// SPDX-License-Identifier: Apache-2.0
// A gateway that answers what a test tells it to, on a Unix socket of its own.
#pragma once

#include <grpcpp/grpcpp.h>

#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "sluice/v1/gateway.grpc.pb.h"

namespace sluice::cli {

struct Ran {
  int code = 0;
  std::string out;
  std::string err;
};

class FakeGateway final : public v1::Gateway::Service {
 public:
  FakeGateway();
  ~FakeGateway() override;

  // Answers, set before the command runs.
  v1::ApplyResponse apply_response;
  grpc::Status apply_status;
  v1::ListServicesResponse services;
  v1::ListBackendsResponse backends;
  v1::ListPortsResponse ports;
  v1::ListFlowsResponse flows;
  v1::DeleteFlowsResponse deleted_flows;
  v1::ListDropsResponse drops;
  v1::ListProvidersResponse providers;
  v1::ListAddressPoolsResponse pools;
  v1::GatewayStatus gateway_status;
  v1::ExplainResponse explanation;
  std::vector<v1::ServiceEvent> events;

  // What was asked.
  std::vector<v1::ApplyRequest> applied;
  v1::ListServicesRequest services_request;
  v1::ListBackendsRequest backends_request;
  v1::ListFlowsRequest flows_request;
  v1::DeleteFlowsRequest delete_flows_request;
  v1::ExplainRequest explain_request;

  // Runs sluicectl against this gateway.
  Ran run(std::vector<std::string> words) const;
  [[nodiscard]] std::string address() const { return "unix:" + (folder_ / "socket").string(); }
  // A file that lives as long as the gateway.
  std::string write(const std::string& name, const std::string& text) const;
  void stop();

  grpc::Status Apply(grpc::ServerContext*, const v1::ApplyRequest*, v1::ApplyResponse*) override;
  grpc::Status GetService(grpc::ServerContext*, const v1::GetServiceRequest*,
                          v1::Service*) override;
  grpc::Status ListServices(grpc::ServerContext*, const v1::ListServicesRequest*,
                            v1::ListServicesResponse*) override;
  grpc::Status WatchServices(grpc::ServerContext*, const v1::ListServicesRequest*,
                             grpc::ServerWriter<v1::ServiceEvent>*) override;
  grpc::Status ListProviders(grpc::ServerContext*, const v1::ListProvidersRequest*,
                             v1::ListProvidersResponse*) override;
  grpc::Status ListAddressPools(grpc::ServerContext*, const v1::ListAddressPoolsRequest*,
                                v1::ListAddressPoolsResponse*) override;
  grpc::Status ListBackends(grpc::ServerContext*, const v1::ListBackendsRequest*,
                            v1::ListBackendsResponse*) override;
  grpc::Status ListPorts(grpc::ServerContext*, const v1::ListPortsRequest*,
                         v1::ListPortsResponse*) override;
  grpc::Status ListFlows(grpc::ServerContext*, const v1::ListFlowsRequest*,
                         v1::ListFlowsResponse*) override;
  grpc::Status DeleteFlows(grpc::ServerContext*, const v1::DeleteFlowsRequest*,
                           v1::DeleteFlowsResponse*) override;
  grpc::Status ListDrops(grpc::ServerContext*, const v1::ListDropsRequest*,
                         v1::ListDropsResponse*) override;
  grpc::Status GetStatus(grpc::ServerContext*, const v1::GetStatusRequest*,
                         v1::GatewayStatus*) override;
  grpc::Status Explain(grpc::ServerContext*, const v1::ExplainRequest*,
                       v1::ExplainResponse*) override;

 private:
  std::filesystem::path folder_;
  std::unique_ptr<grpc::Server> server_;
};

// A status with google.rpc details.
grpc::Status refusal(grpc::StatusCode code, const std::string& message,
                     const std::vector<std::pair<std::string, std::string>>& violations);
grpc::Status committed_not_confirmed();
grpc::Status held_by_another();

// "apiVersion ... name: NAME" and `rest`.
std::string manifest_of(const std::string& name, const std::string& rest = "");

}  // namespace sluice::cli
