// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/address.h"
#include "dataplane/net/headers.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <optional>
#include <vector>

namespace sluice::pktgen {

inline constexpr std::uint32_t kEthernetBytes = sizeof(EthernetHeader);
inline constexpr std::uint32_t kIpv4Bytes = sizeof(Ipv4Header);
inline constexpr std::uint32_t kIpv6Bytes = sizeof(Ipv6Header);
inline constexpr std::uint32_t kUdpBytes = sizeof(UdpHeader);
inline constexpr std::uint32_t kTcpBytes = sizeof(TcpHeader);
inline constexpr std::uint32_t kSignatureBytes = 8;

// In which order the open flows are visited.
enum class Pattern : std::uint8_t {
  kSequential,  // as they were opened: kindest to a table's prefetcher
  kShuffled,    // each flow once a round, in an order drawn at start
  kZipf,        // few flows have most of the packets
};

struct FrameShare {
  std::uint16_t bytes;  // without the FCS
  std::uint32_t weight;
};

// What clients send, and where backends are that it should reach.
struct Traffic {
  std::uint8_t protocol = kProtocolUdp;
  IpAddress client;             // the first of `clients`
  std::uint32_t clients = 256;  // a power of two
  IpAddress vip;
  std::uint16_t vip_port = 80;
  IpAddress backend;  // the first of `backends`
  std::uint32_t backends = 1;
  std::uint16_t target_port = 8080;
  // Whom a backend should see as source: the client itself (DNAT), or this address. Not checked
  // when both are unset.
  bool source_kept = false;
  std::optional<IpAddress> snat;

  std::uint32_t flows = 1000;
  Pattern pattern = Pattern::kShuffled;
  double zipf_exponent = 1;
  bool syn_only = false;  // each packet is the SYN of a flow of its own
  bool udp_checksum = true;
  std::vector<FrameShare> sizes{{60, 1}};

  MacAddress client_mac{};
  MacAddress backend_mac{};
  MacAddress client_gateway{};  // whom clients send to; backends answer who sent

  [[nodiscard]] Family family() const { return vip.family; }
  [[nodiscard]] std::uint32_t transport_offset() const {
    return kEthernetBytes + (vip.is_ipv4() ? kIpv4Bytes : kIpv6Bytes);
  }
  // Of the signature: in UDP behind the header, in TCP in place of both sequence numbers, so that
  // a frame need not be longer for it.
  [[nodiscard]] std::uint32_t signature_offset() const {
    return transport_offset() + (protocol == kProtocolUdp ? kUdpBytes : 4);
  }
  // The shortest frame, without FCS, that has room for all headers and the signature.
  [[nodiscard]] std::uint32_t frame_bytes_min() const {
    constexpr std::uint32_t kEthernetMin = 60;
    return std::max(
        kEthernetMin,
        transport_offset() + (protocol == kProtocolUdp ? kUdpBytes + kSignatureBytes : kTcpBytes));
  }
};

// A flow's number tells its client: no table of flows is needed to make their packets.
inline constexpr std::uint16_t kFirstClientPort = 16'384;
inline constexpr std::uint32_t kPortsPerClient = 32'768;

struct ClientSide {
  std::uint32_t address_offset;  // from the first client
  std::uint16_t port;
};

[[nodiscard]] constexpr ClientSide client_side(std::uint32_t flow, std::uint32_t clients) {
  return {flow & (clients - 1),
          static_cast<std::uint16_t>(kFirstClientPort +
                                     (flow >> std::countr_zero(clients)) % kPortsPerClient)};
}

// What each packet carries, as it lies in the frame. Replies bring it back.
struct Signature {
  std::uint32_t sequence;
  std::uint32_t stamp;  // low TSC bits with the lowest set; 0: this packet is not timed
};
static_assert(sizeof(Signature) == kSignatureBytes);

}  // namespace sluice::pktgen
