// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/snapshot/limits.h"

#include <array>
#include <cstdint>

namespace sluice {

// Whether one lcore takes a port's hashes for what software computes of the same packets. The first
// ones are compared; when all are equal it does from then on, and after one that is not, never.
class HashTrust {
 public:
  static constexpr std::uint32_t kCompared = 256;

  [[nodiscard]] bool trusts(std::uint8_t port) const { return equal_[port] == kCompared; }
  [[nodiscard]] bool decided(std::uint8_t port) const { return equal_[port] >= kCompared; }
  // While it is not decided.
  void compare(std::uint8_t port, bool equal) {
    equal_[port] = equal ? equal_[port] + 1 : kCompared + 1;
  }

 private:
  std::array<std::uint32_t, kPortsMax> equal_{};
};

}  // namespace sluice
