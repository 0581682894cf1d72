// SPDX-License-Identifier: Apache-2.0
#include "dataplane/state/snat_ports.h"

#include "dataplane/state/aging.h"

#include <algorithm>

namespace sluice {
namespace {

template <Family F>
typename FlowKey<F>::Address address_of(const IpAddress& address) {
  if constexpr (F == Family::kIpv4) {
    return address.v4();
  } else {
    return address.v6();
  }
}

template <Family F>
std::size_t start_of(const FlowHot<F>& flow, std::size_t addresses) {
  return addresses < 2 ? 0 : static_cast<std::size_t>(hash_of(IpAddress(flow.client)) % addresses);
}

}  // namespace

template <Family F, typename OnTaken>
[[gnu::always_inline]] inline std::optional<std::uint64_t> SnatPorts::probe(
    std::span<const SnatAddress> addresses, const Ownership& ownership, const FlowTable<F>& flows,
    FlowHot<F>& flow, OnTaken on_taken) {
  // Others' ports cost a step each, of which a probe takes as many as there are lcores, give or
  // take.
  const std::uint32_t steps = 4 * kProbesMax * ownership.lcores();
  std::size_t at = start_of(flow, addresses.size());
  for (std::size_t turn = 0; turn < addresses.size(); ++turn) {
    const SnatAddress& address = addresses[at];
    at = at + 1 == addresses.size() ? 0 : at + 1;
    const std::uint32_t range = address.port_end - address.port_begin;
    flow.snat = address_of<F>(address.address);
    const Ownership::ReplyWalk walk =
        ownership.lcores() == 1 ? Ownership::ReplyWalk{} : ownership.walk_of(flow.reply_key());
    std::uint32_t probes = 0;
    for (std::uint32_t step = 0; probes < kProbesMax && step < std::min(range, steps); ++step) {
      const auto port = static_cast<std::uint16_t>(address.port_begin + cursor_++ % range);
      if (ownership.lcores() > 1 && ownership.of_reply(walk, port) != lcore_) {
        continue;
      }
      ++probes;
      flow.snat_port = Be16::from_host(port);
      const FlowKey<F> key = flow.reply_key();
      const std::uint64_t hash = flows.hash_of(key);
      const FlowRef taken = flows.find(key, hash);
      if (!taken.valid()) {
        return hash;
      }
      on_taken(taken);
    }
  }
  return std::nullopt;
}

template <Family F>
SnatPorts::Ended SnatPorts::probe_ended(std::span<const SnatAddress> addresses,
                                        const Ownership& ownership, const FlowTable<F>& flows,
                                        FlowHot<F>& flow) {
  Ended ended;
  static_cast<void>(probe(addresses, ownership, flows, flow, [&](FlowRef taken) {
    const FlowHot<F>& holder = flows.hot(taken.index());
    const std::uint32_t rested_ms = flow.last_seen_ms - holder.last_seen_ms;
    if (holder.state == FlowState::kQuarantine) {
      ++ended.quarantined_count;
      if (!ended.quarantined.valid() && rested_ms != 0) {
        ended.quarantined = taken;
        ended.behind = cursor_;
      }
    } else if (holder.state == FlowState::kTcpTimeWait && rested_ms >= kAtRestMs &&
               ended.waiting_count < kSpareTuples) {
      ended.waiting[ended.waiting_count++] = taken.index();
    }
  }));
  return ended;
}

template <Family F>
void SnatPorts::prefetch(std::span<const SnatAddress> addresses, const Ownership& ownership,
                         const FlowTable<F>& flows, FlowHot<F>& flow) {
  if (addresses.empty()) {
    return;
  }
  const SnatAddress& address = addresses[start_of(flow, addresses.size())];
  const std::uint32_t range = address.port_end - address.port_begin;
  flow.snat = address_of<F>(address.address);
  auto port = static_cast<std::uint16_t>(address.port_begin + cursor_++ % range);
  if (ownership.lcores() > 1) {
    const Ownership::ReplyWalk walk = ownership.walk_of(flow.reply_key());
    const std::uint32_t steps = 4U * ownership.lcores();
    for (std::uint32_t step = 1; step < steps && ownership.of_reply(walk, port) != lcore_; ++step) {
      port = static_cast<std::uint16_t>(address.port_begin + cursor_++ % range);
    }
  }
  flow.snat_port = Be16::from_host(port);
  flows.prefetch_bucket(flows.hash_of(flow.reply_key()));
}

template <Family F>
std::optional<std::uint64_t> SnatPorts::choose(std::span<const SnatAddress> addresses,
                                               const Ownership& ownership, FlowTable<F>& flows,
                                               LcoreCounters& counters, FlowHot<F>& flow) {
  const std::uint64_t begin = cursor_;
  const auto hash = probe(addresses, ownership, flows, flow, [](FlowRef) {});
  if (!hash) [[unlikely]] {
    cursor_ = begin;
    return take_ended(addresses, ownership, flows, counters, flow);
  }
  return hash;
}

// None is broken in the turn in which it was closed: a packet of this burst may be its flow's. The
// next flow comes by these again.
template <Family F>
[[gnu::noinline]] std::optional<std::uint64_t> SnatPorts::take_ended(
    std::span<const SnatAddress> addresses, const Ownership& ownership, FlowTable<F>& flows,
    LcoreCounters& counters, FlowHot<F>& flow) {
  const std::uint64_t begin = cursor_;
  const Ended ended = probe_ended(addresses, ownership, flows, flow);
  const bool few = ended.quarantined_count < kSpareTuples;
  for (std::uint32_t i = 0; few && i < ended.waiting_count; ++i) {
    close_flow(flows, ended.waiting[i], flow.last_seen_ms, counters);
  }
  if (!ended.quarantined.valid()) {
    cursor_ = ended.waiting_count + ended.quarantined_count == 0 ? cursor_ : begin;
    return std::nullopt;
  }
  cursor_ = ended.behind;
  const std::uint32_t broken = ended.quarantined.index();
  flow.snat = flows.hot(broken).snat;
  flow.snat_port = flows.hot(broken).snat_port;
  flows.erase(broken);
  counters.snat_quarantine_broken.add(1);
  return flows.hash_of(flow.reply_key());
}

template <Family F>
bool SnatPorts::has_room(std::span<const SnatAddress> addresses, const Ownership& ownership,
                         const FlowTable<F>& flows, const FlowHot<F>& flow) const {
  SnatPorts same = *this;
  FlowHot<F> copy = flow;
  if (same.probe(addresses, ownership, flows, copy, [](FlowRef) {})) {
    return true;
  }
  same.cursor_ = cursor_;
  return same.probe_ended(addresses, ownership, flows, copy).quarantined.valid();
}

template void SnatPorts::prefetch(std::span<const SnatAddress>, const Ownership&,
                                  const FlowTable<Family::kIpv4>&, FlowHot<Family::kIpv4>&);
template void SnatPorts::prefetch(std::span<const SnatAddress>, const Ownership&,
                                  const FlowTable<Family::kIpv6>&, FlowHot<Family::kIpv6>&);
template std::optional<std::uint64_t> SnatPorts::choose(std::span<const SnatAddress>,
                                                        const Ownership&, FlowTable<Family::kIpv4>&,
                                                        LcoreCounters&, FlowHot<Family::kIpv4>&);
template std::optional<std::uint64_t> SnatPorts::choose(std::span<const SnatAddress>,
                                                        const Ownership&, FlowTable<Family::kIpv6>&,
                                                        LcoreCounters&, FlowHot<Family::kIpv6>&);
template bool SnatPorts::has_room(std::span<const SnatAddress>, const Ownership&,
                                  const FlowTable<Family::kIpv4>&,
                                  const FlowHot<Family::kIpv4>&) const;
template bool SnatPorts::has_room(std::span<const SnatAddress>, const Ownership&,
                                  const FlowTable<Family::kIpv6>&,
                                  const FlowHot<Family::kIpv6>&) const;

}  // namespace sluice
