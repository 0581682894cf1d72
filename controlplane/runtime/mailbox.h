// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/model/desired.h"
#include "controlplane/model/observed.h"
#include "controlplane/runtime/resolver.h"

#include <array>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace sluice::runtime {

// What an accepted transaction did.
struct Applied {
  std::uint64_t revision = 0;
  std::uint64_t epoch = 0;
  std::uint64_t publish_ns = 0;
  model::Plan plan;
};

struct PendingWrite {
  model::Transaction transaction;
  std::promise<model::Result<Applied>> answer;
  std::chrono::steady_clock::time_point deadline;  // when the writer wants to hear at the latest
  std::chrono::steady_clock::time_point received;
};

// Somebody else says that an address we answer for is his.
struct AddressClaim {
  IpAddress address;
  std::uint8_t port = 0;
  std::array<std::uint8_t, 6> mac{};

  friend auto operator<=>(const AddressClaim&, const AddressClaim&) = default;
};

// Everything that reaches the reconciler, from any thread. Writes and questions queue up to a
// bound. What is observed is a state, not a history, so it is folded: of routes and addresses the
// last full set wins, of neighbours the last word on each; nothing of it is ever refused.
class Mailbox {
 public:
  static constexpr std::size_t kWritesMax = 4'096;
  static constexpr std::size_t kQuestionsMax = 1'024;
  static constexpr std::size_t kClaimsMax = 256;

  struct Batch {
    std::vector<PendingWrite> writes;
    std::optional<std::vector<model::KernelAddress>> addresses;
    std::optional<std::vector<model::KernelRoute>> routes;
    std::vector<model::KernelNeighbour> neighbours;
    std::set<std::pair<std::uint8_t, IpAddress>> wanted;
    std::set<AddressClaim> claims;
    std::map<std::string, ResolvedName> names;  // the last word on each
    std::vector<std::function<void()>> questions;
    bool stop = false;
  };

  enum class Posted { kTaken, kFull, kStopped };
  // The write is taken only with kTaken.
  [[nodiscard]] Posted post(PendingWrite& write);
  [[nodiscard]] Posted post(std::function<void()> question);
  void post_addresses(std::vector<model::KernelAddress> addresses);
  void post_routes(std::vector<model::KernelRoute> routes);
  void post_neighbours(const std::vector<model::KernelNeighbour>& neighbours);
  void post_wanted(std::uint8_t port, const IpAddress& neighbour);
  // Somebody else answers for an address of ours. Of a batch, kClaimsMax.
  void post_claim(const AddressClaim& claim);
  void post_name(const ResolvedName& name);
  void stop();

  // All there is, after at most `patience` when there is nothing.
  Batch take(std::chrono::microseconds patience);

 private:
  std::mutex mutex_;
  std::condition_variable filled_;
  bool any_ = false;
  Batch batch_;
  std::map<std::pair<int, IpAddress>, model::KernelNeighbour> neighbours_;
};

}  // namespace sluice::runtime
