// SPDX-License-Identifier: Apache-2.0
#include "dataplane/state/quotas.h"

#include <algorithm>

namespace sluice {
namespace {

constexpr std::uint32_t kChunksPerLcore = 64;
constexpr std::uint32_t kChunkMax = 256;

constexpr std::size_t at(QuotaKind kind) {
  return static_cast<std::size_t>(kind);
}

// All of `amount`, or nothing.
bool take(std::atomic<std::uint32_t>& taken, std::uint32_t limit, std::uint32_t amount) {
  std::uint32_t now = taken.load(std::memory_order_relaxed);
  do {
    if (now + amount > limit) {
      return false;
    }
  } while (!taken.compare_exchange_weak(now, now + amount, std::memory_order_relaxed));
  return true;
}

}  // namespace

QuotaPool::QuotaPool(const std::vector<QuotaLimits>& limits, unsigned lcores)
    : size_(static_cast<std::uint32_t>(limits.size())),
      lcores_(lcores),
      shared_(std::make_unique<Shared[]>(limits.size() + 1)),
      own_(std::make_unique<Own[]>(lcores * (limits.size() + 1))) {
  for (std::size_t i = 0; i < limits.size(); ++i) {
    Shared& shared = shared_[i + 1];
    shared.limit = {limits[i].flows, limits[i].snat_ports};
    for (std::size_t kind = 0; kind < kQuotaKinds; ++kind) {
      shared.chunk[kind] =
          std::clamp(shared.limit[kind] / (kChunksPerLcore * lcores), 1U, kChunkMax);
    }
  }
}

QuotaLimits QuotaPool::use(std::uint16_t id) const {
  QuotaLimits sum;
  for (unsigned lcore = 0; lcore < lcores_; ++lcore) {
    const Own& one = own(lcore)[id];
    sum.flows += static_cast<std::uint32_t>(one.live[at(QuotaKind::kFlows)].get());
    sum.snat_ports += static_cast<std::uint32_t>(one.live[at(QuotaKind::kSnatPorts)].get());
  }
  return sum;
}

bool LcoreQuotas::reserve(QuotaIds ids, QuotaKind kind) {
  if (!reserve_one(ids.provider, kind)) {
    return false;
  }
  if (!reserve_one(ids.space, kind)) {
    give_back_one(ids.provider, kind);
    return false;
  }
  return true;
}

void LcoreQuotas::give_back(QuotaIds ids) {
  for (const std::uint16_t id : {ids.provider, ids.space}) {
    give_back_one(id, QuotaKind::kFlows);
    give_back_one(id, QuotaKind::kSnatPorts);
  }
}

bool LcoreQuotas::has_room(QuotaIds ids, QuotaKind kind) const {
  return has_room_one(ids.provider, kind) && has_room_one(ids.space, kind);
}

void LcoreQuotas::count(QuotaIds ids, bool snat) {
  for (const std::uint16_t id : {ids.provider, ids.space}) {
    if (id != 0) {
      own_[id].live[at(QuotaKind::kFlows)].add(1);
      own_[id].live[at(QuotaKind::kSnatPorts)].add(snat ? 1 : 0);
    }
  }
}

void LcoreQuotas::release(QuotaIds ids, bool snat) {
  for (const std::uint16_t id : {ids.provider, ids.space}) {
    if (id != 0) {
      release_one(id, QuotaKind::kFlows);
      if (snat) {
        release_one(id, QuotaKind::kSnatPorts);
      }
    }
  }
}

bool LcoreQuotas::reserve_one(std::uint16_t id, QuotaKind kind) {
  QuotaPool::Shared& shared = pool_->shared_[id];
  const std::uint32_t limit = shared.limit[at(kind)];
  std::uint32_t& held = own_[id].held[at(kind)];
  if (limit == 0 || own_[id].live[at(kind)].get() < held) {
    return true;
  }
  for (const std::uint32_t amount : {shared.chunk[at(kind)], 1U}) {
    if (take(shared.taken[at(kind)], limit, amount)) {
      held += amount;
      return true;
    }
  }
  return false;
}

bool LcoreQuotas::has_room_one(std::uint16_t id, QuotaKind kind) const {
  const QuotaPool::Shared& shared = pool_->shared_[id];
  const std::uint32_t limit = shared.limit[at(kind)];
  return limit == 0 || own_[id].live[at(kind)].get() < own_[id].held[at(kind)] ||
         shared.taken[at(kind)].load(std::memory_order_relaxed) < limit;
}

void LcoreQuotas::release_one(std::uint16_t id, QuotaKind kind) {
  Counter& live = own_[id].live[at(kind)];
  live.set(live.get() - 1);
  give_back_one(id, kind);
}

// All that is not used of a small quota; of a large one a chunk, once more than two lie idle.
void LcoreQuotas::give_back_one(std::uint16_t id, QuotaKind kind) {
  QuotaPool::Shared& shared = pool_->shared_[id];
  const std::uint32_t chunk = shared.chunk[at(kind)];
  std::uint32_t& held = own_[id].held[at(kind)];
  if (shared.limit[at(kind)] != 0 && held - own_[id].live[at(kind)].get() > 2 * (chunk - 1)) {
    held -= chunk;
    shared.taken[at(kind)].fetch_sub(chunk, std::memory_order_relaxed);
  }
}

}  // namespace sluice
