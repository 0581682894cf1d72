// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/lcore/dataplane.h"
#include "dataplane/lcore/device_rss.h"
#include "dataplane/lcore/flow_rules.h"
#include "dataplane/net/side_keys.h"
#include "dataplane/snapshot/ownership.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

struct rte_eth_dev_info;

namespace sluice {

// What a device is asked for when it shall spread packets by RSS.
struct RssRequest {
  std::uint64_t fields = 0;  // RTE_ETH_RSS_*: TCP and UDP of both families, by their ports
  std::uint8_t key_bytes = 0;
};
// Nothing when the port is not to, or its device cannot hash ports with a key of our length.
[[nodiscard]] std::optional<RssRequest> rss_request(const PortSettings& settings,
                                                    const rte_eth_dev_info& info);

// A started port, as far as steering goes.
struct SteeredPort {
  std::uint16_t id = 0;  // DPDK's number
  std::string driver;
  Steering wanted = Steering::kAuto;
  Faces faces = Faces::kBoth;
  bool rss = false;  // it spreads packets by rss_request()
};

// How one port's packets find the lcore that owns them. Whatever the method, what comes to the
// wrong lcore is handed over: a method saves hops, and no packet depends on it.
struct PortSteering {
  Steering method = Steering::kHandoff;
  std::string why;
  HashInput hash = HashInput::kNone;  // what its device hashes, by the key of `ownership`
  std::optional<RuleRss> vip_rss;     // what rules for VIPs are to say, where they are needed
  std::vector<NicRequest> requests;
};

// Makes the devices of all ports agree on one Ownership, and holds their rules. In this order:
//
// 1. inverse RSS. Each device gets key and RETA from us, and both are read back. One that has its
//    own key, or its own RETA, imposes it on the others; a second one with yet another is handed
//    over from. RETAs of several sizes agree by repeating the smallest. Where each port faces
//    clients or backends alone, and each device can hash one side, the client's side decides;
//    else the whole tuple.
// 2. rte_flow, where no port got that far, or where it is wished. Where a port faces both sides and
//    all devices can hash one side, the client's side decides: the device spreads by the
//    destination's side, and what is for a VIP by the source's, by rules that come and go with the
//    VIPs (vip_rules.h). Else some bits of the client's or SNAT port decide, and each device has a
//    rule for each slice of them.
// 3. handoff.
class PortsSteering {
 public:
  // `rss_keys`: the ports were configured with the source side's.
  PortsSteering(std::vector<SteeredPort> ports, unsigned lcores, const SideKeys& rss_keys,
                std::span<const SnatAddress> snat);
  PortsSteering(const PortsSteering&) = delete;
  PortsSteering& operator=(const PortsSteering&) = delete;

  [[nodiscard]] std::shared_ptr<const Ownership> ownership() const { return ownership_; }
  [[nodiscard]] const PortSteering& port(std::size_t i) const { return steerings_[i]; }

 private:
  using Devices = std::vector<std::optional<DeviceRss>>;  // by port; those that go together
  [[nodiscard]] bool steer_by_rss();
  [[nodiscard]] bool steer_by_rules(std::span<const SnatAddress> snat);
  [[nodiscard]] bool steer_by_vip_rules();
  [[nodiscard]] Devices read_devices(Steering method);
  void agree_on_key(Devices& devices, OwnerRule& rule);
  void agree_on_reta(Devices& devices, OwnerRule& rule);
  bool hash_sides(Devices& devices, OwnerRule& rule);
  [[nodiscard]] bool takes_vip_rules(std::size_t i, const RuleRss& rss);
  void note_rss(Devices& devices, const OwnerRule& rule);
  bool make_rules(std::size_t i, std::span<const SnatAddress> snat);
  [[nodiscard]] bool wants(std::size_t i, Steering method) const;
  void refuse(std::size_t i, const std::string& what, const std::string& why);

  std::vector<SteeredPort> ports_;
  std::uint8_t lcores_;
  SideKeys keys_;
  std::shared_ptr<const Ownership> ownership_;
  std::vector<PortSteering> steerings_;
  std::vector<FlowRules> rules_;  // by port; the ports are open as long as they are there
};

}  // namespace sluice
