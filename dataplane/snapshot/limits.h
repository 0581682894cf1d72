// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

// Every bound of the dataplane that is part of a data layout. What can be configured is in
// controlplane/model/config.h and is checked against these.
namespace sluice {

inline constexpr std::uint32_t kBurstMax = 64;           // packets of one turn
inline constexpr std::uint32_t kPortsMax = 16;           // DPDK ports
inline constexpr std::uint32_t kLcoresMax = 64;          // forwarding lcores
inline constexpr std::uint32_t kNextHopsMax = 65'535;    // 16-bit index in a flow entry, 0 = none
inline constexpr std::uint32_t kBindingsMax = 1U << 24;  // 24-bit slot in a flow entry
inline constexpr std::uint32_t kServicePortsMax = 1U << 20;
inline constexpr std::uint32_t kSnatAddressesMax = 256;       // per family
inline constexpr std::uint32_t kRoutesMax = 100'000;          // per family
inline constexpr std::uint32_t kMaglevEndpointsMax = 65'535;  // 16-bit entries

inline constexpr std::uint64_t kNsPerSecond = 1'000'000'000;

}  // namespace sluice
