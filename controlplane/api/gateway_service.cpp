// SPDX-License-Identifier: Apache-2.0
#include "controlplane/api/gateway_service.h"

#include "controlplane/api/convert.h"
#include "controlplane/api/error.h"
#include "controlplane/model/validate.h"

#include <chrono>
#include <ctime>
#include <map>
#include <set>

namespace sluice::api {
namespace {

// A watch holds a thread of the server.
constexpr int kWatchesMax = 16;
constexpr auto kWatchInterval = std::chrono::milliseconds(100);

// Before the client gives up, so that it hears what became of its write.
runtime::Reconciler::Clock::time_point answer_by(const grpc::ServerContext& context) {
  constexpr auto kLongest = std::chrono::hours(1);
  const auto left = std::min<std::chrono::system_clock::duration>(
      kLongest, context.deadline() - std::chrono::system_clock::now());
  return runtime::Reconciler::Clock::now() +
         std::chrono::duration_cast<std::chrono::microseconds>(left) * 3 / 4;
}

grpc::Status not_found(const model::ServiceName& name, const std::string& provider,
                       const runtime::ServiceReports& reports) {
  std::string message = "there is no service " + model::to_string(name);
  for (const auto& [key, report] : reports.of(provider, name.space)) {
    if (key.second == name) {
      message += "; " + key.first + " does not ask for it: " + report.message;
    }
  }
  return to_status({.code = model::Code::kNotFound, .message = message});
}

// Of a provider, or of a namespace.
template <typename Message>
void set_use(const model::Use& use, const model::Quota& quota,
             const std::optional<QuotaLimits>& traffic, Message& message) {
  message.set_services(use.services);
  message.set_addresses(use.addresses);
  message.set_frontends(use.frontends);
  if (traffic) {
    message.set_flows(traffic->flows);
    message.set_snat_ports(traffic->snat_ports);
  }
  if (quota != model::Quota{}) {
    message.mutable_quota()->set_services(quota.services);
    message.mutable_quota()->set_addresses(quota.addresses);
    message.mutable_quota()->set_frontends(quota.frontends);
    message.mutable_quota()->set_flows(quota.traffic.flows);
    message.mutable_quota()->set_snat_ports(quota.traffic.snat_ports);
  }
}

}  // namespace

GatewayService::GatewayService(std::string name, std::string version, const Parts& parts,
                               const model::Config& config)
    : name_(std::move(name)),
      version_(std::move(version)),
      reconciler_(parts.reconciler),
      inspector_(parts.inspector),
      routes_(parts.routes),
      reports_(parts.reports),
      config_(config),
      ranges_(config.providers),
      started_seconds_(std::time(nullptr)) {}

grpc::Status GatewayService::Apply(grpc::ServerContext* context, const v1::ApplyRequest* request,
                                   v1::ApplyResponse* response) {
  const auto received = std::chrono::steady_clock::now();
  model::Faults faults;
  check_unknown(*request, faults);
  model::Transaction transaction;
  transaction.provider = request->provider();
  transaction.replace = request->replace();
  transaction.dry_run = request->dry_run();
  transaction.create = request->create();
  if (request->has_expected_revision()) {
    transaction.expected_revision = request->expected_revision();
  }
  transaction.upsert.reserve(static_cast<std::size_t>(request->upsert_size()));
  transaction.claimed.reserve(static_cast<std::size_t>(request->upsert_size()));
  for (int i = 0; i < request->upsert_size(); ++i) {
    const v1::Service& service = request->upsert(i);
    transaction.upsert.push_back(
        model::validate(to_input(service), "upsert[" + std::to_string(i) + "]", faults));
    transaction.claimed.push_back(to_identity(service.metadata()));
  }
  for (const v1::ServiceName& name : request->delete_()) {
    transaction.remove.push_back(to_name(name));
  }
  if (!faults.empty()) {
    add_faults_together(std::move(transaction), faults);
    return to_status(faults.to_error());
  }
  const auto applied = reconciler_.apply(std::move(transaction), answer_by(*context), received);
  if (!applied) {
    return to_status(applied.error());
  }
  response->set_revision(applied->revision);
  response->set_epoch(applied->epoch);
  response->set_publish_ns(applied->publish_ns);
  for (const model::Brought& service : applied->plan.created) {
    fill(service.name, *response->add_created());
  }
  for (const model::Brought& service : applied->plan.changed) {
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

// Services that are faulty by themselves may also clash with one another, with the host or with
// what is there: all of it belongs into one answer.
void GatewayService::add_faults_together(model::Transaction transaction, model::Faults& faults) {
  transaction.dry_run = true;
  transaction.expected_revision.reset();
  const auto planned = reconciler_.apply(std::move(transaction));
  if (!planned) {
    for (const model::Fault& fault : planned.error().faults) {
      faults.invalid.push_back(fault);
    }
  }
}

grpc::Status GatewayService::GetService(grpc::ServerContext* /*context*/,
                                        const v1::GetServiceRequest* request,
                                        v1::Service* response) {
  const model::ServiceName name = to_name(request->name());
  const auto view = reconciler_.service(request->provider(), name);
  if (!view) {
    return not_found(name, request->provider(), reports_);
  }
  fill(*view, *response);
  return grpc::Status::OK;
}

grpc::Status GatewayService::ListServices(grpc::ServerContext* /*context*/,
                                          const v1::ListServicesRequest* request,
                                          v1::ListServicesResponse* response) {
  auto reports = reports_.of(request->provider(), request->namespace_());
  for (const auto& view : reconciler_.services(request->provider(), request->namespace_())) {
    v1::ServiceEntry& entry = *response->add_services();
    fill(view, entry);
    if (const auto report = reports.extract({view.provider, view.service.name})) {
      fill(report.mapped(), *entry.mutable_report());
    }
  }
  for (const auto& [key, report] : reports) {
    v1::ServiceEntry& entry = *response->add_unserved();
    entry.set_provider(key.first);
    entry.mutable_service()->mutable_metadata()->set_namespace_(report.name.space);
    entry.mutable_service()->mutable_metadata()->set_name(report.name.name);
    fill(report, *entry.mutable_report());
  }
  return grpc::Status::OK;
}

namespace {

// What one watcher has been told, and the stream to tell it more.
class Watch {
 public:
  explicit Watch(grpc::ServerWriter<v1::ServiceEvent>& writer) : writer_(writer) {}

  // False when nobody listens any more.
  bool tell(const runtime::ServiceChanges& changes) {
    std::set<Key> gone(changes.removed.begin(), changes.removed.end());
    if (changes.all) {
      for (const auto& [key, event] : told_) {
        gone.insert(key);
      }
      for (const auto& view : changes.services) {
        gone.erase({view.provider, view.service.name});
      }
    }
    for (const Key& key : gone) {
      if (auto event = told_.extract(key)) {
        send(event.mapped(), v1::ServiceEvent::DELETED);
      }
    }
    for (const auto& view : changes.services) {
      tell(view);
    }
    return open_;
  }

  void tell_synced() {
    v1::ServiceEvent event;
    send(event, v1::ServiceEvent::SYNCED);
  }

 private:
  using Key = std::pair<std::string, model::ServiceName>;

  void tell(const runtime::ServiceView& view) {
    const auto [at, fresh] = told_.try_emplace({view.provider, view.service.name});
    v1::ServiceEvent& kept = at->second;
    if (!fresh && kept.entry().service().status().epoch() == view.epoch) {
      return;
    }
    v1::ServiceEvent event;
    fill(view, *event.mutable_entry());
    send(event, fresh ? v1::ServiceEvent::ADDED : v1::ServiceEvent::MODIFIED);
    // Endpoints are most of a service, and of one that is deleted nobody asks for them.
    v1::Service& service = *event.mutable_entry()->mutable_service();
    service.mutable_spec()->clear_endpoints();
    service.mutable_status()->clear_endpoints();
    kept = event;  // moved, it would keep the memory of what was cleared
  }

  void send(v1::ServiceEvent& event, v1::ServiceEvent::Type type) {
    event.set_type(type);
    open_ = open_ && writer_.Write(event);
  }

  grpc::ServerWriter<v1::ServiceEvent>& writer_;
  std::map<Key, v1::ServiceEvent> told_;  // as it was last, without endpoints
  bool open_ = true;
};

}  // namespace

// A storm of changes is folded into what is true at the end of it. Counters alone are no change.
grpc::Status GatewayService::WatchServices(grpc::ServerContext* context,
                                           const v1::ListServicesRequest* request,
                                           grpc::ServerWriter<v1::ServiceEvent>* writer) {
  const Place place(watches_);
  if (!place.is_among(kWatchesMax)) {
    return to_status({.code = model::Code::kResourceExhausted,
                      .message = "16 watches are open already; close one"});
  }
  Watch watch(*writer);
  std::uint64_t seen = 0;
  bool synced = false;
  while (!context->IsCancelled() && !stopping_) {
    const auto changes =
        reconciler_.changes_since(seen, request->provider(), request->namespace_());
    if (!watch.tell(changes)) {
      break;
    }
    if (!std::exchange(synced, true)) {
      watch.tell_synced();
    }
    seen = changes.sequence;
    std::uint64_t now = seen;
    while (now == seen && !context->IsCancelled() && !stopping_) {
      now = reconciler_.wait_for_change(seen, kWatchInterval);
    }
  }
  if (stopping_) {
    return to_status(
        {.code = model::Code::kUnavailable, .message = "the gateway is shutting down"});
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
    set_use(view.use, view.quota, view.traffic, provider);
    for (const auto& space : view.namespaces) {
      v1::NamespaceUse& use = *provider.add_namespaces();
      use.set_namespace_(space.name);
      set_use(space.use, space.quota, space.traffic, use);
    }
  }
  return grpc::Status::OK;
}

grpc::Status GatewayService::ListAddressPools(grpc::ServerContext* /*context*/,
                                              const v1::ListAddressPoolsRequest* /*request*/,
                                              v1::ListAddressPoolsResponse* response) {
  for (const auto& view : reconciler_.pools()) {
    v1::AddressPoolStatus& pool = *response->add_pools();
    pool.set_name(view.pool.name);
    for (const model::AddressRange& range : view.pool.ranges) {
      pool.add_addresses(to_string(range));
    }
    pool.set_auto_assign(view.pool.auto_assign);
    pool.set_in_use(view.in_use);
    pool.set_avoid_buggy_ips(view.pool.avoid_buggy_ips);
    pool.mutable_providers()->Add(view.pool.providers.begin(), view.pool.providers.end());
    pool.mutable_namespaces()->Add(view.pool.namespaces.begin(), view.pool.namespaces.end());
    pool.mutable_service_selector()->insert(view.pool.service_selector.begin(),
                                            view.pool.service_selector.end());
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
      return not_found(to_name(name), request->provider(), reports_);
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
