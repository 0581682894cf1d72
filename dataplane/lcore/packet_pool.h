// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

struct rte_mempool;

namespace sluice {

// A pool of `mbufs` packet buffers with `room` bytes each, headroom included; null when there is no
// memory. `cache`: so many are kept for each lcore.
//
// Of a pool for net_af_xdp (`dense`) the buffers lie one behind the other. DPDK keeps buffers from
// crossing pages otherwise, for devices that see physical addresses; that driver, which sees none,
// takes the pool for `mbufs` times a buffer's size and tells the kernel so. Without hugepages that
// is little more than half of it, and what lies in the other half is silently not sent.
[[nodiscard]] rte_mempool* make_packet_pool(const std::string& name, unsigned mbufs, unsigned cache,
                                            std::uint16_t room, int socket, bool dense);

}  // namespace sluice
