// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/flow_key.h"
#include "dataplane/snapshot/limits.h"
#include "dataplane/snapshot/snapshot.h"
#include "dataplane/state/drop.h"
#include "dataplane/state/flow.h"
#include "dataplane/state/fragments.h"

#include <rte_mbuf.h>

#include <array>
#include <cstdint>

namespace sluice {

// What the worker shall do with a packet. Stages decide, the worker acts: nothing in stages/ sends,
// hands over or frees.
enum class Verdict : std::uint8_t {
  kPending,       // no stage has decided yet
  kTransmit,      // out of `out_port`, the frame is ready
  kPunt,          // to the kernel, through the twin of `out_port`
  kHandOver,      // to the lcore `owner`, which begins anew
  kHold,          // the frame is ready but for its Ethernet header: `out_port`, `neighbour`
  kHoldFragment,  // until the first fragment of `datagram` has come
  kFragment,      // as kTransmit, in pieces of at most `next_hop_mtu`
  kDrop,          // for `drop`
};

// What for a packet comes to this lcore, in the order of its way. It is handed over only for a
// later errand than it came for, so that every packet comes to rest.
enum class Errand : std::uint8_t {
  kNone,            // it came from a port or from the kernel
  kReassembly,      // a fragment: its datagram is looked after here
  kReleased,        // a fragment that was held here until its first one came
  kFlow,            // its flow is here
  kAffinity,        // the affinity of its client is kept here
  kAffinityChosen,  // back at the owner of the flow, with that lcore's choice
  kFollowed,        // likewise a later fragment, that its first one be there before it
};

// What parse found; the stages after it select by this.
enum class PacketKind : std::uint8_t {
  kTransport,  // TCP or UDP with its whole header in the first segment
  // Of a fragmented TCP or UDP packet; set by virtual_reassembly. The key is the whole one, but a
  // later fragment has no transport header.
  kFirstFragment,
  kLaterFragment,
  kIcmpError,  // set by icmp_error: the key is that of the flow whose packet it quotes
  // The kinds from here on belong to no flow.
  kArp,
  kIcmp,             // ICMP or ICMPv6; of an echo request, perhaps its first fragment
  kEchoFragment,     // a later fragment of an echo request; set by virtual_reassembly
  kFragment,         // any other, or one whose first fragment is not known yet
  kExtensionHeader,  // IPv6 with an extension header that is not walked past
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
  Errand errand;     // what for it came, or with kHandOver: goes
  std::uint8_t owner;
  FlowRef replaces;   // a closing flow whose client opens anew with the same tuple
  BindingRef chosen;  // with Errand::kAffinityChosen; and what admit_flow chooses ahead, its slot
  union {
    FlowKey4 key4;
    FlowKey6 key6;
  };
  const ServicePort* service;  // set by classify for a packet that may open a flow
  union {
    const AddressEntry* address;  // set by classify for an echo to an address of ours
    LentPorts lent;               // of a later fragment that comes or goes with an errand
  };
  IpAddress neighbour;  // with kHold: who the packet waits for
  union {
    std::uint16_t quote_l4;  // with kIcmpError: where the quoted transport header begins
    std::uint16_t datagram;  // with kHoldFragment: which one of Fragments it waits in
  };
  std::uint16_t next_hop_mtu;     // with Drop::kMtuExceeded and kFragment: what would have fitted
  std::uint16_t fragment_header;  // of a fragment: where the header that says so begins

  void decide_drop(Drop reason) {
    verdict = Verdict::kDrop;
    drop = reason;
  }
  // After the errand it came for.
  void hand_over(std::uint8_t lcore, Errand what_for) {
    verdict = Verdict::kHandOver;
    owner = lcore;
    errand = what_for;
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
  // Among them; set by parse, so that others cost nothing.
  std::uint32_t icmp_messages = 0;
  std::uint32_t fragments = 0;
  std::array<Packet, kBurstMax> packets;

  // count < kBurstMax. `port`: Snapshot::ports index.
  void add(rte_mbuf* mbuf, std::uint8_t port, bool from_host) {
    Packet& packet = packets[count++];
    packet.mbuf = mbuf;
    packet.rx_port = port;
    packet.from_host = from_host;
    packet.verdict = Verdict::kPending;
    packet.has_service = false;
    packet.errand = Errand::kNone;
    packet.flow = kNoFlow;
    packet.replaces = kNoFlow;
  }
};

}  // namespace sluice
