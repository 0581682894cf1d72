// SPDX-License-Identifier: Apache-2.0
#include "dataplane/lcore/dataplane.h"

#include "dataplane/lcore/drop_rules.h"
#include "dataplane/lcore/eal.h"
#include "dataplane/lcore/handoff.h"
#include "dataplane/lcore/port.h"
#include "dataplane/lcore/punt.h"
#include "dataplane/lcore/random.h"
#include "dataplane/lcore/rcu.h"
#include "dataplane/lcore/steering.h"
#include "dataplane/lcore/vip_rules.h"
#include "dataplane/lcore/worker.h"

#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <chrono>
#include <list>
#include <mutex>
#include <thread>

namespace sluice {
namespace {

constexpr auto kAskInterval = std::chrono::microseconds(200);

struct FreePool {
  void operator()(rte_mempool* pool) const { rte_mempool_free(pool); }
};
using Pool = std::unique_ptr<rte_mempool, FreePool>;

Pool make_pool(const char* name, unsigned mbufs, unsigned room) {
  rte_mempool* pool = rte_pktmbuf_pool_create(
      name, mbufs, 0, 0, static_cast<std::uint16_t>(RTE_PKTMBUF_HEADROOM + room), SOCKET_ID_ANY);
  if (pool == nullptr) {
    throw StartFault("dataplane.memory: no room for the packet buffers of '" + std::string(name) +
                     "'; raise it");
  }
  return Pool(pool);
}

const char* name_of(Steering method) {
  switch (method) {
    case Steering::kInverseRss:
      return "inverse_rss";
    case Steering::kRteFlow:
      return "rte_flow";
    case Steering::kAuto:
    case Steering::kHandoff:
      break;
  }
  return "handoff";
}

int run_worker(void* worker) {
  static_cast<Worker*>(worker)->run();
  return 0;
}

}  // namespace

// In the order of construction; destroyed in reverse, EAL last.
struct Dataplane::Parts {
  explicit Parts(const DataplaneSettings& wanted) : settings(wanted), eal(wanted) {
    unsigned largest = 2048;
    unsigned sending = 0;  // what an lcore's queues of all devices keep until they have sent it
    for (const PortSettings& port : settings.ports) {
      largest = std::max(largest, port.mtu + 64U);
      sending += port.vlan == 0 ? port.tx_descriptors : 0U;
    }
    const auto lcores = static_cast<unsigned>(settings.lcores.size());
    // What the kernel sends may be handed over, so any lcore's queues may keep it.
    punt_pool = make_pool("punt", 4095 + sending * lcores, largest);
    fragment_pool =
        make_pool("fragments", (Fragments::kHeld + 16 * kBurstMax + sending) * lcores - 1, largest);
    hold_pool = make_pool(
        "hold", unsigned{HoldQueue::kPackets} * (lcores + 1) + sending * lcores - 1, largest);
    make_ports(lcores);
    punt = std::make_unique<Punt>(punt_pool.get());
    for (std::size_t i = 0; i < ports.size(); ++i) {
      const PortSettings& port = settings.ports[i];
      auto twin = port.twin ? std::make_unique<Twin>(port.name, device(i).mac(), port.mtu,
                                                     "ports[" + std::to_string(i) + "].name")
                            : nullptr;
      punt->add_port(std::move(twin), device(i).mac());
    }
    rcu = std::make_unique<SnapshotRcu>(lcores);
    handoff = std::make_unique<Handoff>(lcores);
    quotas = std::make_unique<QuotaPool>(settings.quotas, lcores);
    for (unsigned i = 0; i < settings.lcores.size(); ++i) {
      counters.push_back(
          std::make_unique<LcoreCounters>(settings.service_ports, settings.bindings));
      workers.push_back(std::make_unique<Worker>(context_of(i)));
    }
  }

