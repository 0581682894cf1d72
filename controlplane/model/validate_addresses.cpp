// SPDX-License-Identifier: Apache-2.0
// The part of a service that says where it is served.
#include "controlplane/model/validate.h"

#include <algorithm>
#include <set>

namespace sluice::model {
namespace {

constexpr std::size_t kAddressesPerFieldMax = 100;

std::string family_path(const std::string& spec, std::size_t index) {
  return spec + ".ipFamilies[" + std::to_string(index) + "]";
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
  service.vip_fields.given = !given.empty();
  if (!has_vips(service) && !given.empty()) {
    faults.add(spec + "." + given[0].first,
               "a service of this type has no VIPs; set type: LoadBalancer, or leave it out");
    return;
  }
  if (given.size() > kAddressesPerFieldMax) {
    faults.add(spec + ".loadBalancerIPs",
               std::to_string(given.size()) + " addresses are given; a service has at most 100");
    return;
  }
  std::vector<IpAddress>& vips = service.vips;
  for (const auto& [field, text] : given) {
    const std::string path = spec + "." + field;
    std::string fault;
    const auto address = read_address(text, fault);
    if (!address) {
      faults.add(path, fault);
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
                                       const std::string& field, std::size_t most, Faults& faults) {
  std::vector<IpAddress> addresses;
  if (given.size() > most) {
    faults.add(field, std::to_string(given.size()) +
                          " addresses are given; a service has at most " + std::to_string(most));
    return addresses;
  }
  for (std::size_t i = 0; i < given.size(); ++i) {
    const std::string path = field + "[" + std::to_string(i) + "]";
    std::string fault;
    const auto address = read_address(given[i], fault);
    if (!address) {
      faults.add(path, fault);
    } else if (std::find(addresses.begin(), addresses.end(), *address) != addresses.end()) {
      faults.add(path, "'" + given[i] + "' is given twice; remove one");
    } else {
      addresses.push_back(*address);
    }
  }
  return addresses;
}

// Kubernetes' clusterIP is the first of its clusterIPs; "None" is a service without any. Here it
// may have other addresses all the same: whoever brings a cluster's services may not expose these.
void check_cluster_ips(const ServiceInput& input, const std::string& spec, Service& service,
                       Faults& faults) {
  std::vector<std::string> given = input.cluster_ips;
  if (given.empty() && !input.cluster_ip.empty()) {
    given.push_back(input.cluster_ip);
  }
  if (!given.empty() && given[0] == "None") {
    const std::string field = spec + (input.cluster_ips.empty() ? ".clusterIP" : ".clusterIPs[0]");
    service.no_cluster_ip = true;
    if (given.size() > 1) {
      faults.add(spec + ".clusterIPs[1]",
                 "'" + given[1] + "' beside 'None'; leave one of them out");
    } else if (service.type == ServiceType::kClusterIp && input.external_ips.empty()) {
      faults.add(field,
                 "a headless service has no address that could be served here; leave it out");
    }
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
    if (!service.families.empty() && std::find(service.families.begin(), service.families.end(),
                                               family) == service.families.end()) {
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
      faults.add(family_path(spec, i), "'" + word + "' is no family; use 'IPv4' or 'IPv6'");
    } else if (std::find(service.families.begin(), service.families.end(), family) !=
               service.families.end()) {
      faults.add(family_path(spec, i), "'" + word + "' is given twice; remove one");
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

}  // namespace

std::vector<FrontendAddress> frontends_of(const Service& service) {
  std::vector<FrontendAddress> frontends;
  frontends.reserve(service.vips.size() + service.external_ips.size() + service.cluster_ips.size());
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

std::vector<Family> families_of(const Service& service) {
  bool ipv4 = false;
  bool ipv6 = false;
  const auto add = [&](Family family) { (family == Family::kIpv4 ? ipv4 : ipv6) = true; };
  for (const auto* addresses : {&service.vips, &service.external_ips, &service.cluster_ips}) {
    std::for_each(addresses->begin(), addresses->end(),
                  [&](const IpAddress& address) { add(address.family); });
  }
  const bool has_addresses = ipv4 || ipv6;
  const bool one_named = service.families.size() == 1 &&
                         service.family_policy != FamilyPolicy::kPreferDualStack &&
                         service.family_policy != FamilyPolicy::kRequireDualStack;
  if (!has_addresses) {
    ipv4 = !one_named || service.families[0] == Family::kIpv4;
    ipv6 = !one_named || service.families[0] == Family::kIpv6;
  }
  std::vector<Family> families;
  if (ipv4) {
    families.push_back(Family::kIpv4);
  }
  if (ipv6) {
    families.push_back(Family::kIpv6);
  }
  return families;
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

void validate_addresses(const ServiceInput& input, const std::string& spec, Service& service,
                        Faults& faults) {
  // A type that is a fault already is no reason to find fault with VIPs too.
  service.type = input.type.empty() || input.type == "ClusterIP" ? ServiceType::kClusterIp
                 : input.type == "NodePort"                      ? ServiceType::kNodePort
                 : input.type == "ExternalName"                  ? ServiceType::kExternalName
                                                                 : ServiceType::kLoadBalancer;
  if (input.allocate_node_ports && service.type != ServiceType::kLoadBalancer) {
    faults.add(spec + ".allocateLoadBalancerNodePorts",
               "only a LoadBalancer service has this, as in Kubernetes; set type: LoadBalancer, or "
               "leave it out");
  }
  service.allocates_node_ports =
      service.type == ServiceType::kNodePort ||
      (service.type == ServiceType::kLoadBalancer && input.allocate_node_ports.value_or(true));
  check_vips(input, spec, service, faults);
  check_cluster_ips(input, spec, service, faults);
  service.external_ips =
      check_addresses(input.external_ips, spec + ".externalIPs", kAddressesPerFieldMax, faults);
  check_families(input, spec, service, faults);
}

}  // namespace sluice::model
