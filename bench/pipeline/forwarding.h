// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "bench/pipeline/gateway.h"
#include "bench/traffic/frames.h"

#include <rte_cycles.h>
#include <rte_hash_crc.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

// Forwarding work on real mbufs without a port, in chunks of packets, and the plain floor beside
// it: mbuf alloc and free in bursts, header written, tuple hashed, one prefetched 64-byte line per
// flow read and written, addresses, ports and checksums rewritten.
namespace sluice::bench {

constexpr std::uint32_t kBursts = 32;  // of 64 packets, a chunk
constexpr std::uint32_t kChunk = kBursts * kBurstMax;

struct alignas(64) FloorFlow {
  Ipv4Address source;
  Ipv4Address destination;
  Be16 source_port;
  Be16 destination_port;
  ChecksumDelta l3;
  ChecksumDelta l4;
  std::uint32_t packets;
  std::uint32_t bytes;
  std::uint32_t seen;
};
static_assert(sizeof(FloorFlow) == 64);

struct Summary {
  double median = 0;
  double min = 0;
  double max = 0;
};

inline Summary summarise(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values[values.size() / 2], values.front(), values.back()};
}

template <Family F>
class Forwarding {
 public:
  Forwarding(rte_mempool* pool, Gateway& gateway, std::uint32_t flows)
      : Forwarding(pool, gateway, gateway.snapshot, flows) {}
  // Another gateway's snapshot, as lcores share one.
  Forwarding(rte_mempool* pool, Gateway& gateway, const Snapshot& snapshot, std::uint32_t flows)
      : pool_(pool),
        gateway_(gateway),
        snapshot_(snapshot),
        order_(flows),
        floor_pages_(std::size_t{std::bit_ceil(flows)} * sizeof(FloorFlow)),
        floor_(reinterpret_cast<FloorFlow*>(floor_pages_.region().data())),
        floor_mask_(std::bit_ceil(flows) - 1) {
    for (std::uint32_t i = 0; i <= floor_mask_; ++i) {
      floor_[i].source = Ipv4Address{Be32::from_host(0xc000'0264)};
      floor_[i].source_port = Be16::from_host(static_cast<std::uint16_t>(i));
    }
  }

  // Cycles a packet.
  double floor_chunk() {
    const std::uint64_t begin = rte_rdtsc_precise();
    for (std::uint32_t i = 0; i < kBursts; ++i) {
      floor_burst();
    }
    return per_packet(begin);
  }
  double hit_chunk() {
    const std::uint64_t begin = rte_rdtsc_precise();
    for (std::uint32_t i = 0; i < kBursts; ++i) {
      hit_burst();
    }
    return per_packet(begin);
  }
  void hit_burst() {
    pipeline_burst([this] { return order_.next(); });
  }
  double new_chunk(std::uint32_t& next) {
    const std::uint64_t begin = rte_rdtsc_precise();
    for (std::uint32_t i = 0; i < kBursts; ++i) {
      pipeline_burst([&next] { return next++; });
    }
    return per_packet(begin);
  }

 private:
  static double per_packet(std::uint64_t begin) {
    return static_cast<double>(rte_rdtsc_precise() - begin) / kChunk;
  }
  void take_burst() {
    if (rte_pktmbuf_alloc_bulk(pool_, mbufs_, kBurstMax) != 0) {
      std::abort();
    }
    const auto length = static_cast<std::uint16_t>(gateway_.frame_bytes());
    for (rte_mbuf* mbuf : mbufs_) {
      mbuf->data_len = length;
      mbuf->pkt_len = length;
    }
  }
  template <typename Next>
  void pipeline_burst(Next&& next) {
    take_burst();
    burst_.count = 0;
    for (rte_mbuf* mbuf : mbufs_) {
      gateway_.write_packet<F>(rte_pktmbuf_mtod(mbuf, std::uint8_t*), next());
      burst_.add(mbuf, 0, false);
    }
    run_pipeline(burst_, snapshot_, gateway_.state);
    for (std::uint32_t i = 0; i < burst_.count; ++i) {
      if (burst_.packets[i].verdict != Verdict::kTransmit) {
        std::fprintf(stderr, "dropped: %s\n", std::string(name_of(burst_.packets[i].drop)).c_str());
        std::abort();
      }
    }
    rte_pktmbuf_free_bulk(mbufs_, kBurstMax);
  }
  void floor_burst() {
    take_burst();
    for (rte_mbuf* mbuf : mbufs_) {
      gateway_.write_packet<F>(rte_pktmbuf_mtod(mbuf, std::uint8_t*), order_.next());
    }
    FloorFlow* flows[kBurstMax];
    for (std::uint32_t i = 0; i < kBurstMax; ++i) {
      const auto* frame = rte_pktmbuf_mtod(mbufs_[i], const std::uint8_t*);
      std::uint64_t tuple[2];
      std::memcpy(tuple, frame + sizeof(EthernetHeader) + 12, sizeof(tuple));
      const std::uint32_t hash = rte_hash_crc_8byte(tuple[0], rte_hash_crc_8byte(tuple[1], 0));
      flows[i] = &floor_[hash & floor_mask_];
      __builtin_prefetch(flows[i], 1);
    }
    for (std::uint32_t i = 0; i < kBurstMax; ++i) {
      rewrite(rte_pktmbuf_mtod(mbufs_[i], std::uint8_t*), *flows[i]);
    }
    rte_pktmbuf_free_bulk(mbufs_, kBurstMax);
  }
  static void rewrite(std::uint8_t* frame, FloorFlow& flow) {
    auto* ip = reinterpret_cast<Ipv4Header*>(frame + sizeof(EthernetHeader));
    auto* udp = reinterpret_cast<UdpHeader*>(ip + 1);
    ip->source = flow.source;
    ip->destination = flow.destination;
    ip->checksum = checksum_update(ip->checksum, flow.l3);
    udp->source_port = flow.source_port;
    udp->destination_port = flow.destination_port;
    udp->checksum = checksum_update(udp->checksum, flow.l4);
    ++flow.packets;
    flow.bytes += 46;
    flow.seen = 1;
  }

  rte_mempool* pool_;
  Gateway& gateway_;
  const Snapshot& snapshot_;
  Order order_;
  Pages floor_pages_;
  FloorFlow* floor_;
  std::uint32_t floor_mask_;
  rte_mbuf* mbufs_[kBurstMax];
  Burst burst_;
};

}  // namespace sluice::bench
