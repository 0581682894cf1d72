// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/controlplane/kubernetes/fake_gateway.h"

#include "tests/support/rpc_status.h"

#include <algorithm>
#include <utility>

#include "google/rpc/error_details.pb.h"

namespace sluice::kubernetes {

void FakeGateway::set_verdict(Verdict verdict) {
  const std::lock_guard lock(mutex_);
  verdict_ = std::move(verdict);
}

void FakeGateway::set_confirms(bool confirms) {
  const std::lock_guard lock(mutex_);
  confirms_ = confirms;
}

void FakeGateway::set_away(bool away) {
  const std::lock_guard lock(mutex_);
  away_ = away;
}

void FakeGateway::set_answers_revisions(bool answers) {
  const std::lock_guard lock(mutex_);
  answers_revisions_ = answers;
}

void FakeGateway::set_hangs(bool hangs) {
  {
    const std::lock_guard lock(mutex_);
    hangs_ = hangs;
  }
  wake_.notify_all();
}

void FakeGateway::forget() {
  restart();
  const std::lock_guard lock(mutex_);
  services_.clear();
  revision_ = 0;
}

void FakeGateway::restart() {
  const std::lock_guard lock(mutex_);
  ++started_;
  ++routes_revision_;
  routes_.clear();
  reports_.clear();
}

void FakeGateway::set_old(bool old) {
  const std::lock_guard lock(mutex_);
  old_ = old;
}

void FakeGateway::set_destinations(std::vector<std::string> destinations) {
  const std::lock_guard lock(mutex_);
  destinations_ = std::move(destinations);
  ++routes_revision_;
}

void FakeGateway::set_refused_routes(std::vector<std::string> destinations) {
  const std::lock_guard lock(mutex_);
  refused_routes_ = std::move(destinations);
}

void FakeGateway::set_hears_of_routes(bool hears) {
  const std::lock_guard lock(mutex_);
  hears_of_routes_ = hears;
  ++routes_revision_;
}

void FakeGateway::set_routes_verdict(grpc::Status status) {
  const std::lock_guard lock(mutex_);
  routes_verdict_ = std::move(status);
}

void FakeGateway::set_reports_verdict(grpc::Status status) {
  const std::lock_guard lock(mutex_);
  reports_verdict_ = std::move(status);
}

void FakeGateway::put(const v1::Service& service) {
  const std::lock_guard lock(mutex_);
  services_[service.metadata().name()] = service;
  ++revision_;
}

std::map<std::string, std::string> FakeGateway::forms() const {
  const std::lock_guard lock(mutex_);
  std::map<std::string, std::string> forms;
  for (const auto& [name, service] : services_) {
    forms[name] = service.spec().ports(0).name();
  }
  return forms;
}

std::vector<v1::ApplyRequest> FakeGateway::applied() const {
  const std::lock_guard lock(mutex_);
  return applied_;
}

std::size_t FakeGateway::writes() const {
  const std::lock_guard lock(mutex_);
  return applied_.size();
}

std::size_t FakeGateway::polls() const {
  const std::lock_guard lock(mutex_);
  return polls_;
}

std::size_t FakeGateway::unanswered() const {
  const std::lock_guard lock(mutex_);
  return unanswered_;
}

std::vector<std::string> FakeGateway::routes() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> routes;
  for (const auto& [destination, gateway] : routes_) {
    routes.push_back(destination + " via " + gateway);
  }
  return routes;
}

std::map<std::string, std::string> FakeGateway::reports() const {
  const std::lock_guard lock(mutex_);
  return reports_;
}

std::size_t FakeGateway::calls(const std::string& method) const {
  const std::lock_guard lock(mutex_);
  const auto at = calls_.find(method);
  return at == calls_.end() ? 0 : at->second;
}

std::vector<std::string> FakeGateway::order() const {
  const std::lock_guard lock(mutex_);
  return order_;
}

std::vector<v1::ReportServicesRequest> FakeGateway::reported() const {
  const std::lock_guard lock(mutex_);
  return reported_;
}

