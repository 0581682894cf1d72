// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/lcore/punt.h"
#include "dataplane/stages/packet.h"

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

struct rte_mbuf;

namespace sluice {

// A packet on its way to the lcore that its errand names; there it begins anew at parse.
struct HandedPacket {
  rte_mbuf* mbuf = nullptr;
  std::uint32_t detail = 0;  // with Errand::kAffinityChosen Packet::chosen, else the lent ports
  std::uint8_t lent_protocol = 0;
  std::uint8_t port = 0;  // Snapshot::ports index it arrived on
  bool from_host = false;
  Errand errand = Errand::kNone;

  // With verdict kHandOver.
  [[nodiscard]] static HandedPacket pack(const Packet& packet);
  void unpack(Burst& burst) const;
};
static_assert(sizeof(HandedPacket) == 16);

// One ring for each pair of lcores, so that each has one producer and one consumer and a stalled
// lcore fills the rings towards itself alone. Packets of one flow that arrive on one lcore stay in
// order.
class Handoff {
 public:
  static constexpr unsigned kRingSize = 1024;  // packets

  // Numbers 0 .. lcores - 1. Throws StartFault.
  explicit Handoff(unsigned lcores);
  // Frees the packets that are still under way; nobody sends or receives any more.
  ~Handoff();
  Handoff(const Handoff&) = delete;
  Handoff& operator=(const Handoff&) = delete;

  [[nodiscard]] unsigned lcores() const { return lcores_; }
  // On `from`'s lcore. How many were taken, from the front; the others are still the caller's.
  [[nodiscard]] unsigned send(unsigned from, unsigned to, std::span<const HandedPacket> packets);
  // On `to`'s lcore. How many were written to `packets`.
  [[nodiscard]] unsigned receive(unsigned from, unsigned to, std::span<HandedPacket> packets);

 private:
  [[nodiscard]] rte_ring* ring(unsigned from, unsigned to) {
    return rings_[from * lcores_ + to].get();
  }

  unsigned lcores_;
  std::vector<Ring> rings_;  // null on the diagonal
};

}  // namespace sluice
