// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "bench/pktgen/traffic.h"
#include "dataplane/net/endian.h"

#include <cstdint>
#include <vector>

namespace sluice::pktgen {

// Which flow a packet belongs to, by its place in a trial alone, so that sender and receiver agree
// without a word. There are always `flows` open ones, each in a slot; a flow that opens takes over
// the slot of the oldest.
//
//   packet n:  opened(n) = floor(n * opens_per_packet) flows have opened before it
//              opened(n + 1) > opened(n): it is the first of a new flow
//              otherwise of the flow that is in slot ring[n mod size of the ring], of those that
//              opened kSettling packets ago or before: a client sends no data right behind its SYN
class Schedule {
 public:
  // Several bursts, so that no gateway gets a flow's first two packets in one.
  static constexpr std::uint64_t kSettling = 512;

  struct Place {
    std::uint32_t slot;
    std::uint32_t flow;
    bool opens;
  };

  Schedule(const Traffic& traffic, std::uint64_t seed);

  // Of the trial to come: 0 to 1. What the last one opened (`packets` of it) stays open.
  void begin(double opens_per_packet, std::uint64_t packets_before);

  [[nodiscard]] std::uint32_t flows() const { return flows_; }
  [[nodiscard]] Place at(std::uint64_t packet) const {
    return place(packet, ring_[packet % ring_.size()]);
  }

 private:
  friend class Walk;

  [[nodiscard]] std::uint64_t opened(std::uint64_t packets) const {
    return opened_before_ +
           static_cast<std::uint64_t>(static_cast<Uint128>(packets) * opens_q32_ >> 32U);
  }
  [[nodiscard]] Place place(std::uint64_t packet, std::uint32_t slot) const {
    if (opens_q32_ == 0 && opened_before_ == 0) {
      return {slot, slot, false};
    }
    return place_among_new(packet, slot);
  }
  [[nodiscard]] Place place_among_new(std::uint64_t packet, std::uint32_t slot) const;

  std::vector<std::uint32_t> ring_;
  std::uint64_t opens_q32_ = 0;  // per packet, in units of 2^-32
  std::uint64_t opened_before_ = 0;
  std::uint32_t flows_;
};

// The same for packets that come mostly in order, without a division for each.
class Walk {
 public:
  explicit Walk(const Schedule& schedule) : schedule_(&schedule) {}

  Schedule::Place at(std::uint64_t packet) {
    const auto size = schedule_->ring_.size();
    if (packet == next_) {
      position_ = position_ + 1 < size ? position_ + 1 : 0;
    } else {
      position_ = static_cast<std::size_t>(packet % size);
    }
    next_ = packet + 1;
    return schedule_->place(packet, schedule_->ring_[position_]);
  }

 private:
  const Schedule* schedule_;
  std::uint64_t next_ = ~std::uint64_t{0};
  std::size_t position_ = 0;
};

// Frame sizes in the shares that were asked for, spread evenly over a round.
[[nodiscard]] std::vector<std::uint8_t> size_round(const std::vector<FrameShare>& sizes);

}  // namespace sluice::pktgen
