// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/address.h"
#include "dataplane/snapshot/limits.h"
#include "dataplane/snapshot/maglev.h"
#include "dataplane/snapshot/quota.h"
#include "dataplane/snapshot/shared_array.h"
#include "dataplane/snapshot/source_ranges.h"

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace sluice {

enum class ForwardingMode : std::uint8_t { kFullNat, kDnat, kTunnel };

// What a flow takes along from its service when it opens.
struct FlowOptions {
  std::uint32_t idle_ms = 0;        // UDP, or TCP once established; 0: as state/flow.h has it
  std::uint32_t transitory_ms = 0;  // TCP half-open or closing; 0: likewise
  std::uint16_t mss_max = 0;        // of SYN and SYN+ACK; 0: as they are

  friend constexpr bool operator==(const FlowOptions&, const FlowOptions&) = default;
};

// A service port: what all frontends (VIP, cluster address, node port) of one Service port share.
// Immutable; a change makes a new one and leaves the flows alone, which know only binding slots.
struct ServicePort {
  std::uint32_t id = 0;  // dense and stable while the port exists; index of its counters
  ForwardingMode mode = ForwardingMode::kFullNat;
  std::uint8_t protocol = 0;                  // IP protocol number
  std::shared_ptr<const MaglevTable> maglev;  // null: no usable backend
  std::vector<std::uint32_t> binding_slots;   // by endpoint index of `maglev`
  bool refuses = false;  // without a usable backend clients are told, not just dropped
  bool shut = false;     // without `maglev`: a traffic policy has none for whoever comes this way
  std::shared_ptr<const SourceRanges> allowed = nullptr;  // clients; null: everybody
  std::shared_ptr<const SourceRanges> denied = nullptr;   // of those; null: nobody
  FlowOptions flow_options = {};
  std::uint32_t affinity_ms = 0;  // how long a client keeps its endpoint; 0: no affinity
  QuotaIds quotas = {};           // what its flows count against
};

// What an address of ours is for. Lookup is by address first, then in its port table.
enum class AddressKind : std::uint8_t {
  kVip,   // service frontends; ARP/ND and echo answered by the dataplane; never reaches the kernel
  kSnat,  // replies of FULL_NAT flows; ARP/ND and echo answered by the dataplane
  kHost,  // an address of the twin: the kernel's own
  // A node's, routed through us: what is served on it is ours, all else passes as if it were
  // nobody's. Never answered for.
  kNode,
  // A VIP that serves nothing any more while flows of it may live. Their packets and fragments find
  // their lcore by it; for all that is new it is nobody's.
  kWithdrawn,
};

struct PortKey {
  std::uint16_t port = 0;  // host order
  std::uint8_t protocol = 0;

  friend constexpr auto operator<=>(const PortKey&, const PortKey&) = default;
};

struct Frontend {
  PortKey key;
  std::shared_ptr<const ServicePort> service;
};

// All that is served on one address. Immutable, shared between snapshots.
struct AddressEntry {
  IpAddress address;
  AddressKind kind = AddressKind::kVip;
  bool answers_echo = false;        // VIP with a usable backend, or SNAT address
  std::uint16_t answer_ports = 0;   // bit per port on which ARP/ND for it is answered
  bool serves_node_ports = false;   // besides its frontends
  bool keeps_flows = false;         // kHost, kNode: flows may live of services that were here
  std::vector<Frontend> frontends;  // sorted by key

  // The gateway speaks for it.
  [[nodiscard]] bool is_ours() const {
    return kind == AddressKind::kVip || kind == AddressKind::kSnat;
  }
  // Null when none of its frontends has this port; Snapshot::service_at() knows node ports too.
  [[nodiscard]] const ServicePort* find(PortKey key) const;
};

// Address -> entry, in shards by hash, so that a change copies one shard and the way to it. Lookup
// happens on a flow's first packet only.
class AddressTable {
 public:
  [[nodiscard]] const AddressEntry* find(const IpAddress& address) const;
  [[nodiscard]] std::size_t size() const { return size_; }

  // A table that differs from this one in the given entries: null removes the address; the last of
  // several changes of one address counts. Shares every shard that is not touched.
  struct Change {
    IpAddress address;
    std::shared_ptr<const AddressEntry> entry;
  };
  [[nodiscard]] AddressTable with(std::span<const Change> changes) const;

 private:
  // A handful each; by the hash, which is beside the pointers, a look-up finds its own at once.
  struct Held {
    std::uint64_t hash = 0;
    std::shared_ptr<const AddressEntry> entry;
  };
  using Shard = std::vector<Held>;
  using Shards = SharedArray<Shard, 3>;

  Shards shards_;
  std::size_t size_ = 0;
};

}  // namespace sluice
