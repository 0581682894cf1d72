// SPDX-License-Identifier: Apache-2.0
// Checksums: the sum over a header or packet against the plain 16-bit loop, and the rewrite of a
// NAT (two addresses, two ports, two checksums) by precomputed deltas against computing both anew.
#include "dataplane/net/checksum.h"
#include "dataplane/net/headers.h"

#include <benchmark/benchmark.h>

#include <array>
#include <cstring>
#include <random>
#include <span>
#include <vector>

namespace sluice {
namespace {

std::vector<std::uint8_t> random_bytes(std::size_t length) {
  std::mt19937_64 random(1);
  std::vector<std::uint8_t> bytes(length);
  for (std::uint8_t& byte : bytes) {
    byte = static_cast<std::uint8_t>(random());
  }
  return bytes;
}

void sum(benchmark::State& state) {
  const auto bytes = random_bytes(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) {
    benchmark::DoNotOptimize(bytes.data());
    benchmark::ClobberMemory();
    benchmark::DoNotOptimize(checksum_finish(checksum_sum(bytes)));
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(sum)
    ->ArgName("bytes")
    ->Arg(20)
    ->Arg(40)
    ->Arg(64)
    ->Arg(1'460)
    ->MinTime(0.1)
    ->Repetitions(5)
    ->ReportAggregatesOnly();

// As parse has it: the length of an IPv4 header without options is known when compiling.
void sum_of_header(benchmark::State& state) {
  const auto bytes = random_bytes(20);
  const auto header = std::span<const std::uint8_t, 20>(bytes);
  for (auto _ : state) {
    benchmark::DoNotOptimize(bytes.data());
    benchmark::ClobberMemory();
    benchmark::DoNotOptimize(checksum_finish(checksum_sum(header)));
  }
}
BENCHMARK(sum_of_header)->MinTime(0.1)->Repetitions(5)->ReportAggregatesOnly();

// The plain alternative (RFC 1071 §4.1, in C).
void sum_by_words(benchmark::State& state) {
  const auto bytes = random_bytes(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) {
    benchmark::DoNotOptimize(bytes.data());
    benchmark::ClobberMemory();
    std::uint32_t total = 0;
    std::size_t i = 0;
    for (; i + 1 < bytes.size(); i += 2) {
      std::uint16_t word = 0;
      std::memcpy(&word, &bytes[i], sizeof(word));
      total += word;
    }
    total += i < bytes.size() ? bytes[i] : 0;
    while (total >> 16U != 0) {
      total = (total & 0xffffU) + (total >> 16U);
    }
    benchmark::DoNotOptimize(static_cast<std::uint16_t>(~total));
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(sum_by_words)
    ->ArgName("bytes")
    ->Arg(20)
    ->Arg(40)
    ->Arg(64)
    ->Arg(1'460)
    ->MinTime(0.1)
    ->Repetitions(5)
    ->ReportAggregatesOnly();

// IPv4 and UDP headers in the first cache line of a frame, then the payload. The offsets are those
// of the wire: addresses at 12, header checksum at 10, ports at 20, UDP checksum at 26.
struct Rewrite {
  std::array<std::uint8_t, 8> addresses;
  std::array<std::uint8_t, 4> ports;
};
constexpr std::size_t kIpHeader = 20;

std::array<Rewrite, 2> there_and_back() {
  return {Rewrite{{192, 0, 2, 1, 203, 0, 113, 10}, {0x9c, 0x40, 0x00, 0x50}},
          Rewrite{{10, 0, 0, 1, 10, 0, 0, 2}, {0x30, 0x39, 0x1f, 0x90}}};
}

void write(std::span<std::uint8_t> packet, const Rewrite& rewrite) {
  std::memcpy(&packet[12], rewrite.addresses.data(), rewrite.addresses.size());
  std::memcpy(&packet[kIpHeader], rewrite.ports.data(), rewrite.ports.size());
}

void update(std::span<std::uint8_t> packet, std::size_t at, ChecksumDelta delta) {
  Be16 checksum{};
  std::memcpy(&checksum, &packet[at], sizeof(checksum));
  checksum = checksum_update(checksum, delta);
  std::memcpy(&packet[at], &checksum, sizeof(checksum));
}

void rewrite_by_delta(benchmark::State& state) {
  auto packet = random_bytes(static_cast<std::size_t>(state.range(0)));
  const auto tuples = there_and_back();
  write(packet, tuples[0]);
  const ChecksumSum addresses[2] = {checksum_sum(tuples[0].addresses),
                                    checksum_sum(tuples[1].addresses)};
  const ChecksumDelta ip = ChecksumDelta::exchange(addresses[0], addresses[1]);
  const ChecksumDelta transport = ChecksumDelta::exchange(
      checksum_sum(tuples[0].ports, addresses[0]), checksum_sum(tuples[1].ports, addresses[1]));
  const ChecksumDelta ip_deltas[2] = {ip.reversed(), ip};
  const ChecksumDelta transport_deltas[2] = {transport.reversed(), transport};
  std::size_t turn = 0;
  for (auto _ : state) {
    turn ^= 1U;
    write(packet, tuples[turn]);
    update(packet, 10, ip_deltas[turn]);
    update(packet, kIpHeader + 6, transport_deltas[turn]);
    benchmark::DoNotOptimize(packet.data());
    benchmark::ClobberMemory();
  }
}
BENCHMARK(rewrite_by_delta)
    ->ArgName("bytes")
    ->Arg(46)
    ->Arg(1'500)
    ->MinTime(0.1)
    ->Repetitions(5)
    ->ReportAggregatesOnly();

// The plain alternative: header and datagram summed anew for every packet.
void rewrite_and_sum_anew(benchmark::State& state) {
  auto packet = random_bytes(static_cast<std::size_t>(state.range(0)));
  const auto tuples = there_and_back();
  const auto whole = std::span<const std::uint8_t>(packet);
  std::size_t turn = 0;
  for (auto _ : state) {
    turn ^= 1U;
    write(packet, tuples[turn]);
    std::memset(&packet[10], 0, 2);
    std::memset(&packet[kIpHeader + 6], 0, 2);
    const auto length = static_cast<std::uint16_t>(packet.size() - kIpHeader);
    const ChecksumSum pseudo = checksum_sum(whole.subspan(12, 8)) +
                               Be16::from_host(kProtocolUdp).raw + Be16::from_host(length).raw;
    const std::uint16_t ip = checksum_finish(checksum_sum(whole.first(kIpHeader)));
    const std::uint16_t udp = checksum_finish(checksum_sum(whole.subspan(kIpHeader), pseudo));
    std::memcpy(&packet[10], &ip, sizeof(ip));
    std::memcpy(&packet[kIpHeader + 6], &udp, sizeof(udp));
    benchmark::DoNotOptimize(packet.data());
    benchmark::ClobberMemory();
  }
}
BENCHMARK(rewrite_and_sum_anew)
    ->ArgName("bytes")
    ->Arg(46)
    ->Arg(1'500)
    ->MinTime(0.1)
    ->Repetitions(5)
    ->ReportAggregatesOnly();

}  // namespace
}  // namespace sluice
