// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "bench/pktgen/frame.h"
#include "dataplane/net/toeplitz.h"

#include <cstdint>

namespace sluice::pktgen {

// Plays the NIC of a gateway with several queues on a port that has none: which queue a frame goes
// to, by Toeplitz over one end of its tuple and an indirection table that names the queues in turn.
// Towards the gateway's clients' side that end is the source, towards its backends' side the
// destination: the client either way, or the SNAT tuple.
class QueueChoice {
 public:
  static constexpr std::uint32_t kRetaSize = 128;

  QueueChoice(const Traffic& traffic, std::uint16_t queues)
      : table_(kMicrosoftToeplitzKey),
        queues_(queues),
        address_bytes_(traffic.vip.is_ipv4() ? 4 : 16),
        source_at_(sizeof(EthernetHeader) + (traffic.vip.is_ipv4() ? 12U : 8U)),
        transport_at_(traffic.transport_offset()) {}

  [[nodiscard]] std::uint16_t of_source(const std::uint8_t* frame) const {
    return choose(frame + source_at_, frame + transport_at_);
  }
  [[nodiscard]] std::uint16_t of_destination(const std::uint8_t* frame) const {
    return choose(frame + source_at_ + address_bytes_, frame + transport_at_ + 2);
  }

 private:
  [[nodiscard]] std::uint16_t choose(const std::uint8_t* address, const std::uint8_t* port) const {
    const std::uint32_t hash =
        table_.part(0, {address, address_bytes_}) ^ table_.part(address_bytes_, {port, 2});
    return static_cast<std::uint16_t>(hash % kRetaSize % queues_);
  }

  ToeplitzTable<18> table_;
  std::uint16_t queues_;
  std::uint32_t address_bytes_;
  std::uint32_t source_at_;
  std::uint32_t transport_at_;
};

}  // namespace sluice::pktgen
