// SPDX-License-Identifier: Apache-2.0
#include "controlplane/model/node_ports.h"

#include "controlplane/model/config.h"
#include "controlplane/model/validate.h"

#include <algorithm>

namespace sluice::model {
namespace {

// FNV-1a: equal on all gateways and at every start.
std::uint64_t hash_of(std::uint64_t hash, const std::string& text) {
  for (const char byte : text + '/') {
    hash = (hash ^ static_cast<std::uint8_t>(byte)) * 0x100'0000'01b3ULL;
  }
  return hash;
}

}  // namespace

bool NodePorts::served_at(const IpAddress& own) const {
  return std::any_of(addresses.begin(), addresses.end(),
                     [&](const AddressRange& served) { return served.contains(own); });
}

bool NodePorts::is_node(const IpAddress& address) const {
  return std::find(nodes.begin(), nodes.end(), address) != nodes.end();
}

std::uint32_t NodePorts::dynamic_begin() const {
  const std::uint32_t size = range.end - range.begin;
  const std::uint32_t band = std::clamp<std::uint32_t>(size / 32, 16, 128);
  return size < 32 ? range.begin : range.begin + band;  // a small one has no band
}

std::optional<std::uint16_t> NodePorts::choose(
    const std::string& provider, const ServiceName& name, std::uint16_t port,
    const std::function<bool(std::uint16_t)>& taken) const {
  std::uint64_t hash = hash_of(0xcbf2'9ce4'8422'2325ULL, provider);
  hash = hash_of(hash_of(hash_of(hash, name.space), name.name), std::to_string(port));
  const std::uint32_t begin = dynamic_begin();
  const std::uint32_t size = range.end - begin;
  for (std::uint32_t i = 0; i < size; ++i) {
    const auto candidate = static_cast<std::uint16_t>(begin + (hash % size + i) % size);
    if (!taken(candidate)) {
      return candidate;
    }
  }
  return std::nullopt;
}

std::string to_string(const NodePortRange& range) {
  return std::to_string(range.begin) + "-" + std::to_string(range.end - 1);
}

NodePorts validate_node_ports(const ConfigInput& input, Faults& faults) {
  NodePorts made;
  const std::string& text = input.node_port_range;
  if (const auto range = parse_port_range(text.empty() ? to_string(made.range) : text)) {
    made.range = {range->first, range->second};
  } else {
    faults.add("nodePortRange", "'" + text + "' is not a range; write it like 30000-32767");
  }
  for (std::size_t i = 0; i < input.node_port_addresses.size(); ++i) {
    const std::string& given = input.node_port_addresses[i];
    if (const auto range = parse_address_range(given)) {
      made.addresses.push_back(*range);
    } else {
      faults.add("nodePortAddresses[" + std::to_string(i) + "]",
                 "'" + given + "' is no range of addresses; write it like 192.0.2.1, " +
                     "192.0.2.0/24 or 2001:db8::/64, without host bits");
    }
  }
  for (std::size_t i = 0; i < input.node_addresses.size(); ++i) {
    std::string fault;
    if (const auto address = read_address(input.node_addresses[i], fault)) {
      made.nodes.push_back(*address);
    } else {
      faults.add("nodeAddresses[" + std::to_string(i) + "]", fault);
    }
  }
  made.on_nodes = input.capture_node_addresses;
  if (made.on_nodes && input.node_addresses.empty()) {
    faults.add("captureNodeAddresses", "there are no nodeAddresses; name them, or leave it out");
  }
  made.on_vips = input.node_ports_on_vips.value_or(true);
  return made;
}

}  // namespace sluice::model
