// SPDX-License-Identifier: Apache-2.0
#include "controlplane/model/quota.h"

#include <algorithm>
#include <array>

namespace sluice::model {
namespace {

std::uint64_t ports_with_node_ports(const Service& service) {
  return static_cast<std::uint64_t>(
      std::count_if(service.ports.begin(), service.ports.end(),
                    [](const ServicePortSpec& port) { return port.node_port != 0; }));
}

std::uint64_t frontend_count(const Service& service) {
  return frontends_of(service).size() * service.ports.size() + ports_with_node_ports(service);
}

// The field by which a service takes more of it.
std::string services_field(const Service* /*before*/, const Service& /*after*/) {
  return "metadata.name";
}
std::string addresses_field(const Service* before, const Service& after) {
  const std::vector<FrontendAddress> now = frontends_of(after);
  const std::vector<FrontendAddress> had =
      before == nullptr ? std::vector<FrontendAddress>{} : frontends_of(*before);
  const auto is_new = [&](const FrontendAddress& one) {
    return std::none_of(had.begin(), had.end(),
                        [&](const FrontendAddress& old) { return old.address == one.address; });
  };
  const auto first = std::find_if(now.begin(), now.end(), is_new);
  // A write that names no address has got one from a pool.
  return first == now.end() || (first->kind == FrontendKind::kVip && after.vips_chosen)
             ? "spec.loadBalancerIPs"
             : "spec." + frontend_field(after, static_cast<std::size_t>(first - now.begin()));
}
std::string frontends_field(const Service* /*before*/, const Service& /*after*/) {
  return "spec.ports";
}

struct Counted {
  const char* name;
  std::uint32_t Quota::*bound;
  std::uint64_t Use::*use;
  std::string (*field)(const Service* before, const Service& after);
};
constexpr std::array<Counted, 3> kCounted{
    {{"services", &Quota::services, &Use::services, services_field},
     {"addresses", &Quota::addresses, &Use::addresses, addresses_field},
     {"frontends", &Quota::frontends, &Use::frontends, frontends_field}}};

bool goes_over(const Counted& what, const Quota& quota, const Use& before, const Use& after) {
  const std::uint32_t bound = quota.*what.bound;
  return bound != 0 && after.*what.use > bound && after.*what.use > before.*what.use;
}

}  // namespace

// What a scope would have, beside what it has.
class Quotas::Draft {
 public:
  explicit Draft(const Scope& scope) : scope_(&scope), use_(scope.use()) {}

  void move(const Service* from, const Service* to) {
    if (from != nullptr) {
      --use_.services;
      use_.frontends -= frontend_count(*from);
      for (const FrontendAddress& frontend : frontends_of(*from)) {
        use_.addresses -= --at(frontend.address) == 0 ? 1 : 0;
      }
    }
    if (to != nullptr) {
      ++use_.services;
      use_.frontends += frontend_count(*to);
      for (const FrontendAddress& frontend : frontends_of(*to)) {
        use_.addresses += at(frontend.address)++ == 0 ? 1 : 0;
      }
    }
  }
  [[nodiscard]] const Scope& scope() const { return *scope_; }
  [[nodiscard]] const Use& use() const { return use_; }

 private:
  std::uint32_t& at(const IpAddress& address) {
    const auto [draft, fresh] = services_at_.emplace(address, 0);
    if (fresh) {
      const auto had = scope_->services_at.find(address);
      draft->second = had == scope_->services_at.end() ? 0 : had->second;
    }
    return draft->second;
  }

  const Scope* scope_;
  Use use_;
  AddressMap<std::uint32_t> services_at_;  // of those that moved
};

// A transaction, one service after the other.
class Quotas::Trial {
 public:
  explicit Trial(const Account& account) : account_(account), all_(account.all) {}

  void move(const QuotaChange& change) {
    for (Draft* draft : drafts(change)) {
      draft->move(change.before, change.after);
    }
  }
  // Against what there was before all of it.
  [[nodiscard]] bool is_over() const {
    const auto over = [](const Draft& draft) {
      return std::any_of(kCounted.begin(), kCounted.end(), [&](const Counted& what) {
        return goes_over(what, draft.scope().quota, draft.scope().use(), draft.use());
      });
    };
    return over(all_) || std::any_of(spaces_.begin(), spaces_.end(),
                                     [&](const auto& space) { return over(space.second); });
  }
  // Moves it when that takes nothing more of what is bounded; else nothing is done.
  bool move_if_no_more(const QuotaChange& change) {
    bool more = false;
    for (Draft* draft : drafts(change)) {
      const Use before = draft->use();
      draft->move(change.before, change.after);
      more = more || std::any_of(kCounted.begin(), kCounted.end(), [&](const Counted& what) {
               return draft->scope().quota.*what.bound != 0 &&
                      draft->use().*what.use > before.*what.use;
             });
    }
    if (more) {
      move_back(change);
    }
    return !more;
  }
  // Moves it, or does nothing and says which quotas it would go over.
  std::vector<Fault> try_to_move(const QuotaChange& change) {
    std::vector<Fault> faults;
    for (Draft* draft : drafts(change)) {
      const Use before = draft->use();
      draft->move(change.before, change.after);
      for (const Counted& what : kCounted) {
        if (goes_over(what, draft->scope().quota, before, draft->use())) {
          faults.push_back(fault(change, what, draft->scope(), before, draft->use()));
        }
      }
    }
    if (!faults.empty()) {
      move_back(change);
    }
    return faults;
  }

