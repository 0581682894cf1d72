// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace sluice {

// The kernel's interface under an AF_PACKET or AF_XDP port. While this lives the kernel keeps its
// hands off it: no IPv6, up, and, under AF_PACKET, where the kernel would get a copy of every frame
// and answer too, its ingress is dropped by an nftables netdev hook (packet sockets come before
// that hook). What it changed, and only that, is put back.
class HostDevice {
 public:
  // `setting`: the path to name in faults. Throws StartFault when the interface is missing or has
  // addresses.
  HostDevice(const std::string& interface, bool drop_ingress, const std::string& setting);
  ~HostDevice();
  HostDevice(const HostDevice&) = delete;
  HostDevice& operator=(const HostDevice&) = delete;

 private:
  [[nodiscard]] std::string table() const { return "sluice_" + interface_; }

  std::string interface_;
  bool drop_ingress_;
  std::string ipv6_before_;  // of disable_ipv6; empty: not changed
};

}  // namespace sluice
