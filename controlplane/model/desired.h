// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/model/address_map.h"
#include "controlplane/model/allocate.h"
#include "controlplane/model/backend_ranges.h"
#include "controlplane/model/node_ports.h"
#include "controlplane/model/quota.h"
#include "controlplane/model/result.h"
#include "controlplane/model/service.h"

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>
#include <absl/container/node_hash_map.h>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace sluice::model {

// One write, its services validated one by one already; `upsert[i]` came from path "upsert[i]".
struct Transaction {
  std::string provider;
  std::vector<Service> upsert;
  std::vector<Identity> claimed;  // by index of upsert; empty: none
  std::vector<ServiceName> remove;
  bool replace = false;  // services of the provider that are not in upsert go
  std::optional<std::uint64_t> expected_revision;
  bool dry_run = false;
  bool create = false;  // a service of upsert that is there is refused
};

// A service that a transaction brings.
struct Brought {
  ServiceName name;
  std::size_t index = 0;  // in Transaction::upsert
};

// What a transaction will do: decided before anything is done, so that it is done wholly or not.
struct Plan {
  std::string provider;
  std::vector<Brought> created;
  std::vector<Brought> changed;
  std::vector<ServiceName> unchanged;
  std::vector<ServiceName> removed;

  [[nodiscard]] bool empty() const { return created.empty() && changed.empty() && removed.empty(); }
};

// The reason of an error about quotas: a write of less may be accepted, and the same one again once
// something else is gone; waiting alone does not help.
inline constexpr const char* kOverQuota = "OVER_QUOTA";

// Its value of kSharedIpAnnotation; empty: it shares with nobody.
[[nodiscard]] std::string sharing_key(const Service& service);

// All services that anybody wants, by provider; and who holds which frontend. Pure: no clock, no
// thread.
class Desired {
 public:
  struct Stored {
    Service service;
    std::uint64_t revision = 0;  // of the provider, when it last changed
  };
  struct Provider {
    std::uint64_t revision = 0;
    absl::node_hash_map<ServiceName, Stored> services;  // in no order
  };
  // `reserved`: addresses no VIP may be, the gateway's own SNAT addresses.
  explicit Desired(std::set<IpAddress> reserved = {}, AddressGrants grants = {},
                   NodePorts node_ports = {}, const std::vector<ProviderTerms>& terms = {});

  // Gives the services of a transaction the addresses and node ports that they leave to the
  // gateway, those they have as far as they may keep them; who cannot have any address is left
  // pending, and who was pending and would go over a quota with one remains so. Faults: addresses
  // and node ports asked for that are not to be had here, and that no node port is left. `hosts`:
  // the host's own addresses.
  void assign_addresses(Transaction& transaction, const std::vector<IpAddress>& hosts,
                        Faults& faults) const;
  [[nodiscard]] bool any_pending() const { return !pending_.empty(); }
  // Gives those that are pending what has become free, when `fits` agrees, and tells `served` of
  // each before the next is asked about; who got something. Looks only when a VIP was given up
  // since the last time, or `all_reasons`: an address may also have been an endpoint, or the
  // host's.
  std::vector<std::pair<std::string, ServiceName>> serve_pending(
      const std::vector<IpAddress>& hosts, bool all_reasons,
      const std::function<bool(const std::string&, const Service&)>& fits,
      const std::function<void(const std::string&, const Service&)>& served = {});

  // The addresses that the name of this service, which is there, has now, sorted: those that can be
  // backends become its endpoints, when `fits` agrees. Its provider has written nothing, so its
  // revision stays.
  enum class Resolved { kSame, kChanged, kTooMany };
  Resolved set_resolved(const std::string& provider, const ServiceName& name,
                        const std::vector<IpAddress>& addresses,
                        const std::function<bool(const Service&)>& fits);

