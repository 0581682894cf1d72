// SPDX-License-Identifier: Apache-2.0
#include "tests/support/script.h"

#include <algorithm>

namespace sluice::testing {
namespace {

// A step begins with: kind | port << 3 | from_host << 4 | together << 5 |
// in_segments << 6, then `value`; a frame's
// length follows in two bytes, and the frame.
constexpr std::size_t kHead = 2;

unsigned get16(const Frame& frame, std::size_t at) {
  return static_cast<unsigned>(frame[at]) << 8U | frame[at + 1];
}

bool has_transport(const Frame& frame, std::uint8_t protocol, std::size_t begin, std::size_t end) {
  const bool known = protocol == kProtocolTcp || protocol == kProtocolUdp ||
                     protocol == (frame[12] == 0x08 ? kProtocolIcmp : kProtocolIcmp6);
  const std::size_t least = protocol == kProtocolTcp ? 20 : 8;
  return known && begin + least <= end && end <= frame.size();
}

}  // namespace

Script decode_script(std::span<const std::uint8_t> bytes) {
  Script script;
  if (bytes.empty()) {
    return script;
  }
  const std::uint8_t given = bytes[0];
  script.ipv6 = (given & 1U) != 0;
  script.dnat = (given & 2U) != 0;
  script.two_lcores = (given & 4U) != 0;
  script.narrow = (given & 8U) != 0;
  script.refuses = (given & 16U) != 0;
  script.tailroom = (given & 32U) != 0;
  for (std::size_t at = 1; at + kHead <= bytes.size();) {
    Step step;
    step.kind =
        static_cast<Step::Kind>((bytes[at] & 7U) % static_cast<unsigned>(Step::Kind::kCount));
    step.port = bytes[at] >> 3U & 1U;
    step.from_host = (bytes[at] >> 4U & 1U) != 0;
    step.together = (bytes[at] >> 5U & 1U) != 0;
    step.in_segments = (bytes[at] >> 6U & 1U) != 0;
    step.value = bytes[at + 1];
    at += kHead;
    if (step.kind == Step::Kind::kFrame) {
      if (at + 2 > bytes.size()) {
        break;
      }
      const std::size_t wanted = static_cast<std::size_t>(bytes[at] << 8U | bytes[at + 1]);
      at += 2;
      const std::size_t length = std::min({wanted, bytes.size() - at, kScriptFrameMax});
      step.frame.assign(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                        bytes.begin() + static_cast<std::ptrdiff_t>(at + length));
      at += length;
    }
    script.steps.push_back(std::move(step));
  }
  return script;
}

std::vector<std::uint8_t> encode_script(const Script& script) {
  const auto bit = [](bool set, unsigned place) { return static_cast<unsigned>(set) << place; };
  std::vector<std::uint8_t> bytes{static_cast<std::uint8_t>(
      bit(script.ipv6, 0) | bit(script.dnat, 1) | bit(script.two_lcores, 2) |
      bit(script.narrow, 3) | bit(script.refuses, 4) | bit(script.tailroom, 5))};
  for (const Step& step : script.steps) {
    bytes.push_back(static_cast<std::uint8_t>(static_cast<unsigned>(step.kind) |
                                              bit(step.port != 0, 3) | bit(step.from_host, 4) |
                                              bit(step.together, 5) | bit(step.in_segments, 6)));
    bytes.push_back(step.value);
    if (step.kind == Step::Kind::kFrame) {
      const std::size_t length = std::min(step.frame.size(), kScriptFrameMax);
      bytes.push_back(static_cast<std::uint8_t>(length >> 8U));
      bytes.push_back(static_cast<std::uint8_t>(length));
      bytes.insert(bytes.end(), step.frame.begin(),
                   step.frame.begin() + static_cast<std::ptrdiff_t>(length));
    }
  }
  return bytes;
}

bool has_ipv4_header(const Frame& frame) {
  return frame.size() >= 34 && get16(frame, 12) == 0x0800 && frame[14] >= 0x45 &&
         frame[14] <= 0x4f && frame.size() >= 14 + (frame[14] & 0xfU) * std::size_t{4};
}

bool is_judgeable(const Frame& frame) {
  if (has_ipv4_header(frame)) {
    return (get16(frame, 20) & 0x3fffU) == 0 &&
           has_transport(frame, frame[23], 14 + (frame[14] & 0xfU) * std::size_t{4},
                         14 + get16(frame, 16));
  }
  return frame.size() >= 54 && get16(frame, 12) == 0x86dd && frame[14] >> 4U == 6 &&
         has_transport(frame, frame[20], 54, 54 + get16(frame, 18));
}

}  // namespace sluice::testing
