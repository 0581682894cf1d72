// SPDX-License-Identifier: Apache-2.0
#include "dataplane/snapshot/maglev.h"

#include "dataplane/net/flow_key.h"
#include "dataplane/snapshot/limits.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <tuple>
#include <utility>

namespace sluice {
namespace {

// One endpoint on its walk through its own permutation of the slots.
struct Walker {
  std::uint64_t identity;              // decides the turn order
  std::uint32_t next;                  // slot to try next
  std::array<std::uint32_t, 4> skips;  // of one to four steps, modulo the size
  std::uint32_t credit = 0;
  std::uint32_t inverse = 0;  // of skip, modulo the size; 0: not known yet
  std::uint16_t weight;
  std::uint16_t endpoint;  // index in the caller's span
};

// Extended Euclid; `size` is prime and 0 < number < size.
std::uint32_t inverse_of(std::uint32_t number, std::uint32_t size) {
  std::int64_t a = size;
  std::int64_t b = number;
  std::int64_t x = 0;
  std::int64_t y = 1;
  while (b > 1) {
    const std::int64_t quotient = a / b;
    a -= quotient * b;
    x -= quotient * y;
    std::swap(a, b);
    std::swap(x, y);
  }
  return static_cast<std::uint32_t>(y < 0 ? y + size : y);
}

// The slots while they are claimed. A walk is short as long as many are free: size / free steps.
// In all that would be size * ln(size) steps, half of them for the last slots; so when few are left
// they are put into a list, and who claims looks which of them its walk would come to first.
class Ring {
 public:
  explicit Ring(std::uint32_t size)
      : size_(size),
        free_(size),
        few_(static_cast<std::uint32_t>(std::sqrt(size) / 2)),
        entries_(size, kFree) {}

  [[nodiscard]] bool full() const { return free_ == 0; }
  [[nodiscard]] std::vector<std::uint16_t> take_entries() { return std::move(entries_); }

  void claim(Walker& walker) {
    const std::uint32_t slot = free_ > few_ ? walk(walker) : nearest(walker);
    entries_[slot] = walker.endpoint;
    walker.next = sum(slot, walker.skips[0]);
    --free_;
  }

 private:
  static constexpr std::uint16_t kFree = 0xffff;
  static_assert(kFree >= kMaglevEndpointsMax);

  // Modulo the size, of two numbers below it.
  [[nodiscard]] std::uint32_t sum(std::uint32_t a, std::uint32_t b) const {
    const std::uint32_t sum = a + b;
    return sum < size_ ? sum : sum - size_;
  }
  [[nodiscard]] bool is_taken(std::uint32_t slot) const { return entries_[slot] != kFree; }

  // Where a walk ends cannot be predicted, and a wrong guess costs more than looking at four slots
  // together, of which one is free as a rule.
  [[nodiscard]] std::uint32_t walk(const Walker& walker) const {
    std::array<std::uint32_t, 4> slots{walker.next};
    while (true) {
      for (unsigned step = 1; step < slots.size(); ++step) {
        slots[step] = sum(slots[0], walker.skips[step - 1]);
      }
      unsigned taken = 0;
      for (unsigned step = 0; step < slots.size(); ++step) {
        taken |= unsigned{is_taken(slots[step])} << step;
      }
      const auto steps = static_cast<unsigned>(std::countr_one(taken));
      if (steps < slots.size()) {
        return slots[steps];
      }
      slots[0] = sum(slots[0], walker.skips[3]);
    }
  }

  std::uint32_t nearest(Walker& walker) {
    if (left_.empty()) {
      list_left();
    }
    walker.inverse = walker.inverse == 0 ? inverse_of(walker.skips[0], size_) : walker.inverse;
    std::size_t best = 0;
    std::uint64_t fewest = size_;
    for (std::size_t i = 0; i < left_.size(); ++i) {
      const std::uint64_t distance = left_[i] + std::uint64_t{size_} - walker.next;
      const std::uint64_t steps = distance * walker.inverse % size_;
      best = steps < fewest ? i : best;
      fewest = std::min(steps, fewest);
    }
    const std::uint32_t slot = left_[best];
    left_[best] = left_.back();
    left_.pop_back();
    return slot;
  }

  void list_left() {
    left_.reserve(free_);
    for (std::uint32_t slot = 0; slot < size_; ++slot) {
      if (!is_taken(slot)) {
        left_.push_back(slot);
      }
    }
  }

  std::uint32_t size_;
  std::uint32_t free_;
  std::uint32_t few_;
  std::vector<std::uint16_t> entries_;
  std::vector<std::uint32_t> left_;
};

std::uint64_t hash_endpoint(const MaglevEndpoint& endpoint, std::uint64_t seed) {
  std::uint64_t word[2];
  std::memcpy(word, endpoint.address.bytes.data(), sizeof(word));
  const std::uint64_t rest =
      std::uint64_t{endpoint.port} << 8U | static_cast<std::uint64_t>(endpoint.address.family);
  const std::uint64_t mixed =
      multiply_fold(word[0] ^ seed ^ 0xa0761d6478bd642fULL, word[1] ^ 0xe7037ed1a0b428dbULL);
  return multiply_fold(mixed ^ rest ^ seed, 0x8ebc6af09c88c6e3ULL);
}

std::vector<Walker> walkers_of(std::span<const MaglevEndpoint> endpoints, std::uint64_t seed,
                               std::uint32_t size) {
  std::vector<Walker> walkers;
  walkers.reserve(endpoints.size());
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    if (endpoints[i].weight == 0) {
      continue;
    }
    const std::uint64_t identity = hash_endpoint(endpoints[i], seed);
    const auto skip =
        static_cast<std::uint32_t>(hash_endpoint(endpoints[i], ~seed) % (size - 1) + 1);
    walkers.push_back({.identity = identity,
                       .next = static_cast<std::uint32_t>(identity % size),
                       .skips = {skip, 2 * skip % size, 3 * skip % size, 4 * skip % size},
                       .weight = endpoints[i].weight,
                       .endpoint = static_cast<std::uint16_t>(i)});
  }
  std::sort(walkers.begin(), walkers.end(), [&](const Walker& a, const Walker& b) {
    if (a.identity != b.identity) {
      return a.identity < b.identity;
    }
    const MaglevEndpoint& first = endpoints[a.endpoint];
    const MaglevEndpoint& second = endpoints[b.endpoint];
    return std::tie(first.address, first.port) < std::tie(second.address, second.port);
  });
  return walkers;
}

}  // namespace

// The paper's Populate, with credits for weights: an endpoint claims a slot each time its weights
// add up to the heaviest one's.
std::shared_ptr<const MaglevTable> MaglevTable::build(std::span<const MaglevEndpoint> endpoints,
                                                      std::uint64_t seed) {
  const std::uint32_t size = size_for(endpoints.size());
  std::vector<Walker> walkers = walkers_of(endpoints, seed, size);
  if (walkers.empty()) {
    return nullptr;
  }
  std::uint32_t heaviest = 0;
  for (const Walker& walker : walkers) {
    heaviest = std::max<std::uint32_t>(heaviest, walker.weight);
  }
  Ring ring(size);
  while (true) {
    for (Walker& walker : walkers) {
      walker.credit += walker.weight;
      if (walker.credit < heaviest) {
        continue;
      }
      walker.credit -= heaviest;
      ring.claim(walker);
      if (ring.full()) {
        return std::shared_ptr<const MaglevTable>(new MaglevTable(ring.take_entries()));
      }
    }
  }
}

}  // namespace sluice