  ~Parts() {
    drop_rules.reset();
    vip_rules.reset();
    steering.reset();  // their rules, while the devices are there
    for (const auto& port : ports) {
      if (port != nullptr) {
        port->close();
      }
    }
  }
  Parts(const Parts&) = delete;
  Parts& operator=(const Parts&) = delete;

  void make_ports(unsigned lcores) {
    const SideKeys rss_keys = arrange_side_keys(random_value<ToeplitzKey>());
    std::vector<SteeredPort> devices;
    for (std::size_t i = 0; i < settings.ports.size(); ++i) {
      const std::string setting = "ports[" + std::to_string(i) + "]";
      if (settings.ports[i].vlan != 0) {
        ports.push_back(nullptr);
        steered.push_back(steered[settings.ports[i].parent]);
        continue;
      }
      ports.push_back(std::make_unique<Port>(settings.ports[i], lcores, setting, rss_keys.source));
      steered.push_back(devices.size());
      devices.push_back(ports.back()->steered());
      note_distance(i);
    }
    steering = std::make_unique<PortsSteering>(devices, lcores, rss_keys, settings.snat);
    std::vector<std::uint16_t> ids;
    std::vector<VipRules::Device> with_rules;
    for (std::size_t i = 0; i < devices.size(); ++i) {
      ids.push_back(devices[i].id);
      with_rules.push_back({devices[i].id, steering->port(i).vip_rss});
    }
    drop_rules = std::make_unique<DropRules>(ids);
    vip_rules = std::make_unique<VipRules>(with_rules);
    for (std::size_t i = 0; i < ports.size() && lcores > 1; ++i) {
      if (ports[i] != nullptr) {
        const PortSteering& how = steering->port(steered[i]);
        notices.push_back(settings.ports[i].name + ": steering by " + name_of(how.method) + ": " +
                          how.why);
      }
    }
  }

  // Packets of a port on another NUMA node cost a way between sockets each.
  void note_distance(std::size_t port) {
    const int socket = ports[port]->socket();
    for (const unsigned lcore : settings.lcores) {
      const auto own = static_cast<int>(rte_lcore_to_socket_id(lcore));
      if (socket != SOCKET_ID_ANY && own != socket) {
        notices.push_back("dataplane.lcores: CPU " + std::to_string(lcore) + " is on NUMA node " +
                          std::to_string(own) + " and ports[" + std::to_string(port) +
                          "] on node " + std::to_string(socket) +
                          "; name CPUs of that node to spare each packet the way between");
      }
    }
  }

  // The device under a port: its own, or that of the port it is a VLAN of.
  [[nodiscard]] Port& device(std::size_t port) const {
    const PortSettings& wanted = settings.ports[port];
    return *ports[wanted.vlan != 0 ? wanted.parent : port];
  }

  [[nodiscard]] PortState state_of(std::size_t port) const {
    const PortSettings& wanted = settings.ports[port];
    const PortState of_device = device(port).state();
    if (wanted.vlan == 0) {
      return of_device;
    }
    PortState state;
    state.name = wanted.name;
    state.device = "VLAN " + std::to_string(wanted.vlan) + " of " + of_device.name;
    state.driver = of_device.driver;
    state.mac = of_device.mac;
    state.mtu = wanted.mtu;
    state.link_up = of_device.link_up;
    state.link_changes = of_device.link_changes;
    state.speed_mbps = of_device.speed_mbps;
    return state;
  }

  [[nodiscard]] WorkerContext context_of(unsigned number) const {
    WorkerContext context;
    context.number = number;
    context.lcore = settings.lcores[number];
    for (std::size_t i = 0; i < ports.size(); ++i) {
      context.ports.push_back({device(i).id(), settings.ports[i].vlan, device(i).takes_segments()});
    }
    context.rcu = rcu.get();
    context.punt = punt.get();
    context.handoff = handoff.get();
    context.hold_pool = hold_pool.get();
    context.fragment_pool = fragment_pool.get();
    context.counters = counters[number].get();
    context.quotas = quotas.get();
    context.idle_sleep_us = settings.idle_sleep_us;
    context.idle_wait = settings.idle_wait;
    context.hugepages = settings.hugepages;
    context.flows_ipv4 = settings.flows_ipv4;
    context.flows_ipv6 = settings.flows_ipv6;
    context.affinity_clients = settings.affinity_clients;
    context.half_open_percent = settings.half_open_percent;
    return context;
  }

