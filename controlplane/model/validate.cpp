// SPDX-License-Identifier: Apache-2.0
#include "controlplane/model/validate.h"

#include "controlplane/model/allocate.h"
#include "dataplane/net/headers.h"
#include "dataplane/snapshot/limits.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <tuple>

namespace sluice::model {
namespace {

constexpr std::size_t kPortsPerServiceMax = 100;
constexpr std::int64_t kWeightMax = 100;
constexpr std::size_t kReasonBytesMax = 1'024;

std::string at(const std::string& path, const char* field, std::size_t index) {
  return path + "." + field + "[" + std::to_string(index) + "]";
}

std::uint16_t check_port(std::int64_t port, bool zero_allowed, const std::string& path,
                         Faults& faults) {
  if (port < (zero_allowed ? 0 : 1) || port > 65'535) {
    faults.add(path, std::to_string(port) + " is not a port; use 1 to 65535");
    return 0;
  }
  return static_cast<std::uint16_t>(port);
}

void check_name(const std::string& name, const std::string& path, Faults& faults) {
  if (!is_label(name)) {
    faults.add(path, "'" + name + "' is not a name; use 1 to 63 of a-z, 0-9 and '-', beginning " +
                         "and ending with a letter or digit");
  }
}

// A value that has one meaning today, besides being empty, and others later.
void check_word(const std::string& word, const std::string& only,
                const std::vector<std::string>& later, const std::string& path, Faults& faults) {
  if (word.empty() || word == only) {
    return;
  }
  if (std::find(later.begin(), later.end(), word) != later.end()) {
    faults.unimplemented.push_back({path, "'" + word + "' is not built yet; use '" + only + "'"});
  } else {
    faults.add(path, "'" + word + "' is unknown; use '" + only + "'");
  }
}

void check_annotations(const ServiceInput& input, const std::string& path, Faults& faults) {
  for (const auto& [key, value] : input.annotations) {
    if (key.rfind("sluice.dev/", 0) != 0) {
      continue;
    }
    const std::string at = path + ".metadata.annotations[" + key + "]";
    if (key == kExposeExternalNameAnnotation) {
      if (value != "true" && value != "false") {
        faults.add(at, "'" + value + "' is unknown; use 'true' or 'false'");
      }
    } else if (key != kAddressPoolAnnotation && key != kSharedIpAnnotation) {
      faults.add(at, "no such annotation; keys under sluice.dev/ have a meaning or are refused");
    } else if (value.empty()) {
      faults.add(at, "it is empty; give it a value, or leave it out");
    }
  }
}

void check_policy(const std::string& word, const std::string& path, Faults& faults) {
  if (!word.empty() && word != "Cluster" && word != "Local") {
    faults.add(path, "'" + word + "' is unknown; use 'Cluster' or 'Local'");
  }
}

void check_words(const ServiceInput& input, const std::string& spec, Faults& faults) {
  static const std::set<std::string> kTypes{"", "ClusterIP", "NodePort", "LoadBalancer",
                                            "ExternalName"};
  if (!kTypes.contains(input.type)) {
    faults.add(spec + ".type", "'" + input.type + "' is unknown; use 'ClusterIP', 'NodePort', " +
                                   "'LoadBalancer' or 'ExternalName'");
  }
  check_policy(input.external_traffic_policy, spec + ".externalTrafficPolicy", faults);
  check_policy(input.internal_traffic_policy, spec + ".internalTrafficPolicy", faults);
  if (input.mode != "DNAT") {
    check_word(input.mode, "FULL_NAT", {"TUNNEL"}, spec + ".forwarding.mode", faults);
  }
  if (!input.on_endpoint_removal.empty() && input.on_endpoint_removal != "keep" &&
      input.on_endpoint_removal != "reset") {
    faults.add(spec + ".forwarding.onEndpointRemoval",
               "'" + input.on_endpoint_removal + "' is unknown; use 'keep' or 'reset'");
  }
  if (!input.no_endpoints.empty() && input.no_endpoints != "drop" &&
      input.no_endpoints != "refuse") {
    faults.add(spec + ".forwarding.noEndpoints",
               "'" + input.no_endpoints + "' is unknown; use 'drop' or 'refuse'");
  }
  if (!input.delivery.empty() && input.delivery != "endpoint" && input.delivery != "node") {
    faults.add(spec + ".forwarding.delivery",
               "'" + input.delivery + "' is unknown; use 'endpoint' or 'node'");
  }
  if (input.delivery_reason.size() > kReasonBytesMax) {
    faults.add(spec + ".forwarding.deliveryReason",
               "more than " + std::to_string(kReasonBytesMax) + " bytes; shorten it");
  }
  if (!input.network.empty() && input.network != "default") {
    faults.unimplemented.push_back(
        {spec + ".forwarding.network", "networks other than 'default' are not built yet"});
  }
}

// 0 for none.
std::uint8_t check_protocol(const std::string& protocol, const std::string& path, Faults& faults) {
  if (protocol.empty() || protocol == "TCP") {
    return kProtocolTcp;
  }
  if (protocol == "UDP") {
    return kProtocolUdp;
  }
  if (protocol == "SCTP") {
    faults.unimplemented.push_back({path, "'SCTP' is not built yet; use 'TCP' or 'UDP'"});
  } else {
    faults.add(path, "'" + protocol + "' is not a protocol; use 'TCP' or 'UDP'");
  }
  return 0;
}

// 0: none. Whether the gateway has it is not known here.
std::uint16_t check_node_port(const ServiceInput& input, const ServicePortInput& given,
                              const std::string& path, Faults& faults) {
  if (given.node_port != 0 && input.type != "NodePort" && input.type != "LoadBalancer") {
    faults.add(path,
               "a service of this type has no node ports; set type: NodePort, or leave it out");
    return 0;
  }
  return check_port(given.node_port, true, path, faults);
}

std::vector<ServicePortSpec> check_ports(const ServiceInput& input, const std::string& spec,
                                         Faults& faults) {
  if (input.ports.empty() || input.ports.size() > kPortsPerServiceMax) {
    faults.add(spec + ".ports",
               std::to_string(input.ports.size()) + " ports are given; a service has 1 to 100");
  }
  std::vector<ServicePortSpec> ports;
  if (input.ports.size() > kPortsPerServiceMax) {
    return ports;
  }
  std::set<std::pair<std::uint16_t, std::uint8_t>> taken;
  std::set<std::pair<std::uint16_t, std::uint8_t>> node_ports;
  std::set<std::string> names;
  for (std::size_t i = 0; i < input.ports.size(); ++i) {
    const ServicePortInput& given = input.ports[i];
    const std::string path = at(spec, "ports", i);
    ServicePortSpec port;
    port.name = given.name;
    port.app_protocol = given.app_protocol;
    port.protocol = check_protocol(given.protocol, path + ".protocol", faults);
    port.port = check_port(given.port, false, path + ".port", faults);
    port.target_port = check_port(given.target_port, true, path + ".targetPort", faults);
    port.target_port = port.target_port == 0 ? port.port : port.target_port;
    port.node_port = check_node_port(input, given, path + ".nodePort", faults);
    if (port.node_port != 0 && !node_ports.emplace(port.node_port, port.protocol).second) {
      faults.add(path + ".nodePort", "node port " + std::to_string(port.node_port) + "/" +
                                         name_of_protocol(port.protocol) +
                                         " is in this service already");
    }
    if (!given.name.empty() || input.ports.size() > 1) {
      check_name(given.name, path + ".name", faults);
    }
    if (!given.name.empty() && !names.insert(given.name).second) {
      faults.add(path + ".name", "'" + given.name + "' names two ports; names are distinct");
    }
    if (port.port != 0 && port.protocol != 0 && !taken.emplace(port.port, port.protocol).second) {
      faults.add(path + ".port", "duplicate frontend: port " + std::to_string(port.port) + "/" +
                                     name_of_protocol(port.protocol) +
                                     " is in this service already");
    }
    ports.push_back(std::move(port));
  }
  return ports;
}

// There may be 65,535 of them, so its text is made for faults only.
struct EndpointPath {
  const std::string& spec;
  std::size_t index;
  [[nodiscard]] std::string field(const char* name) const {
    return at(spec, "endpoints", index) + name;
  }
};

void check_endpoint_ports(const EndpointInput& given, const std::vector<ServicePortSpec>& ports,
                          const EndpointPath& path, Endpoint& endpoint, Faults& faults) {
  for (const auto& [name, port] : given.ports) {
    const std::string field = path.field(".ports[") + name + "]";
    const bool known = std::any_of(
        ports.begin(), ports.end(),
        [&, &wanted = name](const ServicePortSpec& spec) { return spec.name == wanted; });
    // Without any, the fault is in the ports.
    if (!known && !ports.empty()) {
      faults.add(field, "the service has no port of this name");
    }
    endpoint.ports[name] = check_port(port, true, field, faults);
  }
}

Endpoint check_endpoint(const EndpointInput& given, const std::vector<ServicePortSpec>& ports,
                        const EndpointPath& path, Faults& faults) {
  Endpoint endpoint;
  if (given.addresses.size() != 1) {
    faults.add(path.field(".addresses"), std::to_string(given.addresses.size()) +
                                             " addresses are given; an endpoint has exactly one");
  } else {
    std::string fault;
    const auto address = read_address(given.addresses[0], fault);
    if (!address) {
      faults.add(path.field(".addresses[0]"), fault);
    }
    endpoint.address = address.value_or(endpoint.address);
  }
  const std::int64_t weight = given.weight.value_or(1);
  if (weight < 1 || weight > kWeightMax) {
    faults.add(path.field(".weight"), std::to_string(weight) +
                                          " is out of range; use 1 to 100, or drain the endpoint "
                                          "with conditions.ready: false");
  }
  endpoint.weight = static_cast<std::uint16_t>(std::clamp<std::int64_t>(weight, 1, kWeightMax));
  if (!given.network.empty() && given.network != "default") {
    faults.unimplemented.push_back(
        {path.field(".network"), "networks other than 'default' are not built yet"});
  }
  check_endpoint_ports(given, ports, path, endpoint, faults);
  endpoint.conditions = given.conditions;
  endpoint.hostname = given.hostname;
  endpoint.node_name = given.node_name;
  endpoint.zone = given.zone;
  endpoint.labels.assign(given.labels.begin(), given.labels.end());
  return endpoint;
}

// Endpoints of a service port are distinct by where packets go.
class Targets {
 public:
  explicit Targets(const std::vector<ServicePortSpec>& ports) : ports_(ports) {}

