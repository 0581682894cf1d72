// SPDX-License-Identifier: Apache-2.0
#include "tests/support/test_nic.h"

#include <rte_byteorder.h>
#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_ring.h>
#include <rte_tcp.h>
#include <rte_thash.h>
#include <rte_udp.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

namespace sluice::testing {
namespace {

constexpr unsigned kRing = 4096;
constexpr std::uint64_t kTuple = RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV4_UDP |
                                 RTE_ETH_RSS_NONFRAG_IPV6_TCP | RTE_ETH_RSS_NONFRAG_IPV6_UDP;
constexpr std::uint64_t kSource = RTE_ETH_RSS_L3_SRC_ONLY | RTE_ETH_RSS_L4_SRC_ONLY;
constexpr std::uint64_t kDestination = RTE_ETH_RSS_L3_DST_ONLY | RTE_ETH_RSS_L4_DST_ONLY;

std::map<std::uint16_t, TestNic*>& nics_by_id() {
  static std::map<std::uint16_t, TestNic*> nics;
  return nics;
}

std::map<std::string, TestNic*>& nics_by_name() {
  static std::map<std::string, TestNic*> nics;
  return nics;
}

TestNic* nic_of(std::uint16_t id) {
  const auto found = nics_by_id().find(id);
  return found == nics_by_id().end() ? nullptr : found->second;
}

std::string ring_name() {
  static int number = 0;
  return "nic_ring" + std::to_string(number++);
}

// Where the headers of a whole TCP or UDP packet are; all null for any other.
struct Headers {
  const rte_ipv4_hdr* ip4 = nullptr;
  const rte_ipv6_hdr* ip6 = nullptr;
  const std::uint8_t* transport = nullptr;
  std::uint8_t protocol = 0;
};

Headers headers_of(const rte_mbuf* mbuf) {
  const auto* frame = rte_pktmbuf_mtod(mbuf, const std::uint8_t*);
  std::size_t at = sizeof(rte_ether_hdr);
  std::uint16_t type = reinterpret_cast<const rte_ether_hdr*>(frame)->ether_type;
  if (type == rte_cpu_to_be_16(RTE_ETHER_TYPE_VLAN)) {
    type = reinterpret_cast<const rte_vlan_hdr*>(frame + at)->eth_proto;
    at += sizeof(rte_vlan_hdr);
  }
  Headers headers;
  if (type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV4)) {
    const auto* ip = reinterpret_cast<const rte_ipv4_hdr*>(frame + at);
    at += (ip->version_ihl & 0xfU) * 4U;
    if ((ip->fragment_offset & rte_cpu_to_be_16(0x3fff)) == 0) {
      headers = {ip, nullptr, frame + at, ip->next_proto_id};
    }
  } else if (type == rte_cpu_to_be_16(RTE_ETHER_TYPE_IPV6)) {
    const auto* ip = reinterpret_cast<const rte_ipv6_hdr*>(frame + at);
    headers = {nullptr, ip, frame + at + sizeof(rte_ipv6_hdr), ip->proto};
  }
  if (at + 8 > mbuf->data_len || (headers.protocol != 6 && headers.protocol != 17)) {
    return {};
  }
  return headers;
}

// As rte_softrss wants it: dwords of the CPU's order.
std::vector<std::uint32_t> input_of(const Headers& headers, std::uint64_t fields, bool compact) {
  std::vector<std::uint32_t> source;
  std::vector<std::uint32_t> destination;
  if (headers.ip4 != nullptr) {
    source = {rte_be_to_cpu_32(headers.ip4->src_addr)};
    destination = {rte_be_to_cpu_32(headers.ip4->dst_addr)};
  } else {
    for (int word = 0; word < 4; ++word) {
      std::uint32_t value = 0;
      std::memcpy(&value, headers.ip6->src_addr + 4 * word, 4);
      source.push_back(rte_be_to_cpu_32(value));
      std::memcpy(&value, headers.ip6->dst_addr + 4 * word, 4);
      destination.push_back(rte_be_to_cpu_32(value));
    }
  }
  const auto* ports = reinterpret_cast<const rte_udp_hdr*>(headers.transport);
  std::uint32_t source_port = rte_be_to_cpu_16(ports->src_port);
  std::uint32_t destination_port = rte_be_to_cpu_16(ports->dst_port);
  const bool only_source = (fields & kSource) == kSource;
  const bool only_destination = (fields & kDestination) == kDestination;
  if (compact && (only_source || only_destination)) {
    std::vector<std::uint32_t> input = only_source ? source : destination;
    input.push_back((only_source ? source_port : destination_port) << 16U);
    return input;
  }
  if (only_source) {
    std::fill(destination.begin(), destination.end(), 0);
    destination_port = 0;
  } else if (only_destination) {
    std::fill(source.begin(), source.end(), 0);
    source_port = 0;
  }
  std::vector<std::uint32_t> input = source;
  input.insert(input.end(), destination.begin(), destination.end());
  input.push_back(source_port << 16U | destination_port);
  return input;
}

void empty(rte_ring* ring) {
  void* left = nullptr;
  while (rte_ring_dequeue(ring, &left) == 0) {
    rte_pktmbuf_free(static_cast<rte_mbuf*>(left));
  }
}

bool matches(const void* header, const void* spec, const void* mask, std::size_t bytes) {
  const auto* h = static_cast<const std::uint8_t*>(header);
  const auto* s = static_cast<const std::uint8_t*>(spec);
  const auto* m = static_cast<const std::uint8_t*>(mask);
  for (std::size_t i = 0; i < bytes; ++i) {
    if (((h[i] ^ s[i]) & m[i]) != 0) {
      return false;
    }
  }
  return true;
}

}  // namespace

