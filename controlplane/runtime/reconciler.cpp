// SPDX-License-Identifier: Apache-2.0
#include "controlplane/runtime/reconciler.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <ctime>
#include <random>

namespace sluice::runtime {
namespace {

constexpr auto kIdlePatience = std::chrono::milliseconds(200);
constexpr auto kConfirmPatience = std::chrono::microseconds(50);
// A few turns of a busy lcore; a sleep with a timer takes longer.
constexpr auto kGlance = std::chrono::microseconds(100);
constexpr auto kHeldPatience = std::chrono::microseconds(1'000);
constexpr auto kHousekeeping = std::chrono::seconds(1);

std::vector<std::optional<int>> twins_of(const Dataplane& dataplane, std::size_t ports) {
  std::vector<std::optional<int>> twins;
  for (std::size_t i = 0; i < ports; ++i) {
    twins.push_back(dataplane.twin_index(static_cast<std::uint8_t>(i)));
  }
  return twins;
}

std::set<IpAddress> snat_addresses(const model::Config& config) {
  std::set<IpAddress> addresses;
  for (const SnatAddress& snat : config.snat) {
    addresses.insert(snat.address);
  }
  return addresses;
}

// RFC 9562 version 4, for people and programs that compare; not a secret.
std::string make_uid() {
  static std::mt19937_64 random{std::random_device{}()};
  const std::uint64_t high = (random() & ~0xf000ULL) | 0x4000ULL;
  const std::uint64_t low = (random() & ~(3ULL << 62U)) | 2ULL << 62U;
  char text[37];
  std::snprintf(text, sizeof(text), "%08x-%04x-%04x-%04x-%012llx",
                static_cast<unsigned>(high >> 32U), static_cast<unsigned>(high >> 16U & 0xffffU),
                static_cast<unsigned>(high & 0xffffU), static_cast<unsigned>(low >> 48U),
                static_cast<unsigned long long>(low & 0xffff'ffff'ffffULL));
  return text;
}

// A gateway that was started anew tells what it has, whatever the other one's was.
std::uint64_t random_revision() {
  std::random_device random;
  return (std::uint64_t{random()} << 16U) + 1;
}

}  // namespace

Reconciler::Reconciler(const model::Config& config, Dataplane& dataplane, Mailbox& mailbox)
    : config_(config),
      traffic_quotas_(config.providers),
      dataplane_(dataplane),
      mailbox_(mailbox),
      desired_(snat_addresses(config), config.grants, config.node_ports, config.providers),
      topology_(config, dataplane.port_facts(), twins_of(dataplane, config.ports.size())),
      compiler_(
          {config.service_ports, config.bindings}, config.maglev_seed,
          [this](const IpAddress& address) { return facts_of(address); }, traffic_quotas_),
      standing_{.standby = config.standby},
      destinations_{.revision = random_revision(), .destinations = {}},
      housekept_(Clock::now()) {
  auto first = std::make_shared<Snapshot>(*published_);
  first->maglev_seed = config.maglev_seed;
  first->ownership = dataplane.ownership();
  first->refuse_unknown_ports = config.refuse_unknown_ports;
  first->node_port_range = config.node_ports.range;
  first->ports = dataplane.port_facts();
  for (std::size_t i = 0; i < config.ports.size(); ++i) {
    first->ports[i].transit_to_kernel = config.ports[i].transit_to_kernel;
  }
  for (const SnatAddress& snat : config.snat) {
    (snat.address.is_ipv4() ? first->snat4 : first->snat6).push_back(snat);
  }
  published_ = first;
  publish();
}

Reconciler::~Reconciler() {
  stop();
}

void Reconciler::start(Outside outside) {
  outside_ = std::move(outside);
  thread_ = std::thread([this] { run(); });
}

void Reconciler::stop() {
  mailbox_.stop();
  if (thread_.joinable()) {
    thread_.join();
  }
}

void Reconciler::run() {
  while (true) {
    Mailbox::Batch batch = mailbox_.take(patience());
    observe(batch);
    write(batch.writes);
    if (dirty_ && dataplane_.unreclaimed() < kUnreclaimedMax) {
      publish();
      glance_at_lcores();
    }
    for (const auto& question : batch.questions) {
      question();
    }
    answer_confirmed();
    give_up_on_held();
    if (Clock::now() - housekept_ >= kHousekeeping) {
      keep_house();
    }
    if (batch.stop) {
      break;
    }
  }
  for (auto* writes : {&waiting_, &unpublished_}) {
    for (Waiting& write : *writes) {
      write.answer.set_value(model::Error{.code = model::Code::kUnavailable,
                                          .message = "the gateway is shutting down"});
    }
    writes->clear();
  }
}

// Most lcores have seen a snapshot by then, and its writers need not wait for a timer.
void Reconciler::glance_at_lcores() {
  const auto until = Clock::now() + kGlance;
  while (!dataplane_.confirmed(last_ticket_) && Clock::now() < until) {
  }
}

// An lcore reports within microseconds, or it stands still.
std::chrono::microseconds Reconciler::patience() const {
  if (!waiting_.empty()) {
    return kConfirmPatience;
  }
  return dirty_ ? kHeldPatience : std::chrono::microseconds(kIdlePatience);
}

std::uint64_t Reconciler::clock_ms() const {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now().time_since_epoch())
          .count());
}

