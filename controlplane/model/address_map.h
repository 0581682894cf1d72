// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/address.h"

#include <absl/container/flat_hash_map.h>
#include <functional>

namespace sluice::model {

// By address, for what there may be hundreds of thousands of: no node for each, and mostly one
// cache line for a look-up.
template <typename Value>
using AddressMap = absl::flat_hash_map<IpAddress, Value, std::hash<IpAddress>>;

}  // namespace sluice::model
