// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sluice::kubernetes {

// Whole characters of UTF-8, which is all that a message of an API may hold.
inline std::string shortened(std::string text, std::size_t bytes_max) {
  constexpr std::string_view kMore = "...";
  if (text.size() <= bytes_max) {
    return text;
  }
  std::size_t end = bytes_max - kMore.size();
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0U) == 0x80U) {
    --end;
  }
  text.resize(end);
  return text.append(kMore);
}

}  // namespace sluice::kubernetes
