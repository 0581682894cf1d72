// SPDX-License-Identifier: Apache-2.0
#include "dataplane/snapshot/ownership.h"

namespace sluice {

Ownership::Ownership(std::uint8_t lcores, const ToeplitzKey& key) : lcores_(lcores), table_(key) {
  for (std::size_t i = 0; i < kRetaSize; ++i) {
    reta_[i] = static_cast<std::uint8_t>(i % lcores);
  }
}

std::shared_ptr<const Ownership> Ownership::single() {
  static const auto kSingle = std::make_shared<const Ownership>(std::uint8_t{1});
  return kSingle;
}

}  // namespace sluice
