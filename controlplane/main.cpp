// SPDX-License-Identifier: Apache-2.0
// sluiced: the wiring. What is constructed below another thing uses it, and is gone before it.
//
//   kernel -> Netlink ----+                       +--> Dataplane: lcores, punt thread
//   lcores -> wanted -----+-> Mailbox -> Reconciler -> publish
//   DNS -> Resolver ------+                       |
//   clients -> Server ----+                       +--> answers, once all lcores have seen it
#include "controlplane/api/convert.h"
#include "controlplane/api/gateway_service.h"
#include "controlplane/api/server.h"
#include "controlplane/model/config.h"
#include "controlplane/process/config_file.h"
#include "controlplane/process/process.h"
#include "controlplane/runtime/announced_routes.h"
#include "controlplane/runtime/backend_routes.h"
#include "controlplane/runtime/inspector.h"
#include "controlplane/runtime/instance_lock.h"
#include "controlplane/runtime/mailbox.h"
#include "controlplane/runtime/netlink.h"
#include "controlplane/runtime/reconciler.h"
#include "controlplane/runtime/resolver.h"
#include "controlplane/runtime/service_reports.h"
#include "dataplane/lcore/dataplane.h"

#include <CLI/CLI.hpp>
#include <spdlog/spdlog.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <optional>
#include <signal.h>
#include <thread>
#include <unistd.h>

// Read by jemalloc before main(). Tables of many services are written once and touched at random:
// huge pages spare a page fault for every 4 KiB of them. Memory that is freed by one change is kept
// for the next, since giving it back interrupts every CPU of the process, the lcores' too.
extern "C" const char* malloc_conf;
const char* malloc_conf = "thp:always,dirty_decay_ms:60000,muzzy_decay_ms:0";

namespace {

using namespace sluice;

constexpr const char* kVersion = SLUICE_VERSION;

model::Result<model::Config> checked(const v1::GatewayConfig& message) {
  return model::validate(api::to_input(message), std::thread::hardware_concurrency());
}

DataplaneSettings settings_of(const model::Config& config) {
  DataplaneSettings settings;
  settings.lcores = config.lcores;
  settings.memory_bytes = config.memory_bytes;
  settings.hugepages = config.hugepages;
  settings.idle_sleep_us = config.idle_sleep_us;
  settings.idle_wait = config.idle_wait;
  settings.flows_ipv4 = config.flows_ipv4;
  settings.flows_ipv6 = config.flows_ipv6;
  settings.bindings = config.bindings;
  settings.service_ports = config.service_ports;
  settings.affinity_clients = config.affinity_clients;
  settings.half_open_percent = config.half_open_percent;
  settings.eal_arguments = config.eal_arguments;
  for (const model::PortConfig& port : config.ports) {
    settings.ports.push_back({port.name, port.device, port.mtu, port.twin, port.rx_descriptors,
                              port.tx_descriptors, port.vlan, port.parent, port.buffers,
                              port.buffer_bytes, port.steering, port.faces});
  }
  settings.snat = config.snat;
  settings.quotas = model::TrafficQuotas(config.providers).limits();
  return settings;
}

void check_snat(const model::Config& config) {
  std::uint32_t begin = 32'768;
  std::uint32_t last = 60'999;
  std::ifstream("/proc/sys/net/ipv4/ip_local_port_range") >> begin >> last;
  std::vector<IpAddress> hosts;
  const runtime::Netlink once({[&](std::vector<model::KernelAddress> addresses) {
                                 for (const model::KernelAddress& address : addresses) {
                                   hosts.push_back(address.address);
                                 }
                               },
                               [](const std::vector<model::KernelRoute>&) {},
                               [](const std::vector<model::KernelNeighbour>&) {}, nullptr});
  if (const auto fault = model::check_snat_dedicated(config, hosts, begin, last + 1)) {
    throw StartFault(fault->path + ": " + fault->message);
  }
}

constexpr auto kWithdrawal = std::chrono::seconds(2);

// Runs when its scope is left, whichever way.
class Finally {
 public:
  explicit Finally(std::function<void()> last) : last_(std::move(last)) {}
  ~Finally() { last_(); }
  Finally(const Finally&) = delete;
  Finally& operator=(const Finally&) = delete;