  // As decided at start, and as the first packets have shown it to be.
  void tell_steering(std::size_t port, PortState& state) const {
    if (const auto told = drop_rules->told(steered[port])) {
      state.requests.push_back(*told);
    }
    if (workers.size() == 1) {
      state.steering = "none: one lcore owns every flow";
      return;
    }
    const PortSteering& how = steering->port(steered[port]);
    for (const auto& lcore : counters) {
      state.hashes_equal += lcore->hashes_equal[port].get();
      state.hashes_different += lcore->hashes_different[port].get();
    }
    const bool refuted = state.hashes_different != 0;
    state.steering = std::string(name_of(refuted ? Steering::kHandoff : how.method)) + ": " +
                     (refuted ? "the device's hashes are not those of its key" : how.why);
    state.requests.insert(state.requests.end(), how.requests.begin(), how.requests.end());
    if (const auto told = vip_rules->told(steered[port])) {
      state.requests.push_back(*told);
    }
  }

  // A command that is not answered in time is kept until it is: the lcore may still write to it.
  bool submit(Worker& worker, const std::shared_ptr<Command>& command) {
    const std::lock_guard lock(commands_mutex);
    commands.remove_if([](const auto& old) { return old->done(); });
    if (!running || !worker.submit(command.get())) {
      return false;
    }
    commands.push_back(command);
    return true;
  }
  // True once `answered()` is, and false when it is not in time.
  template <typename Answered>
  static bool wait_until(Answered&& answered) {
    const auto deadline = std::chrono::steady_clock::now() + Dataplane::kPatience;
    while (!answered()) {
      if (std::chrono::steady_clock::now() >= deadline) {
        return false;
      }
      std::this_thread::sleep_for(kAskInterval);
    }
    return true;
  }

