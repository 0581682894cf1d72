// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/model/address_map.h"
#include "controlplane/model/observed.h"
#include "controlplane/model/providers.h"
#include "controlplane/model/result.h"
#include "controlplane/model/service.h"
#include "controlplane/model/slots.h"
#include "controlplane/model/weak_cache.h"
#include "controlplane/model/withdrawn.h"
#include "dataplane/snapshot/snapshot.h"

#include <absl/container/flat_hash_map.h>
#include <absl/container/node_hash_map.h>
#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace sluice::model {

// What became of an endpoint of a service port.
struct CompiledEndpoint {
  IpAddress address;
  std::uint16_t port = 0;
  std::uint16_t weight = 1;
  std::uint32_t slot = 0;  // 0: never used, it has no binding
  BindingState state = BindingState::kFree;
  const char* choice = "";              // why it takes no new flows, or does all the same
  std::uint64_t draining_since_ms = 0;  // since it drains()
  bool drained = false;                 // the deadline is past, its flows are over

  // It takes no new flows, and may have some.
  [[nodiscard]] bool drains() const {
    return state == BindingState::kDraining || state == BindingState::kRemoved;
  }
  [[nodiscard]] std::string reason() const {
    return std::string(choice) + (drained ? "; its drain deadline is past" : "");
  }
};

// One port of a service in one family: what its frontends share.
struct CompiledPort {
  std::uint32_t id = 0;  // snapshot ServicePort::id
  std::string name;
  Family family = Family::kIpv4;
  PortKey key;
  std::uint16_t node_port = 0;              // 0: none
  std::vector<CompiledEndpoint> endpoints;  // sorted by address and port
  std::shared_ptr<const ServicePort> port;
  // The same without the service's source ranges, which do not hold on nodes; and for cluster
  // addresses, where another traffic policy counts besides.
  std::shared_ptr<const ServicePort> unfiltered;
  std::shared_ptr<const ServicePort> on_cluster;
  bool resets = false;  // what goes with an endpoint that is gone: its TCP flows

  [[nodiscard]] const std::shared_ptr<const ServicePort>& at(
      const FrontendAddress& frontend) const {
    return frontend.is_filtered() ? port : on_cluster;
  }
};

struct CompiledService {
  std::vector<FrontendAddress> frontends;
  std::vector<CompiledPort> ports;
  ForwardingMode mode = ForwardingMode::kFullNat;
  std::uint32_t drain_deadline_ms = 0;  // 0: none

  // Any port of it takes new flows.
  [[nodiscard]] bool is_served() const {
    return std::any_of(ports.begin(), ports.end(),
                       [](const CompiledPort& each) { return each.port->maglev != nullptr; });
  }
};

// Services -> the service side of a snapshot. Chooses among endpoints (KUBERNETES 2.2), assigns
// slots, builds Maglev tables and the copy-on-write tables. A change costs what it changes: only
// the services passed to update() and remove() are looked at. Pure but for the state it keeps
// between calls; one thread.
class ServiceCompiler {
 public:
  using FactsOf = std::function<AddressFacts(const IpAddress&)>;
  struct Limits {
    std::uint32_t service_ports;
    std::uint32_t bindings;
  };
  ServiceCompiler(const Limits& limits, std::uint64_t maglev_seed, FactsOf facts_of,
                  TrafficQuotas quotas = TrafficQuotas());

  // Whether the ids and slots that these services of `provider` would take beside those they have
  // are there; nothing is changed.
  [[nodiscard]] bool fits(const std::string& provider,
                          const std::vector<const Service*>& services) const;
  // `epoch`: of the snapshot the next build() makes.
  void update(const std::string& provider, const Service& service, std::uint64_t epoch);
  void remove(const std::string& provider, const ServiceName& name, std::uint64_t epoch);
  // What update() takes for now; monotonic.
  void set_time(std::uint64_t now_ms) { now_ms_ = now_ms; }
  // Ends the flows of endpoints whose drain deadline is past. True when any was.
  bool expire_drains();
  // Facts have changed for many: every address's entry is made again.
  void refresh_addresses();

  // Frees ids and slots that nothing uses any more, and what was kept for flows that outlived their
  // service. `flows`: how many live flows a binding slot has. True when build() has something new.
  bool reclaim(std::uint64_t seen_by_all, const std::function<std::uint64_t(std::uint32_t)>& flows,
               const std::function<std::uint64_t(std::uint32_t)>& flows_of_port);
  [[nodiscard]] bool reclaimable() const;

  // Takes what changed since the last call into tables that share the rest.
  struct Built {
    std::shared_ptr<const BindingTable> bindings;
    std::vector<AddressTable::Change> addresses;
    std::shared_ptr<const NodePortTable> node_ports;
    bool disruptive = false;                  // something was removed: policy_epoch
    bool any_dnat = false;                    // Snapshot::any_dnat
    std::vector<std::uint32_t> new_ports;     // ids whose counters start now
    std::vector<std::uint32_t> new_bindings;  // slots likewise
  };
  // Backends that were none at the last call.
  [[nodiscard]] std::vector<IpAddress> take_new_backends() {
    return std::exchange(new_backends_, {});
  }
  [[nodiscard]] Built build();

