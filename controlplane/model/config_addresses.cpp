// SPDX-License-Identifier: Apache-2.0
// The part of a configuration that says which addresses services may have.
#include "controlplane/model/config.h"
#include "controlplane/model/validate.h"

#include <algorithm>
#include <set>

namespace sluice::model {
namespace {

struct PooledRange {
  AddressRange range;
  std::string pool;
};

// What has been read so far.
struct Reading {
  const std::vector<SnatAddress>& snat;
  std::vector<PooledRange> pooled;
  Faults& faults;
};

// Faults of SNAT addresses explain why one of a family is missing.
bool lacks_snat(const AddressRange& range, const Reading& reading) {
  const auto& faults = reading.faults.invalid;
  return std::none_of(
             reading.snat.begin(), reading.snat.end(),
             [&](const SnatAddress& one) { return one.address.family == range.first.family; }) &&
         std::none_of(faults.begin(), faults.end(),
                      [](const Fault& fault) { return fault.path.starts_with("snat"); });
}

// The range, when it can be served and is in no pool yet.
std::optional<AddressRange> check_range(const std::string& text, const std::string& path,
                                        Reading& reading) {
  const auto range = parse_address_range(text);
  if (!range) {
    reading.faults.add(path, "'" + text + "' is no range of addresses; write it like " +
                                 "203.0.113.0/28, 203.0.113.10-203.0.113.20 or 2001:db8::/64, " +
                                 "without host bits");
    return std::nullopt;
  }
  if (!is_usable_unicast(range->first) || !is_usable_unicast(range->last)) {
    reading.faults.add(path, "'" + text + "' has addresses that cannot be reached over a " +
                                 "network; use global or private unicast addresses");
    return std::nullopt;
  }
  if (lacks_snat(*range, reading)) {
    reading.faults.add(path, "'" + text + "' needs an " + to_string(range->first.family) +
                                 " SNAT address; give one under snat");
    return std::nullopt;
  }
  return range;
}

void check_apart(const AddressRange& range, const std::string& path, const Reading& reading) {
  for (const PooledRange& other : reading.pooled) {
    if (other.range.first <= range.last && range.first <= other.range.last) {
      reading.faults.add(path, "'" + to_string(range) + "' overlaps with " +
                                   to_string(other.range) + " of pool '" + other.pool +
                                   "'; an address is in one range");
    }
  }
}

void check_names(const std::vector<std::string>& names, const std::string& path, Faults& faults) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (!is_label(names[i])) {
      faults.add(path + "[" + std::to_string(i) + "]",
                 "'" + names[i] + "' is not a name; use 1 to 63 of a-z, 0-9 and '-'");
    }
  }
}

AddressPool check_pool(const AddressPoolInput& given, const std::string& path, Reading& reading) {
  AddressPool pool{given.name,
                   {},
                   given.auto_assign.value_or(true),
                   given.avoid_buggy_ips,
                   given.providers,
                   given.namespaces,
                   given.service_selector};
  check_names(given.providers, path + ".providers", reading.faults);
  check_names(given.namespaces, path + ".namespaces", reading.faults);
  if (given.addresses.empty()) {
    reading.faults.add(path + ".addresses", "a pool has at least one range of addresses");
  }
  for (std::size_t r = 0; r < given.addresses.size(); ++r) {
    const std::string at = path + ".addresses[" + std::to_string(r) + "]";
    if (const auto range = check_range(given.addresses[r], at, reading)) {
      check_apart(*range, at, reading);
      reading.pooled.push_back({*range, given.name});
      pool.ranges.push_back(*range);
    }
  }
  return pool;
}

// `apart`: from the pools.
std::vector<AddressRange> check_ranges(const std::vector<std::string>& given,
                                       const std::string& field, bool apart, Reading& reading) {
  std::vector<AddressRange> ranges;
  for (std::size_t i = 0; i < given.size(); ++i) {
    const std::string path = field + "[" + std::to_string(i) + "]";
    if (const auto range = check_range(given[i], path, reading)) {
      if (apart) {
        check_apart(*range, path, reading);
      }
      ranges.push_back(*range);
    }
  }
  return ranges;
}

}  // namespace

AddressGrants validate_grants(const ConfigInput& input, const std::vector<SnatAddress>& snat,
                              Faults& faults) {
  AddressGrants grants;
  Reading reading{snat, {}, faults};
  std::set<std::string> names;
  for (std::size_t i = 0; i < input.address_pools.size(); ++i) {
    const AddressPoolInput& given = input.address_pools[i];
    const std::string path = "addressPools[" + std::to_string(i) + "]";
    if (!is_label(given.name)) {
      faults.add(path + ".name",
                 "'" + given.name + "' is not a name; use 1 to 63 of a-z, 0-9 and '-'");
    } else if (!names.insert(given.name).second) {
      faults.add(path + ".name", "'" + given.name + "' names two pools; names are distinct");
    }
    grants.pools.push_back(check_pool(given, path, reading));
  }
  // A cluster address is nobody's VIP; an external one may be.
  grants.cluster_ips = check_ranges(input.cluster_ip_ranges, "clusterIpRanges", true, reading);
  grants.external_ips = check_ranges(input.external_ip_ranges, "externalIpRanges", false, reading);
  return grants;
}

}  // namespace sluice::model
