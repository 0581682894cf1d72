// SPDX-License-Identifier: Apache-2.0
// The real stages on real mbufs beside the plain floor, interleaved: a round is one chunk of
// packets through the floor and one through the pipeline, so that both see the same machine.
// Forwarding work only, no port I/O. The floor: mbuf alloc and free in bursts, header written,
// tuple hashed, one prefetched 64-byte line per flow read and written, addresses, ports and
// checksums rewritten.
//
//   pipeline_bench [--benchmark_out=FILE] [--max-flows=N]   the table, and JSON
//   pipeline_bench --instructions=hit|miss|new              for callgrind; see instructions.py
#include "bench/pipeline/gateway.h"

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_hash_crc.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sched.h>
#include <string>
#include <vector>

namespace sluice::bench {
namespace {

constexpr std::uint32_t kBursts = 32;  // of 64 packets, a chunk
constexpr std::uint32_t kChunk = kBursts * kBurstMax;
constexpr std::uint32_t kRounds = 301;
constexpr std::uint32_t kWarmRounds = 20;

// Flows in an order that no prefetcher knows: a full-period sequence over a power of two, numbers
// past the count skipped.
class Order {
 public:
  explicit Order(std::uint32_t flows) : flows_(flows), mask_(std::bit_ceil(flows) - 1) {}
  std::uint32_t next() {
    do {
      state_ = (state_ * 1'664'525 + 1'013'904'223) & mask_;
    } while (state_ >= flows_);
    return state_;
  }

 private:
  std::uint32_t flows_;
  std::uint32_t mask_;
  std::uint32_t state_ = 1;
};

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

Summary summarise(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values[values.size() / 2], values.front(), values.back()};
}

struct Row {
  std::string name;
  std::uint32_t flows;
  double target;  // 0: none
  Summary floor;
  Summary work;
  Summary ratio;
};

template <Family F>
class Bench {
 public:
  Bench(rte_mempool* pool, Gateway& gateway, std::uint32_t flows)
      : pool_(pool),
        gateway_(gateway),
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
      pipeline_burst([this] { return order_.next(); });
    }
    return per_packet(begin);
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
    run_pipeline(burst_, gateway_.snapshot, gateway_.state);
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
  Order order_;
  Pages floor_pages_;
  FloorFlow* floor_;
  std::uint32_t floor_mask_;
  rte_mbuf* mbufs_[kBurstMax];
  Burst burst_;
};

template <typename Floor, typename Work>
Row interleave(const std::string& name, std::uint32_t flows, double target, Floor&& floor_of,
               Work&& work) {
  std::vector<double> floors;
  std::vector<double> works;
  std::vector<double> ratios;
  for (std::uint32_t round = 0; round < kRounds + kWarmRounds; ++round) {
    const double floor = floor_of();
    const double cycles = work();
    if (round >= kWarmRounds) {
      floors.push_back(floor);
      works.push_back(cycles);
      ratios.push_back(cycles / floor);
    }
  }
  return {name, flows, target, summarise(floors), summarise(works), summarise(ratios)};
}

void print(const Row& row) {
  std::printf("%-22s %9u %7.1f %7.1f %7.1f %8.1f %7.2f %7s\n", row.name.c_str(), row.flows,
              row.work.median, row.work.min, row.work.max, row.floor.median, row.ratio.median,
              row.target == 0 ? "-" : std::to_string(row.target).substr(0, 4).c_str());
  std::fflush(stdout);
}

template <Family F>
void measure_hit(rte_mempool* pool, const char* name, std::uint8_t protocol, std::uint32_t flows,
                 double target, std::vector<Row>& rows) {
  Gateway gateway(F, protocol, flows);
  gateway.open_flows(0, flows);
  Bench<F> bench(pool, gateway, flows);
  rows.push_back(interleave(
      name, flows, target, [&] { return bench.floor_chunk(); }, [&] { return bench.hit_chunk(); }));
  print(rows.back());
}

// New flows into a table that holds `live` already; they are forgotten again between the chunks.
void measure_new(rte_mempool* pool, std::uint32_t live, double target, std::vector<Row>& rows) {
  Gateway gateway(Family::kIpv4, kProtocolUdp, live + 2 * kChunk);
  gateway.open_flows(0, live);
  Bench<Family::kIpv4> bench(pool, gateway, live);
  std::uint32_t next = live;
  rows.push_back(interleave(
      "new flow, IPv4 UDP", live, target, [&] { return bench.floor_chunk(); },
      [&] {
        const double cycles = bench.new_chunk(next);
        gateway.erase_flows_from(live);
        return cycles;
      }));
  print(rows.back());
}

std::vector<Row> measure(rte_mempool* pool, std::uint32_t flows_max) {
  std::printf("%-22s %9s %7s %7s %7s %8s %7s %7s\n", "path", "flows", "median", "min", "max",
              "floor", "ratio", "target");
  struct Case {
    const char* name;
    Family family;
    std::uint8_t protocol;
    std::uint32_t flows;
    double target;
  };
  constexpr Case kCases[] = {{"hit, IPv4 UDP", Family::kIpv4, kProtocolUdp, 1'000, 2.6},
                             {"hit, IPv4 UDP", Family::kIpv4, kProtocolUdp, 64'000, 0},
                             {"hit, IPv4 UDP", Family::kIpv4, kProtocolUdp, 1'000'000, 4},
                             {"hit, IPv4 UDP", Family::kIpv4, kProtocolUdp, 10'000'000, 0},
                             {"hit, IPv4 TCP", Family::kIpv4, kProtocolTcp, 1'000, 0},
                             {"hit, IPv4 TCP", Family::kIpv4, kProtocolTcp, 1'000'000, 0},
                             {"hit, IPv6 UDP", Family::kIpv6, kProtocolUdp, 1'000, 0},
                             {"hit, IPv6 UDP", Family::kIpv6, kProtocolUdp, 1'000'000, 0}};
  std::vector<Row> rows;
  for (const Case& one : kCases) {
    if (one.flows <= flows_max) {
      (one.family == Family::kIpv4
           ? measure_hit<Family::kIpv4>
           : measure_hit<Family::kIpv6>)(pool, one.name, one.protocol, one.flows, one.target, rows);
    }
  }
  constexpr std::uint32_t kLive = 1'000'000;
  if (kLive <= flows_max) {
    measure_new(pool, kLive, 20, rows);
  }
  return rows;
}

void write_json(const std::string& file, const std::vector<Row>& rows) {
  std::ofstream out(file);
  out << "{\"unit\": \"TSC cycles per packet\", \"batch\": " << kBurstMax
      << ", \"rounds\": " << kRounds << ", \"packets_per_round\": " << kChunk
      << ", \"tsc_hz\": " << rte_get_tsc_hz() << ", \"rows\": [";
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Row& row = rows[i];
    out << (i == 0 ? "" : ",") << "\n  {\"name\": \"" << row.name << "\", \"flows\": " << row.flows
        << ", \"target_ratio\": " << row.target << ", \"measured_ratio\": " << row.ratio.median
        << ", \"ratio_min\": " << row.ratio.min << ", \"ratio_max\": " << row.ratio.max
        << ", \"cycles_median\": " << row.work.median << ", \"cycles_min\": " << row.work.min
        << ", \"cycles_max\": " << row.work.max << ", \"floor_median\": " << row.floor.median
        << "}";
  }
  out << "\n]}\n";
}

// One core for the whole run, the last one, where interrupts are fewest.
void pin() {
  cpu_set_t allowed;
  sched_getaffinity(0, sizeof(allowed), &allowed);
  for (int cpu = CPU_SETSIZE - 1; cpu >= 0; --cpu) {
    if (CPU_ISSET(cpu, &allowed)) {
      CPU_ZERO(&allowed);
      CPU_SET(cpu, &allowed);
      break;
    }
  }
  sched_setaffinity(0, sizeof(allowed), &allowed);
}

int run_table(const std::string& out, std::uint32_t flows_max) {
  std::vector<std::string> words{"pipeline_bench",
                                 "--no-huge",
                                 "-m",
                                 "64",
                                 "--no-pci",
                                 "--no-shconf",
                                 "--no-telemetry",
                                 "--log-level=critical",
                                 "--lcores=0@1"};
  std::vector<char*> arguments;
  for (std::string& word : words) {
    arguments.push_back(word.data());
  }
  if (rte_eal_init(static_cast<int>(arguments.size()), arguments.data()) < 0) {
    return 1;
  }
  pin();
  rte_mempool* pool =
      rte_pktmbuf_pool_create("bench", 4095, 256, 0, 2048 + RTE_PKTMBUF_HEADROOM, SOCKET_ID_ANY);
  if (pool == nullptr) {
    return 1;
  }
  std::printf("forwarding work only, %u-packet bursts, TSC cycles per packet at %.0f MHz\n",
              kBurstMax, static_cast<double>(rte_get_tsc_hz()) / 1e6);
  const std::vector<Row> rows = measure(pool, flows_max);
  if (!out.empty()) {
    write_json(out, rows);
  }
  rte_mempool_free(pool);
  return 0;
}

}  // namespace

// What callgrind counts: this function and what it calls, nothing else of the program.
extern "C" __attribute__((noinline)) void counted_section(Burst& burst, const Snapshot& snapshot,
                                                          LcoreState& state) {
  run_pipeline(burst, snapshot, state);
}

namespace {

int run_instructions(const std::string& path) {
  constexpr std::uint32_t kFlows = 4'096;
  constexpr std::uint32_t kCounted = 64;  // bursts
  Gateway gateway(Family::kIpv4, path == "miss" ? kProtocolTcp : kProtocolUdp, 4 * kFlows);
  if (path == "hit") {
    gateway.open_flows(0, kFlows);
  }
  std::vector<std::vector<std::uint8_t>> rooms(kBurstMax, std::vector<std::uint8_t>(256));
  std::vector<std::unique_ptr<rte_mbuf>> mbufs;
  for (auto& room : rooms) {
    mbufs.push_back(std::make_unique<rte_mbuf>());
    std::memset(mbufs.back().get(), 0, sizeof(rte_mbuf));
    mbufs.back()->buf_addr = room.data();
    mbufs.back()->buf_len = static_cast<std::uint16_t>(room.size());
    mbufs.back()->data_len = static_cast<std::uint16_t>(gateway.frame_bytes());
    mbufs.back()->pkt_len = mbufs.back()->data_len;
    mbufs.back()->nb_segs = 1;
  }
  // A flood is what counts: more segments than are answered with a reset.
  while (gateway.state.answers.take(Answer::kReset, gateway.state.now_ms)) {
  }
  const Verdict expected = path == "miss" ? Verdict::kDrop : Verdict::kTransmit;
  Burst burst;
  std::uint32_t next = 0;
  for (std::uint32_t i = 0; i < kCounted; ++i) {
    burst.count = 0;
    for (std::uint32_t p = 0; p < kBurstMax; ++p) {
      gateway.write_packet(rooms[p].data(), next++);
      burst.add(mbufs[p].get(), 0, false);
    }
    counted_section(burst, gateway.snapshot, gateway.state);
    for (std::uint32_t p = 0; p < kBurstMax; ++p) {
      if (burst.packets[p].verdict != expected) {
        std::fprintf(stderr, "packet %u of burst %u has another verdict\n", p, i);
        return 1;
      }
    }
  }
  std::printf("packets: %u\n", kCounted * kBurstMax);
  return 0;
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  std::string out;
  std::uint32_t flows_max = 10'000'000;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.rfind("--instructions=", 0) == 0) {
      return sluice::bench::run_instructions(word.substr(15));
    }
    if (word.rfind("--benchmark_out=", 0) == 0) {
      out = word.substr(16);
    } else if (word.rfind("--max-flows=", 0) == 0) {
      flows_max = static_cast<std::uint32_t>(std::stoul(word.substr(12)));
    } else if (word.rfind("--benchmark_", 0) != 0) {
      std::fprintf(stderr, "unknown option %s\n", word.c_str());
      return 2;
    }
  }
  return sluice::bench::run_table(out, flows_max);
}
