// SPDX-License-Identifier: Apache-2.0
#include "bench/pktgen/schedule.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

namespace sluice::pktgen {
namespace {

// Draws of a Zipf round: more than a second's worth of cache, few enough to be walked in order.
constexpr std::size_t kZipfDraws = 1U << 21U;

std::vector<std::uint32_t> zipf_draws(std::uint32_t flows, double exponent, std::mt19937_64& rng) {
  std::vector<double> below(flows);  // share of the packets of flows up to and with this one
  double sum = 0;
  for (std::uint32_t rank = 0; rank < flows; ++rank) {
    sum += std::pow(rank + 1.0, -exponent);
    below[rank] = sum;
  }
  std::uniform_real_distribution<double> point(0, sum);
  std::vector<std::uint32_t> draws(kZipfDraws);
  for (std::uint32_t& draw : draws) {
    const auto rank = std::lower_bound(below.begin(), below.end(), point(rng)) - below.begin();
    draw = std::min(static_cast<std::uint32_t>(rank), flows - 1);
  }
  return draws;
}

}  // namespace

Schedule::Schedule(const Traffic& traffic, std::uint64_t seed) : flows_(traffic.flows) {
  std::mt19937_64 rng(seed);
  if (traffic.pattern == Pattern::kZipf) {
    ring_ = zipf_draws(flows_, traffic.zipf_exponent, rng);
    return;
  }
  ring_.resize(flows_);
  std::iota(ring_.begin(), ring_.end(), 0U);
  if (traffic.pattern == Pattern::kShuffled) {
    std::shuffle(ring_.begin(), ring_.end(), rng);
  }
}

void Schedule::begin(double opens_per_packet, std::uint64_t packets_before) {
  opened_before_ = opened(packets_before);
  opens_q32_ = static_cast<std::uint64_t>(std::clamp(opens_per_packet, 0.0, 1.0) * 4294967296.0);
}

Schedule::Place Schedule::place_among_new(std::uint64_t packet, std::uint32_t slot) const {
  const std::uint64_t before = opened(packet);
  if (opened(packet + 1) != before) {
    return {static_cast<std::uint32_t>(before % flows_),
            static_cast<std::uint32_t>(before + flows_), true};
  }
  // The newest of the flows flows_ + slot, 2 * flows_ + slot, ... that have settled.
  const std::uint64_t settled = opened(packet - std::min(packet, kSettling));
  const std::uint64_t generation = settled > slot ? (settled - slot - 1) / flows_ + 1 : 0;
  return {slot, static_cast<std::uint32_t>(generation * flows_ + slot), false};
}

std::vector<std::uint8_t> size_round(const std::vector<FrameShare>& sizes) {
  std::uint32_t total = 0;
  for (const FrameShare& share : sizes) {
    total += share.weight;
  }
  std::vector<std::uint8_t> round(total);
  std::vector<std::uint32_t> sent(sizes.size());
  for (std::uint32_t i = 0; i < total; ++i) {
    // Whoever lags its share most.
    std::size_t next = 0;
    double lag = -1;
    for (std::size_t size = 0; size < sizes.size(); ++size) {
      const double due = double{1} * sizes[size].weight * (i + 1) / total - sent[size];
      if (due > lag) {
        lag = due;
        next = size;
      }
    }
    ++sent[next];
    round[i] = static_cast<std::uint8_t>(next);
  }
  return round;
}

}  // namespace sluice::pktgen
