// SPDX-License-Identifier: Apache-2.0
#include "bench/publish/traffic.h"

#include "bench/publish/fleet.h"
#include "dataplane/net/checksum.h"
#include "dataplane/net/headers.h"

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

#include <chrono>
#include <cstring>
#include <ctime>
#include <fstream>
#include <pthread.h>
#include <random>
#include <sched.h>
#include <stdexcept>
#include <unistd.h>

namespace sluice::bench {
namespace {

constexpr std::uint16_t kClients = 0;  // DPDK port ids, in the order of the devices
constexpr std::uint16_t kBackends = 1;
constexpr std::size_t kHeader = sizeof(EthernetHeader) + sizeof(Ipv4Header) + sizeof(UdpHeader);
constexpr std::size_t kFrame = 60;
constexpr std::uint16_t kDescriptors = 4'096;
constexpr unsigned kMbufs = 32'767;
constexpr unsigned kBurst = 64;
constexpr auto kLinkPatience = std::chrono::seconds(10);
constexpr auto kLastPackets = std::chrono::milliseconds(200);

// Behind the headers, in host order: they come back to whoever wrote them.
struct Payload {
  std::uint64_t tsc;
  std::uint32_t probe : 24;  // 0: none
  std::uint32_t round : 8;   // which begin() it was sent after
};
static_assert(kHeader + sizeof(Payload) <= kFrame + 2);
constexpr std::size_t kPayload = 12;

void start_eal(const Traffic::Plan& plan) {
  const auto device = [&](unsigned id) {
    return "--vdev=net_memif" + std::to_string(id) + ",role=client,id=" + std::to_string(id) +
           ",socket=" + plan.socket + ",socket-abstract=no,rsize=13";
  };
  std::vector<std::string> arguments{"publish_bench",
                                     "--lcores=0@" + std::to_string(plan.cpu),
                                     "--no-huge",
                                     "--no-shconf",
                                     "--no-pci",
                                     "--no-telemetry",
                                     "-m",
                                     "256",
                                     "--log-level=error",
                                     "--file-prefix=publish-" + std::to_string(getpid()),
                                     device(0),
                                     device(1)};
  std::vector<char*> argv;
  for (std::string& argument : arguments) {
    argv.push_back(argument.data());
  }
  cpu_set_t before;
  sched_getaffinity(0, sizeof(before), &before);
  if (rte_eal_init(static_cast<int>(argv.size()), argv.data()) < 0) {
    throw std::runtime_error("DPDK does not start in the generator");
  }
  sched_setaffinity(0, sizeof(before), &before);
}

void start_port(std::uint16_t port, rte_mempool* pool) {
  const rte_eth_conf conf{};
  if (rte_eth_dev_configure(port, 1, 1, &conf) != 0 ||
      rte_eth_rx_queue_setup(port, 0, kDescriptors, 0, nullptr, pool) != 0 ||
      rte_eth_tx_queue_setup(port, 0, kDescriptors, 0, nullptr) != 0 ||
      rte_eth_dev_start(port) != 0) {
    throw std::runtime_error("a memif port of the generator does not start");
  }
}

bool is_up(std::uint16_t port) {
  rte_eth_link link{};
  return rte_eth_link_get_nowait(port, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

// Each flow is a client with an address of its own, 198.18.0.0/15 (RFC 2544). `at`: zeroed.
void write_headers(std::uint8_t* at, std::uint32_t flow, std::uint32_t vip) {
  auto& ethernet = *reinterpret_cast<EthernetHeader*>(at);
  ethernet.destination = MacAddress{{0x02, 0, 0, 0, 0, 0x10}};
  ethernet.source = MacAddress{{0x02, 0, 0, 0, 0, 0x01}};
  ethernet.ether_type = kEtherTypeIpv4;
  auto& ip = *reinterpret_cast<Ipv4Header*>(at + sizeof(EthernetHeader));
  ip.version_ihl = 0x45;
  ip.total_length = Be16::from_host(kFrame - sizeof(EthernetHeader));
  ip.time_to_live = 64;
  ip.protocol = kProtocolUdp;
  ip.source = Ipv4Address{Be32::from_host(0xc612'0000U + flow)};
  ip.destination = Ipv4Address{Be32::from_host(vip)};
  const std::span<const std::uint8_t> bytes(at + sizeof(EthernetHeader), sizeof(Ipv4Header));
  ip.checksum.raw = checksum_finish(checksum_sum(bytes));
  auto& udp = *reinterpret_cast<UdpHeader*>(at + sizeof(EthernetHeader) + sizeof(Ipv4Header));
  udp.source_port = Be16::from_host(static_cast<std::uint16_t>(1'024 + flow % 60'000));
  udp.destination_port = Be16::from_host(Fleet::kPort);
  // Without a checksum (RFC 768).
  udp.length = Be16::from_host(kFrame - sizeof(EthernetHeader) - sizeof(Ipv4Header));
}

// The second number: nanoseconds in which it could have run and did not.
std::uint64_t delay_of(const std::string& schedstat) {
  std::uint64_t ran = 0;
  std::uint64_t delayed = 0;
  std::ifstream(schedstat) >> ran >> delayed;
  return delayed;
}

void stay_on(unsigned cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
  // Without the right to it latencies are only less steady.
  const sched_param priority{1};
  pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority);
}

}  // namespace

Traffic::Traffic(const Plan& plan) : plan_(plan) {
  start_eal(plan);
  tsc_hz_ = rte_get_tsc_hz();
  pool_ =
      rte_pktmbuf_pool_create("traffic", kMbufs, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
  if (pool_ == nullptr) {
    throw std::runtime_error("no room for the generator's packet buffers");
  }
  for (const std::uint16_t port : {kClients, kBackends}) {
    start_port(port, pool_);
  }
  const auto deadline = std::chrono::steady_clock::now() + kLinkPatience;
  while (!is_up(kClients) || !is_up(kBackends)) {
    if (std::chrono::steady_clock::now() > deadline) {
      throw std::runtime_error("the gateway's memif ports do not come up");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  headers_.resize(std::size_t{plan.flows} * kHeader);
  for (std::uint32_t flow = 0; flow < plan.flows; ++flow) {
    write_headers(&headers_[flow * kHeader], flow, Fleet::vip(flow % plan.services));
  }
}

Traffic::~Traffic() {
  if (thread_.joinable()) {
    stop();
  }
  for (const std::uint16_t port : {kClients, kBackends}) {
    rte_eth_dev_stop(port);
    rte_eth_dev_close(port);
  }
  rte_eal_cleanup();
}

void Traffic::start() {
  thread_ = std::thread([this] { run(); });
}

void Traffic::begin() {
  forget_ = true;
  while (forget_) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

Seen Traffic::stop() {
  stop_ = true;
  thread_.join();
  stop_ = false;
  return std::move(seen_);
}

void Traffic::run() {
  stay_on(plan_.cpu);
  rte_thread_register();  // an lcore's number, and with it a cache of its own in the mempool
  seen_ = {};
  window_ = {};
  delay_before_ = delay_of(plan_.lcore_schedstat);
  timespec next{};
  clock_gettime(CLOCK_MONOTONIC, &next);
  for (std::uint32_t number = 1; !stop_; ++number) {
    next.tv_nsec += kTickUs * 1'000;
    if (next.tv_nsec >= 1'000'000'000) {
      next.tv_nsec -= 1'000'000'000;
      ++next.tv_sec;
    }
    if (forget_) {
      ++round_;  // what is under way still belongs to what came before
      seen_ = {};
      window_ = {};
      delay_before_ = delay_of(plan_.lcore_schedstat);
      clock_gettime(CLOCK_MONOTONIC, &next);
      number = 1;
      forget_ = false;
    }
    tick(number % kProbeEvery == 0);
    if (number % kWindowTicks == 0) {
      close_window();
    }
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, nullptr);
  }
  const auto last = std::chrono::steady_clock::now() + kLastPackets;
  while (std::chrono::steady_clock::now() < last) {
    receive(0, false);
  }
  rte_thread_unregister();
}

void Traffic::tick(bool probe) {
  receive(0, false);
  send(probe);
  if (probe) {
    receive(rte_rdtsc() + tsc_hz_ / 1'000'000 * kTickUs, true);
  }
}

void Traffic::send(bool probe) {
  rte_mbuf* mbufs[kPerTick];
  if (rte_pktmbuf_alloc_bulk(pool_, mbufs, kPerTick) != 0) {
    seen_.refused += kPerTick;
    return;
  }
  Payload payload{0, (probe ? ++probe_ : 0) & 0xff'ffffU, round_};
  for (rte_mbuf* mbuf : mbufs) {
    auto* frame = reinterpret_cast<std::uint8_t*>(rte_pktmbuf_append(mbuf, kFrame));
    std::memcpy(frame, &headers_[next_flow_ * kHeader], kHeader);
    next_flow_ = next_flow_ + 1 == plan_.flows ? 0 : next_flow_ + 1;
    payload.tsc = rte_rdtsc();
    std::memcpy(frame + kHeader, &payload, kPayload);
  }
  const std::uint16_t sent = rte_eth_tx_burst(kClients, 0, mbufs, kPerTick);
  seen_.sent += sent;
  seen_.refused += kPerTick - sent;
  rte_pktmbuf_free_bulk(mbufs + sent, kPerTick - sent);
  awaited_ = probe ? sent : 0;
}

void Traffic::receive(std::uint64_t deadline, bool wait) {
  rte_mbuf* mbufs[kBurst];
  while (true) {
    const std::uint16_t count = rte_eth_rx_burst(kBackends, 0, mbufs, kBurst);
    const std::uint64_t now = rte_rdtsc();
    for (std::uint16_t i = 0; i < count; ++i) {
      if (rte_pktmbuf_data_len(mbufs[i]) != kFrame) {
        continue;  // the gateway's own: ARP, ND
      }
      Payload payload{};
      std::memcpy(&payload, rte_pktmbuf_mtod_offset(mbufs[i], std::uint8_t*, kHeader), kPayload);
      if (payload.round != round_) {
        continue;
      }
      ++seen_.received;
      if (payload.probe != 0) {
        window_.latency_ns.push_back(
            static_cast<std::uint32_t>((now - payload.tsc) * 1'000'000 / (tsc_hz_ / 1'000)));
        awaited_ -= payload.probe == probe_ ? 1 : 0;
      }
    }
    rte_pktmbuf_free_bulk(mbufs, count);
    const bool more = wait ? awaited_ != 0 && now < deadline : count != 0 || now < deadline;
    if (!more) {
      return;
    }
  }
}

void Traffic::close_window() {
  const std::uint64_t delay = delay_of(plan_.lcore_schedstat);
  window_.delayed_ns = delay - delay_before_;
  delay_before_ = delay;
  seen_.windows.push_back(std::move(window_));
  window_ = {};
  window_.latency_ns.reserve(kWindowTicks / kProbeEvery * kPerTick);
}

}  // namespace sluice::bench
