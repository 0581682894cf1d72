// SPDX-License-Identifier: Apache-2.0
// What other threads ask the reconciler: each question is a closure that runs on its thread between
// batches, so that nothing is ever read while it changes.
#include "controlplane/runtime/reconciler.h"
#include "dataplane/net/headers.h"

#include <algorithm>
#include <random>
#include <tuple>

namespace sluice::runtime {
namespace {

FlowTotals totals_of(const FlowCounters& counters) {
  return {counters.flows_opened.get(), counters.flows_closed.get(), counters.packets_in.get(),
          counters.bytes_in.get(),     counters.packets_out.get(),  counters.bytes_out.get(),
          counters.drops.get()};
}

std::uint64_t percentile(std::vector<std::uint64_t> values, unsigned percent) {
  if (values.empty()) {
    return 0;
  }
  std::sort(values.begin(), values.end());
  return values[(values.size() - 1) * percent / 100];
}

}  // namespace

FlowTotals& FlowTotals::operator+=(const FlowTotals& other) {
  flows_opened += other.flows_opened;
  flows_closed += other.flows_closed;
  packets_in += other.packets_in;
  bytes_in += other.bytes_in;
  packets_out += other.packets_out;
  bytes_out += other.bytes_out;
  drops += other.drops;
  return *this;
}

FlowTotals FlowTotals::since(const FlowTotals& before) const {
  const auto minus = [](std::uint64_t now, std::uint64_t then) {
    return now > then ? now - then : 0;
  };
  return {minus(flows_opened, before.flows_opened),
          minus(flows_closed, before.flows_closed),
          minus(packets_in, before.packets_in),
          minus(bytes_in, before.bytes_in),
          minus(packets_out, before.packets_out),
          minus(bytes_out, before.bytes_out),
          minus(drops, before.drops)};
}

// The question outlives its asker: when the reconciler stops, the answer is a default one.
template <typename Answer>
Answer Reconciler::ask(std::function<Answer()> question) {
  auto task = std::make_shared<std::packaged_task<Answer()>>(std::move(question));
  std::future<Answer> answer = task->get_future();
  if (mailbox_.post([task] { (*task)(); }) != Mailbox::Posted::kTaken) {
    return Answer{};
  }
  task.reset();
  try {
    return answer.get();
  } catch (const std::future_error&) {
    return Answer{};
  }
}

model::Result<Applied> Reconciler::apply(model::Transaction transaction, Clock::time_point deadline,
                                         Clock::time_point received) {
  PendingWrite write{
      std::move(transaction), {}, std::min(deadline, Clock::now() + kDeadline), received};
  std::future<model::Result<Applied>> answer = write.answer.get_future();
  const model::Error stopping{.code = model::Code::kUnavailable,
                              .message = "the gateway is shutting down"};
  switch (mailbox_.post(write)) {
    case Mailbox::Posted::kFull:
      return model::Error{.code = model::Code::kResourceExhausted,
                          .message = "too many writes are waiting; try again"};
    case Mailbox::Posted::kStopped:
      return stopping;
    case Mailbox::Posted::kTaken:
      break;
  }
  try {
    return answer.get();
  } catch (const std::future_error&) {
    return stopping;
  }
}

FlowTotals Reconciler::port_counts(std::uint32_t id) const {
  FlowTotals sum;
  for (const auto& lcore : dataplane_.counters()) {
    sum += totals_of(lcore->services[id]);
  }
  return sum;
}

FlowTotals Reconciler::binding_counts(std::uint32_t slot) const {
  FlowTotals sum;
  for (const auto& lcore : dataplane_.counters()) {
    sum += totals_of(lcore->bindings[slot]);
  }
  return sum;
}

FlowTotals Reconciler::port_totals(std::uint32_t id) const {
  const auto before = port_baselines_.find(id);
  const FlowTotals now = port_counts(id);
  return before == port_baselines_.end() ? now : now.since(before->second);
}

FlowTotals Reconciler::binding_totals(std::uint32_t slot) const {
  const auto before = binding_baselines_.find(slot);
  const FlowTotals now = binding_counts(slot);
  return before == binding_baselines_.end() ? now : now.since(before->second);
}

ServiceView Reconciler::view(const std::string& provider,
                             const model::Desired::Stored& stored) const {
  ServiceView view;
  view.provider = provider;
  view.service = stored.service;
  view.revision = stored.revision;
  const auto record = records_.find({provider, stored.service.name});
  if (record != records_.end()) {
    view.uid = record->second.uid;
    view.created_seconds = record->second.created_seconds;
    view.epoch = record->second.epoch;
  }
  const model::CompiledService* compiled = compiler_.find(provider, stored.service.name);
  if (compiled == nullptr) {
    return view;
  }
  for (const model::CompiledPort& port : compiled->ports) {
    PortView made{port.name, port.family, port.key, port.port->maglev != nullptr, {}};
    for (const model::CompiledEndpoint& endpoint : port.endpoints) {
      made.endpoints.push_back(
          {endpoint, endpoint.slot == 0 ? FlowTotals{} : binding_totals(endpoint.slot)});
    }
    view.totals += port_totals(port.id);
    view.ports.push_back(std::move(made));
  }
  return view;
}

std::vector<ServiceView> Reconciler::services(const std::string& provider,
                                              const std::string& space) {
  return ask<std::vector<ServiceView>>([this, provider, space] {
    std::vector<ServiceView> views;
    for (const auto& [name, state] : desired_.providers()) {
      for (const auto& [service, stored] : state.services) {
        if ((provider.empty() || provider == name) && (space.empty() || space == service.space)) {
          views.push_back(view(name, stored));
        }
      }
    }
    std::sort(views.begin(), views.end(), [](const ServiceView& a, const ServiceView& b) {
      return std::tie(a.provider, a.service.name) < std::tie(b.provider, b.service.name);
    });
    return views;
  });
}

ServiceChanges Reconciler::changes_since(std::uint64_t seen, const std::string& provider,
                                         const std::string& space) {
  return ask<ServiceChanges>([this, seen, provider, space] {
    const auto matches = [&](const ChangeLog::Key& key) {
      return (provider.empty() || provider == key.first) &&
             (space.empty() || space == key.second.space);
    };
    ChangeLog::Since since = change_log_.since(seen);
    ServiceChanges changes;
    changes.sequence = change_log_.sequence();
    changes.all = since.all;
    if (since.all) {
      for (const auto& [key, record] : records_) {
        since.changed.push_back(key);
      }
      std::sort(since.changed.begin(), since.changed.end());
    }
    for (const ChangeLog::Key& key : since.changed) {
      if (const auto* stored = matches(key) ? desired_.find(key.first, key.second) : nullptr) {
        changes.services.push_back(view(key.first, *stored));
      }
    }
    std::copy_if(since.removed.begin(), since.removed.end(), std::back_inserter(changes.removed),
                 matches);
    return changes;
  });
}

std::optional<ServiceView> Reconciler::service(const std::string& provider,
                                               const model::ServiceName& name) {
  return ask<std::optional<ServiceView>>([this, provider, name]() -> std::optional<ServiceView> {
    for (const auto& [holder, state] : desired_.providers()) {
      const auto stored = state.services.find(name);
      if ((provider.empty() || provider == holder) && stored != state.services.end()) {
        return view(holder, stored->second);
      }
    }
    return std::nullopt;
  });
}

std::vector<ProviderView> Reconciler::providers() {
  return ask<std::vector<ProviderView>>([this] {
    std::map<std::string, ProviderView> views;
    const model::Quotas& quotas = desired_.quotas();
    for (const auto& [name, state] : desired_.providers()) {
      views[name] = {.name = name, .revision = state.revision, .use = quotas.use(name)};
    }
    // Those with terms are shown before they have written anything.
    for (const model::ProviderTerms& terms : config_.providers) {
      ProviderView& view = views[terms.name];
      view.name = terms.name;
      view.quota = terms.quota;
      view.traffic = dataplane_.quota_use(traffic_quotas_.of(terms.name, {}).provider);
      for (const auto& [space, quota] : terms.namespace_quotas) {
        view.namespaces.push_back(
            {space, quotas.use(terms.name, space), quota,
             dataplane_.quota_use(traffic_quotas_.of(terms.name, space).space)});
      }
    }
    std::vector<ProviderView> all;
    for (auto& [name, view] : views) {
      all.push_back(std::move(view));
    }
    return all;
  });
}

std::vector<PoolView> Reconciler::pools() {
  return ask<std::vector<PoolView>>([this] {
    const model::Allocator& allocator = desired_.allocator();
    std::vector<PoolView> views;
    for (std::size_t i = 0; i < allocator.pools().size(); ++i) {
      views.push_back({allocator.pools()[i], allocator.used(i)});
    }
    return views;
  });
}

StatusView Reconciler::status() {
  return ask<StatusView>([this] {
    StatusView view;
    view.standing = standing_;
    view.address_conflicts = address_conflicts_;
    view.epoch = published_->epoch;
    view.services = desired_.services();
    view.backends = compiler_.backends().size();
    view.next_hops = topology_.next_hops();
    view.routes = published_->routes->size();
    view.publish_p50_ns = percentile(latencies_ns_, 50);
    view.publish_p99_ns = percentile(latencies_ns_, 99);
    view.publish_max_ns = percentile(latencies_ns_, 100);
    view.stalled = stalled_;
    return view;
  });
}

std::vector<Event> Reconciler::events(const std::string& provider,
                                      const model::ServiceName& service) {
  return ask<std::vector<Event>>([this, provider, service] {
    std::vector<Event> events = events_.events();
    std::erase_if(events, [&](const Event& event) {
      return (!provider.empty() && event.provider != provider) ||
             (!service.space.empty() && event.service.space != service.space) ||
             (!service.name.empty() && event.service.name != service.name);
    });
    return events;
  });
}

model::Result<SocketAddress> Reconciler::pick_backend(const std::string& provider,
                                                      const model::ServiceName& name,
                                                      std::uint16_t port) {
  using Picked = std::optional<model::Result<SocketAddress>>;
  const Picked picked = ask<Picked>([this, provider, name, port]() -> Picked {
    for (const auto& [holder, state] : desired_.providers()) {
      if ((provider.empty() || provider == holder) && state.services.contains(name)) {
        return pick_backend_of(*compiler_.find(holder, name), to_string(name), port);
      }
    }
    return model::Error{.code = model::Code::kNotFound,
                        .message = "there is no service " + to_string(name)};
  });
  return picked.value_or(
      model::Error{.code = model::Code::kUnavailable, .message = "the gateway is shutting down"});
}

model::Result<SocketAddress> Reconciler::pick_backend_of(const model::CompiledService& service,
                                                         const std::string& name,
                                                         std::uint16_t port) {
  bool known = false;
  for (const model::CompiledPort& each : service.ports) {
    if (each.key != PortKey{port, kProtocolTcp}) {
      continue;
    }
    known = true;
    if (each.port->maglev != nullptr) {
      static std::mt19937_64 random{std::random_device{}()};
      const model::CompiledEndpoint& endpoint = each.endpoints[each.port->maglev->pick(random())];
      return SocketAddress{endpoint.address, endpoint.port};
    }
  }
  if (!known) {
    return model::Error{.message = "service " + name + " has no TCP port " + std::to_string(port)};
  }
  return model::Error{
      .code = model::Code::kFailedPrecondition,
      .message = "no endpoint of service " + name + " is usable on port " + std::to_string(port)};
}

DestinationsView Reconciler::destinations(std::uint64_t known) {
  return ask<DestinationsView>([this, known] {
    std::vector<IpPrefix> present = topology_.destinations();
    if (present != destinations_.destinations) {
      destinations_ = {destinations_.revision + 1, std::move(present)};
    }
    return known == destinations_.revision ? DestinationsView{known, {}} : destinations_;
  });
}

bool Reconciler::set_standby(bool standby) {
  return ask<bool>([this, standby] {
    change_standing({standby, standing_.draining});
    return true;
  });
}

bool Reconciler::set_draining(bool draining) {
  return ask<bool>([this, draining] {
    change_standing({standing_.standby, draining});
    return true;
  });
}

std::map<std::uint32_t, OwnerView> Reconciler::owners_of(
    const std::vector<std::uint32_t>& service_ports) {
  return ask<std::map<std::uint32_t, OwnerView>>([this, service_ports] {
    std::map<std::uint32_t, OwnerView> owners;
    for (const std::uint32_t id : service_ports) {
      if (const auto* owner = compiler_.owner_of(id)) {
        owners[id] = {owner->provider, owner->name, owner->port};
      }
    }
    return owners;
  });
}

std::vector<bool> Reconciler::service_ports(const std::string& provider,
                                            const model::ServiceName& name) {
  return ask<std::vector<bool>>([this, provider, name] {
    std::vector<bool> ids;
    for (const auto& [id, owner] : compiler_.owners()) {
      if ((provider.empty() || provider == owner.provider) &&
          (name.space.empty() || name.space == owner.name.space) &&
          (name.name.empty() || name.name == owner.name.name)) {
        ids.resize(std::max<std::size_t>(ids.size(), id + 1));
        ids[id] = true;
      }
    }
    return ids;
  });
}

std::uint64_t Reconciler::wait_for_change(std::uint64_t seen, std::chrono::milliseconds patience) {
  std::unique_lock lock(change_mutex_);
  changed_.wait_for(lock, patience, [&] { return changes_ != seen; });
  return changes_;
}

}  // namespace sluice::runtime
