// SPDX-License-Identifier: Apache-2.0
#include "bench/pktgen/options.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <sstream>

namespace sluice::pktgen {
namespace {

constexpr std::uint32_t kFcsBytes = 4;
constexpr std::uint32_t kFrameBytesMax = 1518;
// Seven small, four middle, one large: the simple IMIX of RFC 6985's authors' day.
constexpr const char* kImix = "64:7,594:4,1518:1";

constexpr const char* kFooter = R"(
Examples
  one second at full speed, 64,000 UDP flows over memif:
    sluice-pktgen --client-port net_memif0,role=server,id=0,socket=/run/m.sock,socket-abstract=no
                  --backend-port net_memif1,role=server,id=1,socket=/run/m.sock,socket-abstract=no
                  --vip 203.0.113.10 --backend 10.10.0.11 --backends 16 --flows 64000
  the rates without loss and with 0.1 %, latency at half and nine tenths of the latter:
    sluice-pktgen ... --search --json
bench/pktgen/README.md tells what is measured and how.)";

// What CLI11 fills in before it is judged.
struct Words {
  std::string family = "ipv4";
  std::string protocol = "udp";
  std::string client;
  std::string vip = "203.0.113.10";
  std::string backend = "10.10.0.11";
  std::string source = "any";
  std::string next_hop;
  std::string gateway_mac;
  std::string client_mac = "02:00:00:00:00:01";
  std::string backend_mac = "02:00:00:00:01:11";
  std::string size;
  std::string pattern = "shuffled";
  std::string rate = "max";
  std::string new_flows = "0";
  std::string open_rate = "1M";
  bool no_hugepages = false;
  bool no_udp_checksum = false;
  bool no_open = false;
};

[[noreturn]] void refuse(const std::string& what) {
  throw CLI::ValidationError(what);
}

template <typename T>
T need(const std::optional<T>& value, const std::string& option, const std::string& text,
       const std::string& wanted) {
  if (!value) {
    refuse(option + ": '" + text + "' is not " + wanted);
  }
  return *value;
}

void add_ports(CLI::App& app, Options& options, Words& words) {
  app.add_option("--client-port", options.client_port,
                 "DPDK device towards the gateway's clients' side: PCI address, or virtual "
                 "device with its arguments")
      ->required();
  app.add_option("--backend-port", options.backend_port,
                 "likewise towards its backends' side; the client port when left out");
  app.add_option("--core", options.core, "CPU of the loop")->capture_default_str();
  app.add_option("--memory", options.memory_mib, "MiB for packet buffers")->capture_default_str();
  app.add_flag("--no-hugepages", words.no_hugepages, "ordinary pages; slower, for tests");
  app.add_option("--rss-queues", options.rss_queues,
                 "queues of each port; packets are spread over them as by a NIC's Toeplitz hash")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app.add_option("--descriptors", options.descriptors, "of each queue")
      ->check(CLI::Range(64, 32'768))
      ->capture_default_str();
  app.add_option("--eal", options.eal_arguments, "arguments for DPDK as they are");
}

void add_traffic(CLI::App& app, Options& options, Words& words) {
  Traffic& traffic = options.traffic;
  app.add_option("--protocol", words.protocol)->check(CLI::IsMember({"udp", "tcp"}));
  app.add_option("--vip", words.vip, "address of the service; its family is that of all traffic")
      ->capture_default_str();
  app.add_option("--vip-port", traffic.vip_port)->capture_default_str();
  app.add_option("--backend", words.backend, "address of the first backend")->capture_default_str();
  app.add_option("--backends", traffic.backends, "how many, at addresses in a row")
      ->check(CLI::Range(1, 65'536))
      ->capture_default_str();
  app.add_option("--target-port", traffic.target_port, "where backends listen")
      ->capture_default_str();
  app.add_option("--client", words.client,
                 "address of the first client (198.18.0.1, 2001:2::1: RFC 2544, RFC 5180)");
  app.add_option("--clients", traffic.clients, "how many, a power of two; 32,768 ports each")
      ->capture_default_str();
  app.add_option("--source", words.source,
                 "whom backends should see, judged by --verify: client (DNAT), a SNAT address, any")
      ->capture_default_str();
  app.add_option("--flows", traffic.flows, "open at once")->capture_default_str();
  app.add_option("--pattern", words.pattern, "order of the flows: sequential, shuffled, zipf")
      ->check(CLI::IsMember({"sequential", "shuffled", "zipf"}))
      ->capture_default_str();
  app.add_option("--zipf", traffic.zipf_exponent, "exponent of --pattern zipf")
      ->check(CLI::Range(0.0, 5.0))
      ->capture_default_str();
  app.add_option("--new-flows", words.new_flows, "flows a second that take an old one's place");
  app.add_flag("--syn-only", traffic.syn_only, "TCP; each packet is the SYN of another flow");
  app.add_option("--size", words.size,
                 "frame bytes with FCS: 64, imix (64:7,594:4,1518:1), or SIZE:WEIGHT,...; the "
                 "shortest possible when left out");
  app.add_flag("--no-udp-checksum", words.no_udp_checksum, "IPv4 only (RFC 768)");
  app.add_option("--gateway-mac", words.gateway_mac, "of the gateway's clients' side");
  app.add_option("--next-hop", words.next_hop,
                 "whose MAC is asked for by ARP or ND when it is not given; the VIP when left out");
  app.add_option("--client-mac", words.client_mac)->capture_default_str();
  app.add_option("--backend-mac", words.backend_mac)->capture_default_str();
  app.add_option("--seed", options.seed, "of --pattern")->capture_default_str();
}

void add_measuring(CLI::App& app, Options& options, Words& words) {
  app.add_option("--rate", words.rate, "packets a second (14.88M, 500k), or max")
      ->capture_default_str();
  app.add_option("--duration", options.seconds, "seconds of a trial")
      ->check(CLI::Range(0.01, 80.0))
      ->capture_default_str();
  app.add_option("--trials", options.trials, "how many; the best is told too")
      ->check(CLI::Range(0, 1'000))
      ->capture_default_str();
  app.add_flag("--replies", options.replies, "backends answer, and replies are measured");
  app.add_flag("--no-open", words.no_open, "do not open the flows before the first trial");
  app.add_option("--open-rate", words.open_rate, "flows a second, while opening")
      ->capture_default_str();
  app.add_flag("--search", options.search,
               "find NDR (no loss) and PDR, and latency at 50 and 90 % of PDR");
  app.add_option("--pdr-loss", options.pdr_loss, "share that may be lost at PDR")
      ->check(CLI::Range(0.0, 0.5))
      ->capture_default_str();
  app.add_option("--precision", options.precision, "of rates found, as a share")
      ->check(CLI::Range(0.0001, 0.2))
      ->capture_default_str();
  app.add_option("--search-duration", options.search_seconds, "seconds of a trial of the search")
      ->check(CLI::Range(0.01, 80.0))
      ->capture_default_str();
  app.add_option("--attempts", options.attempts, "a rate must fail so often to be given up")
      ->check(CLI::Range(1, 20))
      ->capture_default_str();
  app.add_flag("--verify", options.verify, "judge each packet whole: addresses, ports, checksums");
  app.add_option("--latency-sample", options.stamp_interval, "one packet of so many is timed")
      ->capture_default_str();
  app.add_option(
      "--watch", options.watched_thread_file,
      "file with PID/TID of the gateway's lcore, read before each trial: trials in which the "
      "kernel took its core away are repeated");
  app.add_flag("--json", options.json, "results as JSON on standard output");
  app.add_option("--linger", options.linger_seconds,
                 "seconds to keep the ports after the report, which is closed, or until the other "
                 "end has gone")
      ->check(CLI::Range(0, 3'600))
      ->capture_default_str();
}

void judge_addresses(Options& options, const Words& words) {
  Traffic& traffic = options.traffic;
  traffic.vip = need(parse_ip(words.vip), "--vip", words.vip, "an IP address");
  traffic.backend = need(parse_ip(words.backend), "--backend", words.backend, "an IP address");
  const std::string client = !words.client.empty()   ? words.client
                             : traffic.vip.is_ipv4() ? "198.18.0.1"
                                                     : "2001:2::1";
  traffic.client = need(parse_ip(client), "--client", client, "an IP address");
  if (traffic.backend.family != traffic.vip.family || traffic.client.family != traffic.vip.family) {
    refuse("--backend, --client: not of the family of --vip");
  }
  if (words.source == "client") {
    traffic.source_kept = true;
  } else if (words.source != "any") {
    traffic.snat =
        need(parse_ip(words.source), "--source", words.source, "client, any or an IP address");
  }
  const std::string hop = words.next_hop.empty() ? words.vip : words.next_hop;
  options.next_hop = need(parse_ip(hop), "--next-hop", hop, "an IP address");
  traffic.client_mac = need(parse_mac(words.client_mac), "--client-mac", words.client_mac, "a MAC");
  traffic.backend_mac =
      need(parse_mac(words.backend_mac), "--backend-mac", words.backend_mac, "a MAC");
  if (!words.gateway_mac.empty()) {
    options.gateway_mac =
        need(parse_mac(words.gateway_mac), "--gateway-mac", words.gateway_mac, "a MAC");
  }
}

void judge_flows(Options& options, const Words& words) {
  Traffic& traffic = options.traffic;
  traffic.protocol = words.protocol == "tcp" ? kProtocolTcp : kProtocolUdp;
  traffic.udp_checksum = !words.no_udp_checksum;
  if (words.no_udp_checksum && !traffic.vip.is_ipv4()) {
    refuse("--no-udp-checksum: IPv6 has no UDP without a checksum (RFC 8200); leave it out");
  }
  traffic.pattern = words.pattern == "zipf"         ? Pattern::kZipf
                    : words.pattern == "sequential" ? Pattern::kSequential
                                                    : Pattern::kShuffled;
  if (!std::has_single_bit(traffic.clients)) {
    refuse("--clients: not a power of two");
  }
  const std::uint64_t room = std::uint64_t{traffic.clients} * kPortsPerClient;
  if (traffic.flows == 0 || traffic.flows > room) {
    refuse("--flows: 1 to " + std::to_string(room) + " with so many clients; raise --clients");
  }
  if (traffic.syn_only && traffic.protocol != kProtocolTcp) {
    refuse("--syn-only: needs --protocol tcp");
  }
  const std::string shortest = std::to_string(traffic.frame_bytes_min() + kFcsBytes);
  const std::string size = words.size.empty() ? shortest : words.size;
  traffic.sizes = need(parse_sizes(size), "--size", size, "a size, imix or SIZE:WEIGHT,...");
  for (FrameShare& share : traffic.sizes) {
    if (share.bytes < traffic.frame_bytes_min() && words.size == "imix") {
      share.bytes = static_cast<std::uint16_t>(traffic.frame_bytes_min());
    }
    if (share.bytes < traffic.frame_bytes_min()) {
      refuse("--size: frames of this protocol have at least " + shortest + " bytes with FCS");
    }
  }
}

void judge(Options& options, const Words& words) {
  judge_addresses(options, words);
  judge_flows(options, words);
  options.hugepages = !words.no_hugepages;
  options.rate_pps = need(parse_rate(words.rate), "--rate", words.rate, "a rate like 14.88M");
  options.new_flows_per_s =
      need(parse_rate(words.new_flows), "--new-flows", words.new_flows, "a rate like 100k");
  options.open_rate_pps =
      need(parse_rate(words.open_rate), "--open-rate", words.open_rate, "a rate like 1M");
  if (options.open_rate_pps <= 0) {
    refuse("--open-rate: needs a number");
  }
  if (options.new_flows_per_s > 0 && options.rate_pps <= 0 && options.trials > 0) {
    refuse("--new-flows: needs --rate, of which it is a share");
  }
  options.open_flows = !words.no_open && !options.traffic.syn_only;
  if (!std::has_single_bit(options.stamp_interval)) {
    refuse("--latency-sample: not a power of two");
  }
  if (options.backend_port.empty()) {
    options.backend_port = options.client_port;
  }
}

}  // namespace

std::optional<std::vector<FrameShare>> parse_sizes(const std::string& text) {
  std::vector<FrameShare> sizes;
  std::istringstream words(text == "imix" ? kImix : text);
  for (std::string word; std::getline(words, word, ',');) {
    std::istringstream parts(word);
    std::uint32_t bytes = 0;
    std::uint32_t weight = 1;
    char colon = ':';
    if (!(parts >> bytes) || (!parts.eof() && !(parts >> colon >> weight)) || !parts.eof() ||
        colon != ':' || bytes < 64 || bytes > kFrameBytesMax || weight == 0 || weight > 1000) {
      return std::nullopt;
    }
    sizes.push_back({static_cast<std::uint16_t>(bytes - kFcsBytes), weight});
  }
  return sizes.empty() || sizes.size() > 16 ? std::nullopt : std::optional(sizes);
}

std::optional<double> parse_rate(const std::string& text) {
  if (text == "max") {
    return 0;
  }
  std::istringstream words(text);
  double value = 0;
  std::string unit;
  if (!(words >> value) || value < 0) {
    return std::nullopt;
  }
  words >> unit;
  if (unit == "k" || unit == "K") {
    return value * 1e3;
  }
  if (unit == "M") {
    return value * 1e6;
  }
  return unit.empty() ? std::optional(value) : std::nullopt;
}

std::optional<Options> parse_options(int argc, char** argv, int* exit_code) {
  Options options;
  Words words;
  CLI::App app(
      "Plays clients and backends of a gateway at once and measures what it forwards: rates, "
      "loss,\n"
      "order, latency; finds the rates without and with little loss.");
  app.footer(kFooter);
  add_ports(app, options, words);
  add_traffic(app, options, words);
  add_measuring(app, options, words);
  try {
    app.parse(argc, argv);
    judge(options, words);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {
      *exit_code = app.exit(error);
    } else {
      std::fprintf(stderr, "sluice-pktgen: %s\n", error.what());
      *exit_code = 2;
    }
    return std::nullopt;
  }
  return options;
}

}  // namespace sluice::pktgen
