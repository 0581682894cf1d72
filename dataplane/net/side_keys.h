// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/toeplitz.h"

// Two keys for two ports that hash one side of a packet each, with the fields where they stand in
// the whole tuple (bits from its begin):
//
//   IPv4   source 0..31    destination 32..63     source port 64..79    destination port 80..95
//   IPv6   source 0..127   destination 128..255   source port 256..271  destination port 272..287
//
// A field at bit b meets the windows b .. b + width + 30 of its key. So that an address and port
// hash to the same as source (by one key) and as destination (by the other), the second is the
// first one shifted by the distance between the fields: 32 and 16 bits for IPv4, 128 and 16 for
// IPv6. Where two of these shifts meet the same bit of the second key, bits of the first one are
// equal: 30 of its 320.
namespace sluice {

struct SideKeys {
  ToeplitzKey source;
  ToeplitzKey destination;
};

// `random`: where the free bits come from.
[[nodiscard]] SideKeys arrange_side_keys(const ToeplitzKey& random);

}  // namespace sluice
