// SPDX-License-Identifier: Apache-2.0
#include "dataplane/snapshot/maglev.h"

#include "dataplane/net/flow_key.h"

#include <algorithm>
#include <cstring>
#include <tuple>

namespace sluice {
namespace {

// One endpoint on its walk through its own permutation of the slots.
struct Walker {
  std::uint64_t identity;  // decides the turn order
  std::uint32_t next;      // slot to try next
  std::uint32_t skip;
  std::uint32_t credit = 0;
  std::uint16_t weight;
  std::uint16_t endpoint;  // index in the caller's span
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
    const std::uint64_t skip = hash_endpoint(endpoints[i], ~seed);
    walkers.push_back({.identity = identity,
                       .next = static_cast<std::uint32_t>(identity % size),
                       .skip = static_cast<std::uint32_t>(skip % (size - 1) + 1),
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
  std::vector<std::uint16_t> entries(size);
  std::vector<std::uint8_t> taken(size, 0);
  for (std::uint32_t filled = 0; filled < size;) {
    for (Walker& walker : walkers) {
      walker.credit += walker.weight;
      if (walker.credit < heaviest) {
        continue;
      }
      walker.credit -= heaviest;
      std::uint32_t slot = walker.next;
      while (taken[slot] != 0) {
        slot += walker.skip;
        slot -= slot >= size ? size : 0;
      }
      taken[slot] = 1;
      entries[slot] = walker.endpoint;
      walker.next = slot + walker.skip;
      walker.next -= walker.next >= size ? size : 0;
      if (++filled == size) {
        break;
      }
    }
  }
  return std::shared_ptr<const MaglevTable>(new MaglevTable(std::move(entries)));
}

}  // namespace sluice
