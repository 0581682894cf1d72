// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

struct rte_mempool;

namespace sluice::bench {

// CPUs that this process may run on.
std::vector<int> usable_cpus();
// The calling thread, for good.
void pin_to(int cpu);
// EAL without hugepages and devices, and a pool of 4,095 mbufs with caches of 256; nullptr, and a
// reason on standard error, when it does not start.
rte_mempool* start_eal(const char* program);

}  // namespace sluice::bench