  // INVALID_ARGUMENT with every fault, `faults` found elsewhere first; ALREADY_EXISTS naming the
  // holder of a frontend, ABORTED for another revision, NOT_FOUND for a service to remove that is
  // not there. RESOURCE_EXHAUSTED with reason kOverQuota and a fault for each service that would go
  // over a quota, of a transaction that is good otherwise. A transaction whose services are faulty
  // by themselves may be asked about too.
  [[nodiscard]] Result<Plan> plan(const Transaction& transaction, Faults faults = {}) const;
  // Does what was planned for `transaction` against this very state, and takes its services;
  // returns the provider's new revision, which is the old one when the plan is empty: but for its
  // first, as whoever waits for it to have written must not wait for ever.
  std::uint64_t commit(const Plan& plan, Transaction transaction);

  [[nodiscard]] const std::map<std::string, Provider>& providers() const { return providers_; }
  [[nodiscard]] const Allocator& allocator() const { return allocator_; }
  [[nodiscard]] const Quotas& quotas() const { return quotas_; }
  [[nodiscard]] std::uint64_t revision(const std::string& provider) const;
  [[nodiscard]] std::size_t services() const;
  // One that has this address, with its provider.
  [[nodiscard]] std::optional<std::pair<std::string, ServiceName>> service_at(
      const IpAddress& address) const;
  [[nodiscard]] const Stored* find(const std::string& provider, const ServiceName& name) const;

