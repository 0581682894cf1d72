// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/runtime/inspector.h"
#include "controlplane/runtime/reconciler.h"

#include <atomic>
#include <chrono>
#include <optional>
#include <string>

#include "sluice/v1/gateway.grpc.pb.h"

namespace sluice::api {

// The handlers: each turns a message into values, asks the reconciler or the inspector, and turns
// the answer into a message. They run on gRPC's threads and keep no state.
class GatewayService final : public v1::Gateway::Service {
 public:
  // Both outlive this. `version`: of the program.
  GatewayService(std::string name, std::string version, runtime::Reconciler& reconciler,
                 runtime::Inspector& inspector, const model::Config& config);
  // Ends all watches; they would keep the server from shutting down.
  void stop() { stopping_ = true; }

  grpc::Status Apply(grpc::ServerContext* context, const v1::ApplyRequest* request,
                     v1::ApplyResponse* response) override;
  grpc::Status GetService(grpc::ServerContext* context, const v1::GetServiceRequest* request,
                          v1::Service* response) override;
  grpc::Status ListServices(grpc::ServerContext* context, const v1::ListServicesRequest* request,
                            v1::ListServicesResponse* response) override;
  grpc::Status WatchServices(grpc::ServerContext* context, const v1::ListServicesRequest* request,
                             grpc::ServerWriter<v1::ServiceEvent>* writer) override;
  grpc::Status ListProviders(grpc::ServerContext* context, const v1::ListProvidersRequest* request,
                             v1::ListProvidersResponse* response) override;
  grpc::Status ListAddressPools(grpc::ServerContext* context,
                                const v1::ListAddressPoolsRequest* request,
                                v1::ListAddressPoolsResponse* response) override;
  grpc::Status ListBackends(grpc::ServerContext* context, const v1::ListBackendsRequest* request,
                            v1::ListBackendsResponse* response) override;
  grpc::Status ListPorts(grpc::ServerContext* context, const v1::ListPortsRequest* request,
                         v1::ListPortsResponse* response) override;
  grpc::Status ListFlows(grpc::ServerContext* context, const v1::ListFlowsRequest* request,
                         v1::ListFlowsResponse* response) override;
  grpc::Status DeleteFlows(grpc::ServerContext* context, const v1::DeleteFlowsRequest* request,
                           v1::DeleteFlowsResponse* response) override;
  grpc::Status ListDrops(grpc::ServerContext* context, const v1::ListDropsRequest* request,
                         v1::ListDropsResponse* response) override;
  grpc::Status GetStatus(grpc::ServerContext* context, const v1::GetStatusRequest* request,
                         v1::GatewayStatus* response) override;
  grpc::Status Explain(grpc::ServerContext* context, const v1::ExplainRequest* request,
                       v1::ExplainResponse* response) override;

 private:
  std::optional<FlowFilter> service_filter(const std::string& provider,
                                           const v1::ServiceName& service, FlowFilter filter);
  void add_faults_together(model::Transaction transaction, model::Faults& faults);

  std::string name_;
  std::string version_;
  runtime::Reconciler& reconciler_;
  runtime::Inspector& inspector_;
  const model::Config& config_;
  std::int64_t started_seconds_;
  std::atomic<int> watches_{0};
  std::atomic<bool> stopping_{false};
};

}  // namespace sluice::api
