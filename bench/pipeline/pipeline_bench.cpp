// SPDX-License-Identifier: Apache-2.0
// The real stages on real mbufs beside the plain floor (forwarding.h), interleaved: a round is one
// chunk of packets through the one and one through the other, so that both see the same machine.
// Forwarding work only, no port I/O.
//
//   pipeline_bench [--benchmark_out=FILE] [--max-flows=N]   the table, and JSON
//   pipeline_bench --floor=FLOWS                            cycles of the floor alone, TSC Hz
//   pipeline_bench --instructions=hit|miss|new              for callgrind; see instructions.py
#include "bench/pipeline/forwarding.h"
#include "bench/pipeline/machine.h"
#include "dataplane/state/aging.h"

#include <fstream>

namespace sluice::bench {
namespace {

constexpr std::uint32_t kRounds = 301;
constexpr std::uint32_t kWarmRounds = 20;
constexpr std::uint32_t kMemoryFlows = 10'000'000;

struct Row {
  std::string name;
  std::uint32_t flows;
  double target;  // 0: none
  Summary floor;  // or of the path that this one is compared with
  Summary work;
  Summary ratio;
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
  Forwarding<F> bench(pool, gateway, flows);
  rows.push_back(interleave(
      name, flows, target, [&] { return bench.floor_chunk(); }, [&] { return bench.hit_chunk(); }));
  print(rows.back());
}

// One path beside another instead of the floor.
template <Family F>
void measure_beside_udp4(rte_mempool* pool, const char* name, std::uint8_t protocol,
                         std::uint32_t flows, double target, std::vector<Row>& rows) {
  Gateway plain_gateway(Family::kIpv4, kProtocolUdp, flows);
  plain_gateway.open_flows(0, flows);
  Gateway gateway(F, protocol, flows);
  gateway.open_flows(0, flows);
  Forwarding<Family::kIpv4> plain(pool, plain_gateway, flows);
  Forwarding<F> bench(pool, gateway, flows);
  rows.push_back(interleave(
      name, flows, target, [&] { return plain.hit_chunk(); }, [&] { return bench.hit_chunk(); }));
  print(rows.back());
}

// What aging costs of a core beside so many packets a second, each of another flow than those
// before it. As the worker does it: a turn after each burst.
struct AgingRow {
  std::uint32_t flows;
  std::uint32_t packets_per_second;
  Summary core_share;
};

double aging_share(Gateway& gateway, Forwarding<Family::kIpv4>& bench, Aging<Family::kIpv4>& aging,
                   std::uint32_t packets_per_second) {
  constexpr std::uint32_t kMilliseconds = 1'000;
  constexpr std::uint32_t kTurnsIdle = 100;  // a millisecond, when no packets come
  const std::uint32_t turns =
      packets_per_second == 0 ? kTurnsIdle : packets_per_second / kMilliseconds / kBurstMax;
  std::uint64_t cycles = 0;
  for (std::uint32_t ms = 0; ms < kMilliseconds; ++ms, ++gateway.state.now_ms) {
    for (std::uint32_t turn = 0; turn < turns; ++turn) {
      if (packets_per_second != 0) {
        bench.hit_burst();
      }
      const std::uint64_t begin = rte_rdtsc();
      aging.run(gateway.state.flows4, gateway.state.now_ms, gateway.counters);
      cycles += rte_rdtsc() - begin;
    }
  }
  return static_cast<double>(cycles) / static_cast<double>(rte_get_tsc_hz());
}

std::vector<AgingRow> measure_aging(rte_mempool* pool, std::uint32_t flows) {
  constexpr std::uint32_t kSeconds = 5;
  Gateway gateway(Family::kIpv4, kProtocolUdp, flows);
  gateway.open_flows(0, flows);
  Forwarding<Family::kIpv4> bench(pool, gateway, flows);
  Aging<Family::kIpv4> aging;
  std::vector<AgingRow> rows;
  for (const std::uint32_t rate : {0U, 1'024'000U, 10'240'000U}) {
    std::vector<double> shares;
    for (std::uint32_t second = 0; second <= kSeconds; ++second) {
      const double share = aging_share(gateway, bench, aging, rate);
      if (second != 0) {
        shares.push_back(share);
      }
    }
    rows.push_back({flows, rate, summarise(shares)});
    std::printf("aging of %u flows, %8u packets/s: %.2f %% of the core (%.2f-%.2f)\n", flows, rate,
                rows.back().core_share.median * 100, rows.back().core_share.min * 100,
                rows.back().core_share.max * 100);
  }
  return rows;
}

// New flows into a table that holds `live` already; they are forgotten again between the chunks.
void measure_new(rte_mempool* pool, std::uint32_t live, double target, std::vector<Row>& rows) {
  Gateway gateway(Family::kIpv4, kProtocolUdp, live + 2 * kChunk);
  gateway.open_flows(0, live);
  Forwarding<Family::kIpv4> bench(pool, gateway, live);
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
  // DESIGN.md, section 7.
  constexpr Case kCases[] = {{"hit, IPv4 UDP", Family::kIpv4, kProtocolUdp, 1'000, 1.6},
                             {"hit, IPv4 UDP", Family::kIpv4, kProtocolUdp, 64'000, 2.2},
                             {"hit, IPv4 UDP", Family::kIpv4, kProtocolUdp, 1'000'000, 2.2},
                             {"hit, IPv4 UDP", Family::kIpv4, kProtocolUdp, 10'000'000, 2.5},
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
  for (const std::uint32_t flows : {1'000U, 1'000'000U}) {
    if (flows <= flows_max) {
      measure_beside_udp4<Family::kIpv4>(pool, "TCP beside UDP", kProtocolTcp, flows, 1.2, rows);
      measure_beside_udp4<Family::kIpv6>(pool, "IPv6 beside IPv4", kProtocolUdp, flows, 1.6, rows);
    }
  }
  constexpr std::uint32_t kLive = 1'000'000;
  if (kLive <= flows_max) {
    measure_new(pool, kLive, 9, rows);
  }
  return rows;
}

void write_json(const std::string& file, const std::vector<Row>& rows,
                const std::vector<AgingRow>& aging) {
  std::ofstream out(file);
  out << "{\"unit\": \"TSC cycles per packet\", \"batch\": " << kBurstMax
      << ", \"rounds\": " << kRounds << ", \"packets_per_round\": " << kChunk
      << ", \"tsc_hz\": " << rte_get_tsc_hz() << ",\n \"memory\": {\"flows\": " << kMemoryFlows
      << ", \"bytes\": " << FlowTable<Family::kIpv4>::region_bytes(kMemoryFlows) << "}";
  out << ",\n \"aging\": [";
  for (const AgingRow& row : aging) {
    out << (&row == &aging.front() ? "" : ",") << "\n  {\"flows\": " << row.flows
        << ", \"packets_per_second\": " << row.packets_per_second
        << ", \"core_share\": " << row.core_share.median
        << ", \"core_share_min\": " << row.core_share.min
        << ", \"core_share_max\": " << row.core_share.max << "}";
  }
  out << "\n ]";
  out << ",\n \"rows\": [";
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

int run_table(const std::string& out, std::uint32_t flows_max) {
  rte_mempool* pool = start_eal("pipeline_bench");
  if (pool == nullptr) {
    return 1;
  }
  pin_to(usable_cpus().back());
  std::printf("forwarding work only, %u-packet bursts, TSC cycles per packet at %.0f MHz\n",
              kBurstMax, static_cast<double>(rte_get_tsc_hz()) / 1e6);
  const std::vector<Row> rows = measure(pool, flows_max);
  std::printf("flow table, IPv4: %u flows in %.2f GiB\n", kMemoryFlows,
              static_cast<double>(FlowTable<Family::kIpv4>::region_bytes(kMemoryFlows)) /
                  static_cast<double>(1U << 30U));
  std::vector<AgingRow> aging;
  if (kMemoryFlows <= flows_max) {
    aging = measure_aging(pool, kMemoryFlows);
  }
  if (!out.empty()) {
    write_json(out, rows, aging);
  }
  rte_mempool_free(pool);
  return 0;
}

// For runs that alternate with other programs.
int run_floor(std::uint32_t flows) {
  rte_mempool* pool = start_eal("pipeline_bench");
  if (pool == nullptr || flows == 0) {
    return 1;
  }
  pin_to(usable_cpus().back());
  Gateway gateway(Family::kIpv4, kProtocolUdp, 64);
  Forwarding<Family::kIpv4> bench(pool, gateway, flows);
  std::vector<double> floors;
  for (std::uint32_t round = 0; round < kRounds + kWarmRounds; ++round) {
    const double cycles = bench.floor_chunk();
    if (round >= kWarmRounds) {
      floors.push_back(cycles);
    }
  }
  std::printf("%.2f %lu\n", summarise(floors).median, rte_get_tsc_hz());
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
    if (word.rfind("--floor=", 0) == 0) {
      return sluice::bench::run_floor(static_cast<std::uint32_t>(std::stoul(word.substr(8))));
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
