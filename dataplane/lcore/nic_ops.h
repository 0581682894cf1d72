// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <rte_ethdev.h>
#include <rte_flow.h>

#include <cstdint>
#include <string>

namespace sluice {

// Everything that is asked of a device and depends on what it can: finding it, its capabilities,
// RSS and flow rules. Each has DPDK's meaning and results, but that
// attach() gives a started EAL the device and finds its number: 0, or negative and
// Eal::last_message() tells; detach() undoes that.
// Tests put a NIC of their own in place of these before the first port is made.
struct NicOps {
  int (*attach)(const std::string& name, const std::string& arguments, bool pci, std::uint16_t* id);
  void (*detach)(const std::string& name, bool pci, std::uint16_t id);
  int (*mac_get)(std::uint16_t id, rte_ether_addr* mac);
  int (*info_get)(std::uint16_t id, rte_eth_dev_info* info);
  int (*configure)(std::uint16_t id, std::uint16_t rx_queues, std::uint16_t tx_queues,
                   const rte_eth_conf* conf);
  int (*rss_hash_update)(std::uint16_t id, rte_eth_rss_conf* conf);
  int (*rss_hash_conf_get)(std::uint16_t id, rte_eth_rss_conf* conf);
  int (*reta_update)(std::uint16_t id, rte_eth_rss_reta_entry64* reta, std::uint16_t size);
  int (*reta_query)(std::uint16_t id, rte_eth_rss_reta_entry64* reta, std::uint16_t size);
  int (*flow_validate)(std::uint16_t id, const rte_flow_attr* attr, const rte_flow_item pattern[],
                       const rte_flow_action actions[], rte_flow_error* error);
  rte_flow* (*flow_create)(std::uint16_t id, const rte_flow_attr* attr,
                           const rte_flow_item pattern[], const rte_flow_action actions[],
                           rte_flow_error* error);
  int (*flow_destroy)(std::uint16_t id, rte_flow* flow, rte_flow_error* error);
};

// DPDK's own.
[[nodiscard]] NicOps dpdk_nic_ops();

// The ones in use. writer: a test, before any port; readers: whoever makes ports.
extern NicOps nic_ops;

}  // namespace sluice
