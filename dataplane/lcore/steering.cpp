// SPDX-License-Identifier: Apache-2.0
#include "dataplane/lcore/steering.h"

#include "dataplane/lcore/nic_ops.h"
#include "dataplane/lcore/vip_rules.h"
#include "dataplane/net/headers.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace sluice {
namespace {

constexpr std::uint64_t kTupleFields = RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV4_UDP |
                                       RTE_ETH_RSS_NONFRAG_IPV6_TCP | RTE_ETH_RSS_NONFRAG_IPV6_UDP;
constexpr std::uint64_t kSourceOnly = RTE_ETH_RSS_L3_SRC_ONLY | RTE_ETH_RSS_L4_SRC_ONLY;
constexpr std::uint64_t kDestinationOnly = RTE_ETH_RSS_L3_DST_ONLY | RTE_ETH_RSS_L4_DST_ONLY;

// Devices that put the selected fields of one side next to each other; others are taken to leave
// them where they stand. The comparison of the first hashes tells when that is wrong.
constexpr const char* kCompactDrivers[] = {"mlx5_pci", "net_cnxk", "net_ice", "net_iavf"};

SideLayout layout_of(const std::string& driver) {
  const bool compact = std::any_of(std::begin(kCompactDrivers), std::end(kCompactDrivers),
                                   [&](const char* known) { return driver == known; });
  return compact ? SideLayout::kCompact : SideLayout::kInPlace;
}

// What a device hashes of most packets; one that faces both sides has rules for the others.
std::uint64_t side_of(Faces faces) {
  return faces == Faces::kClients ? kSourceOnly : kDestinationOnly;
}

bool faces_both(const SteeredPort& port) {
  return port.faces == Faces::kBoth;
}

bool offers(std::uint16_t port, std::uint64_t fields) {
  rte_eth_dev_info info{};
  nic_ops.info_get(port, &info);
  return (info.flow_type_rss_offloads & fields) == fields;
}

bool same_tuple_key(const ToeplitzKey& a, const ToeplitzKey& b) {
  return std::equal(a.bytes.begin(), a.bytes.begin() + DeviceRss::kKeyBytesMin, b.bytes.begin());
}

// A RETA of `size` entries that says the same as `reta`; empty when there is none.
std::vector<std::uint8_t> resized(const std::vector<std::uint8_t>& reta, std::size_t size) {
  std::vector<std::uint8_t> other(size);
  for (std::size_t i = 0; i < std::max(size, reta.size()); ++i) {
    const std::uint8_t lcore = reta[i % reta.size()];
    if (i >= size && other[i % size] != lcore) {
      return {};
    }
    other[i % size] = lcore;
  }
  return other;
}

std::string words_of(const FlowMatch& match) {
  return std::string(match.family == Family::kIpv4 ? "IPv4 " : "IPv6 ") +
         (match.protocol == kProtocolTcp ? "TCP" : "UDP");
}

}  // namespace

std::optional<RssRequest> rss_request(const PortSettings& settings, const rte_eth_dev_info& info) {
  // Under rte_flow for what rules for VIPs leave to it.
  const bool sides = (info.flow_type_rss_offloads & (kSourceOnly | kDestinationOnly)) ==
                     (kSourceOnly | kDestinationOnly);
  const bool wanted = settings.steering == Steering::kAuto ||
                      settings.steering == Steering::kInverseRss ||
                      (settings.steering == Steering::kRteFlow && sides);
  // Drivers that tell no length have 40 bytes (rte_eth_rss_conf).
  const unsigned key_bytes = info.hash_key_size == 0 ? 40 : info.hash_key_size;
  const bool can = (info.flow_type_rss_offloads & kTupleFields) == kTupleFields &&
                   key_bytes >= DeviceRss::kKeyBytesMin && key_bytes <= ToeplitzKey::kBytes;
  return wanted && can
             ? std::optional(RssRequest{kTupleFields, static_cast<std::uint8_t>(key_bytes)})
             : std::nullopt;
}

