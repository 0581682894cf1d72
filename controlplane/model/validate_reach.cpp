// SPDX-License-Identifier: Apache-2.0
// The part of a service that says whom it reaches and who reaches it.
#include "controlplane/model/allocate.h"
#include "controlplane/model/validate.h"

#include <algorithm>
#include <cctype>

namespace sluice::model {
namespace {

constexpr const char* kLoadBalancerClass = "sluice.dev/gateway";

void check_policies(const ServiceInput& input, const std::string& spec, Service& service,
                    Faults& faults) {
  const bool reached_from_outside = service.type == ServiceType::kNodePort ||
                                    service.type == ServiceType::kLoadBalancer ||
                                    !input.external_ips.empty();
  service.external_local = input.external_traffic_policy == "Local";
  service.internal_local = input.internal_traffic_policy == "Local";
  if (service.external_local && !reached_from_outside) {
    faults.add(spec + ".externalTrafficPolicy",
               "this service has no external address that it could be about, as in Kubernetes; set "
               "type: NodePort or LoadBalancer, or leave it out");
  }
}

void check_class(const ServiceInput& input, const std::string& spec, Service& service,
                 Faults& faults) {
  service.load_balancer_class = input.load_balancer_class;
  if (input.load_balancer_class.empty()) {
    return;
  }
  if (service.type != ServiceType::kLoadBalancer) {
    faults.add(spec + ".loadBalancerClass",
               "only a LoadBalancer service has one; set type: LoadBalancer, or leave it out");
  } else if (input.load_balancer_class != kLoadBalancerClass) {
    faults.add(spec + ".loadBalancerClass", "'" + input.load_balancer_class +
                                                "' is another implementation's; this is " +
                                                kLoadBalancerClass);
  }
}

void check_external_name(const ServiceInput& input, const std::string& path, Service& service,
                         Faults& faults) {
  const std::string spec = path + ".spec";
  if (service.type != ServiceType::kExternalName) {
    if (!input.external_name.empty()) {
      faults.add(spec + ".externalName",
                 "only an ExternalName service has one; set type: ExternalName, or leave it out");
    }
    return;
  }
  service.external_name = input.external_name;
  if (!is_domain_name(input.external_name)) {
    faults.add(spec + ".externalName", "'" + input.external_name +
                                           "' is not the name of a host; write it like "
                                           "api.example.com");
  }
  const auto exposed = input.annotations.find(kExposeExternalNameAnnotation);
  if (exposed == input.annotations.end() || exposed->second != "true") {
    faults.add(path + ".metadata.annotations[" + kExposeExternalNameAnnotation + "]",
               "an ExternalName service is DNS's matter; set this annotation to 'true' to have its "
               "name's addresses behind a VIP");
  }
  const auto refuse = [&](bool given, const char* field, const char* why) {
    if (given) {
      faults.add(spec + "." + field, why);
    }
  };
  refuse(!input.endpoints.empty(), "endpoints",
         "an ExternalName service has its name's addresses; leave these out");
  refuse(!input.selector.empty(), "selector",
         "an ExternalName service has its name's addresses; leave it out");
  refuse(!input.internal_traffic_policy.empty(), "internalTrafficPolicy",
         "an ExternalName service has no cluster address; leave it out");
  refuse(input.publish_not_ready, "publishNotReadyAddresses",
         "a name's addresses are always ready; leave it out");
  refuse(!input.cluster_ips.empty() || !input.cluster_ip.empty(), "clusterIPs",
         "an ExternalName service has no cluster address; leave it out");
}

}  // namespace

bool is_domain_name(const std::string& text) {
  const std::string name = text.ends_with('.') ? text.substr(0, text.size() - 1) : text;
  if (name.empty() || name.size() > 253) {
    return false;
  }
  for (std::size_t begin = 0; begin <= name.size();) {
    const std::size_t end = std::min(name.find('.', begin), name.size());
    std::string label = name.substr(begin, end - begin);
    std::transform(label.begin(), label.end(), label.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (!is_label(label)) {
      return false;
    }
    begin = end + 1;
  }
  return true;
}

void validate_reach(const ServiceInput& input, const std::string& path, Service& service,
                    Faults& faults) {
  const std::string spec = path + ".spec";
  check_policies(input, spec, service, faults);
  check_class(input, spec, service, faults);
  check_external_name(input, path, service, faults);
}

}  // namespace sluice::model
