// SPDX-License-Identifier: Apache-2.0
// Control speed: the real sluiced as a child, its lcore on one CPU and everything else on another;
// services written through its gRPC API on the Unix socket; UDP at 1 Mpps through it over memif.
//
//   publish_bench [--out=FILE] [--services=N] [--endpoints-each=N] [--rate=N] [--seconds=N]
//                 [--sluiced=PATH] [--lcore=CPU] [--control=CPU]
//
// load: all services, in transactions of a thousand, from the first call to the last answer, which
// says that every lcore has seen it.
// change: one endpoint changes, received to seen by all lcores as the gateway tells it, and call to
// answer; one at a time, without traffic and under it. Then `rate` of them a second for `seconds`,
// a transaction each millisecond, as a provider folds them; what the same traffic sees just before
// is the latency compared with. Windows of 100 ms in which somebody else had the lcore's CPU for
// more than 50 us count for loss and not for latency; how many is told.
#include "bench/publish/fleet.h"
#include "bench/publish/gateway_process.h"
#include "bench/publish/traffic.h"
#include "bench/publish/writer.h"
#include "dataplane/snapshot/maglev.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <sched.h>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace sluice::bench {
namespace {

constexpr std::uint32_t kFlows = 10'000;
constexpr std::uint32_t kFlowServices = 1'000;
constexpr std::uint32_t kLoadEach = 1'000;  // services
constexpr std::uint32_t kSingleChanges = 2'000;
constexpr std::uint32_t kSinglePauseUs = 500;
constexpr std::uint64_t kDelayedNs = 50'000;

struct Wanted {
  std::string out = "build/bench/publish.json";
  std::string sluiced = "build/release/controlplane/sluiced";
  std::uint32_t services = 50'000;
  std::uint32_t endpoints_each = 10;
  std::uint32_t rate = 10'000;
  std::uint32_t seconds = 10;
  unsigned lcore = 0;
  unsigned control = 1;
};

// One figure of the report; a target of 0 is none.
struct Figure {
  const char* name;
  double value;
  double target;
  bool at_least;  // else at most
  const char* unit;
  [[nodiscard]] bool met() const {
    return target < 0 || (at_least ? value >= target : value <= target);
  }
};
constexpr double kNoTarget = -1;

struct Latency {
  double p50_us = 0;
  double p999_us = 0;
  double max_us = 0;
  std::size_t samples = 0;
  std::size_t windows = 0;
  std::size_t discarded = 0;
};

template <typename T>
double percentile(std::vector<T>& values, double percent) {
  if (values.empty()) {
    return 0;
  }
  const auto at = static_cast<std::size_t>(static_cast<double>(values.size() - 1) * percent / 100);
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(at), values.end());
  return static_cast<double>(values[at]);
}

Latency latency_of(const Seen& seen) {
  Latency latency;
  std::vector<std::uint32_t> all;
  for (const Window& window : seen.windows) {
    ++latency.windows;
    if (window.delayed_ns > kDelayedNs) {
      ++latency.discarded;
    } else {
      all.insert(all.end(), window.latency_ns.begin(), window.latency_ns.end());
    }
  }
  latency.samples = all.size();
  latency.p50_us = percentile(all, 50) / 1e3;
  latency.p999_us = percentile(all, 99.9) / 1e3;
  latency.max_us = percentile(all, 100) / 1e3;
  return latency;
}

// Milliseconds for the table of 1,000 backends, 65,537 slots; the middle of 101.
double measure_maglev() {
  std::vector<MaglevEndpoint> endpoints;
  for (std::uint32_t i = 0; i < 1'000; ++i) {
    endpoints.push_back({IpAddress(Ipv4Address{Be32::from_host(0x0a000001 + i)}), 8'080, 1});
  }
  std::vector<double> milliseconds;
  for (std::uint64_t seed = 0; seed < 101; ++seed) {
    const auto begun = std::chrono::steady_clock::now();
    const auto table = MaglevTable::build(endpoints, seed);
    milliseconds.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begun)
            .count());
  }
  return percentile(milliseconds, 50);
}

// What the gateway's full ring refused is lost as it would be in a device.
long lost_of(const Seen& seen) {
  return static_cast<long>(seen.sent + seen.refused) - static_cast<long>(seen.received);
}

void say(const char* what, const Seen& seen, const Latency& latency) {
  std::printf(
      "%s: %lu packets sent, %lu refused, %ld lost; latency p50 %.1f us, p99.9 %.1f us, max %.1f "
      "us (%zu samples, %zu of %zu windows discarded)\n",
      what, seen.sent, seen.refused, lost_of(seen), latency.p50_us, latency.p999_us, latency.max_us,
      latency.samples, latency.discarded, latency.windows);
}

