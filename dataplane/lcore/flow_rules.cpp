// SPDX-License-Identifier: Apache-2.0
#include "dataplane/lcore/flow_rules.h"

#include "dataplane/lcore/nic_ops.h"
#include "dataplane/net/headers.h"

#include <rte_errno.h>
#include <rte_flow.h>

#include <array>
#include <cstring>

namespace sluice {
namespace {

// Of a prefix: its bits as a mask, on the wire's bytes.
std::array<std::uint8_t, 16> mask_of(const IpPrefix& prefix) {
  std::array<std::uint8_t, 16> mask{};
  for (unsigned bit = 0; bit < prefix.length; ++bit) {
    mask[bit / 8] = static_cast<std::uint8_t>(mask[bit / 8] | 0x80U >> bit % 8);
  }
  return mask;
}

// `length` bytes of each, where there is something to match.
void set_address(const std::optional<IpPrefix>& prefix, void* spec, void* mask,
                 std::size_t length) {
  if (prefix) {
    std::memcpy(spec, prefix->address.bytes.data(), length);
    std::memcpy(mask, mask_of(*prefix).data(), length);
  }
}

template <typename Header>
void set_ports(const FlowMatch& match, Header& spec, Header& mask) {
  if (match.source_port) {
    spec.src_port = Be16::from_host(match.source_port->value).raw;
    mask.src_port = Be16::from_host(match.source_port->mask).raw;
  }
  if (match.destination_port) {
    spec.dst_port = Be16::from_host(match.destination_port->value).raw;
    mask.dst_port = Be16::from_host(match.destination_port->mask).raw;
  }
}

// The pattern of a match: items that point into it.
class Pattern {
 public:
  explicit Pattern(const FlowMatch& match) {
    items_[0].type = RTE_FLOW_ITEM_TYPE_ETH;
    if (match.family == Family::kIpv4) {
      items_[1].type = RTE_FLOW_ITEM_TYPE_IPV4;
      set_address(match.source, &ip4_.hdr.src_addr, &ip4_mask_.hdr.src_addr, 4);
      set_address(match.destination, &ip4_.hdr.dst_addr, &ip4_mask_.hdr.dst_addr, 4);
      point(1, &ip4_, &ip4_mask_, match.source || match.destination);
    } else {
      items_[1].type = RTE_FLOW_ITEM_TYPE_IPV6;
      set_address(match.source, ip6_.hdr.src_addr, ip6_mask_.hdr.src_addr, 16);
      set_address(match.destination, ip6_.hdr.dst_addr, ip6_mask_.hdr.dst_addr, 16);
      point(1, &ip6_, &ip6_mask_, match.source || match.destination);
    }
    const bool ports = match.source_port || match.destination_port;
    if (match.protocol == kProtocolTcp) {
      items_[2].type = RTE_FLOW_ITEM_TYPE_TCP;
      set_ports(match, tcp_.hdr, tcp_mask_.hdr);
      point(2, &tcp_, &tcp_mask_, ports);
    } else {
      items_[2].type = RTE_FLOW_ITEM_TYPE_UDP;
      set_ports(match, udp_.hdr, udp_mask_.hdr);
      point(2, &udp_, &udp_mask_, ports);
    }
    items_[3].type = RTE_FLOW_ITEM_TYPE_END;
  }
  Pattern(const Pattern&) = delete;
  Pattern& operator=(const Pattern&) = delete;
  [[nodiscard]] const rte_flow_item* items() const { return items_; }

 private:
  void point(std::size_t item, const void* spec, const void* mask, bool any) {
    items_[item].spec = any ? spec : nullptr;
    items_[item].mask = any ? mask : nullptr;
  }

  rte_flow_item items_[4]{};
  rte_flow_item_ipv4 ip4_{};
  rte_flow_item_ipv4 ip4_mask_{};
  rte_flow_item_ipv6 ip6_{};
  rte_flow_item_ipv6 ip6_mask_{};
  rte_flow_item_tcp tcp_{};
  rte_flow_item_tcp tcp_mask_{};
  rte_flow_item_udp udp_{};
  rte_flow_item_udp udp_mask_{};
};

// Some devices refuse to hash what the pattern rules out.
std::uint64_t fields_of(const FlowMatch& match) {
  const bool tcp = match.protocol == kProtocolTcp;
  return match.family == Family::kIpv4
             ? (tcp ? RTE_ETH_RSS_NONFRAG_IPV4_TCP : RTE_ETH_RSS_NONFRAG_IPV4_UDP)
             : (tcp ? RTE_ETH_RSS_NONFRAG_IPV6_TCP : RTE_ETH_RSS_NONFRAG_IPV6_UDP);
}

std::string words_of(int result, const rte_flow_error& error) {
  const std::string reason = rte_strerror(result < 0 ? -result : result);
  return error.message == nullptr ? reason : std::string(error.message) + " (" + reason + ")";
}

}  // namespace

bool FlowRules::to_queue(const FlowMatch& match, std::uint16_t queue, std::uint32_t priority) {
  rte_flow_action_queue to{};
  to.index = queue;
  rte_flow_action actions[2]{};
  actions[0].type = RTE_FLOW_ACTION_TYPE_QUEUE;
  actions[0].conf = &to;
  actions[1].type = RTE_FLOW_ACTION_TYPE_END;
  return make(match, priority, actions);
}

bool FlowRules::spread(const FlowMatch& match, const RuleRss& rss, std::uint32_t priority) {
  rte_flow_action_rss to{};
  to.func = RTE_ETH_HASH_FUNCTION_TOEPLITZ;
  to.types = fields_of(match) | rss.side;
  to.key_len = rss.key_bytes;
  to.key = rss.key.bytes.data();
  to.queue_num = static_cast<std::uint32_t>(rss.queues.size());
  to.queue = rss.queues.data();
  rte_flow_action actions[2]{};
  actions[0].type = RTE_FLOW_ACTION_TYPE_RSS;
  actions[0].conf = &to;
  actions[1].type = RTE_FLOW_ACTION_TYPE_END;
  return make(match, priority, actions);
}

bool FlowRules::drop(const FlowMatch& match) {
  rte_flow_action actions[2]{};
  actions[0].type = RTE_FLOW_ACTION_TYPE_DROP;
  actions[1].type = RTE_FLOW_ACTION_TYPE_END;
  return make(match, 0, actions);
}

bool FlowRules::make(const FlowMatch& match, std::uint32_t priority,
                     const rte_flow_action* actions) {
  if (made_.size() == kRulesMax) {
    why_ = "more than " + std::to_string(kRulesMax) + " rules are needed";
    return false;
  }
  const Pattern pattern(match);
  rte_flow_attr attr{};
  attr.ingress = 1;
  attr.priority = priority;
  rte_flow_error error{};
  const int valid = nic_ops.flow_validate(port_, &attr, pattern.items(), actions, &error);
  if (valid != 0) {
    why_ = words_of(valid, error);
    return false;
  }
  error = {};
  rte_flow* made = nic_ops.flow_create(port_, &attr, pattern.items(), actions, &error);
  if (made == nullptr) {
    why_ = words_of(rte_errno, error);
    return false;
  }
  made_.push_back(made);
  return true;
}

void FlowRules::clear(std::size_t first) {
  while (made_.size() > first) {
    rte_flow_error error{};
    nic_ops.flow_destroy(port_, made_.back(), &error);
    made_.pop_back();
  }
}

}  // namespace sluice
