// SPDX-License-Identifier: Apache-2.0
// Which VIPs the cluster's services have: chosen by the allocator that the gateway uses too
// (model/allocate), over the gateway's pools, for the holder of the Lease. What the cluster's
// status says comes first, so that a restart moves nothing.
#pragma once

#include "controlplane/kubernetes/objects.h"
#include "controlplane/model/allocate.h"

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace sluice::kubernetes {

// Written by the adapter on an exposed ExternalName, in whose status the API server has no place
// for addresses; never a wish of the service's owner, so what she writes there is written over.
inline constexpr const char* kAssignedIpsAnnotation = "sluice.dev/assigned-ips";
[[nodiscard]] std::string assigned_text(const std::vector<IpAddress>& vips);

// What the cluster says it has: by its status, or by that annotation. Each once; what is no address
// is passed over.
[[nodiscard]] std::vector<IpAddress> vips_in_status(const Service& service);

// One thread.
class Addresses {
 public:
  explicit Addresses(std::string provider) : provider_(std::move(provider)) {}

  // Of the gateway. Services keep what they have while the new pools still give it.
  void set_pools(std::vector<model::AddressPool> pools);

  struct Outcome {
    std::vector<IpAddress> vips;  // one for each family; fewer when `why_not` says so
    std::string why_not;          // a sentence for the service's owner; empty: it has all
    bool changed = false;         // since the last call for this service
    bool shares = false;          // its ports or key have: others may fit in now
  };
  // `requested`: exactly these and no others, or any.
  Outcome assign(const Service& service, const std::vector<IpAddress>& requested);
  // What it has according to its status is its own, when nobody else has it.
  void adopt(const Service& service);
  // True: it had some.
  bool release(const ServiceName& name);
  // Of one that has it no more, but whom a gateway may serve there still: until it is let go nobody
  // else may have it, but those that shared it.
  void hold_back(const IpAddress& address, const ServiceName& owner) {
    held_back_[address].insert(owner);
  }
  void let_go(const IpAddress& address, const ServiceName& owner);
  [[nodiscard]] bool is_held_back(const IpAddress& address, const ServiceName& owner) const {
    const auto at = held_back_.find(address);
    return at != held_back_.end() && at->second.contains(owner);
  }
  // Somebody outside of this cluster has it at the gateway. True: it is chosen no more for now.
  bool avoid(const IpAddress& address);
  void forget_avoided() { avoided_.clear(); }

  [[nodiscard]] std::vector<IpAddress> of(const ServiceName& name) const;

 private:
  struct Holding {
    std::vector<IpAddress> vips;
    std::string key;  // by which it shares them; empty: it does not
    std::vector<std::pair<std::string, std::int64_t>> ports;  // protocol, number
  };
  // Of a service, before it has any address.
  static Holding wish_of(const Service& service);
  using Holders = absl::flat_hash_set<ServiceName>;

  [[nodiscard]] bool is_held_back_for(const ServiceName& name, const IpAddress& address) const;
  [[nodiscard]] bool may_have(const Service& service, const Holding& wish,
                              const IpAddress& address) const;
  [[nodiscard]] bool is_free_for(const ServiceName& name, const Holding& wish,
                                 const IpAddress& address) const;
  [[nodiscard]] std::vector<Family> families_for(const Service& service, const Holding& had) const;
  [[nodiscard]] std::string fault_of_pool(const Service& service,
                                          const std::vector<IpAddress>& requested) const;
  void keep(const Service& service, const Holding& had, Holding& wish) const;
  std::string take_requested(const Service& service, const std::vector<IpAddress>& requested,
                             Holding& wish) const;
  [[nodiscard]] std::optional<IpAddress> lowest_shared(
      const Holding& wish, const std::function<bool(const IpAddress&)>& fits) const;
  std::string choose(const Service& service, const Holding& had, Holding& wish) const;
  void hold(const ServiceName& name, Holding holding);

  std::string provider_;
  model::Allocator allocator_;
  absl::flat_hash_map<ServiceName, Holding> held_;
  absl::flat_hash_map<IpAddress, Holders, std::hash<IpAddress>> holders_;
  absl::flat_hash_set<IpAddress, std::hash<IpAddress>> avoided_;
  absl::flat_hash_map<IpAddress, Holders, std::hash<IpAddress>> held_back_;
};

}  // namespace sluice::kubernetes
