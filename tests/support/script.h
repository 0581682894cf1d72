// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/support/frame.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

// What happens to a World, step by step, as bytes: the fuzzer's input, and what packet tests write
// as its first inputs.
namespace sluice::testing {

struct Step {
  enum class Kind : std::uint8_t {
    kFrame,    // `frame` arrives
    kAnswer,   // the backend answers the last frame that left for one, with TCP flags `value`
    kError,    // an ICMP error of type `value` about that frame comes
    kTime,     // `value` times 100 ms pass
    kBinding,  // a binding changes: low bits of `value` which, high bits how
    kCount,
  };
  Kind kind = Kind::kFrame;
  std::uint8_t port = 0;  // 0 or 1
  bool from_host = false;
  bool together = false;     // in one burst with the frame of the next step
  bool in_segments = false;  // in several buffers
  std::uint8_t value = 0;
  Frame frame;
};

struct Script {
  bool ipv6 = false;
  bool dnat = false;
  bool two_lcores = false;
  bool narrow = false;  // the backends' side takes 1,300 octets
  bool refuses = false;
  bool tailroom = true;  // behind each frame; without it a sanitizer sees every octet too much
  std::vector<Step> steps;
};

// Any bytes are a script. Frames have at most kScriptFrameMax octets.
inline constexpr std::size_t kScriptFrameMax = 1514;
Script decode_script(std::span<const std::uint8_t> bytes);
std::vector<std::uint8_t> encode_script(const Script& script);

// Whether frame.h's judges may look at it: an unfragmented TCP, UDP or ICMP packet whose headers
// are all there.
bool is_judgeable(const Frame& frame);
// Of an Ethernet frame with an IPv4 header that is all there.
bool has_ipv4_header(const Frame& frame);

}  // namespace sluice::testing
