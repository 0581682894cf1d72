// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/flow_key.h"
#include "dataplane/snapshot/limits.h"
#include "dataplane/snapshot/snapshot.h"
#include "dataplane/state/drop.h"
#include "dataplane/state/flow.h"

#include <rte_mbuf.h>

#include <array>
#include <cstdint>

namespace sluice {

// What the worker shall do with a packet. Stages decide, the worker acts: nothing in stages/ sends,
// hands over or frees.
enum class Verdict : std::uint8_t {
  kPending,   // no stage has decided yet
  kTransmit,  // out of `out_port`, the frame is ready
  kPunt,      // to the kernel, through the twin of `out_port`
  kHandOver,  // to the lcore `owner`, which begins anew
  kHold,      // the frame is ready but for its Ethernet header: `out_port`, `neighbour`
  kDrop,      // for `drop`
};

// What parse found; the stages after it select by this.
enum class PacketKind : std::uint8_t {
  kTransport,  // TCP or UDP with its whole header in the first segment
  kIcmpError,  // set by icmp_error: the key is that of the flow whose packet it quotes
  kArp,
  kIcmp,  // ICMP or ICMPv6
  kFragment,
  kExtensionHeader,  // IPv6 with an extension header other than Fragment
  kOtherProtocol,
};

// One packet on its way. The first line is all an IPv4 hit touches.
struct alignas(64) Packet {
  rte_mbuf* mbuf;
  std::uint64_t hash;  // of the key, for the flow table
  FlowRef flow;        // set by find_flow or admit_flow
  std::uint16_t l3_offset;
  std::uint16_t l4_offset;
  std::uint16_t l3_length;  // of the IP packet, its header included; the frame may be padded
  PacketKind kind;
  Family family;
  std::uint8_t protocol;
  std::uint8_t tcp_flags;
  std::uint8_t rx_port;
  bool from_host;  // came from the twin of rx_port, not from the wire
  Verdict verdict;
  Drop drop;
  std::uint8_t out_port;
  bool has_service;  // `service` is set
  bool handed;       // came from another lcore: it is not handed over again
  std::uint8_t owner;
  FlowRef replaces;  // a closing flow whose client opens anew with the same tuple
  union {
    FlowKey4 key4;
    FlowKey6 key6;
  };
  const ServicePort* service;   // set by classify for a packet that may open a flow
  const AddressEntry* address;  // set by classify for an echo to an address of ours
  IpAddress neighbour;          // with kHold: who the packet waits for
  std::uint16_t quote_l4;       // with kIcmpError: where the quoted transport header begins
  std::uint16_t next_hop_mtu;   // with Drop::kMtuExceeded: what would have fitted

  void decide_drop(Drop reason) {
    verdict = Verdict::kDrop;
    drop = reason;
  }
  void decide(Verdict what, std::uint8_t port) {
    verdict = what;
    out_port = port;
  }
  template <typename Header>
  [[nodiscard]] Header* at(std::uint16_t offset) const {
    return rte_pktmbuf_mtod_offset(mbuf, Header*, offset);
  }
  template <Family F>
  [[nodiscard]] const FlowKey<F>& key() const {
    if constexpr (F == Family::kIpv4) {
      return key4;
    } else {
      return key6;
    }
  }
};
static_assert(sizeof(Packet) == 128);

// What one turn works on. Filled by the worker with add(), worked through by run_pipeline, emptied
// by the worker again.
struct Burst {
  std::uint32_t count = 0;
  std::uint32_t icmp_messages = 0;  // among them; set by parse, so that others cost nothing
  std::array<Packet, kBurstMax> packets;

  // count < kBurstMax. `port`: Snapshot::ports index.
  void add(rte_mbuf* mbuf, std::uint8_t port, bool from_host) {
    Packet& packet = packets[count++];
    packet.mbuf = mbuf;
    packet.rx_port = port;
    packet.from_host = from_host;
    packet.verdict = Verdict::kPending;
    packet.has_service = false;
    packet.handed = false;
    packet.flow = kNoFlow;
    packet.replaces = kNoFlow;
  }
};

}  // namespace sluice
