// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "bench/pktgen/traffic.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sluice::pktgen {

// The command line as values, judged.
struct Options {
  std::string client_port;
  std::string backend_port;  // empty: the same port
  unsigned core = 0;
  unsigned memory_mib = 512;
  bool hugepages = true;
  std::vector<std::string> eal_arguments;
  std::uint16_t rss_queues = 1;
  std::uint16_t descriptors = 1024;

  Traffic traffic;
  std::optional<MacAddress> gateway_mac;
  IpAddress next_hop;  // whose MAC is asked for when it is not given

  double rate_pps = 0;
  double new_flows_per_s = 0;
  double open_rate_pps = 1e6;
  bool replies = false;
  bool open_flows = true;
  double seconds = 1;
  unsigned trials = 1;

  bool search = false;
  double pdr_loss = 0.001;
  double precision = 0.005;
  double search_seconds = 1;
  unsigned attempts = 3;

  bool verify = false;
  std::uint32_t stamp_interval = 64;
  std::string watched_thread_file;
  std::uint64_t seed = 1;
  bool json = false;
  unsigned linger_seconds = 0;
};

// Nothing: the program ends here with `*exit_code`, and what there was to say has been said.
std::optional<Options> parse_options(int argc, char** argv, int* exit_code);

// "64", "imix", "60:3,590:1"; bytes with the FCS, as frame sizes are told (RFC 2544 §9). Nothing
// for anything else.
std::optional<std::vector<FrameShare>> parse_sizes(const std::string& text);
// "14.88M", "500k", "1000000", "max" (0). Packets a second.
std::optional<double> parse_rate(const std::string& text);

}  // namespace sluice::pktgen
