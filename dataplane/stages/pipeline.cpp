// SPDX-License-Identifier: Apache-2.0
#include "dataplane/stages/pipeline.h"

namespace sluice {

void run_pipeline(Burst& burst, const Snapshot& snapshot, LcoreState& state) {
  parse(burst, snapshot);
  virtual_reassembly(burst, snapshot, state);
  icmp_error(burst, snapshot);
  check_owner(burst, snapshot, state);
  if (find_flow(burst, snapshot, state) == burst.count) [[likely]] {
    return;  // nothing is left of this burst
  }
  classify(burst, snapshot);
  admit_flow(burst, snapshot, state);
  translate(burst, state);
  forward(burst, snapshot, state);
  respond(burst, snapshot, state);
  refuse(burst, snapshot, state);
}

}  // namespace sluice