// An item is its header's bytes and their mask; empty: any.
struct TestNic::Rule {
  struct Item {
    rte_flow_item_type type = RTE_FLOW_ITEM_TYPE_END;
    std::vector<std::uint8_t> spec;
    std::vector<std::uint8_t> mask;
  };
  std::uint32_t priority = 0;
  bool drop = false;
  std::uint16_t queue = 0;
  // Spread, when there is a key.
  std::uint64_t fields = 0;
  std::vector<std::uint8_t> key;
  std::vector<std::uint16_t> queues;
  std::vector<Item> items;

  // False for what this NIC does not know.
  bool read(const rte_flow_item* pattern, const rte_flow_action* actions, const NicModel& model) {
    for (; pattern->type != RTE_FLOW_ITEM_TYPE_END; ++pattern) {
      const std::size_t bytes = bytes_of(pattern->type);
      if (bytes == 0 || (pattern->spec != nullptr && pattern->mask == nullptr)) {
        return false;
      }
      Item item{pattern->type, {}, {}};
      if (pattern->spec != nullptr) {
        const auto* spec = static_cast<const std::uint8_t*>(pattern->spec);
        const auto* mask = static_cast<const std::uint8_t*>(pattern->mask);
        item.spec.assign(spec, spec + bytes);
        item.mask.assign(mask, mask + bytes);
      }
      items.push_back(std::move(item));
    }
    drop = actions->type == RTE_FLOW_ACTION_TYPE_DROP;
    if (actions->type == RTE_FLOW_ACTION_TYPE_QUEUE) {
      queue = static_cast<const rte_flow_action_queue*>(actions->conf)->index;
    }
    const bool spreads = actions->type == RTE_FLOW_ACTION_TYPE_RSS && model.rss_rules &&
                         read_rss(*static_cast<const rte_flow_action_rss*>(actions->conf), model);
    return (drop || actions->type == RTE_FLOW_ACTION_TYPE_QUEUE || spreads) &&
           actions[1].type == RTE_FLOW_ACTION_TYPE_END;
  }
  // As strict as drivers are: of the pattern's own protocol, and a table of a power of two.
  bool read_rss(const rte_flow_action_rss& rss, const NicModel& model) {
    const auto is = [&](std::size_t at, rte_flow_item_type type) {
      return items.size() > at && items[at].type == type;
    };
    const bool tcp = is(2, RTE_FLOW_ITEM_TYPE_TCP);
    const std::uint64_t own =
        is(1, RTE_FLOW_ITEM_TYPE_IPV4)
            ? (tcp ? RTE_ETH_RSS_NONFRAG_IPV4_TCP : RTE_ETH_RSS_NONFRAG_IPV4_UDP)
            : (tcp ? RTE_ETH_RSS_NONFRAG_IPV6_TCP : RTE_ETH_RSS_NONFRAG_IPV6_UDP);
    fields = rss.types;
    if ((fields & kTuple) != own || (fields & ~(kTuple | kSource | kDestination)) != 0 ||
        rss.func != RTE_ETH_HASH_FUNCTION_TOEPLITZ || rss.level != 0 ||
        rss.key_len != model.key_bytes || !std::has_single_bit(rss.queue_num)) {
      return false;
    }
    key.assign(rss.key, rss.key + rss.key_len);
    queues.assign(rss.queue, rss.queue + rss.queue_num);
    return true;
  }
  static std::size_t bytes_of(rte_flow_item_type type) {
    switch (type) {
      case RTE_FLOW_ITEM_TYPE_ETH:
        return sizeof(rte_ether_hdr);
      case RTE_FLOW_ITEM_TYPE_IPV4:
        return sizeof(rte_ipv4_hdr);
      case RTE_FLOW_ITEM_TYPE_IPV6:
        return sizeof(rte_ipv6_hdr);
      case RTE_FLOW_ITEM_TYPE_TCP:
        return sizeof(rte_tcp_hdr);
      case RTE_FLOW_ITEM_TYPE_UDP:
        return sizeof(rte_udp_hdr);
      default:
        return 0;
    }
  }
  [[nodiscard]] bool is_for(const rte_mbuf* mbuf, const Headers& headers) const {
    return std::all_of(items.begin(), items.end(), [&](const Item& item) {
      const void* header = nullptr;
      switch (item.type) {
        case RTE_FLOW_ITEM_TYPE_ETH:
          header = rte_pktmbuf_mtod(mbuf, const void*);
          break;
        case RTE_FLOW_ITEM_TYPE_IPV4:
          header = headers.ip4;
          break;
        case RTE_FLOW_ITEM_TYPE_IPV6:
          header = headers.ip6;
          break;
        case RTE_FLOW_ITEM_TYPE_TCP:
          header = headers.protocol == 6 ? headers.transport : nullptr;
          break;
        default:
          header = headers.protocol == 17 ? headers.transport : nullptr;
          break;
      }
      return header != nullptr &&
             (item.spec.empty() ||
              matches(header, item.spec.data(), item.mask.data(), item.spec.size()));
    });
  }
};

