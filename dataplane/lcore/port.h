// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/lcore/dataplane.h"
#include "dataplane/lcore/host_device.h"
#include "dataplane/lcore/steering.h"
#include "dataplane/state/counters.h"

#include <memory>
#include <optional>
#include <string>

struct rte_mempool;

namespace sluice {

// One DPDK port: probed, configured and started; stopped and closed again. One receive and one
// transmit queue for each forwarding lcore.
class Port {
 public:
  // `setting`: "ports[0]", for faults. `rss_key`: with what the device shall spread packets, where
  // it is to and can. Throws StartFault.
  Port(const PortSettings& settings, unsigned lcores, const std::string& setting,
       const ToeplitzKey& rss_key = kMicrosoftToeplitzKey);
  ~Port();
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  // No packet moves any more, and what the device still has goes back to its pool. A device may
  // have packets of every pool, so all ports are closed before any pool goes. Idempotent.
  void close();

  [[nodiscard]] std::uint16_t id() const { return id_; }  // DPDK's number
  [[nodiscard]] const PortSettings& settings() const { return settings_; }
  [[nodiscard]] MacAddress mac() const { return mac_; }
  [[nodiscard]] rte_mempool* pool() const { return pool_; }
  // A packet in several buffers can be sent.
  [[nodiscard]] bool takes_segments() const { return takes_segments_; }
  // Everything but what the worker counts. Any thread.
  [[nodiscard]] PortState state() const;
  // As lcore/steering.h wants it told.
  [[nodiscard]] SteeredPort steered() const;
  // NUMA node of the device, SOCKET_ID_ANY when it has none.
  [[nodiscard]] int socket() const { return socket_; }
  // Whether the link went up or down since the last call; polled, since not every driver
  // interrupts. From one thread.
  bool link_changed();
  [[nodiscard]] bool link_is_up() const { return link_up_; }  // then

 private:
  explicit Port(const PortSettings& settings) : settings_(settings) {}
  void probe(const std::string& setting);
  void configure(unsigned lcores, const std::string& setting, const ToeplitzKey& rss_key);
  void ask_offloads(std::uint64_t rx_capable, std::uint64_t tx_capable, std::uint64_t* rx,
                    std::uint64_t* tx);
  void set_up_queues(unsigned lcores, const std::string& setting);
  void start(const std::string& setting);

  PortSettings settings_;
  std::optional<HostDevice> host_device_;
  std::uint16_t id_ = 0;
  bool probed_ = false;
  bool started_ = false;
  bool takes_segments_ = false;
  bool rss_ = false;  // it spreads packets by RSS
  int socket_ = -1;
  bool link_up_ = true;   // twins have their carrier from the start
  Counter link_changes_;  // writer: whoever calls link_changed(); readers: any thread
  MacAddress mac_{};
  rte_mempool* pool_ = nullptr;
  std::string driver_;
  std::vector<std::string> offloads_;
  std::vector<NicRequest> requests_;
};

}  // namespace sluice