  DataplaneSettings settings;
  Eal eal;
  Pool punt_pool;
  Pool hold_pool;
  Pool fragment_pool;
  std::vector<std::unique_ptr<Port>> ports;  // null for a VLAN of another
  std::vector<std::size_t> steered;          // by port: which of PortsSteering's
  std::unique_ptr<PortsSteering> steering;
  std::unique_ptr<DropRules> drop_rules;
  std::unique_ptr<VipRules> vip_rules;
  std::vector<std::string> notices;
  std::unique_ptr<Punt> punt;
  std::unique_ptr<SnapshotRcu> rcu;
  std::unique_ptr<Handoff> handoff;
  std::unique_ptr<QuotaPool> quotas;
  std::vector<std::unique_ptr<LcoreCounters>> counters;
  std::mutex commands_mutex;
  std::list<std::shared_ptr<Command>> commands;
  std::vector<std::unique_ptr<Worker>> workers;
  bool running = false;
};

Dataplane::Dataplane(const DataplaneSettings& settings)
    : parts_(std::make_unique<Parts>(settings)) {}

Dataplane::~Dataplane() {
  stop();
}

void Dataplane::start(NeighbourWanted wanted, AddressClaimed claimed) {
  parts_->punt->start(std::move(wanted), std::move(claimed));
  const std::lock_guard lock(parts_->commands_mutex);
  for (std::size_t i = 0; i < parts_->workers.size(); ++i) {
    rte_eal_remote_launch(run_worker, parts_->workers[i].get(), parts_->settings.lcores[i]);
  }
  parts_->running = true;
}

void Dataplane::stop() {
  {
    const std::lock_guard lock(parts_->commands_mutex);
    if (!parts_->running) {
      return;
    }
    parts_->running = false;
  }
  for (const auto& worker : parts_->workers) {
    worker->stop();
  }
  for (const unsigned lcore : parts_->settings.lcores) {
    rte_eal_wait_lcore(lcore);
  }
  parts_->punt->stop();
}

std::uint64_t Dataplane::publish(std::shared_ptr<const Snapshot> next) {
  return parts_->rcu->publish(std::move(next));
}

bool Dataplane::confirmed(std::uint64_t ticket) {
  return parts_->rcu->confirmed(ticket);
}

std::size_t Dataplane::unreclaimed() {
  return parts_->rcu->unreclaimed();
}

std::vector<unsigned> Dataplane::unconfirmed(std::uint64_t ticket) const {
  std::vector<unsigned> lcores;
  for (unsigned i = 0; i < parts_->workers.size(); ++i) {
    if (parts_->rcu->behind(i, ticket)) {
      lcores.push_back(parts_->settings.lcores[i]);
    }
  }
  return lcores;
}

std::string Dataplane::idle() const {
  const std::uint32_t longest_us = parts_->settings.idle_sleep_us;
  return longest_us == 0 ? "polls"
                         : text_of(parts_->workers.front()->idle_wait()) + " up to " +
                               std::to_string(longest_us) + " us";
}

void Dataplane::announce(std::uint8_t port, const IpAddress& address) {
  parts_->punt->announce(port, address);
}

void Dataplane::set_answered(const IpAddress& address, std::uint16_t ports) {
  parts_->punt->set_answered(address, ports);
}

std::vector<PortFacts> Dataplane::port_facts() const {
  std::vector<PortFacts> facts;
  for (std::size_t i = 0; i < parts_->ports.size(); ++i) {
    const PortSettings& port = parts_->settings.ports[i];
    facts.push_back({parts_->device(i).mac(), port.mtu, port.twin, false, port.vlan, port.parent,
                     parts_->steering->port(parts_->steered[i]).hash});
  }
  return facts;
}

std::shared_ptr<const Ownership> Dataplane::ownership() const {
  return parts_->steering->ownership();
}

bool Dataplane::steers_vips() const {
  return parts_->vip_rules->needed();
}

void Dataplane::change_vips(const std::vector<IpAddress>& gained,
                            const std::vector<IpAddress>& lost) {
  parts_->vip_rules->change(gained, lost);
}

void Dataplane::set_denied(const std::vector<DeniedSource>& denied) {
  parts_->drop_rules->set(denied);
}

std::vector<Dataplane::LinkChange> Dataplane::follow_links() {
  std::vector<bool> changed(parts_->ports.size());
  for (std::size_t i = 0; i < changed.size(); ++i) {
    changed[i] = parts_->ports[i] != nullptr && parts_->ports[i]->link_changed();
  }
  std::vector<LinkChange> changes;
  for (std::size_t i = 0; i < changed.size(); ++i) {
    const PortSettings& port = parts_->settings.ports[i];
    if (!changed[port.vlan != 0 ? port.parent : i]) {
      continue;
    }
    const bool up = parts_->device(i).link_is_up();
    if (const auto& twin = parts_->punt->port(i).twin) {
      twin->set_carrier(up);
    }
    changes.push_back({static_cast<std::uint8_t>(i), up});
  }
  return changes;
}

const std::vector<std::string>& Dataplane::notices() const {
  return parts_->notices;
}

std::vector<PortState> Dataplane::port_states() const {
  std::vector<PortState> states;
  for (std::size_t i = 0; i < parts_->ports.size(); ++i) {
    PortState state = parts_->state_of(i);
    const Punt::PortEnds& ends = parts_->punt->port(i);
    state.twin = ends.twin == nullptr ? "" : state.name;
    parts_->tell_steering(i, state);
    state.punted = ends.punted.get();
    state.injected = ends.injected.get();
    for (const auto& worker : parts_->workers) {
      state.tx_dropped += worker->transmit_dropped(i);
    }
    states.push_back(std::move(state));
  }
  return states;
}

std::optional<int> Dataplane::twin_index(std::uint8_t port) const {
  const auto& twin = parts_->punt->port(port).twin;
  return twin == nullptr ? std::nullopt : std::optional<int>(twin->index());
}

QuotaLimits Dataplane::quota_use(std::uint16_t id) const {
  return parts_->quotas->use(id);
}

const std::vector<std::unique_ptr<LcoreCounters>>& Dataplane::counters() const {
  return parts_->counters;
}

const std::vector<unsigned>& Dataplane::lcores() const {
  return parts_->settings.lcores;
}

std::optional<std::vector<FlowRow>> Dataplane::list_flows(const FlowFilter& filter,
                                                          std::size_t limit, bool* truncated) {
  std::vector<FlowRow> rows;
  for (std::size_t i = 0; i < parts_->workers.size() && rows.size() <= limit; ++i) {
    // One row more than wanted tells that there are more.
    auto command =
        std::make_shared<ListFlows>(filter, limit + 1 - rows.size(), parts_->settings.lcores[i]);
    if (!parts_->submit(*parts_->workers[i], command) ||
        !Parts::wait_until([&] { return command->done(); })) {
      return std::nullopt;
    }
    std::move(command->rows().begin(), command->rows().end(), std::back_inserter(rows));
  }
  *truncated = rows.size() > limit;
  rows.resize(std::min(rows.size(), limit));
  return rows;
}

std::optional<std::uint64_t> Dataplane::delete_flows(const FlowFilter& filter) {
  std::uint64_t deleted = 0;
  for (const auto& worker : parts_->workers) {
    auto command = std::make_shared<DeleteFlows>(filter);
    if (!parts_->submit(*worker, command) || !Parts::wait_until([&] { return command->done(); })) {
      return std::nullopt;
    }
    deleted += command->deleted();
  }
  return deleted;
}

// All are asked, as each knows whether the packet is its own; one that stands still holds up the
// answer about its own packets and its own clients' affinity only. The owner is asked once more
// when another keeps that.
std::optional<Explanation> Dataplane::explain(const ExplainQuery& query) {
  std::vector<std::shared_ptr<ExplainPacket>> commands;
  for (std::size_t i = 0; i < parts_->workers.size(); ++i) {
    commands.push_back(std::make_shared<ExplainPacket>(query, parts_->settings.lcores[i]));
    if (!parts_->submit(*parts_->workers[i], commands.back())) {
      commands.back() = nullptr;
    }
  }
  const auto done = [&](std::size_t i) { return commands[i] != nullptr && commands[i]->done(); };
  std::optional<std::size_t> owner;
  const auto answered = [&] {
    std::size_t count = 0;
    for (std::size_t i = 0; i < commands.size(); ++i) {
      count += done(i) || commands[i] == nullptr ? 1 : 0;
      owner = done(i) && commands[i]->answer().owner ? i : owner;
    }
    const auto keeper = owner ? commands[*owner]->answer().affinity_keeper : std::nullopt;
    return count == commands.size() || (owner && (!keeper || done(*keeper)));
  };
  const bool in_time = Parts::wait_until(answered);
  if (!owner) {
    return std::nullopt;
  }
  Explanation& first = commands[*owner]->answer();
  if (!first.affinity_keeper) {
    return first;
  }
  if (!in_time || !done(*first.affinity_keeper)) {
    return std::nullopt;
  }
  ExplainQuery whole = query;
  whole.affinity = commands[*first.affinity_keeper]->answer().affinity;
  const auto again = std::make_shared<ExplainPacket>(whole, parts_->settings.lcores[*owner]);
  const bool asked = parts_->submit(*parts_->workers[*owner], again);
  return asked && Parts::wait_until([&] { return again->done(); }) ? std::optional(again->answer())
                                                                   : std::nullopt;
}

}  // namespace sluice
