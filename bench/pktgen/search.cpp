// SPDX-License-Identifier: Apache-2.0
#include "bench/pktgen/search.h"

#include <algorithm>
#include <utility>

namespace sluice::pktgen {

bool RateSearch::passes(double rate, double loss_max) {
  for (unsigned attempt = 0; attempt < settings_.attempts && trials_ < settings_.trials_max;
       ++attempt) {
    ++trials_;
    const double loss = measure_(rate).loss_ratio;
    Tried& tried = tried_.try_emplace(rate, loss).first->second;
    tried.best_loss = std::min(tried.best_loss, loss);
    ++tried.attempts;
    if (tried.best_loss <= loss_max) {
      return true;
    }
  }
  return false;
}

// Of a pass and a fail that contradict each other the pass counts: it is the device that did it. A
// rate that was good enough for an earlier goal may have had one attempt: that fails it for none.
RateSearch::Bracket RateSearch::known(double loss_max) const {
  Bracket bracket;
  for (const auto& [rate, tried] : tried_) {
    if (tried.best_loss <= loss_max) {
      bracket.passed = rate;
      bracket.failed = 0;
    } else if (bracket.failed == 0 && tried.attempts >= settings_.attempts) {
      bracket.failed = rate;
    }
  }
  return bracket;
}

double RateSearch::find(double loss_max, double guess) {
  Bracket bracket = known(loss_max);
  double step = settings_.precision * 2;
  double next = std::clamp(guess, settings_.rate_min, settings_.rate_max);
  if (bracket.passed > 0 && next <= bracket.passed) {
    next = std::min(settings_.rate_max, bracket.passed * (1 + step));
  }
  if (bracket.failed > 0 && next >= bracket.failed) {
    next = std::max(settings_.rate_min, bracket.failed * (1 - step));
  }
  while (trials_ < settings_.trials_max) {
    if (bracket.passed > 0 && bracket.failed > 0) {
      if (bracket.failed - bracket.passed <= settings_.precision * bracket.failed) {
        return bracket.passed;
      }
      next = std::clamp(next, bracket.passed, bracket.failed);
      if (next <= bracket.passed || next >= bracket.failed) {
        next = (bracket.passed + bracket.failed) / 2;
      }
    }
    if (passes(next, loss_max)) {
      bracket.passed = std::max(bracket.passed, next);
      if (next >= settings_.rate_max) {
        return next;
      }
      next = std::min(settings_.rate_max, next * (1 + step));
    } else {
      bracket.failed = bracket.failed > 0 ? std::min(bracket.failed, next) : next;
      if (next <= settings_.rate_min) {
        return 0;
      }
      next = std::max(settings_.rate_min, next * (1 - step));
    }
    step *= 2;
    if (bracket.passed > 0 && bracket.failed > 0) {
      next = (bracket.passed + bracket.failed) / 2;
    }
  }
  gave_up_ = true;
  return bracket.passed;
}

}  // namespace sluice::pktgen
