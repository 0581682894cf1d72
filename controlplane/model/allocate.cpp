// SPDX-License-Identifier: Apache-2.0
#include "controlplane/model/allocate.h"

#include <algorithm>

namespace sluice::model {
namespace {

bool has(const AddressPool& pool, Family family) {
  return std::any_of(pool.ranges.begin(), pool.ranges.end(),
                     [&](const AddressRange& range) { return range.first.family == family; });
}

// Some devices take the first and last address of what was a class C network for a network's own.
bool is_buggy(const IpAddress& address) {
  return address.is_ipv4() && (address.bytes[3] == 0 || address.bytes[3] == 255);
}

}  // namespace

Allocator::Allocator(std::vector<AddressPool> pools, std::string annotation)
    : pools_(std::move(pools)), annotation_(std::move(annotation)), used_of_(pools_.size()) {
  for (const AddressPool& pool : pools_) {
    lowest_.emplace_back();
    for (const AddressRange& range : pool.ranges) {
      lowest_.back().emplace_back(range.first);
    }
  }
}

const std::string* Allocator::pool_wanted(const Service& service) const {
  const auto at = service.annotations.find(annotation_);
  return at == service.annotations.end() ? nullptr : &at->second;
}

std::optional<std::size_t> Allocator::index_of(const IpAddress& address) const {
  const auto at = std::find_if(pools_.begin(), pools_.end(),
                               [&](const AddressPool& pool) { return pool.contains(address); });
  return at == pools_.end() ? std::nullopt : std::optional(std::size_t(at - pools_.begin()));
}

const AddressPool* Allocator::pool_of(const IpAddress& address) const {
  const auto pool = index_of(address);
  return pool ? &pools_[*pool] : nullptr;
}

bool Allocator::gives(const AddressPool& pool, const std::string& provider,
                      const Service& service) const {
  const std::string* wanted = pool_wanted(service);
  return pool.serves(provider, service) &&
         (wanted == nullptr ? pool.auto_assign : pool.name == *wanted);
}

std::vector<Family> Allocator::families(const std::string& provider, const Service& service) const {
  std::vector<Family> families;
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    if (std::any_of(pools_.begin(), pools_.end(), [&](const AddressPool& pool) {
          return has(pool, family) && gives(pool, provider, service);
        })) {
      families.push_back(family);
    }
  }
  return families;
}

Allocator::Choice Allocator::choose(const std::string& provider, const Service& service,
                                    Family family,
                                    const std::function<bool(const IpAddress&)>& taken,
                                    Cursor& cursor) const {
  std::string tried;
  for (std::size_t i = 0; i < pools_.size(); ++i) {
    if (!has(pools_[i], family) || !gives(pools_[i], provider, service)) {
      continue;
    }
    if (const auto address = lowest_free(i, family, taken, cursor)) {
      return {address, ""};
    }
    tried += (tried.empty() ? "'" : ", '") + pools_[i].name + "'";
  }
  if (!tried.empty()) {
    return {std::nullopt, "no free " + to_string(family) + " address in pool " + tried};
  }
  if (const std::string* wanted = pool_wanted(service)) {
    return {std::nullopt,
            "pool '" + *wanted + "' has no " + to_string(family) + " address for this service"};
  }
  return {std::nullopt, "no pool gives " + to_string(family) + " addresses to this service"};
}

std::optional<IpAddress> Allocator::lowest_free(std::size_t pool, Family family,
                                                const std::function<bool(const IpAddress&)>& taken,
                                                Cursor& cursor) const {
  for (std::size_t r = 0; r < pools_[pool].ranges.size(); ++r) {
    const AddressRange& range = pools_[pool].ranges[r];
    if (range.first.family != family) {
      continue;
    }
    for (auto& at = cursor[pool][r]; at && *at <= range.last; at = next_address(*at)) {
      const bool skipped = pools_[pool].avoid_buggy_ips && is_buggy(*at);
      if (!skipped && !used_.contains(*at) && !taken(*at)) {
        return at;
      }
    }
  }
  return std::nullopt;
}

void Allocator::take(const IpAddress& address) {
  const auto pool = index_of(address);
  if (!pool || !used_.insert(address).second) {
    return;
  }
  ++used_of_[*pool];
  for (std::size_t r = 0; r < pools_[*pool].ranges.size(); ++r) {
    auto& lowest = lowest_[*pool][r];
    const bool avoids_buggy = pools_[*pool].avoid_buggy_ips;
    while (lowest && (used_.contains(*lowest) || (avoids_buggy && is_buggy(*lowest)))) {
      const auto next = next_address(*lowest);
      lowest = next && *next <= pools_[*pool].ranges[r].last ? next : std::nullopt;
    }
  }
}

void Allocator::give_back(const IpAddress& address) {
  const auto pool = index_of(address);
  if (!pool || used_.erase(address) == 0) {
    return;
  }
  --used_of_[*pool];
  for (std::size_t r = 0; r < pools_[*pool].ranges.size(); ++r) {
    auto& lowest = lowest_[*pool][r];
    if (pools_[*pool].ranges[r].contains(address) && (!lowest || address < *lowest)) {
      lowest = address;
    }
  }
}

}  // namespace sluice::model
