// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/model/address_pool.h"
#include "controlplane/model/result.h"
#include "dataplane/snapshot/quota.h"

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

// What providers may have here, as the configuration says it.
namespace sluice::model {

// 0: without a bound.
struct Quota {
  std::uint32_t services = 0;
  std::uint32_t addresses = 0;
  std::uint32_t frontends = 0;
  QuotaLimits traffic{};  // for the lcores to keep

  // What a write can go over.
  [[nodiscard]] bool bounds_writes() const {
    return services != 0 || addresses != 0 || frontends != 0;
  }
  friend bool operator==(const Quota&, const Quota&) = default;
};
struct NamespaceQuota {
  std::string space;
  Quota quota;
  friend bool operator==(const NamespaceQuota&, const NamespaceQuota&) = default;
};

struct ProviderInput {
  std::string name;
  std::vector<std::string> backend_ranges{};
  Quota quota{};
  std::vector<NamespaceQuota> namespace_quotas{};
};
struct ProviderTerms {
  std::string name;
  std::vector<AddressRange> backend_ranges{};  // none: it declares none
  Quota quota{};
  std::vector<NamespaceQuota> namespace_quotas{};
};

// Ranges of two providers may overlap, as pods' of two clusters do; one provider's own are
// disjoint.
std::vector<ProviderTerms> validate_providers(const std::vector<ProviderInput>& input,
                                              Faults& faults);

// What flows of each provider, and of each namespace with a quota, count against: numbers for the
// dataplane, in the order of the configuration.
class TrafficQuotas {
 public:
  explicit TrafficQuotas(const std::vector<ProviderTerms>& providers = {});

  // Of a namespace without a quota of its own: the provider's alone.
  [[nodiscard]] QuotaIds of(const std::string& provider, const std::string& space) const;
  [[nodiscard]] const std::vector<QuotaLimits>& limits() const { return limits_; }

 private:
  std::vector<QuotaLimits> limits_;  // by id - 1
  std::map<std::string, std::uint16_t> providers_;
  std::map<std::pair<std::string, std::string>, std::uint16_t> spaces_;
};

}  // namespace sluice::model
