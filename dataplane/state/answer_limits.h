// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/state/token_bucket.h"

#include <array>
#include <cstddef>
#include <cstdint>

namespace sluice {

// What the gateway says in its own name about packets, besides ARP and ND.
enum class Answer : std::uint8_t {
  kNone,
  kTimeExceeded,
  kPacketTooBig,  // IPv4: fragmentation needed
  kPortUnreachable,
  kProtocolUnreachable,  // IPv6: parameter problem, unrecognized next header
  kReset,                // of a TCP connection
  kEcho,
  kCount,
};

// At most so many of each a second (RFC 1812 §4.3.2.8, RFC 4443 §2.4 f), per lcore and kind: a
// flood of one must not silence the others, above all not path MTU discovery. writer: the lcore.
class AnswerLimits {
 public:
  // True: take() says no; false says nothing.
  [[nodiscard]] bool is_spent(Answer answer, std::uint32_t now_ms) const {
    return buckets_[static_cast<std::size_t>(answer)].is_spent(now_ms);
  }
  // False: over the rate. `now_ms` as in LcoreState.
  [[nodiscard]] bool take(Answer answer, std::uint32_t now_ms) {
    return buckets_[static_cast<std::size_t>(answer)].take(now_ms);
  }

 private:
  // In the order of Answer.
  std::array<TokenBucket, static_cast<std::size_t>(Answer::kCount)> buckets_{
      TokenBucket(0),     TokenBucket(1'000),  TokenBucket(1'000), TokenBucket(1'000),
      TokenBucket(1'000), TokenBucket(10'000), TokenBucket(10'000)};
};

}  // namespace sluice
