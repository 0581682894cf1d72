// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace sluice::pktgen {

// What became of the packets of one trial in one direction, by their sequence numbers. A packet is
// reordered when a later one of its own flow came before it (RFC 4737 §3.3, per flow, since the
// lcores of a gateway owe no order to each other).
class SequenceAccount {
 public:
  // Numbers count from `first` on, modulo 2^32; at most 2^31 of them may be under way.
  void begin(std::uint64_t first, std::uint32_t slots) {
    first_ = first;
    highest_ = first;
    received_ = reordered_ = stale_ = 0;
    last_.assign(slots, static_cast<std::uint32_t>(first) - 1);
  }

  // The packet's place in the trial; false: it is of a trial before.
  bool place(std::uint32_t sequence, std::uint64_t* packet) {
    const auto ahead = static_cast<std::int32_t>(sequence - static_cast<std::uint32_t>(highest_));
    const std::uint64_t number = highest_ + static_cast<std::uint64_t>(std::int64_t{ahead});
    if (number < first_ || number > highest_ + (std::uint64_t{1} << 31U)) {
      ++stale_;
      return false;
    }
    highest_ = std::max(highest_, number);
    *packet = number - first_;
    return true;
  }
  void see(std::uint32_t sequence, std::uint32_t slot) {
    ++received_;
    if (static_cast<std::int32_t>(sequence - last_[slot]) > 0) {
      last_[slot] = sequence;
    } else {
      ++reordered_;
    }
  }

  [[nodiscard]] std::uint64_t received() const { return received_; }
  [[nodiscard]] std::uint64_t reordered() const { return reordered_; }
  [[nodiscard]] std::uint64_t stale() const { return stale_; }

 private:
  std::uint64_t first_ = 0;
  std::uint64_t highest_ = 0;
  std::uint64_t received_ = 0;
  std::uint64_t reordered_ = 0;
  std::uint64_t stale_ = 0;
  std::vector<std::uint32_t> last_;  // by slot
};

}  // namespace sluice::pktgen
