// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/stages/pipeline.h"
#include "dataplane/state/aging.h"
#include "tests/support/frame.h"
#include "tests/support/script.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace sluice::testing {

// A gateway small enough to know by heart, in either family, for the pipeline without a worker:
//
//   client --- router --- [0 wan | gateway | lan 1] --- backend[0..2]
//
// One VIP: TCP 80 and UDP 53 go to the backends' ports 8080 and 5353; TCP 81 has no backend.
struct WorldOptions {
  // 0: as many as SLUICE_TEST_LCORES says, or one. With several, frames arrive on each in turn and
  // are carried to their owner as the workers would.
  std::uint8_t lcores = 0;
  std::uint32_t flows = 64;
  std::uint32_t snat_port_begin = 20'000;
  std::uint32_t snat_port_end = 30'000;
  std::uint16_t lan_mtu = 1500;
  bool transit_to_kernel = false;
  bool twin = true;
  bool route_to_backends = true;
  ForwardingMode mode = ForwardingMode::kFullNat;  // of all services
  std::uint16_t wan_mtu = 1500;
  std::uint32_t datagrams = 64;         // fragmented ones under way, of each lcore
  std::size_t tailroom = 2048;          // behind each frame
  bool refuse = false;                  // the service without a backend does
  std::array<QuotaLimits, 3> quotas{};  // that change_service() can have services count against
  // Real buffers, for tests that have EAL: each frame lies in some of this pool, which go back to
  // it with the packet. Null: each lies in memory of its own.
  rte_mempool* pool = nullptr;
  // What the worker does with a packet of verdict kFragment; asked for Outcome::pieces.
  std::vector<Frame> (*cut)(rte_mbuf*, std::uint16_t mtu) = nullptr;
};

// What became of a packet.
struct Outcome {
  Verdict verdict = Verdict::kPending;
  Drop drop = Drop::kNone;  // also when the sender was told: `answered`
  bool answered = false;    // `frame` is what he is told
  std::uint8_t out_port = 0;
  IpAddress neighbour;            // with kHold
  unsigned hops = 0;              // from lcore to lcore
  std::uint8_t owner = 0;         // with kHandOver, which only a packet ends with that never rests
  Errand errand = Errand::kNone;  // likewise
  BindingRef chosen;
  std::uint16_t mtu = 0;  // with kFragment
  Frame frame;
  std::vector<Frame> pieces;  // with kFragment, where WorldOptions::cut says how
};

class World {
 public:
  static constexpr std::uint8_t kWan = 0;
  static constexpr std::uint8_t kLan = 1;
  static constexpr unsigned kHopsMax = 8;  // far more than any packet should need
  static constexpr std::uint32_t kWebId = 1;
  static constexpr std::uint32_t kDnsId = 2;
  static constexpr std::uint32_t kEmptyId = 3;

  explicit World(Family family, const WorldOptions& options = {});
  ~World();

  // One frame through the pipeline.
  Outcome run(const Frame& frame, std::uint8_t port, bool from_host = false);
  // One that another lcore hands to this one, which is as far as it goes.
  Outcome run_handed(const Frame& frame, std::uint8_t lcore, Errand errand, BindingRef chosen);
  // Several in one burst, from the wire or from the host.
  std::vector<Outcome> run_all(const std::vector<Frame>& frames, std::uint8_t port, bool from_host);
  std::vector<Outcome> run_burst(const std::vector<Frame>& frames, std::uint8_t port);

  // From now on frames come in buffers of so many octets each, the last with what is left; 0: in
  // one. With WorldOptions::pool only.
  void set_segments(std::size_t octets) { segment_ = octets; }

  // What became of the fragments that were held and have been released or discarded since the last
  // call, in the order in which that happened.
  std::vector<Outcome> take_held();
  [[nodiscard]] std::size_t held() const { return held_.size(); }
  // reset() goes back to the snapshot that was there at remember(), with empty tables.
  void remember() { remembered_ = snapshot; }
  void reset();
  // All lcores' clocks, and the patience of fragments.
  void advance(std::uint32_t milliseconds);

  // As each worker does each turn: what was idle for too long leaves the flow tables.
  void age();
  // Buffers that fragments which wait are in.
  [[nodiscard]] std::size_t held_buffers() const;

  // Frames as they arrive: from the client (by way of the router) to the VIP ...
  [[nodiscard]] FrameSpec from_client(std::uint8_t protocol, std::uint16_t client_port,
                                      std::uint8_t tcp_flags = kTcpSyn) const;
  // ... and a backend's answer to a frame the gateway sent it.
  [[nodiscard]] FrameSpec answer_to(const Frame& sent,
                                    std::uint8_t tcp_flags = kTcpSyn | kTcpAck) const;

