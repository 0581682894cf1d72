// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/model/address_pool.h"
#include "controlplane/model/result.h"
#include "controlplane/model/service.h"
#include "dataplane/snapshot/node_ports.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace sluice::model {

struct ConfigInput;

// Node ports of a gateway: which there are, and which addresses serve them.
struct NodePorts {
  NodePortRange range{};
  std::vector<AddressRange> addresses{};  // of the host; its others serve none
  std::vector<IpAddress> nodes{};         // addresses of nodes that are routed through the gateway
  bool on_nodes = false;                  // those serve them
  bool on_vips = true;                    // VIPs of LoadBalancer services do

  [[nodiscard]] bool served_anywhere() const { return !addresses.empty() || on_nodes || on_vips; }
  [[nodiscard]] bool served_at(const IpAddress& own) const;
  [[nodiscard]] bool is_node(const IpAddress& address) const;
  // Below it they are for whoever names one (KEP-3668).
  [[nodiscard]] std::uint32_t dynamic_begin() const;

  // One that nobody has, for a service port that names none: where the search begins depends on
  // the service, so that one which is made again, here or on another gateway, gets what it had as
  // long as that is free. Nothing when all are taken.
  [[nodiscard]] std::optional<std::uint16_t> choose(
      const std::string& provider, const ServiceName& name, std::uint16_t port,
      const std::function<bool(std::uint16_t)>& taken) const;
};
std::string to_string(const NodePortRange& range);

// The part of a configuration that says this.
NodePorts validate_node_ports(const ConfigInput& input, Faults& faults);

}  // namespace sluice::model
