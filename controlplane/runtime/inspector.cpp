// SPDX-License-Identifier: Apache-2.0
#include "controlplane/runtime/inspector.h"

#include <algorithm>
#include <fstream>

namespace sluice::runtime {

// The larger of the interface's own and what is said for all of them (ip-sysctl).
std::uint32_t rp_filter_of(const std::string& interface) {
  std::uint32_t largest = 0;
  for (const std::string& name : {std::string("all"), interface}) {
    std::uint32_t value = 0;
    if (std::ifstream("/proc/sys/net/ipv4/conf/" + name + "/rp_filter") >> value) {
      largest = std::max(largest, value);
    }
  }
  return largest;
}

Inspector::Drops Inspector::drops() const {
  Drops drops;
  for (const auto& lcore : dataplane_.counters()) {
    for (std::size_t reason = 0; reason < kDropCount; ++reason) {
      drops.packets[reason] += lcore->drops[reason].get();
      drops.answered[reason] += lcore->answered[reason].get();
    }
  }
  return drops;
}

std::vector<LcoreView> Inspector::lcores() const {
  std::vector<LcoreView> views;
  for (std::size_t i = 0; i < dataplane_.counters().size(); ++i) {
    const LcoreCounters& counters = *dataplane_.counters()[i];
    views.push_back({dataplane_.lcores()[i], counters.epoch_seen.get(), counters.turns.get(),
                     counters.idle_turns.get(), counters.packets.get(), counters.flows_ipv4.get(),
                     counters.flows_ipv6.get(), counters.held_packets.get(),
                     counters.handed_over.get(), counters.affinity_evicted.get(),
                     counters.half_open.get(), counters.half_open_evicted.get(),
                     counters.held_fragments.get(), counters.fragmented.get(),
                     counters.busy_permille.get(), counters.ended_evicted.get(),
                     counters.snat_quarantine_broken.get()});
  }
  return views;
}

}  // namespace sluice::runtime
