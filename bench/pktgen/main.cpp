// SPDX-License-Identifier: Apache-2.0
// sluice-pktgen: one port towards the gateway's clients' side, one towards its backends' side, one
// busy loop that plays both. See README.md beside this file.
#include "bench/pktgen/generator.h"
#include "bench/pktgen/measure.h"
#include "bench/pktgen/options.h"
#include "bench/pktgen/port.h"
#include "bench/pktgen/report.h"

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>

#include <cstdio>
#include <memory>
#include <string>
#include <unistd.h>
#include <vector>

namespace {

using namespace sluice;
using namespace sluice::pktgen;

void start_eal(const Options& options) {
  const std::string core = std::to_string(options.core);
  std::vector<std::string> words{"sluice-pktgen",
                                 "--lcores=0@" + core,
                                 "--no-telemetry",
                                 "--log-level=critical",
                                 "--file-prefix=pktgen-" + std::to_string(getpid()),
                                 "-m",
                                 std::to_string(options.memory_mib)};
  if (options.hugepages) {
    words.emplace_back("--in-memory");
  } else {
    words.insert(words.end(), {"--no-huge", "--no-shconf"});
  }
  bool pci = false;
  for (const std::string& device : {options.client_port, options.backend_port}) {
    if (device.rfind("net_", 0) != 0 && device.rfind("eth_", 0) != 0) {
      words.insert(words.end(), {"-a", device});
      pci = true;
    }
  }
  if (!pci) {
    words.emplace_back("--no-pci");
  }
  words.insert(words.end(), options.eal_arguments.begin(), options.eal_arguments.end());
  std::vector<char*> arguments;
  for (std::string& word : words) {
    arguments.push_back(word.data());
  }
  if (rte_eal_init(static_cast<int>(arguments.size()), arguments.data()) < 0) {
    throw Fault("--memory, --core, --eal: DPDK did not start (" +
                std::string(rte_strerror(rte_errno)) +
                "); reserve hugepages, or give --no-hugepages");
  }
}

// 30 s for the first one, then 5 s for the other.
void wait_for_links(const Port& client, const Port& backend) {
  constexpr int kTries = 600;
  constexpr int kTriesOfOther = 100;
  for (int i = 0, one_up = 0; i < kTries && one_up < kTriesOfOther; ++i) {
    if (client.link_up() && backend.link_up()) {
      return;
    }
    one_up += client.link_up() || backend.link_up() ? 1 : 0;
    if (i == 0) {  // also the sign that a memif client may come
      std::fputs("sluice-pktgen: no link yet, waiting for the other end\n", stderr);
    }
    usleep(50'000);
  }
  throw Fault(std::string(client.link_up() ? "--backend-port" : "--client-port") +
              ": no link came up; is the other end there?");
}

// A memif peer that polls while its link goes may crash: DPDK unmaps its rings beside the poll. So
// the peer goes first, once it has seen the end of the report.
void linger(const Port& client, const Port& backend, unsigned seconds) {
  if (seconds == 0) {
    return;
  }
  std::fclose(stdout);
  constexpr unsigned kTriesPerSecond = 100;
  for (unsigned i = 0; i < seconds * kTriesPerSecond && client.link_up() && backend.link_up();
       ++i) {
    usleep(1'000'000 / kTriesPerSecond);
  }
}

// A loop of one ring: what is sent comes back at once.
struct Loopback {
  explicit Loopback(const Options& options)
      : port("net_ring_own_cost", 1, 1024, "net_ring"),
        generator(at(options), port, port, named()) {}

  // Frames are addressed as the gateway would have made them.
  static Traffic at(const Options& options) {
    Traffic traffic = options.traffic;
    traffic.vip_port = traffic.target_port;
    traffic.flows = std::min(traffic.flows, 1024U);
    traffic.syn_only = false;
    return traffic;
  }
  static GeneratorSettings named() {
    GeneratorSettings settings;
    settings.name = "own_cost";
    return settings;
  }

  Port port;
  Generator generator;
};

void prepare(Generator& generator, const Options& options) {
  if (!options.gateway_mac) {
    const auto mac = generator.resolve(true, options.next_hop);
    if (!mac) {
      throw Fault("--next-hop: " + to_string(options.next_hop) +
                  " does not tell its MAC; give --gateway-mac, or another --next-hop");
    }
    generator.set_gateway(*mac);
  }
  if (!options.open_flows) {
    return;
  }
  const std::uint32_t closed = generator.open_flows(options.open_rate_pps);
  if (closed > 0) {
    throw Fault("--flows: " + std::to_string(closed) + " of " +
                std::to_string(options.traffic.flows) +
                " got no answer through the gateway; see its drops, or give --no-open");
  }
}

int run(const Options& options) {
  Traffic traffic = options.traffic;
  traffic.client_gateway = options.gateway_mac.value_or(MacAddress{});
  const Port client(options.client_port, options.rss_queues, options.descriptors, "--client-port");
  std::unique_ptr<const Port> other;
  if (options.backend_port != options.client_port) {
    other = std::make_unique<const Port>(options.backend_port, options.rss_queues,
                                         options.descriptors, "--backend-port");
  }
  const Port& backend = other ? *other : client;
  Loopback loopback(options);
  GeneratorSettings settings;
  settings.send_buffers += unsigned{options.descriptors} * options.rss_queues;
  settings.verify = options.verify;
  settings.stamp_interval = options.stamp_interval;
  settings.watched_thread_file = options.watched_thread_file;
  settings.seed = options.seed;
  Generator generator(traffic, client, backend, settings);
  wait_for_links(client, backend);
  prepare(generator, options);
  Measurement measurement(options, generator, loopback.generator);
  Report report = measurement.run();
  report.client_driver = client.driver();
  report.backend_driver = backend.driver();
  std::printf("%s%s", (options.json ? json_of(report, options) : text_of(report, options)).c_str(),
              options.json ? "\n" : "");
  linger(client, backend, options.linger_seconds);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  int exit_code = 0;
  const auto options = parse_options(argc, argv, &exit_code);
  if (!options) {
    return exit_code;
  }
  try {
    start_eal(*options);
    exit_code = run(*options);
  } catch (const Fault& fault) {
    std::fprintf(stderr, "sluice-pktgen: %s\n", fault.what());
    exit_code = 1;
  }
  const std::string directory = rte_eal_get_runtime_dir();
  rte_eal_cleanup();
  rmdir(directory.c_str());
  return exit_code;
}
