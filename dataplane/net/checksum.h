// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/address.h"
#include "dataplane/net/endian.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

// The Internet checksum (RFC 1071) and its incremental update (RFC 1624). One's complement sums do
// not depend on byte order, so everything here adds the 16-bit words as they lie in memory.
namespace sluice {

// A one's complement sum that has not been folded to 16 bits yet.
using ChecksumSum = std::uint64_t;

[[nodiscard]] constexpr std::uint16_t fold(ChecksumSum sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(sum);
}

// Sum over `bytes`, of any number; an odd last byte is padded with zero (RFC 1071 §4.1). Eight at a
// time: what a 64-bit sum carries out counts one (RFC 1071 §2 B).
[[nodiscard]] inline ChecksumSum checksum_sum(std::span<const std::uint8_t> bytes,
                                              ChecksumSum sum = 0) {
  const auto add = [&sum](std::uint64_t word) {
    sum += word;
    sum += sum < word ? 1 : 0;
  };
  std::size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    add(load<std::uint64_t>(bytes.data() + i));
  }
  if (i + 4 <= bytes.size()) {
    add(load<std::uint32_t>(bytes.data() + i));
    i += 4;
  }
  std::uint32_t rest = 0;
  std::memcpy(&rest, bytes.data() + i, bytes.size() - i);
  add(rest);
  return (sum & 0xffffffff) + (sum >> 32);  // room to add others to it
}

[[nodiscard]] constexpr std::uint16_t checksum_finish(ChecksumSum sum) {
  return static_cast<std::uint16_t>(~fold(sum));
}

// Whether data that bears its checksum sums to 0xffff, as it must. The same as fold(sum) == 0xffff:
// folding keeps a sum modulo 0xffff, and only an empty sum folds to 0.
[[nodiscard]] constexpr bool is_checksum_good(ChecksumSum sum) {
  return sum % 0xffff == 0 && sum != 0;
}

// The pseudo-header's part of a TCP, UDP or ICMPv6 checksum (RFC 9293 §3.1, RFC 8200 §8.1).
[[nodiscard]] inline ChecksumSum pseudo_header_sum(Ipv4Address source, Ipv4Address destination,
                                                   std::uint8_t protocol, std::uint16_t length) {
  return ChecksumSum{source.value.raw} + destination.value.raw + Be16::from_host(protocol).raw +
         Be16::from_host(length).raw;
}
[[nodiscard]] inline ChecksumSum pseudo_header_sum(const Ipv6Address& source,
                                                   const Ipv6Address& destination,
                                                   std::uint8_t protocol, std::uint32_t length) {
  return checksum_sum(source.bytes) + checksum_sum(destination.bytes) +
         Be32::from_host(protocol).raw + Be32::from_host(length).raw;
}

// What an exchange of words adds to a checksum, precomputed: ~old + new, folded (RFC 1624 eqn. 3).
// The delta of the reverse exchange is its complement, so one is kept for both directions.
struct ChecksumDelta {
  std::uint16_t raw = 0;

  [[nodiscard]] static constexpr ChecksumDelta exchange(ChecksumSum before, ChecksumSum after) {
    const auto old_folded = static_cast<std::uint16_t>(~fold(before));
    return ChecksumDelta{fold(ChecksumSum{old_folded} + fold(after))};
  }
  [[nodiscard]] constexpr ChecksumDelta reversed() const {
    return ChecksumDelta{static_cast<std::uint16_t>(~raw)};
  }
};

// HC' = ~(~HC + delta). Yields 0xffff where a full computation yields 0 only if the covered data
// is all zero, which no IP header is (RFC 1624 §3).
[[nodiscard]] constexpr Be16 checksum_update(Be16 checksum, ChecksumDelta delta) {
  std::uint32_t sum = static_cast<std::uint16_t>(~checksum.raw);
  sum += delta.raw;
  sum = (sum & 0xffff) + (sum >> 16);
  return Be16{static_cast<std::uint16_t>(~sum)};
}

// By two deltas at once.
[[nodiscard]] constexpr Be16 checksum_update(Be16 checksum, ChecksumDelta first,
                                             ChecksumDelta second) {
  std::uint32_t sum = static_cast<std::uint16_t>(~checksum.raw);
  sum += std::uint32_t{first.raw} + second.raw;
  sum = (sum & 0xffff) + (sum >> 16);
  sum += sum >> 16;
  return Be16{static_cast<std::uint16_t>(~sum)};
}

// RFC 1624 §4: the worked example, header checksum 0xdd2f, word 0x5555 becomes 0x3285.
static_assert(checksum_update(Be16{0xdd2f}, ChecksumDelta::exchange(0x5555, 0x3285)).raw == 0x0000);

}  // namespace sluice
