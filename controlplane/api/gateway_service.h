// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/model/backend_ranges.h"
#include "controlplane/runtime/backend_routes.h"
#include "controlplane/runtime/inspector.h"
#include "controlplane/runtime/reconciler.h"
#include "controlplane/runtime/service_reports.h"

#include <atomic>
#include <chrono>
#include <optional>
#include <string>

#include "sluice/v1/gateway.grpc.pb.h"

namespace sluice::api {

// One of so many places, for as long as this lives.
class Place {
 public:
  explicit Place(std::atomic<int>& taken) : taken_(taken), number_(++taken) {}
  ~Place() { --taken_; }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  [[nodiscard]] bool is_among(int most) const { return number_ <= most; }

 private:
  std::atomic<int>& taken_;
  int number_;
};

// The handlers: each turns a message into values, asks the reconciler or the inspector, and turns
// the answer into a message. They run on gRPC's threads and keep no state.
class GatewayService final : public v1::Gateway::Service {
 public:
  // What they ask; all of it outlives this.
  struct Parts {
    runtime::Reconciler& reconciler;
    runtime::Inspector& inspector;
    runtime::BackendRoutes& routes;
    runtime::ServiceReports& reports;
  };
  // `version`: of the program. `config` outlives this.
  GatewayService(std::string name, std::string version, const Parts& parts,
                 const model::Config& config);
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
  grpc::Status ListRoutes(grpc::ServerContext* context, const v1::ListRoutesRequest* request,
                          v1::ListRoutesResponse* response) override;
  grpc::Status SetRoutes(grpc::ServerContext* context, const v1::SetRoutesRequest* request,
                         v1::SetRoutesResponse* response) override;
  grpc::Status ReportServices(grpc::ServerContext* context,
                              const v1::ReportServicesRequest* request,
                              v1::ReportServicesResponse* response) override;
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
  grpc::Status ListEvents(grpc::ServerContext* context, const v1::ListEventsRequest* request,
                          v1::ListEventsResponse* response) override;
  grpc::Status SetRole(grpc::ServerContext* context, const v1::SetRoleRequest* request,
                       v1::SetRoleResponse* response) override;
  grpc::Status Drain(grpc::ServerContext* context, const v1::DrainRequest* request,
                     v1::DrainResponse* response) override;
  grpc::Status Undrain(grpc::ServerContext* context, const v1::UndrainRequest* request,
                       v1::UndrainResponse* response) override;
  grpc::Status PortForward(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<v1::PortForwardResponse, v1::PortForwardRequest>* stream) override;
  grpc::Status Explain(grpc::ServerContext* context, const v1::ExplainRequest* request,
                       v1::ExplainResponse* response) override;

 private:
  std::optional<FlowFilter> service_filter(const std::string& provider,
                                           const v1::ServiceName& service, FlowFilter filter);
  model::Result<SocketAddress> vip_of(const v1::PortForwardOpen& open, std::uint16_t port);
  void add_faults_together(model::Transaction transaction, model::Faults& faults);

  std::string name_;
  std::string version_;
  runtime::Reconciler& reconciler_;
  runtime::Inspector& inspector_;
  runtime::BackendRoutes& routes_;
  runtime::ServiceReports& reports_;
  const model::Config& config_;
  const model::BackendRanges ranges_;
  std::int64_t started_seconds_;
  std::atomic<int> watches_{0};
  std::atomic<int> forwards_{0};
  std::atomic<bool> stopping_{false};
};

}  // namespace sluice::api
