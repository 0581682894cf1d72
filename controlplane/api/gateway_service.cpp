// SPDX-License-Identifier: Apache-2.0
#include "controlplane/api/gateway_service.h"

#include "controlplane/api/convert.h"
#include "controlplane/api/error.h"
#include "controlplane/model/validate.h"

#include <ctime>
#include <map>

namespace sluice::api {
namespace {

// A watch holds a thread of the server.
constexpr int kWatchesMax = 16;
constexpr auto kWatchInterval = std::chrono::milliseconds(100);

grpc::Status not_found(const model::ServiceName& name) {
  return to_status(
      {.code = model::Code::kNotFound, .message = "there is no service " + model::to_string(name)});
}

void check_unknown(const google::protobuf::Message& message, model::Faults& faults) {
  for (const std::string& path : unknown_fields(message)) {
    faults.add(path, "a field that this version does not know");
  }
}

}  // namespace

GatewayService::GatewayService(std::string name, std::string version,
                               runtime::Reconciler& reconciler, runtime::Inspector& inspector,
                               const model::Config& config)
    : name_(std::move(name)),
      version_(std::move(version)),
      reconciler_(reconciler),
      inspector_(inspector),
      config_(config),
      started_seconds_(std::time(nullptr)) {}

grpc::Status GatewayService::Apply(grpc::ServerContext* /*context*/,
                                   const v1::ApplyRequest* request, v1::ApplyResponse* response) {
  model::Faults faults;
  check_unknown(*request, faults);
  model::Transaction transaction;
  transaction.provider = request->provider();
  transaction.replace = request->replace();
  transaction.dry_run = request->dry_run();
  if (request->has_expected_revision()) {
    transaction.expected_revision = request->expected_revision();
  }
  for (int i = 0; i < request->upsert_size(); ++i) {
    transaction.upsert.push_back(
        model::validate(to_input(request->upsert(i)), "upsert[" + std::to_string(i) + "]", faults));
  }
  for (const v1::ServiceName& name : request->delete_()) {
    transaction.remove.push_back(to_name(name));
  }
  if (!faults.empty()) {
    return to_status(faults.to_error());
  }
  const auto applied = reconciler_.apply(std::move(transaction));
  if (!applied) {
    return to_status(applied.error());
  }
  response->set_revision(applied->revision);
  response->set_epoch(applied->epoch);
  response->set_publish_ns(applied->publish_ns);
  for (const model::Service& service : applied->plan.created) {
    fill(service.name, *response->add_created());
  }
  for (const model::Service& service : applied->plan.changed) {
    fill(service.name, *response->add_changed());
  }
  for (const model::ServiceName& name : applied->plan.unchanged) {
    fill(name, *response->add_unchanged());
  }
  for (const model::ServiceName& name : applied->plan.removed) {
    fill(name, *response->add_deleted());
  }
  return grpc::Status::OK;
}

grpc::Status GatewayService::GetService(grpc::ServerContext* /*context*/,
                                        const v1::GetServiceRequest* request,
                                        v1::Service* response) {
  const model::ServiceName name = to_name(request->name());
  const auto view = reconciler_.service(request->provider(), name);
  if (!view) {
    return not_found(name);
  }
  fill(*view, *response);
  return grpc::Status::OK;
}

grpc::Status GatewayService::ListServices(grpc::ServerContext* /*context*/,
                                          const v1::ListServicesRequest* request,
                                          v1::ListServicesResponse* response) {
  for (const auto& view : reconciler_.services(request->provider(), request->namespace_())) {
    fill(view, *response->add_services());
  }
  return grpc::Status::OK;
}

// A listing after each change, compared with the one before: a storm of changes is folded into what
// is true at the end of it. Counters alone are no change.
grpc::Status GatewayService::WatchServices(grpc::ServerContext* context,
                                           const v1::ListServicesRequest* request,
                                           grpc::ServerWriter<v1::ServiceEvent>* writer) {
  struct Leave {
    std::atomic<int>& count;
    ~Leave() { --count; }
  } leave{watches_};
  if (++watches_ > kWatchesMax) {
    return to_status({.code = model::Code::kResourceExhausted,
                      .message = "16 watches are open already; close one"});
  }
  using Key = std::pair<std::string, model::ServiceName>;
  std::map<Key, v1::ServiceEvent> told;
  std::uint64_t seen = reconciler_.wait_for_change(UINT64_MAX, std::chrono::milliseconds(0));
  bool first = true;
  while (!context->IsCancelled() && !stopping_) {
    std::map<Key, v1::ServiceEvent> now;
    for (const auto& view : reconciler_.services(request->provider(), request->namespace_())) {
      fill(view, *now[{view.provider, view.service.name}].mutable_entry());
    }
    bool open = true;
    for (auto& [key, event] : told) {
      if (!now.contains(key)) {
        event.set_type(v1::ServiceEvent::DELETED);
        open = open && writer->Write(event);
      }
    }
    for (auto& [key, event] : now) {
      const auto before = told.find(key);
      const v1::Service& service = event.entry().service();
      if (before != told.end() &&
          before->second.entry().service().metadata().uid() == service.metadata().uid() &&
          before->second.entry().service().status().epoch() == service.status().epoch()) {
        continue;
      }
      event.set_type(before == told.end() ? v1::ServiceEvent::ADDED : v1::ServiceEvent::MODIFIED);
      open = open && writer->Write(event);
    }
    told = std::move(now);
    if (std::exchange(first, false)) {
      v1::ServiceEvent synced;
      synced.set_type(v1::ServiceEvent::SYNCED);
      open = open && writer->Write(synced);
    }
    if (!open) {
      break;
    }
    const std::uint64_t before = seen;
    while (seen == before && !context->IsCancelled() && !stopping_) {
      seen = reconciler_.wait_for_change(before, kWatchInterval);
    }
  }
  return grpc::Status::OK;
}

grpc::Status GatewayService::ListProviders(grpc::ServerContext* /*context*/,
                                           const v1::ListProvidersRequest* /*request*/,
                                           v1::ListProvidersResponse* response) {
  for (const auto& view : reconciler_.providers()) {
    v1::Provider& provider = *response->add_providers();
    provider.set_name(view.name);
    provider.set_revision(view.revision);
    provider.set_services(view.services);
  }
  return grpc::Status::OK;
}

grpc::Status GatewayService::ListBackends(grpc::ServerContext* /*context*/,
                                          const v1::ListBackendsRequest* request,
                                          v1::ListBackendsResponse* response) {
  const v1::ServiceName& name = request->service();
  if (!name.name().empty()) {
    const auto view = reconciler_.service(request->provider(), to_name(name));
    if (!view) {
      return not_found(to_name(name));
    }
    fill(*view, *response);
    return grpc::Status::OK;
  }
  for (const auto& view : reconciler_.services(request->provider(), name.namespace_())) {
    fill(view, *response);
  }
  return grpc::Status::OK;
}

}  // namespace sluice::api
