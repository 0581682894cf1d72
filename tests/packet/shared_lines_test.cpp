// SPDX-License-Identifier: Apache-2.0
// What lcores share they only read: the snapshot with all it points to lies on pages that are made
// read-only while packets go through the pipeline. A write, be it a reference count, ends the
// program. And what each lcore writes for every packet lies on cache lines of its own.
#include "dataplane/net/headers.h"
#include "dataplane/state/aging.h"
#include "tests/support/world.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <new>
#include <sys/mman.h>

namespace {

constexpr std::size_t kArenaBytes = 256U << 20U;
std::byte* arena = nullptr;
std::size_t arena_used = 0;
bool arena_open = false;  // whatever is allocated lies in it

bool in_arena(const void* pointer) {
  return arena != nullptr && pointer >= arena && pointer < arena + kArenaBytes;
}

void* allocate(std::size_t bytes, std::size_t alignment) {
  if (!arena_open) {
    void* memory = std::aligned_alloc(alignment, (bytes + alignment) / alignment * alignment);
    return memory == nullptr ? throw std::bad_alloc() : memory;
  }
  arena_used = (arena_used + alignment - 1) / alignment * alignment;
  void* memory = arena + arena_used;
  arena_used += bytes;
  return arena_used > kArenaBytes ? throw std::bad_alloc() : memory;
}

void release(void* memory) {
  if (!in_arena(memory)) {
    std::free(memory);
  }
}

}  // namespace