void say(const char* what, Writer::Changes& changes) {
  std::printf("%s: p50 %.0f us, p99 %.0f us, max %.0f us; with the call p50 %.0f us, p99 %.0f us\n",
              what, percentile(changes.publish_us, 50), percentile(changes.publish_us, 99),
              percentile(changes.publish_us, 100), percentile(changes.call_us, 50),
              percentile(changes.call_us, 99));
}

void print(const std::vector<Figure>& figures) {
  std::printf("\n%-24s %12s %12s  %s\n", "figure", "measured", "target", "");
  for (const bool missed : {true, false}) {
    for (const Figure& figure : figures) {
      if (figure.met() == missed) {
        continue;
      }
      if (figure.target < 0) {
        std::printf("%-24s %12.3f %12s  %s\n", figure.name, figure.value, "", figure.unit);
      } else {
        std::printf("%-24s %12.3f %s %10.3f  %s%s\n", figure.name, figure.value,
                    figure.at_least ? ">" : "<", figure.target, figure.unit,
                    missed ? "   MISSED" : "");
      }
    }
  }
}

void write_json(const std::string& path, const std::vector<Figure>& figures) {
  std::ofstream file(path);
  file << "{\n";
  for (const Figure& figure : figures) {
    file << "  \"" << figure.name << "\": " << figure.value << ",\n";
  }
  file << "  \"targets\": {";
  const char* comma = "\n";
  for (const Figure& figure : figures) {
    if (figure.target >= 0) {
      file << comma << "    \"" << figure.name << "\": " << figure.target;
      comma = ",\n";
    }
  }
  file << "\n  }\n}\n";
  if (!file.flush()) {
    throw std::runtime_error(path + " cannot be written");
  }
}

void stay_on(unsigned cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (sched_setaffinity(0, sizeof(set), &set) != 0) {
    throw std::runtime_error("CPU " + std::to_string(cpu) + " is not there; name another");
  }
}

