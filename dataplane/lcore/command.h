// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/stages/pipeline.h"

#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

namespace sluice {

// What other threads ask of an lcore, which alone may touch its tables. It is answered
// in bounded slices, one a turn. `done` hands the answer over: the lcore stores it last, with
// release, and touches the command no more; the asker loads it with acquire before it reads.
class Command {
 public:
  virtual ~Command() = default;
  // One slice; true when the answer is complete. Called on the lcore only.
  virtual bool step(const Snapshot& snapshot, LcoreState& state) = 0;

  void finish() { done_.store(true, std::memory_order_release); }
  [[nodiscard]] bool done() const { return done_.load(std::memory_order_acquire); }

 private:
  std::atomic<bool> done_{false};
};

class ListFlows : public Command {
 public:
  static constexpr std::uint32_t kSlice = 64;  // entries looked at a turn

  ListFlows(FlowFilter filter, std::size_t limit, std::uint32_t lcore)
      : filter_(std::move(filter)), limit_(limit), lcore_(lcore) {}
  bool step(const Snapshot& snapshot, LcoreState& state) override;
  [[nodiscard]] std::vector<FlowRow>& rows() { return rows_; }

 private:
  FlowFilter filter_;
  std::size_t limit_;
  std::uint32_t lcore_;
  Family family_ = Family::kIpv4;
  std::uint32_t next_ = 0;
  std::vector<FlowRow> rows_;
};

class DeleteFlows : public Command {
 public:
  explicit DeleteFlows(FlowFilter filter) : filter_(std::move(filter)) {}
  bool step(const Snapshot& snapshot, LcoreState& state) override;
  [[nodiscard]] std::uint64_t deleted() const { return deleted_; }

 private:
  FlowFilter filter_;
  Family family_ = Family::kIpv4;
  std::uint32_t next_ = 0;
  std::uint64_t deleted_ = 0;
};

class ExplainPacket : public Command {
 public:
  ExplainPacket(ExplainQuery query, std::uint32_t lcore)
      : query_(std::move(query)), lcore_(lcore) {}
  bool step(const Snapshot& snapshot, LcoreState& state) override;
  [[nodiscard]] Explanation& answer() { return *answer_; }

 private:
  ExplainQuery query_;
  std::uint32_t lcore_;
  std::optional<Explanation> answer_;
};

}  // namespace sluice
