// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/translate.h"

#include "controlplane/kubernetes/annotations.h"
#include "controlplane/kubernetes/delivery.h"
#include "controlplane/kubernetes/endpoints.h"
#include "controlplane/model/allocate.h"

#include <absl/strings/ascii.h>
#include <absl/strings/numbers.h>
#include <absl/strings/str_split.h>
#include <algorithm>
#include <deque>

namespace sluice::kubernetes {
namespace {

constexpr std::size_t kPortsMax = 100;  // of a service at a gateway

constexpr const char* kServiceProxyName = "service.kubernetes.io/service-proxy-name";
constexpr const char* kSourceRangesAnnotation =
    "service.beta.kubernetes.io/load-balancer-source-ranges";

bool is_load_balancer(const Service& service) {
  return service.type == "LoadBalancer";
}

bool is_exposed_name(const Service& service) {
  const auto at = service.meta.annotations.find(model::kExposeExternalNameAnnotation);
  return service.type == "ExternalName" && at != service.meta.annotations.end() &&
         at->second == "true";
}

// Whether its annotation is all that decides.
bool may_be_exposed_name(const Service& service) {
  return service.type == "ExternalName" && !service.meta.deleting &&
         !service.meta.labels.contains(kServiceProxyName);
}

bool is_headless(const Service& service) {
  return service.cluster_ips.empty() || service.cluster_ips[0] == "None" ||
         service.cluster_ips[0].empty();
}

constexpr const char* kNoAddress = "cluster addresses are not exposed and it has no other";

// Ports that the gateway can serve; the others become errors of their own (2.5).
std::vector<const ServicePort*> served_ports(const Service& service, Translation& made) {
  std::vector<const ServicePort*> ports;
  for (const ServicePort& port : service.ports) {
    if (port.protocol == "TCP" || port.protocol == "UDP") {
      ports.push_back(&port);
      continue;
    }
    made.port_errors.push_back({port.port, port.protocol, "LoadBalancerMixedProtocolNotSupported"});
    made.findings.push_back(
        {"ProtocolNotSupported", "port " + std::to_string(port.port) + ": " + port.protocol +
                                     " is not served by this gateway; the other ports are"});
  }
  return ports;
}

// Host bits may be set, as in Kubernetes.
bool is_prefix(const std::string& text) {
  const std::size_t slash = text.find('/');
  const auto address = parse_ip(std::string_view(text).substr(0, slash));
  if (!address || slash == std::string::npos) {
    return false;
  }
  const std::string digits = text.substr(slash + 1);
  const bool is_number = std::all_of(digits.begin(), digits.end(), absl::ascii_isdigit);
  int length = 0;
  return is_number && absl::SimpleAtoi(digits, &length) && length <= address->bits();
}

// The annotation counts where the field says nothing (2.5).
bool has_annotated_ranges(const Service& service) {
  return service.source_ranges.empty() &&
         !absl::StripAsciiWhitespace(annotation_of(service, kSourceRangesAnnotation)).empty();
}

void set_source_ranges(const Service& service, v1::ServiceSpec& spec,
                       std::vector<Finding>& findings) {
  std::vector<std::string> ranges = service.source_ranges;
  if (has_annotated_ranges(service)) {
    ranges = absl::StrSplit(annotation_of(service, kSourceRangesAnnotation), ',');
  }
  for (const std::string& range : ranges) {
    const std::string trimmed(absl::StripAsciiWhitespace(range));
    if (is_prefix(trimmed)) {
      spec.add_load_balancer_source_ranges(trimmed);
    } else {
      findings.push_back({"BadSourceRange", "'" + trimmed + "' is no prefix; it allows nobody"});
    }
  }
  if (!ranges.empty() && spec.load_balancer_source_ranges().empty()) {
    spec.add_load_balancer_source_ranges("255.255.255.255/32");  // none could be read: nobody
  }
}

void set_metadata(const Service& service, const Annotations& annotations, v1::Service& made) {
  made.mutable_metadata()->set_name(service.meta.name.name);
  made.mutable_metadata()->set_namespace_(service.meta.name.space);
  made.mutable_metadata()->mutable_labels()->insert(service.meta.labels.begin(),
                                                    service.meta.labels.end());
  // Not the pool's name: the adapter has chosen by it, and keeps what a service had before a slip.
  for (const char* key : {model::kSharedIpAnnotation, model::kExposeExternalNameAnnotation}) {
    const std::string value = annotations.get(key);
    if (!value.empty()) {
      (*made.mutable_metadata()->mutable_annotations())[key] = value;
    }
  }
}

// Whether each port has a node port, so that the gateway is never left to choose one.
bool have_node_ports(const std::vector<const ServicePort*>& ports) {
  return std::all_of(ports.begin(), ports.end(),
                     [](const ServicePort* port) { return port->node_port != 0; });
}

// Each once, of the families that the service has: for another the gateway would refuse all of it.
std::vector<IpAddress> own_vips(const Service& service, const std::vector<IpAddress>& vips,
                                std::vector<Finding>& findings) {
  const auto& families = service.ip_families;
  std::vector<IpAddress> own;
  for (const IpAddress& vip : vips) {
    const bool any = service.type == "ExternalName" || families.empty();
    if (!any && std::find(families.begin(), families.end(), vip.is_ipv4() ? "IPv4" : "IPv6") ==
                    families.end()) {
      findings.push_back({"BadAddress", to_string(vip) +
                                            " is of a family that ipFamilies does not name; name "
                                            "it there, or ask for another address"});
    } else if (std::find(own.begin(), own.end(), vip) == own.end()) {
      own.push_back(vip);
    }
  }
  return own;
}

class Translator {
 public:
  Translator(const Service& service, const Slices& slices, const Surroundings& around,
             const TranslateSettings& settings)
      : service_(service), slices_(slices), around_(around), settings_(settings) {}