// The lock is held.
void FakeGateway::note(const std::string& method) {
  ++calls_[method];
  if (order_.empty() || order_.back() != method) {
    order_.push_back(method);
  }
}

// The lock is held.
grpc::Status FakeGateway::answer(const std::string& method, const grpc::Status& verdict) {
  note(method);
  if (away_) {
    ++unanswered_;
    return {grpc::StatusCode::UNAVAILABLE, "nobody is there"};
  }
  return old_ ? grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "") : verdict;
}

grpc::Status FakeGateway::ListRoutes(grpc::ClientContext* /*context*/,
                                     const v1::ListRoutesRequest& request,
                                     v1::ListRoutesResponse* response) {
  const std::lock_guard lock(mutex_);
  if (auto status = answer("ListRoutes", routes_verdict_); !status.ok()) {
    return status;
  }
  response->set_revision(routes_revision_);
  if (request.known_revision() == routes_revision_) {
    return grpc::Status::OK;
  }
  for (const std::string& destination : destinations_) {
    response->add_destinations(destination);
  }
  for (const auto& [destination, gateway] : routes_) {
    if (hears_of_routes_) {
      response->add_destinations(destination);
    }
  }
  return grpc::Status::OK;
}

grpc::Status FakeGateway::SetRoutes(grpc::ClientContext* /*context*/,
                                    const v1::SetRoutesRequest& request,
                                    v1::SetRoutesResponse* response) {
  const std::lock_guard lock(mutex_);
  if (auto status = answer("SetRoutes", routes_verdict_); !status.ok()) {
    return status;
  }
  std::map<std::string, std::string> routes;
  for (const v1::ProviderRoute& route : request.routes()) {
    if (std::find(refused_routes_.begin(), refused_routes_.end(), route.destination()) !=
        refused_routes_.end()) {
      auto* refused = response->add_refused();
      *refused->mutable_route() = route;
      refused->set_reason(route.gateway() + " is on no link");
    } else if (!routes.emplace(route.destination(), route.gateway()).second) {
      return {grpc::StatusCode::INVALID_ARGUMENT, route.destination() + " is there twice"};
    }
  }
  if (routes != routes_) {
    routes_ = std::move(routes);
    ++routes_revision_;
  }
  return grpc::Status::OK;
}

grpc::Status FakeGateway::ReportServices(grpc::ClientContext* /*context*/,
                                         const v1::ReportServicesRequest& request,
                                         v1::ReportServicesResponse* /*response*/) {
  const std::lock_guard lock(mutex_);
  if (auto status = answer("ReportServices", reports_verdict_); !status.ok()) {
    return status;
  }
  reported_.push_back(request);
  if (request.replace()) {
    reports_.clear();
  }
  for (const v1::ServiceReport& report : request.reports()) {
    if (report.reason().empty()) {
      reports_.erase(report.name().name());
    } else {
      reports_[report.name().name()] = report.reason() + ": " + report.message();
    }
  }
  return grpc::Status::OK;
}

grpc::Status FakeGateway::GetStatus(grpc::ClientContext* /*context*/,
                                    const v1::GetStatusRequest& /*request*/,
                                    v1::GatewayStatus* response) {
  const std::lock_guard lock(mutex_);
  if (away_) {
    ++unanswered_;
    return {grpc::StatusCode::UNAVAILABLE, "nobody is there"};
  }
  ++calls_["GetStatus"];
  response->mutable_started()->set_seconds(started_);
  return grpc::Status::OK;
}

grpc::Status FakeGateway::Apply(grpc::ClientContext* context, const v1::ApplyRequest& request,
                                v1::ApplyResponse* response) {
  std::unique_lock lock(mutex_);
  note("Apply");
  if (away_) {
    ++unanswered_;
    return {grpc::StatusCode::UNAVAILABLE, "nobody is there"};
  }
  applied_.push_back(request);
  if (!wake_.wait_until(lock, context->deadline(), [this] { return !hangs_; })) {
    return {grpc::StatusCode::DEADLINE_EXCEEDED, "deadline exceeded"};
  }
  if (verdict_) {
    if (auto status = verdict_(request); !status.ok()) {
      return status;
    }
  }
  if (auto status = commit(request); !status.ok()) {
    return status;
  }
  response->set_revision(revision_);
  if (!confirms_) {
    google::rpc::ErrorInfo detail;
    detail.set_reason("COMMITTED_NOT_CONFIRMED");
    return status_of(grpc::StatusCode::DEADLINE_EXCEEDED, "lcore 1 has not confirmed", detail);
  }
  return grpc::Status::OK;
}

