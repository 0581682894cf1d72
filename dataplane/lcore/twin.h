// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/address.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace sluice {

// The Linux twin of a port: a TAP interface with the port's MAC, through which the kernel sends and
// receives what is its own. Once kept it is persistent: addresses, routes and sessions on it
// survive a restart of the gateway, and one that is there already is taken over as it is.
class Twin {
 public:
  // Throws StartFault naming `setting` ("ports[0].name").
  // What it made goes again with it unless keep() was called: a start that fails leaves nothing.
  Twin(const std::string& name, const MacAddress& mac, std::uint16_t mtu,
       const std::string& setting);
  ~Twin();
  Twin(const Twin&) = delete;
  Twin& operator=(const Twin&) = delete;

  void keep() const;
  // As the port's link, so that the kernel's routes and sessions follow it.
  void set_carrier(bool up) const;
  [[nodiscard]] int fd() const { return fd_; }  // non-blocking
  [[nodiscard]] int index() const { return index_; }
  // One frame; 0 when there is none.
  [[nodiscard]] std::size_t read(std::span<std::uint8_t> frame) const;
  // False when the kernel does not take it (its queue is full, or the interface is down); it counts
  // that itself, as rx_dropped of the interface.
  [[nodiscard]] bool write(std::span<const std::uint8_t> frame) const;

 private:
  int fd_ = -1;
  int index_ = 0;
};

}  // namespace sluice
