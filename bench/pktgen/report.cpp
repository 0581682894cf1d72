// SPDX-License-Identifier: Apache-2.0
#include "bench/pktgen/report.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace sluice::pktgen {
namespace {

using Json = nlohmann::ordered_json;

__attribute__((format(printf, 1, 2))) std::string format(const char* pattern, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, pattern);
  std::vsnprintf(text, sizeof(text), pattern, arguments);
  va_end(arguments);
  return text;
}

double us_of(double cycles, double tsc_hz, double own_us) {
  return std::max(0.0, cycles / tsc_hz * 1e6 - own_us);
}

std::string latency_text(const Histogram& latency, double tsc_hz, double own_us) {
  if (latency.count() == 0) {
    return "none timed";
  }
  return format(
      "p50 %.1f  p99 %.1f  p99.9 %.1f  max %.1f us", us_of(latency.percentile(0.5), tsc_hz, own_us),
      us_of(latency.percentile(0.99), tsc_hz, own_us),
      us_of(latency.percentile(0.999), tsc_hz, own_us), us_of(latency.max(), tsc_hz, own_us));
}

Json latency_json(const Histogram& latency, double tsc_hz, double own_us) {
  Json json{{"timed", latency.count()}, {"own_cost_us", own_us}};
  for (const auto& [name, share] :
       {std::pair{"p50_us", 0.5}, {"p99_us", 0.99}, {"p999_us", 0.999}}) {
    json[name] = us_of(latency.percentile(share), tsc_hz, own_us);
  }
  json["max_us"] = us_of(latency.max(), tsc_hz, own_us);
  return json;
}

Json trial_json(const TrialResult& trial, double tsc_hz, double own_us) {
  Json json{{"rate_pps", trial.plan.rate_pps},
            {"seconds", trial.seconds},
            {"offered", trial.offered},
            {"offered_pps", trial.offered_pps()},
            {"refused", trial.refused},
            {"unsent", trial.unsent},
            {"forwarded", trial.forwarded},
            {"forwarded_pps", trial.forwarded_pps()},
            {"lost", trial.lost()},
            {"loss_ratio", trial.loss_ratio()},
            {"reordered", trial.reordered},
            {"stale", trial.stale},
            {"foreign", trial.foreign},
            {"mistranslated", trial.mistranslated},
            {"preempted_us", static_cast<double>(trial.preempted_ns) / 1e3},
            {"watched_preempted_us", static_cast<double>(trial.watched_preempted_ns) / 1e3},
            {"latency", latency_json(trial.latency, tsc_hz, own_us)}};
  if (!trial.fault.empty()) {
    json["fault"] = trial.fault;
  }
  if (trial.plan.replies) {
    json["replies"] = {{"answered", trial.answered},
                       {"replied", trial.replied},
                       {"replied_pps", trial.replied_pps()},
                       {"reordered", trial.replies_reordered},
                       {"round_trip", latency_json(trial.round_trip, tsc_hz, own_us)}};
  }
  return json;
}

Json set_up_json(const Report& report, const Options& options) {
  const Traffic& traffic = options.traffic;
  constexpr const char* kPatterns[] = {"sequential", "shuffled", "zipf"};
  Json sizes = Json::array();
  for (const FrameShare& share : traffic.sizes) {
    sizes.push_back({{"bytes_with_fcs", share.bytes + 4}, {"weight", share.weight}});
  }
  return {{"client_driver", report.client_driver},
          {"backend_driver", report.backend_driver},
          {"queues", options.rss_queues},
          {"family", traffic.vip.is_ipv4() ? "ipv4" : "ipv6"},
          {"protocol", traffic.protocol == kProtocolUdp ? "udp" : "tcp"},
          {"flows", traffic.flows},
          {"pattern", kPatterns[static_cast<std::size_t>(traffic.pattern)]},
          {"sizes", sizes},
          {"clients", traffic.clients},
          {"backends", traffic.backends},
          {"new_flows_per_s", options.new_flows_per_s},
          {"syn_only", traffic.syn_only},
          {"replies", options.replies},
          {"latency_sample", options.stamp_interval},
          {"tsc_hz", report.tsc_hz}};
}

}  // namespace

std::string line_of(const TrialResult& trial, double tsc_hz, double own_us) {
  std::string text =
      format("%7.3f Mpps offered, %7.3f forwarded, loss %.4f %%, %llu reordered; %s",
             trial.offered_pps() / 1e6, trial.forwarded_pps() / 1e6, trial.loss_ratio() * 100,
             static_cast<unsigned long long>(trial.reordered),
             latency_text(trial.latency, tsc_hz, own_us).c_str());
  if (trial.plan.replies) {
    text += format("; %.3f Mpps replied, there and back %s", trial.replied_pps() / 1e6,
                   latency_text(trial.round_trip, tsc_hz, own_us).c_str());
  }
  if (trial.mistranslated > 0) {
    text += format("; %llu MISTRANSLATED (%s)",
                   static_cast<unsigned long long>(trial.mistranslated), trial.fault.c_str());
  }
  if (trial.unsent > 0) {
    text += format("; the generator itself was late with %llu",
                   static_cast<unsigned long long>(trial.unsent));
  }
  return text;
}

std::string text_of(const Report& report, const Options& options) {
  std::string text;
  if (report.best && report.trials.size() > 1) {
    text += "best: " + line_of(report.trials[*report.best], report.tsc_hz, report.own_us) + "\n";
  }
  if (report.search) {
    text += format("NDR %.3f Mpps, PDR (%.3g %% loss) %.3f Mpps, by %u trials\n",
                   report.search->ndr_pps / 1e6, options.pdr_loss * 100,
                   report.search->pdr_pps / 1e6, report.search->trials);
    if (report.search->gave_up) {
      text += "the search ran out of trials; its rates are lower bounds\n";
    }
    for (const LoadPoint& point : report.search->latency) {
      text += format("at %.0f %% of PDR: ", point.pdr_share * 100) +
              latency_text(point.trial.latency, report.tsc_hz, point.own_us) + "\n";
    }
  }
  if (report.repeated > 0) {
    text += format("%u trials repeated: a thread was pre-empted\n", report.repeated);
  }
  return text;
}

std::string json_of(const Report& report, const Options& options) {
  Json json{{"set_up", set_up_json(report, options)}, {"repeated", report.repeated}};
  json["trials"] = Json::array();
  for (const TrialResult& trial : report.trials) {
    json["trials"].push_back(trial_json(trial, report.tsc_hz, report.own_us));
  }
  if (report.best) {
    json["best"] = trial_json(report.trials[*report.best], report.tsc_hz, report.own_us);
  }
  if (report.search) {
    Json latency = Json::array();
    for (const LoadPoint& point : report.search->latency) {
      Json row = trial_json(point.trial, report.tsc_hz, point.own_us);
      row["pdr_share"] = point.pdr_share;
      latency.push_back(row);
    }
    json["search"] = {{"ndr_pps", report.search->ndr_pps},
                      {"pdr_pps", report.search->pdr_pps},
                      {"pdr_loss", options.pdr_loss},
                      {"precision", options.precision},
                      {"trial_seconds", options.search_seconds},
                      {"trials", report.search->trials},
                      {"gave_up", report.search->gave_up},
                      {"latency", latency}};
  }
  return json.dump(2);
}

}  // namespace sluice::pktgen
