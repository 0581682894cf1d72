// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/model/address_pool.h"
#include "controlplane/model/node_ports.h"
#include "controlplane/model/providers.h"
#include "controlplane/model/result.h"
#include "dataplane/net/address.h"
#include "dataplane/snapshot/idle_wait.h"
#include "dataplane/snapshot/snapshot.h"
#include "dataplane/snapshot/steering.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

// The configuration as values: see proto/sluice/v1/config.proto for what each setting means.
namespace sluice::model {

struct NeighbourInput {
  std::string address;
  std::string mac;
};
struct RouteInput {
  std::string prefix;
  std::string gateway;
};
struct PortInput {
  std::string name, device, twin, transit, buffer_size, steering, faces;
  std::uint32_t mtu = 0;
  std::uint32_t buffers = 0;
  std::uint32_t rx_descriptors = 0;
  std::uint32_t tx_descriptors = 0;
  std::vector<std::string> announce_on, addresses;
  std::vector<NeighbourInput> neighbours;
  std::vector<RouteInput> routes;
};
struct SnatInput {
  std::string address, port_range;
};
struct AddressPoolInput {
  std::string name;
  std::vector<std::string> addresses;
  std::optional<bool> auto_assign;
  bool avoid_buggy_ips = false;
  std::vector<std::string> providers, namespaces;
  std::map<std::string, std::string> service_selector;
};
struct TcpApiInput {
  std::string listen, certificate, key, client_authority;
  [[nodiscard]] bool empty() const {
    return listen.empty() && certificate.empty() && key.empty() && client_authority.empty();
  }
};
struct ConfigInput {
  std::string name, memory, idle_sleep, idle_wait, unknown_port, listen, log_level;
  std::vector<std::uint32_t> lcores;
  bool no_hugepages = false;
  std::uint32_t flows_ipv4 = 0, flows_ipv6 = 0, bindings = 0, service_ports = 0;
  std::uint32_t affinity_clients = 0, half_open_percent = 0;
  std::uint64_t maglev_seed = 0;
  std::vector<std::string> eal_arguments;
  std::vector<PortInput> ports;
  std::vector<SnatInput> snat;
  std::vector<AddressPoolInput> address_pools;
  std::vector<std::string> cluster_ip_ranges, external_ip_ranges;
  std::string node_port_range;
  std::vector<std::string> node_port_addresses, node_addresses;
  bool capture_node_addresses = false;
  std::optional<bool> node_ports_on_vips;
  std::string announce, role;
  bool return_path = false;
  std::vector<std::string> dns_servers;
  std::uint32_t announce_table = 0;
  TcpApiInput tcp;
  std::vector<ProviderInput> providers;
};

struct InterfaceAddress {
  IpAddress address;
  std::uint8_t prefix_length = 0;
};
struct StaticNeighbour {
  IpAddress address;
  MacAddress mac{};
};
struct StaticRoute {
  IpPrefix prefix;
  IpAddress gateway;
};

struct PortConfig {
  std::string name;
  std::string device;
  std::uint16_t mtu = 1500;
  bool twin = true;
  bool transit_to_kernel = false;
  std::uint16_t rx_descriptors = 1024;
  std::uint16_t tx_descriptors = 1024;
  std::vector<IpPrefix> announce_on;
  std::vector<InterfaceAddress> addresses;
  std::vector<StaticNeighbour> neighbours;
  std::vector<StaticRoute> routes;
  std::uint16_t vlan = 0;          // "wan0.100" without a device: VLAN 100 of the port wan0
  std::uint8_t parent = 0;         // index of that port, which comes before
  std::uint32_t buffers = 0;       // 0: what its queues need
  std::uint16_t buffer_bytes = 0;  // of a packet; 0: what its MTU needs
  Steering steering = Steering::kAuto;
  Faces faces = Faces::kBoth;
};

// How the network learns where services' addresses are.
enum class Announce : std::uint8_t { kNone, kL2, kRoutes };

struct Config {
  std::string name;
  std::vector<unsigned> lcores;
  std::uint64_t memory_bytes = 512ULL << 20U;
  bool hugepages = true;
  std::uint32_t idle_sleep_us = 0;
  IdleWait idle_wait = IdleWait::kAuto;
  std::uint32_t flows_ipv4 = 262'144;
  std::uint32_t flows_ipv6 = 65'536;
  std::uint32_t bindings = 65'536;
  std::uint32_t service_ports = 16'384;
  std::uint32_t affinity_clients = 65'536;
  std::uint32_t half_open_percent = 25;
  std::uint64_t maglev_seed = 0;
  bool refuse_unknown_ports = true;
  std::vector<std::string> eal_arguments;
  std::vector<PortConfig> ports;
  std::vector<SnatAddress> snat;
  std::vector<bool> snat_range_given;  // by index of snat
  AddressGrants grants;
  std::vector<ProviderTerms> providers;
  NodePorts node_ports;
  Announce announce = Announce::kL2;
  std::uint32_t announce_table = 5'533;
  bool standby = false;  // at the start
  bool return_path = false;
  std::vector<std::string> dns_servers;  // "192.0.2.53:53", "[2001:db8::53]:53"
  std::string socket_path;
  TcpApiInput tcp;  // empty: none
  std::string log_level;
};

// Every fault with its path. `cpus`: how many this machine has, for the default lcore.
Result<Config> validate(const ConfigInput& input, unsigned cpus);

// The addresses among it; what validate() does of it once the SNAT addresses are known.
AddressGrants validate_grants(const ConfigInput& input, const std::vector<SnatAddress>& snat,
                              Faults& faults);

// Faults a configuration has only beside this host: a SNAT address that the host has too needs a
// port range of its own, outside the host's ephemeral ports [ephemeral_begin, ephemeral_end) and
// the node ports.
std::optional<Fault> check_snat_dedicated(const Config& config,
                                          const std::vector<IpAddress>& host_addresses,
                                          std::uint32_t ephemeral_begin,
                                          std::uint32_t ephemeral_end);

// "1024-65535" as [1024, 65536); nothing for anything else, port 0 included.
std::optional<std::pair<std::uint32_t, std::uint32_t>> parse_port_range(const std::string& text);
// "120s", "100us", "2h4m"; nothing for anything else. Microseconds.
std::optional<std::uint64_t> parse_duration_us(const std::string& text);
// The shortest text that parse_duration_us reads as this again: "2h4m", "1500ms".
std::string duration_text(std::uint64_t milliseconds);
// "512MiB", "1GiB", "64KiB", "4096"; nothing for anything else. Bytes.
std::optional<std::uint64_t> parse_size(const std::string& text);

}  // namespace sluice::model