  Translation run(const std::vector<IpAddress>& vips) {
    if (claim_of(service_, settings_) == Claim::kNotOurs) {
      made_.why_not = "it is not this gateway's to serve";
      if (may_be_exposed_name(service_)) {
        annotations_.emplace(service_, made_.findings);  // one of them may be why
      }
      return std::move(made_);
    }
    annotations_.emplace(service_, made_.findings);
    if (is_load_balancer(service_) || service_.type == "ExternalName") {
      vips_ = own_vips(service_, vips, made_.findings);
    }
    if (!is_asked_for()) {
      made_.why_not = kNoAddress;
      return std::move(made_);
    }
    ports_ = served_ports(service_, made_);
    if (ports_.empty()) {
      made_.why_not = "it has no port that this gateway serves";
      return std::move(made_);
    }
    if (ports_.size() > kPortsMax) {  // whose endpoints would take a port each of all of them
      made_.why_not = "it has more than " + std::to_string(kPortsMax) + " ports";
      made_.findings.push_back({"TooManyPorts", made_.why_not +
                                                    ", which is what a gateway serves; "
                                                    "spread them over several services"});
      return std::move(made_);
    }
    v1::Service service;
    set_metadata(service_, *annotations_, service);
    v1::ServiceSpec& spec = *service.mutable_spec();
    set_type(spec);
    if (!set_addresses(spec)) {
      return std::move(made_);
    }
    set_policies(spec);
    set_ports(spec);
    if (is_exposed_name(service_)) {
      spec.set_external_name(service_.external_name);
    } else {
      add_endpoints(spec);
    }
    made_.service = std::move(service);
    return std::move(made_);
  }

 private:
  // Most services of a cluster are not: what could not be served of them is nobody's matter.
  [[nodiscard]] bool is_asked_for() const {
    return is_load_balancer(service_) || service_.type == "ExternalName" ||
           settings_.expose_cluster_ips || !service_.external_ips.empty() ||
           (settings_.expose_node_ports && service_.type == "NodePort");
  }

  // Without VIPs a LoadBalancer is told as what it is besides: else the gateway would choose some.
  void set_type(v1::ServiceSpec& spec) {
    const bool node_ports = settings_.expose_node_ports && have_node_ports(ports_);
    if (service_.type == "ExternalName" || (is_load_balancer(service_) && !vips_.empty())) {
      spec.set_type(service_.type);
    } else {
      spec.set_type(node_ports && service_.type != "ClusterIP" ? "NodePort" : "ClusterIP");
    }
    if (spec.type() == "LoadBalancer") {
      spec.set_allocate_load_balancer_node_ports(false);  // the cluster has chosen them, or none
    }
    shows_node_ports_ =
        spec.type() == "NodePort" || (spec.type() == "LoadBalancer" && settings_.expose_node_ports);
  }