void run(const Wanted& wanted) {
  stay_on(wanted.control);
  const double maglev_ms = measure_maglev();
  std::printf("maglev: %.3f ms for 65,537 slots and 1,000 backends\n", maglev_ms);
  Fleet fleet(wanted.services, wanted.endpoints_each);
  // Room for what rests between being removed and being known to be idle by all.
  GatewayProcess gateway({wanted.sluiced, wanted.lcore, wanted.control, 2 * wanted.services,
                          static_cast<std::uint32_t>(2 * fleet.endpoints())});
  Writer writer(gateway.api());
  const double empty_mib = gateway.memory_mib("VmRSS");
  double before = gateway.control_seconds();
  double load_s = 0;
  {
    const std::vector<v1::ApplyRequest> everything = fleet.everything(kLoadEach);
    std::printf("load: %u services, %lu endpoints in %zu transactions\n", wanted.services,
                fleet.endpoints(), everything.size());
    load_s = writer.apply(everything);
  }
  std::printf("load: %.2f s, of which sluiced's control threads had the CPU for %.2f s\n", load_s,
              gateway.control_seconds() - before);
  const double loaded_mib = gateway.memory_mib("VmRSS");

  Writer::Changes alone = writer.change_singly(fleet, kSingleChanges / 2, kSinglePauseUs);
  say("one change at a time, no traffic", alone);
  const Writer::Changes most = writer.change_steadily(fleet, wanted.rate, 2);
  std::printf("changes, no traffic: %lu in %.2f s\n", most.confirmed, most.seconds);

  Traffic traffic({gateway.memif_socket(), wanted.control, kFlows,
                   std::min(kFlowServices, wanted.services), gateway.lcore_schedstat()});
  traffic.start();
  std::this_thread::sleep_for(std::chrono::seconds(1));
  traffic.begin();
  std::this_thread::sleep_for(std::chrono::seconds(wanted.seconds));
  const Seen quiet = traffic.stop();
  const Latency calm = latency_of(quiet);
  say("no change", quiet, calm);
  std::printf("dropped by the gateway: %s\n", writer.drops().c_str());

  traffic.start();
  Writer::Changes single = writer.change_singly(fleet, kSingleChanges, kSinglePauseUs);
  say("one change at a time", single);
  traffic.begin();
  before = gateway.control_seconds();
  Writer::Changes steady = writer.change_steadily(fleet, wanted.rate, wanted.seconds);
  const double control = gateway.control_seconds() - before;
  const Seen busy = traffic.stop();
  const Latency stirred = latency_of(busy);
  say("changes", busy, stirred);
  std::printf(
      "%lu changes in %.2f s; answered p50 %.0f us, p99 %.0f us; sluiced's control threads "
      "had %.0f %% of a CPU\n",
      steady.confirmed, steady.seconds, percentile(steady.call_us, 50),
      percentile(steady.call_us, 99), 100 * control / steady.seconds);
  std::printf("dropped by the gateway: %s\n", writer.drops().c_str());
  const std::vector<Figure> figures{
      {"services", static_cast<double>(wanted.services), kNoTarget, false, ""},
      {"endpoints", static_cast<double>(fleet.endpoints()), kNoTarget, false, ""},
      {"load_s", load_s, 2, false, "s"},
      {"change_p50_us_no_traffic", percentile(alone.publish_us, 50), kNoTarget, false, "us"},
      {"change_p99_us_no_traffic", percentile(alone.publish_us, 99), kNoTarget, false, "us"},
      {"changes_per_s_no_traffic", static_cast<double>(most.confirmed) / most.seconds, kNoTarget,
       false, "a second"},
      {"change_p50_us", percentile(single.publish_us, 50), kNoTarget, false, "us"},
      {"change_p99_us", percentile(single.publish_us, 99), 1'000, false, "us"},
      {"change_call_p50_us", percentile(single.call_us, 50), kNoTarget, false, "us"},
      {"change_call_p99_us", percentile(single.call_us, 99), kNoTarget, false, "us"},
      // A tick of the writer is a millisecond: the last answers come after the last tick.
      {"changes_per_s", static_cast<double>(steady.confirmed) / steady.seconds, 0.99 * wanted.rate,
       true, "a second"},
      {"changes_s", steady.seconds, kNoTarget, false, "s"},
      {"traffic_mpps", static_cast<double>(busy.sent) / steady.seconds / 1e6, 0.99, true, "Mpps"},
      {"lost_packets", static_cast<double>(lost_of(busy)), 0, false, ""},
      {"refused_packets", static_cast<double>(busy.refused), kNoTarget, false, ""},
      {"lost_packets_quiet", static_cast<double>(lost_of(quiet)), kNoTarget, false, ""},
      {"latency_p50_us_quiet", calm.p50_us, kNoTarget, false, "us"},
      {"latency_p50_us", stirred.p50_us, kNoTarget, false, "us"},
      {"latency_p999_us_quiet", calm.p999_us, kNoTarget, false, "us"},
      {"latency_p999_us", stirred.p999_us, kNoTarget, false, "us"},
      {"latency_p999_ratio", stirred.p999_us / calm.p999_us, 2, false, "x"},
      {"latency_max_us_quiet", calm.max_us, kNoTarget, false, "us"},
      {"latency_max_us", stirred.max_us, kNoTarget, false, "us"},
      {"windows", static_cast<double>(stirred.windows), kNoTarget, false, ""},
      {"windows_discarded", static_cast<double>(stirred.discarded), kNoTarget, false, ""},
      {"windows_discarded_quiet", static_cast<double>(calm.discarded), kNoTarget, false, ""},
      {"rss_empty_mib", empty_mib, kNoTarget, false, "MiB"},
      {"rss_loaded_mib", loaded_mib, kNoTarget, false, "MiB"},
      {"rss_mib", gateway.memory_mib("VmRSS"), kNoTarget, false, "MiB"},
      {"rss_most_mib", gateway.memory_mib("VmHWM"), kNoTarget, false, "MiB"},
      {"maglev_ms", maglev_ms, 1, false, "ms"},
  };
  print(figures);
  write_json(wanted.out, figures);
}

bool take(std::string_view argument, std::string_view name, std::string& value) {
  if (!argument.starts_with(name)) {
    return false;
  }
  value = argument.substr(name.size());
  return true;
}

bool parse(int argc, char** argv, Wanted& wanted) {
  for (int i = 1; i < argc; ++i) {
    std::string value;
    const auto number = [&] {
      return static_cast<std::uint32_t>(std::strtoul(value.c_str(), nullptr, 10));
    };
    if (take(argv[i], "--out=", value)) {
      wanted.out = value;
    } else if (take(argv[i], "--sluiced=", value)) {
      wanted.sluiced = value;
    } else if (take(argv[i], "--services=", value)) {
      wanted.services = number();
    } else if (take(argv[i], "--endpoints-each=", value)) {
      wanted.endpoints_each = number();
    } else if (take(argv[i], "--rate=", value)) {
      wanted.rate = number();
    } else if (take(argv[i], "--seconds=", value)) {
      wanted.seconds = number();
    } else if (take(argv[i], "--lcore=", value)) {
      wanted.lcore = number();
    } else if (take(argv[i], "--control=", value)) {
      wanted.control = number();
    } else {
      return false;
    }
  }
  return wanted.services > 0 && wanted.endpoints_each > 0 && wanted.seconds > 0;
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  sluice::bench::Wanted wanted;
  if (!sluice::bench::parse(argc, argv, wanted)) {
    std::fprintf(
        stderr,
        "usage: publish_bench [--out=FILE] [--services=N] [--endpoints-each=N] [--rate=N]\n"
        "                     [--seconds=N] [--sluiced=PATH] [--lcore=CPU] "
        "[--control=CPU]\n");
    return 2;
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  try {
    sluice::bench::run(wanted);
  } catch (const std::exception& fault) {
    std::fprintf(stderr, "publish_bench: %s\n", fault.what());
    return 1;
  }
  return 0;
}
