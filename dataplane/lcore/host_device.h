// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

namespace sluice {

// The kernel's interface under an AF_PACKET or AF_XDP port. While this lives the kernel keeps its
// hands off it: no IPv6, up, and, under AF_PACKET, where the kernel would get a copy of every frame
// and answer too, its ingress is dropped by an nftables netdev hook (packet sockets come before
// that hook). What it or DPDK changed, and only that, is put back.
class HostDevice {
 public:
  // `setting`: the path to name in faults. Throws StartFault when the interface is missing or has
  // addresses.
  HostDevice(const std::string& interface, bool drop_ingress, const std::string& setting);
  ~HostDevice();
  HostDevice(const HostDevice&) = delete;
  HostDevice& operator=(const HostDevice&) = delete;

 private:
  explicit HostDevice(const std::string& interface) : interface_(interface) {}
  void drop_ingress(const std::string& setting);
  [[nodiscard]] std::string table() const { return "sluice_" + interface_; }

  std::string interface_;
  bool table_made_ = false;
  std::string ipv6_before_;  // of disable_ipv6; empty: not read
  // DPDK changes them by the port's settings and does not put them back.
  std::optional<short> flags_before_;
  std::optional<int> mtu_before_;
};

}  // namespace sluice
