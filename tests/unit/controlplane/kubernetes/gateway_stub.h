// SPDX-License-Identifier: Apache-2.0
// A gateway's stub without a network: every call is UNIMPLEMENTED until somebody overrides it.
#pragma once

#include "sluice/v1/gateway.grpc.pb.h"

namespace sluice::kubernetes {

class GatewayStub : public v1::Gateway::StubInterface {
 private:
  template <typename Message>
  using Reader = grpc::ClientAsyncResponseReaderInterface<Message>;
  using Forward = v1::PortForwardRequest;
  using Forwarded = v1::PortForwardResponse;

// NOLINTBEGIN(bugprone-macro-parentheses)
#define SLUICE_UNARY(Call, Request, Response)                                             \
 public:                                                                                  \
  grpc::Status Call(grpc::ClientContext*, const v1::Request&, v1::Response*) override {   \
    return {grpc::StatusCode::UNIMPLEMENTED, #Call};                                      \
  }                                                                                       \
                                                                                          \
 private:                                                                                 \
  Reader<v1::Response>* Async##Call##Raw(grpc::ClientContext*, const v1::Request&,        \
                                         grpc::CompletionQueue*) override {               \
    return nullptr;                                                                       \
  }                                                                                       \
  Reader<v1::Response>* PrepareAsync##Call##Raw(grpc::ClientContext*, const v1::Request&, \
                                                grpc::CompletionQueue*) override {        \
    return nullptr;                                                                       \
  }
  // NOLINTEND(bugprone-macro-parentheses)

  SLUICE_UNARY(Apply, ApplyRequest, ApplyResponse)
  SLUICE_UNARY(GetService, GetServiceRequest, Service)
  SLUICE_UNARY(ListServices, ListServicesRequest, ListServicesResponse)
  SLUICE_UNARY(ListProviders, ListProvidersRequest, ListProvidersResponse)
  SLUICE_UNARY(ListAddressPools, ListAddressPoolsRequest, ListAddressPoolsResponse)
  SLUICE_UNARY(ListRoutes, ListRoutesRequest, ListRoutesResponse)
  SLUICE_UNARY(SetRoutes, SetRoutesRequest, SetRoutesResponse)
  SLUICE_UNARY(ReportServices, ReportServicesRequest, ReportServicesResponse)
  SLUICE_UNARY(ListBackends, ListBackendsRequest, ListBackendsResponse)
  SLUICE_UNARY(ListPorts, ListPortsRequest, ListPortsResponse)
  SLUICE_UNARY(ListFlows, ListFlowsRequest, ListFlowsResponse)
  SLUICE_UNARY(DeleteFlows, DeleteFlowsRequest, DeleteFlowsResponse)
  SLUICE_UNARY(ListDrops, ListDropsRequest, ListDropsResponse)
  SLUICE_UNARY(GetStatus, GetStatusRequest, GatewayStatus)
  SLUICE_UNARY(ListEvents, ListEventsRequest, ListEventsResponse)
  SLUICE_UNARY(SetRole, SetRoleRequest, SetRoleResponse)
  SLUICE_UNARY(Drain, DrainRequest, DrainResponse)
  SLUICE_UNARY(Undrain, UndrainRequest, UndrainResponse)
  SLUICE_UNARY(Explain, ExplainRequest, ExplainResponse)
#undef SLUICE_UNARY

  grpc::ClientReaderInterface<v1::ServiceEvent>* WatchServicesRaw(
      grpc::ClientContext*, const v1::ListServicesRequest&) override {
    return nullptr;
  }
  grpc::ClientAsyncReaderInterface<v1::ServiceEvent>* AsyncWatchServicesRaw(
      grpc::ClientContext*, const v1::ListServicesRequest&, grpc::CompletionQueue*,
      void*) override {
    return nullptr;
  }
  grpc::ClientAsyncReaderInterface<v1::ServiceEvent>* PrepareAsyncWatchServicesRaw(
      grpc::ClientContext*, const v1::ListServicesRequest&, grpc::CompletionQueue*) override {
    return nullptr;
  }
  grpc::ClientReaderWriterInterface<Forward, Forwarded>* PortForwardRaw(
      grpc::ClientContext*) override {
    return nullptr;
  }
  grpc::ClientAsyncReaderWriterInterface<Forward, Forwarded>* AsyncPortForwardRaw(
      grpc::ClientContext*, grpc::CompletionQueue*, void*) override {
    return nullptr;
  }
  grpc::ClientAsyncReaderWriterInterface<Forward, Forwarded>* PrepareAsyncPortForwardRaw(
      grpc::ClientContext*, grpc::CompletionQueue*) override {
    return nullptr;
  }
};

}  // namespace sluice::kubernetes
