// SPDX-License-Identifier: Apache-2.0
#include "dataplane/lcore/packet_pool.h"

#include "tests/unit/dataplane/lcore/environment.h"

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace sluice::testing {
namespace {

constexpr unsigned kMbufs = 4095;
constexpr std::uint16_t kRoom = 2176;

// From the first buffer's begin to the last one's end.
std::size_t extent_of(rte_mempool* pool) {
  std::vector<std::uintptr_t> at;
  rte_mempool_obj_iter(
      pool,
      [](rte_mempool*, void* into, void* object, unsigned) {
        static_cast<std::vector<std::uintptr_t>*>(into)->push_back(
            reinterpret_cast<std::uintptr_t>(object));
      },
      &at);
  EXPECT_EQ(at.size(), kMbufs);
  const auto [first, last] = std::minmax_element(at.begin(), at.end());
  return *last - *first + rte_mempool_calc_obj_size(pool->elt_size, pool->flags, nullptr);
}

TEST(PacketPoolTest, ADensePoolIsNoLargerThanItsBuffers) {
  start_eal();
  rte_mempool* pool = make_packet_pool("dense", kMbufs, 256, kRoom, SOCKET_ID_ANY, true);
  ASSERT_NE(pool, nullptr);
  const std::size_t each = rte_mempool_calc_obj_size(pool->elt_size, pool->flags, nullptr);
  EXPECT_EQ(extent_of(pool), kMbufs * each);
  rte_mbuf* mbuf = rte_pktmbuf_alloc(pool);
  ASSERT_NE(mbuf, nullptr);
  EXPECT_EQ(mbuf->buf_len, kRoom);
  EXPECT_EQ(mbuf->pool, pool);
  rte_pktmbuf_free(mbuf);
  rte_mempool_free(pool);
}

TEST(PacketPoolTest, APoolLargerThanTheMemoryIsNone) {
  start_eal();
  for (const bool dense : {true, false}) {
    EXPECT_EQ(make_packet_pool("huge", 10'000'000, 256, kRoom, SOCKET_ID_ANY, dense), nullptr);
  }
}

}  // namespace
}  // namespace sluice::testing
