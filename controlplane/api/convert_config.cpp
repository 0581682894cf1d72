// SPDX-License-Identifier: Apache-2.0
#include "controlplane/api/convert.h"

namespace sluice::api {
namespace {

model::PortInput to_input(const v1::PortConfig& port) {
  model::PortInput input;
  input.name = port.name();
  input.device = port.device();
  input.twin = port.twin();
  input.transit = port.transit();
  input.steering = port.steering();
  input.faces = port.faces();
  input.mtu = port.mtu();
  input.rx_descriptors = port.rx_descriptors();
  input.tx_descriptors = port.tx_descriptors();
  input.buffers = port.buffers();
  input.buffer_size = port.buffer_size();
  input.announce_on.assign(port.announce_on().begin(), port.announce_on().end());
  input.addresses.assign(port.addresses().begin(), port.addresses().end());
  for (const v1::NeighbourConfig& neighbour : port.neighbours()) {
    input.neighbours.push_back({neighbour.address(), neighbour.mac()});
  }
  for (const v1::RouteConfig& route : port.routes()) {
    input.routes.push_back({route.prefix(), route.gateway()});
  }
  return input;
}

model::Quota to_quota(const v1::Quota& quota) {
  return {.services = quota.services(),
          .addresses = quota.addresses(),
          .frontends = quota.frontends(),
          .traffic = {quota.flows(), quota.snat_ports()}};
}

model::ProviderInput to_input(const v1::ProviderConfig& provider) {
  model::ProviderInput input{
      .name = provider.name(),
      .backend_ranges = {provider.backend_ranges().begin(), provider.backend_ranges().end()},
      .quota = to_quota(provider.quota())};
  for (const v1::NamespaceQuota& space : provider.namespace_quotas()) {
    input.namespace_quotas.push_back({space.namespace_(), to_quota(space.quota())});
  }
  return input;
}

}  // namespace

model::ConfigInput to_input(const v1::GatewayConfig& config) {
  const v1::DataplaneConfig& dataplane = config.dataplane();
  model::ConfigInput input;
  input.name = config.name();
  input.memory = dataplane.memory();
  input.idle_sleep = dataplane.idle_sleep();
  input.idle_wait = dataplane.idle_wait();
  input.listen = config.api().listen();
  const v1::TcpApiConfig& tcp = config.api().tcp();
  input.tcp = {tcp.listen(), tcp.certificate(), tcp.key(), tcp.client_authority()};
  input.log_level = config.log().level();
  input.lcores.assign(dataplane.lcores().begin(), dataplane.lcores().end());
  input.no_hugepages = dataplane.no_hugepages();
  input.flows_ipv4 = dataplane.flows_ipv4();
  input.flows_ipv6 = dataplane.flows_ipv6();
  input.bindings = dataplane.bindings();
  input.service_ports = dataplane.service_ports();
  input.affinity_clients = dataplane.affinity_clients();
  input.half_open_percent = dataplane.half_open_percent();
  input.maglev_seed = dataplane.maglev_seed();
  input.unknown_port = dataplane.unknown_port();
  input.eal_arguments.assign(dataplane.eal_arguments().begin(), dataplane.eal_arguments().end());
  for (const v1::PortConfig& port : config.ports()) {
    input.ports.push_back(to_input(port));
  }
  for (const v1::SnatConfig& snat : config.snat()) {
    input.snat.push_back({snat.address(), snat.port_range()});
  }
  input.cluster_ip_ranges.assign(config.cluster_ip_ranges().begin(),
                                 config.cluster_ip_ranges().end());
  input.external_ip_ranges.assign(config.external_ip_ranges().begin(),
                                  config.external_ip_ranges().end());
  input.announce = config.announce();
  input.announce_table = config.announce_table();
  input.role = config.role();
  input.return_path = config.return_path();
  input.dns_servers.assign(config.dns_servers().begin(), config.dns_servers().end());
  input.node_port_range = config.node_port_range();
  input.node_port_addresses.assign(config.node_port_addresses().begin(),
                                   config.node_port_addresses().end());
  input.node_addresses.assign(config.node_addresses().begin(), config.node_addresses().end());
  input.capture_node_addresses = config.capture_node_addresses();
  if (config.has_node_ports_on_vips()) {
    input.node_ports_on_vips = config.node_ports_on_vips();
  }
  for (const v1::AddressPool& pool : config.address_pools()) {
    input.address_pools.push_back(
        {pool.name(),
         {pool.addresses().begin(), pool.addresses().end()},
         pool.has_auto_assign() ? std::optional(pool.auto_assign()) : std::nullopt,
         pool.avoid_buggy_ips(),
         {pool.providers().begin(), pool.providers().end()},
         {pool.namespaces().begin(), pool.namespaces().end()},
         {pool.service_selector().begin(), pool.service_selector().end()}});
  }
  for (const v1::ProviderConfig& provider : config.providers()) {
    input.providers.push_back(to_input(provider));
  }
  return input;
}

}  // namespace sluice::api