 private:
  static Fault fault(const QuotaChange& change, const Counted& what, const Scope& scope,
                     const Use& before, const Use& after) {
    return {
        "upsert[" + std::to_string(change.index) + "]." + what.field(change.before, *change.after),
        scope.who + " would have " + std::to_string(after.*what.use) + " " + what.name +
            " with this, has " + std::to_string(before.*what.use) + " without, and may have " +
            std::to_string(scope.quota.*what.bound) + "; give some up, or raise " + scope.setting +
            "." + what.name};
  }
  void move_back(const QuotaChange& change) {
    for (Draft* draft : drafts(change)) {
      draft->move(change.after, change.before);
    }
  }
  // The provider's and, where it has a quota, its namespace's.
  std::vector<Draft*> drafts(const QuotaChange& change) {
    std::vector<Draft*> both{&all_};
    const ServiceName& name = (change.after != nullptr ? change.after : change.before)->name;
    const auto space = account_.spaces.find(name.space);
    if (space != account_.spaces.end()) {
      both.push_back(&spaces_.try_emplace(name.space, space->second).first->second);
    }
    return both;
  }

  const Account& account_;
  Draft all_;
  std::map<std::string, Draft> spaces_;
};

Quotas::Quotas(const std::vector<ProviderTerms>& providers) {
  for (std::size_t i = 0; i < providers.size(); ++i) {
    const ProviderTerms& provider = providers[i];
    const std::string path = "providers[" + std::to_string(i) + "].";
    const std::string who = "provider '" + provider.name + "'";
    Account& account = accounts_[provider.name];
    account.all.who = who;
    account.all.setting = path + "quota";
    account.all.quota = provider.quota;
    account.bound = provider.quota.bounds_writes();
    for (std::size_t n = 0; n < provider.namespace_quotas.size(); ++n) {
      const auto& [space, quota] = provider.namespace_quotas[n];
      Scope& scope = account.spaces[space];
      scope.who = "namespace '" + space + "' of " + who;
      scope.setting = path + "namespaceQuotas[" + std::to_string(n) + "].quota";
      scope.quota = quota;
      account.bound = account.bound || quota.bounds_writes();
    }
  }
}

void Quotas::add_to(Scope& scope, const Service& service) {
  ++scope.services;
  scope.frontends += frontend_count(service);
  for (const FrontendAddress& frontend : frontends_of(service)) {
    ++scope.services_at[frontend.address];
  }
}

void Quotas::remove_from(Scope& scope, const Service& service) {
  --scope.services;
  scope.frontends -= frontend_count(service);
  for (const FrontendAddress& frontend : frontends_of(service)) {
    const auto at = scope.services_at.find(frontend.address);
    if (--at->second == 0) {
      scope.services_at.erase(at);
    }
  }
}

void Quotas::add(const std::string& provider, const Service& service) {
  Account& account = accounts_[provider];
  add_to(account.all, service);
  if (const auto space = account.spaces.find(service.name.space); space != account.spaces.end()) {
    add_to(space->second, service);
  }
}

void Quotas::remove(const std::string& provider, const Service& service) {
  Account& account = accounts_.at(provider);
  remove_from(account.all, service);
  if (const auto space = account.spaces.find(service.name.space); space != account.spaces.end()) {
    remove_from(space->second, service);
  }
}

bool Quotas::bound(const std::string& provider) const {
  const auto account = accounts_.find(provider);
  return account != accounts_.end() && account->second.bound;
}

std::vector<Excess> Quotas::excess(const std::string& provider,
                                   const std::vector<QuotaChange>& changes) const {
  if (!bound(provider)) {
    return {};
  }
  const Account& account = accounts_.at(provider);
  Trial whole(account);
  for (const QuotaChange& change : changes) {
    whole.move(change);
  }
  if (!whole.is_over()) {
    return {};
  }
  // As it comes out without those that are told: each step keeps within the quotas, so all do.
  Trial trial(account);
  std::vector<QuotaChange> growing;
  for (const QuotaChange& change : changes) {
    if (change.after == nullptr) {
      trial.move(change);
    }
  }
  for (const QuotaChange& change : changes) {
    if (change.after != nullptr && !trial.move_if_no_more(change)) {
      growing.push_back(change);
    }
  }
  std::stable_partition(growing.begin(), growing.end(),
                        [](const QuotaChange& change) { return !change.waits; });
  std::vector<Excess> over;
  for (const QuotaChange& change : growing) {
    if (auto faults = trial.try_to_move(change); !faults.empty()) {
      over.push_back({change.index, std::move(faults)});
    }
  }
  std::sort(over.begin(), over.end(),
            [](const Excess& a, const Excess& b) { return a.index < b.index; });
  return over;
}

Use Quotas::use(const std::string& provider) const {
  const auto account = accounts_.find(provider);
  return account == accounts_.end() ? Use{} : account->second.all.use();
}

Use Quotas::use(const std::string& provider, const std::string& space) const {
  const auto account = accounts_.find(provider);
  if (account == accounts_.end()) {
    return {};
  }
  const auto scope = account->second.spaces.find(space);
  return scope == account->second.spaces.end() ? Use{} : scope->second.use();
}

}  // namespace sluice::model
