// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/snapshot/snapshot.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

struct rte_rcu_qsbr;

namespace sluice {

// The published snapshot, read by lcores without a lock and replaced by one control thread;
// reclamation by rte_rcu_qsbr (quiescent-state based).
//
// `current_` is the one word both sides touch. The writer stores it with release after the snapshot
// is complete; a reader loads it with acquire once per turn, so what it reaches through the pointer
// is complete. A reader may go on with the pointer it has for the rest of its turn: that is
// harmless, as the snapshot is immutable and is freed only after the reader has reported a
// quiescent state later than the store. The token that rte_rcu_qsbr_start hands out is taken after
// the store; a reader that reports it has, by program order, not loaded anything older since.
class SnapshotRcu {
 public:
  // `readers`: how many, numbered from 0.
  explicit SnapshotRcu(unsigned readers);
  ~SnapshotRcu();
  SnapshotRcu(const SnapshotRcu&) = delete;
  SnapshotRcu& operator=(const SnapshotRcu&) = delete;

  // Reader's side; each reader calls with its own number from its own thread.
  void join(unsigned reader);
  void leave(unsigned reader);
  // Valid until this reader's next quiescent() or offline().
  [[nodiscard]] const Snapshot& read() const { return *current_.load(std::memory_order_acquire); }
  void quiescent(unsigned reader);
  // Between them the reader holds nothing and nobody waits for it.
  void offline(unsigned reader);
  void online(unsigned reader);

  // Writer's side, any thread. publish() never waits; what it replaces is freed by a later call of
  // publish() or confirmed(), once no reader can hold it.
  std::uint64_t publish(std::shared_ptr<const Snapshot> next);
  [[nodiscard]] bool confirmed(std::uint64_t ticket);
  // Snapshots that were replaced and that some reader may still hold.
  [[nodiscard]] std::size_t unreclaimed();
  // This reader may still hold what the ticket's snapshot replaced; one that is offline does not.
  [[nodiscard]] bool behind(unsigned reader, std::uint64_t ticket) const;

 private:
  struct FreeQsbr {
    void operator()(rte_rcu_qsbr* qsbr) const;
  };
  struct Retired {
    std::uint64_t token;
    std::shared_ptr<const Snapshot> snapshot;
  };
  void reclaim();

  std::unique_ptr<rte_rcu_qsbr, FreeQsbr> qsbr_;
  std::atomic<const Snapshot*> current_{nullptr};
  std::mutex writer_;
  std::shared_ptr<const Snapshot> owner_;  // keeps current_ alive
  std::deque<Retired> retired_;            // in the order of their tokens
};

}  // namespace sluice
