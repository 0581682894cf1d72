// SPDX-License-Identifier: Apache-2.0
#include "bench/pipeline/machine.h"

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mbuf.h>

#include <cstdio>
#include <sched.h>
#include <string>

namespace sluice::bench {

std::vector<int> usable_cpus() {
  cpu_set_t allowed;
  sched_getaffinity(0, sizeof(allowed), &allowed);
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &allowed)) {
      cpus.push_back(cpu);
    }
  }
  return cpus;
}

void pin_to(int cpu) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  sched_setaffinity(0, sizeof(one), &one);
}

rte_mempool* start_eal(const char* program) {
  const std::vector<int> cpus = usable_cpus();
  // Lcore n on the n-th CPU; the caller pins its own threads.
  std::string lcores;
  for (std::size_t i = 0; i < cpus.size(); ++i) {
    lcores += (i == 0 ? "--lcores=" : ",") + std::to_string(i) + "@" + std::to_string(cpus[i]);
  }
  std::vector<std::string> words{program,
                                 "--no-huge",
                                 "-m",
                                 "64",
                                 "--no-pci",
                                 "--no-shconf",
                                 "--no-telemetry",
                                 "--log-level=critical",
                                 lcores};
  std::vector<char*> arguments;
  for (std::string& word : words) {
    arguments.push_back(word.data());
  }
  if (rte_eal_init(static_cast<int>(arguments.size()), arguments.data()) < 0) {
    std::fprintf(stderr, "%s: DPDK does not start: %s\n", program, rte_strerror(rte_errno));
    return nullptr;
  }
  rte_mempool* pool =
      rte_pktmbuf_pool_create("bench", 4095, 256, 0, 2048 + RTE_PKTMBUF_HEADROOM, SOCKET_ID_ANY);
  return pool;
}

}  // namespace sluice::bench
