// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/lcore/command.h"
#include "dataplane/lcore/eal.h"
#include "dataplane/lcore/handoff.h"
#include "dataplane/lcore/hold.h"
#include "dataplane/lcore/idle.h"
#include "dataplane/lcore/punt.h"
#include "dataplane/lcore/rcu.h"
#include "dataplane/stages/pipeline.h"
#include "dataplane/state/aging.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

namespace sluice {

// A port of the snapshot as a worker reaches it.
struct PortLink {
  std::uint16_t id = 0;         // DPDK's number of the device
  std::uint16_t vlan = 0;       // frames are sent with this tag; 0: as they are, and received here
  bool takes_segments = false;  // a packet in several buffers can be sent
};

// What a worker is given: nothing here is owned by it.
struct WorkerContext {
  unsigned number = 0;          // 0 .. lcores - 1: its queue on every port, its RCU reader
  unsigned lcore = 0;           // CPU number
  std::vector<PortLink> ports;  // by Snapshot::ports index
  SnapshotRcu* rcu = nullptr;
  Punt* punt = nullptr;
  Handoff* handoff = nullptr;
  rte_mempool* hold_pool = nullptr;
  rte_mempool* fragment_pool = nullptr;  // for fragments that wait, and those that it makes
  LcoreCounters* counters = nullptr;
  QuotaPool* quotas = nullptr;  // null: no flow has any
  std::uint32_t idle_sleep_us = 0;
  IdleWait idle_wait = IdleWait::kAuto;
  bool hugepages = true;
  std::uint32_t flows_ipv4 = 0;
  std::uint32_t flows_ipv6 = 0;
  std::uint32_t affinity_clients = 1024;
  std::uint32_t half_open_percent = 100;  // of each flow table, at most
};

// What is given to the kernel, each at a rate of its own, so that neither a flood of one nor
// transit traffic takes away the neighbours or the routing sessions.
enum class PuntClass : std::uint8_t {
  kNeighbour,  // ARP and neighbour discovery
  kHost,       // to the host's own addresses, and what routing protocols multicast
  kTransit,    // what the kernel routes
};
[[nodiscard]] PuntClass punt_class(const Packet& packet, const Snapshot& snapshot);

// One forwarding lcore: takes bursts from its queues, runs the pipeline, and does what the verdicts
// say. It alone sends, punts, holds and frees packets, and it alone writes its tables.
class Worker {
 public:
  explicit Worker(const WorkerContext& context);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Until stop(). On the lcore.
  void run();
  void stop() { stop_.store(true, std::memory_order_relaxed); }

  // One turn of the loop, outside run(): for a caller that is the lcore itself.
  void turn();
  // Any thread. False when the ring is full. The command lives until it is done.
  [[nodiscard]] bool submit(Command* command);
  [[nodiscard]] IdleWait idle_wait() const { return idle_.how(); }
  [[nodiscard]] std::uint64_t transmit_dropped(std::size_t port) const {
    return outputs_[port].dropped.get();
  }

 private:
  // Frames on their way out of one port, sent when full and at the end of a burst.
  struct Output {
    std::uint32_t count = 0;
    std::array<rte_mbuf*, kBurstMax> mbufs;
    Counter dropped;  // writer: the lcore; readers: control threads
  };

  // Packets on their way to one other lcore, sent at the end of a burst.
  struct Handing {
    std::uint32_t count = 0;
    std::array<HandedPacket, kBurstMax> packets;
  };

  std::uint32_t receive_from_ports(const Snapshot& snapshot);
  std::uint32_t receive_from_kernel(const Snapshot& snapshot);
  std::uint32_t take_from_kernel(std::uint8_t port, const Snapshot& snapshot);
  std::uint32_t receive_handed(const Snapshot& snapshot);
  void receive_released(const Snapshot& snapshot);
  void act(const Snapshot& snapshot);
  void transmit(rte_mbuf* mbuf, std::uint8_t port);
  void transmit_fragments(rte_mbuf* mbuf, std::uint8_t port, std::uint16_t mtu);
  void transmit_held(const HeldPacket& held);
  void hold_fragment(const Packet& packet);
  void drop_discarded();
  void flush(std::uint8_t port);
  void hand_over(const Packet& packet);
  void flush_handed();
  void punt(const Packet& packet, const Snapshot& snapshot);
  void drop(rte_mbuf* mbuf, Drop reason);
  bool serve_command(const Snapshot& snapshot);
  void wait_when_idle();

  static constexpr unsigned kSendTries = 4;
  static constexpr unsigned kCommands = 64;

  WorkerContext context_;
  TableMemory memory4_;
  TableMemory memory6_;
  LcoreState state_;
  Aging<Family::kIpv4> aging4_;
  Aging<Family::kIpv6> aging6_;
  HoldQueue hold_;
  Ring commands_;
  Command* serving_ = nullptr;
  // By PuntClass.
  std::array<TokenBucket, 3> buckets_{TokenBucket(2'000), TokenBucket(50'000), TokenBucket(50'000)};
  std::vector<Output> outputs_;
  std::vector<Handing> handings_;  // by lcore number
  Burst burst_;
  std::uint64_t ticks_per_ms_;
  Idle idle_;
  BusyShare busy_share_;
  bool worked_ = false;  // the last turn did something
  std::atomic<bool> stop_{false};
};

}  // namespace sluice