// What stands in nic_ops.
struct TestNic::Ops {
  static inline NicOps real = dpdk_nic_ops();

  static int attach(const std::string& name, const std::string& arguments, bool pci,
                    std::uint16_t* id) {
    const auto found = nics_by_name().find(name);
    if (found == nics_by_name().end()) {
      return real.attach(name, arguments, pci, id);
    }
    *id = found->second->id_;
    return 0;
  }
  static void detach(const std::string& name, bool pci, std::uint16_t id) {
    TestNic* nic = nic_of(id);
    if (nic == nullptr) {
      real.detach(name, pci, id);
      return;
    }
    nic->drain();
  }
  static int mac_get(std::uint16_t id, rte_ether_addr* mac) {
    const TestNic* nic = nic_of(id);
    if (nic == nullptr) {
      return real.mac_get(id, mac);
    }
    *mac = nic->mac_;
    return 0;
  }
  static int info_get(std::uint16_t id, rte_eth_dev_info* info) {
    const int result = real.info_get(id, info);
    const TestNic* nic = nic_of(id);
    if (nic == nullptr || result != 0) {
      return result;
    }
    info->driver_name = nic->model_.driver;
    info->hash_key_size = nic->model_.key_bytes;
    info->reta_size = nic->model_.rss ? nic->model_.reta_entries : std::uint16_t{0};
    info->flow_type_rss_offloads = nic->model_.rss ? kTuple : 0;
    if (nic->model_.sides) {
      info->flow_type_rss_offloads |= kSource | kDestination;
    }
    if (nic->model_.tells_hash && nic->model_.rss) {
      info->rx_offload_capa |= RTE_ETH_RX_OFFLOAD_RSS_HASH;
    }
    return 0;
  }
  static int configure(std::uint16_t id, std::uint16_t rx, std::uint16_t tx,
                       const rte_eth_conf* conf) {
    TestNic* nic = nic_of(id);
    if (nic == nullptr) {
      return real.configure(id, rx, tx, conf);
    }
    rte_eth_conf rest = *conf;  // without what net_ring does not have
    nic->tells_ = (conf->rxmode.offloads & RTE_ETH_RX_OFFLOAD_RSS_HASH) != 0;
    rest.rxmode.offloads &= ~RTE_ETH_RX_OFFLOAD_RSS_HASH;
    rest.rxmode.mq_mode = RTE_ETH_MQ_RX_NONE;
    rest.rx_adv_conf = {};
    nic->fields_ = 0;
    if (conf->rxmode.mq_mode == RTE_ETH_MQ_RX_RSS) {
      rte_eth_rss_conf rss = conf->rx_adv_conf.rss_conf;
      nic->fields_ = rss.rss_hf;
      if (nic->model_.takes_key && rss.rss_key != nullptr) {
        nic->key_.assign(rss.rss_key, rss.rss_key + rss.rss_key_len);
      }
    }
    return real.configure(id, rx, tx, &rest);
  }
  static int rss_hash_update(std::uint16_t id, rte_eth_rss_conf* conf) {
    TestNic* nic = nic_of(id);
    if (nic == nullptr) {
      return real.rss_hash_update(id, conf);
    }
    const std::lock_guard lock(nic->mutex_);
    const std::uint64_t known = kTuple | (nic->model_.sides ? kSource | kDestination : 0);
    if ((conf->rss_hf & ~known) != 0 || conf->rss_key_len != nic->model_.key_bytes) {
      return -EINVAL;
    }
    if (!nic->model_.takes_key) {
      return -ENOTSUP;
    }
    nic->key_.assign(conf->rss_key, conf->rss_key + conf->rss_key_len);
    nic->fields_ = conf->rss_hf;
    return 0;
  }
  static int rss_hash_conf_get(std::uint16_t id, rte_eth_rss_conf* conf) {
    const TestNic* nic = nic_of(id);
    if (nic == nullptr) {
      return real.rss_hash_conf_get(id, conf);
    }
    if (!nic->model_.tells_key) {
      return -ENOTSUP;
    }
    std::copy(nic->key_.begin(), nic->key_.end(), conf->rss_key);
    conf->rss_hf = nic->fields_;
    return 0;
  }
  static int reta_update(std::uint16_t id, rte_eth_rss_reta_entry64* reta, std::uint16_t size) {
    TestNic* nic = nic_of(id);
    if (nic == nullptr) {
      return real.reta_update(id, reta, size);
    }
    if (!nic->model_.takes_reta || size != nic->reta_.size()) {
      return -ENOTSUP;
    }
    const std::lock_guard lock(nic->mutex_);
    for (std::size_t i = 0; i < size; ++i) {
      nic->reta_[i] = reta[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE];
    }
    return 0;
  }
  static int reta_query(std::uint16_t id, rte_eth_rss_reta_entry64* reta, std::uint16_t size) {
    const TestNic* nic = nic_of(id);
    if (nic == nullptr) {
      return real.reta_query(id, reta, size);
    }
    for (std::size_t i = 0; i < size; ++i) {
      reta[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE] = nic->reta_[i];
    }
    return 0;
  }
  static int flow_validate(std::uint16_t id, const rte_flow_attr* attr,
                           const rte_flow_item pattern[], const rte_flow_action actions[],
                           rte_flow_error* error) {
    const TestNic* nic = nic_of(id);
    if (nic == nullptr) {
      return real.flow_validate(id, attr, pattern, actions, error);
    }
    Rule rule;
    if (!nic->model_.rules || (attr->priority != 0 && !nic->model_.priorities) ||
        !rule.read(pattern, actions, nic->model_)) {
      error->message = nic->model_.rules ? "not a rule of this NIC" : nullptr;
      rte_errno = nic->model_.rules ? EINVAL : ENOSYS;
      return -rte_errno;
    }
    return 0;
  }
  static rte_flow* flow_create(std::uint16_t id, const rte_flow_attr* attr,
                               const rte_flow_item pattern[], const rte_flow_action actions[],
                               rte_flow_error* error) {
    TestNic* nic = nic_of(id);
    if (nic == nullptr) {
      return real.flow_create(id, attr, pattern, actions, error);
    }
    const std::lock_guard lock(nic->mutex_);
    if (nic->rules_.size() == nic->model_.rules_max) {
      rte_errno = ENOSPC;
      return nullptr;
    }
    auto rule = std::make_unique<Rule>();
    rule->read(pattern, actions, nic->model_);
    rule->priority = attr->priority;
    auto* made = reinterpret_cast<rte_flow*>(rule.get());  // NOLINT: opaque to its owner
    nic->rules_.push_back(std::move(rule));
    std::stable_sort(nic->rules_.begin(), nic->rules_.end(),
                     [](const auto& a, const auto& b) { return a->priority < b->priority; });
    return made;
  }
  static int flow_destroy(std::uint16_t id, rte_flow* flow, rte_flow_error* error) {
    TestNic* nic = nic_of(id);
    if (nic == nullptr) {
      return real.flow_destroy(id, flow, error);
    }
    const std::lock_guard lock(nic->mutex_);
    return static_cast<int>(std::erase_if(
               nic->rules_,
               [&](const auto& rule) { return reinterpret_cast<rte_flow*>(rule.get()) == flow; })) -
           1;
  }
};

