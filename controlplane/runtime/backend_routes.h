// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/runtime/netlink_socket.h"
#include "dataplane/net/address.h"

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace sluice::runtime {

// Routes by which providers have their backends reached: unicast ones in the kernel's main table,
// for the host itself too, from where they come to the lcores like anybody's. They bear a protocol
// number of their own; such ones alone are removed, those that a process before has left included.
// Their metric is so large that a route of the host's own to the same destination goes before. Any
// thread; each route set or removed is an exchange with the kernel, of some microseconds.
class BackendRoutes {
 public:
  static constexpr std::uint8_t kProtocol = 84;  // rtm_protocol; nobody else has it
  static constexpr std::uint32_t kMetric = 2'048;

  struct Route {
    IpPrefix destination;
    IpAddress gateway;

    friend auto operator<=>(const Route&, const Route&) = default;
  };
  struct Refused {
    Route route;
    std::string reason;
  };

  // Throws std::runtime_error.
  BackendRoutes();
  ~BackendRoutes();  // removes all
  BackendRoutes(const BackendRoutes&) = delete;
  BackendRoutes& operator=(const BackendRoutes&) = delete;

  // This provider has these, destinations distinct, and no others. Those that are refused, by the
  // kernel or because another provider has the destination, are not among them any more.
  std::vector<Refused> set(const std::string& provider, const std::vector<Route>& routes);
  // Puts back what the kernel has flushed, as it does when a link goes down: so many of all routes,
  // the next ones at the next call.
  static constexpr std::size_t kRepairs = 256;
  void repair_some();

 private:
  struct Way {
    IpAddress gateway;
    std::string provider;
  };
  void remove_leftovers();
  int add(const IpPrefix& destination, const IpAddress& gateway);
  void remove(const IpPrefix& destination, const IpAddress& gateway);

  std::mutex mutex_;
  RequestSocket socket_;
  std::map<IpPrefix, Way> routes_;
  IpPrefix repaired_{};  // the last one that was looked at
};

}  // namespace sluice::runtime