 private:
  struct Holder {
    std::string provider;
    ServiceName name;
    friend bool operator==(const Holder&, const Holder&) = default;
  };
  using Holders = std::map<PortKey, Holder>;  // of one VIP
  // What is not to be had while addresses are chosen, for the services of a transaction one after
  // the other.
  struct Choosing {
    using Addresses = absl::flat_hash_set<IpAddress, std::hash<IpAddress>>;
    Addresses hosts;  // the host's own
    Addresses named;  // by services, as frontends and endpoints, or chosen for those before
    Allocator::Cursor vips;
    Allocator::Cursor cluster_ips;
  };
  // Services of one transaction with one key of kSharedIpAnnotation, whose addresses are settled.
  using Peers = std::vector<const Service*>;
  static void note_taken(const std::string& path, const std::string& what,
                         const std::string& provider, const ServiceName& name,
                         const std::string& way_out, std::optional<Error>& taken);
  static void note_existing(Fault fault, const std::string& what, const std::string& provider,
                            const ServiceName& name, std::optional<Error>& taken);
  void check_grants(const std::string& provider, const Service& service, const std::string& spec,
                    Faults& faults) const;
  void check_pool(const std::string& provider, const Service& service, const std::string& spec,
                  Faults& faults) const;
  // `here`: who of the transaction was seen first with an address.
  void check_sharing(const Transaction& transaction, std::size_t index,
                     const std::vector<FrontendAddress>& frontends,
                     const std::set<ServiceName>& moving, std::map<IpAddress, std::size_t>& here,
                     Faults& faults, std::optional<Error>& taken) const;
  [[nodiscard]] bool may_share(const std::string& provider, const Service& service,
                               const IpAddress& vip) const;
  // Which of a service's addresses are chosen, and from what.
  struct Wish {
    const Allocator& allocator;
    std::vector<IpAddress> Service::*addresses;
    Allocator::Cursor& cursor;
  };
  [[nodiscard]] Allocator::Choice address_for(const Wish& wish, const std::string& provider,
                                              const Service& service, Family family,
                                              const Choosing& choosing, const Peers& peers) const;
  [[nodiscard]] std::optional<IpAddress> address_of_peers(const Wish& wish,
                                                          const std::string& provider,
                                                          const Service& service, Family family,
                                                          const Peers& peers) const;
  void choose(const Wish& wish, const std::string& provider, Service& service,
              const Choosing& choosing, const Peers& peers) const;
  // Those of the service that are the gateway's to choose.
  void choose_all(const std::string& provider, Service& service, Choosing& choosing,
                  const Peers& peers) const;
  [[nodiscard]] bool leaves_a_choice(const Service& service) const;
  [[nodiscard]] bool leaves_vips(const Service& service) const;
  [[nodiscard]] bool leaves_cluster_ips(const Service& service) const;
  void keep_chosen(Transaction& transaction) const;
  void keep_resolved(Transaction& transaction) const;
  [[nodiscard]] std::string why_nowhere(const Service& service) const;
  [[nodiscard]] Choosing choosing_for(const Transaction& transaction,
                                      const std::vector<IpAddress>& hosts) const;
  [[nodiscard]] std::vector<std::size_t> in_order_of_claims(const Transaction& transaction) const;
  [[nodiscard]] bool is_unusable(const Choosing& choosing, const IpAddress& address) const;
  [[nodiscard]] bool any_freed();
  void assign_node_ports(Transaction& transaction, Faults& faults) const;
  void keep_node_ports(Transaction& transaction) const;
  [[nodiscard]] std::uint16_t node_port_before(const std::string& provider, const Service& service,
                                               PortKey port) const;
  void check_node_port(const Transaction& transaction, std::size_t index, std::size_t port,
                       const std::set<ServiceName>& moving, std::map<PortKey, std::size_t>& here,
                       Faults& faults, std::optional<Error>& taken) const;
  void check_names(const Transaction& transaction, Faults& faults) const;
  static void check_new(const Transaction& transaction, const Provider& provider,
                        std::optional<Error>& taken);
  void check_frontends(const Transaction& transaction, const std::set<ServiceName>& moving,
                       Faults& faults, std::optional<Error>& taken) const;
  void check_backends(const Transaction& transaction, const std::set<ServiceName>& moving,
                      Faults& faults) const;
  void check_backend_ranges(const Transaction& transaction, Faults& faults) const;
  [[nodiscard]] std::set<ServiceName> leaving(const Transaction& transaction) const;
  void check_removed(const Transaction& transaction, std::optional<Error>& absent) const;
  [[nodiscard]] std::vector<Excess> excess_of(const Transaction& transaction,
                                              const std::set<ServiceName>& leaving) const;
  [[nodiscard]] std::optional<Error> check_quotas(const Transaction& transaction,
                                                  const std::set<ServiceName>& leaving) const;
  [[nodiscard]] bool waits(const std::string& provider, const ServiceName& name) const;
  // A service of a transaction that is there and waits, and which of its addresses were chosen now.
  struct Waiting {
    std::size_t index = 0;
    bool vips = false;
    bool cluster_ips = false;
  };
  void keep_waiting(Transaction& transaction, const std::vector<Waiting>& waiting) const;
  [[nodiscard]] std::string why_over_quota(const std::string& provider, const Service& before,
                                           const Service& after) const;
  [[nodiscard]] const Holder* holder_of(const FrontendKey& key) const;
  [[nodiscard]] const Holder* holder_of(const IpAddress& vip, const std::string& provider,
                                        const std::set<ServiceName>& moving) const;
  [[nodiscard]] std::optional<Holder> backend_of(const IpAddress& address,
                                                 const std::string& provider,
                                                 const std::set<ServiceName>& moving) const;
  void forget(const std::string& provider, const Service& service);
  void remember(const std::string& provider, const Service& service);

  std::set<IpAddress> reserved_;
  AddressGrants grants_;
  BackendRanges backend_ranges_;
  Quotas quotas_;
  NodePorts node_ports_;
  Allocator allocator_;                                    // of VIPs
  Allocator cluster_allocator_;                            // of cluster addresses
  std::set<std::pair<std::string, ServiceName>> pending_;  // provider, name
  // VIPs given up since the last serve_pending(), and under which key of kSharedIpAnnotation; some
  // may have been taken back. `vip_freed_`: others too, or one can be shared now.
  static constexpr std::size_t kGivenUpMax = 10'000;
  absl::flat_hash_map<IpAddress, std::string, std::hash<IpAddress>> given_up_;
  bool vip_freed_ = false;
  // VIPs held under a key of kSharedIpAnnotation, by provider and key.
  std::map<std::pair<std::string, std::string>, std::set<IpAddress>> shared_;
  std::map<std::string, Provider> providers_;
  AddressMap<Holders> holders_;              // of frontends, by VIP
  Holders node_port_holders_;                // of node ports, the same on all addresses
  AddressMap<std::uint32_t> endpoint_uses_;  // how many endpoints have it
};

}  // namespace sluice::model