void TestNic::FreeRing::operator()(rte_ring* ring) const {
  empty(ring);
  rte_ring_free(ring);
}

void TestNic::drain() {
  for (auto* rings : {&in_, &out_}) {
    for (const OwnedRing& ring : *rings) {
      empty(ring.get());
    }
  }
}

void TestNic::install() {
  nic_ops = {Ops::attach,     Ops::detach,          Ops::mac_get,           Ops::info_get,
             Ops::configure,  Ops::rss_hash_update, Ops::rss_hash_conf_get, Ops::reta_update,
             Ops::reta_query, Ops::flow_validate,   Ops::flow_create,       Ops::flow_destroy};
}

TestNic::TestNic(std::string name, std::uint16_t queues, const NicModel& model)
    : name_(std::move(name)), model_(model), key_(model.key_bytes), reta_(model.reta_entries) {
  for (std::size_t i = 0; i < key_.size(); ++i) {
    key_[i] = static_cast<std::uint8_t>(37 * i * i + 101 * i + model_.own_seed);
  }
  for (std::size_t i = 0; i < reta_.size(); ++i) {
    reta_[i] = static_cast<std::uint16_t>((i / 3 + model_.own_seed) % queues);
  }
  std::vector<rte_ring*> in;
  std::vector<rte_ring*> out;
  for (std::uint16_t queue = 0; queue < queues; ++queue) {
    in_.emplace_back(rte_ring_create(ring_name().c_str(), kRing, SOCKET_ID_ANY, 0));
    out_.emplace_back(rte_ring_create(ring_name().c_str(), kRing, SOCKET_ID_ANY, 0));
    in.push_back(in_.back().get());
    out.push_back(out_.back().get());
  }
  const int id = rte_eth_from_rings(name_.c_str(), in.data(), queues, out.data(), queues, 0);
  if (id < 0) {
    std::perror("no NIC on rings");
    std::abort();
  }
  id_ = static_cast<std::uint16_t>(id);
  nics_by_id()[id_] = this;
  nics_by_name()[name_] = this;
}

