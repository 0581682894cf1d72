// SPDX-License-Identifier: Apache-2.0
#include "bench/pktgen/measure.h"

#include "bench/pktgen/search.h"

#include <rte_cycles.h>

#include <cstdio>

namespace sluice::pktgen {
namespace {

constexpr unsigned kRepeatsMax = 3;
// A switch to another thread and back takes less than the rings hold.
constexpr std::uint64_t kPreemptedNs = 100'000;
constexpr double kOwnCostSeconds = 0.1;
constexpr double kOwnCostRate = 1e6;  // of trials at full speed, which have no rate

}  // namespace

Measurement::Measurement(const Options& options, Generator& generator, Generator& loopback)
    : options_(options), generator_(generator), loopback_(loopback) {
  report_.tsc_hz = static_cast<double>(rte_get_tsc_hz());
}

TrialResult Measurement::trial(const TrialPlan& plan, const std::string& what, double share) {
  for (unsigned repeat = 0;; ++repeat) {
    progress_.show(what, share);
    Generator::Tick tick;
    if (plan.seconds > 2) {  // the terminal would be felt in a short one
      tick = [&](double done) { progress_.show(what, done); };
    }
    TrialResult result = generator_.run(plan, tick);
    const bool preempted =
        result.preempted_ns > kPreemptedNs || result.watched_preempted_ns > kPreemptedNs;
    if (!preempted || repeat == kRepeatsMax) {
      return result;
    }
    ++report_.repeated;
  }
}

double Measurement::own_us(double rate_pps) {
  TrialPlan plan;
  plan.rate_pps = rate_pps > 0 ? rate_pps : kOwnCostRate;
  plan.seconds = kOwnCostSeconds;
  const TrialResult result = loopback_.run(plan);
  return static_cast<double>(result.latency.percentile(0.5)) / report_.tsc_hz * 1e6;
}

void Measurement::run_trials() {
  TrialPlan plan;
  plan.rate_pps = options_.rate_pps;
  plan.seconds = options_.seconds;
  plan.new_flows_per_s = options_.new_flows_per_s;
  plan.replies = options_.replies;
  report_.own_us = own_us(plan.rate_pps);
  for (unsigned i = 0; i < options_.trials; ++i) {
    const std::string what =
        "trial " + std::to_string(i + 1) + " of " + std::to_string(options_.trials);
    report_.trials.push_back(trial(plan, what, static_cast<double>(i) / options_.trials));
    const TrialResult& now = report_.trials.back();
    if (now.loss_ratio() <= options_.pdr_loss &&
        (!report_.best || now.forwarded_pps() > report_.trials[*report_.best].forwarded_pps())) {
      report_.best = i;
    }
    progress_.clear();
    if (!options_.json) {
      std::printf("%s\n", line_of(now, report_.tsc_hz, report_.own_us).c_str());
      std::fflush(stdout);
    }
  }
}

void Measurement::search() {
  TrialPlan plan;
  plan.seconds = options_.search_seconds;
  plan.new_flows_per_s = options_.new_flows_per_s;
  plan.replies = options_.replies;
  // At full speed nothing waits for the clock: no rate above what then went in can succeed.
  TrialPlan full = plan;
  full.new_flows_per_s = 0;
  const TrialResult fastest = trial(full, "at full speed", 0);
  RateSearch::Settings settings;
  settings.rate_max = std::max(fastest.offered_pps() * 1.2, settings.rate_min);
  settings.precision = options_.precision;
  settings.attempts = options_.attempts;
  RateSearch rates(settings, [&](double rate) {
    plan.rate_pps = rate;
    char what[64];
    std::snprintf(what, sizeof(what), "search: trial %u at %.3f Mpps", rates.trials(), rate / 1e6);
    return LoadOutcome{trial(plan, what, rate / settings.rate_max).loss_ratio()};
  });
  Report::Search found;
  found.pdr_pps = rates.find(options_.pdr_loss, fastest.forwarded_pps());
  found.ndr_pps = rates.find(0, found.pdr_pps);
  found.trials = rates.trials();
  found.gave_up = rates.gave_up();
  for (const double share : {0.5, 0.9}) {
    plan.rate_pps = found.pdr_pps * share;
    if (plan.rate_pps > 0) {
      found.latency.push_back({share, trial(plan, "latency", share), own_us(plan.rate_pps)});
    }
  }
  progress_.clear();
  report_.search = std::move(found);
}

Report Measurement::run() {
  run_trials();
  if (options_.search) {
    search();
  }
  return std::move(report_);
}

}  // namespace sluice::pktgen
