// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <sys/types.h>

namespace sluice::bench {

// The real sluiced as a child, in a folder of its own that goes with it: one forwarding lcore, two
// memif ports without twins, one neighbour on each side that everything lies behind.
class GatewayProcess {
 public:
  struct Plan {
    std::string program;
    unsigned lcore = 0;
    unsigned control_cpu = 0;  // where all its other threads are kept, away from the lcore
    std::uint32_t service_ports = 0;
    std::uint32_t bindings = 0;
  };
  // Returns when it serves. Throws std::runtime_error.
  explicit GatewayProcess(const Plan& plan);
  ~GatewayProcess();
  GatewayProcess(const GatewayProcess&) = delete;
  GatewayProcess& operator=(const GatewayProcess&) = delete;

  [[nodiscard]] std::string api() const { return "unix:" + folder_ + "/sluice.sock"; }
  [[nodiscard]] std::string memif_socket() const { return folder_ + "/memif.sock"; }
  [[nodiscard]] std::string lcore_schedstat() const;
  // Of /proc/PID/status, in MiB: "VmRSS", "VmHWM".
  [[nodiscard]] double memory_mib(const std::string& field) const;
  // CPU seconds that its threads but the lcore have used.
  [[nodiscard]] double control_seconds() const;

 private:
  void write_config(const Plan& plan) const;
  void wait_until_serving();
  void pin_threads(const Plan& plan);

  std::string folder_;
  pid_t process_ = -1;
  pid_t lcore_ = -1;
};

}  // namespace sluice::bench