// All or nothing. The lock is held.
grpc::Status FakeGateway::commit(const v1::ApplyRequest& request) {
  if (request.has_expected_revision() && request.expected_revision() != revision_) {
    return {grpc::StatusCode::ABORTED, "the provider is at another revision"};
  }
  google::rpc::BadRequest absent;
  int place = 0;
  for (const v1::ServiceName& name : request.delete_()) {
    if (!services_.contains(name.name())) {
      absent.add_field_violations()->set_field("delete[" + std::to_string(place) + "]");
    }
    ++place;
  }
  if (absent.field_violations_size() > 0) {
    return status_of(grpc::StatusCode::NOT_FOUND, "there is no such service", absent);
  }
  if (request.replace()) {
    services_.clear();
  }
  for (const v1::ServiceName& name : request.delete_()) {
    services_.erase(name.name());
  }
  for (const v1::Service& service : request.upsert()) {
    services_[service.metadata().name()] = service;
  }
  ++revision_;
  return grpc::Status::OK;
}

void FakeGateway::remove(const std::string& name) {
  const std::lock_guard lock(mutex_);
  services_.erase(name);
  ++revision_;
}

grpc::Status FakeGateway::ListServices(grpc::ClientContext* /*context*/,
                                       const v1::ListServicesRequest& request,
                                       v1::ListServicesResponse* response) {
  const std::lock_guard lock(mutex_);
  if (away_) {
    ++unanswered_;
    return {grpc::StatusCode::UNAVAILABLE, "nobody is there"};
  }
  for (const auto& [name, service] : services_) {
    auto* entry = response->add_services();
    entry->set_provider(request.provider());
    *entry->mutable_service() = service;
  }
  return grpc::Status::OK;
}

grpc::Status FakeGateway::ListProviders(grpc::ClientContext* /*context*/,
                                        const v1::ListProvidersRequest& /*request*/,
                                        v1::ListProvidersResponse* response) {
  const std::lock_guard lock(mutex_);
  ++polls_;
  if (away_ || !answers_revisions_) {
    ++unanswered_;
    return {grpc::StatusCode::UNAVAILABLE, "nobody is there"};
  }
  auto* other = response->add_providers();
  other->set_name("cli");
  other->set_revision(7'000);
  if (revision_ > 0) {
    auto* own = response->add_providers();
    own->set_name("cluster-a");
    own->set_revision(revision_);
  }
  return grpc::Status::OK;
}

grpc::Status refuse(const v1::ApplyRequest& request, const std::vector<std::string>& names) {
  google::rpc::BadRequest detail;
  for (int i = 0; i < request.upsert_size(); ++i) {
    if (std::find(names.begin(), names.end(), request.upsert(i).metadata().name()) != names.end()) {
      auto* violation = detail.add_field_violations();
      violation->set_field("upsert[" + std::to_string(i) + "].spec.ports[0].port");
      violation->set_description("no port for " + request.upsert(i).metadata().name());
    }
  }
  if (detail.field_violations().empty()) {
    return grpc::Status::OK;
  }
  return status_of(grpc::StatusCode::INVALID_ARGUMENT, "some are refused", detail);
}

grpc::Status conflict(const v1::ApplyRequest& request, const std::string& name) {
  for (const v1::Service& service : request.upsert()) {
    if (service.metadata().name() == name) {
      google::rpc::ResourceInfo detail;
      detail.set_resource_type("frontend");
      detail.set_resource_name("203.0.113.10:80/TCP");
      detail.set_owner("cluster-b: default/web");
      return status_of(grpc::StatusCode::ALREADY_EXISTS, "a frontend is taken", detail);
    }
  }
  return grpc::Status::OK;
}

}  // namespace sluice::kubernetes