  void add(const Endpoint& endpoint, const EndpointPath& path, Faults& faults) {
    for (std::size_t i = 0; i < ports_.size(); ++i) {
      const auto own = endpoint.ports.find(ports_[i].name);
      const std::uint16_t target =
          own == endpoint.ports.end() ? ports_[i].target_port : own->second;
      if (target != 0 && !taken_.emplace(i, endpoint.address, target).second) {
        faults.add(path.field(".addresses[0]"), "'" + sluice::to_string(endpoint.address, target) +
                                                    "' is given twice; remove one");
        return;
      }
    }
  }

 private:
  const std::vector<ServicePortSpec>& ports_;
  std::set<std::tuple<std::size_t, IpAddress, std::uint16_t>> taken_;
};

bool addresses_differ(const std::vector<Endpoint>& endpoints) {
  std::vector<IpAddress> addresses;
  addresses.reserve(endpoints.size());
  for (const Endpoint& endpoint : endpoints) {
    addresses.push_back(endpoint.address);
  }
  std::sort(addresses.begin(), addresses.end());
  return std::adjacent_find(addresses.begin(), addresses.end()) == addresses.end();
}

std::vector<Endpoint> check_endpoints(const ServiceInput& input,
                                      const std::vector<ServicePortSpec>& ports,
                                      const std::string& spec, Faults& faults) {
  std::vector<Endpoint> endpoints;
  if (input.endpoints.size() > kMaglevEndpointsMax) {
    faults.add(spec + ".endpoints", std::to_string(input.endpoints.size()) +
                                        " endpoints are given; a service has at most 65535");
    return endpoints;
  }
  endpoints.reserve(input.endpoints.size());
  std::vector<bool> sound;
  for (std::size_t i = 0; i < input.endpoints.size(); ++i) {
    const std::size_t before = faults.invalid.size();
    endpoints.push_back(check_endpoint(input.endpoints[i], ports, {spec, i}, faults));
    sound.push_back(faults.invalid.size() == before);
  }
  if (addresses_differ(endpoints)) {
    return endpoints;  // and so do their targets, whatever the ports are
  }
  Targets targets(ports);
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    if (sound[i]) {
      targets.add(endpoints[i], {spec, i}, faults);
    }
  }
  return endpoints;
}

}  // namespace

