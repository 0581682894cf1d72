// SPDX-License-Identifier: Apache-2.0
// Linked with sluiced's own main: a sluiced whose AF_PACKET and AF_XDP ports, which have one queue
// and steer nothing, stand behind a software NIC with a queue for each lcore. SLUICE_TEST_NIC says
// what it can: "rss", "rss_own_key", "sides", "one_arm", "rules" or "none". So the end-to-end tests
// run over each way of steering.
#include "dataplane/lcore/packet_pool.h"
#include "tests/support/test_nic.h"

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <atomic>
#include <cstdlib>
#include <map>
#include <string_view>
#include <thread>
#include <unistd.h>

namespace sluice::testing {
namespace {

constexpr std::uint16_t kQueues = 2;
constexpr std::uint16_t kBurst = 32;
constexpr useconds_t kIdleUs = 20;

NicModel wanted_model() {
  const char* given = std::getenv("SLUICE_TEST_NIC");
  const std::string_view wanted = given == nullptr ? "none" : given;
  NicModel model;
  model.rss_rules = wanted == "one_arm";
  model.sides = wanted == "sides" || model.rss_rules;
  model.rss = wanted.starts_with("rss") || model.sides;
  model.takes_key = wanted != "rss_own_key";
  model.takes_reta = model.takes_key;
  model.rules = wanted == "rules" || model.rss_rules;
  return model;
}

// The NIC's wire: a started port of DPDK's with one queue, and the thread between.
class WiredNic {
 public:
  WiredNic(const std::string& name, std::uint16_t wire)
      : name_(name), wire_(wire), nic_("nic_" + name, kQueues, wanted_model()) {
    pool_ = make_packet_pool("wire_" + name, 16'383, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY,
                             name.starts_with("net_af_xdp"));
    rte_eth_conf conf{};
    started_ = pool_ != nullptr && rte_eth_dev_configure(wire_, 1, 1, &conf) == 0 &&
               rte_eth_rx_queue_setup(wire_, 0, 1024, SOCKET_ID_ANY, nullptr, pool_) == 0 &&
               rte_eth_tx_queue_setup(wire_, 0, 1024, SOCKET_ID_ANY, nullptr) == 0 &&
               rte_eth_dev_start(wire_) == 0;
    rte_ether_addr mac{};
    rte_eth_macaddr_get(wire_, &mac);
    nic_.set_mac(mac);
    if (started_) {
      if (rte_eth_allmulticast_enable(wire_) != 0) {
        rte_eth_promiscuous_enable(wire_);
      }
      thread_ = std::thread([this] { carry(); });
    }
  }
  // After it no buffer is under way.
  ~WiredNic() {
    stop_ = true;
    if (thread_.joinable()) {
      thread_.join();
    }
    nic_.drain();
    if (started_) {
      rte_eth_allmulticast_disable(wire_);
      rte_eth_promiscuous_disable(wire_);
      rte_eth_dev_stop(wire_);
    }
    dpdk_nic_ops().detach(name_, false, wire_);
    rte_mempool_free(pool_);
  }
  WiredNic(const WiredNic&) = delete;
  WiredNic& operator=(const WiredNic&) = delete;

  [[nodiscard]] bool started() const { return started_; }
  [[nodiscard]] std::uint16_t id() const { return nic_.id(); }

 private:
  void carry() {
    while (!stop_) {
      rte_mbuf* received[kBurst];
      const std::uint16_t count = rte_eth_rx_burst(wire_, 0, received, kBurst);
      for (std::uint16_t i = 0; i < count; ++i) {
        nic_.arrive(received[i]);
      }
      std::uint16_t sent = 0;
      rte_mbuf* mbuf = nullptr;
      while (sent < kBurst && (mbuf = nic_.sent()) != nullptr) {
        if (rte_eth_tx_burst(wire_, 0, &mbuf, 1) == 0) {
          rte_pktmbuf_free(mbuf);
        }
        ++sent;
      }
      if (count + sent == 0) {
        usleep(kIdleUs);
      }
    }
  }

  std::string name_;
  std::uint16_t wire_;
  rte_mempool* pool_ = nullptr;
  TestNic nic_;
  bool started_ = false;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

std::map<std::uint16_t, std::unique_ptr<WiredNic>>& wired() {
  static std::map<std::uint16_t, std::unique_ptr<WiredNic>> nics;
  return nics;
}

int attach(const std::string& name, const std::string& arguments, bool pci, std::uint16_t* id) {
  const int result = dpdk_nic_ops().attach(name, arguments, pci, id);
  if (result != 0 || !name.starts_with("net_af_")) {
    return result;
  }
  auto nic = std::make_unique<WiredNic>(name, *id);
  if (!nic->started()) {
    return -EIO;
  }
  *id = nic->id();
  wired()[*id] = std::move(nic);
  return 0;
}

void detach(const std::string& name, bool pci, std::uint16_t id) {
  if (wired().erase(id) == 0) {
    dpdk_nic_ops().detach(name, pci, id);
  }
}

const bool kInstalled = [] {
  TestNic::install();
  nic_ops.attach = attach;
  nic_ops.detach = detach;
  return true;
}();

}  // namespace
}  // namespace sluice::testing
