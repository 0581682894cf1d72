// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/controlplane/runtime/null_gateway.h"

#include "dataplane/net/headers.h"

#include <sched.h>

namespace sluice::testing {
namespace {

unsigned first_cpu() {
  cpu_set_t cpus;
  sched_getaffinity(0, sizeof(cpus), &cpus);
  unsigned cpu = 0;
  while (!CPU_ISSET(cpu, &cpus)) {
    ++cpu;
  }
  return cpu;
}

}  // namespace

DataplaneSettings settings_of(const model::Config& config) {
  DataplaneSettings settings;
  settings.lcores = config.lcores;
  settings.memory_bytes = config.memory_bytes;
  settings.hugepages = config.hugepages;
  settings.idle_sleep_us = config.idle_sleep_us;
  settings.flows_ipv4 = config.flows_ipv4;
  settings.flows_ipv6 = config.flows_ipv6;
  settings.bindings = config.bindings;
  settings.service_ports = config.service_ports;
  for (const model::PortConfig& port : config.ports) {
    settings.ports.push_back(
        {port.name, port.device, port.mtu, port.twin, port.rx_descriptors, port.tx_descriptors});
  }
  return settings;
}

model::Config null_config() {
  model::Config config;
  config.name = "test";
  config.lcores = {first_cpu()};
  config.memory_bytes = 128ULL << 20U;
  config.hugepages = false;
  config.idle_sleep_us = 100;
  config.flows_ipv4 = 64;
  config.flows_ipv6 = 64;
  config.bindings = kNullBindings;
  config.service_ports = kNullServicePorts;
  config.maglev_seed = 1;
  model::PortConfig port;
  port.name = "wan0";
  port.device = "net_null0,no-rx=1";
  port.twin = false;
  port.addresses = {{*parse_ip("192.0.2.1"), 24}, {*parse_ip("2001:db8::1"), 64}};
  config.ports = {port};
  config.snat = {{*parse_ip("192.0.2.100"), 1024, 65'536}};
  config.snat_range_given = {false};
  return config;
}

Dataplane& null_dataplane() {
  static Dataplane dataplane(settings_of(null_config()));
  static const bool started = [] {
    dataplane.publish(Snapshot::empty());
    dataplane.start([](std::uint8_t, const IpAddress&) {});
    return true;
  }();
  (void)started;
  return dataplane;
}

NullGateway::NullGateway(std::vector<model::AddressPool> pools)
    : NullGateway([&pools](model::Config& made) { made.grants.pools = std::move(pools); }) {}

NullGateway::NullGateway(const std::function<void(model::Config&)>& change)
    : config([&change] {
        model::Config made = null_config();
        change(made);
        return made;
      }()) {
  reconciler.start({});
}

NullGateway::~NullGateway() {
  reconciler.stop();
}

model::Service service_of(const std::string& name, const std::string& vip,
                          const std::vector<std::string>& endpoints) {
  model::Service service;
  service.name = {"default", name};
  if (!vip.empty()) {
    service.vips = {*parse_ip(vip)};
  }
  service.ports = {{"", kProtocolTcp, 80, 8080, ""}};
  for (const std::string& address : endpoints) {
    service.endpoints.push_back({*parse_ip(address), {}, "", "", "", {}, 1});
  }
  return service;
}

model::Transaction transaction_of(std::vector<model::Service> upsert, const std::string& provider) {
  model::Transaction transaction;
  transaction.provider = provider;
  transaction.upsert = std::move(upsert);
  return transaction;
}

}  // namespace sluice::testing