void Reconciler::observe(Mailbox::Batch& batch) {
  if (batch.addresses) {
    topology_.set_addresses(std::move(*batch.addresses));
  }
  if (batch.routes) {
    topology_.set_routes(std::move(*batch.routes));
  }
  if (!batch.neighbours.empty()) {
    topology_.set_neighbours(batch.neighbours);
  }
  for (const AddressClaim& claim : batch.claims) {
    note_claim(claim);
  }
  for (const auto& [name, resolved] : batch.names) {
    note_name(resolved);
  }
  for (const auto& [port, address] : batch.wanted) {
    // Asked again even when it is known: the kernel may have given up on it.
    asked_.erase({port, address});
    want({port, address});
  }
  dirty_ = dirty_ || topology_.changed();
}

void Reconciler::want(const model::Topology::Neighbour& neighbour) {
  if (!topology_.want(neighbour.port, neighbour.address, clock_ms())) {
    spdlog::warn("no next hop left for {}: {} are in use", to_string(neighbour.address),
                 topology_.next_hops());
    return;
  }
  const auto twin = topology_.twin(neighbour.port);
  if (twin && outside_.want && asked_.insert(neighbour).second) {
    outside_.want(*twin, neighbour.address);
  }
}

void Reconciler::write(std::vector<PendingWrite>& writes) {
  compiler_.set_time(clock_ms());
  for (PendingWrite& write : writes) {
    model::Result<model::Plan> planned = plan(write.transaction);
    if (!planned) {
      write.answer.set_value(planned.error());
      continue;
    }
    Applied applied;
    applied.plan = std::move(*planned);
    applied.epoch = published_->epoch + (dirty_ ? 1 : 0);
    if (write.transaction.dry_run) {
      applied.revision = desired_.revision(write.transaction.provider);
      write.answer.set_value(std::move(applied));
      continue;
    }
    applied.revision = desired_.commit(applied.plan, std::move(write.transaction));
    if (applied.plan.empty()) {
      // What it asks for is there; whether the lcores have seen it too is not known yet.
      auto& queue = dirty_ ? unpublished_ : waiting_;
      queue.push_back({std::move(write.answer), std::move(applied), last_ticket_, write.received,
                       write.deadline, false});
      continue;
    }
    applied.epoch = published_->epoch + 1;
    carry_out(applied.plan);
    serve_pending(false);
    unpublished_.push_back(
        {std::move(write.answer), std::move(applied), 0, write.received, write.deadline});
    dirty_ = true;
  }
}

// Removals first: what they held may be taken over by the others.
void Reconciler::carry_out(const model::Plan& plan) {
  const std::uint64_t epoch = published_->epoch + 1;
  std::vector<ChangeLog::Key> removed;
  std::vector<ChangeLog::Key> changed;
  for (const model::ServiceName& name : plan.removed) {
    compiler_.remove(plan.provider, name, epoch);
    removed.emplace_back(plan.provider, name);
    records_.erase(removed.back());
    follow_name(removed.back(), "");
    denied_changed_ = denied_.erase(removed.back()) != 0 || denied_changed_;
  }
  for (const model::Brought& brought : plan.created) {
    records_[{plan.provider, brought.name}] = {make_uid(), std::time(nullptr), epoch};
  }
  for (const auto* some : {&plan.changed, &plan.created}) {
    for (const model::Brought& brought : *some) {
      const model::Service& service = desired_.find(plan.provider, brought.name)->service;
      changed.emplace_back(plan.provider, brought.name);
      compile(changed.back(), service);
    }
  }
  note_changes(changed, removed);
}

