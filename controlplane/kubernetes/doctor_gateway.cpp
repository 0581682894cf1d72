// SPDX-License-Identifier: Apache-2.0
// What the doctor asks a gateway.
#include "controlplane/client/channel.h"
#include "controlplane/client/error.h"
#include "controlplane/kubernetes/addresses.h"
#include "controlplane/kubernetes/doctor.h"
#include "controlplane/model/backend_ranges.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <set>

namespace sluice::kubernetes {
namespace {

using Gateway = v1::Gateway::StubInterface;
using model::kProbeProvider;

constexpr std::chrono::milliseconds kDeadline{5'000};
constexpr std::chrono::milliseconds kProbeDeadline{10'000};
constexpr std::size_t kProbesMax = 20;
constexpr std::size_t kShownMax = 5;
constexpr const char* kProbeService = "probe";

std::string words_of(const grpc::Status& status) {
  const client::Error error = client::error_of(status);
  return client::name_of(error.code) + ": " + error.message;
}

template <typename Request, typename Response>
grpc::Status ask(Gateway& gateway,
                 grpc::Status (Gateway::*method)(grpc::ClientContext*, const Request&, Response*),
                 const Request& request, Response& response) {
  grpc::ClientContext context;
  client::set_deadline(context, kDeadline);
  return (gateway.*method)(&context, request, &response);
}

void examine_pools(const Settings& settings, Gateway& gateway, Report& report) {
  v1::ListAddressPoolsResponse pools;
  if (!ask(gateway, &Gateway::ListAddressPools, v1::ListAddressPoolsRequest{}, pools).ok()) {
    return;
  }
  std::string ours;
  bool chooses = false;
  for (const v1::AddressPoolStatus& pool : pools.pools()) {
    const auto& providers = pool.providers();
    if (providers.empty() ||
        std::find(providers.begin(), providers.end(), settings.provider) != providers.end()) {
      ours += (ours.empty() ? "" : ", ") + pool.name();
      chooses = chooses || pool.auto_assign();
    }
  }
  if (pools.pools().empty()) {
    report.fault("it has no addressPools, so no service gets an address but who asks for one");
  } else if (ours.empty()) {
    report.fault("none of its addressPools is for provider " + settings.provider +
                 "; name it in addressPools[].providers");
  } else if (!chooses) {
    report.warning("of its pools " + ours +
                   " none has autoAssign: services get only the addresses that they ask for");
  } else {
    report.ok("addresses come from " + ours);
  }
}

// Octets; 0: it does not tell.
std::uint32_t smallest_mtu(Gateway& gateway) {
  v1::ListPortsResponse ports;
  ask(gateway, &Gateway::ListPorts, v1::ListPortsRequest{}, ports);
  std::uint32_t smallest = 0;
  for (const v1::Port& port : ports.ports()) {
    smallest = smallest == 0 ? port.mtu() : std::min(smallest, port.mtu());
  }
  return smallest;
}

void examine_ports(Gateway& gateway, Report& report) {
  v1::ListPortsResponse ports;
  if (!ask(gateway, &Gateway::ListPorts, v1::ListPortsRequest{}, ports).ok()) {
    return;
  }
  std::set<std::uint32_t> mtus;
  for (const v1::Port& port : ports.ports()) {
    mtus.insert(port.mtu());
    if (!port.link_up()) {
      report.warning("port " + port.name() + ": the link is down");
    }
    if (port.rp_filter() == 1) {
      report.warning("port " + port.name() +
                     ": rp_filter is strict; what goes through the kernel (transit: kernel) is "
                     "dropped where the way back is another port. Set net.ipv4.conf." +
                     port.name() + ".rp_filter to 2");
    }
  }
  if (mtus.size() > 1) {
    report.warning("its ports have different MTUs, " + std::to_string(*mtus.begin()) + " to " +
                   std::to_string(*mtus.rbegin()) + "; make them equal");
  } else if (!mtus.empty()) {
    report.ok("all ports have an MTU of " + std::to_string(*mtus.begin()));
  }
}

// As the adapter will tell it to the gateway once it has addresses; its own or any. Nothing: it is
// not served.
Translation served(const Settings& settings, const ClusterState& state, const ServiceName& name,
                   const GatewayRoutes* routes) {
  const ServiceView view = state.view(name);
  std::vector<IpAddress> vips = vips_in_status(*view.service);
  if (vips.empty()) {
    for (const std::string& family : view.service->ip_families) {
      vips.push_back(*parse_ip(family == "IPv6" ? "2001:db8::1" : "192.0.2.1"));
    }
  }
  const auto nodes = state.all_nodes();
  return translate(*view.service, view.slices, {.nodes = *nodes, .routes = routes}, vips,
                   settings.translate);
}

// Calls `look` with each ready endpoint of services whose way depends on routes to it, as often as
// slices have it.
template <typename Look>
void for_each_ready(const Settings& settings, const ClusterState& state, Look look) {
  for (const ServiceName& name : state.service_names()) {
    const Translation made = served(settings, state, name, nullptr);
    if (!made.service || !made.delivery ||
        made.delivery->why != DeliveryChoice::Why::kRoutesUnknown) {
      continue;
    }
    for (const auto& slice : state.view(name).slices) {
      for (const SliceEndpoint& endpoint : slice->endpoints) {
        if (!slice->headless && is_true_or_absent(endpoint.ready)) {
          look(endpoint);
        }
      }
    }
  }
}

std::optional<GatewayRoutes> routes_of(Gateway& gateway, Report& report) {
  v1::ListRoutesResponse routes;
  const grpc::Status status = ask(gateway, &Gateway::ListRoutes, v1::ListRoutesRequest{}, routes);
  if (!status.ok()) {
    report.warning("it does not tell its routes: " + words_of(status));
    return std::nullopt;
  }
  std::vector<IpPrefix> destinations;
  for (const std::string& text : routes.destinations()) {
    if (const auto prefix = parse_prefix(text)) {
      destinations.push_back(*prefix);
    }
  }
  return GatewayRoutes(std::move(destinations));
}

struct Target {
  IpAddress address;
  std::uint16_t port = 0;
  std::string what;
};

// Of each node, and family, one place that something goes to over TCP: a pod of its, or its own
// node port.
std::vector<Target> targets_of(const Settings& settings, const ClusterState& state,
                               const GatewayRoutes* routes) {
  std::map<std::pair<std::string, Family>, Target> targets;
  for (const ServiceName& name : state.service_names()) {
    const Translation made = served(settings, state, name, routes);
    if (!made.service) {
      continue;
    }
    const bool by_node = made.delivery && made.delivery->delivery == Delivery::kNode;
    for (const v1::Endpoint& endpoint : made.service->spec().endpoints()) {
      const IpAddress address = *parse_ip(endpoint.addresses(0));
      for (const v1::ServicePort& port : made.service->spec().ports()) {
        const auto own = endpoint.ports().find(port.name());
        const int number = own == endpoint.ports().end() ? port.target_port() : own->second;
        const bool is_ready = !endpoint.conditions().has_ready() || endpoint.conditions().ready();
        if (is_ready && port.protocol() == "TCP" && number != 0) {
          const std::string node =
              endpoint.node_name().empty() ? to_string(address) : endpoint.node_name();
          const auto to = static_cast<std::uint16_t>(number);
          targets.try_emplace(
              {node, address.family},
              Target{address, to,
                     (by_node ? "node port " : "pod ") + to_string(address, to) + " of " + node});
        }
      }
    }
  }
  std::vector<Target> all;
  for (auto& [key, target] : targets) {
    all.push_back(std::move(target));
  }
  return all;
}

// A port for each target, behind which it is alone.
v1::Service probe_service(const std::vector<Target>& targets, Family family) {
  v1::Service service;
  service.mutable_metadata()->set_name(kProbeService);
  v1::ServiceSpec& spec = *service.mutable_spec();
  spec.set_type("LoadBalancer");
  spec.set_allocate_load_balancer_node_ports(false);
  spec.add_ip_families(to_string(family));
  spec.mutable_forwarding()->set_mode("FULL_NAT");
  std::vector<std::string> names;
  for (const Target& target : targets) {
    names.push_back("p" + std::to_string(names.size() + 1));
    v1::ServicePort& port = *spec.add_ports();
    port.set_name(names.back());
    port.set_port(static_cast<std::int32_t>(names.size()));
    port.set_target_port(target.port);
  }
  std::size_t own = 0;
  for (const Target& target : targets) {
    v1::Endpoint& endpoint = *spec.add_endpoints();
    endpoint.add_addresses(to_string(target.address));
    for (const std::string& name : names) {
      (*endpoint.mutable_ports())[name] = 0;
    }
    (*endpoint.mutable_ports())[names[own++]] = target.port;
  }
  return service;
}

// At the gateway while this lives.
class Probe {
 public:
  Probe(Gateway& gateway, const v1::Service& service) : gateway_(gateway) {
    v1::ApplyRequest request;
    request.set_provider(kProbeProvider);
    *request.add_upsert() = service;
    request.set_replace(true);
    v1::ApplyResponse response;
    status_ = ask(gateway_, &Gateway::Apply, request, response);
  }
  ~Probe() {
    v1::ApplyRequest request;
    request.set_provider(kProbeProvider);
    request.set_replace(true);
    v1::ApplyResponse response;
    ask(gateway_, &Gateway::Apply, request, response);
  }
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

  // Why it is not served; empty: it is.
  [[nodiscard]] std::string why_not() {
    v1::GetServiceRequest request;
    request.set_provider(kProbeProvider);
    request.mutable_name()->set_name(kProbeService);
    v1::Service service;
    if (!status_.ok()) {
      return words_of(status_);
    }
    if (const auto status = ask(gateway_, &Gateway::GetService, request, service); !status.ok()) {
      return words_of(status);
    }
    return service.status().load_balancer().ingress().empty()
               ? "no pool that is open to everybody has a free address for it; to have "
                 "backends probed, add sluice-doctor to the providers of a pool"
               : "";
  }

  struct Answer {
    std::string why_not;  // empty: it answers
    std::uint32_t segment_max = 0;
  };
  // Of what is behind this port.
  [[nodiscard]] Answer connect(std::uint32_t port) {
    grpc::ClientContext context;
    client::set_deadline(context, kProbeDeadline);
    const auto stream = gateway_.PortForward(&context);
    v1::PortForwardRequest request;
    v1::PortForwardOpen& open = *request.mutable_open();
    open.set_provider(kProbeProvider);
    open.mutable_service()->set_name(kProbeService);
    open.set_port(port);
    open.set_through_vip(true);
    v1::PortForwardResponse response;
    const bool opened = stream->Write(request) && stream->Read(&response) && response.has_opened();
    if (opened) {
      v1::PortForwardRequest end;
      end.set_end(true);
      stream->Write(end);
      context.TryCancel();  // its answer is of no interest
    }
    const grpc::Status status = stream->Finish();
    return opened ? Answer{"", response.segment_max()} : Answer{client::error_of(status).message};
  }

 private:
  Gateway& gateway_;
  grpc::Status status_;
};

// `takes`: what each of those that answer takes. Theirs is less where pods have an overlay.
void examine_segments(const std::map<std::string, std::uint32_t>& takes, Family family,
                      Gateway& gateway, Report& report) {
  const std::uint32_t headers = family == Family::kIpv4 ? 40 : 60;  // without options
  const std::uint32_t mtu = smallest_mtu(gateway);
  const auto least = std::min_element(
      takes.begin(), takes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  if (least == takes.end() || least->second == 0 || mtu == 0) {
    return;
  }
  const std::uint32_t packet = least->second + headers;
  if (packet >= mtu) {
    report.ok("over " + to_string(family) + " all that answer take packets of the ports' MTU, " +
              std::to_string(mtu));
  } else {
    report.note(
        least->first + " takes packets of up to " + std::to_string(packet) +
        " octets, by its own MSS or by this host's route to the VIP, and the ports' MTU is " +
        std::to_string(mtu) +
        ": TCP keeps to it by itself; of a larger datagram the client is told by ICMP, which "
        "has to get from there to the SNAT address and from here to the client");
  }
}

void probe_family(const std::vector<Target>& targets, Family family, Gateway& gateway,
                  Report& report) {
  Probe probe(gateway, probe_service(targets, family));
  if (const std::string why_not = probe.why_not(); !why_not.empty()) {
    report.warning("nothing is probed over " + to_string(family) + ": " + why_not);
    return;
  }
  std::uint32_t port = 0;
  std::map<std::string, std::uint32_t> takes;
  for (const Target& target : targets) {
    const Probe::Answer answer = probe.connect(++port);
    if (answer.why_not.empty()) {
      report.ok(target.what + " answers the gateway's SNAT address, through the lcores");
      takes[target.what] = answer.segment_max;
    } else {
      report.fault(target.what + " does not answer the gateway: " + answer.why_not +
                   ". It must be routed from here, and its answers to the SNAT address back");
    }
  }
  examine_segments(takes, family, gateway, report);
}

}  // namespace

bool examine_gateway(const Settings& settings, Gateway& gateway, Report& report) {
  v1::GatewayStatus status;
  const grpc::Status answer = ask(gateway, &Gateway::GetStatus, v1::GetStatusRequest{}, status);
  if (!answer.ok()) {
    report.fault("it does not answer: " + words_of(answer));
    return false;
  }
  report.ok("it answers: " + status.name() + ", version " + status.version() + ", " +
            status.role());
  if (status.draining()) {
    report.warning("it drains, and takes no new flows; sluicectl undrain ends that");
  }
  examine_pools(settings, gateway, report);
  examine_ports(gateway, report);
  return true;
}

std::optional<GatewayRoutes> examine_routes(const Settings& settings, const ClusterState& state,
                                            Gateway& gateway, Report& report) {
  auto routes = routes_of(gateway, report);
  if (!routes) {
    return routes;
  }
  std::set<IpAddress> all;
  std::map<std::string, std::set<IpAddress>> unrouted;  // by node
  for_each_ready(settings, state, [&](const SliceEndpoint& endpoint) {
    all.insert(endpoint.address);
    if (routes->find(endpoint.address) == nullptr) {
      unrouted[endpoint.node_name == nullptr ? "" : *endpoint.node_name].insert(endpoint.address);
    }
  });
  if (all.empty()) {
    report.note(
        "no service that depends on it has a ready endpoint yet, so nothing is said of "
        "routes to pods");
  } else if (unrouted.empty()) {
    report.ok("it has routes to all " + std::to_string(all.size()) + " ready endpoints");
  }
  std::size_t shown = 0;
  for (const auto& [node, addresses] : unrouted) {
    if (++shown > kShownMax) {
      report.warning("and so on, for " + std::to_string(unrouted.size()) + " nodes");
      break;
    }
    report.warning(
        std::to_string(addresses.size()) + " endpoints of " +
        (node.empty() ? "no node" : "node " + node) + ", " + to_string(*addresses.begin()) +
        " for one, have no route but the default one: with delivery auto their services "
        "go by node ports, and without these leave them out. Give the gateway routes, or "
        "set pod_routes: nodes");
  }
  return routes;
}

void probe_backends(const Settings& settings, const ClusterState& state,
                    const std::optional<GatewayRoutes>& routes, Gateway& gateway, Report& report) {
  const std::vector<Target> targets = targets_of(settings, state, routes ? &*routes : nullptr);
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    std::vector<Target> some;
    std::copy_if(targets.begin(), targets.end(), std::back_inserter(some),
                 [&](const Target& each) { return each.address.family == family; });
    if (some.size() > kProbesMax) {
      report.note(std::to_string(some.size() - kProbesMax) + " of " + std::to_string(some.size()) +
                  " nodes are not probed over " + to_string(family));
      some.resize(kProbesMax);
    }
    if (!some.empty()) {
      probe_family(some, family, gateway, report);
    }
  }
}

}  // namespace sluice::kubernetes
