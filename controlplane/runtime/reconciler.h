// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/model/compile.h"
#include "controlplane/model/config.h"
#include "controlplane/model/desired.h"
#include "controlplane/model/topology.h"
#include "controlplane/runtime/change_log.h"
#include "controlplane/runtime/event_log.h"
#include "controlplane/runtime/mailbox.h"
#include "controlplane/runtime/views.h"
#include "dataplane/lcore/dataplane.h"

#include <absl/container/flat_hash_map.h>
#include <array>
#include <chrono>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <thread>
#include <unordered_map>
#include <vector>

namespace sluice::runtime {

// The one owner of what is desired and what is observed. Its thread takes everything out of the
// mailbox, folds it into the compilers, publishes at most one snapshot for all of it, and answers
// each writer once every lcore has seen that snapshot. It never waits for an lcore: while answers
// are outstanding it goes on observing and publishing.
class Reconciler {
 public:
  using Clock = std::chrono::steady_clock;
  // What it asks of others. None may wait for anybody but the kernel.
  struct Outside {
    // Have the kernel resolve and keep this neighbour, and stop it.
    std::function<void(int interface, const IpAddress&)> want;
    std::function<void(int interface, const IpAddress&)> unwant;
    // Whether this address is to be announced by a route; also told again.
    std::function<void(const IpAddress&, bool)> route;
    // Once a second: some of the routes may be put back that somebody else has removed.
    std::function<void()> repair_routes;
    // Have the addresses of this DNS name followed, or no longer.
    std::function<void(const std::string&, bool)> follow;
  };
  static constexpr auto kDeadline = std::chrono::seconds(5);
  // So many replaced snapshots may wait for an lcore that stands still; what is written after that
  // is folded into one, published when the lcore goes on. So memory does not grow with the writes.
  static constexpr std::size_t kUnreclaimedMax = 64;

  // `dataplane` outlives this; it is published to, and started by the caller after the first
  // publication, which happens here with all that `config` and the mailbox know.
  Reconciler(const model::Config& config, Dataplane& dataplane, Mailbox& mailbox);
  ~Reconciler();
  Reconciler(const Reconciler&) = delete;
  Reconciler& operator=(const Reconciler&) = delete;

  void start(Outside outside);
  // Writes still waiting are answered UNAVAILABLE.
  void stop();

  // Any thread; each waits for its answer. A write is answered by `deadline` at the latest, and
  // after kDeadline when that is sooner; it is in force all the same. Applied::publish_ns counts
  // from `received`.
  model::Result<Applied> apply(model::Transaction transaction,
                               Clock::time_point deadline = Clock::time_point::max(),
                               Clock::time_point received = Clock::now());
  std::vector<ServiceView> services(const std::string& provider, const std::string& space);
  // After the change `seen`; 0: all there are.
  ServiceChanges changes_since(std::uint64_t seen, const std::string& provider,
                               const std::string& space);
  std::optional<ServiceView> service(const std::string& provider, const model::ServiceName& name);
  std::vector<ProviderView> providers();
  std::vector<PoolView> pools();
  // Without destinations when `known` is their revision.
  DestinationsView destinations(std::uint64_t known);
  StatusView status();
  // Of services, and of the gateway when `service` has no name and `space` is empty; empty strings
  // match all.
  std::vector<Event> events(const std::string& provider, const model::ServiceName& service);
  // A backend for a TCP port of a service, picked at random from the table that its clients are
  // spread by. NOT_FOUND, INVALID_ARGUMENT for a port that it has not, FAILED_PRECONDITION when no
  // endpoint is usable.
  model::Result<SocketAddress> pick_backend(const std::string& provider,
                                            const model::ServiceName& name, std::uint16_t port);
  // Until the next start. With the next epoch, which is not waited for. False: nothing was done, as
  // too many questions wait, or the reconciler stops.
  [[nodiscard]] bool set_standby(bool standby);
  [[nodiscard]] bool set_draining(bool draining);
  std::map<std::uint32_t, OwnerView> owners_of(const std::vector<std::uint32_t>& service_ports);
  // By ServicePort id whether the service matches; empty strings match all, and nothing matching
  // gives an empty vector. Services that are gone count as long as flows of theirs live.
  std::vector<bool> service_ports(const std::string& provider, const model::ServiceName& name);

  // The sequence of the last change of a service; waits until it is not `seen`, or `patience` is
  // over.
  std::uint64_t wait_for_change(std::uint64_t seen, std::chrono::milliseconds patience);

 private:
  struct Record {  // what the tables do not keep about a service
    std::string uid;
    std::int64_t created_seconds = 0;
    std::uint64_t epoch = 0;
  };
  // By number; absent: all zero.
  using Baselines = std::unordered_map<std::uint32_t, FlowTotals>;
  struct Waiting {
    std::promise<model::Result<Applied>> answer;
    Applied applied;
    std::uint64_t ticket = 0;
    Clock::time_point received;
    Clock::time_point deadline;
    bool changed = true;  // false: it only waits for what others wrote
  };
  template <typename Answer>
  Answer ask(std::function<Answer()> question);