void Reconciler::compile(const ChangeLog::Key& key, const model::Service& service) {
  const std::uint64_t epoch = published_->epoch + 1;
  const model::CompiledService* before = compiler_.find(key.first, key.second);
  // That a name's addresses are not there at once is no news.
  const bool served_before =
      before == nullptr ? service.external_name.empty() : before->is_served();
  compiler_.update(key.first, service, epoch);
  records_[key].epoch = epoch;
  note_denied(key, service);
  follow_name(key, service.external_name);
  note_service(key, service, served_before);
}

// What has become free goes to who waits for it.
void Reconciler::serve_pending(bool all_reasons) {
  if (!desired_.any_pending()) {
    return;
  }
  // Compiled at once, so that the next one has to fit beside it.
  const auto served = desired_.serve_pending(
      topology_.host_addresses(), all_reasons,
      [this](const std::string& provider, const model::Service& service) {
        return compiler_.fits(provider, {&service});
      },
      [this](const std::string& provider, const model::Service& service) {
        compile({provider, service.name}, service);
      });
  if (served.empty()) {
    return;
  }
  note_changes(served, {});
  dirty_ = true;
}

void Reconciler::note_changes(const std::vector<ChangeLog::Key>& changed,
                              const std::vector<ChangeLog::Key>& removed) {
  change_log_.add(changed, removed);
  const std::lock_guard lock(change_mutex_);
  changes_ = change_log_.sequence();
  changed_.notify_all();
}

void Reconciler::note_denied(const ChangeLog::Key& key, const model::Service& service) {
  std::vector<DeniedSource> denied;
  for (const IpPrefix& source : service.options.deny_source_ranges) {
    for (const auto& [vip, kind] : frontends_of(service)) {
      for (const model::ServicePortSpec& port : service.ports) {
        if (vip.family == source.address.family) {
          denied.push_back({vip, port.port, port.protocol, source});
        }
      }
    }
  }
  const auto before = denied_.find(key);
  if (before == denied_.end() ? denied.empty() : before->second == denied) {
    return;
  }
  denied_changed_ = true;
  denied_[key] = std::move(denied);
}

void Reconciler::answer_confirmed() {
  const auto now = Clock::now();
  std::vector<Waiting> still;
  for (Waiting& write : waiting_) {
    if (dataplane_.confirmed(write.ticket)) {
      const auto taken = std::chrono::duration_cast<std::chrono::nanoseconds>(now - write.received);
      write.applied.publish_ns = static_cast<std::uint64_t>(taken.count());
      if (write.changed) {
        note_latency(write.applied.publish_ns);
      }
      write.answer.set_value(std::move(write.applied));
    } else if (now > write.deadline) {
      write.answer.set_value(not_confirmed(write.ticket));
    } else {
      still.push_back(std::move(write));
    }
  }
  waiting_ = std::move(still);
}

// Writes that are held back are in force with the next snapshot; their writers hear so in time.
void Reconciler::give_up_on_held() {
  const auto now = Clock::now();
  std::erase_if(unpublished_, [&](Waiting& write) {
    const bool late = now > write.deadline;
    if (late) {
      write.answer.set_value(not_confirmed(last_ticket_));
    }
    return late;
  });
}

model::Error Reconciler::not_confirmed(std::uint64_t ticket) const {
  std::string lcores;
  for (const unsigned lcore : dataplane_.unconfirmed(ticket)) {
    lcores += (lcores.empty() ? "" : ", ") + std::to_string(lcore);
  }
  return model::Error{.code = model::Code::kDeadlineExceeded,
                      .message = "committed, lcore " + lcores + " not confirmed",
                      .reason = "COMMITTED_NOT_CONFIRMED"};
}

void Reconciler::note_latency(std::uint64_t nanoseconds) {
  if (latencies_ns_.size() < kLatencies) {
    latencies_ns_.push_back(nanoseconds);
  } else {
    latencies_ns_[next_latency_++ % kLatencies] = nanoseconds;
  }
}

}  // namespace sluice::runtime
