// SPDX-License-Identifier: Apache-2.0
#include "dataplane/lcore/hold.h"

#include "dataplane/lcore/punt.h"

#include <rte_mbuf.h>
#include <rte_ring_elem.h>

#include <algorithm>

namespace sluice {

HoldQueue::HoldQueue(rte_mempool* pool, rte_ring* wanted, LcoreCounters& counters)
    : pool_(pool), wanted_(wanted), counters_(counters) {
  held_.reserve(kPackets);
  asked_.reserve(kPackets);
}

HoldQueue::~HoldQueue() {
  for (const HeldPacket& packet : held_) {
    rte_pktmbuf_free(packet.mbuf);
  }
}

void HoldQueue::hold(const Packet& packet, std::uint32_t now_ms) {
  rte_mbuf* copy = nullptr;
  if (held_.size() < kPackets && waiting_for(packet.out_port, packet.neighbour) < kPerNeighbour) {
    copy = rte_pktmbuf_copy(packet.mbuf, pool_, 0, UINT32_MAX);
  }
  if (copy == nullptr) {
    counters_.count(Drop::kHoldFull);
  } else {
    held_.push_back({copy, packet.neighbour, packet.out_port, 0, now_ms});
    counters_.held_packets.set(held_.size());
  }
  rte_pktmbuf_free(packet.mbuf);
  ask(packet.out_port, packet.neighbour, now_ms);
}

std::size_t HoldQueue::waiting_for(std::uint8_t port, const IpAddress& neighbour) const {
  return static_cast<std::size_t>(
      std::count_if(held_.begin(), held_.end(), [&](const HeldPacket& packet) {
        return packet.out_port == port && packet.neighbour == neighbour;
      }));
}

void HoldQueue::ask(std::uint8_t port, const IpAddress& neighbour, std::uint32_t now_ms) {
  const auto at = std::find_if(asked_.begin(), asked_.end(), [&](const Asked& asked) {
    return asked.port == port && asked.neighbour == neighbour;
  });
  if (at != asked_.end()) {
    if (now_ms - at->at_ms < kAskAgainMs) {
      return;
    }
    at->at_ms = now_ms;
  } else if (asked_.size() < kPackets) {
    asked_.push_back({neighbour, port, now_ms});
  } else {
    return;  // as many are asked for as packets can wait; room comes within a second
  }
  WantedNeighbour wanted{neighbour, port, {}};
  rte_ring_enqueue_elem(wanted_, &wanted, sizeof(wanted));
}

bool HoldQueue::expire(const HeldPacket& packet, std::uint32_t now_ms) {
  if (now_ms - packet.since_ms < kPatienceMs) {
    ask(packet.out_port, packet.neighbour, now_ms);
    return false;
  }
  counters_.count(Drop::kHoldExpired);
  rte_pktmbuf_free(packet.mbuf);
  return true;
}

void HoldQueue::forget_asked(std::uint32_t now_ms) {
  std::erase_if(asked_,
                [&](const Asked& asked) { return now_ms - asked.at_ms >= 2 * kAskAgainMs; });
}

}  // namespace sluice