  [[nodiscard]] const CompiledService* find(const std::string& provider,
                                            const ServiceName& name) const;
  [[nodiscard]] bool holds(const IpAddress& vip) const { return frontends_.contains(vip); }
  // What the address table has to have of it for the services' sake; null: nothing.
  [[nodiscard]] std::shared_ptr<const AddressEntry> entry_for(const IpAddress& vip) const;
  // Backends of all services that take or keep flows, for next hops to be resolved in advance.
  [[nodiscard]] const AddressMap<std::uint32_t>& backends() const { return backends_; }
  // Maglev tables made so far, one for each endpoint set that came up or changed; and how many sets
  // are remembered.
  [[nodiscard]] std::uint64_t tables_built() const { return tables_built_; }
  [[nodiscard]] std::size_t tables_kept() const { return tables_.size(); }
  [[nodiscard]] std::size_t source_ranges_kept() const { return ranges_.size(); }
  // Bindings that the next build() changes: each once, however often it has changed.
  [[nodiscard]] std::size_t bindings_changed() const { return changed_bindings_.size(); }
  // Who a ServicePort::id belongs to.
  struct Owner {
    std::string provider;
    ServiceName name;
    std::string port;
  };
  [[nodiscard]] const Owner* owner_of(std::uint32_t id) const;
  // By ServicePort id; those given up included, until they are reclaimed.
  [[nodiscard]] const std::unordered_map<std::uint32_t, Owner>& owners() const { return owners_; }

 private:
  using Key = std::pair<std::string, ServiceName>;
  using EndpointSet = std::vector<MaglevEndpoint>;  // in the order of their bindings
  struct EndpointSetHash {
    std::size_t operator()(const EndpointSet& endpoints) const noexcept;
  };
  using Prefixes = std::vector<IpPrefix>;  // sorted
  struct PrefixesHash {
    std::size_t operator()(const Prefixes& prefixes) const noexcept;
  };

  CompiledPort begin_port(const Key& key, const ServicePortSpec& spec, Family family,
                          const CompiledPort* before);
  CompiledPort compile_port(const Key& key, const Service& service, const ServicePortSpec& spec,
                            Family family, const CompiledPort* before, std::uint64_t epoch);
  void bind(const CompiledPort& port, CompiledEndpoint& endpoint, BindingState state);
  void note_draining(const Key& key, const CompiledService& service);
  void release_endpoint(const CompiledEndpoint& endpoint, const CompiledPort& port,
                        std::uint64_t epoch);
  void release_port(const CompiledPort& port, std::uint64_t epoch);
  std::shared_ptr<const SourceRanges> ranges_for(Prefixes prefixes);
  // Live flows are judged again when who may open one has changed.
  void take_over_ranges(const Service& service, const CompiledPort* before, ServicePort& port);
  std::shared_ptr<const MaglevTable> maglev_for(const EndpointSet& endpoints);
  void place_frontends(const CompiledService& service);
  void place_node_port(const CompiledPort& port);
  void withdraw_node_port(const CompiledPort& port);
  void withdraw_frontends(const CompiledService& service, std::uint64_t epoch);

  std::uint64_t seed_;
  Limits limits_;
  FactsOf facts_of_;
  TrafficQuotas quotas_;
  Slots port_ids_;
  Slots slots_;
  std::uint32_t dnat_services_ = 0;
  std::uint32_t ids_used_ = 0;
  std::uint32_t slots_used_ = 0;
  std::vector<std::uint8_t> incarnations_;  // by slot
  absl::node_hash_map<Key, CompiledService> services_;
  std::set<Key> draining_;  // services with a deadline and endpoints it is not past for
  std::uint64_t now_ms_ = 0;
  std::unordered_map<std::uint32_t, Owner> owners_;
  // What is served at an address, and whether as a VIP.
  struct Placed {
    std::shared_ptr<const ServicePort> port;
    bool on_vip = false;
  };
  AddressMap<std::map<PortKey, Placed>> frontends_;
  NodePortTable node_ports_;
  std::shared_ptr<const NodePortTable> built_node_ports_ = std::make_shared<NodePortTable>();
  Withdrawn withdrawn_;
  AddressMap<std::uint32_t> backends_;  // and how many bindings point there
  WeakCache<EndpointSet, MaglevTable, EndpointSetHash> tables_;
  std::uint64_t tables_built_ = 0;
  WeakCache<Prefixes, SourceRanges, PrefixesHash> ranges_;

  // Since the last build().
  absl::flat_hash_map<std::uint32_t, Binding> changed_bindings_;  // by slot, each as it is last
  std::unordered_set<IpAddress> changed_addresses_;
  bool node_ports_changed_ = false;
  bool disruptive_ = false;
  std::vector<IpAddress> new_backends_;
  std::vector<std::uint32_t> new_ports_;
  std::vector<std::uint32_t> new_bindings_;
  std::shared_ptr<const BindingTable> bindings_;
};

// Which of `endpoints` take new flows (Cluster policy): the ready ones of those that are selected;
// when none is ready, those that still serve while they terminate. Why not, for the others.
struct Chosen {
  bool active = false;
  const char* reason = "";
};
std::vector<Chosen> choose_endpoints(const std::vector<const Endpoint*>& endpoints,
                                     const EndpointChoice& choice = {});

}  // namespace sluice::model
