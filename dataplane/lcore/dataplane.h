// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/address.h"
#include "dataplane/snapshot/idle_wait.h"
#include "dataplane/snapshot/quota.h"
#include "dataplane/snapshot/snapshot.h"
#include "dataplane/snapshot/steering.h"
#include "dataplane/stages/query.h"
#include "dataplane/state/counters.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace sluice {

struct PortSettings {
  std::string name;    // of the twin interface
  std::string device;  // PCI address, or vdev with its arguments
  std::uint16_t mtu = 1500;
  bool twin = true;
  std::uint16_t rx_descriptors = 1024;
  std::uint16_t tx_descriptors = 1024;
  std::uint16_t vlan = 0;     // a VLAN of another port, which is before it: no device of its own
  std::uint8_t parent = 0;    // that port's index
  std::uint32_t buffers = 0;  // in its pool; 0: what its queues and lcores can hold
  std::uint16_t buffer_bytes = 0;  // of a packet in each; 0: the MTU's, at least 2,048
  Steering steering = Steering::kAuto;
  Faces faces = Faces::kBoth;
};

struct DataplaneSettings {
  std::vector<unsigned> lcores;  // CPU numbers, one worker each
  std::uint64_t memory_bytes = 512ULL << 20U;
  bool hugepages = true;
  std::uint32_t idle_sleep_us = 0;  // longest wait of an idle lcore; 0: never
  IdleWait idle_wait = IdleWait::kAuto;
  std::uint32_t flows_ipv4 = 0;  // per lcore
  std::uint32_t flows_ipv6 = 0;
  std::uint32_t affinity_clients = 1024;  // per lcore
  std::uint32_t half_open_percent = 100;  // of each flow table, at most
  std::uint32_t bindings = 0;             // counters are kept for this many slots
  std::uint32_t service_ports = 0;
  std::vector<std::string> eal_arguments;
  std::vector<PortSettings> ports;
  std::vector<SnatAddress> snat;    // where rules bring replies home
  std::vector<QuotaLimits> quotas;  // QuotaIds count from 1
};

// Start-up cannot go on. what() is one sentence that names the setting and the way out.
struct StartFault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Something a device was asked for, and what it said.
struct NicRequest {
  std::string what;  // "rss key, 40 bytes"
  bool accepted = false;
  std::string answer;  // why not, or what it does instead
};

// What a service denies, one prefix for one of its VIPs and ports.
struct DeniedSource {
  IpAddress vip;
  std::uint16_t port = 0;
  std::uint8_t protocol = 0;
  IpPrefix source;

  friend auto operator<=>(const DeniedSource&, const DeniedSource&) = default;
};

struct PortState {
  std::string name;
  std::string device;
  std::string driver;
  MacAddress mac{};
  bool link_up = false;
  std::uint32_t speed_mbps = 0;
  std::uint16_t mtu = 0;
  std::string twin;      // interface name, or empty
  std::string steering;  // how packets reach the owner of their flow, and why so
  // Of the device; a VLAN's packets count there.
  std::uint64_t rx_packets = 0;
  std::uint64_t rx_bytes = 0;
  std::uint64_t tx_packets = 0;
  std::uint64_t tx_bytes = 0;
  std::uint64_t rx_missed = 0;
  std::uint64_t rx_errors = 0;
  std::uint64_t tx_errors = 0;
  std::uint64_t tx_dropped = 0;
  std::uint64_t punted = 0;
  std::uint64_t injected = 0;
  std::vector<std::string> offloads;
  std::vector<NicRequest> requests;
  std::uint64_t hashes_equal = 0;  // of the device, compared with software
  std::uint64_t hashes_different = 0;
  std::uint64_t link_changes = 0;  // since the start
};

// Everything that needs DPDK, behind one door: EAL, ports and their twins, the punt thread, the
// workers, RCU. The control plane owns one and calls it from one thread unless said otherwise.
class Dataplane {
 public:
  // Called on the punt thread: an lcore holds packets for this neighbour. Must not block.
  using NeighbourWanted = std::function<void(std::uint8_t port, const IpAddress& address)>;

  // Called on the punt thread: somebody else has said that an address which we answer for on this
  // port is at his MAC. Must not block.
  using AddressClaimed =
      std::function<void(std::uint8_t port, const IpAddress& address, const MacAddress& mac)>;

