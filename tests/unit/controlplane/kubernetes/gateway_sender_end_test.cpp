// SPDX-License-Identifier: Apache-2.0
#include "controlplane/client/channel.h"
#include "controlplane/kubernetes/gateway_sender.h"
#include "tests/unit/controlplane/kubernetes/temporary_folder.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace sluice::kubernetes {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Answers who asks, and no write as long as the writer waits.
class HangingGateway final : public v1::Gateway::Service {
 public:
  std::atomic<bool> is_asked{false};

  grpc::Status Apply(grpc::ServerContext* context, const v1::ApplyRequest* /*request*/,
                     v1::ApplyResponse* /*response*/) override {
    is_asked = true;
    while (!context->IsCancelled()) {
      std::this_thread::sleep_for(milliseconds(1));
    }
    return grpc::Status::CANCELLED;
  }
  grpc::Status ListProviders(grpc::ServerContext* /*context*/,
                             const v1::ListProvidersRequest* /*request*/,
                             v1::ListProvidersResponse* /*response*/) override {
    return grpc::Status::OK;
  }
};

TEST(GatewaySenderEnd, AGatewayThatHangsHoldsNobodyUp) {
  const TemporaryFolder folder;
  const std::string address = "unix:" + folder.path("socket");
  HangingGateway gateway;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials());
  builder.RegisterService(&gateway);
  const auto server = builder.BuildAndStart();
  auto sender = std::make_unique<GatewaySender>(
      SenderSettings{.gateway = address, .provider = "cluster-a"},
      v1::Gateway::NewStub(client::connect(address).channel),
      Wanted{[] { return true; }, [] { return std::vector<ServiceName>{}; },
             [](const ServiceName&, const GatewayRoutes*) { return WantedService{}; }},
      [](const std::vector<Sent>&, bool) {});
  const auto end = steady_clock::now() + std::chrono::seconds(20);
  while (!gateway.is_asked && steady_clock::now() < end) {
    std::this_thread::sleep_for(milliseconds(1));
  }
  ASSERT_TRUE(gateway.is_asked);
  const auto begin = steady_clock::now();
  sender.reset();
  EXPECT_LT(steady_clock::now() - begin, std::chrono::seconds(2));
}

}  // namespace
}  // namespace sluice::kubernetes
