// SPDX-License-Identifier: Apache-2.0
// Maglev: how long a table takes to build, by endpoints and weights, and what a pick costs. Builds
// run on the control plane's thread, picks once for the first packet of a flow.
#include "dataplane/net/flow_key.h"
#include "dataplane/snapshot/maglev.h"

#include <benchmark/benchmark.h>

#include <random>
#include <vector>

namespace sluice {
namespace {

constexpr std::uint64_t kSeed = 42;

std::vector<MaglevEndpoint> make_endpoints(std::size_t count, std::uint16_t weight_max) {
  std::vector<MaglevEndpoint> endpoints;
  for (std::size_t i = 0; i < count; ++i) {
    const auto host = static_cast<std::uint32_t>(0x0a000001 + i);
    const auto weight = static_cast<std::uint16_t>(1 + i % weight_max);
    endpoints.push_back({IpAddress(Ipv4Address{Be32::from_host(host)}), 8080, weight});
  }
  return endpoints;
}

// Endpoints, and the heaviest weight (weights go 1, 2, ... and again). Each table differs from the
// one before: a branch predictor learns a small one by heart.
void build(benchmark::State& state) {
  const auto endpoints = make_endpoints(static_cast<std::size_t>(state.range(0)),
                                        static_cast<std::uint16_t>(state.range(1)));
  std::uint64_t seed = kSeed;
  for (auto _ : state) {
    benchmark::DoNotOptimize(MaglevTable::build(endpoints, ++seed));
  }
  state.counters["slots"] = MaglevTable::size_for(endpoints.size());
}
BENCHMARK(build)
    ->ArgNames({"endpoints", "weight_max"})
    ->Args({3, 1})
    ->Args({8, 1})
    ->Args({10, 1})
    ->Args({20, 1})
    ->Args({128, 1})
    ->Args({1'000, 1})
    ->Args({1'000, 10})
    ->Args({10'000, 1})
    ->Unit(benchmark::kMicrosecond)
    ->MinTime(0.1)
    ->Repetitions(5)
    ->ReportAggregatesOnly();

// Hashes in random order, more of them than a branch predictor or a cache can learn.
std::vector<std::uint64_t> random_hashes() {
  std::mt19937_64 random(1);
  std::vector<std::uint64_t> hashes(1U << 14U);
  for (std::uint64_t& hash : hashes) {
    hash = random();
  }
  return hashes;
}

// One table, so its 2 to 128 KiB are in the cache: the working set of one busy service.
void pick(benchmark::State& state) {
  const auto endpoints = make_endpoints(static_cast<std::size_t>(state.range(0)), 1);
  const auto table = MaglevTable::build(endpoints, kSeed);
  const auto hashes = random_hashes();
  std::size_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(table->pick(hashes[i++ % hashes.size()]));
  }
}
BENCHMARK(pick)
    ->ArgName("endpoints")
    ->Arg(8)
    ->Arg(100)
    ->Arg(1'000)
    ->MinTime(0.1)
    ->Repetitions(5)
    ->ReportAggregatesOnly();

// The plain alternative: the table entry by remainder.
void pick_by_modulo(benchmark::State& state) {
  const auto endpoints = make_endpoints(static_cast<std::size_t>(state.range(0)), 1);
  const auto table = MaglevTable::build(endpoints, kSeed);
  const auto entries = table->entries();
  const auto hashes = random_hashes();
  std::size_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(entries[hashes[i++ % hashes.size()] % entries.size()]);
  }
}
BENCHMARK(pick_by_modulo)
    ->ArgName("endpoints")
    ->Arg(8)
    ->Arg(100)
    ->Arg(1'000)
    ->MinTime(0.1)
    ->Repetitions(5)
    ->ReportAggregatesOnly();

// Hash and pick, as the first packet of a flow does it. The keys are complete in memory, as they
// are there: writing one field just before would time the store the load has to wait for.
template <typename Key>
void hash_and_pick(benchmark::State& state) {
  const auto table = MaglevTable::build(make_endpoints(1'000, 1), kSeed);
  std::vector<Key> keys(512);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    keys[i].source_port = Be16::from_host(static_cast<std::uint16_t>(1024 + i));
    keys[i].destination_port = Be16::from_host(443);
    keys[i].protocol = 6;
  }
  std::size_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(table->pick(maglev_hash(keys[i++ % keys.size()], kSeed)));
  }
}
BENCHMARK(hash_and_pick<FlowKey4>)->MinTime(0.1)->Repetitions(5)->ReportAggregatesOnly();
BENCHMARK(hash_and_pick<FlowKey6>)->MinTime(0.1)->Repetitions(5)->ReportAggregatesOnly();

}  // namespace
}  // namespace sluice
