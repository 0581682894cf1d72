// SPDX-License-Identifier: Apache-2.0
#include "dataplane/lcore/fragmentation.h"

#include "dataplane/net/checksum.h"
#include "dataplane/net/headers.h"

#include <rte_ip_frag.h>
#include <rte_mbuf.h>

#include <cstring>

namespace sluice {
namespace {

// The library leaves checksums to the device, which may be one that cannot.
void complete(rte_mbuf* fragment, const EthernetHeader& ethernet) {
  auto* ip = rte_pktmbuf_mtod(fragment, Ipv4Header*);
  ip->checksum = Be16{};
  ip->checksum.raw = checksum_finish(checksum_sum(
      {reinterpret_cast<const std::uint8_t*>(ip), (ip->version_ihl & 0xfU) * std::size_t{4}}));
  fragment->ol_flags = 0;
  if (char* front = rte_pktmbuf_prepend(fragment, sizeof(ethernet)); front != nullptr) {
    std::memcpy(front, &ethernet, sizeof(ethernet));  // the pool's buffers have the headroom
  }
}

}  // namespace

std::uint32_t fragment(rte_mbuf* frame, std::uint16_t mtu, rte_mempool* pool,
                       std::span<rte_mbuf*> fragments) {
  const EthernetHeader ethernet = *rte_pktmbuf_mtod(frame, const EthernetHeader*);
  rte_pktmbuf_adj(frame, sizeof(EthernetHeader));
  const std::uint32_t length = rte_pktmbuf_mtod(frame, const Ipv4Header*)->total_length.host();
  if (rte_pktmbuf_linearize(frame) != 0) {
    return 0;
  }
  rte_pktmbuf_trim(frame, static_cast<std::uint16_t>(frame->pkt_len - length));  // padding
  const std::int32_t count = rte_ipv4_fragment_copy_nonseg_packet(
      frame, fragments.data(), static_cast<std::uint16_t>(fragments.size()), mtu, pool);
  for (std::int32_t i = 0; i < count; ++i) {
    complete(fragments[static_cast<std::size_t>(i)], ethernet);
  }
  return count < 0 ? 0 : static_cast<std::uint32_t>(count);
}

}  // namespace sluice