PortsSteering::PortsSteering(std::vector<SteeredPort> ports, unsigned lcores,
                             const SideKeys& rss_keys, std::span<const SnatAddress> snat)
    : ports_(std::move(ports)),
      lcores_(static_cast<std::uint8_t>(lcores)),
      keys_(rss_keys),
      steerings_(ports_.size()) {
  for (const SteeredPort& port : ports_) {
    rules_.emplace_back(port.id);
  }
  if (lcores_ == 1) {
    ownership_ = Ownership::single();
    return;
  }
  const bool by_rules = std::any_of(ports_.begin(), ports_.end(), [](const SteeredPort& port) {
    return port.wanted == Steering::kRteFlow;
  });
  if (by_rules ? steer_by_vip_rules() : steer_by_rss()) {
    return;
  }
  if (steer_by_rules(snat)) {
    return;
  }
  ownership_ = std::make_shared<Ownership>(lcores_, OwnerRule{.key = keys_.source});
}

bool PortsSteering::wants(std::size_t i, Steering method) const {
  return ports_[i].wanted == Steering::kAuto || ports_[i].wanted == method;
}

void PortsSteering::refuse(std::size_t i, const std::string& what, const std::string& why) {
  steerings_[i].requests.push_back({what, false, why});
  steerings_[i].why = why;
}

PortsSteering::Devices PortsSteering::read_devices(Steering method) {
  Devices devices(ports_.size());
  for (std::size_t i = 0; i < ports_.size(); ++i) {
    if (!wants(i, method)) {
      steerings_[i].why = "as configured";
      continue;
    }
    rte_eth_dev_info info{};
    nic_ops.info_get(ports_[i].id, &info);
    if (!ports_[i].rss) {
      refuse(i, "rss",
             "the device does not hash addresses and ports of TCP and UDP by a key of 40 to 52 "
             "bytes");
      continue;
    }
    const auto key_bytes =
        static_cast<std::uint8_t>(info.hash_key_size == 0 ? 40 : info.hash_key_size);
    DeviceRss device(ports_[i].id, kTupleFields, key_bytes, keys_.source, lcores_);
    if (device.fault().empty()) {
      devices[i] = std::move(device);
    } else {
      refuse(i, "rss", device.fault());
    }
  }
  return devices;
}

void PortsSteering::agree_on_key(Devices& devices, OwnerRule& rule) {
  rule.key = keys_.source;
  bool fixed = false;
  for (const auto& device : devices) {
    if (device && device->key_is_fixed() && !fixed) {
      rule.key = device->key();
      fixed = true;
    }
  }
  for (std::size_t i = 0; i < devices.size(); ++i) {
    if (devices[i] && !same_tuple_key(devices[i]->key(), rule.key) &&
        (devices[i]->key_is_fixed() || !devices[i]->set_key(rule.key))) {
      refuse(i, "rss key", "the device keeps a key that is not the other ports'");
      devices[i].reset();
    }
  }
}

void PortsSteering::agree_on_reta(Devices& devices, OwnerRule& rule) {
  bool fixed = false;
  for (const auto& device : devices) {
    const bool better = device && (rule.reta.empty() || device->reta().size() < rule.reta.size());
    if (device && !fixed && (device->reta_is_fixed() || better)) {
      rule.reta = device->reta();
      fixed = device->reta_is_fixed();
    }
  }
  for (std::size_t i = 0; i < devices.size(); ++i) {
    if (!devices[i]) {
      continue;
    }
    const std::vector<std::uint8_t> own = resized(rule.reta, devices[i]->reta().size());
    if (devices[i]->reta() != own &&
        (own.empty() || devices[i]->reta_is_fixed() || !devices[i]->set_reta(own))) {
      refuse(i, "rss reta", "the device keeps an indirection table that is not the other ports'");
      devices[i].reset();
    }
  }
}

// Each device one side, if all of them can. Else none: the whole tuple, as before.
bool PortsSteering::hash_sides(Devices& devices, OwnerRule& rule) {
  std::optional<SideLayout> layout;
  for (std::size_t i = 0; i < devices.size(); ++i) {
    const SideLayout own = layout_of(ports_[i].driver);
    if (!devices[i] || !offers(ports_[i].id, side_of(ports_[i].faces)) ||
        (layout && *layout != own) || (own == SideLayout::kInPlace && devices[i]->key_is_fixed())) {
      return false;
    }
    layout = own;
  }
  const bool in_place = layout == SideLayout::kInPlace;
  if (in_place && !same_tuple_key(rule.key, keys_.source)) {
    return false;
  }
  bool all = true;
  for (std::size_t i = 0; i < devices.size() && all; ++i) {
    const bool shifted = in_place && ports_[i].faces != Faces::kClients;
    all = devices[i]->set_key(shifted ? keys_.destination : rule.key, side_of(ports_[i].faces));
    if (!all) {
      refuse(i, "rss of one side", "the device refuses it");
    }
  }
  if (!all) {
    for (std::size_t i = 0; i < devices.size(); ++i) {
      if (!devices[i]->key_is_fixed() && !devices[i]->set_key(rule.key)) {
        refuse(i, "rss key", "the device does not go back to whole tuples");
        devices[i].reset();
      }
    }
    return false;
  }
  rule.input = OwnerInput::kClientSide;
  rule.layout = *layout;
  return true;
}