  // Starts EAL and the ports and makes the twins; no packet moves yet. Restores the caller's CPU
  // affinity. Throws StartFault, everything it added removed again.
  explicit Dataplane(const DataplaneSettings& settings);
  ~Dataplane();  // stops; removes what it added to the system
  Dataplane(const Dataplane&) = delete;
  Dataplane& operator=(const Dataplane&) = delete;

  // Launches lcores and punt thread. A snapshot must have been published.
  void start(NeighbourWanted wanted, AddressClaimed claimed = {});
  void stop();  // idempotent; every lcore has left its loop on return

  // Makes `next` what every lcore reads from its next turn on; never blocks. The snapshot before
  // is released once no lcore can hold it (in a later publish() or confirmed()). Returns a ticket.
  std::uint64_t publish(std::shared_ptr<const Snapshot> next);
  // True once every lcore has seen the ticket's snapshot.
  bool confirmed(std::uint64_t ticket);
  // How many snapshots that were replaced are kept because an lcore may still read them.
  [[nodiscard]] std::size_t unreclaimed();
  // CPU numbers of the lcores that have not.
  [[nodiscard]] std::vector<unsigned> unconfirmed(std::uint64_t ticket) const;
  // What an lcore without packets does: "polls", "sleeps up to 100 us", ...
  [[nodiscard]] std::string idle() const;

  // Three gratuitous ARP requests (RFC 5227 §3) or unsolicited neighbour advertisements
  // (RFC 4861 §7.2.6) for `address` out of `port`, one second apart, the first at once.
  // Any thread.
  void announce(std::uint8_t port, const IpAddress& address);
  // Bit per port on which the lcores answer for the address: where claims of it are told. Of ports
  // with a twin. Any thread.
  void set_answered(const IpAddress& address, std::uint16_t ports);

  [[nodiscard]] std::vector<PortFacts> port_facts() const;   // index = port number
  [[nodiscard]] std::vector<PortState> port_states() const;  // any thread
  // Decided at start, for what the ports' devices can.
  [[nodiscard]] std::shared_ptr<const Ownership> ownership() const;
  // A sentence each about what somebody who runs this should know: lcores far from a port, and how
  // each port is steered.
  [[nodiscard]] const std::vector<std::string>& notices() const;
  // All that is denied, for devices that drop it themselves; the snapshot says it to the lcores. On
  // return no device drops what is not in it. From one thread.
  void set_denied(const std::vector<DeniedSource>& denied);
  // Whether any device tells clients' packets by the address they are sent to. Then change_vips():
  // addresses that clients send to from now on, and that they do not any more.
  [[nodiscard]] bool steers_vips() const;
  void change_vips(const std::vector<IpAddress>& gained, const std::vector<IpAddress>& lost);
  // The ports whose link went up or down since the last call, VLANs included; their twins' carrier
  // has followed, so that the kernel's routes do. From one thread.
  struct LinkChange {
    std::uint8_t port = 0;
    bool up = false;
  };
  std::vector<LinkChange> follow_links();
  // Interface index of a port's twin, nothing without one.
  [[nodiscard]] std::optional<int> twin_index(std::uint8_t port) const;

  // One per lcore, in the order of DataplaneSettings::lcores; readable from any thread.
  [[nodiscard]] const std::vector<std::unique_ptr<LcoreCounters>>& counters() const;
  [[nodiscard]] const std::vector<unsigned>& lcores() const;
  // What live flows of all lcores take of a quota. Any thread.
  [[nodiscard]] QuotaLimits quota_use(std::uint16_t id) const;

  // Asked of every lcore through its command ring, answered in bounded slices between bursts; the
  // calling thread waits. Any thread. At most `limit` rows, `*truncated` tells of more. Nothing
  // when an lcore does not answer within kPatience.
  static constexpr auto kPatience = std::chrono::seconds(5);
  std::optional<std::vector<FlowRow>> list_flows(const FlowFilter& filter, std::size_t limit,
                                                 bool* truncated);
  // Ends the flows that pass, likewise; how many. Nothing when an lcore does not answer in time: it
  // may end them yet.
  std::optional<std::uint64_t> delete_flows(const FlowFilter& filter);
  // Nothing when no lcore answers within kPatience. Any thread.
  std::optional<Explanation> explain(const ExplainQuery& query);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace sluice
