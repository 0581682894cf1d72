// SPDX-License-Identifier: Apache-2.0
#include "dataplane/stages/pipeline.h"

namespace sluice {
namespace {

// Every drop has a name and a count, and one of its service where that is known.
void count_drops(const Burst& burst, LcoreCounters& counters) {
  for (std::uint32_t i = 0; i < burst.count; ++i) {
    const Packet& packet = burst.packets[i];
    if (packet.verdict != Verdict::kDrop) [[likely]] {
      continue;
    }
    counters.count(packet.drop);
    if (packet.has_service) {
      counters.services[packet.service->id].drops.add(1);
    }
  }
}

}  // namespace

void run_pipeline(Burst& burst, const Snapshot& snapshot, LcoreState& state) {
  parse(burst, snapshot);
  check_owner(burst, snapshot, state.number);
  find_flow(burst, snapshot, state);
  classify(burst, snapshot);
  admit_flow(burst, snapshot, state);
  translate(burst, state);
  forward(burst, snapshot, state);
  respond(burst, snapshot);
  count_drops(burst, state.counters);
}

}  // namespace sluice
