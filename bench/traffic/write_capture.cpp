// SPDX-License-Identifier: Apache-2.0
// Writes a capture (pcap, microseconds, Ethernet) with one packet of each of so many flows, in
// random order: what net_pcap with infinite_rx=1 then receives for ever.
//
//   write_capture FILE FLOWS TO_MAC SERVICE_ADDRESS PORT
#include "bench/traffic/frames.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <vector>

namespace sluice::bench {
namespace {

// The format's own headers, in the byte order of who writes.
struct FileHeader {
  std::uint32_t magic = 0xa1b2'c3d4;
  std::uint16_t version_major = 2;
  std::uint16_t version_minor = 4;
  std::uint32_t zone = 0;
  std::uint32_t accuracy = 0;
  std::uint32_t snapshot_bytes = 65'535;
  std::uint32_t link_type = 1;  // Ethernet
};
static_assert(sizeof(FileHeader) == 24);
struct Record {
  std::uint32_t seconds = 0;
  std::uint32_t microseconds = 0;
  std::uint32_t captured_bytes = ClientFrames::kBytes;
  std::uint32_t wire_bytes = ClientFrames::kBytes;
  std::uint8_t frame[ClientFrames::kBytes] = {};
};
static_assert(sizeof(Record) == 16 + ClientFrames::kBytes);

bool write(const char* file, std::uint32_t flows, const ClientFrames& frames) {
  std::ofstream out(file, std::ios::binary);
  const FileHeader header;
  out.write(reinterpret_cast<const char*>(&header), sizeof(header));
  Order order(flows);
  std::vector<Record> records(flows);
  for (Record& record : records) {
    frames.write(record.frame, order.next());
  }
  out.write(reinterpret_cast<const char*>(records.data()),
            static_cast<std::streamsize>(records.size() * sizeof(Record)));
  out.flush();
  return out.good();
}

int run(char** argv) {
  const auto flows = static_cast<std::uint32_t>(std::strtoul(argv[2], nullptr, 10));
  const auto to = parse_mac(argv[3]);
  const auto service = parse_ip(argv[4]);
  const auto port = static_cast<std::uint16_t>(std::strtoul(argv[5], nullptr, 10));
  if (flows == 0 || flows > ClientFrames::kFlowsMax || !to || !service || !service->is_ipv4() ||
      port == 0) {
    std::fprintf(stderr,
                 "write_capture: a count of 1 to 16777216, a MAC, an IPv4 address and a "
                 "port are needed\n");
    return 2;
  }
  const MacAddress from{{2, 0, 0, 0, 1, 1}};
  if (!write(argv[1], flows, ClientFrames({from, *to, service->v4(), port}))) {
    std::fprintf(stderr, "write_capture: %s cannot be written\n", argv[1]);
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  if (argc != 6) {
    std::fprintf(stderr, "usage: write_capture FILE FLOWS TO_MAC SERVICE_ADDRESS PORT\n");
    return 2;
  }
  return sluice::bench::run(argv);
}
