// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/address.h"
#include "dataplane/net/endian.h"

#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

// The tuple that names one direction of a flow, as the packet shows it.
namespace sluice {

// Overlapping address ranges of several clusters get a number each; only 0 is in use.
using NetworkId = std::uint8_t;
inline constexpr NetworkId kDefaultNetwork = 0;

// Two 64-bit words without padding: compared and hashed as such.
struct alignas(8) FlowKey4 {
  Ipv4Address source;
  Ipv4Address destination;
  Be16 source_port;
  Be16 destination_port;
  std::uint8_t protocol;
  NetworkId network;
  std::uint16_t reserved;  // always 0

  using Address = Ipv4Address;
  friend constexpr bool operator==(const FlowKey4&, const FlowKey4&) = default;
};
static_assert(sizeof(FlowKey4) == 16 && std::has_unique_object_representations_v<FlowKey4>);

struct alignas(8) FlowKey6 {
  Ipv6Address source;
  Ipv6Address destination;
  Be16 source_port;
  Be16 destination_port;
  std::uint8_t protocol;
  NetworkId network;
  std::uint16_t reserved;  // always 0

  using Address = Ipv6Address;
  friend constexpr bool operator==(const FlowKey6&, const FlowKey6&) = default;
};
static_assert(sizeof(FlowKey6) == 40 && std::has_unique_object_representations_v<FlowKey6>);

template <Family F>
using FlowKey = std::conditional_t<F == Family::kIpv4, FlowKey4, FlowKey6>;

template <typename Key>
[[nodiscard]] constexpr Key reversed(const Key& key) {
  return Key{key.destination, key.source, key.destination_port, key.source_port, key.protocol,
             key.network,     0};
}

// The secret of the flow table's index hash: fresh random words at every start, never published.
// Whoever does not know it cannot choose tuples that meet in one bucket (unlike CRC and Toeplitz,
// which are linear).
struct HashSecret {
  std::uint64_t words[6];
};

// One multiply-fold step: 64x64 -> 128 bits, halves xored.
[[nodiscard]] constexpr std::uint64_t multiply_fold(std::uint64_t a, std::uint64_t b) {
  const auto product = static_cast<Uint128>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

[[nodiscard]] inline std::uint64_t hash_key(const FlowKey4& key, const HashSecret& secret) {
  std::uint64_t word[2];
  std::memcpy(word, &key, sizeof(word));
  const std::uint64_t mixed = multiply_fold(word[0] ^ secret.words[0], word[1] ^ secret.words[1]);
  return multiply_fold(mixed ^ secret.words[2], secret.words[3]);
}

[[nodiscard]] inline std::uint64_t hash_key(const FlowKey6& key, const HashSecret& secret) {
  std::uint64_t word[5];
  std::memcpy(word, &key, sizeof(word));
  const std::uint64_t first = multiply_fold(word[0] ^ secret.words[0], word[1] ^ secret.words[1]);
  const std::uint64_t second = multiply_fold(word[2] ^ secret.words[2], word[3] ^ secret.words[3]);
  const std::uint64_t third = multiply_fold(word[4] ^ secret.words[4], first ^ secret.words[5]);
  return multiply_fold(third ^ second, secret.words[3]);
}

// The hash Maglev picks by: the same on every gateway with the same seed, so that each of them
// sends a flow to the same backend. `seed` is configured.
template <typename Key>
[[nodiscard]] std::uint64_t maglev_hash(const Key& key, std::uint64_t seed) {
  std::uint64_t hash = seed ^ 0x9e3779b97f4a7c15ULL;
  std::uint64_t word[sizeof(Key) / 8];
  std::memcpy(word, &key, sizeof(word));
  for (const std::uint64_t value : word) {
    hash = multiply_fold(hash ^ value, 0xd6e8feb86659fd93ULL) + 0xa0761d6478bd642fULL;
  }
  return multiply_fold(hash, 0xe7037ed1a0b428dbULL);
}

}  // namespace sluice
