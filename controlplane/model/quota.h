// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/model/address_map.h"
#include "controlplane/model/providers.h"
#include "controlplane/model/service.h"

#include <absl/container/node_hash_map.h>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace sluice::model {

// What services take of a quota.
struct Use {
  std::uint64_t services = 0;
  std::uint64_t addresses = 0;  // VIPs, external and cluster addresses, each once
  std::uint64_t frontends = 0;  // addresses times ports, and node ports

  friend bool operator==(const Use&, const Use&) = default;
};

// One service of a transaction.
struct QuotaChange {
  const Service* before = nullptr;  // null: it is new
  const Service* after = nullptr;   // null: it goes
  std::size_t index = 0;            // of `after` in the transaction
  bool waits = false;  // it is there and has fewer addresses than it wants, so others come first
};

// A service of a transaction that goes over a quota, and over which.
struct Excess {
  std::size_t index = 0;
  std::vector<Fault> faults;
};

// Counts what the services of each provider, and of each namespace with a quota, have. It is told
// of each service that comes and goes, so that asking costs what a transaction changes and not what
// there is. An address that several services have counts once, so each is kept with how many have
// it.
//
// A transaction is judged by what there is after it: what it takes away and what one service leaves
// to another counts. Who is over already, as the configuration is another now, may change
// anything but not have more.
class Quotas {
 public:
  explicit Quotas(const std::vector<ProviderTerms>& providers = {});

  void add(const std::string& provider, const Service& service);
  void remove(const std::string& provider, const Service& service);

  // Whether anything of this provider is bounded.
  [[nodiscard]] bool bound(const std::string& provider) const;
  // The services without which the transaction keeps within every quota, in its order: who comes
  // first has what is there, who waits comes last, and who takes nothing more is never among them.
  // Each service is in `changes` once.
  [[nodiscard]] std::vector<Excess> excess(const std::string& provider,
                                           const std::vector<QuotaChange>& changes) const;

  [[nodiscard]] Use use(const std::string& provider) const;
  // Of a namespace that has a quota.
  [[nodiscard]] Use use(const std::string& provider, const std::string& space) const;

 private:
  struct Scope {
    std::string who;      // "provider 'west'", "namespace 'shop' of provider 'west'"
    std::string setting;  // "providers[0].quota"
    Quota quota;
    std::uint64_t services = 0;
    std::uint64_t frontends = 0;
    AddressMap<std::uint32_t> services_at;  // how many have each address

    [[nodiscard]] Use use() const { return {services, services_at.size(), frontends}; }
  };
  struct Account {
    Scope all;
    std::map<std::string, Scope> spaces;  // those with a quota
    bool bound = false;
  };
  class Draft;
  class Trial;
  static void add_to(Scope& scope, const Service& service);
  static void remove_from(Scope& scope, const Service& service);

  absl::node_hash_map<std::string, Account> accounts_;
};

}  // namespace sluice::model
