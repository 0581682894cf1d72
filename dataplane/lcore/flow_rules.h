// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/address.h"
#include "dataplane/net/toeplitz.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

struct rte_flow;
struct rte_flow_action;

namespace sluice {

// A transport port of which only the bits of `mask` count.
struct MaskedPort {
  std::uint16_t value = 0;
  std::uint16_t mask = 0xffff;
};

// Which TCP or UDP packets a rule is about; what is not given is any.
struct FlowMatch {
  Family family = Family::kIpv4;
  std::uint8_t protocol = 0;  // kProtocolTcp or kProtocolUdp
  std::optional<IpPrefix> source = std::nullopt;
  std::optional<IpPrefix> destination = std::nullopt;
  std::optional<MaskedPort> source_port = std::nullopt;
  std::optional<MaskedPort> destination_port = std::nullopt;
};

// RSS for the packets of a rule alone: its own side, key and indirection table.
struct RuleRss {
  std::uint64_t side = 0;  // RTE_ETH_RSS_* bits that leave one side of the tuple out
  std::uint8_t key_bytes = 0;
  ToeplitzKey key;
  std::vector<std::uint16_t> queues;  // by the low bits of the hash; a power of two of them
};

// The rte_flow rules of one device: eth / ipv4|ipv6 / tcp|udp, to a queue, spread or dropped, and
// nothing else. They are validated before they are made; a device that refuses either says why, and
// has none of that rule. Spreading is asked of no device that does not offer RSS of one side, since
// net_tap, which does not, dies of the question.
class FlowRules {
 public:
  static constexpr std::size_t kRulesMax = 1024;

  explicit FlowRules(std::uint16_t port) : port_(port) {}
  ~FlowRules() { clear(); }
  FlowRules(FlowRules&& other) noexcept
      : port_(other.port_), made_(std::move(other.made_)), why_(std::move(other.why_)) {
    other.made_.clear();
  }
  FlowRules& operator=(FlowRules&&) = delete;

  // 0 is the highest priority. False when it is refused; why() tells.
  [[nodiscard]] bool to_queue(const FlowMatch& match, std::uint16_t queue, std::uint32_t priority);
  [[nodiscard]] bool spread(const FlowMatch& match, const RuleRss& rss, std::uint32_t priority);
  [[nodiscard]] bool drop(const FlowMatch& match);
  [[nodiscard]] const std::string& why() const { return why_; }
  [[nodiscard]] std::size_t size() const { return made_.size(); }
  // Takes the rules from number `first` on away.
  void clear(std::size_t first = 0);

 private:
  bool make(const FlowMatch& match, std::uint32_t priority, const rte_flow_action* actions);

  std::uint16_t port_;
  std::vector<rte_flow*> made_;
  std::string why_;
};

}  // namespace sluice
