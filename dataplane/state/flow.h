// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/checksum.h"
#include "dataplane/net/flow_key.h"
#include "dataplane/snapshot/backends.h"
#include "dataplane/snapshot/next_hops.h"
#include "dataplane/snapshot/services.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace sluice {

enum class FlowState : std::uint8_t {
  kFree,
  kUdp,
  kTcpHalfOpen,  // until both sides are known to talk
  kTcpEstablished,
  kTcpClosing,   // a FIN was seen
  kTcpTimeWait,  // of both sides: late segments yet, for as long as an end is in TIME-WAIT
  kTcpReset,     // a RST was seen
  kQuarantine,   // ended otherwise; keeps its SNAT tuple only, out of the backend's TIME-WAIT
  kCount,
};

struct FlowStateFacts {
  FlowState state;
  std::string_view name;
  std::uint32_t timeout_ms;  // idle time after which the flow leaves the state
};

// RFC 5382 REQ-5: established >= 2 h 4 min, transitory >= 4 min. RFC 4787 REQ-5: UDP >= 2 min.
// TIME-WAIT is Linux's.
inline constexpr std::array<FlowStateFacts, static_cast<std::size_t>(FlowState::kCount)>
    kFlowStates{{
        {FlowState::kFree, "free", 0},
        {FlowState::kUdp, "udp", 120'000},
        {FlowState::kTcpHalfOpen, "half_open", 240'000},
        {FlowState::kTcpEstablished, "established", 7'440'000},
        {FlowState::kTcpClosing, "closing", 240'000},
        {FlowState::kTcpTimeWait, "time_wait", 60'000},
        {FlowState::kTcpReset, "reset", 10'000},
        {FlowState::kQuarantine, "quarantine", 60'000},
    }};
static_assert([] {
  for (std::size_t i = 0; i < kFlowStates.size(); ++i) {
    if (kFlowStates[i].state != static_cast<FlowState>(i)) {
      return false;
    }
  }
  return true;
}());

[[nodiscard]] constexpr const FlowStateFacts& facts_of(FlowState state) {
  return kFlowStates[static_cast<std::size_t>(state)];
}

// A SYN of the client's is a new connection then (RFC 9293 §3.10.7.4, TIME-WAIT).
[[nodiscard]] constexpr bool has_closed(FlowState state) {
  return state == FlowState::kTcpClosing || state == FlowState::kTcpTimeWait ||
         state == FlowState::kTcpReset;
}

// Which way a packet of a flow goes: the index of what a flow keeps for each direction.
enum class Direction : std::uint8_t { kFromClient = 0, kFromBackend = 1 };
[[nodiscard]] constexpr std::size_t at(Direction direction) {
  return static_cast<std::size_t>(direction);
}

// Which flow, and which way a packet of it goes: index * 2 + direction. What the flow table finds.
struct FlowRef {
  std::uint32_t raw = 0xffff'ffff;

  static constexpr FlowRef make(std::uint32_t index, Direction direction) {
    return FlowRef{index << 1U | static_cast<std::uint32_t>(direction)};
  }
  [[nodiscard]] constexpr bool valid() const { return raw != 0xffff'ffff; }
  [[nodiscard]] constexpr std::uint32_t index() const { return raw >> 1U; }
  [[nodiscard]] constexpr Direction direction() const { return static_cast<Direction>(raw & 1U); }
  friend constexpr bool operator==(FlowRef, FlowRef) = default;
};
inline constexpr FlowRef kNoFlow{};

// The hot line: everything a hit reads or writes, one cache line for IPv4 and two for IPv6. Both
// tuples are the keys and at the same time the rewrite: a packet from the client gets (snat ->
// backend), one from the backend gets (frontend -> client).
//
//    client tuple, as FlowKey lies in memory      the backend's side              the rest
//   | client  frontend  ports  proto net st fl | backend  snat  ports | deltas next hops slot ...
//
// `state` and `flags` lie where the key has its reserved field, so that one masked 16-byte compare
// (40 for IPv6) decides. writer and reader: the owning lcore.
template <Family F>
struct alignas(F == Family::kIpv4 ? 64 : 128) FlowHot {
  using Address = typename FlowKey<F>::Address;

  Address client;
  Address frontend;
  Be16 client_port;
  Be16 frontend_port;
  std::uint8_t protocol;
  NetworkId network;
  FlowState state;
  std::uint8_t flags;  // FlowFlag

  Address backend;
  Address snat;
  Be16 backend_port;
  Be16 snat_port;

  ChecksumDelta l3_delta;  // from client; the other direction's is its complement
  ChecksumDelta l4_delta;
  std::array<NextHopIndex, 2> next_hop;  // by Direction; kNoNextHop: look the route up
  std::uint32_t binding_slot : 24;
  std::uint32_t incarnation : 8;
  std::uint16_t policy_epoch;  // of the snapshot this flow was last judged by
  std::uint16_t route_epoch;
  std::uint32_t last_seen_ms;  // LcoreState::now_ms, wraps after 49 days
  // By Direction, not folded into the counters yet. The free list runs through packets[0].
  std::array<std::uint32_t, 2> packets;
  std::array<std::uint32_t, 2> bytes;

  [[nodiscard]] FlowKey<F> client_key() const {
    return {client, frontend, client_port, frontend_port, protocol, network, 0};
  }
  // FULL_NAT gives the flow a SNAT tuple; DNAT keeps the client's, which then stands in its place.
  [[nodiscard]] bool keeps_client() const { return snat == client && snat_port == client_port; }
  // What a packet leaves with that came from this direction, as both ends lie in memory:
  // destination, source, destination port, source port.
  [[nodiscard]] const std::byte* end_towards(Direction from) const {
    static_assert(offsetof(FlowHot, client) == 0);
    static_assert(offsetof(FlowHot, frontend_port) == 2 * sizeof(Address) + sizeof(Be16));
    static_assert(offsetof(FlowHot, snat_port) - offsetof(FlowHot, backend) ==
                  offsetof(FlowHot, frontend_port));
    return reinterpret_cast<const std::byte*>(this) +
           (from == Direction::kFromClient ? offsetof(FlowHot, backend) : 0);
  }
  // As the backend's packets show it.
  [[nodiscard]] FlowKey<F> reply_key() const {
    return {backend, snat, backend_port, snat_port, protocol, network, 0};
  }
};
static_assert(sizeof(FlowHot<Family::kIpv4>) == 64);
static_assert(sizeof(FlowHot<Family::kIpv6>) == 128);

enum FlowFlag : std::uint8_t {
  kFlowReplied = 1,     // half-open: the backend has said something
  kFlowRevoked = 1,     // in quarantine: it was ended, and no segment takes it up again
  kFlowFinClient = 2,   // FIN seen from the client
  kFlowFinBackend = 4,  // FIN seen from the backend
  kFlowFinBoth = kFlowFinClient | kFlowFinBackend,
  kFlowClientGoesOn = 8,    // reset: the client has sent a segment since
  kFlowBackendGoesOn = 16,  // reset: the backend has
  kFlowGoesOn = kFlowClientGoesOn | kFlowBackendGoesOn,
  kFlowEvicted = 32,     // in quarantine before its time
  kFlowClampMss = 64,    // FlowCold::mss_max is set
  kFlowOwnTimers = 128,  // FlowCold::idle_ms and transitory_ms are; else those of kFlowStates
};

// The cold line: what opening, aging and people need.
struct alignas(64) FlowCold {
  std::uint32_t service_port = 0;  // ServicePort::id
  std::uint32_t opened_ms = 0;
  std::uint32_t idle_ms = 0;        // with kFlowOwnTimers, both: UDP, or TCP once established
  std::uint32_t transitory_ms = 0;  // TCP half-open or closing; TIME-WAIT, if shorter
  std::uint16_t mss_max = 0;        // with kFlowClampMss
  QuotaIds quotas = {};             // what it counts against while it is alive
  std::uint32_t older = 0;          // in a list of FlowTable's
  std::uint32_t newer = 0;
  std::uint64_t packets_in = 0;  // folded so far
  std::uint64_t bytes_in = 0;
  std::uint64_t packets_out = 0;
  std::uint64_t bytes_out = 0;
};
static_assert(sizeof(FlowCold) == 64);

// After how much idle time a flow leaves its state. Looks at the cold line only where the flow has
// timers of its own, so that a sweep costs others nothing.
template <Family F>
[[nodiscard]] std::uint32_t timeout_ms(const FlowHot<F>& flow, const FlowCold& cold) {
  if ((flow.flags & kFlowOwnTimers) == 0) {
    return facts_of(flow.state).timeout_ms;
  }
  switch (flow.state) {
    case FlowState::kUdp:
    case FlowState::kTcpEstablished:
      return cold.idle_ms;
    case FlowState::kTcpHalfOpen:
    case FlowState::kTcpClosing:
      return cold.transitory_ms;
    case FlowState::kTcpTimeWait:
      return std::min(cold.transitory_ms, facts_of(flow.state).timeout_ms);
    default:
      return facts_of(flow.state).timeout_ms;
  }
}

// Gives a flow that opens what its service says.
template <Family F>
void set_options(FlowHot<F>& flow, FlowCold& cold, const FlowOptions& options);

// Fills in both checksum deltas from the two tuples. A packet from the client has its sum changed
// by what leaves (client, frontend and their ports) and what comes (snat, backend and theirs).
template <Family F>
void set_checksum_deltas(FlowHot<F>& flow);

}  // namespace sluice
