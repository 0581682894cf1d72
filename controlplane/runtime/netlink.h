// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/model/observed.h"

#include <functional>
#include <memory>
#include <vector>

namespace sluice::runtime {

// Mirrors the kernel's addresses, routes and neighbours of the network namespace it is made in
// (libnl-route), and asks the kernel to resolve neighbours and to keep them fresh. One thread of
// its own; the callbacks run on it and must only post to a mailbox.
class Netlink {
 public:
  struct Callbacks {
    // The whole set, after each burst of changes (coalesced over 5 ms).
    std::function<void(std::vector<model::KernelAddress>)> addresses;
    std::function<void(std::vector<model::KernelRoute>)> routes;
    // Only those whose MAC or reachability changed.
    std::function<void(std::vector<model::KernelNeighbour>)> neighbours;
    // An interface came, went, or changed its state.
    std::function<void(int interface, bool up)> link;
  };

  // Delivers the present state through the callbacks before it returns. Throws std::runtime_error.
  explicit Netlink(Callbacks callbacks);
  ~Netlink();
  Netlink(const Netlink&) = delete;
  Netlink& operator=(const Netlink&) = delete;

  // Have the kernel resolve this neighbour and keep it fresh (NTF_EXT_MANAGED where the kernel has
  // it, else NTF_USE repeated) until unwanted. Asked again about one that failed, it probes at
  // once. Any thread; never blocks.
  void want(int interface, const IpAddress& address);
  void unwant(int interface, const IpAddress& address);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace sluice::runtime
