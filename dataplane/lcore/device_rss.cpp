// SPDX-License-Identifier: Apache-2.0
#include "dataplane/lcore/device_rss.h"

#include "dataplane/lcore/nic_ops.h"
#include "dataplane/snapshot/ownership.h"

#include <algorithm>
#include <array>
#include <bit>

namespace sluice {
namespace {

constexpr std::size_t kGroup = RTE_ETH_RETA_GROUP_SIZE;

std::vector<rte_eth_rss_reta_entry64> groups_for(std::size_t entries) {
  std::vector<rte_eth_rss_reta_entry64> groups((entries + kGroup - 1) / kGroup);
  for (std::size_t i = 0; i < entries; ++i) {
    groups[i / kGroup].mask |= 1ULL << i % kGroup;
  }
  return groups;
}

}  // namespace

DeviceRss::DeviceRss(std::uint16_t port, std::uint64_t fields, std::uint8_t key_bytes,
                     const ToeplitzKey& key, std::uint8_t lcores)
    : port_(port), fields_(fields), key_bytes_(key_bytes) {
  settle_key(key);
  if (fault_.empty()) {
    settle_reta(lcores);
  }
}

void DeviceRss::settle_key(const ToeplitzKey& wanted) {
  if (set_key(wanted)) {
    return;
  }
  key_is_fixed_ = true;
  if (!read_key(key_)) {
    fault_ = "the device neither takes a hash key nor tells its own";
  }
}

void DeviceRss::settle_reta(std::uint8_t lcores) {
  rte_eth_dev_info info{};
  nic_ops.info_get(port_, &info);
  const std::size_t size = info.reta_size;
  if (!std::has_single_bit(size) || size < lcores || size > Ownership::kRetaMax) {
    fault_ = "the device has an indirection table of " + std::to_string(size) +
             " entries, which is none that lcores can share";
    return;
  }
  std::vector<std::uint8_t> wanted(size);
  for (std::size_t i = 0; i < size; ++i) {
    wanted[i] = static_cast<std::uint8_t>(i % lcores);
  }
  reta_.resize(size);
  if (set_reta(wanted)) {
    return;
  }
  reta_is_fixed_ = true;
  if (!read_reta(reta_)) {
    fault_ = "the device neither takes an indirection table nor tells its own";
  } else if (*std::max_element(reta_.begin(), reta_.end()) >= lcores) {
    fault_ = "the device's own indirection table names queues that no lcore has";
  }
}

bool DeviceRss::set_key(const ToeplitzKey& key, std::uint64_t side) {
  ToeplitzKey copy = key;
  rte_eth_rss_conf conf{copy.bytes.data(), key_bytes_, fields_ | side};
  if (nic_ops.rss_hash_update(port_, &conf) != 0) {
    return false;
  }
  ToeplitzKey read;
  if (read_key(read) &&
      !std::equal(key.bytes.begin(), key.bytes.begin() + kKeyBytesMin, read.bytes.begin())) {
    return false;
  }
  key_ = key;
  return true;
}

bool DeviceRss::read_key(ToeplitzKey& key) const {
  std::array<std::uint8_t, 256> bytes{};
  rte_eth_rss_conf conf{bytes.data(), key_bytes_, 0};
  if (nic_ops.rss_hash_conf_get(port_, &conf) != 0 || conf.rss_key == nullptr) {
    return false;
  }
  std::copy_n(bytes.begin(), std::min<std::size_t>(key_bytes_, key.bytes.size()),
              key.bytes.begin());
  // Nobody's key: such a hash is 0 whatever the packet.
  return std::any_of(key.bytes.begin(), key.bytes.end(), [](std::uint8_t b) { return b != 0; });
}

bool DeviceRss::set_reta(const std::vector<std::uint8_t>& reta) {
  std::vector<rte_eth_rss_reta_entry64> groups = groups_for(reta.size());
  for (std::size_t i = 0; i < reta.size(); ++i) {
    groups[i / kGroup].reta[i % kGroup] = reta[i];
  }
  const auto size = static_cast<std::uint16_t>(reta.size());
  if (nic_ops.reta_update(port_, groups.data(), size) != 0) {
    return false;
  }
  std::vector<std::uint8_t> read(reta.size());
  if (read_reta(read) && read != reta) {
    return false;
  }
  reta_ = reta;
  return true;
}

bool DeviceRss::read_reta(std::vector<std::uint8_t>& reta) const {
  std::vector<rte_eth_rss_reta_entry64> groups = groups_for(reta.size());
  const auto size = static_cast<std::uint16_t>(reta.size());
  if (nic_ops.reta_query(port_, groups.data(), size) != 0) {
    return false;
  }
  for (std::size_t i = 0; i < reta.size(); ++i) {
    const std::uint16_t queue = groups[i / kGroup].reta[i % kGroup];
    reta[i] = static_cast<std::uint8_t>(std::min<std::uint16_t>(queue, UINT8_MAX));
  }
  return true;
}

}  // namespace sluice
