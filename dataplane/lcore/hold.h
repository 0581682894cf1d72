// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/stages/pipeline.h"
#include "dataplane/state/counters.h"

#include <cstdint>
#include <vector>

struct rte_mempool;
struct rte_ring;

namespace sluice {

// Packets of one lcore that wait until a neighbour's MAC is known. They are copied into a pool of
// their own, so that they never pin a port's buffers, and bounded in all and per neighbour. What
// they wait for is asked for through the ring of wanted neighbours, again every half second.
class HoldQueue {
 public:
  static constexpr std::size_t kPackets = 512;
  static constexpr std::size_t kPerNeighbour = 64;
  static constexpr std::uint32_t kPatienceMs = 3'000;
  static constexpr std::uint32_t kAskAgainMs = 500;
  static constexpr std::uint32_t kLookAgainMs = 50;

  // Neither is owned; both outlive the queue. The pool has room for kPackets.
  HoldQueue(rte_mempool* pool, rte_ring* wanted, LcoreCounters& counters);
  ~HoldQueue();
  HoldQueue(const HoldQueue&) = delete;
  HoldQueue& operator=(const HoldQueue&) = delete;

  // Copies a packet with verdict kHold and frees the original, also when there is no room for it
  // (counted as kHoldFull).
  void hold(const Packet& packet, std::uint32_t now_ms);

  // Calls send(packet) for each packet whose neighbour `snapshot` knows, which then owns it;
  // drops those that have waited too long (kHoldExpired). Looks at them only when the snapshot is
  // another one or some time has passed, so a turn costs nothing while they wait.
  template <typename Send>
  void retry(const Snapshot& snapshot, std::uint32_t now_ms, Send&& send) {
    if (held_.empty() || (snapshot.epoch == tried_epoch_ && now_ms - tried_ms_ < kLookAgainMs)) {
      return;
    }
    tried_epoch_ = snapshot.epoch;
    tried_ms_ = now_ms;
    std::size_t kept = 0;
    for (HeldPacket& packet : held_) {
      if (release(packet, snapshot)) {
        send(packet);
      } else if (!expire(packet, now_ms)) {
        held_[kept++] = packet;
      }
    }
    held_.resize(kept);
    counters_.held_packets.set(kept);
    forget_asked(now_ms);
  }
  [[nodiscard]] std::size_t size() const { return held_.size(); }

 private:
  struct Asked {
    IpAddress neighbour;
    std::uint8_t port = 0;
    std::uint32_t at_ms = 0;
  };
  [[nodiscard]] std::size_t waiting_for(std::uint8_t port, const IpAddress& neighbour) const;
  void ask(std::uint8_t port, const IpAddress& neighbour, std::uint32_t now_ms);
  bool expire(const HeldPacket& packet, std::uint32_t now_ms);
  void forget_asked(std::uint32_t now_ms);

  rte_mempool* pool_;
  rte_ring* wanted_;
  LcoreCounters& counters_;
  std::vector<HeldPacket> held_;
  std::vector<Asked> asked_;
  std::uint64_t tried_epoch_ = 0;
  std::uint32_t tried_ms_ = 0;
};

}  // namespace sluice
