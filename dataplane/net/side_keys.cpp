// SPDX-License-Identifier: Apache-2.0
#include "dataplane/net/side_keys.h"

#include <algorithm>
#include <array>
#include <numeric>

namespace sluice {
namespace {

constexpr std::size_t kBits = ToeplitzKey::kBytes * 8;

// A field of `width` bits, from its first bit in the tuple as source and as destination.
struct Field {
  std::size_t source;
  std::size_t destination;
  std::size_t width;
};
constexpr Field kFields[] = {{0, 32, 32}, {64, 80, 16}, {0, 128, 128}, {256, 272, 16}};

// Bits of both keys that must be equal, as trees; bit b of the destination's is kBits + b.
class EqualBits {
 public:
  EqualBits() { std::iota(parent_.begin(), parent_.end(), std::size_t{0}); }
  std::size_t root_of(std::size_t bit) {
    while (parent_[bit] != bit) {
      bit = parent_[bit] = parent_[parent_[bit]];
    }
    return bit;
  }
  void join(std::size_t a, std::size_t b) {
    // The lower one is the root, so that the source's key keeps what is free of it.
    const std::size_t root_a = root_of(a);
    const std::size_t root_b = root_of(b);
    parent_[std::max(root_a, root_b)] = std::min(root_a, root_b);
  }

 private:
  std::array<std::size_t, 2 * kBits> parent_{};
};

bool bit_of(const ToeplitzKey& key, std::size_t bit) {
  return (key.bytes[bit / 8] >> (7 - bit % 8) & 1U) != 0;
}

void set_bit(ToeplitzKey& key, std::size_t bit) {
  key.bytes[bit / 8] = static_cast<std::uint8_t>(key.bytes[bit / 8] | 1U << (7 - bit % 8));
}

}  // namespace

SideKeys arrange_side_keys(const ToeplitzKey& random) {
  EqualBits equal;
  for (const Field& field : kFields) {
    for (std::size_t i = 0; i < field.width + 31; ++i) {
      equal.join(field.source + i, kBits + field.destination + i);
    }
  }
  SideKeys keys;
  for (std::size_t bit = 0; bit < kBits; ++bit) {
    if (bit_of(random, equal.root_of(bit) % kBits)) {
      set_bit(keys.source, bit);
    }
    if (bit_of(random, equal.root_of(kBits + bit) % kBits)) {
      set_bit(keys.destination, bit);
    }
  }
  return keys;
}

}  // namespace sluice
