// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/model/observed.h"

#include <functional>
#include <memory>
#include <vector>

namespace sluice::runtime {

// Mirrors the kernel's addresses, routes and neighbours of the network namespace it is made in,
// and has the kernel resolve neighbours and keep them fresh. One thread of its own; the callbacks
// run on it and must only post to a mailbox; each may be empty.
//
// The kernel tells what changes, but not all of it: it flushes routes in silence when a link goes
// down, and throws news away when the socket is full. Then everything is read again, and what is
// no longer there is reported as gone.
class Netlink {
 public:
  struct Callbacks {
    // The whole set, 5 ms after the first change of a burst; later while a long burst keeps the
    // thread busy, but never more than a few times what it costs to tell.
    std::function<void(std::vector<model::KernelAddress>)> addresses;
    // Of the main table, and unicast ones somebody put into the local one. Of several next hops
    // the first that is alive.
    std::function<void(std::vector<model::KernelRoute>)> routes;
    // Only those whose MAC or reachability changed, at once.
    std::function<void(std::vector<model::KernelNeighbour>)> neighbours;
    // An interface came, went, or was set up or down.
    std::function<void(int interface, bool up)> link;
  };
  static constexpr int kReceiveBytes = 8 << 20;  // of the socket that hears the kernel's news

  // Delivers the present state through the callbacks, on the calling thread, before it returns.
  // Throws std::runtime_error.
  explicit Netlink(Callbacks callbacks, int receive_bytes = kReceiveBytes);
  // The kernel is no longer asked to keep what was wanted.
  ~Netlink();
  Netlink(const Netlink&) = delete;
  Netlink& operator=(const Netlink&) = delete;

  // Have the kernel resolve this neighbour and keep it fresh (NTF_EXT_MANAGED where the kernel has
  // it, else NTF_USE repeated) until unwanted, also when its entry or its link was gone between.
  // Asked again about one that failed, it probes at once. Any thread; never blocks.
  void want(int interface, const IpAddress& address);
  void unwant(int interface, const IpAddress& address);

 private:
  class Thread;
  std::unique_ptr<Thread> thread_;
};

}  // namespace sluice::runtime
