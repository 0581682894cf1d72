// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "bench/pktgen/traffic.h"

#include <cstdint>
#include <span>

namespace sluice::pktgen {

// Whole packets judged without what the generator knows of sums: each checksum is computed anew,
// each address compared. Slow; asked for by --verify. Returns nullptr where all is right.
[[nodiscard]] const char* fault_of_request(std::span<const std::uint8_t> frame,
                                           const Traffic& traffic, ClientSide client);
[[nodiscard]] const char* fault_of_reply(std::span<const std::uint8_t> frame,
                                         const Traffic& traffic, ClientSide client);

}  // namespace sluice::pktgen
