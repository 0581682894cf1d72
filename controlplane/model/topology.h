// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/model/config.h"
#include "controlplane/model/observed.h"
#include "dataplane/snapshot/snapshot.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

namespace sluice::model {

// The kernel's (or, for ports without a twin, the configuration's) layer 3 -> the routing side of a
// snapshot: routes, next hops, the host's own addresses. Pure but for what it keeps between calls;
// one thread.
class Topology {
 public:
  // `twins[i]`: interface index of port i's twin, nothing without one. `ports`: as started.
  Topology(const Config& config, std::vector<PortFacts> ports,
           std::vector<std::optional<int>> twins);

  void set_addresses(std::vector<KernelAddress> addresses);
  void set_routes(std::vector<KernelRoute> routes);
  void set_neighbours(const std::vector<KernelNeighbour>& neighbours);
  // An lcore holds packets for this neighbour, or a backend or gateway lies behind it: it gets a
  // next hop. False when there are kNextHopsMax already.
  bool want(std::uint8_t port, const IpAddress& neighbour, std::uint64_t now_ms);
  // Where packets to a backend go first; nothing when there is no route, or it is the host itself.
  struct Neighbour {
    std::uint8_t port = 0;
    IpAddress address;
    friend auto operator<=>(const Neighbour&, const Neighbour&) = default;
  };
  [[nodiscard]] std::optional<Neighbour> neighbour_towards(const IpAddress& destination) const;
  // That do not answer, and have not been asked for for a minute.
  [[nodiscard]] std::vector<Neighbour> silent(std::uint64_t now_ms) const;
  // Forgets neighbours that only lcores asked for, that have not answered for a minute.
  // Returns them, so that the kernel can be told.
  std::vector<Neighbour> forget_silent(std::uint64_t now_ms, const std::set<Neighbour>& keep);

  // Bit per port on which ARP/ND for `address` is answered: an on-link prefix there holds it, or
  // announce_on lists it.
  [[nodiscard]] std::uint16_t answer_ports(const IpAddress& address) const;
  // What an address is once a service has it.
  [[nodiscard]] AddressFacts facts_of(const IpAddress& address) const;
  // Of a node that is routed through the gateway.
  [[nodiscard]] bool is_node(const IpAddress& address) const {
    return node_ports_.is_node(address);
  }
  // Addresses of the host itself, on any interface and on ports without a twin.
  [[nodiscard]] std::vector<IpAddress> host_addresses() const;
  // Interface of a port's twin, for the kernel to be asked.
  [[nodiscard]] std::optional<int> twin(std::uint8_t port) const { return twins_[port]; }
  [[nodiscard]] std::vector<Neighbour> gateways() const;
  [[nodiscard]] bool is_gateway(const IpAddress& address) const;

  // What the address table has for `address` as long as it is no VIP: null when it is nobody's.
  [[nodiscard]] std::shared_ptr<const AddressEntry> entry_for(const IpAddress& address) const;

  // What changed since the last call, in tables that share the rest.
  struct Built {
    std::shared_ptr<const RouteTable> routes;
    std::shared_ptr<const NextHopTable> next_hops;
    std::vector<AddressTable::Change> addresses;  // the host's own, come and gone; SNAT ones
    bool routes_changed = false;                  // route_epoch
    bool addresses_changed = false;               // answer ports of VIPs may differ
  };
  [[nodiscard]] Built build();
  // build() would differ from the last one.
  [[nodiscard]] bool changed() const {
    return addresses_dirty_ || routes_dirty_ || !changed_hops_.empty();
  }
  [[nodiscard]] std::size_t next_hops() const { return hops_.size(); }
  // Where backends can be reached otherwise than by the default route; sorted, none within another.
  [[nodiscard]] std::vector<IpPrefix> destinations() const;
  // Of the last build(): beyond kRoutesMax of their family, the ones of the highest metric; those
  // that are on link and default routes are among the last to be left out.
  [[nodiscard]] std::size_t routes_left_out() const { return routes_left_out_; }
  // So many that silent ones are worth forgetting.
  [[nodiscard]] bool crowded() const;

 private:
  struct Hop {
    NextHopIndex index = kNoNextHop;
    bool host = false;
    bool reachable = false;
    MacAddress mac{};
    std::uint64_t wanted_ms = 0;  // when it was last asked for

    [[nodiscard]] bool is_silent(std::uint64_t now_ms) const;
  };
  void read_static(const Config& config);
  [[nodiscard]] std::optional<std::uint8_t> port_of(int interface) const;
  // And how many were left out.
  [[nodiscard]] std::pair<std::vector<Route>, std::size_t> compile_routes() const;
  void compile_hosts(std::vector<AddressTable::Change>& changes);
  [[nodiscard]] NextHop next_hop_of(const Neighbour& neighbour, const Hop& hop) const;

  std::vector<PortFacts> ports_;
  std::vector<std::optional<int>> twins_;
  std::vector<PortConfig> configs_;
  std::vector<SnatAddress> snat_;
  NodePorts node_ports_;
  std::vector<KernelAddress> addresses_;
  std::vector<KernelRoute> kernel_routes_;
  std::vector<KernelRoute> static_routes_;       // interface: -1 - port
  std::vector<KernelAddress> static_addresses_;  // likewise
  std::map<Neighbour, MacAddress> known_;        // reachable neighbours, wanted or not
  std::map<Neighbour, Hop> hops_;
  std::vector<NextHopIndex> free_;
  NextHopIndex next_index_ = 1;
  std::map<IpAddress, std::shared_ptr<const AddressEntry>> placed_;  // the host's own, SNAT ones

  std::set<Neighbour> changed_hops_;
  bool routes_dirty_ = true;
  bool addresses_dirty_ = true;
  bool indices_reused_ = false;
  std::size_t routes_left_out_ = 0;
  std::shared_ptr<const RouteTable> routes_ = std::make_shared<RouteTable>();
  std::shared_ptr<const NextHopTable> next_hops_ = std::make_shared<NextHopTable>();
};

}  // namespace sluice::model
