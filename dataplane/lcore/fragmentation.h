// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

struct rte_mbuf;
struct rte_mempool;

namespace sluice {

// As many as 65,535 octets make at the smallest MTU a host must take (RFC 791 §3.2).
inline constexpr std::uint32_t kFragmentsMax = 128;

// Of the IP packet in an untagged frame; what follows it is padding.
[[nodiscard]] std::uint32_t ip_length(const rte_mbuf* frame);

// Gives a whole IPv4 packet an identification of ours (RFC 6864 §5.3.1); a fragment has its
// datagram's.
void identify(rte_mbuf* frame, std::uint32_t identification);

// Cuts an IPv4 frame, its Ethernet header complete, into frames whose IP packets have at most `mtu`
// octets (RFC 791 §3.2), single buffers from `pool`, checksums right. How many; 0 when there are
// not enough buffers, or more would be needed than `fragments` holds. The frame stays the caller's,
// but is good for nothing any more.
[[nodiscard]] std::uint32_t fragment(rte_mbuf* frame, std::uint16_t mtu, rte_mempool* pool,
                                     std::span<rte_mbuf*> fragments);

}  // namespace sluice