  // False: it has none.
  bool set_addresses(v1::ServiceSpec& spec) {
    for (const IpAddress& vip : vips_) {
      spec.add_load_balancer_ips(to_string(vip));
    }
    if (spec.type() != "ExternalName") {
      set_families(spec);
      if (settings_.expose_cluster_ips && !is_headless(service_)) {
        spec.mutable_cluster_ips()->Add(service_.cluster_ips.begin(), service_.cluster_ips.end());
      }
      set_external_ips(spec);
    }
    if (is_load_balancer(service_) || spec.type() == "ExternalName") {
      set_source_ranges(service_, spec, made_.findings);
    }
    if (vips_.empty() && !spec.load_balancer_source_ranges().empty()) {
      // No other type has ranges, and external addresses are not served without theirs (3.5).
      spec.clear_load_balancer_source_ranges();
      spec.clear_external_ips();
    }
    if (spec.load_balancer_ips().empty() && spec.external_ips().empty() &&
        spec.cluster_ips().empty() && spec.type() != "NodePort") {
      made_.why_not =
          claim_of(service_, settings_) == Claim::kOurs ? "it has no address yet" : kNoAddress;
      return false;
    }
    if (spec.type() != "ExternalName" && spec.cluster_ips().empty()) {
      spec.set_cluster_ip("None");  // else the gateway would choose one
    }
    return true;
  }

  // Of one that only prefers to have both, a gateway with one family serves the node ports in that.
  void set_families(v1::ServiceSpec& spec) const {
    spec.mutable_ip_families()->Add(service_.ip_families.begin(), service_.ip_families.end());
    if (service_.ip_family_policy == "PreferDualStack" && service_.ip_families.size() == 2) {
      spec.set_ip_family_policy(service_.ip_family_policy);
    }
  }

  [[nodiscard]] bool is_allowed(const IpAddress& address) const {
    return std::any_of(settings_.external_ips.begin(), settings_.external_ips.end(),
                       [&](const model::AddressRange& range) { return range.contains(address); });
  }

  // Not just within a range.
  [[nodiscard]] bool is_named(const IpAddress& address) const {
    return std::any_of(settings_.external_ips.begin(), settings_.external_ips.end(),
                       [&](const model::AddressRange& range) {
                         return range.first == address && range.last == address;
                       });
  }

  // Whose address it is; empty: no node's. Else a service could take a node's traffic (3.8).
  [[nodiscard]] std::string node_at(const IpAddress& address) const {
    for (const auto& [name, node] : around_.nodes) {
      for (const auto* addresses : {&node.internal_ips, &node.external_ips}) {
        if (std::find(addresses->begin(), addresses->end(), address) != addresses->end()) {
          return name;
        }
      }
    }
    return "";
  }

  // Each once; for one that is none, or there twice, the gateway would refuse all of the service.
  void set_external_ips(v1::ServiceSpec& spec) {
    std::vector<IpAddress> seen;
    for (const std::string& text : service_.external_ips) {
      const auto address = parse_ip(text);
      if (!address) {
        made_.findings.push_back(
            {"BadAddress", "externalIPs: '" + text + "' is not an IP address; it is left out"});
      } else if (!is_allowed(*address)) {
        made_.findings.push_back(
            {"ExternalAddressNotAllowed", "externalIPs: " + text +
                                              " is not in the externalIpRanges of the gateway's "
                                              "configuration; it is left out"});
      } else if (const std::string node = node_at(*address); !node.empty() && !is_named(*address)) {
        made_.findings.push_back(
            {"ExternalAddressOfNode",
             "externalIPs: " + text + " is an address of node " + node +
                 "; it is left out, unless externalIpRanges names it by itself and the gateway has "
                 "it among its nodeAddresses"});
      } else if (std::find(seen.begin(), seen.end(), *address) == seen.end()) {
        seen.push_back(*address);
        spec.add_external_ips(to_string(*address));
      }
    }
  }

  void set_policies(v1::ServiceSpec& spec) {
    if (service_.session_affinity == "ClientIP") {
      spec.set_session_affinity("ClientIP");
      if (service_.affinity_seconds) {
        spec.mutable_session_affinity_config()->mutable_client_ip()->set_timeout_seconds(
            static_cast<std::int32_t>(*service_.affinity_seconds));
      }
    }
    const bool is_outside =
        spec.type() == "LoadBalancer" || spec.type() == "NodePort" || !spec.external_ips().empty();
    if (service_.external_traffic_policy == "Local" && is_outside) {
      spec.set_external_traffic_policy("Local");
      if (around_.loses_clients) {
        made_.findings.push_back(
            {"ClientAddressNotPreserved",
             "externalTrafficPolicy is Local, and backends see the gateway's address instead of "
             "their clients'; set the gateway's returnPath, or externalTrafficPolicy: Cluster"});
      }
    }
    if (service_.internal_traffic_policy == "Local" && spec.type() != "ExternalName") {
      spec.set_internal_traffic_policy("Local");
    }
    spec.mutable_forwarding()->set_no_endpoints("refuse");
    spec.mutable_forwarding()->set_on_endpoint_removal(
        annotations_->get(kOnEndpointRemovalAnnotation));
  }

