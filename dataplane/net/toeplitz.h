// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

// The Toeplitz hash by which NICs spread packets over their queues (RSS), in software.
namespace sluice {

// As many bytes as the longest key of a common NIC; one of L bytes hashes up to L - 4. DPDK reads
// keys by words.
struct alignas(4) ToeplitzKey {
  static constexpr std::size_t kBytes = 52;
  std::array<std::uint8_t, kBytes> bytes{};

  // The 32 bits of the key from bit `bit` on.
  [[nodiscard]] constexpr std::uint32_t window(std::size_t bit) const {
    std::uint64_t five = 0;
    for (std::size_t i = 0; i < 5; ++i) {
      const std::size_t at = bit / 8 + i;
      five = five << 8U | (at < kBytes ? bytes[at] : 0U);
    }
    return static_cast<std::uint32_t>(five >> (8 - bit % 8));
  }
};

// The key of Microsoft's RSS specification, which many drivers have as their default.
inline constexpr ToeplitzKey kMicrosoftToeplitzKey{
    {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
     0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
     0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa}};

// Bit by bit, as it is defined: the reference of the tables below. At most kBytes - 4 bytes.
[[nodiscard]] constexpr std::uint32_t toeplitz(const ToeplitzKey& key,
                                               std::span<const std::uint8_t> input) {
  std::uint32_t hash = 0;
  for (std::size_t bit = 0; bit < input.size() * 8; ++bit) {
    if ((input[bit / 8] >> (7 - bit % 8) & 1U) != 0) {
      hash ^= key.window(bit);
    }
  }
  return hash;
}

// The same by one look-up a byte. The hash is linear, so what the bytes contribute is xored and
// can be taken in parts: hash(a ++ b) == part(0, a) ^ part(a.size(), b).
template <std::size_t Bytes>
class ToeplitzTable {
 public:
  constexpr explicit ToeplitzTable(const ToeplitzKey& key) {
    static_assert(Bytes + 4 <= ToeplitzKey::kBytes);
    for (std::size_t at = 0; at < Bytes; ++at) {
      for (std::size_t value = 0; value < 256; ++value) {
        std::uint32_t hash = 0;
        for (std::size_t bit = 0; bit < 8; ++bit) {
          hash ^= (value >> (7 - bit) & 1U) != 0 ? key.window(at * 8 + bit) : 0;
        }
        table_[at][value] = hash;
      }
    }
  }

  // What `input` contributes when it begins at byte `at` of the hashed whole.
  [[nodiscard]] constexpr std::uint32_t part(std::size_t at,
                                             std::span<const std::uint8_t> input) const {
    std::uint32_t hash = 0;
    for (std::size_t i = 0; i < input.size(); ++i) {
      hash ^= table_[at + i][input[i]];
    }
    return hash;
  }

 private:
  std::array<std::array<std::uint32_t, 256>, Bytes> table_{};
};

}  // namespace sluice
