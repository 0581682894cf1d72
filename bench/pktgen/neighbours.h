// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/address.h"

#include <array>
#include <cstdint>
#include <optional>
#include <span>

namespace sluice::pktgen {

// Room for the longest message made here: a neighbour solicitation over Ethernet.
using NeighbourFrame = std::array<std::uint8_t, 86>;

struct NeighbourMessage {
  NeighbourFrame frame{};
  std::uint16_t bytes = 0;
};

// The addresses that one side of the generator plays: `count` from `first` on, all behind `mac`.
struct Station {
  IpAddress first;
  std::uint32_t count = 1;
  MacAddress mac{};

  [[nodiscard]] bool has(const IpAddress& address) const;
};

// An ARP request (RFC 826) or neighbour solicitation (RFC 4861 §4.3) of `station` for `target`.
[[nodiscard]] NeighbourMessage ask_for(const Station& station, const IpAddress& target);
// The reply, when `frame` asks for an address of `station`.
[[nodiscard]] std::optional<NeighbourMessage> answer_of(const Station& station,
                                                        std::span<const std::uint8_t> frame);
// Whose MAC `frame` tells, when it is an ARP reply or a neighbour advertisement for `target`.
[[nodiscard]] std::optional<MacAddress> mac_told(std::span<const std::uint8_t> frame,
                                                 const IpAddress& target);

}  // namespace sluice::pktgen
