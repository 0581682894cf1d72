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
constexpr std::size_t kVipsPerServiceMax = 100;
constexpr std::int64_t kWeightMax = 100;

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
    if (key != kAddressPoolAnnotation && key != kSharedIpAnnotation) {
      faults.add(at, "no such annotation; keys under sluice.dev/ have a meaning or are refused");
    } else if (value.empty()) {
      faults.add(at, "it is empty; give it a value, or leave it out");
    }
  }
}

void check_words(const ServiceInput& input, const std::string& spec, Faults& faults) {
  if (input.type != "LoadBalancer") {
    check_word(input.type, "ClusterIP", {"NodePort", "ExternalName"}, spec + ".type", faults);
  }
  check_word(input.external_traffic_policy, "Cluster", {"Local"}, spec + ".externalTrafficPolicy",
             faults);
  check_word(input.internal_traffic_policy, "Cluster", {"Local"}, spec + ".internalTrafficPolicy",
             faults);
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
  if (!input.network.empty() && input.network != "default") {
    faults.unimplemented.push_back(
        {spec + ".forwarding.network", "networks other than 'default' are not built yet"});
  }
}

// `path`: makes the field's path, which only a fault needs.
template <typename Path>
std::optional<IpAddress> check_address(const std::string& text, Path&& path, Faults& faults) {
  const auto address = parse_ip(text);
  if (!address) {
    faults.add(path(), "'" + text + "' is not an IP address; write it like 203.0.113.10 or " +
                           "2001:db8::10");
    return std::nullopt;
  }
  if (!is_usable_unicast(*address)) {
    faults.add(path(), "'" + text + "' cannot be reached over a network; use a global or private " +
                           "unicast address");
    return std::nullopt;
  }
  return address;
}

void check_vips(const ServiceInput& input, const std::string& spec, Service& service,
                Faults& faults) {
  std::vector<std::pair<std::string, std::string>> given;
  for (std::size_t i = 0; i < input.load_balancer_ips.size(); ++i) {
    given.emplace_back("loadBalancerIPs[" + std::to_string(i) + "]", input.load_balancer_ips[i]);
  }
  if (!input.load_balancer_ip.empty()) {
    given.emplace_back("loadBalancerIP", input.load_balancer_ip);
  }
  if (service.type != ServiceType::kLoadBalancer && !given.empty()) {
    faults.add(spec + "." + given[0].first,
               "only a LoadBalancer service has VIPs; set type: LoadBalancer, or leave it out");
    return;
  }
  if (given.size() > kVipsPerServiceMax) {
    faults.add(spec + ".loadBalancerIPs",
               std::to_string(given.size()) + " addresses are given; a service has at most 100");
    return;
  }
  service.vip_fields.given = !given.empty();
  std::vector<IpAddress>& vips = service.vips;
  for (const auto& [field, text] : given) {
    const std::string path = spec + "." + field;
    const auto address = check_address(
        text, [&] { return path; }, faults);
    if (!address) {
      continue;
    }
    if (std::find(vips.begin(), vips.end(), *address) != vips.end()) {
      faults.add(path, "'" + text + "' is given twice; remove one");
    }
    vips.push_back(*address);
    service.vip_fields.names.push_back(field);
  }
}

// Distinct addresses of one field, at most `most`.
std::vector<IpAddress> check_addresses(const std::vector<std::string>& given,
                                       const std::string& field, std::size_t most,
                                       Faults& faults) {
  std::vector<IpAddress> addresses;
  if (given.size() > most) {
    faults.add(field, std::to_string(given.size()) + " addresses are given; a service has at most " +
                          std::to_string(most));
    return addresses;
  }
  for (std::size_t i = 0; i < given.size(); ++i) {
    const std::string path = field + "[" + std::to_string(i) + "]";
    const auto address = check_address(
        given[i], [&] { return path; }, faults);
    if (address && std::find(addresses.begin(), addresses.end(), *address) != addresses.end()) {
      faults.add(path, "'" + given[i] + "' is given twice; remove one");
    } else if (address) {
      addresses.push_back(*address);
    }
  }
  return addresses;
}

// Kubernetes' clusterIP is the first of its clusterIPs; "None" is a service without any.
void check_cluster_ips(const ServiceInput& input, const std::string& spec, Service& service,
                       Faults& faults) {
  std::vector<std::string> given = input.cluster_ips;
  if (given.empty() && !input.cluster_ip.empty()) {
    given.push_back(input.cluster_ip);
  }
  if (!given.empty() && given[0] == "None") {
    faults.add(spec + (input.cluster_ips.empty() ? ".clusterIP" : ".clusterIPs[0]"),
               "a headless service has no address that could be served here; leave it out");
    return;
  }
  if (!input.cluster_ip.empty() && !input.cluster_ips.empty() &&
      input.cluster_ip != input.cluster_ips[0]) {
    faults.add(spec + ".clusterIP", "'" + input.cluster_ip + "' is not clusterIPs[0], '" +
                                        input.cluster_ips[0] + "'; leave one out");
  }
  service.cluster_ips = check_addresses(given, spec + ".clusterIPs", 2, faults);
  if (service.cluster_ips.size() == 2 &&
      service.cluster_ips[0].family == service.cluster_ips[1].family) {
    faults.add(spec + ".clusterIPs[1]", "'" + given[1] + "' is of the family of the first; a " +
                                            "service has one cluster address of each");
  }
}

