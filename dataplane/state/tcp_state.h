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

[[nodiscard]] constexpr TcpView tcp_opening(TcpView now, bool client, TcpEvent event) {
  if (!client) {
    return {now.state, static_cast<std::uint8_t>(now.flags | kFlowReplied)};
  }
  const bool answers = (now.flags & kFlowReplied) != 0 && event != TcpEvent::kSyn;
  return {answers ? FlowState::kTcpEstablished : now.state, now.flags};
}

[[nodiscard]] constexpr TcpView tcp_after_reset(TcpView now, bool client) {
  const unsigned flags = now.flags | (client ? kFlowClientGoesOn : kFlowBackendGoesOn);
  if ((flags & kFlowGoesOn) == kFlowGoesOn) {
    return {FlowState::kTcpEstablished, static_cast<std::uint8_t>(flags & ~kFlowGoesOn)};
  }
  return {now.state, static_cast<std::uint8_t>(flags)};
}

[[nodiscard]] constexpr TcpView tcp_closing(TcpView now, bool client) {
  const unsigned flags = now.flags | (client ? kFlowFinClient : kFlowFinBackend);
  const bool both = (flags & kFlowFinBoth) == kFlowFinBoth;
  return {now.state == FlowState::kTcpReset ? now.state
          : both                            ? FlowState::kTcpTimeWait
                                            : FlowState::kTcpClosing,
          static_cast<std::uint8_t>(flags)};
}

// Follows one segment. The handshake is complete when the client answers what the backend has said,
// be that SYN+ACK, or the SYN of a simultaneous open (RFC 5382 REQ-2), or a segment of a connection
// that is older than this flow. A FIN from either side starts the short timer, one from the other
// too TIME-WAIT, from which no segment leads away; a RST the shortest.
// Sequence numbers are not checked: a RST that lies only shortens the timer of a flow it had to
// name exactly, and when both sides go on talking after it, the flow is established again (RFC 7857
// §2.2; one side alone may have had segments under way). What is in quarantine stays there: a
// segment may still be on its way when a SYN behind it in the burst has closed its flow.
[[nodiscard]] constexpr TcpView tcp_next(TcpView now, Direction from, TcpEvent event) {
  const bool client = from == Direction::kFromClient;
  if (now.state == FlowState::kQuarantine || now.state == FlowState::kTcpTimeWait) {
    return now;
  }
  switch (event) {
    case TcpEvent::kRst:
      return {FlowState::kTcpReset, static_cast<std::uint8_t>(now.flags & ~kFlowGoesOn)};
    case TcpEvent::kFin:
      return tcp_closing(now, client);
    case TcpEvent::kSyn:
    case TcpEvent::kSynAck:
      return now.state == FlowState::kTcpHalfOpen ? tcp_opening(now, client, event) : now;
    case TcpEvent::kSegment:
      return now.state == FlowState::kTcpHalfOpen ? tcp_opening(now, client, event)
             : now.state == FlowState::kTcpReset  ? tcp_after_reset(now, client)
                                                  : now;
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