std::optional<IpAddress> read_address(const std::string& text, std::string& fault) {
  const auto address = parse_ip(text);
  if (!address) {
    fault = "'" + text + "' is not an IP address; write it like 203.0.113.10 or 2001:db8::10";
    return std::nullopt;
  }
  if (!is_usable_unicast(*address)) {
    fault = "'" + text + "' cannot be reached over a network; use a global or private unicast " +
            "address";
    return std::nullopt;
  }
  return address;
}

bool is_usable_unicast(const IpAddress& address) {
  if (address.is_unspecified() || address.is_loopback() || address.is_multicast() ||
      address.is_link_local()) {
    return false;
  }
  if (address.is_ipv4()) {
    const std::uint32_t first = address.v4().value.host() >> 24U;
    return first != 0 && first < 240;
  }
  // ::/96 and ::ffff:0:0/96 are IPv4 addresses in IPv6 clothes (RFC 4291 §2.5.5).
  const auto& bytes = address.bytes;
  const bool zeros =
      std::all_of(bytes.begin(), bytes.begin() + 10, [](std::uint8_t byte) { return byte == 0; });
  return !zeros || bytes[10] != bytes[11] || (bytes[10] != 0 && bytes[10] != 0xff);
}

std::string name_of_protocol(std::uint8_t protocol) {
  return protocol == kProtocolTcp ? "TCP" : protocol == kProtocolUdp ? "UDP" : "?";
}

