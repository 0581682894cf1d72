// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/lcore/eal.h"
#include "dataplane/lcore/punt.h"
#include "tests/support/frame.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

struct rte_mbuf;
struct rte_mempool;
struct rte_ring;

// What tests of the machine's room share: a network namespace of the program's own, EAL without
// hugepages, packet pools that are checked for losses, and ports whose wire is a pair of rings.
namespace sluice::testing {

// Leaves the network namespace for a new one without IPv6 on its interfaces, once a program; later
// calls do nothing. Aborts when that is refused: the tests run as root.
void enter_own_network();
// Runs a command of iproute2 and the like; true when it succeeds.
bool run(const std::string& command);
// What it prints.
std::string output_of(const std::string& command);
// One line of a file, e.g. below /proc.
std::string line_of(const std::string& file);

DataplaneSettings small_settings();
// Starts EAL, once a program, for the rest of it.
void start_eal();

// A pool whose buffers must all be back when it goes: a test fails that loses one.
class TestPool {
 public:
  // `room`: octets of a packet in each buffer.
  explicit TestPool(unsigned mbufs = 4095, std::uint16_t room = 2048);
  ~TestPool();
  TestPool(const TestPool&) = delete;
  TestPool& operator=(const TestPool&) = delete;

  [[nodiscard]] rte_mempool* get() const { return pool_; }
  [[nodiscard]] rte_mbuf* make(const Frame& frame) const;
  // In buffers with so many octets each, the last one with what is left.
  [[nodiscard]] rte_mbuf* make_segments(const Frame& frame, std::size_t octets) const;
  [[nodiscard]] unsigned in_use() const;

 private:
  rte_mempool* pool_;
};

// All of it, in however many buffers it is.
Frame frame_of(const rte_mbuf* mbuf);
// The next one of a ring, which it frees; nothing when the ring is empty.
std::optional<Frame> take_frame(rte_ring* ring);

// A started DPDK port that receives what the test puts into rings, one a queue, and sends what any
// queue has into another.
class RingPort {
 public:
  explicit RingPort(rte_mempool* pool, unsigned transmit_room = 1024, std::uint16_t queues = 1);
  ~RingPort();
  RingPort(const RingPort&) = delete;
  RingPort& operator=(const RingPort&) = delete;

  [[nodiscard]] std::uint16_t id() const { return id_; }
  void arrive(rte_mbuf* mbuf, std::uint16_t queue = 0);
  std::optional<Frame> sent();
  std::vector<Frame> all_sent();

 private:
  std::vector<Ring> in_;
  Ring out_;
  std::uint16_t id_ = 0;
};

// A packet socket on an interface: what the kernel's side of it would be.
class RawSocket {
 public:
  explicit RawSocket(const std::string& interface);
  ~RawSocket();
  RawSocket(const RawSocket&) = delete;
  RawSocket& operator=(const RawSocket&) = delete;

  [[nodiscard]] bool send(const Frame& frame) const;
  // The next frame that came in; nothing when none comes in time.
  [[nodiscard]] std::optional<Frame> receive(int timeout_ms = 1000) const;

 private:
  int fd_;
};

}  // namespace sluice::testing
