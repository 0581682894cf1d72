// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "bench/pktgen/options.h"
#include "bench/pktgen/trial.h"

#include <optional>
#include <string>
#include <vector>

namespace sluice::pktgen {

// Latency at a share of PDR, the generator's own part known.
struct LoadPoint {
  double pdr_share = 0;
  TrialResult trial;
  double own_us = 0;  // median through a loopback at the same rate
};

struct Report {
  double tsc_hz = 1;
  std::string client_driver;
  std::string backend_driver;
  std::vector<TrialResult> trials;
  double own_us = 0;
  std::optional<std::size_t> best;  // of the trials: fastest with no more loss than PDR allows
  struct Search {
    double ndr_pps = 0;
    double pdr_pps = 0;
    unsigned trials = 0;
    bool gave_up = false;
    std::vector<LoadPoint> latency;
  };
  std::optional<Search> search;
  unsigned repeated = 0;  // trials thrown away because a thread was pre-empted
};

// One line, for people.
[[nodiscard]] std::string line_of(const TrialResult& trial, double tsc_hz, double own_us);
[[nodiscard]] std::string text_of(const Report& report, const Options& options);
[[nodiscard]] std::string json_of(const Report& report, const Options& options);

}  // namespace sluice::pktgen
