// SPDX-License-Identifier: Apache-2.0
#include "controlplane/model/config.h"

#include "controlplane/model/validate.h"
#include "dataplane/snapshot/limits.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <set>

namespace sluice::model {
namespace {

template <typename Value, std::size_t N>
using Words = std::array<std::pair<std::string_view, Value>, N>;
constexpr Words<Steering, 5> kSteerings{{{"", Steering::kAuto},
                                         {"auto", Steering::kAuto},
                                         {"inverse_rss", Steering::kInverseRss},
                                         {"rte_flow", Steering::kRteFlow},
                                         {"handoff", Steering::kHandoff}}};
constexpr Words<IdleWait, 5> kIdleWaits{{{"", IdleWait::kAuto},
                                         {"auto", IdleWait::kAuto},
                                         {"sleep", IdleWait::kSleep},
                                         {"pause", IdleWait::kPause},
                                         {"monitor", IdleWait::kMonitor}}};
constexpr Words<Faces, 4> kFaces{{{"", Faces::kBoth},
                                  {"both", Faces::kBoth},
                                  {"clients", Faces::kClients},
                                  {"backends", Faces::kBackends}}};

template <typename Value, std::size_t N>
Value chosen(const std::string& word, const Words<Value, N>& words, const std::string& path,
             Faults& faults) {
  std::string known;
  for (const auto& [name, value] : words) {
    if (name == word) {
      return value;
    }
    known += (known.empty() ? "" : ", ") + std::string(name);
  }
  faults.add(path, "'" + word + "' is unknown; use one of " + known);
  return words[0].second;
}

constexpr std::uint64_t kDefaultMaglevSeed = 0x736c'7569'6365'0001ULL;
constexpr std::uint64_t kIdleSleepMaxUs = 100;

std::uint32_t bounded(std::uint32_t given, std::uint32_t otherwise, std::uint32_t low,
                      std::uint32_t high, const std::string& path, Faults& faults) {
  if (given == 0) {
    return otherwise;
  }
  if (given < low || given > high) {
    faults.add(path, std::to_string(given) + " is out of range; use " + std::to_string(low) +
                         " to " + std::to_string(high));
  }
  return given;
}

std::uint16_t descriptors(std::uint32_t given, const std::string& path, Faults& faults) {
  const std::uint32_t value = bounded(given, 1024, 64, 32'768, path, faults);
  if (!std::has_single_bit(value)) {
    faults.add(path, std::to_string(value) + " is not a power of two; use 512 or 1024");
  }
  return static_cast<std::uint16_t>(value);
}

void check_idle(const ConfigInput& input, Config& config, Faults& faults) {
  const auto sleep = parse_duration_us(input.idle_sleep.empty() ? "0s" : input.idle_sleep);
  if (!sleep || *sleep > kIdleSleepMaxUs) {
    faults.add("dataplane.idleSleep",
               "'" + input.idle_sleep + "' is not a duration of at most 100us; write 100us or 0s");
  }
  config.idle_sleep_us = static_cast<std::uint32_t>(sleep.value_or(0));
  config.idle_wait = chosen(input.idle_wait, kIdleWaits, "dataplane.idleWait", faults);
  if (!input.idle_wait.empty() && sleep == 0U) {
    faults.add("dataplane.idleWait",
               "an lcore never waits without dataplane.idleSleep; set that, or take this out");
  }
}

void check_dataplane(const ConfigInput& input, unsigned cpus, Config& config, Faults& faults) {
  config.lcores.assign(input.lcores.begin(), input.lcores.end());
  if (config.lcores.empty()) {
    config.lcores = {cpus > 1 ? 1U : 0U};
  }
  if (config.lcores.size() > kLcoresMax) {
    faults.add("dataplane.lcores", std::to_string(config.lcores.size()) +
                                       " lcores are named; use at most " +
                                       std::to_string(kLcoresMax));
  }
  std::set<unsigned> named;
  for (std::size_t i = 0; i < config.lcores.size(); ++i) {
    if (!named.insert(config.lcores[i]).second) {
      faults.add("dataplane.lcores[" + std::to_string(i) + "]",
                 "CPU " + std::to_string(config.lcores[i]) + " is named twice; remove one");
    }
  }
  config.hugepages = !input.no_hugepages;
  const auto memory = parse_size(input.memory.empty() ? "512MiB" : input.memory);
  if (!memory || *memory < (64ULL << 20U)) {
    faults.add("dataplane.memory",
               "'" + input.memory + "' is not a size of at least 64MiB; write it like 512MiB");
  }
  config.memory_bytes = memory.value_or(0);
  check_idle(input, config, faults);
  config.flows_ipv4 =
      bounded(input.flows_ipv4, 262'144, 64, 100'000'000, "dataplane.flowsIpv4", faults);
  config.flows_ipv6 =
      bounded(input.flows_ipv6, 65'536, 64, 100'000'000, "dataplane.flowsIpv6", faults);
  config.bindings =
      bounded(input.bindings, 65'536, 16, kBindingsMax - 1, "dataplane.bindings", faults);
  config.service_ports =
      bounded(input.service_ports, 16'384, 16, kServicePortsMax, "dataplane.servicePorts", faults);
  config.affinity_clients =
      bounded(input.affinity_clients, 65'536, 64, 100'000'000, "dataplane.affinityClients", faults);
  config.half_open_percent =
      bounded(input.half_open_percent, 25, 1, 50, "dataplane.halfOpenPercent", faults);
  config.maglev_seed = input.maglev_seed == 0 ? kDefaultMaglevSeed : input.maglev_seed;
  config.eal_arguments = input.eal_arguments;
  if (!input.unknown_port.empty() && input.unknown_port != "refuse" &&
      input.unknown_port != "drop") {
    faults.add("dataplane.unknownPort",
               "'" + input.unknown_port + "' is unknown; use 'refuse' or 'drop'");
  }
  config.refuse_unknown_ports = input.unknown_port != "drop";
}

std::optional<InterfaceAddress> parse_interface_address(const std::string& text) {
  const std::size_t slash = text.find('/');
  const auto address = parse_ip(text.substr(0, slash));
  if (!address || slash == std::string::npos) {
    return std::nullopt;
  }
  unsigned length = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data() + slash + 1, end, length);
  if (error != std::errc{} || stop != end || length > address->bits()) {
    return std::nullopt;
  }
  return InterfaceAddress{*address, static_cast<std::uint8_t>(length)};
}

void check_static(const PortInput& input, const std::string& path, PortConfig& port,
                  Faults& faults) {
  if (port.twin && !(input.addresses.empty() && input.neighbours.empty() && input.routes.empty())) {
    faults.add(path, "addresses, neighbours and routes are the kernel's on a port with a twin; " +
                         std::string("use ip(8) there, or set twin: none"));
    return;
  }
  for (std::size_t i = 0; i < input.addresses.size(); ++i) {
    const auto address = parse_interface_address(input.addresses[i]);
    if (!address) {
      faults.add(path + ".addresses[" + std::to_string(i) + "]",
                 "'" + input.addresses[i] + "' is not ADDRESS/LENGTH");
      continue;
    }
    port.addresses.push_back(*address);
  }
  for (std::size_t i = 0; i < input.neighbours.size(); ++i) {
    const auto address = parse_ip(input.neighbours[i].address);
    const auto mac = parse_mac(input.neighbours[i].mac);
    if (!address || !mac) {
      faults.add(path + ".neighbours[" + std::to_string(i) + "]",
                 "an IP address and a MAC like 02:00:00:00:00:01 are needed");
      continue;
    }
    port.neighbours.push_back({*address, *mac});
  }
  for (std::size_t i = 0; i < input.routes.size(); ++i) {
    const auto prefix = parse_prefix(input.routes[i].prefix);
    const auto gateway = parse_ip(input.routes[i].gateway);
    if (!prefix || !gateway || prefix->address.family != gateway->family) {
      faults.add(path + ".routes[" + std::to_string(i) + "]",
                 "a prefix without host bits and a gateway of its family are needed");
      continue;
    }
    port.routes.push_back({*prefix, *gateway});
  }
}

// As the kernel has it; '%' would have it number the interface.
bool is_interface_name(const std::string& name) {
  return !name.empty() && name.size() <= 15 && name != "." && name != ".." &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return c > ' ' && c < '\x7f' && c != '/' && c != ':' && c != '%';
         });
}

// "0000:03:00.0", "03:00.0", or a driver of DPDK's and a number: "net_af_xdp0,iface=eth1".
bool is_device(const std::string& device) {
  const std::string_view name = std::string_view(device).substr(0, device.find(','));
  const auto made_of = [&](std::string_view characters) {
    return name.find_first_not_of(characters) == std::string_view::npos;
  };
  if (name.starts_with("net_") || name.starts_with("eth_")) {
    return made_of("abcdefghijklmnopqrstuvwxyz0123456789_");
  }
  return name.find(':') != std::string_view::npos && name.find('.') != std::string_view::npos &&
         made_of("0123456789abcdefABCDEF:.");
}

// A port without a device whose name is another's and a VID, "wan0.100", is that VLAN of it; the
// other comes before it in the file.
void check_vlan(const PortInput& input, const std::vector<PortConfig>& before,
                const std::string& path, PortConfig& port, Faults& faults) {
  const std::size_t dot = input.name.rfind('.');
  if (!input.device.empty() || dot == std::string::npos) {
    return;
  }
  const std::string digits = input.name.substr(dot + 1);
  const char* end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, port.vlan);
  const auto parent = std::find_if(before.begin(), before.end(), [&](const PortConfig& other) {
    return other.name == input.name.substr(0, dot) && other.vlan == 0;
  });
  if (error != std::errc{} || stop != end || digits.front() == '0' || port.vlan > 4094 ||
      parent == before.end()) {
    faults.add(path + ".name", "'" + input.name + "' has no device and is no VLAN; write the " +
                                   "name of a port above, a dot, and 1 to 4094, or name a device");
    port.vlan = 1;
    return;
  }
  port.parent = static_cast<std::uint8_t>(parent - before.begin());
  if (input.rx_descriptors != 0 || input.tx_descriptors != 0) {
    faults.add(path, "rxDescriptors and txDescriptors are the device's; give them to '" +
                         parent->name + "'");
  }
  if (input.buffers != 0 || !input.buffer_size.empty()) {
    faults.add(path,
               "buffers and bufferSize are the device's; give them to '" + parent->name + "'");
  }
  port.mtu = std::min(port.mtu, parent->mtu);
  if (input.mtu > parent->mtu) {
    faults.add(path + ".mtu",
               std::to_string(input.mtu) + " is more than that of '" + parent->name + "'");
  }
}

void check_buffers(const PortInput& input, const std::string& path, PortConfig& port,
                   Faults& faults) {
  if (input.buffers != 0) {
    port.buffers = bounded(input.buffers, 0, 1'024, 100'000'000, path + ".buffers", faults);
  }
  if (input.buffer_size.empty()) {
    return;
  }
  const auto size = parse_size(input.buffer_size);
  if (!size || *size < 128 || *size > (16U << 10U)) {
    faults.add(path + ".bufferSize",
               "'" + input.buffer_size + "' is not a size of 128 to 16KiB; write it like 2KiB");
    return;
  }
  port.buffer_bytes = static_cast<std::uint16_t>(*size);
}

// They are the device's, which a VLAN shares with its parent.
void check_steering(const PortInput& input, const std::string& path, PortConfig& port,
                    Faults& faults) {
  if (port.vlan != 0 && !(input.steering.empty() && input.faces.empty())) {
    faults.add(path + (input.steering.empty() ? ".faces" : ".steering"),
               "a VLAN is steered with its device; say it of the port it is a VLAN of");
    return;
  }
  port.steering = chosen(input.steering, kSteerings, path + ".steering", faults);
  port.faces = chosen(input.faces, kFaces, path + ".faces", faults);
}

// One owner of a flow, by a hash or by bits of a port, and never both.
void check_one_method(const Config& config, Faults& faults) {
  const auto with = [&](Steering method) {
    return std::find_if(config.ports.begin(), config.ports.end(),
                        [&](const PortConfig& port) { return port.steering == method; });
  };
  const auto rules = with(Steering::kRteFlow);
  if (with(Steering::kInverseRss) != config.ports.end() && rules != config.ports.end()) {
    faults.add("ports[" + std::to_string(rules - config.ports.begin()) + "].steering",
               "'rte_flow' and another port's 'inverse_rss' would give a flow two owners; use one "
               "of them, with 'handoff' or 'auto' where a device cannot");
  }
}

PortConfig check_port(const PortInput& input, const std::vector<PortConfig>& before,
                      const std::string& path, Faults& faults) {
  PortConfig port;
  port.name = input.name;
  port.device = input.device;
  check_vlan(input, before, path, port, faults);
  if (!is_interface_name(input.name)) {
    faults.add(path + ".name", "'" + input.name + "' is not an interface name; use 1 to 15 " +
                                   "characters without '/', ':', '%' and spaces");
  }
  if (port.vlan != 0) {
    // The device is the parent's.
  } else if (input.device.empty()) {
    faults.add(path + ".device", "no device is named; give a PCI address or a DPDK virtual device");
  } else if (!is_device(input.device)) {
    faults.add(path + ".device", "'" + input.device + "' is neither a PCI address like " +
                                     "0000:03:00.0 nor a DPDK virtual device like " +
                                     "net_af_packet0,iface=eth1");
  }
  if (!input.twin.empty() && input.twin != "tap" && input.twin != "none") {
    faults.add(path + ".twin", "'" + input.twin + "' is unknown; use 'tap' or 'none'");
  }
  port.twin = input.twin != "none";
  if (!input.transit.empty() && input.transit != "drop" && input.transit != "kernel") {
    faults.add(path + ".transit", "'" + input.transit + "' is unknown; use 'drop' or 'kernel'");
  }
  port.transit_to_kernel = input.transit == "kernel";
  if (port.transit_to_kernel && !port.twin) {
    faults.add(path + ".transit", "'kernel' needs a twin; set twin: tap");
  }
  port.mtu =
      static_cast<std::uint16_t>(bounded(input.mtu, port.mtu, 1280, 9000, path + ".mtu", faults));
  port.rx_descriptors = descriptors(input.rx_descriptors, path + ".rxDescriptors", faults);
  port.tx_descriptors = descriptors(input.tx_descriptors, path + ".txDescriptors", faults);
  check_buffers(input, path, port, faults);
  for (std::size_t i = 0; i < input.announce_on.size(); ++i) {
    const auto prefix = parse_prefix(input.announce_on[i]);
    if (!prefix) {
      faults.add(path + ".announceOn[" + std::to_string(i) + "]",
                 "'" + input.announce_on[i] + "' is not a prefix without host bits");
      continue;
    }
    port.announce_on.push_back(*prefix);
  }
  check_steering(input, path, port, faults);
  check_static(input, path, port, faults);
  return port;
}

void check_ports(const ConfigInput& input, Config& config, Faults& faults) {
  if (input.ports.empty() || input.ports.size() > kPortsMax) {
    faults.add("ports",
               std::to_string(input.ports.size()) + " ports are given; 1 to 16 are needed");
  }
  std::set<std::string> names;
  std::set<std::string> devices;
  for (std::size_t i = 0; i < input.ports.size(); ++i) {
    const std::string path = "ports[" + std::to_string(i) + "]";
    config.ports.push_back(check_port(input.ports[i], config.ports, path, faults));
    if (!names.insert(input.ports[i].name).second) {
      faults.add(path + ".name", "'" + input.ports[i].name + "' names two ports");
    }
    const std::string& device = input.ports[i].device;
    if (!device.empty() && !devices.insert(device.substr(0, device.find(','))).second) {
      faults.add(path + ".device", "'" + device +
                                       "' is given twice; number virtual devices, as in " +
                                       "net_af_xdp0 and net_af_xdp1");
    }
  }
  check_one_method(config, faults);
}

// Of a port without a twin; the kernel's own are seen at start.
bool is_static(const IpAddress& address, const Config& config) {
  return std::any_of(config.ports.begin(), config.ports.end(), [&](const PortConfig& port) {
    return std::any_of(port.addresses.begin(), port.addresses.end(),
                       [&](const auto& own) { return own.address == address; });
  });
}

void check_snat(const ConfigInput& input, Config& config, Faults& faults) {
  if (input.snat.empty() || input.snat.size() > kSnatAddressesMax) {
    faults.add("snat",
               std::to_string(input.snat.size()) + " addresses are given; 1 to 256 are needed");
  }
  std::set<IpAddress> taken;
  for (std::size_t i = 0; i < input.snat.size(); ++i) {
    const std::string path = "snat[" + std::to_string(i) + "]";
    const auto address = parse_ip(input.snat[i].address);
    const std::string& text = input.snat[i].port_range;
    const auto range = parse_port_range(text.empty() ? "1024-65535" : text);
    if (!address || !is_usable_unicast(*address)) {
      faults.add(path + ".address", "'" + input.snat[i].address + "' is not a unicast IP address");
    } else if (!taken.insert(*address).second) {
      faults.add(path + ".address", "'" + input.snat[i].address + "' is given twice");
    } else if (is_static(*address, config)) {
      faults.add(path + ".address", "'" + input.snat[i].address + "' is among the addresses of a " +
                                        "port; use one that is nobody's");
    }
    if (!range) {
      faults.add(path + ".portRange", "'" + text + "' is not a range; write it like 1024-65535");
    }
    if (address && range) {
      config.snat.push_back({*address, range->first, range->second});
      config.snat_range_given.push_back(!text.empty());
    }
  }
}

// "192.0.2.1:5533", "[2001:db8::1]:5533", "0.0.0.0:5533".
bool is_listening_address(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos) {
    return false;
  }
  std::string host = text.substr(0, colon);
  const bool is_bracketed = host.starts_with('[') && host.ends_with(']');
  host = is_bracketed ? host.substr(1, host.size() - 2) : host;
  const auto address = parse_ip(host);
  unsigned port = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data() + colon + 1, end, port);
  return address && address->is_ipv4() != is_bracketed && error == std::errc{} && stop == end &&
         port >= 1 && port <= 65'535;
}

void check_tcp_api(const TcpApiInput& tcp, Faults& faults) {
  if (tcp.empty()) {
    return;
  }
  if (!is_listening_address(tcp.listen)) {
    faults.add("api.tcp.listen",
               "'" + tcp.listen + "' is not ADDRESS:PORT; write it like 192.0.2.1:5533");
  }
  for (const auto& [field, file] :
       {std::pair("api.tcp.certificate", &tcp.certificate), std::pair("api.tcp.key", &tcp.key),
        std::pair("api.tcp.clientAuthority", &tcp.client_authority)}) {
    if (file->empty() || file->front() != '/') {
      faults.add(field, "'" + *file + "' is not an absolute path; name a PEM file, as TCP is " +
                            "served with certificates on both sides only");
    }
  }
}

void check_api(const ConfigInput& input, Config& config, Faults& faults) {
  const std::string listen = input.listen.empty() ? "unix:/run/sluice/sluice.sock" : input.listen;
  check_tcp_api(input.tcp, faults);
  config.tcp = input.tcp;
  if (listen.rfind("unix:", 0) != 0) {
    faults.add("api.listen", "'" + listen + "' is no Unix socket; use unix:PATH, and api.tcp to " +
                                 "be reached over TCP");
    return;
  }
  config.socket_path = listen.substr(5);
  if (config.socket_path.empty() || config.socket_path[0] != '/' ||
      config.socket_path.size() > 107) {
    faults.add("api.listen", "'" + listen + "' is not a socket; use unix: and an absolute path " +
                                 "of at most 107 characters");
  }
}

// A node's address is never ours.
void check_nodes(const ConfigInput& input, const Config& config, Faults& faults) {
  for (std::size_t i = 0; i < input.node_addresses.size(); ++i) {
    const auto node = parse_ip(input.node_addresses[i]);
    const auto is_node = [&](const SnatAddress& snat) { return snat.address == node; };
    if (node && (is_static(*node, config) ||
                 std::any_of(config.snat.begin(), config.snat.end(), is_node))) {
      faults.add("nodeAddresses[" + std::to_string(i) + "]",
                 "'" + input.node_addresses[i] + "' is an address of this gateway; a node has " +
                     "one of its own");
    }
  }
}

void check_announcing(const ConfigInput& input, Config& config, Faults& faults) {
  config.announce = input.announce == "none"     ? Announce::kNone
                    : input.announce == "routes" ? Announce::kRoutes
                                                 : Announce::kL2;
  if (config.announce == Announce::kL2 && !input.announce.empty() && input.announce != "l2") {
    faults.add("announce", "'" + input.announce + "' is unknown; use l2, routes or none");
  }
  config.standby = input.role == "standby";
  if (!config.standby && !input.role.empty() && input.role != "active") {
    faults.add("role", "'" + input.role + "' is unknown; use active or standby");
  }
  constexpr std::uint32_t kOwnFirst = 253;  // RT_TABLE_DEFAULT, _MAIN and _LOCAL
  constexpr std::uint32_t kOwnLast = 255;
  if (input.announce_table >= kOwnFirst && input.announce_table <= kOwnLast) {
    faults.add("announceTable", std::to_string(input.announce_table) +
                                    " is a table of the kernel's own; use another, such as 5533");
  } else if (input.announce_table != 0 && config.announce != Announce::kRoutes) {
    faults.add("announceTable",
               "there are routes with announce: routes alone; set that, or leave it out");
  } else if (input.announce_table != 0) {
    config.announce_table = input.announce_table;
  }
}

void check_dns_servers(const ConfigInput& input, Config& config, Faults& faults) {
  for (std::size_t i = 0; i < input.dns_servers.size(); ++i) {
    const std::string& given = input.dns_servers[i];
    if (parse_ip(given)) {
      config.dns_servers.push_back(sluice::to_string(*parse_ip(given), 53));
      continue;
    }
    const std::size_t colon = given.rfind(':');
    std::string host = given.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) {
      host = host.substr(1, host.size() - 2);
    }
    const auto address = parse_ip(host);
    const auto port = colon == std::string::npos
                          ? std::nullopt
                          : parse_port_range(given.substr(colon + 1) + "-65535");
    if (address && port) {
      config.dns_servers.push_back(
          sluice::to_string(*address, static_cast<std::uint16_t>(port->first)));
    } else {
      faults.add("dnsServers[" + std::to_string(i) + "]",
                 "'" + given + "' is not ADDRESS or ADDRESS:PORT; write it like 192.0.2.53 or " +
                     "[2001:db8::53]:5353");
    }
  }
}

}  // namespace

std::optional<std::pair<std::uint32_t, std::uint32_t>> parse_port_range(const std::string& text) {
  const std::size_t dash = text.find('-');
  if (dash == std::string::npos) {
    return std::nullopt;
  }
  std::uint32_t first = 0;
  std::uint32_t last = 0;
  const char* end = text.data() + text.size();
  const auto a = std::from_chars(text.data(), text.data() + dash, first);
  const auto b = std::from_chars(text.data() + dash + 1, end, last);
  if (a.ec != std::errc{} || a.ptr != text.data() + dash || b.ec != std::errc{} || b.ptr != end ||
      first == 0 || last > 65'535 || first > last) {
    return std::nullopt;
  }
  return std::pair{first, last + 1};
}

Result<Config> validate(const ConfigInput& input, unsigned cpus) {
  Faults faults;
  Config config;
  config.name = input.name;
  check_dataplane(input, cpus, config, faults);
  check_ports(input, config, faults);
  check_snat(input, config, faults);
  config.grants = validate_grants(input, config.snat, faults);
  config.providers = validate_providers(input.providers, faults);
  config.node_ports = validate_node_ports(input, faults);
  check_nodes(input, config, faults);
  check_announcing(input, config, faults);
  config.return_path = input.return_path;
  check_dns_servers(input, config, faults);
  check_api(input, config, faults);
  static const std::set<std::string> kLevels{"error", "warning", "info", "debug"};
  config.log_level = input.log_level.empty() ? "info" : input.log_level;
  if (!kLevels.contains(config.log_level)) {
    faults.add("log.level",
               "'" + config.log_level + "' is unknown; use error, warning, info or debug");
  }
  if (!faults.empty()) {
    return faults.to_error();
  }
  return config;
}

std::optional<Fault> check_snat_dedicated(const Config& config,
                                          const std::vector<IpAddress>& host_addresses,
                                          std::uint32_t ephemeral_begin,
                                          std::uint32_t ephemeral_end) {
  for (std::size_t i = 0; i < config.snat.size(); ++i) {
    const SnatAddress& snat = config.snat[i];
    const bool shared = std::find(host_addresses.begin(), host_addresses.end(), snat.address) !=
                        host_addresses.end();
    const auto apart = [&](std::uint32_t begin, std::uint32_t end) {
      return snat.port_end <= begin || snat.port_begin >= end;
    };
    const NodePortRange& nodes = config.node_ports.range;
    const bool disjoint = apart(ephemeral_begin, ephemeral_end) && apart(nodes.begin, nodes.end);
    if (shared && !(config.snat_range_given[i] && disjoint)) {
      return Fault{"snat[" + std::to_string(i) + "].address",
                   sluice::to_string(snat.address) +
                       " is an address of this host too; use one that is nobody's, or give a "
                       "portRange outside ip_local_port_range (" +
                       std::to_string(ephemeral_begin) + "-" + std::to_string(ephemeral_end - 1) +
                       ") and nodePortRange (" + to_string(nodes) + ")"};
    }
  }
  return std::nullopt;
}

}  // namespace sluice::model