  void set_ports(v1::ServiceSpec& spec) {
    for (const ServicePort* port : ports_) {
      v1::ServicePort& made = *spec.add_ports();
      made.set_name(port->name);
      made.set_protocol(port->protocol);
      made.set_port(static_cast<std::int32_t>(port->port));
      made.set_app_protocol(port->app_protocol);
      if (shows_node_ports_) {
        made.set_node_port(static_cast<std::int32_t>(port->node_port));
      }
    }
  }

  // Node ports are served at addresses of the gateway, of which families is not known here. Beside
  // addresses of its own they do not count: else a gateway with one family would never deliver a
  // dual-stack service to its pods.
  [[nodiscard]] static std::set<Family> families_of(const v1::ServiceSpec& spec) {
    std::set<Family> families;
    for (const auto* addresses :
         {&spec.load_balancer_ips(), &spec.external_ips(), &spec.cluster_ips()}) {
      for (const std::string& text : *addresses) {
        if (const auto address = parse_ip(text)) {
          families.insert(address->family);
        }
      }
    }
    return families.empty() ? std::set<Family>{Family::kIpv4, Family::kIpv6} : families;
  }

  [[nodiscard]] DeliveryInput delivery_input(const v1::ServiceSpec& spec) {
    const std::string word = annotations_->get(kDeliveryAnnotation);
    DeliveryInput input{.wish = settings_.delivery,
                        .is_annotated = !word.empty(),
                        .has_node_ports = have_node_ports(ports_),
                        .routes = around_.routes,
                        .families = families_of(spec)};
    if (!word.empty()) {
      input.wish = word == "node"       ? Delivery::kNode
                   : word == "endpoint" ? Delivery::kEndpoint
                                        : Delivery::kAuto;
    }
    if (input.wish == Delivery::kNode && !input.has_node_ports) {
      made_.findings.push_back({"NoNodePort",
                                "delivery by nodes needs a node port for each port; it is as with "
                                "sluice.dev/delivery: auto. Set allocateLoadBalancerNodePorts, or "
                                "sluice.dev/delivery: endpoint"});
    }
    return input;
  }

  void add_endpoints(v1::ServiceSpec& spec) {
    std::set<IpAddress> bad;
    std::deque<SliceEndpoint> passed;
    TargetsByAddress pods = targets_of(slices_, spec, bad);
    tell_of_bad(bad);
    // With nodes it changes nothing: some endpoint is always left, and their proxies read hints
    // too.
    if (!settings_.zone.empty() && service_.external_traffic_policy != "Local") {
      narrow(pods, settings_.zone, passed);
    }
    const DeliveryInput input = delivery_input(spec);
    DeliveryChoice choice = choose_delivery(input, pods);
    if (choice.why == DeliveryChoice::Why::kUnreached) {
      tell_of_unreached(leave_out_unrouted(*around_.routes, input.families, pods), spec);
    }
    spec.mutable_forwarding()->set_delivery(choice.delivery == Delivery::kNode ? "node"
                                                                               : "endpoint");
    spec.mutable_forwarding()->set_delivery_reason(choice.reason);
    if (choice.delivery == Delivery::kNode) {
      for (int i = 0; i < spec.ports_size(); ++i) {
        spec.mutable_ports(i)->set_target_port(
            static_cast<std::int32_t>(ports_[static_cast<std::size_t>(i)]->node_port));
      }
      add_nodes(service_, pods, around_.nodes, around_.health, spec);
      tell_of_affinity(spec);
    } else {
      add_pods(pods, spec);
    }
    made_.delivery = std::move(choice);
  }