  // Publishes the binding of backend `i` of a service in another state.
  void set_binding(std::uint32_t slot, BindingState state, std::uint8_t incarnation = 0);
  // Takes an endpoint away whose TCP flows end with it.
  void remove_and_reset(std::uint32_t slot);
  // All services of the VIP are deleted, and their TCP flows go on or end with them.
  void delete_services(bool resets = false);
  // The SNAT address is one of the host's too, whose other ports it has.
  void share_snat_with_host();
  // The VIP's services on another address too.
  void add_vip(const IpAddress& other);
  // Gives a service of the VIP a node port. Changes of the service from now on pass it by.
  void add_node_port(std::uint16_t node_port, std::uint32_t service_id);
  // An address that is there serves node ports, another one as a node's.
  void serve_node_ports(const IpAddress& address);
  // Makes only these backends of a service usable for new flows.
  void set_dns_backends(const std::vector<std::uint32_t>& usable) {
    set_backends(kDnsId, 5353, usable);
  }
  void set_web_backends(const std::vector<std::uint32_t>& usable) {
    set_backends(kWebId, 8080, usable);
  }
  // Publishes a service port in another form.
  void change_service(std::uint32_t id, const std::function<void(ServicePort&)>& change);
  void set_next_hop(NextHopIndex index, NextHop::State state, const MacAddress& mac);

  [[nodiscard]] std::uint64_t drops(Drop reason) const {
    return counters.drops[static_cast<std::size_t>(reason)].get();
  }
  // Binding slot of backend `i`.
  [[nodiscard]] static std::uint32_t web_slot(std::uint32_t i) { return 10 + i; }
  [[nodiscard]] static std::uint32_t dns_slot(std::uint32_t i) { return 20 + i; }

  Family family;
  IpAddress client, client_on_link, router, vip, snat, wan_host, lan_host, stranger;
  std::vector<IpAddress> backends;
  MacAddress wan_mac{{2, 0, 0, 0, 0, 1}};
  MacAddress lan_mac{{2, 0, 0, 0, 0, 2}};
  MacAddress router_mac{{2, 0, 0, 0, 1, 1}};
  MacAddress client_mac{{2, 0, 0, 0, 1, 2}};
  static constexpr NextHopIndex kRouterHop = 1;
  static constexpr NextHopIndex kBackendHop = 2;  // of backend 0; the others follow
  static constexpr NextHopIndex kWanHostHop = 5;

  Snapshot snapshot;
  LcoreCounters counters;
  std::unique_ptr<QuotaPool> quotas;  // WorldOptions::quotas

  struct Lcore {
    Lcore(const WorldOptions& options, LcoreCounters& counters, std::uint8_t number,
          std::uint8_t count);
    std::vector<std::byte> memory4;
    std::vector<std::byte> memory6;
    LcoreState state;
    Aging<Family::kIpv4> aging4;
    Aging<Family::kIpv6> aging6;
  };
  std::vector<std::unique_ptr<Lcore>> lcores;
  LcoreState& state;  // of the first

  // As the owner of such a packet would answer; it is called lcore 3, and lcore 4 who keeps its
  // client's affinity when that is another.
  [[nodiscard]] Explanation explain(const ExplainQuery& query) const;
  // Of all lcores.
  [[nodiscard]] std::vector<FlowRow> flows() const;

 private:
  void set_backends(std::uint32_t service_id, std::uint16_t port,
                    const std::vector<std::uint32_t>& usable);
  struct Passenger;
  // One burst on one lcore, then what it hands over on the others, then what it releases.
  void carry(std::vector<Passenger*> passengers, std::size_t first);
  void run_on(std::size_t lcore, std::vector<Passenger*>& passengers);
  void settle_held();
  void record(const std::vector<Frame>& frames, std::uint8_t port, bool from_host);
  void make_addresses(const WorldOptions& options);
  void make_services();
  void make_quotas();
  void make_ways(const WorldOptions& options);

  WorldOptions options_;
  Snapshot remembered_;
  Script recorded_;  // when SLUICE_CORPUS names a folder for it
  std::uint8_t arrivals_ = 0;
  std::size_t segment_ = 0;
  std::vector<std::unique_ptr<Passenger>> held_;
  std::vector<Outcome> settled_;
};

}  // namespace sluice::testing
