// SPDX-License-Identifier: Apache-2.0
#include "dataplane/lcore/rcu.h"

#include <rte_rcu_qsbr.h>

#include <cstdlib>
#include <cstring>
#include <new>

namespace sluice {

void SnapshotRcu::FreeQsbr::operator()(rte_rcu_qsbr* qsbr) const {
  std::free(qsbr);
}

SnapshotRcu::SnapshotRcu(unsigned readers) {
  const std::size_t bytes = rte_rcu_qsbr_get_memsize(readers);
  void* memory = std::aligned_alloc(RTE_CACHE_LINE_SIZE, RTE_ALIGN_CEIL(bytes, 64));
  if (memory == nullptr) {
    throw std::bad_alloc();
  }
  std::memset(memory, 0, bytes);
  qsbr_.reset(static_cast<rte_rcu_qsbr*>(memory));
  rte_rcu_qsbr_init(qsbr_.get(), readers);
}

SnapshotRcu::~SnapshotRcu() = default;

void SnapshotRcu::join(unsigned reader) {
  rte_rcu_qsbr_thread_register(qsbr_.get(), reader);
  rte_rcu_qsbr_thread_online(qsbr_.get(), reader);
}

void SnapshotRcu::leave(unsigned reader) {
  rte_rcu_qsbr_thread_offline(qsbr_.get(), reader);
  rte_rcu_qsbr_thread_unregister(qsbr_.get(), reader);
}

void SnapshotRcu::quiescent(unsigned reader) {
  rte_rcu_qsbr_quiescent(qsbr_.get(), reader);
}
void SnapshotRcu::offline(unsigned reader) {
  rte_rcu_qsbr_thread_offline(qsbr_.get(), reader);
}
void SnapshotRcu::online(unsigned reader) {
  rte_rcu_qsbr_thread_online(qsbr_.get(), reader);
}

std::uint64_t SnapshotRcu::publish(std::shared_ptr<const Snapshot> next) {
  const std::lock_guard lock(writer_);
  current_.store(next.get(), std::memory_order_release);
  const std::uint64_t token = rte_rcu_qsbr_start(qsbr_.get());
  retired_.push_back({token, std::move(owner_)});
  owner_ = std::move(next);
  reclaim();
  return token;
}

bool SnapshotRcu::confirmed(std::uint64_t ticket) {
  const std::lock_guard lock(writer_);
  reclaim();
  return rte_rcu_qsbr_check(qsbr_.get(), ticket, false) == 1;
}

std::size_t SnapshotRcu::unreclaimed() {
  const std::lock_guard lock(writer_);
  reclaim();
  return retired_.size();
}

bool SnapshotRcu::behind(unsigned reader, std::uint64_t ticket) const {
  const std::uint64_t seen = __atomic_load_n(&qsbr_->qsbr_cnt[reader].cnt, __ATOMIC_ACQUIRE);
  return seen != __RTE_QSBR_CNT_THR_OFFLINE && seen < ticket;
}

void SnapshotRcu::reclaim() {
  while (!retired_.empty() && rte_rcu_qsbr_check(qsbr_.get(), retired_.front().token, false) == 1) {
    retired_.pop_front();
  }
}

}  // namespace sluice
