// SPDX-License-Identifier: Apache-2.0
#include "dataplane/lcore/port.h"

#include "dataplane/lcore/eal.h"
#include "dataplane/snapshot/limits.h"

#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <cstring>

namespace sluice {
namespace {

struct Device {
  std::string name;
  std::string arguments;
};

Device split(const std::string& device) {
  const std::size_t comma = device.find(',');
  return comma == std::string::npos ? Device{device, ""}
                                    : Device{device.substr(0, comma), device.substr(comma + 1)};
}

// The kernel's interface under an AF_PACKET or AF_XDP port.
std::optional<std::string> interface_under(const std::string& device) {
  if (device.rfind("net_af_packet", 0) != 0 && device.rfind("net_af_xdp", 0) != 0) {
    return std::nullopt;
  }
  const std::string arguments = "," + split(device).arguments + ",";
  const std::size_t begin = arguments.find(",iface=");
  if (begin == std::string::npos) {
    return std::nullopt;
  }
  const std::size_t from = begin + 7;
  return arguments.substr(from, arguments.find(',', from) - from);
}

}  // namespace

// Delegates, so that what was done before a fault is undone by the destructor.
Port::Port(const PortSettings& settings, unsigned lcores, const std::string& setting)
    : Port(settings) {
  if (const auto interface = interface_under(settings_.device)) {
    host_device_.emplace(*interface, settings_.device.rfind("net_af_packet", 0) == 0,
                         setting + ".device");
  }
  probe(setting);
  configure(lcores, setting);
  set_up_queues(lcores, setting);
  start(setting);
}

Port::~Port() {
  close();
  rte_mempool_free(pool_);
}

void Port::close() {
  if (started_) {
    // On AF_PACKET and AF_XDP these are flags of the kernel's interface, which outlives us.
    rte_eth_allmulticast_disable(id_);
    rte_eth_promiscuous_disable(id_);
    rte_eth_dev_stop(id_);
  }
  if (probed_) {
    rte_eth_dev_close(id_);
    if (!is_pci_address(settings_.device)) {
      rte_eal_hotplug_remove("vdev", split(settings_.device).name.c_str());
    }
  }
  started_ = false;
  probed_ = false;
}

void Port::probe(const std::string& setting) {
  Device device = split(settings_.device);
  const bool pci = is_pci_address(settings_.device);
  if (pci && std::count(device.name.begin(), device.name.end(), ':') == 1) {
    device.name = "0000:" + device.name;  // the name DPDK gives it has the domain
  }
  if (!pci && rte_eal_hotplug_add("vdev", device.name.c_str(), device.arguments.c_str()) != 0) {
    throw StartFault(setting + ".device: no such port: '" + settings_.device +
                     "' could not be made (" + Eal::last_message() + "); name a DPDK virtual " +
                     "device with its arguments, or the PCI address of a bound NIC");
  }
  if (rte_eth_dev_get_port_by_name(device.name.c_str(), &id_) != 0) {
    throw StartFault(setting + ".device: no such port: DPDK found no '" + device.name +
                     "'; bind the NIC to vfio-pci with deploy/host-setup, or correct the name");
  }
  probed_ = true;
  rte_ether_addr mac{};
  rte_eth_macaddr_get(id_, &mac);
  std::memcpy(mac_.bytes.data(), mac.addr_bytes, mac_.bytes.size());
}

void Port::configure(unsigned lcores, const std::string& setting) {
  rte_eth_dev_info info{};
  rte_eth_dev_info_get(id_, &info);
  driver_ = info.driver_name;
  if (lcores > info.max_rx_queues || lcores > info.max_tx_queues) {
    throw StartFault(setting + ".device: " + std::to_string(lcores) + " queues are needed, one " +
                     "for each of dataplane.lcores, and the device has " +
                     std::to_string(std::min(info.max_rx_queues, info.max_tx_queues)));
  }
  rte_eth_conf conf{};
  if ((info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM) != 0) {
    conf.rxmode.offloads |= RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
    offloads_.emplace_back("rx_ipv4_checksum");
  }
  if ((info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS) != 0) {
    conf.txmode.offloads |= RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
    takes_segments_ = true;
    offloads_.emplace_back("tx_multi_segs");
  }
  const auto queues = static_cast<std::uint16_t>(lcores);
  if (const int result = rte_eth_dev_configure(id_, queues, queues, &conf); result != 0) {
    throw StartFault(setting + ".device: cannot be configured: " + rte_strerror(-result));
  }
  const int result = rte_eth_dev_set_mtu(id_, settings_.mtu);
  if (result != 0 && result != -ENOTSUP) {
    throw StartFault(setting + ".mtu: the device refuses " + std::to_string(settings_.mtu) + ": " +
                     rte_strerror(-result));
  }
}

void Port::set_up_queues(unsigned lcores, const std::string& setting) {
  std::uint16_t rx = settings_.rx_descriptors;
  std::uint16_t tx = settings_.tx_descriptors;
  rte_eth_dev_adjust_nb_rx_tx_desc(id_, &rx, &tx);
  const unsigned needed = (unsigned{rx} + tx + 16 * kBurstMax) * lcores + 2048;
  const unsigned mbufs = settings_.buffers == 0 ? needed : settings_.buffers;
  if (mbufs < needed) {
    throw StartFault(setting + ".buffers: " + std::to_string(mbufs) + " are fewer than the " +
                     std::to_string(needed) + " that its queues can hold; raise it, or lower " +
                     setting + ".rx_descriptors and tx_descriptors");
  }
  const unsigned bytes = settings_.buffer_bytes != 0
                             ? settings_.buffer_bytes
                             : std::max<unsigned>(2048, RTE_ALIGN_CEIL(settings_.mtu + 64U, 1024));
  const auto room = static_cast<std::uint16_t>(RTE_PKTMBUF_HEADROOM + bytes);
  const std::string name = "rx_" + settings_.name;
  pool_ = rte_pktmbuf_pool_create(name.c_str(), mbufs, 256, 0, room, SOCKET_ID_ANY);
  if (pool_ == nullptr) {
    throw StartFault("dataplane.memory: no room for " + std::to_string(mbufs) + " packet buffers " +
                     "of " + setting + "; raise it, or lower " + setting + ".rx_descriptors" +
                     (settings_.buffers == 0 ? "" : " or " + setting + ".buffers"));
  }
  for (std::uint16_t queue = 0; queue < lcores; ++queue) {
    int result = rte_eth_rx_queue_setup(id_, queue, rx, SOCKET_ID_ANY, nullptr, pool_);
    if (result == 0) {
      result = rte_eth_tx_queue_setup(id_, queue, tx, SOCKET_ID_ANY, nullptr);
    }
    if (result != 0) {
      throw StartFault(setting + ".device: queue " + std::to_string(queue) + " cannot be set up: " +
                       rte_strerror(-result) + " (" + Eal::last_message() + ")");
    }
  }
}

void Port::start(const std::string& setting) {
  if (const int result = rte_eth_dev_start(id_); result != 0) {
    throw StartFault(setting + ".device: does not start: " + rte_strerror(-result) + " (" +
                     Eal::last_message() + ")");
  }
  started_ = true;
  // Neighbour solicitations come to multicast addresses that depend on each VIP.
  if (rte_eth_allmulticast_enable(id_) != 0) {
    rte_eth_promiscuous_enable(id_);
  }
}

PortState Port::state() const {
  PortState state;
  state.name = settings_.name;
  state.device = settings_.device;
  state.driver = driver_;
  state.mac = mac_;
  state.mtu = settings_.mtu;
  state.offloads = offloads_;
  rte_eth_link link{};
  if (rte_eth_link_get_nowait(id_, &link) == 0) {
    state.link_up = link.link_status == RTE_ETH_LINK_UP;
    state.speed_mbps = link.link_speed == RTE_ETH_SPEED_NUM_UNKNOWN ? 0 : link.link_speed;
  }
  rte_eth_stats stats{};
  if (rte_eth_stats_get(id_, &stats) == 0) {
    state.rx_packets = stats.ipackets;
    state.rx_bytes = stats.ibytes;
    state.tx_packets = stats.opackets;
    state.tx_bytes = stats.obytes;
    state.rx_missed = stats.imissed + stats.rx_nombuf;
    state.rx_errors = stats.ierrors;
    state.tx_errors = stats.oerrors;
  }
  return state;
}

}  // namespace sluice
