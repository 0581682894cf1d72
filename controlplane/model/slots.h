// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

namespace sluice::model {

// Small dense numbers that are handed out again, but not before whoever used them is surely done:
// a number given back rests until reclaim() is told that it is idle.
class Slots {
 public:
  // Numbers are 1 .. limit - 1; 0 is never handed out.
  explicit Slots(std::uint32_t limit) : limit_(limit) {}

  // Nothing when all are taken or resting.
  std::optional<std::uint32_t> take() {
    if (!free_.empty()) {
      const std::uint32_t slot = free_.front();
      free_.pop_front();
      return slot;
    }
    return next_ < limit_ ? std::optional(next_++) : std::nullopt;
  }
  // `epoch`: the first snapshot in which nothing new can use the number.
  void give_back(std::uint32_t slot, std::uint64_t epoch) { resting_.push_back({slot, epoch}); }

  // Frees the resting numbers whose epoch all lcores have seen and that are idle.
  template <typename IsIdle>
  void reclaim(std::uint64_t seen_by_all, IsIdle&& is_idle) {
    std::vector<Resting> still;
    for (const Resting& resting : resting_) {
      if (resting.epoch <= seen_by_all && is_idle(resting.slot)) {
        free_.push_back(resting.slot);
      } else {
        still.push_back(resting);
      }
    }
    resting_ = std::move(still);
  }
  [[nodiscard]] bool any_resting() const { return !resting_.empty(); }

 private:
  struct Resting {
    std::uint32_t slot;
    std::uint64_t epoch;
  };
  std::uint32_t limit_;
  std::uint32_t next_ = 1;
  std::deque<std::uint32_t> free_;
  std::vector<Resting> resting_;
};

}  // namespace sluice::model