void* operator new(std::size_t bytes) {
  return allocate(bytes, alignof(std::max_align_t));
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return allocate(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept {
  release(memory);
}
void operator delete(void* memory, std::size_t /*bytes*/) noexcept {
  release(memory);
}
void operator delete(void* memory, std::align_val_t /*alignment*/) noexcept {
  release(memory);
}
void operator delete(void* memory, std::size_t /*bytes*/, std::align_val_t /*alignment*/) noexcept {
  release(memory);
}

namespace sluice::testing {
namespace {

constexpr std::uint32_t kFlows = 64;
constexpr HashSecret kSecret{{1, 2, 3, 4, 5, 6}};

// A world that lies in the arena as a whole; only its snapshot is used.
class SharedWorld {
 public:
  explicit SharedWorld(Family family) {
    // One for the whole program: what is made once, when it is first asked for, stays in it.
    if (arena == nullptr) {
      arena = static_cast<std::byte*>(mmap(nullptr, kArenaBytes, PROT_READ | PROT_WRITE,
                                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    }
    arena_open = true;
    world = new World(family);
    arena_open = false;
  }
  ~SharedWorld() {
    protect(PROT_READ | PROT_WRITE);
    delete world;
  }
  SharedWorld(const SharedWorld&) = delete;
  SharedWorld& operator=(const SharedWorld&) = delete;
  static void protect(int how) { ASSERT_EQ(mprotect(arena, kArenaBytes, how), 0); }

  World* world;
};

// What one lcore writes.
struct OwnState {
  LcoreCounters counters{16, 64};
  std::vector<std::byte> memory4 =
      std::vector<std::byte>(FlowTable<Family::kIpv4>::region_bytes(kFlows) + 64);
  std::vector<std::byte> memory6 =
      std::vector<std::byte>(FlowTable<Family::kIpv6>::region_bytes(kFlows) + 64);
  LcoreState state{FlowTable<Family::kIpv4>(memory4, kFlows, kSecret),
                   FlowTable<Family::kIpv6>(memory6, kFlows, kSecret),
                   SnatPorts(7, 0),
                   counters,
                   0,
                   1000};
};

Verdict run(const Snapshot& snapshot, LcoreState& state, const Frame& frame) {
  std::vector<std::uint8_t> room(RTE_PKTMBUF_HEADROOM + frame.size() + 256);
  std::copy(frame.begin(), frame.end(), room.begin() + RTE_PKTMBUF_HEADROOM);
  const auto mbuf = std::make_unique<rte_mbuf>();
  std::memset(mbuf.get(), 0, sizeof(rte_mbuf));
  mbuf->buf_addr = room.data();
  mbuf->buf_len = static_cast<std::uint16_t>(room.size());
  mbuf->data_off = RTE_PKTMBUF_HEADROOM;
  mbuf->nb_segs = 1;
  mbuf->data_len = static_cast<std::uint16_t>(frame.size());
  mbuf->pkt_len = mbuf->data_len;
  const auto burst = std::make_unique<Burst>();
  burst->count = 0;
  burst->add(mbuf.get(), World::kWan, false);
  run_pipeline(*burst, snapshot, state);
  return burst->packets[0].verdict;
}

class SharedSnapshot : public ::testing::TestWithParam<Family> {};

TEST_P(SharedSnapshot, IsWrittenByNoPacketWhateverItsWay) {
  const SharedWorld shared(GetParam());
  World& world = *shared.world;
  const Frame udp = make_frame(world.from_client(kProtocolUdp, 1000));
  const Frame syn = make_frame(world.from_client(kProtocolTcp, 1001, kTcpSyn));
  const Frame stray = make_frame(world.from_client(kProtocolTcp, 1002, kTcpAck));
  OwnState own;
  SharedWorld::protect(PROT_READ);
  EXPECT_EQ(run(world.snapshot, own.state, udp), Verdict::kTransmit) << "opens a flow";
  EXPECT_EQ(run(world.snapshot, own.state, syn), Verdict::kTransmit) << "opens a flow";
  const auto begun = own.state.flows<Family::kIpv4>().size() + own.state.flows6.size();
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(run(world.snapshot, own.state, udp), Verdict::kTransmit) << "a hit";
    EXPECT_EQ(run(world.snapshot, own.state, syn), Verdict::kTransmit) << "a hit";
  }
  EXPECT_EQ(own.state.flows4.size() + own.state.flows6.size(), begun);
  EXPECT_NE(run(world.snapshot, own.state, stray), Verdict::kPending) << "a miss";
  SharedWorld::protect(PROT_READ | PROT_WRITE);
}

// The check itself: a reference that is counted is a write.
TEST_P(SharedSnapshot, WouldBeCaughtWhenAReferenceToItWereCounted) {
  EXPECT_DEATH(
      {
        const SharedWorld shared(GetParam());
        SharedWorld::protect(PROT_READ);
        const auto counted = shared.world->snapshot.bindings;
      },
      "");
}

INSTANTIATE_TEST_SUITE_P(Families, SharedSnapshot, ::testing::Values(Family::kIpv4, Family::kIpv6),
                         [](const auto& made) {
                           return made.param == Family::kIpv4 ? "Ipv4" : "Ipv6";
                         });

// Each counter block, table entry and packet begins on a line and fills whole ones, so two of them,
// of whichever lcores, never meet on one.
template <typename T>
constexpr bool kFillsLines = alignof(T) % 64 == 0 && sizeof(T) % 64 == 0;

TEST(OwnLines, WhatIsWrittenForEveryPacketSharesNoLine) {
  EXPECT_TRUE(kFillsLines<LcoreCounters>);
  EXPECT_TRUE(kFillsLines<FlowCounters>);
  EXPECT_TRUE(kFillsLines<FlowHot<Family::kIpv4>>);
  EXPECT_TRUE(kFillsLines<FlowHot<Family::kIpv6>>);
  EXPECT_TRUE(kFillsLines<FlowCold>);
  EXPECT_TRUE(kFillsLines<Packet>);
  EXPECT_TRUE(kFillsLines<Burst>);
}

TEST(OwnLines, CountersOfTwoLcoresMadeOneAfterTheOtherShareNoLine) {
  const auto line = [](const void* at) { return reinterpret_cast<std::uintptr_t>(at) / 64; };
  const LcoreCounters one(3, 3);
  const LcoreCounters two(3, 3);
  for (std::uint32_t i = 0; i < 3; ++i) {
    for (const FlowCounters* mine : {&one.services[i], &one.bindings[i]}) {
      for (const FlowCounters* other : {&two.services[i], &two.bindings[i]}) {
        EXPECT_NE(line(&mine->packets_in), line(&other->packets_in));
        EXPECT_EQ(line(mine), line(&mine->drops)) << "on one line as a whole";
      }
    }
  }
}

}  // namespace
}  // namespace sluice::testing
