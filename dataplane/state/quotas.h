// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/snapshot/quota.h"
#include "dataplane/state/counters.h"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace sluice {

enum class QuotaKind : std::uint8_t { kFlows, kSnatPorts, kCount };
inline constexpr std::size_t kQuotaKinds = static_cast<std::size_t>(QuotaKind::kCount);

// The quotas that all lcores share. An lcore takes credits of one before it opens flows and gives
// back what it does not use, many at a time where the quota is large, so that lcores which open
// flows of one provider seldom meet. Never are more flows alive than the quota says; up to two
// chunks for each other lcore may lie unused: none of a quota up to 127 per lcore, 1/32 of a larger
// one, 512 at most.
class QuotaPool {
 public:
  // limits: of the quotas 1, 2, ...; at most kQuotasMax. lcores: who take of them, at least one.
  QuotaPool(const std::vector<QuotaLimits>& limits, unsigned lcores);

  [[nodiscard]] std::uint32_t size() const { return size_; }
  // Live flows and SNAT tuples of all lcores. Any thread; not of one instant.
  [[nodiscard]] QuotaLimits use(std::uint16_t id) const;

 private:
  friend class LcoreQuotas;
  struct alignas(64) Shared {
    std::array<std::atomic<std::uint32_t>, kQuotaKinds> taken{};  // by all lcores
    std::array<std::uint32_t, kQuotaKinds> limit{};               // 0: none
    std::array<std::uint32_t, kQuotaKinds> chunk{};
  };
  struct alignas(64) Own {
    std::array<Counter, kQuotaKinds> live{};        // writer: the lcore; readers: control threads
    std::array<std::uint32_t, kQuotaKinds> held{};  // credits taken; the lcore's alone
  };
  [[nodiscard]] Own* own(unsigned lcore) const { return &own_[lcore * (std::size_t{size_} + 1)]; }

  std::uint32_t size_;
  unsigned lcores_;
  std::unique_ptr<Shared[]> shared_;  // by id; the first is nobody's
  std::unique_ptr<Own[]> own_;        // of each lcore, by id
};

// What one lcore has of them. The pool outlives it.
class LcoreQuotas {
 public:
  LcoreQuotas() = default;  // of a lcore whose flows count against none
  LcoreQuotas(QuotaPool& pool, unsigned lcore) : pool_(&pool), own_(pool.own(lcore)) {}

  // Credits for one more, if both quotas have room. Then the flow is count()ed, or does not open
  // after all and they are given back.
  [[nodiscard]] bool reserve(QuotaIds ids, QuotaKind kind);
  void give_back(QuotaIds ids);
  // Whether reserve() would say so; changes nothing.
  [[nodiscard]] bool has_room(QuotaIds ids, QuotaKind kind) const;

  // A flow that has opened, or has ended.
  void count(QuotaIds ids, bool snat);
  void release(QuotaIds ids, bool snat);

 private:
  [[nodiscard]] bool reserve_one(std::uint16_t id, QuotaKind kind);
  [[nodiscard]] bool has_room_one(std::uint16_t id, QuotaKind kind) const;
  void release_one(std::uint16_t id, QuotaKind kind);
  void give_back_one(std::uint16_t id, QuotaKind kind);

  QuotaPool* pool_ = nullptr;
  QuotaPool::Own* own_ = nullptr;
};

}  // namespace sluice
