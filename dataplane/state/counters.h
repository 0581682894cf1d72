// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/snapshot/limits.h"
#include "dataplane/state/drop.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

namespace sluice {

// A 64-bit count with one writer. The writer's load and store are plain moves (no locked
// instruction); a reader on another thread sees some recent value, never a torn one. Sums over
// several counters need not be of one instant: they are for people and metrics.
class Counter {
 public:
  void add(std::uint64_t amount) {
    value_.store(value_.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
  }
  void set(std::uint64_t value) { value_.store(value, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

// What flows of one service port or one binding did; folded from the flow entries, so at most 2 s
// behind. writer: the lcore; readers: control threads.
struct alignas(64) FlowCounters {
  Counter flows_opened;
  Counter flows_closed;
  Counter packets_in;  // from clients
  Counter bytes_in;    // of layer 3
  Counter packets_out;
  Counter bytes_out;
  Counter drops;
};
static_assert(sizeof(FlowCounters) == 64);

// All counts of one lcore. writer: that lcore alone; readers: control threads.
struct alignas(64) LcoreCounters {
  // How many ids of each there can be.
  LcoreCounters(std::uint32_t services_max, std::uint32_t bindings_max)
      : services(std::make_unique<FlowCounters[]>(services_max)),
        bindings(std::make_unique<FlowCounters[]>(bindings_max)) {}

  std::array<Counter, kDropCount> drops;
  std::array<Counter, kDropCount> answered;  // of these drops, those whose sender was told
  Counter turns;
  Counter idle_turns;
  Counter busy_permille;  // of the last full second, turns that did something
  Counter packets;        // received from ports and from the kernel
  Counter handed_over;    // to the lcore that owns the flow
  // Hashes of a port's device that were compared with software (HashTrust), by port.
  std::array<Counter, kPortsMax> hashes_equal;
  std::array<Counter, kPortsMax> hashes_different;
  Counter epoch_seen;
  Counter flows_ipv4;
  Counter flows_ipv6;
  Counter held_packets;                      // waiting for a neighbour now
  Counter held_fragments;                    // waiting for the first one of their datagram now
  Counter fragmented;                        // packets that were cut to fit the way out
  Counter snat_quarantine_broken;            // SNAT tuples taken again before their minute was over
  Counter half_open;                         // now, of both families
  Counter half_open_evicted;                 // the budget being used up, or the table
  Counter ended_evicted;                     // the table being used up
  Counter affinity_evicted;                  // clients whose affinity had to go before its time
  std::unique_ptr<FlowCounters[]> services;  // by ServicePort::id
  std::unique_ptr<FlowCounters[]> bindings;  // by slot

  void count(Drop reason) { drops[static_cast<std::size_t>(reason)].add(1); }
};

}  // namespace sluice