void PortsSteering::note_rss(Devices& devices, const OwnerRule& rule) {
  const bool sides = rule.input == OwnerInput::kClientSide;
  for (std::size_t i = 0; i < devices.size(); ++i) {
    if (!devices[i]) {
      continue;
    }
    const DeviceRss& device = *devices[i];
    const bool clients = ports_[i].faces == Faces::kClients;
    PortSteering& steering = steerings_[i];
    steering.method = Steering::kInverseRss;
    steering.hash = !sides    ? HashInput::kTuple
                    : clients ? HashInput::kSource
                              : HashInput::kDestination;
    steering.requests.push_back({"rss key, " + std::to_string(device.key_bytes()) + " bytes",
                                 !device.key_is_fixed(),
                                 device.key_is_fixed() ? "the device keeps its own" : ""});
    steering.requests.push_back({"rss reta, " + std::to_string(device.reta().size()) + " entries",
                                 !device.reta_is_fixed(),
                                 device.reta_is_fixed() ? "the device keeps its own" : ""});
    steering.why = std::string("the device spreads by ") +
                   (!sides    ? "addresses and ports"
                    : clients ? "source address and port"
                              : "destination address and port") +
                   (device.key_is_fixed() ? " and its own key" : "");
  }
}

bool PortsSteering::steer_by_rss() {
  Devices devices = read_devices(Steering::kInverseRss);
  OwnerRule rule;
  rule.input = OwnerInput::kFullTuple;
  agree_on_key(devices, rule);
  agree_on_reta(devices, rule);
  // Whole tuples bring home what goes through ports that face both sides, unless it is under DNAT,
  // and need no rule for each VIP; those are for who wishes for rte_flow.
  if (std::none_of(ports_.begin(), ports_.end(), faces_both)) {
    hash_sides(devices, rule);
  }
  if (std::none_of(devices.begin(), devices.end(), [](const auto& d) { return d.has_value(); })) {
    return false;
  }
  note_rss(devices, rule);
  ownership_ = std::make_shared<Ownership>(lcores_, rule);
  return true;
}

// Is the rule for a VIP one of this device's? Asked by making one, for an address no packet has.
bool PortsSteering::takes_vip_rules(std::size_t i, const RuleRss& rss) {
  FlowRules& rules = rules_[i];
  bool all = true;
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    IpAddress nobody;
    nobody.family = family;
    const bool made = make_vip_rules(rules, nobody, rss);
    if (!made) {
      refuse(i, "rss rules for VIPs", rules.why());
    }
    all = all && made;
    rules.clear();
  }
  return all;
}

// All ports or none: what one leaves to port numbers decides for all.
bool PortsSteering::steer_by_vip_rules() {
  const bool possible = std::any_of(ports_.begin(), ports_.end(), faces_both) &&
                        std::all_of(ports_.begin(), ports_.end(), [](const SteeredPort& port) {
                          return port.rss && offers(port.id, kSourceOnly | kDestinationOnly);
                        });
  if (!possible) {
    return false;
  }
  Devices devices = read_devices(Steering::kRteFlow);
  OwnerRule rule;
  agree_on_key(devices, rule);
  agree_on_reta(devices, rule);
  if (!hash_sides(devices, rule)) {
    return false;
  }
  std::vector<std::optional<RuleRss>> for_vips(ports_.size());
  for (std::size_t i = 0; i < ports_.size(); ++i) {
    if (!faces_both(ports_[i])) {
      continue;
    }
    const std::vector<std::uint8_t>& reta = devices[i]->reta();
    for_vips[i] = RuleRss{kSourceOnly, devices[i]->key_bytes(), rule.key,
                          std::vector<std::uint16_t>(reta.begin(), reta.end())};
    if (!takes_vip_rules(i, *for_vips[i])) {
      return false;
    }
  }
  note_rss(devices, rule);
  for (std::size_t i = 0; i < ports_.size(); ++i) {
    if (for_vips[i]) {
      PortSteering& steering = steerings_[i];
      steering.method = Steering::kRteFlow;
      steering.hash = HashInput::kEitherSide;
      steering.why += ", and what is for a VIP by source address and port, by rules for each VIP";
      steering.vip_rss = std::move(for_vips[i]);
    }
  }
  ownership_ = std::make_shared<Ownership>(lcores_, rule);
  return true;
}

