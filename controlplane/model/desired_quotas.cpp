// SPDX-License-Identifier: Apache-2.0
// Desired: how much a provider may have.
#include "controlplane/model/desired.h"

#include <algorithm>
#include <iterator>

namespace sluice::model {
namespace {

// Those of `addresses` that `had` has not go.
void keep_only(std::vector<IpAddress>& addresses, const std::vector<IpAddress>& had) {
  std::erase_if(addresses, [&](const IpAddress& address) {
    return std::find(had.begin(), had.end(), address) == had.end();
  });
}

}  // namespace

std::vector<Excess> Desired::excess_of(const Transaction& transaction,
                                       const std::set<ServiceName>& leaving) const {
  std::vector<QuotaChange> changes;
  for (const ServiceName& name : leaving) {
    if (const Stored* stored = find(transaction.provider, name)) {
      changes.push_back({.before = &stored->service});
    }
  }
  for (std::size_t i = 0; i < transaction.upsert.size(); ++i) {
    const ServiceName& name = transaction.upsert[i].name;
    const Stored* stored = find(transaction.provider, name);
    changes.push_back({.before = stored == nullptr ? nullptr : &stored->service,
                       .after = &transaction.upsert[i],
                       .index = i,
                       .waits = waits(transaction.provider, name)});
  }
  return quotas_.excess(transaction.provider, changes);
}

// Asked of transactions without a fault only: what is refused for another reason takes nothing, and
// whoever leaves it out may find that the others fit.
std::optional<Error> Desired::check_quotas(const Transaction& transaction,
                                           const std::set<ServiceName>& leaving) const {
  if (!quotas_.bound(transaction.provider)) {
    return std::nullopt;
  }
  Faults faults;
  for (Excess& one : excess_of(transaction, leaving)) {
    std::move(one.faults.begin(), one.faults.end(), std::back_inserter(faults.invalid));
  }
  if (faults.empty()) {
    return std::nullopt;
  }
  Error error = faults.to_error();
  error.code = Code::kResourceExhausted;
  error.reason = kOverQuota;
  return error;
}

bool Desired::waits(const std::string& provider, const ServiceName& name) const {
  const Stored* stored = pending_.empty() ? nullptr : find(provider, name);
  return stored != nullptr && !stored->service.pending.why.empty();
}

// A service that was accepted without an address goes on waiting when its quota has no room for the
// one that has become free: its provider asks for no more than it did.
void Desired::keep_waiting(Transaction& transaction, const std::vector<Waiting>& waiting) const {
  if (waiting.empty() || !quotas_.bound(transaction.provider)) {
    return;
  }
  for (const Excess& one : excess_of(transaction, leaving(transaction))) {
    const auto at = std::find_if(waiting.begin(), waiting.end(),
                                 [&](const Waiting& who) { return who.index == one.index; });
    if (at == waiting.end()) {
      continue;
    }
    Service& service = transaction.upsert[one.index];
    const Service& before = find(transaction.provider, service.name)->service;
    if (at->vips) {
      keep_only(service.vips, before.vips);
    }
    if (at->cluster_ips) {
      keep_only(service.cluster_ips, before.cluster_ips);
    }
    service.pending.why = one.faults.front().message;
  }
}

std::string Desired::why_over_quota(const std::string& provider, const Service& before,
                                    const Service& after) const {
  const std::vector<Excess> over =
      quotas_.excess(provider, {{.before = &before, .after = &after, .index = 0, .waits = true}});
  return over.empty() ? "" : over.front().faults.front().message;
}

}  // namespace sluice::model
