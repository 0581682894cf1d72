// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/checksum.h"
#include "dataplane/net/headers.h"

#include <cstddef>
#include <cstdint>

namespace sluice {

// Lowers the MSS option of a SYN or SYN+ACK to `mss_max` and adjusts the checksum; a smaller one
// stays, and none is added: its absence means 536 or 1220 (RFC 9293 §3.7.1, RFC 6691). Options that
// run over their end are left as they are. The whole header, as long as its data offset says, lies
// behind `tcp`.
inline void clamp_mss(TcpHeader* tcp, std::uint16_t mss_max) {
  constexpr std::uint8_t kEnd = 0;
  constexpr std::uint8_t kNothing = 1;
  constexpr std::uint8_t kMss = 2;
  auto* bytes = reinterpret_cast<std::uint8_t*>(tcp);
  const std::size_t end = std::size_t{tcp->data_offset} / 16 * 4;
  std::size_t at = sizeof(TcpHeader);
  while (at + 4 <= end && bytes[at] != kEnd) {
    if (bytes[at] == kNothing) {
      ++at;
      continue;
    }
    const std::uint8_t length = bytes[at + 1];
    if (length < 2) {
      return;
    }
    if (bytes[at] != kMss || length != 4) {
      at += length;
      continue;
    }
    const auto mss = static_cast<std::uint16_t>(bytes[at + 2] << 8U | bytes[at + 3]);
    if (mss > mss_max) {
      // At an odd place its bytes lie in the other halves of two words (RFC 1071 §2 B).
      const auto word = [odd = at % 2 != 0](std::uint16_t value) {
        return Be16::from_host(odd ? static_cast<std::uint16_t>(value << 8U | value >> 8U) : value)
            .raw;
      };
      tcp->checksum =
          checksum_update(tcp->checksum, ChecksumDelta::exchange(word(mss), word(mss_max)));
      bytes[at + 2] = static_cast<std::uint8_t>(mss_max >> 8U);
      bytes[at + 3] = static_cast<std::uint8_t>(mss_max);
    }
    return;
  }
}

}  // namespace sluice
