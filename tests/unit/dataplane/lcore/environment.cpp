// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/dataplane/lcore/environment.h"

#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

// libxdp keeps 80 bytes of every AF_XDP port, also after it was closed.
extern "C" const char* __lsan_default_suppressions();   // NOLINT: the sanitizer's name for it
extern "C" const char* __lsan_default_suppressions() {  // NOLINT
  return "leak:xsk_umem__create";
}

namespace sluice::testing {
namespace {

std::string next_name(const std::string& what) {
  static int number = 0;
  return what + std::to_string(number++);
}

[[noreturn]] void give_up(const char* why) {
  std::perror(why);
  std::abort();
}

Ring make_ring(unsigned size, unsigned flags) {
  return Ring(rte_ring_create(next_name("wire").c_str(), size, SOCKET_ID_ANY, flags));
}

}  // namespace

void enter_own_network() {
  static bool entered = false;
  if (entered) {
    return;
  }
  if (unshare(CLONE_NEWNET) != 0) {
    give_up("a network namespace cannot be made; run as root");
  }
  std::ofstream("/proc/sys/net/ipv6/conf/default/disable_ipv6") << "1";
  entered = true;
}

bool run(const std::string& command) {
  return std::system(("{ " + command + "; } >/dev/null 2>&1").c_str()) ==
         0;  // NOLINT: fixed commands
}

std::string output_of(const std::string& command) {
  std::FILE* pipe = popen(command.c_str(), "r");  // NOLINT: fixed commands
  std::string text;
  std::array<char, 512> part{};
  while (pipe != nullptr && std::fgets(part.data(), part.size(), pipe) != nullptr) {
    text += part.data();
  }
  pclose(pipe);
  return text;
}

std::string line_of(const std::string& file) {
  std::string line;
  std::ifstream stream(file);
  std::getline(stream, line);
  return line;
}

DataplaneSettings small_settings() {
  DataplaneSettings settings;
  settings.memory_bytes = 128ULL << 20U;
  settings.hugepages = false;
  settings.flows_ipv4 = 64;
  settings.flows_ipv6 = 64;
  settings.bindings = 64;
  settings.service_ports = 16;
  return settings;
}

void start_eal() {
  static const Eal eal(small_settings());
}

TestPool::TestPool(unsigned mbufs, std::uint16_t room)
    : pool_(rte_pktmbuf_pool_create(next_name("pool").c_str(), mbufs, 0, 0,
                                    static_cast<std::uint16_t>(RTE_PKTMBUF_HEADROOM + room),
                                    SOCKET_ID_ANY)) {
  if (pool_ == nullptr) {
    give_up("no room for a packet pool");
  }
}

TestPool::~TestPool() {
  EXPECT_EQ(in_use(), 0U) << "buffers lost";
  rte_mempool_free(pool_);
}

rte_mbuf* TestPool::make(const Frame& frame) const {
  rte_mbuf* mbuf = rte_pktmbuf_alloc(pool_);
  if (mbuf == nullptr) {
    give_up("the packet pool is empty");
  }
  std::memcpy(rte_pktmbuf_append(mbuf, static_cast<std::uint16_t>(frame.size())), frame.data(),
              frame.size());
  return mbuf;
}

rte_mbuf* TestPool::make_segments(const Frame& frame, std::size_t octets) const {
  rte_mbuf* first = nullptr;
  for (std::size_t begin = 0; begin < frame.size(); begin += octets) {
    const std::size_t end = std::min(begin + octets, frame.size());
    rte_mbuf* segment = make({frame.begin() + static_cast<std::ptrdiff_t>(begin),
                              frame.begin() + static_cast<std::ptrdiff_t>(end)});
    if (first == nullptr) {
      first = segment;
    } else if (rte_pktmbuf_chain(first, segment) != 0) {
      give_up("too many segments");
    }
  }
  return first;
}

unsigned TestPool::in_use() const {
  return rte_mempool_in_use_count(pool_);
}

Frame frame_of(const rte_mbuf* mbuf) {
  Frame frame;
  for (; mbuf != nullptr; mbuf = mbuf->next) {
    const auto* begin = rte_pktmbuf_mtod(mbuf, const std::uint8_t*);
    frame.insert(frame.end(), begin, begin + mbuf->data_len);
  }
  return frame;
}

std::optional<Frame> take_frame(rte_ring* ring) {
  void* taken = nullptr;
  if (rte_ring_dequeue(ring, &taken) != 0) {
    return std::nullopt;
  }
  auto* mbuf = static_cast<rte_mbuf*>(taken);
  Frame frame = frame_of(mbuf);
  rte_pktmbuf_free(mbuf);
  return frame;
}

RingPort::RingPort(rte_mempool* pool, unsigned transmit_room, std::uint16_t queues)
    : out_(make_ring(transmit_room, RING_F_EXACT_SZ)) {
  std::vector<rte_ring*> receives;
  for (std::uint16_t queue = 0; queue < queues; ++queue) {
    in_.push_back(make_ring(1024, 0));
    receives.push_back(in_.back().get());
  }
  std::vector<rte_ring*> sends(queues, out_.get());
  const std::string name = next_name("test_port");
  const int id = rte_eth_from_rings(name.c_str(), receives.data(), queues, sends.data(), queues, 0);
  rte_eth_conf conf{};
  id_ = static_cast<std::uint16_t>(id);
  bool ready = id >= 0 && rte_eth_dev_configure(id_, queues, queues, &conf) == 0;
  for (std::uint16_t queue = 0; queue < queues; ++queue) {
    ready = ready && rte_eth_rx_queue_setup(id_, queue, 64, SOCKET_ID_ANY, nullptr, pool) == 0 &&
            rte_eth_tx_queue_setup(id_, queue, 64, SOCKET_ID_ANY, nullptr) == 0;
  }
  if (!ready || rte_eth_dev_start(id_) != 0) {
    give_up("no port on rings");
  }
}

RingPort::~RingPort() {
  rte_eth_dev_stop(id_);
  rte_eth_dev_close(id_);
  for (const Ring& ring : in_) {
    while (take_frame(ring.get())) {
    }
  }
  while (take_frame(out_.get())) {
  }
}

void RingPort::arrive(rte_mbuf* mbuf, std::uint16_t queue) {
  if (rte_ring_enqueue(in_[queue].get(), mbuf) != 0) {
    give_up("the wire is full");
  }
}

std::optional<Frame> RingPort::sent() {
  return take_frame(out_.get());
}

std::vector<Frame> RingPort::all_sent() {
  std::vector<Frame> frames;
  while (auto frame = sent()) {
    frames.push_back(std::move(*frame));
  }
  return frames;
}

RawSocket::RawSocket(const std::string& interface)
    : fd_(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL))) {
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
  if (fd_ < 0 || bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    give_up("no packet socket");
  }
}

RawSocket::~RawSocket() {
  close(fd_);
}

bool RawSocket::send(const Frame& frame) const {
  return ::send(fd_, frame.data(), frame.size(), 0) == static_cast<ssize_t>(frame.size());
}

std::optional<Frame> RawSocket::receive(int timeout_ms) const {
  pollfd polled{fd_, POLLIN, 0};
  while (poll(&polled, 1, timeout_ms) == 1) {
    Frame frame(9216);
    sockaddr_ll from{};
    socklen_t length = sizeof(from);
    const ssize_t got =
        recvfrom(fd_, frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
    if (got > 0 && from.sll_pkttype != PACKET_OUTGOING) {
      frame.resize(static_cast<std::size_t>(got));
      return frame;
    }
  }
  return std::nullopt;
}

}  // namespace sluice::testing
