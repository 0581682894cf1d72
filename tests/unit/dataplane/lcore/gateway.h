// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/lcore/worker.h"
#include "tests/support/world.h"
#include "tests/unit/dataplane/lcore/environment.h"

#include <rte_mbuf.h>
#include <rte_ring.h>

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>

namespace sluice::testing {

struct Setup {
  Family family = Family::kIpv4;
  WorldOptions world = {};
  unsigned transmit_room = 1024;
  bool twin = true;
  std::uint32_t idle_sleep_us = 0;
  bool takes_segments = false;
};

// A gateway of one worker. The test's thread is the lcore, except where it calls run() on another.
class Gateway {
 public:
  explicit Gateway(const Setup& setup = {})
      : world(setup.family, setup.world),
        wan(pool.get(), setup.transmit_room),
        lan(pool.get(), setup.transmit_room),
        punt(pool.get()),
        counters(16, 64),
        rcu(1),
        handoff(1) {
    punt.add_port(setup.twin ? twin("wan0", world.wan_mac) : nullptr, world.wan_mac);
    punt.add_port(setup.twin ? twin("lan0", world.lan_mac) : nullptr, world.lan_mac);
    WorkerContext context;
    context.ports = {{wan.id(), 0, setup.takes_segments}, {lan.id(), 0, setup.takes_segments}};
    context.rcu = &rcu;
    context.punt = &punt;
    context.handoff = &handoff;
    context.hold_pool = hold_pool.get();
    context.fragment_pool = fragment_pool.get();
    context.counters = &counters;
    context.idle_sleep_us = setup.idle_sleep_us;
    context.hugepages = false;
    context.flows_ipv4 = 64;
    context.flows_ipv6 = 64;
    worker = std::make_unique<Worker>(context);
    publish();
  }

  static std::unique_ptr<Twin> twin(const std::string& name, const MacAddress& mac) {
    return std::make_unique<Twin>(name, mac, std::uint16_t{1500}, "ports[0].name");
  }
  std::uint64_t publish() { return rcu.publish(std::make_shared<Snapshot>(world.snapshot)); }
  void arrive(RingPort& port, const Frame& frame, unsigned times = 1) {
    for (unsigned i = 0; i < times; ++i) {
      port.arrive(pool.make(frame));
    }
  }
  void from_kernel(const Frame& frame) {
    ASSERT_EQ(rte_ring_enqueue(punt.port(0).from_kernel.get(), pool.make(frame)), 0);
  }
  std::optional<Frame> to_kernel(std::size_t port = 0) {
    return take_frame(punt.port(port).to_kernel.get());
  }
  void turns(unsigned count) {
    rcu.join(0);
    for (unsigned i = 0; i < count; ++i) {
      worker->turn();
    }
    rcu.leave(0);
  }
  [[nodiscard]] std::uint64_t drops(Drop reason) const {
    return counters.drops[static_cast<std::size_t>(reason)].get();
  }
  [[nodiscard]] std::uint64_t all_drops() const {
    std::uint64_t sum = 0;
    for (const Counter& counter : counters.drops) {
      sum += counter.get();
    }
    return sum;
  }
  Frame udp(std::uint16_t client_port = 4000) const {
    return make_frame(world.from_client(kProtocolUdp, client_port));
  }
  Frame to_host() const {
    FrameSpec spec = world.from_client(kProtocolTcp, 179);
    spec.destination = world.wan_host;
    return make_frame(spec);
  }
  void set_backends(NextHop::State state) {
    for (std::uint8_t i = 0; i < 3; ++i) {
      world.set_next_hop(static_cast<NextHopIndex>(World::kBackendHop + i), state,
                         MacAddress{{2, 0, 0, 7, 7, i}});
    }
    publish();
  }

  World world;
  TestPool pool{8191};
  TestPool hold_pool{1023};
  TestPool fragment_pool{1023};
  RingPort wan;
  RingPort lan;
  Punt punt;
  LcoreCounters counters;
  SnapshotRcu rcu;
  Handoff handoff;
  std::unique_ptr<Worker> worker;
};

}  // namespace sluice::testing
