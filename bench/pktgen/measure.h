// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "bench/pktgen/generator.h"
#include "bench/pktgen/options.h"
#include "bench/pktgen/progress.h"
#include "bench/pktgen/report.h"

namespace sluice::pktgen {

// Runs what the options ask for and gathers it. Trials in which the kernel took the core away from
// either end tell of the machine, not of the gateway: they are repeated, a few times at most.
class Measurement {
 public:
  Measurement(const Options& options, Generator& generator, Generator& loopback);

  [[nodiscard]] Report run();

 private:
  TrialResult trial(const TrialPlan& plan, const std::string& what, double share);
  double own_us(double rate_pps);
  void run_trials();
  void search();

  const Options& options_;
  Generator& generator_;
  Generator& loopback_;  // through no gateway, to know the generator's own part of latency
  Progress progress_;
  Report report_;
};

}  // namespace sluice::pktgen
