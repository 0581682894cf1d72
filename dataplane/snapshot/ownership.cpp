// SPDX-License-Identifier: Apache-2.0
#include "dataplane/snapshot/ownership.h"

#include <bit>

namespace sluice {
namespace {

// As many as a mask can tell apart, so many that no lcore has a fifth more than another.
std::uint16_t slices_for(std::uint8_t lcores) {
  const unsigned each = std::has_single_bit(lcores) ? 1 : 5;
  return static_cast<std::uint16_t>(std::bit_ceil(unsigned{lcores} * each));
}

}  // namespace

Ownership::Ownership(std::uint8_t lcores, const OwnerRule& rule)
    : lcores_(lcores),
      input_(rule.input),
      layout_(rule.layout),
      slices_(slices_for(lcores)),
      reta_mask_(
          static_cast<std::uint32_t>((rule.reta.empty() ? kRetaSize : rule.reta.size()) - 1)),
      table_(rule.key) {
  for (std::size_t i = 0; i <= reta_mask_; ++i) {
    reta_[i] = rule.reta.empty() ? static_cast<std::uint8_t>(i % lcores) : rule.reta[i];
  }
}

std::shared_ptr<const Ownership> Ownership::single() {
  static const auto kSingle = std::make_shared<const Ownership>(std::uint8_t{1});
  return kSingle;
}

}  // namespace sluice
