// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace sluice {

// What the live flows of a provider, or of one of its namespaces, may take; 0: without a bound.
struct QuotaLimits {
  std::uint32_t flows = 0;
  std::uint32_t snat_ports = 0;  // those flows that have a SNAT tuple

  friend constexpr bool operator==(const QuotaLimits&, const QuotaLimits&) = default;
};

// Which quotas a flow counts against, from 1 on; 0: none. They are those of the configuration, so
// they stay what they are for as long as the gateway runs.
struct QuotaIds {
  std::uint16_t provider = 0;
  std::uint16_t space = 0;

  [[nodiscard]] constexpr bool any() const { return (provider | space) != 0; }
  friend constexpr bool operator==(const QuotaIds&, const QuotaIds&) = default;
};

inline constexpr std::uint32_t kQuotasMax = 65'535;

}  // namespace sluice
