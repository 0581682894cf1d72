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

// One buffer.
std::uint32_t cut(rte_mbuf* frame, std::uint16_t mtu, rte_mempool* pool,
                  std::span<rte_mbuf*> fragments) {
  const EthernetHeader ethernet = *rte_pktmbuf_mtod(frame, const EthernetHeader*);
  const std::uint32_t length = ip_length(frame);
  rte_pktmbuf_adj(frame, sizeof(EthernetHeader));
  rte_pktmbuf_trim(frame, static_cast<std::uint16_t>(frame->pkt_len - length));  // padding
  const std::int32_t count = rte_ipv4_fragment_copy_nonseg_packet(
      frame, fragments.data(), static_cast<std::uint16_t>(fragments.size()), mtu, pool);
  for (std::int32_t i = 0; i < count; ++i) {
    complete(fragments[static_cast<std::size_t>(i)], ethernet);
  }
  return count < 0 ? 0 : static_cast<std::uint32_t>(count);
}

}  // namespace

std::uint32_t ip_length(const rte_mbuf* frame) {
  const auto* ethernet = rte_pktmbuf_mtod(frame, const EthernetHeader*);
  if (ethernet->ether_type == kEtherTypeIpv4) {
    return reinterpret_cast<const Ipv4Header*>(ethernet + 1)->total_length.host();
  }
  const auto* ip = reinterpret_cast<const Ipv6Header*>(ethernet + 1);
  return std::uint32_t{sizeof(Ipv6Header)} + ip->payload_length.host();
}

void identify(rte_mbuf* frame, std::uint32_t identification) {
  auto* ip = rte_pktmbuf_mtod_offset(frame, Ipv4Header*, sizeof(EthernetHeader));
  if ((ip->fragment_offset.raw & kIpv4FragmentMask.raw) != 0) {
    return;
  }
  const Be16 after = Be16::from_host(static_cast<std::uint16_t>(identification));
  ip->checksum =
      checksum_update(ip->checksum, ChecksumDelta::exchange(ip->identification.raw, after.raw));
  ip->identification = after;
}

// What is in several buffers is copied into one first: the first has no room for more once its
// headers were gathered (stages/parse.cpp).
std::uint32_t fragment(rte_mbuf* frame, std::uint16_t mtu, rte_mempool* pool,
                       std::span<rte_mbuf*> fragments) {
  if (frame->nb_segs == 1) {
    return cut(frame, mtu, pool, fragments);
  }
  rte_mbuf* whole = rte_pktmbuf_copy(frame, pool, 0, UINT32_MAX);
  const bool in_one = whole != nullptr && whole->nb_segs == 1;
  const std::uint32_t count = in_one ? cut(whole, mtu, pool, fragments) : 0;
  rte_pktmbuf_free(whole);
  return count;
}

}  // namespace sluice
