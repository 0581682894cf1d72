// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/address.h"

#include <cstdint>
#include <optional>
#include <span>

namespace sluice {

// That an address is at a MAC, as its sender says.
struct Claim {
  IpAddress address;
  MacAddress mac{};
};

// The claim that a frame makes: the sender of an ARP request or reply, unless it only probes (RFC
// 5227 §1.1), or the target of a neighbour advertisement with its link-layer option (RFC 4861
// §7.2.5; from where it came without one). Nothing for any other frame.
[[nodiscard]] std::optional<Claim> read_claim(std::span<const std::uint8_t> frame);

}  // namespace sluice
