// SPDX-License-Identifier: Apache-2.0
// Sends UDP frames of many flows out of an interface, by a packet socket that passes the queueing
// discipline by, and tells what that cost the CPU it is pinned to. On a veth the kernel carries a
// packet through all namespaces in the softirq of its sender, so the sender's CPU time and that of
// the CPU's ksoftirqd are all there is:
//
//   send_frames INTERFACE CPU FROM_MAC TO_MAC SERVICE_ADDRESS PORT
//
// Commands on standard input, one a line: "FIRST COUNT PACKETS" sends PACKETS frames of the flows
// FIRST .. FIRST + COUNT - 1 in turn and answers "SENT CPU_NS".
#include "bench/traffic/frames.h"

#include <arpa/inet.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iostream>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <string>
#include <sys/socket.h>
#include <vector>

namespace sluice::bench {
namespace {

constexpr std::size_t kBatch = 64;

// The thread that the CPU's softirqs overflow to; 0 where there is none to be seen.
int find_ksoftirqd(int cpu) {
  const std::string wanted = "ksoftirqd/" + std::to_string(cpu);
  for (int pid = 2; pid < 1'000; ++pid) {
    std::string name;
    std::ifstream("/proc/" + std::to_string(pid) + "/comm") >> name;
    if (name == wanted) {
      return pid;
    }
  }
  return 0;
}

std::uint64_t cpu_ns(int ksoftirqd) {
  timespec own{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &own);
  std::uint64_t other = 0;
  if (ksoftirqd != 0) {
    std::ifstream("/proc/" + std::to_string(ksoftirqd) + "/schedstat") >> other;
  }
  return static_cast<std::uint64_t>(own.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(own.tv_nsec) + other;
}

int open_socket(const char* interface) {
  const int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_ifindex = static_cast<int>(if_nametoindex(interface));
  const int on = 1;
  if (fd < 0 || address.sll_ifindex == 0 ||
      setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)) != 0 ||
      bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    std::perror("send_frames: packet socket");
    return -1;
  }
  return fd;
}

class Sender {
 public:
  Sender(int fd, const ClientFrames& frames) : fd_(fd), frames_(frames) {
    for (std::size_t i = 0; i < kBatch; ++i) {
      pieces_[i] = {rooms_[i], ClientFrames::kBytes};
      messages_[i].msg_hdr.msg_iov = &pieces_[i];
      messages_[i].msg_hdr.msg_iovlen = 1;
    }
  }
  std::uint64_t send(std::uint32_t first, std::uint32_t count, std::uint64_t packets) {
    std::uint64_t sent = 0;
    while (sent < packets) {
      const auto batch = static_cast<unsigned>(std::min<std::uint64_t>(kBatch, packets - sent));
      for (unsigned i = 0; i < batch; ++i) {
        frames_.write(rooms_[i], first + static_cast<std::uint32_t>((sent + i) % count));
      }
      const int done = sendmmsg(fd_, messages_, batch, 0);
      if (done <= 0) {
        std::perror("send_frames: sendmmsg");
        return sent;
      }
      sent += static_cast<unsigned>(done);
    }
    return sent;
  }

 private:
  int fd_;
  const ClientFrames& frames_;
  std::uint8_t rooms_[kBatch][64] = {};
  iovec pieces_[kBatch] = {};
  mmsghdr messages_[kBatch] = {};
};

int run(char** argv) {
  const int cpu = std::atoi(argv[2]);
  const auto from = parse_mac(argv[3]);
  const auto to = parse_mac(argv[4]);
  const auto service = parse_ip(argv[5]);
  const auto port = static_cast<std::uint16_t>(std::strtoul(argv[6], nullptr, 10));
  if (!from || !to || !service || !service->is_ipv4() || port == 0) {
    std::fprintf(stderr, "send_frames: two MACs, an IPv4 address and a port are needed\n");
    return 2;
  }
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  const int fd = open_socket(argv[1]);
  if (fd < 0 || sched_setaffinity(0, sizeof(one), &one) != 0) {
    return 1;
  }
  const ClientFrames frames({*from, *to, service->v4(), port});
  Sender sender(fd, frames);
  const int ksoftirqd = find_ksoftirqd(cpu);
  std::uint32_t first = 0;
  std::uint32_t count = 0;
  std::uint64_t packets = 0;
  while (std::cin >> first >> count >> packets && count != 0) {
    const std::uint64_t begun = cpu_ns(ksoftirqd);
    const std::uint64_t sent = sender.send(first, count, packets);
    std::cout << sent << ' ' << cpu_ns(ksoftirqd) - begun << std::endl;
  }
  return 0;
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  if (argc != 7) {
    std::fprintf(stderr, "usage: send_frames INTERFACE CPU FROM_MAC TO_MAC SERVICE_ADDRESS PORT\n");
    return 2;
  }
  return sluice::bench::run(argv);
}
