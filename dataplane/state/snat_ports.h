// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/snapshot/snapshot.h"
#include "dataplane/state/counters.h"
#include "dataplane/state/flow_table.h"

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

  SnatPorts(std::uint64_t random_start, std::uint8_t lcore)
      : cursor_(random_start), lcore_(lcore) {}

  // Fills in flow.snat and flow.snat_port so that the reply tuple is free; backend, backend_port,
  // client, protocol, network and last_seen_ms (now) are set already. When every probe met a live
  // tuple, a quarantined one among them is broken (its flow erased, counted) for this flow. Returns
  // the hash of the reply tuple, for FlowTable::insert(); nothing: exhausted.
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
  struct Probed {
    bool free = false;       // flow.snat and flow.snat_port are
    std::uint64_t hash = 0;  // then of the reply tuple
    FlowRef quarantined{};   // else: whose tuple could be broken, if any
  };
  template <Family F>
  Probed probe(std::span<const SnatAddress> addresses, const Ownership& ownership,
               const FlowTable<F>& flows, FlowHot<F>& flow);

  std::uint64_t cursor_;
  std::uint8_t lcore_;
};

}  // namespace sluice
