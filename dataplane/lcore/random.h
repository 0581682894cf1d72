// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/lcore/dataplane.h"

#include <sys/random.h>

namespace sluice {

// Fresh at every start: who does not know it cannot make flows collide (DESIGN.md, flow entry).
template <typename T>
[[nodiscard]] T random_value() {
  T value{};
  if (getrandom(&value, sizeof(value), 0) != static_cast<ssize_t>(sizeof(value))) {
    throw StartFault(
        "dataplane: the kernel gives no random numbers; run on a Linux with getrandom");
  }
  return value;
}

}  // namespace sluice
