// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/model/service.h"
#include "dataplane/net/address.h"

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::model {

// Addresses of one family, both ends included.
struct AddressRange {
  IpAddress first;
  IpAddress last;

  [[nodiscard]] bool contains(const IpAddress& address) const {
    return first <= address && address <= last;
  }
  friend bool operator==(const AddressRange&, const AddressRange&) = default;
};
// "203.0.113.0/28", "203.0.113.10-203.0.113.20", "2001:db8::10"; nothing for anything else, host
// bits and a last address before the first included.
std::optional<AddressRange> parse_address_range(std::string_view text);
std::string to_string(const AddressRange& range);
// The one after it; nothing after the last of its family.
std::optional<IpAddress> next_address(const IpAddress& address);

// Addresses that the gateway gives to LoadBalancer services, and who may have them. Pools are
// disjoint.
struct AddressPool {
  std::string name;
  std::vector<AddressRange> ranges{};
  bool auto_assign = true;       // else only to who asks for the address or the pool
  bool avoid_buggy_ips = false;  // IPv4 addresses that end in .0 and .255 only to who asks for them
  // Empty: all.
  std::vector<std::string> providers{};
  std::vector<std::string> namespaces{};
  std::map<std::string, std::string> service_selector{};  // labels that a service must have

  [[nodiscard]] bool contains(const IpAddress& address) const;
  // Granted to such a service.
  [[nodiscard]] bool serves(const std::string& provider, const Service& service) const;
  friend bool operator==(const AddressPool&, const AddressPool&) = default;
};

// What addresses services of this gateway may have.
struct AddressGrants {
  std::vector<AddressPool> pools;          // VIPs; none: any that they ask for
  std::vector<AddressRange> cluster_ips;   // none: no service has a cluster address here
  std::vector<AddressRange> external_ips;  // none: no service has an external one
};

}  // namespace sluice::model
