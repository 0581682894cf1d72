// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/address.h"

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace sluice::bench {

// Numbers 0 .. count - 1, each once in a period, in an order that no prefetcher knows: a
// full-period sequence over a power of two, numbers past the count skipped.
class Order {
 public:
  explicit Order(std::uint32_t count) : count_(count), mask_(std::bit_ceil(count) - 1) {}
  std::uint32_t next() {
    do {
      state_ = (state_ * 1'664'525 + 1'013'904'223) & mask_;
    } while (state_ >= count_);
    return state_;
  }

 private:
  std::uint32_t count_;
  std::uint32_t mask_;
  std::uint32_t state_ = 1;
};

// What clients of one UDP service send: 60 bytes (64 with FCS), all checksums right. Flow i is the
// client 10.0.0.0 + i with a port of its own, so at most 2^24 of them.
class ClientFrames {
 public:
  static constexpr std::size_t kBytes = 60;
  static constexpr std::uint32_t kFlowsMax = 1U << 24U;

  struct Path {
    MacAddress from;
    MacAddress to;
    Ipv4Address service;
    std::uint16_t port = 0;
  };
  explicit ClientFrames(const Path& path);
  void write(std::uint8_t* frame, std::uint32_t flow) const;

 private:
  std::array<std::uint8_t, kBytes> template_{};
};

}  // namespace sluice::bench
