// SPDX-License-Identifier: Apache-2.0
// All that a sender's gateway is to have, whatever it has.
#include "controlplane/kubernetes/gateway_sender.h"

namespace sluice::kubernetes {
namespace {

// A gateway takes a message of 64 MiB.
constexpr std::size_t kReplaceBytesMax = std::size_t{60} << 20;

}  // namespace

// The whole provider in one transaction: what is not in it is gone afterwards.
GatewaySender::Outcome GatewaySender::send_all() {
  polled_ = std::chrono::steady_clock::now();
  if (!link_.ask_revision()) {
    return Outcome::kLost;  // before all is translated for nobody
  }
  ask_announces();
  routing_.start_over();
  if (!routing_.set(wanted_.routes(), wanted_.decides()) || !routing_.ask()) {
    return Outcome::kLost;
  }
  routes_ = routing_.routes();
  has_.clear();
  refused_.clear();
  revision_.reset();
  compare_at_.reset();
  reports_.start_over();
  takes_reports_ = true;
  report_at_ = {};
  if (replace_provider(wanted_.names()) == Outcome::kLost) {
    return Outcome::kLost;
  }
  link_.reached();
  return Outcome::kDone;
}

GatewaySender::Outcome GatewaySender::replace_provider(const std::vector<ServiceName>& names) {
  std::optional<client::Error> error;
  if (is_replaced(names, error)) {
    return Outcome::kDone;
  }
  if (error && !is_about_services(*error)) {
    link_.lost(*error);
    return Outcome::kLost;
  }
  // In parts: a service that is refused stays there as it was, instead of being swept away.
  if (delete_unwanted(names) == Outcome::kLost) {
    return Outcome::kLost;
  }
  if (send(Names(names.begin(), names.end())) == Outcome::kLost) {
    return Outcome::kLost;
  }
  return revision_ ? Outcome::kDone : write_nothing();
}

// All of it is refused. That it has been sent is to be seen all the same, by whoever waits for it.
GatewaySender::Outcome GatewaySender::write_nothing() {
  v1::ApplyRequest nothing;
  if (const auto error = apply(nothing)) {
    link_.lost(*error);
    return Outcome::kLost;
  }
  return Outcome::kDone;
}

// False without an error: it is too much for one message, or it is time to stop.
bool GatewaySender::is_replaced(const std::vector<ServiceName>& names,
                                std::optional<client::Error>& error) {
  Batch all;
  for (const ServiceName& name : names) {
    add(name, all);
    if (all.bytes > kReplaceBytesMax || link_.is_stopped()) {
      return false;
    }
  }
  v1::ApplyRequest request;
  request.set_replace(true);
  for (Batch::Upsert& upsert : all.upserts) {
    request.add_upsert()->Swap(&upsert.service);
  }
  error = apply(request);
  if (error) {
    return false;
  }
  for (std::size_t i = 0; i < all.upserts.size(); ++i) {
    all.upserts[i].service.Swap(request.mutable_upsert(static_cast<int>(i)));
  }
  {
    const std::lock_guard lock(mutex_);
    ++counts_.replaces;
    counts_.upserts += all.upserts.size();
  }
  settle(all, true);
  return true;
}

// What is there and not wanted; and notes what is there in a form that is not known.
GatewaySender::Outcome GatewaySender::delete_unwanted(const std::vector<ServiceName>& names) {
  v1::ListServicesRequest request;
  request.set_provider(settings_.provider);
  v1::ListServicesResponse response;
  const grpc::Status status =
      link_.call(&GatewayLink::Gateway::ListServices, settings_.deadline, request, response);
  if (!status.ok()) {
    link_.lost(client::error_of(status));
    return Outcome::kLost;
  }
  const Names wanted(names.begin(), names.end());
  Batch batch;
  std::vector<Sent> there;
  for (const v1::ServiceEntry& entry : response.services()) {
    const auto& meta = entry.service().metadata();
    const ServiceName name{meta.namespace_(), meta.name()};
    if (!wanted.contains(name) || !wanted_now(name).service) {
      batch.gone.push_back(name);
    } else {
      has_[name] = 0;  // no service's print
      const auto& vips = entry.service().spec().load_balancer_ips();
      there.push_back({.name = name, .served = true, .vips = {vips.begin(), vips.end()}});
    }
  }
  if (!batch.empty() && write(std::move(batch)) == Outcome::kLost) {
    return Outcome::kLost;
  }
  report_(there, true);
  return Outcome::kDone;
}

}  // namespace sluice::kubernetes
