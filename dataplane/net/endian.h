// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <compare>
#include <concepts>
#include <cstdint>
#include <cstring>

namespace sluice {

// For the full product of two 64-bit words.
__extension__ typedef unsigned __int128 Uint128;

// An integer in network byte order, as it lies in a packet. There is no implicit conversion in
// either direction: a missing byte swap does not compile. `raw` is what memory holds; code that
// only copies or compares fields may use it, arithmetic must go through host().
template <std::unsigned_integral T>
struct BigEndian {
  T raw;

  static constexpr T swap(T value) {
    if constexpr (std::endian::native == std::endian::big || sizeof(T) == 1) {
      return value;
    } else if constexpr (sizeof(T) == 2) {
      return static_cast<T>(__builtin_bswap16(value));
    } else if constexpr (sizeof(T) == 4) {
      return __builtin_bswap32(value);
    } else {
      return __builtin_bswap64(value);
    }
  }
  static constexpr BigEndian from_host(T value) { return BigEndian{swap(value)}; }
  [[nodiscard]] constexpr T host() const { return swap(raw); }

  friend constexpr bool operator==(BigEndian, BigEndian) = default;
  friend constexpr auto operator<=>(BigEndian a, BigEndian b) { return a.host() <=> b.host(); }
};

// Memory that is aligned to nothing, as a value of this size; `raw` order.
template <std::unsigned_integral T>
[[nodiscard]] inline T load(const void* from) {
  T value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}
template <std::unsigned_integral T>
inline void store(void* to, T value) {
  std::memcpy(to, &value, sizeof(value));
}

using Be16 = BigEndian<std::uint16_t>;
using Be32 = BigEndian<std::uint32_t>;

static_assert(sizeof(Be16) == 2 && sizeof(Be32) == 4);
static_assert(Be16::from_host(0x0102).host() == 0x0102);

}  // namespace sluice
