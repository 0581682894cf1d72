// SPDX-License-Identifier: Apache-2.0
#include "dataplane/lcore/packet_pool.h"

#include <rte_mbuf.h>
#include <rte_mempool.h>

namespace sluice {

rte_mempool* make_packet_pool(const std::string& name, unsigned mbufs, unsigned cache,
                              std::uint16_t room, int socket, bool dense) {
  if (!dense) {
    return rte_pktmbuf_pool_create(name.c_str(), mbufs, cache, 0, room, socket);
  }
  rte_mempool* pool = rte_mempool_create_empty(
      name.c_str(), mbufs, static_cast<unsigned>(sizeof(rte_mbuf)) + room, cache,
      sizeof(rte_pktmbuf_pool_private), socket, RTE_MEMPOOL_F_NO_IOVA_CONTIG);
  if (pool == nullptr) {
    return nullptr;
  }
  rte_pktmbuf_pool_init(pool, nullptr);
  if (rte_mempool_populate_default(pool) < 0) {
    rte_mempool_free(pool);
    return nullptr;
  }
  rte_mempool_obj_iter(pool, rte_pktmbuf_init, nullptr);
  return pool;
}

}  // namespace sluice
