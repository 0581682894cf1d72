// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/model/address_pool.h"

#include <string>
#include <vector>

namespace sluice::model {

inline IpAddress ip(const std::string& text) {
  return *parse_ip(text);
}

inline AddressPool pool(const std::string& name, const std::vector<std::string>& ranges) {
  AddressPool made;
  made.name = name;
  for (const std::string& range : ranges) {
    made.ranges.push_back(*parse_address_range(range));
  }
  return made;
}

}  // namespace sluice::model
