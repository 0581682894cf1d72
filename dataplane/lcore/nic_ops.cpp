// SPDX-License-Identifier: Apache-2.0
#include "dataplane/lcore/nic_ops.h"

#include <rte_dev.h>

#include <cerrno>

namespace sluice {
namespace {

int attach(const std::string& name, const std::string& arguments, bool pci, std::uint16_t* id) {
  // EAL has made the PCI devices that it was allowed.
  if (!pci && rte_eal_hotplug_add("vdev", name.c_str(), arguments.c_str()) != 0) {
    return -EINVAL;
  }
  return rte_eth_dev_get_port_by_name(name.c_str(), id) == 0 ? 0 : -ENODEV;
}

void detach(const std::string& name, bool pci, std::uint16_t id) {
  rte_eth_dev_close(id);
  if (!pci) {
    rte_eal_hotplug_remove("vdev", name.c_str());
  }
}

constexpr NicOps kDpdk{attach,
                       detach,
                       rte_eth_macaddr_get,
                       rte_eth_dev_info_get,
                       rte_eth_dev_configure,
                       rte_eth_dev_rss_hash_update,
                       rte_eth_dev_rss_hash_conf_get,
                       rte_eth_dev_rss_reta_update,
                       rte_eth_dev_rss_reta_query,
                       rte_flow_validate,
                       rte_flow_create,
                       rte_flow_destroy};

}  // namespace

NicOps dpdk_nic_ops() {
  return kDpdk;
}

// Before anything runs, so that what a test puts in its place while it starts stays there.
constinit NicOps nic_ops = kDpdk;

}  // namespace sluice
