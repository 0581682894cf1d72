// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/gateway_link.h"

#include <spdlog/spdlog.h>

#include <utility>

namespace sluice::kubernetes {

GatewayLink::GatewayLink(std::string gateway, std::string provider, std::shared_ptr<Gateway> stub)
    : gateway_(std::move(gateway)), provider_(std::move(provider)), stub_(std::move(stub)) {}

void GatewayLink::stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    if (calling_ != nullptr) {
      calling_->TryCancel();
    }
  }
  wake_.notify_all();
}

bool GatewayLink::pause(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  return !wake_.wait_for(lock, time, [this] { return stop_; });
}

bool GatewayLink::is_stopped() const {
  const std::lock_guard lock(mutex_);
  return stop_;
}

std::optional<std::uint64_t> GatewayLink::ask_revision() {
  v1::ListProvidersResponse response;
  const grpc::Status status =
      call(&Gateway::ListProviders, kAskDeadline, v1::ListProvidersRequest{}, response);
  if (!status.ok()) {
    lost(client::error_of(status));
    return std::nullopt;
  }
  for (const v1::Provider& provider : response.providers()) {
    if (provider.name() == provider_) {
      return provider.revision();
    }
  }
  return 0;
}

bool GatewayLink::ask_announces() {
  v1::GatewayStatus response;
  return call(&Gateway::GetStatus, kAskDeadline, v1::GetStatusRequest{}, response).ok() &&
         response.role() != "standby" && !response.draining();
}

std::optional<std::int64_t> GatewayLink::ask_started() {
  v1::GatewayStatus response;
  if (!call(&Gateway::GetStatus, kAskDeadline, v1::GetStatusRequest{}, response).ok()) {
    return std::nullopt;
  }
  return response.started().seconds() * 1'000'000'000 + response.started().nanos();
}

void GatewayLink::lost(const client::Error& error) {
  const std::string why = client::name_of(error.code) + ": " + error.message;
  if (why != said_ && error.code != grpc::StatusCode::CANCELLED) {
    spdlog::warn("{}: {}; all is sent again once it answers", gateway_, why);
    said_ = why;
  }
}

void GatewayLink::reached() {
  if (!said_.empty()) {
    spdlog::info("{}: reached again, in step", gateway_);
    said_.clear();
  }
}

}  // namespace sluice::kubernetes
