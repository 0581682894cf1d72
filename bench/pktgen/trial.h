// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "bench/pktgen/histogram.h"

#include <cstdint>
#include <string>

namespace sluice::pktgen {

struct TrialPlan {
  double rate_pps = 0;  // 0: as fast as the port takes them
  double seconds = 1;
  double new_flows_per_s = 0;  // needs a rate
  bool replies = false;
};

// What came of one trial. All counts are packets.
//
//   intended = offered + refused + unsent
//   lost     = intended - forwarded        at a rate: a full ring drops, as a NIC would
//   lost     = offered - forwarded         at full speed: a full ring holds the sender back
struct TrialResult {
  TrialPlan plan;
  double seconds = 0;
  std::uint64_t offered = 0;    // taken by the port
  std::uint64_t refused = 0;    // at a rate: the port's ring was full
  std::uint64_t unsent = 0;     // at a rate: the generator came too late
  std::uint64_t forwarded = 0;  // reached the backends
  std::uint64_t reordered = 0;
  std::uint64_t answered = 0;  // replies the port took from the backends
  std::uint64_t replied = 0;   // replies that reached their client
  std::uint64_t replies_reordered = 0;
  std::uint64_t stale = 0;          // of a trial before
  std::uint64_t foreign = 0;        // not ours: ARP, ICMP, resets
  std::uint64_t mistranslated = 0;  // wrong addresses, ports or checksums
  std::string fault;                // of the first of those
  Histogram latency;                // client to backend, cycles
  Histogram round_trip;             // client to backend and back, cycles
  // How long the kernel let others run instead: of this thread, of the thread that is watched.
  std::uint64_t preempted_ns = 0;
  std::uint64_t watched_preempted_ns = 0;

  [[nodiscard]] std::uint64_t intended() const { return offered + refused + unsent; }
  [[nodiscard]] std::int64_t lost() const {
    return static_cast<std::int64_t>(intended()) - static_cast<std::int64_t>(forwarded);
  }
  // With replies: the worse of the two directions, each of what was given to it.
  [[nodiscard]] double loss_ratio() const;
  [[nodiscard]] double offered_pps() const { return per_second(offered); }
  [[nodiscard]] double forwarded_pps() const { return per_second(forwarded); }
  [[nodiscard]] double replied_pps() const { return per_second(replied); }

 private:
  [[nodiscard]] double per_second(std::uint64_t packets) const {
    return seconds > 0 ? static_cast<double>(packets) / seconds : 0;
  }
};

}  // namespace sluice::pktgen
