// SPDX-License-Identifier: Apache-2.0
#include "dataplane/lcore/port.h"

#include "dataplane/lcore/eal.h"
#include "dataplane/lcore/nic_ops.h"
#include "dataplane/lcore/packet_pool.h"
#include "dataplane/snapshot/limits.h"

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
Port::Port(const PortSettings& settings, unsigned lcores, const std::string& setting,
           const ToeplitzKey& rss_key)
    : Port(settings) {
  if (const auto interface = interface_under(settings_.device)) {
    host_device_.emplace(*interface, settings_.device.rfind("net_af_packet", 0) == 0,
                         setting + ".device");
  }
  probe(setting);
  configure(lcores, setting, rss_key);
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
    nic_ops.detach(split(settings_.device).name, is_pci_address(settings_.device), id_);
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
  const int found = nic_ops.attach(device.name, device.arguments, pci, &id_);
  if (found != 0 && !pci) {
    throw StartFault(setting + ".device: no such port: '" + settings_.device +
                     "' could not be made (" + Eal::last_message() + "); name a DPDK virtual " +
                     "device with its arguments, or the PCI address of a bound NIC");
  }
  if (found != 0) {
    throw StartFault(setting + ".device: no such port: DPDK found no '" + device.name +
                     "'; bind the NIC to vfio-pci with deploy/host-setup, or correct the name");
  }
  probed_ = true;
  rte_ether_addr mac{};
  nic_ops.mac_get(id_, &mac);
  std::memcpy(mac_.bytes.data(), mac.addr_bytes, mac_.bytes.size());
  socket_ = rte_eth_dev_socket_id(id_);
}

void Port::ask_offloads(std::uint64_t rx_capable, std::uint64_t tx_capable, std::uint64_t* rx,
                        std::uint64_t* tx) {
  const auto ask = [this](std::uint64_t capable, std::uint64_t offload, std::uint64_t* asked,
                          const char* name) {
    const bool has = (capable & offload) != 0;
    *asked |= has ? offload : 0;
    requests_.push_back({name, has, has ? "" : "the driver does not have it"});
    if (has) {
      offloads_.emplace_back(name);
    }
    return has;
  };
  ask(rx_capable, RTE_ETH_RX_OFFLOAD_IPV4_CKSUM, rx, "rx_ipv4_checksum");
  takes_segments_ = ask(tx_capable, RTE_ETH_TX_OFFLOAD_MULTI_SEGS, tx, "tx_multi_segs");
  if (rss_) {
    ask(rx_capable, RTE_ETH_RX_OFFLOAD_RSS_HASH, rx, "rx_rss_hash");
  }
}

void Port::configure(unsigned lcores, const std::string& setting, const ToeplitzKey& rss_key) {
  rte_eth_dev_info info{};
  nic_ops.info_get(id_, &info);
  driver_ = info.driver_name;
  if (lcores > info.max_rx_queues || lcores > info.max_tx_queues) {
    throw StartFault(setting + ".device: " + std::to_string(lcores) + " queues are needed, one " +
                     "for each of dataplane.lcores, and the device has " +
                     std::to_string(std::min(info.max_rx_queues, info.max_tx_queues)));
  }
  if (info.max_mtu != 0 && settings_.mtu > info.max_mtu) {
    throw StartFault(setting + ".mtu: the device carries at most " + std::to_string(info.max_mtu) +
                     ", not " + std::to_string(settings_.mtu) + "; lower it");
  }
  rte_eth_conf conf{};
  // Larger ones are told before queues are made, as some drivers want it.
  conf.rxmode.mtu = settings_.mtu > RTE_ETHER_MTU ? settings_.mtu : 0;
  const auto request = lcores > 1 ? rss_request(settings_, info) : std::nullopt;
  rss_ = request.has_value();
  ask_offloads(info.rx_offload_capa, info.tx_offload_capa, &conf.rxmode.offloads,
               &conf.txmode.offloads);
  const auto queues = static_cast<std::uint16_t>(lcores);
  ToeplitzKey key = rss_key;
  if (rss_) {
    conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    conf.rx_adv_conf.rss_conf = {key.bytes.data(), request->key_bytes, request->fields};
  }
  int result = nic_ops.configure(id_, queues, queues, &conf);
  if (result != 0 && rss_) {
    requests_.push_back({"rss", false, rte_strerror(-result)});
    rss_ = false;
    conf.rxmode.mq_mode = RTE_ETH_MQ_RX_NONE;
    conf.rxmode.offloads &= ~RTE_ETH_RX_OFFLOAD_RSS_HASH;
    conf.rx_adv_conf = {};
    result = nic_ops.configure(id_, queues, queues, &conf);
  }
  if (result != 0) {
    throw StartFault(setting + ".device: cannot be configured: " + rte_strerror(-result));
  }
  result = rte_eth_dev_set_mtu(id_, settings_.mtu);
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
  const bool dense = driver_ == "net_af_xdp";
  pool_ = make_packet_pool(name, mbufs, 256, room, socket_, dense);
  if (pool_ == nullptr && socket_ != SOCKET_ID_ANY) {
    // No memory is reserved there; another node's is better than none.
    requests_.push_back({"memory of NUMA node " + std::to_string(socket_), false,
                         "none is left there, another node's is used"});
    socket_ = SOCKET_ID_ANY;
    pool_ = make_packet_pool(name, mbufs, 256, room, socket_, dense);
  }
  if (pool_ == nullptr) {
    throw StartFault("dataplane.memory: no room for " + std::to_string(mbufs) + " packet buffers " +
                     "of " + setting + "; raise it, or lower " + setting + ".rx_descriptors" +
                     (settings_.buffers == 0 ? "" : " or " + setting + ".buffers"));
  }
  for (std::uint16_t queue = 0; queue < lcores; ++queue) {
    const auto socket = static_cast<unsigned>(socket_);
    int result = rte_eth_rx_queue_setup(id_, queue, rx, socket, nullptr, pool_);
    if (result == 0) {
      result = rte_eth_tx_queue_setup(id_, queue, tx, socket, nullptr);
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

SteeredPort Port::steered() const {
  return {id_, driver_, settings_.steering, settings_.faces, rss_};
}

bool Port::link_changed() {
  rte_eth_link link{};
  const bool up =
      rte_eth_link_get_nowait(id_, &link) == 0 ? link.link_status == RTE_ETH_LINK_UP : link_up_;
  if (up == link_up_) {
    return false;
  }
  link_up_ = up;
  link_changes_.add(1);
  return true;
}

PortState Port::state() const {
  PortState state;
  state.name = settings_.name;
  state.device = settings_.device;
  state.driver = driver_;
  state.mac = mac_;
  state.mtu = settings_.mtu;
  state.offloads = offloads_;
  state.requests = requests_;
  state.link_changes = link_changes_.get();
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
