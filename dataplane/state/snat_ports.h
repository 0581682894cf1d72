// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/snapshot/snapshot.h"
#include "dataplane/state/counters.h"
#include "dataplane/state/flow_table.h"

#include <array>
#include <cstdint>
#include <optional>
#include <span>

namespace sluice {

// Chooses SNAT addresses and ports for new FULL_NAT flows of one lcore (RFC 4787, RFC 6056). There
// are no lists of free ports: what is taken is what this lcore's flow table holds, so a port is
// used again for every other backend (endpoint-dependent mapping, which a gateway in front of its
// own servers can afford). A cursor with a random start walks the range; the address is chosen by
// the client's address, so that a client's flows come from one (RFC 4787 REQ-2), and the others
// are tried when its range is exhausted. Of several lcores each takes the tuples alone that replies
// bring home to it (inverse RSS), so they never meet.
class SnatPorts {
 public:
  // Probes per address before it counts as exhausted.
  static constexpr std::uint32_t kProbesMax = 64;
  // In quarantine for those who find none free: as many as that in a turn.
  static constexpr std::uint32_t kSpareTuples = 16;

  SnatPorts(std::uint64_t random_start, std::uint8_t lcore)
      : cursor_(random_start), lcore_(lcore) {}

  // Fills in flow.snat and flow.snat_port so that the reply tuple is free; backend, backend_port,
  // client, protocol, network and last_seen_ms (now) are set already. When every probe met a tuple
  // that is taken, the first quarantined one among them is broken (its flow erased, counted) for
  // this flow; and where few such are left, the first flows that rest in TIME-WAIT are put in
  // quarantine, for the next ones. Returns the hash of the reply tuple, for FlowTable::insert();
  // nothing: exhausted.
  template <Family F>
  [[nodiscard]] std::optional<std::uint64_t> choose(std::span<const SnatAddress> addresses,
                                                    const Ownership& ownership, FlowTable<F>& flows,
                                                    LcoreCounters& counters, FlowHot<F>& flow);
  // For a burst of new flows, each before any of them chooses: fetches what choose() will ask the
  // flow table first, for a flow of which client, backend, backend_port, protocol and network are
  // set. On a copy, so that the cursor itself stays where it is.
  template <Family F>
  void prefetch(std::span<const SnatAddress> addresses, const Ownership& ownership,
                const FlowTable<F>& flows, FlowHot<F>& flow);
  // Whether choose() would find one; changes nothing.
  template <Family F>
  [[nodiscard]] bool has_room(std::span<const SnatAddress> addresses, const Ownership& ownership,
                              const FlowTable<F>& flows, const FlowHot<F>& flow) const;

 private:
  // Whom probes met that found no free tuple.
  struct Ended {
    FlowRef quarantined{};                // the first that can be broken
    std::uint64_t behind = 0;             // the cursor then
    std::uint32_t quarantined_count = 0;  // also those of this very turn
    std::uint32_t waiting_count = 0;
    std::array<std::uint32_t, kSpareTuples> waiting;  // the first that rest in TIME-WAIT
  };
  // The hash of the first free reply tuple; `on_taken` gets whoever has one before that.
  template <Family F, typename OnTaken>
  std::optional<std::uint64_t> probe(std::span<const SnatAddress> addresses,
                                     const Ownership& ownership, const FlowTable<F>& flows,
                                     FlowHot<F>& flow, OnTaken on_taken);
  template <Family F>
  Ended probe_ended(std::span<const SnatAddress> addresses, const Ownership& ownership,
                    const FlowTable<F>& flows, FlowHot<F>& flow);
  template <Family F>
  std::optional<std::uint64_t> take_ended(std::span<const SnatAddress> addresses,
                                          const Ownership& ownership, FlowTable<F>& flows,
                                          LcoreCounters& counters, FlowHot<F>& flow);

  std::uint64_t cursor_;
  std::uint8_t lcore_;
};

}  // namespace sluice
