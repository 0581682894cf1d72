// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/model/address_pool.h"
#include "controlplane/model/compile.h"
#include "controlplane/model/quota.h"
#include "controlplane/model/service.h"

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

// What the reconciler tells about its state: values, taken on its thread, read on others.
namespace sluice::runtime {

struct FlowTotals {
  std::uint64_t flows_opened = 0;
  std::uint64_t flows_closed = 0;
  std::uint64_t packets_in = 0;
  std::uint64_t bytes_in = 0;
  std::uint64_t packets_out = 0;
  std::uint64_t bytes_out = 0;
  std::uint64_t drops = 0;

  FlowTotals& operator+=(const FlowTotals& other);
  // Since `before`; what went backwards counts as nothing.
  [[nodiscard]] FlowTotals since(const FlowTotals& before) const;
  [[nodiscard]] std::uint64_t flows_active() const {
    return flows_opened > flows_closed ? flows_opened - flows_closed : 0;
  }
  friend bool operator==(const FlowTotals&, const FlowTotals&) = default;
};

struct EndpointView {
  model::CompiledEndpoint endpoint;
  FlowTotals totals;
};

struct PortView {
  std::string name;
  Family family = Family::kIpv4;
  PortKey key;
  bool served = false;  // a backend takes new flows
  std::vector<EndpointView> endpoints;
};

struct ServiceView {
  std::string provider;
  model::Service service;
  std::string uid;
  std::int64_t created_seconds = 0;  // Unix time
  std::uint64_t revision = 0;
  std::uint64_t epoch = 0;
  std::vector<PortView> ports;
  FlowTotals totals;
};

// What is new to somebody who watches.
struct ServiceChanges {
  std::uint64_t sequence = 0;  // to ask with the next time
  bool all = false;            // `services` are all there are
  std::vector<ServiceView> services;
  std::vector<std::pair<std::string, model::ServiceName>> removed;  // first, then `services`
};

struct NamespaceView {
  std::string name;
  model::Use use;
  model::Quota quota;
  QuotaLimits traffic;  // taken now
};
struct ProviderView {
  std::string name;
  std::uint64_t revision = 0;
  model::Use use{};
  model::Quota quota{};
  std::optional<QuotaLimits> traffic{};     // likewise; nothing: it is not counted
  std::vector<NamespaceView> namespaces{};  // those with a quota
};

struct PoolView {
  model::AddressPool pool;
  std::uint64_t in_use = 0;  // addresses
};

// Where backends can be reached otherwise than by the default route.
struct DestinationsView {
  std::uint64_t revision = 0;  // another one when they have changed; never 0
  std::vector<IpPrefix> destinations;
};

// What this gateway is among its like.
struct Standing {
  bool standby = false;   // it answers and announces nothing of services'
  bool draining = false;  // it takes no new flows
};

struct StatusView {
  Standing standing;
  std::uint64_t address_conflicts = 0;  // claims by others of addresses we answer for
  std::uint64_t epoch = 0;
  std::uint64_t services = 0;
  std::uint64_t backends = 0;
  std::uint64_t next_hops = 0;
  std::uint64_t routes = 0;
  std::uint64_t publish_p50_ns = 0;
  std::uint64_t publish_p99_ns = 0;
  std::uint64_t publish_max_ns = 0;
  std::set<unsigned> stalled;  // lcores, by CPU number
};

// Who a service port of the tables belongs to.
struct OwnerView {
  std::string provider;
  model::ServiceName name;
  std::string port;
};

}  // namespace sluice::runtime
