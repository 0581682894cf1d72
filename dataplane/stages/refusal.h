// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/address.h"
#include "dataplane/stages/packet.h"
#include "dataplane/state/answer_limits.h"
#include "dataplane/state/lcore_state.h"

// How a packet becomes the answer that refuses it. Only `refuse` uses this.
namespace sluice {

// A packet that forward dropped, as its sender sent it: an error must quote what he knows.
void undo_translation(Packet& packet, LcoreState& state);

// Makes the packet itself the answer, from the address it was sent to, at `mac`. No other mbuf is
// needed: an error finds room in the headroom, a reset is shorter. False, and the packet unusable,
// when there is no room. `answer` is one that answer_to_drop gave.
[[nodiscard]] bool write_refusal(Packet& packet, Answer answer, const MacAddress& mac);

}  // namespace sluice
