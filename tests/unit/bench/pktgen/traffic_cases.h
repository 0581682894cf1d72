// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "bench/pktgen/traffic.h"

namespace sluice::pktgen {

// Traffic to a VIP of either family.
[[nodiscard]] inline Traffic traffic_of(Family family, std::uint8_t protocol) {
  const bool ipv4 = family == Family::kIpv4;
  Traffic traffic;
  traffic.protocol = protocol;
  traffic.vip = *parse_ip(ipv4 ? "203.0.113.10" : "2001:db8:113::10");
  traffic.client = *parse_ip(ipv4 ? "198.18.0.1" : "2001:2::1");
  traffic.backend = *parse_ip(ipv4 ? "10.10.1.1" : "2001:db8:10::1:1");
  traffic.backends = 4;
  traffic.client_mac = MacAddress{{2, 0, 0, 0, 0, 1}};
  traffic.backend_mac = MacAddress{{2, 0, 0, 0, 1, 0x11}};
  traffic.client_gateway = MacAddress{{2, 0, 0, 0, 0, 0xaa}};
  return traffic;
}

}  // namespace sluice::pktgen
