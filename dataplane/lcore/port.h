// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/lcore/dataplane.h"
#include "dataplane/lcore/host_device.h"

#include <memory>
#include <optional>
#include <string>

struct rte_mempool;

namespace sluice {

// One DPDK port: probed, configured and started; stopped and closed again. One receive and one
// transmit queue for each forwarding lcore.
class Port {
 public:
  // `setting`: "ports[0]", for faults. Throws StartFault.
  Port(const PortSettings& settings, unsigned lcores, const std::string& setting);
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

 private:
  explicit Port(const PortSettings& settings) : settings_(settings) {}
  void probe(const std::string& setting);
  void configure(unsigned lcores, const std::string& setting);
  void set_up_queues(unsigned lcores, const std::string& setting);
  void start(const std::string& setting);

  PortSettings settings_;
  std::optional<HostDevice> host_device_;
  std::uint16_t id_ = 0;
  bool probed_ = false;
  bool started_ = false;
  bool takes_segments_ = false;
  MacAddress mac_{};
  rte_mempool* pool_ = nullptr;
  std::string driver_;
  std::vector<std::string> offloads_;
};

}  // namespace sluice
