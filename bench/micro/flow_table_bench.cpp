// SPDX-License-Identifier: Apache-2.0
// The flow table by itself, IPv4, bursts of 64, flows visited in random order: the batch lookup
// (bucket prefetch, tags, entry prefetch, key compare) for keys that are there and keys that are
// not, and insertion with erasure. Tables live on huge pages where the kernel gives them.
#include "dataplane/net/headers.h"
#include "dataplane/state/flow_table.h"

#include <benchmark/benchmark.h>

#include <array>
#include <bit>
#include <map>
#include <memory>
#include <sys/mman.h>

namespace sluice {
namespace {

constexpr std::uint32_t kBurst = 64;
constexpr HashSecret kSecret{{0x9ae16a3b2f90404fULL, 0xc949d7c7509e6557ULL, 0xff51afd7ed558ccdULL,
                              0xc4ceb9fe1a85ec53ULL, 0x8ebc6af09c88c6e3ULL, 0x589965cc75374cc3ULL}};

FlowHot<Family::kIpv4> flow(std::uint32_t i) {
  FlowHot<Family::kIpv4> made{};
  made.client = Ipv4Address{Be32::from_host(0x0a00'0000 + i)};
  made.frontend = Ipv4Address{Be32::from_host(0xcb00'710a)};
  made.client_port = Be16::from_host(40'000);
  made.frontend_port = Be16::from_host(80);
  made.protocol = kProtocolUdp;
  made.state = FlowState::kUdp;
  made.backend = Ipv4Address{Be32::from_host(0xc000'0201 + (i >> 16U))};
  made.snat = Ipv4Address{Be32::from_host(0xc000'0264)};
  made.backend_port = Be16::from_host(8080);
  made.snat_port = Be16::from_host(static_cast<std::uint16_t>(i));
  return made;
}

class Filled {
 public:
  explicit Filled(std::uint32_t flows)
      : bytes_(FlowTable<Family::kIpv4>::region_bytes(flows + kBurst)),
        pages_(mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {
    madvise(pages_, bytes_, MADV_HUGEPAGE);
    table = std::make_unique<FlowTable<Family::kIpv4>>(
        std::span(static_cast<std::byte*>(pages_), bytes_), flows + kBurst, kSecret);
    for (std::uint32_t i = 0; i < flows; ++i) {
      if (!table->insert(flow(i), {}).valid()) {
        std::abort();
      }
    }
  }
  ~Filled() { munmap(pages_, bytes_); }
  Filled(const Filled&) = delete;
  Filled& operator=(const Filled&) = delete;

  // One table at a time: the largest takes a gigabyte and a half.
  static Filled& of(std::uint32_t flows) {
    static std::unique_ptr<Filled> kept;
    static std::uint32_t size = 0;
    if (size != flows) {
      kept.reset();
      kept = std::make_unique<Filled>(flows);
      size = flows;
    }
    return *kept;
  }
  std::unique_ptr<FlowTable<Family::kIpv4>> table;

 private:
  std::size_t bytes_;
  void* pages_;
};

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

void look_up(benchmark::State& state, std::uint32_t first) {
  const auto flows = static_cast<std::uint32_t>(state.range(0));
  const FlowTable<Family::kIpv4>& table = *Filled::of(flows).table;
  Order order(flows);
  std::array<FlowKey4, kBurst> keys;
  std::array<std::uint64_t, kBurst> hashes;
  std::array<FlowRef, kBurst> refs;
  for (auto _ : state) {
    for (std::uint32_t i = 0; i < kBurst; ++i) {
      keys[i] = flow(first + order.next()).client_key();
      hashes[i] = table.hash_of(keys[i]);
      table.prefetch_bucket(hashes[i]);
    }
    for (std::uint32_t i = 0; i < kBurst; ++i) {
      refs[i] = table.candidate(hashes[i]);
    }
    for (std::uint32_t i = 0; i < kBurst; ++i) {
      refs[i] = table.confirm(keys[i], hashes[i], refs[i]);
      benchmark::DoNotOptimize(refs[i]);
    }
  }
  state.SetItemsProcessed(state.iterations() * kBurst);
}

void BM_Hit(benchmark::State& state) {
  look_up(state, 0);
}
void BM_Miss(benchmark::State& state) {
  look_up(state, 100'000'000);
}

void BM_InsertAndErase(benchmark::State& state) {
  const auto flows = static_cast<std::uint32_t>(state.range(0));
  FlowTable<Family::kIpv4>& table = *Filled::of(flows).table;
  std::uint32_t next = flows;
  std::array<FlowRef, kBurst> refs;
  for (auto _ : state) {
    for (FlowRef& ref : refs) {
      ref = table.insert(flow(next++), {});
    }
    for (const FlowRef ref : refs) {
      table.erase(ref.index());
    }
  }
  state.SetItemsProcessed(state.iterations() * kBurst);
}

// By table size, so that each is filled once.
int register_all() {
  for (const std::int64_t flows : {1'000, 64'000, 1'000'000, 10'000'000}) {
    benchmark::RegisterBenchmark("hit", BM_Hit)->Arg(flows);
    benchmark::RegisterBenchmark("miss", BM_Miss)->Arg(flows);
    benchmark::RegisterBenchmark("insert_and_erase", BM_InsertAndErase)->Arg(flows);
  }
  return 0;
}
const int kRegistered = register_all();

}  // namespace
}  // namespace sluice