std::string to_string(const FrontendKey& key) {
  return sluice::to_string(key.address, key.key.port) + "/" + name_of_protocol(key.key.protocol);
}

bool is_label(const std::string& text) {
  const auto alphanumeric = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return !text.empty() && text.size() <= 63 && alphanumeric(text.front()) &&
         alphanumeric(text.back()) &&
         std::all_of(text.begin(), text.end(), [&](char c) { return alphanumeric(c) || c == '-'; });
}

Service validate(const ServiceInput& input, const std::string& path, Faults& faults) {
  const std::string spec = path + ".spec";
  Service service;
  service.name = input.name;
  if (service.name.space.empty()) {
    service.name.space = "default";
  }
  check_name(service.name.name, path + ".metadata.name", faults);
  check_name(service.name.space, path + ".metadata.namespace", faults);
  check_annotations(input, path, faults);
  check_words(input, spec, faults);
  for (const std::string& field : input.later) {
    faults.unimplemented.push_back(
        {path + "." + field, "this field is not built yet; leave it out"});
  }
  service.labels = input.labels;
  service.annotations = input.annotations;
  service.mode = input.mode == "DNAT" ? ForwardingMode::kDnat : ForwardingMode::kFullNat;
  service.mode_left = input.mode.empty();
  service.choice = {input.selector, input.publish_not_ready};
  validate_addresses(input, spec, service, faults);
  service.options = validate_options(input, spec, faults);
  if (!has_vips(service) && !input.source_ranges.empty()) {
    faults.add(spec + ".loadBalancerSourceRanges",
               "only a LoadBalancer service has these, as in Kubernetes; set type: LoadBalancer, "
               "or use forwarding.denySourceRanges");
  }
  validate_reach(input, path, service, faults);
  service.ports = check_ports(input, spec, faults);
  service.refuses = input.no_endpoints == "refuse";
  service.delivery = input.delivery;
  service.delivery_reason = input.delivery_reason;
  service.endpoints = check_endpoints(input, service.ports, spec, faults);
  return service;
}

}  // namespace sluice::model
