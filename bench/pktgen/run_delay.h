// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <fstream>
#include <string>

namespace sluice::pktgen {

// Nanoseconds a thread was ready to run and did not, since its start (proc(5), schedstat); a busy
// loop that has its core to itself shows none. `thread`: "PID/TID", or empty for the calling one.
[[nodiscard]] inline std::uint64_t run_delay_ns(const std::string& thread) {
  const std::size_t slash = thread.find('/');
  std::ifstream file(thread.empty() ? "/proc/thread-self/schedstat"
                                    : "/proc/" + thread.substr(0, slash) + "/task/" +
                                          thread.substr(slash + 1) + "/schedstat");
  std::uint64_t ran = 0;
  std::uint64_t waited = 0;
  return file >> ran >> waited ? waited : 0;
}

}  // namespace sluice::pktgen
