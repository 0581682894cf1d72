// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/address.h"
#include "dataplane/state/flow.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

// Questions to the lcores' own tables, and their answers, as values.
namespace sluice {

struct SocketAddress {
  IpAddress address;
  std::uint16_t port = 0;
};

struct FlowFilter {
  std::vector<bool> service_ports;  // by ServicePort::id; empty: all
  std::optional<IpAddress> client;
  std::optional<IpAddress> backend;
  std::optional<FlowState> state;
};

struct FlowRow {
  std::uint8_t protocol = 0;
  SocketAddress client;
  SocketAddress frontend;
  SocketAddress snat;
  SocketAddress backend;
  std::string state;        // "udp", "half_open", "established", "closing", "time_wait", "reset"
  std::uint32_t lcore = 0;  // CPU number
  std::uint32_t binding_slot = 0;
  std::uint32_t service_port = 0;  // ServicePort::id
  std::uint32_t idle_ms = 0;
  std::uint32_t expires_ms = 0;
  std::uint64_t packets_in = 0;
  std::uint64_t bytes_in = 0;
  std::uint64_t packets_out = 0;
  std::uint64_t bytes_out = 0;
};

// What the lcore says that keeps a client's affinity.
struct AffinityAnswer {
  BindingRef binding;       // whom it would choose
  bool remembered = false;  // else by Maglev, as the client has none
  std::uint32_t lcore = 0;  // CPU number
};

struct ExplainQuery {
  SocketAddress source;
  SocketAddress destination;
  std::uint8_t protocol = 0;
  std::uint8_t port = 0;                                  // Snapshot::ports index it arrives on
  std::optional<AffinityAnswer> affinity = std::nullopt;  // when another lcore was asked already
};

// What would happen to a packet, told by the tables and functions that would do it.
struct Explanation {
  enum class Verdict : std::uint8_t { kForward, kDrop, kAnswer, kPunt, kHold };
  Verdict verdict = Verdict::kDrop;
  std::string drop_reason;    // with kDrop
  bool live_flow = false;     // `flow` is one that exists
  bool from_backend = false;  // direction of the packet asked about
  // Of a new flow: client, frontend, backend, binding_slot, service_port; snat of one that keeps
  // its client's address.
  FlowRow flow;
  bool has_flow = false;      // `flow` is filled in
  std::string backend_state;  // "active", "draining", "removed"
  std::uint32_t lcore = 0;
  bool owner = false;  // the packet is this lcore's to decide about
  // Set by the owner when the answer is not whole without this lcore's (Ownership's number), whose
  // own explanation has it in `affinity`.
  std::optional<std::uint8_t> affinity_keeper;
  AffinityAnswer affinity;
  std::optional<IpAddress> next_hop;
  std::optional<MacAddress> next_hop_mac;
  std::uint8_t next_hop_port = 0;  // Snapshot::ports index
  std::vector<std::string> steps;  // stage by stage
};

}  // namespace sluice