  static model::Result<SocketAddress> pick_backend_of(const model::CompiledService& service,
                                                      const std::string& name, std::uint16_t port);
  void run();
  void observe(Mailbox::Batch& batch);
  void write(std::vector<PendingWrite>& writes);
  model::Result<model::Plan> plan(model::Transaction& transaction) const;
  void check_frontend(const model::FrontendAddress& frontend, const std::vector<IpAddress>& hosts,
                      const std::string& path, model::Faults& faults) const;
  [[nodiscard]] bool has_snat(Family family) const;
  void check_node_port_families(const model::Service& service, const std::string& path,
                                model::Faults& faults) const;
  void check_identity(const model::Identity& claimed, const ChangeLog::Key& key,
                      const std::string& path, model::Faults& faults) const;
  void carry_out(const model::Plan& plan);
  void compile(const ChangeLog::Key& key, const model::Service& service);
  void serve_pending(bool all_reasons);
  void note_changes(const std::vector<ChangeLog::Key>& changed,
                    const std::vector<ChangeLog::Key>& removed);
  void note_denied(const ChangeLog::Key& key, const model::Service& service);
  void publish();
  void steer_vips(const std::vector<AddressTable::Change>& changes, const Snapshot& before);
  void note_baselines(const model::ServiceCompiler::Built& services);
  void want_neighbours(bool ways_changed);
  void want(const model::Topology::Neighbour& neighbour);
  void unwant(const model::Topology::Neighbour& neighbour);
  void leave_silent();
  void tell_of_routes_left_out();
  void announce(const std::vector<AddressTable::Change>& changes);
  [[nodiscard]] model::AddressFacts facts_of(const IpAddress& address) const;
  [[nodiscard]] bool is_routed(const AddressEntry* entry) const;
  void change_standing(const Standing& next);
  void note_claim(const AddressClaim& claim);
  void note_name(const ResolvedName& name);
  void retry_names();
  void follow_resolved(const ResolvedName& name);
  bool take_resolved(const ChangeLog::Key& key, const ResolvedName& name);
  void note_name_event(const ChangeLog::Key& key, const std::string& message, bool warning = true);
  void follow_name(const ChangeLog::Key& key, const std::string& name);
  void settle_mode(model::Service& service) const;
  void note_event(Event event);
  void note_service(const ChangeLog::Key& key, const model::Service& service, bool served_before);
  [[nodiscard]] std::chrono::microseconds patience() const;
  void glance_at_lcores();
  void answer_confirmed();
  void give_up_on_held();
  [[nodiscard]] model::Error not_confirmed(std::uint64_t ticket) const;
  void note_latency(std::uint64_t nanoseconds);
  void keep_house();
  void follow_links();
  void watch_lcores();
  void watch_room();
  [[nodiscard]] std::uint64_t clock_ms() const;

  // Since a number was first used, and since its present holder has it.
  [[nodiscard]] FlowTotals port_counts(std::uint32_t id) const;
  [[nodiscard]] FlowTotals binding_counts(std::uint32_t slot) const;
  [[nodiscard]] FlowTotals port_totals(std::uint32_t id) const;
  [[nodiscard]] FlowTotals binding_totals(std::uint32_t slot) const;
  [[nodiscard]] ServiceView view(const std::string& provider,
                                 const model::Desired::Stored& stored) const;

  const model::Config config_;
  const model::TrafficQuotas traffic_quotas_;
  Dataplane& dataplane_;
  Mailbox& mailbox_;
  Outside outside_;
  model::Desired desired_;
  model::Topology topology_;
  model::ServiceCompiler compiler_;
  absl::flat_hash_map<ChangeLog::Key, Record> records_;
  ChangeLog change_log_;
  Baselines port_baselines_;
  Baselines binding_baselines_;
  std::map<IpAddress, std::uint16_t> announced_;
  Standing standing_;
  EventLog events_;
  std::uint64_t address_conflicts_ = 0;
  std::map<std::string, std::set<ChangeLog::Key>> followers_;   // of DNS names
  std::map<ChangeLog::Key, std::string> followed_;              // and the other way round
  std::map<std::string, ResolvedName> resolved_;                // of them, what was told last
  std::map<ChangeLog::Key, std::vector<DeniedSource>> denied_;  // of services that deny any
  bool denied_changed_ = false;
  std::set<model::Topology::Neighbour> asked_;  // who the kernel keeps fresh for us
  bool routes_left_out_ = false;                // and it has been told
  DestinationsView destinations_;               // as they were last told

  std::shared_ptr<const Snapshot> published_ = Snapshot::empty();
  std::uint64_t last_ticket_ = 0;
  std::uint64_t confirmed_epoch_ = 0;  // at least this one has been seen by all lcores
  std::uint64_t house_ticket_ = 0;     // of the last housekeeping, and its epoch
  std::uint64_t house_epoch_ = 0;
  std::vector<std::uint64_t> turns_;  // of each lcore, at the last housekeeping
  std::set<unsigned> stalled_;        // CPU numbers
  std::uint64_t snat_quarantine_broken_ = 0;
  bool dirty_ = true;
  std::vector<Waiting> waiting_;
  std::vector<Waiting> unpublished_;         // of this batch, or held back
  std::vector<std::uint64_t> latencies_ns_;  // ring of the last kLatencies
  std::size_t next_latency_ = 0;
  static constexpr std::size_t kLatencies = 1'000;
  Clock::time_point housekept_;

  std::mutex change_mutex_;
  std::condition_variable changed_;
  std::uint64_t changes_ = 0;
  std::thread thread_;
};

}  // namespace sluice::runtime
