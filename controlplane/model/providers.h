// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/model/address_pool.h"
#include "controlplane/model/result.h"

#include <cstdint>
#include <string>
#include <vector>

// What providers may have here, as the configuration says it.
namespace sluice::model {

// 0: without a bound.
struct Quota {
  std::uint32_t services = 0;
  std::uint32_t addresses = 0;
  std::uint32_t frontends = 0;

  [[nodiscard]] bool bounds_anything() const {
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

}  // namespace sluice::model