void check_given_families(const Service& service, const std::string& spec, Faults& faults) {
  std::set<Family> given;
  const std::vector<FrontendAddress> frontends = frontends_of(service);
  for (std::size_t i = 0; i < frontends.size(); ++i) {
    const Family family = frontends[i].address.family;
    if (frontends[i].kind == FrontendKind::kExternal) {
      continue;  // of any family, as in Kubernetes
    }
    given.insert(family);
    if (!service.families.empty() &&
        std::find(service.families.begin(), service.families.end(), family) ==
            service.families.end()) {
      faults.add(spec + "." + frontend_field(service, i),
                 "'" + sluice::to_string(frontends[i].address) +
                     "' is of a family that ipFamilies does not name");
    }
  }
  if (service.family_policy == FamilyPolicy::kSingleStack && given.size() > 1) {
    faults.add(spec + ".ipFamilyPolicy",
               "'SingleStack' has one family and the addresses are of both; remove one, or use "
               "'PreferDualStack'");
  }
  const bool short_of_one = given.size() == 1 || (given.empty() && service.families.size() == 1);
  if (service.family_policy == FamilyPolicy::kRequireDualStack && short_of_one) {
    faults.add(spec + ".ipFamilyPolicy",
               "'RequireDualStack' needs both families and one is named; name the other too, or "
               "use 'PreferDualStack'");
  }
}

// Families and their policy, and that the VIPs given agree with them.
void check_families(const ServiceInput& input, const std::string& spec, Service& service,
                    Faults& faults) {
  for (std::size_t i = 0; i < input.ip_families.size(); ++i) {
    const std::string& word = input.ip_families[i];
    const Family family = word == "IPv6" ? Family::kIpv6 : Family::kIpv4;
    if (word != "IPv4" && word != "IPv6") {
      faults.add(at(spec, "ipFamilies", i), "'" + word + "' is no family; use 'IPv4' or 'IPv6'");
    } else if (std::find(service.families.begin(), service.families.end(), family) !=
               service.families.end()) {
      faults.add(at(spec, "ipFamilies", i), "'" + word + "' is given twice; remove one");
    } else {
      service.families.push_back(family);
    }
  }
  const std::string& policy = input.ip_family_policy;
  service.family_policy = policy == "SingleStack"        ? FamilyPolicy::kSingleStack
                          : policy == "PreferDualStack"  ? FamilyPolicy::kPreferDualStack
                          : policy == "RequireDualStack" ? FamilyPolicy::kRequireDualStack
                                                         : FamilyPolicy::kUnset;
  if (service.family_policy == FamilyPolicy::kUnset && !policy.empty()) {
    faults.add(spec + ".ipFamilyPolicy", "'" + policy + "' is unknown; use 'SingleStack', " +
                                             "'PreferDualStack' or 'RequireDualStack'");
  }
  if (service.family_policy == FamilyPolicy::kSingleStack && service.families.size() > 1) {
    faults.add(spec + ".ipFamilyPolicy", "'SingleStack' has one family and ipFamilies names two; " +
                                             std::string("remove one, or use 'PreferDualStack'"));
  }
  check_given_families(service, spec, faults);
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
    const bool known = std::any_of(ports.begin(), ports.end(),
                                   [&](const ServicePortSpec& spec) { return spec.name == name; });
    // Without any, the fault is in the ports.
    if (!known && !ports.empty()) {
      faults.add(field, "the service has no port of this name");
    }
    endpoint.ports[name] = check_port(port, false, field, faults);
  }
}

Endpoint check_endpoint(const EndpointInput& given, const std::vector<ServicePortSpec>& ports,
                        const EndpointPath& path, Faults& faults) {
  Endpoint endpoint;
  if (given.addresses.size() != 1) {
    faults.add(path.field(".addresses"), std::to_string(given.addresses.size()) +
                                             " addresses are given; an endpoint has exactly one");
  } else if (const auto address = check_address(
                 given.addresses[0], [&] { return path.field(".addresses[0]"); }, faults)) {
    endpoint.address = *address;
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

std::vector<FrontendAddress> frontends_of(const Service& service) {
  std::vector<FrontendAddress> frontends;
  frontends.reserve(service.vips.size() + service.external_ips.size() +
                    service.cluster_ips.size());
  for (const IpAddress& vip : service.vips) {
    frontends.push_back({vip, FrontendKind::kVip});
  }
  for (const IpAddress& address : service.external_ips) {
    frontends.push_back({address, FrontendKind::kExternal});
  }
  for (const IpAddress& address : service.cluster_ips) {
    frontends.push_back({address, FrontendKind::kCluster});
  }
  return frontends;
}

std::string frontend_field(const Service& service, std::size_t frontend) {
  if (frontend < service.vips.size()) {
    return service.vip_fields.at(frontend);
  }
  frontend -= service.vips.size();
  const bool external = frontend < service.external_ips.size();
  const std::size_t index = external ? frontend : frontend - service.external_ips.size();
  return std::string(external ? "externalIPs[" : "clusterIPs[") + std::to_string(index) + "]";
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
  // A type that is a fault already is no reason to find fault with VIPs too.
  service.type = input.type.empty() || input.type == "ClusterIP" ? ServiceType::kClusterIp
                                                                 : ServiceType::kLoadBalancer;
  check_vips(input, spec, service, faults);
  check_cluster_ips(input, spec, service, faults);
  service.external_ips =
      check_addresses(input.external_ips, spec + ".externalIPs", kVipsPerServiceMax, faults);
  check_families(input, spec, service, faults);
  service.options = validate_options(input, spec, faults);
  if (service.type != ServiceType::kLoadBalancer && !input.source_ranges.empty()) {
    faults.add(spec + ".loadBalancerSourceRanges",
               "only a LoadBalancer service has these, as in Kubernetes; set type: LoadBalancer, "
               "or use forwarding.denySourceRanges");
  }
  service.ports = check_ports(input, spec, faults);
  service.refuses = input.no_endpoints == "refuse";
  service.endpoints = check_endpoints(input, service.ports, spec, faults);
  return service;
}

}  // namespace sluice::model
