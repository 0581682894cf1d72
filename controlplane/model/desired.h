// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/model/address_map.h"
#include "controlplane/model/result.h"
#include "controlplane/model/service.h"

#include <absl/container/node_hash_map.h>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
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
  // Addresses no VIP may be: the gateway's own SNAT addresses.
  explicit Desired(std::set<IpAddress> reserved = {}) : reserved_(std::move(reserved)) {}

  // INVALID_ARGUMENT with every fault, `faults` found elsewhere first; ALREADY_EXISTS naming the
  // holder of a frontend, ABORTED for another revision, NOT_FOUND for a service to remove that is
  // not there. A transaction whose services are faulty by themselves may be asked about too.
  [[nodiscard]] Result<Plan> plan(const Transaction& transaction, Faults faults = {}) const;
  // Does what was planned for `transaction` against this very state, and takes its services;
  // returns the provider's new revision, which is the old one when the plan is empty.
  std::uint64_t commit(const Plan& plan, Transaction transaction);

  [[nodiscard]] const std::map<std::string, Provider>& providers() const { return providers_; }
  [[nodiscard]] std::uint64_t revision(const std::string& provider) const;
  [[nodiscard]] std::size_t services() const;
  [[nodiscard]] const Stored* find(const std::string& provider, const ServiceName& name) const;

 private:
  struct Holder {
    std::string provider;
    ServiceName name;
    friend bool operator==(const Holder&, const Holder&) = default;
  };
  void check_names(const Transaction& transaction, Faults& faults) const;
  void check_frontends(const Transaction& transaction, const std::set<ServiceName>& moving,
                       Faults& faults, std::optional<Error>& taken) const;
  void check_backends(const Transaction& transaction, const std::set<ServiceName>& moving,
                      Faults& faults) const;
  [[nodiscard]] const Holder* holder_of(const FrontendKey& key) const;
  [[nodiscard]] const Holder* holder_of(const IpAddress& vip, const std::string& provider,
                                        const std::set<ServiceName>& moving) const;
  [[nodiscard]] std::optional<Holder> backend_of(const IpAddress& address,
                                                 const std::string& provider,
                                                 const std::set<ServiceName>& moving) const;
  void forget(const std::string& provider, const Service& service);
  void remember(const std::string& provider, const Service& service);

  std::set<IpAddress> reserved_;
  std::map<std::string, Provider> providers_;
  AddressMap<std::map<PortKey, Holder>> holders_;  // of frontends, by VIP
  AddressMap<std::uint32_t> endpoint_uses_;  // how many endpoints have it
};

}  // namespace sluice::model
