// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>

namespace sluice::pktgen {

struct LoadOutcome {
  double loss_ratio = 0;
};

// Highest rates by loss: RFC 2544 §26.1 with the economy of MLRsearch. Each goal begins at what is
// known from trials before it, brackets its rate in doubling steps from the best guess, and halves
// the bracket until it is as narrow as asked. A rate is given up only after it has failed
// `attempts` times, since on a shared machine one failure says more about the machine.
class RateSearch {
 public:
  struct Settings {
    double rate_min = 10'000;  // packets a second
    double rate_max = 0;       // nothing above is tried
    double precision = 0.005;  // of the rate
    unsigned attempts = 2;
    unsigned trials_max = 60;  // for all goals together
  };
  using Measure = std::function<LoadOutcome(double rate)>;

  RateSearch(const Settings& settings, Measure measure)
      : settings_(settings), measure_(std::move(measure)) {}

  // The highest rate found whose loss is at most `loss_max`; 0 when even the lowest loses more.
  // `guess`: where to begin, such as the rate of a trial at full speed.
  double find(double loss_max, double guess);

  [[nodiscard]] unsigned trials() const { return trials_; }
  // The search ended for want of trials, its bracket wider than asked.
  [[nodiscard]] bool gave_up() const { return gave_up_; }

 private:
  struct Tried {
    double best_loss = 0;
    unsigned attempts = 0;
  };
  struct Bracket {
    double passed = 0;
    double failed = 0;
  };
  bool passes(double rate, double loss_max);
  [[nodiscard]] Bracket known(double loss_max) const;

  Settings settings_;
  Measure measure_;
  std::map<double, Tried> tried_;  // by rate
  unsigned trials_ = 0;
  bool gave_up_ = false;
};

}  // namespace sluice::pktgen
