// SPDX-License-Identifier: Apache-2.0
#include "dataplane/lcore/handoff.h"

#include "dataplane/lcore/dataplane.h"

#include <rte_mbuf.h>
#include <rte_ring_elem.h>

#include <bit>
#include <string>

namespace sluice {

HandedPacket HandedPacket::pack(const Packet& packet) {
  HandedPacket handed{packet.mbuf, 0, 0, packet.rx_port, packet.from_host, packet.errand};
  if (packet.errand == Errand::kAffinityChosen) {
    handed.detail = std::bit_cast<std::uint32_t>(packet.chosen);
  } else {
    handed.detail = std::uint32_t{packet.lent.source.raw} << 16U | packet.lent.destination.raw;
    handed.lent_protocol = packet.lent.protocol;
  }
  return handed;
}

void HandedPacket::unpack(Burst& burst) const {
  burst.add(mbuf, port, from_host);
  Packet& packet = burst.packets[burst.count - 1];
  packet.errand = errand;
  if (errand == Errand::kAffinityChosen) {
    packet.chosen = std::bit_cast<BindingRef>(detail);
  } else {
    packet.lent = {Be16{static_cast<std::uint16_t>(detail >> 16U)},
                   Be16{static_cast<std::uint16_t>(detail)}, lent_protocol};
  }
}

Handoff::Handoff(unsigned lcores) : lcores_(lcores), rings_(std::size_t{lcores} * lcores) {
  for (unsigned from = 0; from < lcores; ++from) {
    for (unsigned to = 0; to < lcores; ++to) {
      if (from == to) {
        continue;
      }
      const std::string name = "handoff_" + std::to_string(from) + "_" + std::to_string(to);
      Ring& made = rings_[from * lcores + to];
      made.reset(rte_ring_create_elem(name.c_str(), sizeof(HandedPacket), kRingSize, SOCKET_ID_ANY,
                                      RING_F_SP_ENQ | RING_F_SC_DEQ));
      if (made == nullptr) {
        throw StartFault("dataplane.memory: no room for the rings between " +
                         std::to_string(lcores) + " lcores; raise it");
      }
    }
  }
}

Handoff::~Handoff() {
  HandedPacket packet;
  for (const Ring& ring : rings_) {
    while (ring != nullptr && rte_ring_dequeue_elem(ring.get(), &packet, sizeof(packet)) == 0) {
      rte_pktmbuf_free(packet.mbuf);
    }
  }
}

unsigned Handoff::send(unsigned from, unsigned to, std::span<const HandedPacket> packets) {
  return rte_ring_sp_enqueue_burst_elem(ring(from, to), packets.data(), sizeof(HandedPacket),
                                        static_cast<unsigned>(packets.size()), nullptr);
}

unsigned Handoff::receive(unsigned from, unsigned to, std::span<HandedPacket> packets) {
  return rte_ring_sc_dequeue_burst_elem(ring(from, to), packets.data(), sizeof(HandedPacket),
                                        static_cast<unsigned>(packets.size()), nullptr);
}

}  // namespace sluice
