// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/address.h"

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

namespace sluice::pktgen {

inline constexpr std::uint16_t kBurst = 64;

// What a person has to change. what() is one sentence that names the option.
struct Fault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct MempoolDeleter {
  void operator()(rte_mempool* pool) const { rte_mempool_free(pool); }
};
using Pool = std::unique_ptr<rte_mempool, MempoolDeleter>;

// Buffers of which all bytes are zero. Throws Fault.
[[nodiscard]] Pool make_pool(const std::string& name, unsigned buffers);

// A DPDK port with the same number of queues each way.
class Port {
 public:
  // `device`: PCI address, or virtual device with its arguments. Throws Fault naming `option`.
  Port(const std::string& device, std::uint16_t queues, std::uint16_t descriptors,
       const std::string& option);
  ~Port();
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  [[nodiscard]] std::uint16_t queues() const { return queues_; }
  [[nodiscard]] MacAddress mac() const { return mac_; }
  [[nodiscard]] const std::string& driver() const { return driver_; }
  [[nodiscard]] bool link_up() const;

  [[nodiscard]] std::uint16_t receive(std::uint16_t queue, rte_mbuf** mbufs) const {
    return rte_eth_rx_burst(id_, queue, mbufs, kBurst);
  }
  // How many were taken; the others stay the caller's.
  [[nodiscard]] std::uint16_t send(std::uint16_t queue, rte_mbuf** mbufs,
                                   std::uint16_t count) const {
    return rte_eth_tx_burst(id_, queue, mbufs, count);
  }

 private:
  void probe(const std::string& device, const std::string& option);
  void configure(std::uint16_t descriptors, const std::string& option);
  void close();

  std::string name_;
  std::string driver_;
  Pool pool_;
  MacAddress mac_{};
  std::uint16_t id_ = 0;
  std::uint16_t queues_;
  bool virtual_device_ = false;
  bool probed_ = false;
  bool started_ = false;
};

}  // namespace sluice::pktgen
