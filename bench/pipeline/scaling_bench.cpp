// SPDX-License-Identifier: Apache-2.0
// Two lcores beside one, in forwarding work without ports: each thread has a CPU, an LcoreState and
// flows of its own; the snapshot and the mempool are shared, as between workers. A round is each
// thread alone and then both together, so all three see the same machine. Rates are packets per
// second on the CPU: what other programs take does not count.
//
//   scaling_bench [--benchmark_out=FILE] [--flows=N]
#include "bench/pipeline/forwarding.h"
#include "bench/pipeline/machine.h"

#include <rte_lcore.h>

#include <array>
#include <barrier>
#include <ctime>
#include <fstream>
#include <thread>

namespace sluice::bench {
namespace {

constexpr unsigned kThreads = 2;
constexpr std::uint32_t kRounds = 61;
constexpr std::uint32_t kWarmRounds = 4;
constexpr std::uint32_t kChunks = 64;  // of one thread in one part of a round
constexpr double kTarget = 1.9;

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// Packets per second of each thread, alone and together.
struct Round {
  alignas(64) std::array<double, kThreads> alone{};
  alignas(64) std::array<double, kThreads> together{};
};

double rate_of(Forwarding<Family::kIpv4>& bench) {
  const double begun = cpu_seconds();
  for (std::uint32_t i = 0; i < kChunks; ++i) {
    bench.hit_chunk();
  }
  return kChunk * double{kChunks} / (cpu_seconds() - begun);
}

void work(unsigned number, rte_mempool* pool, Gateway& gateway, const Snapshot& snapshot,
          std::uint32_t flows, std::barrier<>& together, std::vector<Round>& rounds) {
  rte_thread_register();  // an lcore's number, and with it caches of its own in the mempool
  pin_to(usable_cpus()[number]);
  Forwarding<Family::kIpv4> bench(pool, gateway, snapshot, flows);
  for (Round& round : rounds) {
    for (unsigned turn = 0; turn < kThreads; ++turn) {
      together.arrive_and_wait();
      if (turn == number) {
        round.alone[number] = rate_of(bench);
      }
    }
    together.arrive_and_wait();
    round.together[number] = rate_of(bench);
  }
  rte_thread_unregister();
}

struct Result {
  std::uint32_t flows = 0;
  Summary speedup;
  Summary one_mpps;
  Summary two_mpps;
};

Result measure(rte_mempool* pool, std::uint32_t flows) {
  std::vector<std::unique_ptr<Gateway>> gateways;
  for (unsigned i = 0; i < kThreads; ++i) {
    gateways.push_back(std::make_unique<Gateway>(Family::kIpv4, kProtocolUdp, flows));
    gateways.back()->open_flows(0, flows);
  }
  std::vector<Round> rounds(kRounds + kWarmRounds);
  std::barrier<> together(kThreads);
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < kThreads; ++i) {
    threads.emplace_back(
        [&, i] { work(i, pool, *gateways[i], gateways[0]->snapshot, flows, together, rounds); });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  std::vector<double> speedups;
  std::vector<double> one;
  std::vector<double> two;
  for (std::size_t i = kWarmRounds; i < rounds.size(); ++i) {
    const double alone = (rounds[i].alone[0] + rounds[i].alone[1]) / kThreads;
    const double both = rounds[i].together[0] + rounds[i].together[1];
    one.push_back(alone * 1e-6);
    two.push_back(both * 1e-6);
    speedups.push_back(both / alone);
  }
  return {flows, summarise(speedups), summarise(one), summarise(two)};
}

void write_json(const std::string& file, const std::vector<Result>& results) {
  std::ofstream out(file);
  out << "{\"unit\": \"packets per second on the CPU, two lcores / one\", \"rounds\": " << kRounds
      << ", \"rows\": [";
  for (std::size_t i = 0; i < results.size(); ++i) {
    const Result& result = results[i];
    out << (i == 0 ? "" : ",")
        << "\n  {\"name\": \"two lcores beside one\", \"flows\": " << result.flows
        << ", \"target_ratio\": " << kTarget << ", \"measured_ratio\": " << result.speedup.median
        << ", \"ratio_min\": " << result.speedup.min << ", \"ratio_max\": " << result.speedup.max
        << ", \"one_mpps\": " << result.one_mpps.median
        << ", \"two_mpps\": " << result.two_mpps.median << "}";
  }
  out << "\n]}\n";
}

int run(const std::string& file, const std::vector<std::uint32_t>& sizes) {
  if (usable_cpus().size() < kThreads) {
    std::fprintf(stderr, "scaling_bench: two CPUs are needed\n");
    return 1;
  }
  rte_mempool* pool = start_eal("scaling_bench");
  if (pool == nullptr) {
    return 1;
  }
  std::printf("%-22s %9s %9s %9s %8s %8s %8s %7s\n", "path", "flows", "one Mpps", "two Mpps",
              "median", "min", "max", "target");
  std::vector<Result> results;
  for (const std::uint32_t flows : sizes) {
    results.push_back(measure(pool, flows));
    const Result& result = results.back();
    std::printf("%-22s %9u %9.2f %9.2f %8.2f %8.2f %8.2f %7.2f\n", "hit, IPv4 UDP", result.flows,
                result.one_mpps.median, result.two_mpps.median, result.speedup.median,
                result.speedup.min, result.speedup.max, kTarget);
    std::fflush(stdout);
  }
  if (!file.empty()) {
    write_json(file, results);
  }
  rte_mempool_free(pool);
  return 0;
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  std::string file;
  std::vector<std::uint32_t> sizes{1'000, 64'000, 1'000'000};
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.rfind("--benchmark_out=", 0) == 0) {
      file = word.substr(16);
    } else if (word.rfind("--flows=", 0) == 0) {
      sizes = {static_cast<std::uint32_t>(std::stoul(word.substr(8)))};
    } else if (word.rfind("--benchmark_", 0) != 0) {
      std::fprintf(stderr, "unknown option %s\n", word.c_str());
      return 2;
    }
  }
  return sluice::bench::run(file, sizes);
}
