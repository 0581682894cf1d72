// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/runtime/netlink_socket.h"
#include "dataplane/net/address.h"

#include <cstdint>
#include <set>

namespace sluice::runtime {

// Routes by which a routing daemon (BIRD, FRR) learns which addresses are served here: a /32 or
// /128 each, in a table of the kernel's of its own, which no rule looks into. Their type is
// blackhole, so that nothing they could ever be asked for reaches a socket of the host. They bear a
// protocol number of their own; such ones alone are removed, those that a process before has left
// in the table included. Each call is an exchange with the kernel, of some microseconds. One
// thread.
class AnnouncedRoutes {
 public:
  static constexpr std::uint8_t kProtocol = 83;  // rtm_protocol; nobody else has it

  // Throws std::runtime_error.
  explicit AnnouncedRoutes(std::uint32_t table);
  ~AnnouncedRoutes();  // withdraws all
  AnnouncedRoutes(const AnnouncedRoutes&) = delete;
  AnnouncedRoutes& operator=(const AnnouncedRoutes&) = delete;

  void announce(const IpAddress& address);
  void withdraw(const IpAddress& address);
  bool withdraw_all();  // false: there was none
  // Puts back what somebody has taken out of the table, or the kernel had no memory for: so many
  // routes of those announced, the next ones at the next call.
  static constexpr std::size_t kRepairs = 256;
  void repair_some();

 private:
  void add(const IpAddress& address);

  std::uint32_t table_;
  RequestSocket socket_;
  std::set<IpAddress> announced_;
  std::set<IpAddress> failed_;  // of them: the kernel has refused
  IpAddress repaired_{};        // the last one that was looked at
};

}  // namespace sluice::runtime
