// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/model/address_map.h"
#include "controlplane/model/address_pool.h"

#include <absl/container/flat_hash_set.h>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace sluice::model {

// Annotations of a Service.
inline constexpr const char* kAddressPoolAnnotation = "sluice.dev/address-pool";
inline constexpr const char* kExposeExternalNameAnnotation = "sluice.dev/expose-external-name";
inline constexpr const char* kSharedIpAnnotation = "sluice.dev/allow-shared-ip";

// Chooses VIPs from pools: the lowest free address of the first pool that a service may have.
// Pure: it knows which addresses of its pools are in use because it is told.
class Allocator {
 public:
  // `annotation`: by which a service asks for a pool; empty: none.
  explicit Allocator(std::vector<AddressPool> pools = {},
                     std::string annotation = kAddressPoolAnnotation);

  [[nodiscard]] const std::vector<AddressPool>& pools() const { return pools_; }
  // The pool that has this address; null: none.
  [[nodiscard]] const AddressPool* pool_of(const IpAddress& address) const;
  // Whether the pool may give this service an address of itself.
  [[nodiscard]] bool gives(const AddressPool& pool, const std::string& provider,
                           const Service& service) const;
  // Families of the pools that may give to this service, IPv4 first.
  [[nodiscard]] std::vector<Family> families(const std::string& provider,
                                             const Service& service) const;

  struct Choice {
    std::optional<IpAddress> address;
    std::string why_not;  // without an address: a sentence for the service's owner
  };
  // Where choices of one go begin to look, by pool and range, so that they walk each range once in
  // all: below it everything is in use or taken, or no address to give.
  using Cursor = std::vector<std::vector<std::optional<IpAddress>>>;
  [[nodiscard]] Cursor begin() const { return lowest_; }
  // `taken`: addresses that cannot be had though nobody has told take(). `cursor`: of begin(),
  // since when no address may have become free.
  [[nodiscard]] Choice choose(const std::string& provider, const Service& service, Family family,
                              const std::function<bool(const IpAddress&)>& taken,
                              Cursor& cursor) const;

  // An address has got its first service, or lost its last; one of no pool is nothing to it.
  void take(const IpAddress& address);
  void give_back(const IpAddress& address);
  // Addresses of the pool that are in use.
  [[nodiscard]] std::size_t used(std::size_t pool) const { return used_of_[pool]; }

 private:
  [[nodiscard]] std::optional<IpAddress> lowest_free(
      std::size_t pool, Family family, const std::function<bool(const IpAddress&)>& taken,
      Cursor& cursor) const;
  [[nodiscard]] std::optional<std::size_t> index_of(const IpAddress& address) const;

  [[nodiscard]] const std::string* pool_wanted(const Service& service) const;

  std::vector<AddressPool> pools_;
  std::string annotation_;
  Cursor lowest_;  // all below these are in use, or none to give; without one, all are
  absl::flat_hash_set<IpAddress, std::hash<IpAddress>> used_;
  std::vector<std::size_t> used_of_;
};

}  // namespace sluice::model
