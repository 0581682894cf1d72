// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/snapshot/snapshot.h"
#include "dataplane/stages/packet.h"
#include "dataplane/stages/query.h"
#include "dataplane/state/lcore_state.h"

namespace sluice {

// The packet's way, each stage a loop over the burst; a stage passes over what is decided already.
// A stage's parameters are its access list: what it does not get, it cannot touch.
//
// Order: parse virtual_reassembly icmp_error check_owner find_flow classify admit_flow translate
// forward | respond refuse
//
// (dataplane/README.md has the same order as a table; a test holds the three equal.)
void parse(Burst& burst, const Snapshot& snapshot);
void virtual_reassembly(Burst& burst, const Snapshot& snapshot, LcoreState& state);
void icmp_error(Burst& burst, const Snapshot& snapshot);
void check_owner(Burst& burst, const Snapshot& snapshot, LcoreState& state);
// How many packets it carried to the end of their way: plain ones of flows that stand.
[[nodiscard]] std::uint32_t find_flow(Burst& burst, const Snapshot& snapshot, LcoreState& state);
void classify(Burst& burst, const Snapshot& snapshot);
void admit_flow(Burst& burst, const Snapshot& snapshot, LcoreState& state);
void translate(Burst& burst, LcoreState& state);
void forward(Burst& burst, const Snapshot& snapshot, LcoreState& state);
void respond(Burst& burst, const Snapshot& snapshot, LcoreState& state);
void refuse(Burst& burst, const Snapshot& snapshot, LcoreState& state);

// All of them in order. Afterwards every packet has a verdict other than kPending. `state.now_ms`
// has been set by the caller. Drops are counted by refuse; frames are neither sent nor freed.
void run_pipeline(Burst& burst, const Snapshot& snapshot, LcoreState& state);

// A packet that run_pipeline said to hold, later: true when its neighbour is reachable in this
// snapshot; the Ethernet header is written then and `out_port` of it is where the frame goes.
// The packet is complete but for that header, so it can be kept as these few values.
struct HeldPacket {
  rte_mbuf* mbuf = nullptr;
  IpAddress neighbour;
  std::uint8_t out_port = 0;
  std::uint16_t mtu = 0;       // of the way out, once it is released
  std::uint32_t since_ms = 0;  // LcoreState::now_ms when it was held
};
[[nodiscard]] bool release(HeldPacket& held, const Snapshot& snapshot);

// One gratuitous ARP request (RFC 5227 §3) or unsolicited neighbour advertisement (RFC 4861 §7.2.6)
// for `address` from `mac`, written into an empty mbuf. False when the mbuf has no room.
[[nodiscard]] bool write_announcement(rte_mbuf* mbuf, const MacAddress& mac,
                                      const IpAddress& address);

// What the tables and functions above would do with such a packet; changes nothing.
// `lcore`: the CPU number to report.
[[nodiscard]] Explanation explain(const ExplainQuery& query, const Snapshot& snapshot,
                                  const LcoreState& state, std::uint32_t lcore);

// Appends the flows among entries [begin, end) of one family's table that pass the filter, at most
// `room` of them. Entries past the table's high-water mark are none.
void collect_flows(const FlowFilter& filter, Family family, std::uint32_t begin, std::uint32_t end,
                   const LcoreState& state, std::uint32_t lcore, std::size_t room,
                   std::vector<FlowRow>& rows);

// Ends the flows among these entries that pass the filter, as when they had expired; how many.
// Between bursts only.
std::uint64_t delete_flows(const FlowFilter& filter, Family family, std::uint32_t begin,
                           std::uint32_t end, LcoreState& state);

}  // namespace sluice