 private:
  std::function<void()> last_;
};

void serve(const model::Config& config, const sigset_t& signals) {
  const runtime::InstanceLock lock(config.socket_path);
  check_snat(config);
  Dataplane dataplane(settings_of(config));
  for (const std::string& notice : dataplane.notices()) {
    spdlog::info("{}", notice);
  }
  runtime::Mailbox mailbox;
  runtime::Reconciler reconciler(config, dataplane, mailbox);
  // kernel -> mailbox
  runtime::Netlink netlink({[&](auto addresses) { mailbox.post_addresses(std::move(addresses)); },
                            [&](auto routes) { mailbox.post_routes(std::move(routes)); },
                            [&](const auto& neighbours) { mailbox.post_neighbours(neighbours); },
                            nullptr});
  // names -> mailbox
  runtime::Resolver resolver(config.dns_servers,
                             [&](const runtime::ResolvedName& name) { mailbox.post_name(name); });
  // reconciler -> kernel, names
  runtime::BackendRoutes backend_routes;
  std::optional<runtime::AnnouncedRoutes> routes;
  if (config.announce == model::Announce::kRoutes) {
    routes.emplace(config.announce_table);
  }
  reconciler.start(
      {[&](int interface, const IpAddress& neighbour) { netlink.want(interface, neighbour); },
       [&](int interface, const IpAddress& neighbour) { netlink.unwant(interface, neighbour); },
       [&](const IpAddress& address, bool served) {
         if (routes) {
           served ? routes->announce(address) : routes->withdraw(address);
         }
       },
       [&] {
         backend_routes.repair_some();
         if (routes) {
           routes->repair_some();
         }
       },
       [&](const std::string& name, bool followed) {
         followed ? resolver.follow(name) : resolver.forget(name);
       }});
  // What still runs when something below throws must not call what is gone already.
  const Finally end([&] {
    reconciler.stop();
    if (routes && routes->withdraw_all()) {
      // Lcores and twins go on while routing daemons tell by them that nothing is served here.
      std::this_thread::sleep_for(kWithdrawal);
    }
    dataplane.stop();
  });
  // lcores -> mailbox
  dataplane.start(
      [&](std::uint8_t port, const IpAddress& neighbour) { mailbox.post_wanted(port, neighbour); },
      [&](std::uint8_t port, const IpAddress& address, const MacAddress& mac) {
        mailbox.post_claim({address, port, mac.bytes});
      });
  // clients -> mailbox
  runtime::Inspector inspector(dataplane);
  runtime::ServiceReports reports;
  api::GatewayService service(config.name, kVersion,
                              {reconciler, inspector, backend_routes, reports}, config);
  const api::Server server(config.socket_path, config.tcp, service);
  spdlog::info("serving on {}", config.socket_path);
  if (!config.tcp.empty()) {
    spdlog::info("serving on {} for clients with a certificate", config.tcp.listen);
  }
  process::notify("READY=1");
  int signal = 0;
  sigwait(&signals, &signal);
  spdlog::info("stopping on signal {}", signal);
  process::notify("STOPPING=1");
}

}  // namespace

int main(int argc, char** argv) {
  std::string file;
  bool check = false;
  CLI::App app{"sluiced: the Sluice gateway. Carries service VIPs to their backends."};
  app.add_option("--config", file, "configuration file (YAML; see deploy/examples)")->required();
  app.add_flag("--check", check, "validate the configuration file and exit");
  app.set_version_flag("--version", kVersion);
  app.footer(
      "Exit codes: 0 stopped by SIGTERM, SIGINT or SIGHUP, or --check found no fault; 1 it could\n"
      "not start, the reason is on standard error; 2 wrong usage.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  auto config = process::read_config("sluiced", file, &checked);
  if (!config) {
    return 1;
  }
  if (config->name.empty()) {
    char host[256] = "";
    gethostname(host, sizeof(host) - 1);
    config->name = host;
  }
  if (check) {
    return 0;
  }
  process::set_up_log("sluiced", config->log_level);
  const sigset_t signals = process::block_signals();
  try {
    serve(*config, signals);
  } catch (const std::exception& fault) {
    std::fprintf(stderr, "sluiced: %s\n", fault.what());
    return 1;
  }
  return 0;
}
