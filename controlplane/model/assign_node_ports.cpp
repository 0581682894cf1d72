// SPDX-License-Identifier: Apache-2.0
// Which node port a service gets that names none.
#include "controlplane/model/desired.h"

#include <algorithm>

namespace sluice::model {
namespace {

std::string node_port_path(std::size_t index, std::size_t port) {
  return "upsert[" + std::to_string(index) + "].spec.ports[" + std::to_string(port) + "].nodePort";
}

// What another protocol's port of the same number has: DNS has one node port for both, as in
// Kubernetes. 0: nothing.
std::uint16_t node_port_of_twin(const Service& service, const ServicePortSpec& port) {
  const auto twin =
      std::find_if(service.ports.begin(), service.ports.end(), [&](const auto& other) {
        return other.port == port.port && other.protocol != port.protocol;
      });
  return twin == service.ports.end() ? std::uint16_t{0} : twin->node_port;
}

}  // namespace

// What the port of a stored service has; 0: none.
std::uint16_t Desired::node_port_before(const std::string& provider, const Service& service,
                                        PortKey port) const {
  const Stored* before = find(provider, service.name);
  if (before == nullptr || !before->service.allocates_node_ports) {
    return 0;
  }
  const auto& ports = before->service.ports;
  const auto at = std::find_if(ports.begin(), ports.end(), [&](const ServicePortSpec& had) {
    return PortKey{had.port, had.protocol} == port;
  });
  return at == ports.end() ? std::uint16_t{0} : at->node_port;
}

// What was chosen stays, but where the service itself names it for another port of its own; another
// that names it clashes with its holder.
void Desired::keep_node_ports(Transaction& transaction) const {
  for (Service& service : transaction.upsert) {
    for (ServicePortSpec& port : service.ports) {
      if (!service.allocates_node_ports || port.node_port != 0 || port.protocol == 0) {
        continue;
      }
      const std::uint16_t before =
          node_port_before(transaction.provider, service, {port.port, port.protocol});
      const bool named = std::any_of(
          service.ports.begin(), service.ports.end(), [&](const ServicePortSpec& other) {
            return other.node_port == before && other.protocol == port.protocol;
          });
      port.node_port = named ? std::uint16_t{0} : before;
    }
  }
}

void Desired::assign_node_ports(Transaction& transaction, Faults& faults) const {
  keep_node_ports(transaction);
  std::set<PortKey> named;
  for (std::size_t i = 0; i < transaction.upsert.size(); ++i) {
    for (std::size_t p = 0; p < transaction.upsert[i].ports.size(); ++p) {
      const ServicePortSpec& port = transaction.upsert[i].ports[p];
      if (port.node_port != 0 && !node_ports_.range.contains(port.node_port)) {
        faults.add(node_port_path(i, p),
                   std::to_string(port.node_port) + " is not in this gateway's nodePortRange, " +
                       to_string(node_ports_.range) + "; choose one of it, or leave it out");
      }
      if (port.node_port != 0) {
        named.insert({port.node_port, port.protocol});
      }
    }
  }
  const std::set<ServiceName> gone = leaving(transaction);
  for (std::size_t i = 0; i < transaction.upsert.size(); ++i) {
    Service& service = transaction.upsert[i];
    const Holder self{transaction.provider, service.name};
    for (std::size_t p = 0; service.allocates_node_ports && p < service.ports.size(); ++p) {
      ServicePortSpec& port = service.ports[p];
      if (port.node_port != 0 || port.protocol == 0) {
        continue;
      }
      const auto taken = [&](std::uint16_t number) {
        const auto held = node_port_holders_.find({number, port.protocol});
        return named.contains({number, port.protocol}) ||
               (held != node_port_holders_.end() && held->second != self &&
                (held->second.provider != transaction.provider ||
                 !gone.contains(held->second.name)));
      };
      const std::uint16_t twin = node_port_of_twin(service, port);
      port.node_port =
          twin != 0 && !taken(twin)
              ? twin
              : node_ports_.choose(transaction.provider, service.name, port.port, taken)
                    .value_or(0);
      if (port.node_port == 0) {
        faults.add(node_port_path(i, p), "no node port is free in " +
                                             to_string(NodePortRange{node_ports_.dynamic_begin(),
                                                                     node_ports_.range.end}) +
                                             "; name one below it, or, of type LoadBalancer, set "
                                             "allocateLoadBalancerNodePorts: false");
      }
      named.insert({port.node_port, port.protocol});
    }
  }
}

}  // namespace sluice::model
