// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

// Words of the configuration about how a port's packets reach the lcore that owns them.
namespace sluice {

enum class Steering : std::uint8_t {
  kAuto,        // the first of these that the device can
  kInverseRss,  // the device spreads by the hash that decides who owns a flow
  kRteFlow,     // rules steer by some bits of a port number
  kHandoff,     // the device spreads as it likes, lcores hand over
};

// Who is behind a port.
enum class Faces : std::uint8_t { kBoth, kClients, kBackends };

}  // namespace sluice
