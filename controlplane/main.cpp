// SPDX-License-Identifier: Apache-2.0
// sluiced: the wiring. What is constructed below another thing uses it, and is gone before it.
//
//   kernel -> Netlink ----+                       +--> Dataplane: lcores, punt thread
//   lcores -> wanted -----+-> Mailbox -> Reconciler -> publish
//   clients -> Server ----+                       +--> answers, once all lcores have seen it
#include "controlplane/api/convert.h"
#include "controlplane/api/gateway_service.h"
#include "controlplane/api/server.h"
#include "controlplane/manifest/manifest.h"
#include "controlplane/model/config.h"
#include "controlplane/runtime/inspector.h"
#include "controlplane/runtime/instance_lock.h"
#include "controlplane/runtime/mailbox.h"
#include "controlplane/runtime/netlink.h"
#include "controlplane/runtime/reconciler.h"
#include "dataplane/lcore/dataplane.h"

#include <CLI/CLI.hpp>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <fstream>
#include <functional>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
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

// Every fault of the file on a line of its own; true when there is none.
bool read_config(const std::string& file, model::Config& config) {
  v1::GatewayConfig message;
  const std::vector<manifest::Fault> faults = manifest::read_file(file, message);
  for (const manifest::Fault& fault : faults) {
    std::fprintf(stderr, "sluiced: %s: %s\n", file.c_str(), manifest::to_string(fault).c_str());
  }
  if (!faults.empty()) {
    return false;
  }
  auto checked = model::validate(api::to_input(message), std::thread::hardware_concurrency());
  if (!checked) {
    for (const model::Fault& fault : checked.error().faults) {
      std::fprintf(stderr, "sluiced: %s: %s: %s\n", file.c_str(), fault.path.c_str(),
                   fault.message.c_str());
    }
    return false;
  }
  config = std::move(*checked);
  return true;
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

// sd_notify(3) without its library: a datagram to the socket that systemd names.
void notify(const char* state) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || *path == '\0') {
    return;
  }
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string(path).copy(address.sun_path, sizeof(address.sun_path) - 1);
  if (address.sun_path[0] == '@') {
    address.sun_path[0] = '\0';
  }
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const auto length =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + std::string(path).size());
  sendto(fd, state, std::char_traits<char>::length(state), 0,
         reinterpret_cast<const sockaddr*>(&address), length);
  close(fd);
}

// Blocked before any thread is made, so that only sigwait() below sees them.
sigset_t block_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGHUP);  // of a terminal that goes away; what was set up must be undone
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return signals;
}

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
  // reconciler -> kernel
  reconciler.start(
      {[&](int interface, const IpAddress& neighbour) { netlink.want(interface, neighbour); },
       [&](int interface, const IpAddress& neighbour) { netlink.unwant(interface, neighbour); }});
  // What still runs when something below throws must not call what is gone already.
  const Finally end([&] {
    reconciler.stop();
    dataplane.stop();
  });
  // lcores -> mailbox
  dataplane.start(
      [&](std::uint8_t port, const IpAddress& neighbour) { mailbox.post_wanted(port, neighbour); });
  // clients -> mailbox
  runtime::Inspector inspector(dataplane);
  api::GatewayService service(config.name, kVersion, reconciler, inspector, config);
  const api::Server server(config.socket_path, service);
  spdlog::info("serving on {}", config.socket_path);
  notify("READY=1");
  int signal = 0;
  sigwait(&signals, &signal);
  spdlog::info("stopping on signal {}", signal);
  notify("STOPPING=1");
}

void set_up_log(const std::string& level) {
  spdlog::set_default_logger(spdlog::stderr_logger_mt("sluiced"));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %v");
  spdlog::set_level(spdlog::level::from_str(level));
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
  model::Config config;
  if (!read_config(file, config)) {
    return 1;
  }
  if (config.name.empty()) {
    char host[256] = "";
    gethostname(host, sizeof(host) - 1);
    config.name = host;
  }
  if (check) {
    return 0;
  }
  set_up_log(config.log_level);
  const sigset_t signals = block_signals();
  try {
    serve(config, signals);
  } catch (const std::exception& fault) {
    std::fprintf(stderr, "sluiced: %s\n", fault.what());
    return 1;
  }
  return 0;
}