namespace {

// Each slice of an end's port of these packets to its lcore. False at the first that is refused.
bool steer_slices(FlowRules& rules, FlowMatch match, End end, std::uint32_t priority,
                  const Ownership& ownership) {
  for (std::uint16_t slice = 0; slice < ownership.slices(); ++slice) {
    const MaskedPort port{
        static_cast<std::uint16_t>(slice << Ownership::kSliceShift),
        static_cast<std::uint16_t>((ownership.slices() - 1U) << Ownership::kSliceShift)};
    (end == End::kSource ? match.source_port : match.destination_port) = port;
    if (!rules.to_queue(match, ownership.of_slice(slice), priority)) {
      return false;
    }
  }
  return true;
}

std::vector<FlowMatch> matches_of(std::span<const SnatAddress> snat, bool each_address) {
  std::vector<FlowMatch> matches;
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    for (const SnatAddress& address : snat) {
      if (address.address.family != family) {
        continue;
      }
      for (const std::uint8_t protocol : {kProtocolTcp, kProtocolUdp}) {
        FlowMatch match{family, protocol};
        if (each_address) {
          match.destination = IpPrefix{address.address, address.address.bits()};
        }
        matches.push_back(match);
      }
      if (!each_address) {
        break;
      }
    }
  }
  return matches;
}

}  // namespace

// Where a port faces one side, all its packets go by that side's port number. Where it faces both,
// what is for a SNAT address goes by its destination port, and the rest, by rules of a lower
// priority that a device need not have, by its source port.
bool PortsSteering::make_rules(std::size_t i, std::span<const SnatAddress> snat) {
  FlowRules& rules = rules_[i];
  if (snat.empty()) {
    refuse(i, "queue rules", "there is no SNAT address to bring home");
    return false;
  }
  const bool both = ports_[i].faces == Faces::kBoth;
  const End end = ports_[i].faces == Faces::kClients ? End::kSource : End::kDestination;
  for (const FlowMatch& match : matches_of(snat, both)) {
    // Below the rules that drop what is denied; a device with one priority has no order.
    const std::size_t before = rules.size();
    bool made = !both && steer_slices(rules, match, end, 1, *ownership_);
    if (!made) {
      rules.clear(before);
      made = steer_slices(rules, match, end, 0, *ownership_);
    }
    if (!made) {
      refuse(i, "queue rules, " + words_of(match), rules.why());
      rules.clear();
      return false;
    }
  }
  PortSteering& steering = steerings_[i];
  steering.method = Steering::kRteFlow;
  steering.requests.push_back({"queue rules, " + std::to_string(rules.size()), true, ""});
  steering.why = "the device has a rule for each of " + std::to_string(ownership_->slices()) +
                 " slices of port numbers";
  if (!both) {
    return true;
  }
  const std::size_t replies = rules.size();
  for (const FlowMatch& match : matches_of(snat, false)) {
    if (!steer_slices(rules, match, End::kSource, 1, *ownership_)) {
      rules.clear(replies);
      steering.requests.push_back({"queue rules for clients' packets", false, rules.why()});
      steering.why += ", but for clients' packets, which are handed over";
      return true;
    }
  }
  steering.requests.push_back(
      {"queue rules for clients' packets, " + std::to_string(rules.size() - replies), true, ""});
  return true;
}

bool PortsSteering::steer_by_rules(std::span<const SnatAddress> snat) {
  ownership_ = std::make_shared<Ownership>(
      lcores_, OwnerRule{.input = OwnerInput::kPortBits, .key = keys_.source});
  bool any = false;
  for (std::size_t i = 0; i < ports_.size(); ++i) {
    if (!wants(i, Steering::kRteFlow)) {
      if (steerings_[i].why.empty()) {
        steerings_[i].why = "as configured";
      }
      continue;
    }
    any = make_rules(i, snat) || any;
  }
  return any;
}

}  // namespace sluice
