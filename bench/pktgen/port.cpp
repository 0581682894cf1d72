// SPDX-License-Identifier: Apache-2.0
#include "bench/pktgen/port.h"

#include <rte_dev.h>
#include <rte_errno.h>

#include <cstring>

namespace sluice::pktgen {
namespace {

constexpr unsigned kPoolCache = 512;

void clear_buffer(rte_mempool* /*pool*/, void* /*opaque*/, void* object, unsigned /*index*/) {
  auto* mbuf = static_cast<rte_mbuf*>(object);
  std::memset(mbuf->buf_addr, 0, mbuf->buf_len);
}

}  // namespace

Pool make_pool(const std::string& name, unsigned buffers) {
  Pool pool(rte_pktmbuf_pool_create(name.c_str(), buffers, kPoolCache, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
                                    SOCKET_ID_ANY));
  if (!pool) {
    throw Fault("--memory: no room for " + std::to_string(buffers) +
                " packet buffers; raise it, or lower --descriptors");
  }
  rte_mempool_obj_iter(pool.get(), clear_buffer, nullptr);
  return pool;
}

// Delegating would be of no use: what was done before a fault is undone by close().
Port::Port(const std::string& device, std::uint16_t queues, std::uint16_t descriptors,
           const std::string& option)
    : queues_(queues) {
  try {
    probe(device, option);
    configure(descriptors, option);
  } catch (const Fault&) {
    close();
    throw;
  }
}

Port::~Port() {
  close();
}

void Port::close() {
  if (started_) {
    rte_eth_dev_stop(id_);
  }
  if (probed_) {
    rte_eth_dev_close(id_);
    if (virtual_device_) {
      rte_eal_hotplug_remove("vdev", name_.c_str());
    }
  }
  started_ = probed_ = false;
}

void Port::probe(const std::string& device, const std::string& option) {
  const std::size_t comma = device.find(',');
  name_ = device.substr(0, comma);
  const std::string arguments = comma == std::string::npos ? "" : device.substr(comma + 1);
  virtual_device_ = name_.rfind("net_", 0) == 0 || name_.rfind("eth_", 0) == 0;
  if (virtual_device_ && rte_eal_hotplug_add("vdev", name_.c_str(), arguments.c_str()) != 0) {
    throw Fault(option + ": '" + device + "' could not be made (" + rte_strerror(rte_errno) +
                "); name a DPDK virtual device with its arguments, or a PCI address");
  }
  if (rte_eth_dev_get_port_by_name(name_.c_str(), &id_) != 0) {
    throw Fault(option + ": DPDK found no '" + name_ + "'; give the PCI address in full " +
                "(0000:03:00.0), with the card bound to vfio-pci");
  }
  probed_ = true;
}

void Port::configure(std::uint16_t descriptors, const std::string& option) {
  rte_eth_dev_info info{};
  rte_eth_dev_info_get(id_, &info);
  driver_ = info.driver_name;
  if (queues_ > info.max_rx_queues || queues_ > info.max_tx_queues) {
    throw Fault("--rss-queues: " + option + " has fewer than " + std::to_string(queues_) +
                " queues");
  }
  const rte_eth_conf conf{};
  int result = rte_eth_dev_configure(id_, queues_, queues_, &conf);
  std::uint16_t rx = descriptors;
  std::uint16_t tx = descriptors;
  if (result == 0) {
    result = rte_eth_dev_adjust_nb_rx_tx_desc(id_, &rx, &tx);
  }
  pool_ = make_pool("rx_" + name_, (unsigned{rx} + tx) * queues_ + 8191);
  for (std::uint16_t queue = 0; queue < queues_ && result == 0; ++queue) {
    result = rte_eth_rx_queue_setup(id_, queue, rx, SOCKET_ID_ANY, nullptr, pool_.get());
    if (result == 0) {
      result = rte_eth_tx_queue_setup(id_, queue, tx, SOCKET_ID_ANY, nullptr);
    }
  }
  if (result == 0) {
    result = rte_eth_dev_start(id_);
  }
  if (result != 0) {
    throw Fault(option + ": the port does not start: " + rte_strerror(-result));
  }
  started_ = true;
  rte_eth_promiscuous_enable(id_);  // a backend's and a client's address, neither the card's own
  rte_ether_addr address{};
  rte_eth_macaddr_get(id_, &address);
  std::memcpy(mac_.bytes.data(), address.addr_bytes, mac_.bytes.size());
}

bool Port::link_up() const {
  rte_eth_link link{};
  return rte_eth_link_get_nowait(id_, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

}  // namespace sluice::pktgen
