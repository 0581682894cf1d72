// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/lcore/dataplane.h"
#include "dataplane/stages/query.h"
#include "dataplane/state/drop.h"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sluice::runtime {

struct LcoreView {
  unsigned lcore = 0;  // CPU number
  std::uint64_t epoch_seen = 0;
  std::uint64_t turns = 0;
  std::uint64_t idle_turns = 0;
  std::uint64_t packets = 0;
  std::uint64_t flows_ipv4 = 0;
  std::uint64_t flows_ipv6 = 0;
  std::uint64_t held_packets = 0;
  std::uint64_t handed_over = 0;
  std::uint64_t affinity_evicted = 0;
  std::uint64_t half_open = 0;
  std::uint64_t half_open_evicted = 0;
  std::uint64_t held_fragments = 0;
  std::uint64_t fragmented = 0;
  std::uint64_t busy_permille = 0;
  std::uint64_t ended_evicted = 0;
  std::uint64_t snat_quarantine_broken = 0;
};

// The kernel's filter of source addresses on an interface, as it holds there: 0 off, 1 strict, 2
// loose (RFC 3704); 0 for one that there is not.
[[nodiscard]] std::uint32_t rp_filter_of(const std::string& interface);

// What the API may ask of the dataplane past the reconciler: it looks, and ends flows when told to.
// Any thread.
class Inspector {
 public:
  // `dataplane` outlives this.
  explicit Inspector(Dataplane& dataplane) : dataplane_(dataplane) {}

  [[nodiscard]] std::vector<PortState> ports() const { return dataplane_.port_states(); }
  // As Dataplane::list_flows and Dataplane::explain.
  [[nodiscard]] std::optional<std::vector<FlowRow>> flows(const FlowFilter& filter,
                                                          std::size_t limit, bool* truncated) {
    return dataplane_.list_flows(filter, limit, truncated);
  }
  [[nodiscard]] std::optional<std::uint64_t> delete_flows(const FlowFilter& filter) {
    return dataplane_.delete_flows(filter);
  }
  [[nodiscard]] std::optional<Explanation> explain(const ExplainQuery& query) {
    return dataplane_.explain(query);
  }
  // Packets by reason, of all lcores.
  struct Drops {
    std::array<std::uint64_t, kDropCount> packets{};
    std::array<std::uint64_t, kDropCount> answered{};
  };
  [[nodiscard]] Drops drops() const;
  [[nodiscard]] std::vector<LcoreView> lcores() const;
  [[nodiscard]] std::string idle() const { return dataplane_.idle(); }

 private:
  Dataplane& dataplane_;
};

}  // namespace sluice::runtime
