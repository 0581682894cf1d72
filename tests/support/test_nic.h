// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/lcore/nic_ops.h"

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

struct rte_mbuf;
struct rte_ring;

// A NIC with several queues, RSS and flow rules, in software: no driver of DPDK's that runs without
// hardware has them all. It stands in nic_ops' place of the real ones; packets come to it by
// arrive() and leave it by sent(), from another thread if need be; its inside is a net_ring device.
// Its hash is DPDK's rte_softrss, its rules are compared byte by byte with the frame: neither knows
// the code under test.
namespace sluice::testing {

struct NicModel {
  const char* driver = "net_test_nic";
  std::uint8_t key_bytes = 40;
  std::uint16_t reta_entries = 128;
  bool rss = true;         // of addresses and ports, TCP and UDP
  bool sides = false;      // of one side alone, too
  bool compact = false;    // whose fields it puts together then
  bool takes_key = true;   // else it has a key of its own
  bool takes_reta = true;  // else a RETA of its own
  bool tells_key = true;   // by rss_hash_conf_get
  bool tells_hash = true;  // with each packet
  bool lies = false;       // its hash is by a key that it did not tell
  bool rules = false;      // to a queue, or dropped
  bool rss_rules = false;  // of which some spread by a hash of their own
  bool priorities = true;  // of rules, more than one
  std::size_t rules_max = 1024;
  std::uint8_t own_seed = 7;  // of its own key and RETA
};

class TestNic {
 public:
  // A device of this name, as settings have it. The NIC outlives its port.
  TestNic(std::string name, std::uint16_t queues, const NicModel& model = {});
  ~TestNic();
  TestNic(const TestNic&) = delete;
  TestNic& operator=(const TestNic&) = delete;

  [[nodiscard]] std::uint16_t id() const { return id_; }
  void set_mac(const rte_ether_addr& mac) { mac_ = mac; }
  // From the wire into the queue that rules or hash say. Frees it when a rule or a full queue drops
  // it. Returns the queue; -1 when it was dropped.
  int arrive(rte_mbuf* mbuf);
  // What the gateway has sent by any queue; the caller frees it. Null when there is nothing.
  rte_mbuf* sent();

  [[nodiscard]] std::size_t rules() const { return rules_.size(); }
  [[nodiscard]] std::uint64_t dropped_by_rule() const { return dropped_by_rule_; }
  [[nodiscard]] const std::vector<std::uint16_t>& reta() const { return reta_; }
  [[nodiscard]] const std::vector<std::uint8_t>& key() const { return key_; }
  [[nodiscard]] std::uint64_t fields() const { return fields_; }

  // Puts NICs of this kind in nic_ops' place; other devices stay DPDK's.
  static void install();
  // The buffers go back to their pools, as a closed device gives them.
  void drain();

 private:
  struct Rule;
  struct Ops;
  struct FreeRing {
    void operator()(rte_ring* ring) const;
  };
  using OwnedRing = std::unique_ptr<rte_ring, FreeRing>;

  std::string name_;
  NicModel model_;
  std::uint16_t id_ = 0;
  rte_ether_addr mac_{};
  std::mutex mutex_;            // over what follows
  std::vector<OwnedRing> in_;   // by queue
  std::vector<OwnedRing> out_;  // by queue
  std::vector<std::uint8_t> key_;
  std::vector<std::uint16_t> reta_;
  std::uint64_t fields_ = 0;  // RTE_ETH_RSS_*
  bool tells_ = false;        // the hash, as asked for
  std::vector<std::unique_ptr<Rule>> rules_;
  std::uint64_t dropped_by_rule_ = 0;
};

}  // namespace sluice::testing