  // A node's kube-proxy keeps to a pod by the address that it sees.
  void tell_of_affinity(const v1::ServiceSpec& spec) {
    const bool sees_clients = spec.external_traffic_policy() == "Local" && !around_.loses_clients;
    if (spec.session_affinity() == "ClientIP" && !sees_clients) {
      made_.findings.push_back(
          {"AffinityByNode",
           "sessionAffinity is ClientIP and delivery is by nodes: each client keeps to a node, and "
           "all clients of a node to one of its pods, as its proxy sees the gateway's address. "
           "Give "
           "the gateway routes to pods, or keep clients' addresses by externalTrafficPolicy: "
           "Local"});
    }
  }

  // Each is an event, so a few stand for all.
  void tell_of_bad(const std::set<IpAddress>& bad) {
    std::size_t left = 3;
    for (auto at = bad.begin(); at != bad.end() && left != 0; ++at, --left) {
      made_.findings.push_back(
          {"BadEndpoint", "no packet can be sent to the endpoint " + to_string(*at) +
                              "; it is left out. Give its EndpointSlice a unicast address"});
    }
  }

  // `ports`: those with nothing behind them any more.
  void tell_of_unreached(const std::vector<int>& ports, const v1::ServiceSpec& spec) {
    for (const int port : ports) {
      made_.port_errors.push_back(
          {spec.ports(port).port(), spec.ports(port).protocol(), "NoRouteToEndpoints"});
    }
    made_.findings.push_back(
        {"NoRoute",
         std::string("the gateway has only its default route to ") +
             (ports.empty() ? "some of the pods, and these are left out"
                            : "pods, and ports are without endpoints for it") +
             "; give it a route, set podRoutes: nodes or allocateLoadBalancerNodePorts: true, or "
             "use the default route by sluice.dev/delivery: endpoint"});
  }

  const Service& service_;
  const Slices& slices_;
  const Surroundings& around_;
  const TranslateSettings& settings_;
  std::vector<IpAddress> vips_;
  std::optional<Annotations> annotations_;
  std::vector<const ServicePort*> ports_;
  bool shows_node_ports_ = false;
  Translation made_;
};

}  // namespace

Claim claim_of(const Service& service, const TranslateSettings& settings) {
  if (service.meta.deleting || service.meta.labels.contains(kServiceProxyName)) {
    return Claim::kNotOurs;
  }
  if (service.type == "ExternalName") {
    return is_exposed_name(service) ? Claim::kOurs : Claim::kNotOurs;
  }
  if (is_headless(service)) {
    return Claim::kNotOurs;
  }
  if (!is_load_balancer(service)) {
    return Claim::kServed;
  }
  const bool ours = service.load_balancer_class ? *service.load_balancer_class == kLoadBalancerClass
                                                : settings.default_class;
  return ours ? Claim::kOurs : Claim::kNotOurs;
}

Translation translate(const Service& service, const Slices& slices, const Surroundings& around,
                      const std::vector<IpAddress>& vips, const TranslateSettings& settings) {
  return Translator(service, slices, around, settings).run(vips);
}

const char* ip_mode_of(const Service& service) {
  return has_annotated_ranges(service) ? "Proxy" : "VIP";
}

std::optional<std::vector<IpAddress>> requested_vips(const Service& service,
                                                     std::vector<Finding>& findings) {
  std::vector<std::string> texts;
  const std::string annotated = annotation_of(service, kLoadBalancerIpsAnnotation);
  const char* field = annotated.empty() ? "loadBalancerIP" : kLoadBalancerIpsAnnotation;
  if (!annotated.empty()) {
    texts = absl::StrSplit(annotated, ',');
  } else if (!service.load_balancer_ip.empty()) {
    texts.push_back(service.load_balancer_ip);
  }
  std::vector<IpAddress> addresses;
  for (const std::string& text : texts) {
    const std::string trimmed(absl::StripAsciiWhitespace(text));
    const auto address = parse_ip(trimmed);
    const bool is_second =
        address && std::any_of(addresses.begin(), addresses.end(), [&](const IpAddress& other) {
          return other.family == address->family && other != *address;
        });
    if (is_second) {
      findings.push_back({"BadAddress", std::string(field) + ": '" + trimmed +
                                            "' is a second address of its family, and a service "
                                            "has one; it is left out"});
    } else if (address) {
      addresses.push_back(*address);
    } else {
      findings.push_back({"BadAddress", std::string(field) + ": '" + trimmed +
                                            "' is not an IP address; name one"});
    }
  }
  return addresses.empty() && !texts.empty() ? std::nullopt : std::optional(addresses);
}

}  // namespace sluice::kubernetes
