// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/headers.h"
#include "dataplane/state/flow.h"

#include <cstdint>

namespace sluice {

// What a TCP segment says about its connection; a RST says it whatever else is set.
enum class TcpEvent : std::uint8_t { kSegment, kSyn, kSynAck, kFin, kRst, kCount };

[[nodiscard]] constexpr TcpEvent tcp_event(std::uint8_t flags) {
  if ((flags & kTcpRst) != 0) {
    return TcpEvent::kRst;
  }
  if ((flags & kTcpSyn) != 0) {
    return (flags & kTcpAck) != 0 ? TcpEvent::kSynAck : TcpEvent::kSyn;
  }
  return (flags & kTcpFin) != 0 ? TcpEvent::kFin : TcpEvent::kSegment;
}

struct TcpView {
  FlowState state;
  std::uint8_t flags;  // FlowFlag

  friend constexpr bool operator==(TcpView, TcpView) = default;
};

// Follows one segment. The handshake is complete when the client answers the backend's SYN+ACK; a
// FIN from either side starts the short timer; a RST the shortest. Sequence numbers are not
// checked: a segment that lies only shortens the timer of a flow it had to name exactly. What is in
// quarantine stays there: a segment may still be on its way when a SYN behind it in the burst has
// closed its flow.
[[nodiscard]] constexpr TcpView tcp_next(TcpView now, Direction from, TcpEvent event) {
  const bool client = from == Direction::kFromClient;
  if (now.state == FlowState::kQuarantine) {
    return now;
  }
  switch (event) {
    case TcpEvent::kRst:
      return {FlowState::kTcpReset, now.flags};
    case TcpEvent::kFin:
      return {now.state == FlowState::kTcpReset ? now.state : FlowState::kTcpClosing,
              static_cast<std::uint8_t>(now.flags | (client ? kFlowFinClient : kFlowFinBackend))};
    case TcpEvent::kSynAck:
      return {now.state, static_cast<std::uint8_t>(client ? now.flags : now.flags | kFlowReplied)};
    case TcpEvent::kSegment:
      if (now.state == FlowState::kTcpHalfOpen && client && (now.flags & kFlowReplied) != 0) {
        return {FlowState::kTcpEstablished, now.flags};
      }
      return now;
    case TcpEvent::kSyn:
    case TcpEvent::kCount:
      break;
  }
  return now;
}

// True when a hit with these flags in this state can change anything, so that others cost nothing.
[[nodiscard]] constexpr bool tcp_may_change(FlowState state, std::uint8_t flags) {
  return state != FlowState::kTcpEstablished || (flags & (kTcpSyn | kTcpFin | kTcpRst)) != 0;
}

}  // namespace sluice
