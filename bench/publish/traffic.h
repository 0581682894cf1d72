// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

struct rte_mempool;

namespace sluice::bench {

// What the generator saw of one window of kWindow.
struct Window {
  std::vector<std::uint32_t> latency_ns;  // of the packets of probe ticks
  std::uint64_t delayed_ns = 0;           // for which the lcore wanted its CPU and did not get it
};

struct Seen {
  std::uint64_t sent = 0;
  std::uint64_t refused = 0;  // the gateway's ring was full: what a device would have dropped
  std::uint64_t received = 0;
  std::vector<Window> windows;
};

// Clients on one memif, backends on the other: UDP flows to VIPs of a Fleet, 60-byte frames at a
// steady rate, counted where they come out. 500 packets go every 500 us and the thread sleeps in
// between, so that most of its CPU is the control plane's: in a virtual machine being woken costs
// as much as 100 packets. In every fourth tick it waits for its own packets, whose payload bears
// the TSC, and so measures latency without the sleep in it.
class Traffic {
 public:
  static constexpr std::uint32_t kTickUs = 500;
  static constexpr std::uint32_t kPerTick = 500;  // 1 Mpps
  static constexpr std::uint32_t kProbeEvery = 20;
  static constexpr std::uint32_t kWindowTicks = 200;  // 100 ms

  struct Plan {
    std::string socket;       // of the gateway's memif ports: id 0 clients, id 1 backends
    unsigned cpu = 0;         // where the thread stays, SCHED_FIFO
    std::uint32_t flows = 0;  // spread over the VIPs of the first `services` of a Fleet
    std::uint32_t services = 0;
    std::string lcore_schedstat;  // of the gateway's lcore
  };
  // Starts EAL and connects. Throws std::runtime_error.
  explicit Traffic(const Plan& plan);
  ~Traffic();
  Traffic(const Traffic&) = delete;
  Traffic& operator=(const Traffic&) = delete;

  void start();
  // From now on windows are kept; what came before is forgotten.
  void begin();
  // Stops sending, waits for what is under way, and tells.
  Seen stop();

 private:
  void run();
  void tick(bool probe);
  void send(bool probe);
  // Until the probes are back or `deadline`, in TSC.
  void receive(std::uint64_t deadline, bool wait);
  void close_window();

  Plan plan_;
  rte_mempool* pool_ = nullptr;
  std::vector<std::uint8_t> headers_;  // kHeader bytes for each flow
  std::uint32_t next_flow_ = 0;
  std::uint32_t awaited_ = 0;  // probes that are not back
  std::uint32_t probe_ = 0;    // number of the last probe tick
  std::uint8_t round_ = 0;
  Window window_;
  std::uint64_t delay_before_ = 0;
  std::uint64_t tsc_hz_ = 0;
  Seen seen_;
  std::thread thread_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> forget_{false};
};

}  // namespace sluice::bench