TestNic::~TestNic() {
  nics_by_id().erase(id_);
  nics_by_name().erase(name_);
  rte_eth_dev_close(id_);
}

int TestNic::arrive(rte_mbuf* mbuf) {
  const Headers headers = headers_of(mbuf);
  const std::lock_guard lock(mutex_);
  int queue = -1;
  std::uint64_t fields = fields_;
  std::vector<std::uint8_t> key = key_;
  std::vector<std::uint16_t> table = reta_;
  for (const auto& rule : rules_) {
    if (rule->is_for(mbuf, headers)) {
      if (rule->drop) {
        ++dropped_by_rule_;
        rte_pktmbuf_free(mbuf);
        return -1;
      }
      if (rule->key.empty()) {
        queue = rule->queue;
      } else {
        fields = rule->fields;
        key = rule->key;
        table = rule->queues;
      }
      break;
    }
  }
  if (fields != 0 && headers.transport != nullptr) {
    std::vector<std::uint32_t> input = input_of(headers, fields, model_.compact);
    key.resize(input.size() * 4 + 8);
    std::uint32_t hash =
        rte_softrss(input.data(), static_cast<std::uint32_t>(input.size()), key.data());
    hash ^= model_.lies ? 0x5555'5555U : 0;
    queue = queue >= 0 ? queue : table[hash & (table.size() - 1)];
    if (tells_) {
      mbuf->hash.rss = hash;
      mbuf->ol_flags |= RTE_MBUF_F_RX_RSS_HASH;
    }
  }
  queue = std::max(queue, 0);
  if (rte_ring_enqueue(in_[static_cast<std::size_t>(queue)].get(), mbuf) != 0) {
    rte_pktmbuf_free(mbuf);
    return -1;
  }
  return queue;
}

rte_mbuf* TestNic::sent() {
  void* mbuf = nullptr;
  for (const OwnedRing& ring : out_) {
    if (rte_ring_dequeue(ring.get(), &mbuf) == 0) {
      return static_cast<rte_mbuf*>(mbuf);
    }
  }
  return nullptr;
}

}  // namespace sluice::testing
