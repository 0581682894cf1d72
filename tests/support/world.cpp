// SPDX-License-Identifier: Apache-2.0
#include "tests/support/world.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <string_view>
#include <utility>

namespace sluice::testing {
namespace {

constexpr HashSecret kSecret{{11, 22, 33, 44, 55, 66}};

IpAddress pick(Family family, const char* ipv4, const char* ipv6) {
  return *parse_ip(family == Family::kIpv4 ? ipv4 : ipv6);
}

IpPrefix pick_prefix(Family family, const char* ipv4, const char* ipv6) {
  return *parse_prefix(family == Family::kIpv4 ? ipv4 : ipv6);
}

std::vector<std::unique_ptr<World::Lcore>> make_lcores(const WorldOptions& options,
                                                       LcoreCounters& counters) {
  const char* wanted = std::getenv("SLUICE_TEST_LCORES");
  const int asked = wanted == nullptr ? 1 : std::atoi(wanted);
  const int count = options.lcores != 0 ? options.lcores : asked;
  std::vector<std::unique_ptr<World::Lcore>> lcores;
  for (int i = 0; i < count; ++i) {
    lcores.push_back(std::make_unique<World::Lcore>(options, counters, static_cast<std::uint8_t>(i),
                                                    static_cast<std::uint8_t>(count)));
  }
  return lcores;
}

}  // namespace

// A frame on its way: in memory of its own, with DPDK's usual headroom, or in buffers of a pool.
struct World::Passenger {
  Passenger(const Frame& frame, std::uint8_t rx_port, bool host, const WorldOptions& options,
            std::size_t segment = 0)
      : port(rx_port), from_host(host) {
    if (options.pool != nullptr) {
      mbuf_ = fill(frame, options, segment == 0 ? frame.size() : segment);
      return;
    }
    room_.resize(RTE_PKTMBUF_HEADROOM + frame.size() + options.tailroom);
    owned_ = std::make_unique<rte_mbuf>();
    mbuf_ = owned_.get();
    std::memset(mbuf_, 0, sizeof(rte_mbuf));
    mbuf_->buf_addr = room_.data();
    mbuf_->buf_len = static_cast<std::uint16_t>(room_.size());
    mbuf_->data_off = RTE_PKTMBUF_HEADROOM;
    mbuf_->nb_segs = 1;
    mbuf_->data_len = static_cast<std::uint16_t>(frame.size());
    mbuf_->pkt_len = mbuf_->data_len;
    std::copy(frame.begin(), frame.end(), room_.begin() + RTE_PKTMBUF_HEADROOM);
  }
  ~Passenger() {
    if (owned_ == nullptr) {
      rte_pktmbuf_free(mbuf_);
    }
  }
  Passenger(const Passenger&) = delete;
  Passenger& operator=(const Passenger&) = delete;

  [[nodiscard]] rte_mbuf* mbuf() const { return mbuf_; }
  // The outcome, with the frame as it is now, and what is cut of it, which is the end of it.
  [[nodiscard]] Outcome told(const WorldOptions& options) const {
    Outcome now = outcome;
    for (const rte_mbuf* segment = mbuf_; segment != nullptr; segment = segment->next) {
      const auto* begin = rte_pktmbuf_mtod(segment, const std::uint8_t*);
      now.frame.insert(now.frame.end(), begin, begin + segment->data_len);
    }
    if (now.verdict == Verdict::kFragment && options.cut) {
      now.pieces = options.cut(mbuf_, now.mtu);
    }
    return now;
  }

  std::uint8_t port;
  bool from_host;
  Errand errand = Errand::kNone;
  LentPorts lent{};
  BindingRef chosen;
  Outcome outcome;

 private:
  // Without tailroom each part ends with its buffer, or an octet before: like every device's it
  // begins at an even address.
  static rte_mbuf* fill(const Frame& frame, const WorldOptions& options, std::size_t octets) {
    rte_mbuf* first = rte_pktmbuf_alloc(options.pool);
    rte_mbuf* last = first;
    std::size_t at = 0;
    while (last != nullptr) {
      const std::size_t length = std::min(octets, frame.size() - at);
      if (options.tailroom == 0) {
        last->data_off = static_cast<std::uint16_t>((last->buf_len - length) & ~std::size_t{1});
      }
      last->data_len = static_cast<std::uint16_t>(length);
      std::copy_n(frame.begin() + static_cast<std::ptrdiff_t>(at), length,
                  rte_pktmbuf_mtod(last, std::uint8_t*));
      at += length;
      if (at == frame.size()) {
        break;
      }
      last->next = rte_pktmbuf_alloc(options.pool);
      last = last->next;
      ++first->nb_segs;
    }
    if (last == nullptr) {
      std::abort();  // the pool is too small for the test
    }
    first->pkt_len = static_cast<std::uint32_t>(frame.size());
    return first;
  }

  std::vector<std::uint8_t> room_;
  std::unique_ptr<rte_mbuf> owned_;
  rte_mbuf* mbuf_;
};

// What happened to it, as inputs for the fuzzer, where a folder for these is named: with room
// behind each frame and without, so that a sanitizer sees what goes beyond.
World::~World() {
  const char* folder = std::getenv("SLUICE_CORPUS");
  if (folder == nullptr || recorded_.steps.empty()) {
    return;
  }
  for (const bool tailroom : {true, false}) {
    recorded_.tailroom = tailroom;
    const std::vector<std::uint8_t> bytes = encode_script(recorded_);
    const std::size_t name =
        std::hash<std::string_view>{}({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    std::ofstream(std::string(folder) + "/" + std::to_string(name), std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
  }
}

void World::record(const std::vector<Frame>& frames, std::uint8_t port, bool from_host) {
  constexpr std::size_t kStepsMax = 32;
  for (const Frame& frame : frames) {
    if (recorded_.steps.size() < kStepsMax) {
      Step step;
      step.port = port;
      step.from_host = from_host;
      step.together = &frame != &frames.back();
      step.frame = frame;
      recorded_.steps.push_back(std::move(step));
    }
  }
}

void World::reset() {
  snapshot = remembered_;
  held_.clear();
  settled_.clear();
  arrivals_ = 0;
  segment_ = 0;
  const auto count = static_cast<std::uint8_t>(lcores.size());
  for (std::uint8_t i = 0; i < count; ++i) {
    Lcore& lcore = *lcores[i];
    std::fill(lcore.memory4.begin(), lcore.memory4.end(), std::byte{});
    std::fill(lcore.memory6.begin(), lcore.memory6.end(), std::byte{});
    lcore.state.flows4 = FlowTable<Family::kIpv4>(lcore.memory4, options_.flows, kSecret);
    lcore.state.flows6 = FlowTable<Family::kIpv6>(lcore.memory6, options_.flows, kSecret);
    lcore.state.snat = SnatPorts(7, i);
    lcore.state.affinity = Affinity(1024, kSecret);
    lcore.state.answers = AnswerLimits();
    lcore.state.fragments = Fragments(i, count, kSecret, options_.datagrams);
    lcore.state.now_ms = 1000;
    lcore.aging4 = {};
    lcore.aging6 = {};
  }
  make_quotas();
}

void World::make_quotas() {
  quotas = std::make_unique<QuotaPool>(
      std::vector<QuotaLimits>(options_.quotas.begin(), options_.quotas.end()),
      static_cast<unsigned>(lcores.size()));
  for (unsigned i = 0; i < lcores.size(); ++i) {
    LcoreState& each = lcores[i]->state;
    each.quotas = LcoreQuotas(*quotas, i);
    each.flows4.count_in(each.quotas);
    each.flows6.count_in(each.quotas);
  }
}

World::Lcore::Lcore(const WorldOptions& options, LcoreCounters& counters, std::uint8_t number,
                    std::uint8_t count)
    : memory4(FlowTable<Family::kIpv4>::region_bytes(options.flows)),
      memory6(FlowTable<Family::kIpv6>::region_bytes(options.flows)),
      state{FlowTable<Family::kIpv4>(memory4, options.flows, kSecret),
            FlowTable<Family::kIpv6>(memory6, options.flows, kSecret),
            SnatPorts(7, number),
            counters,
            number,
            1000} {
  state.fragments = Fragments(number, count, kSecret, options.datagrams);
  state.affinity = Affinity(1024, kSecret);
}

World::World(Family which, const WorldOptions& options)
    : family(which),
      counters(16, 64),
      lcores(make_lcores(options, counters)),
      state(lcores[0]->state),
      options_(options) {
  recorded_.ipv6 = family == Family::kIpv6;
  recorded_.dnat = options.mode == ForwardingMode::kDnat;
  recorded_.two_lcores = lcores.size() > 1;
  recorded_.narrow = options.lan_mtu < 1500;
  recorded_.refuses = options.refuse;
  snapshot.ownership = std::make_shared<Ownership>(static_cast<std::uint8_t>(lcores.size()));
  snapshot.epoch = 1;
  snapshot.maglev_seed = 42;
  snapshot.ports = {{wan_mac, options.wan_mtu, options.twin, options.transit_to_kernel},
                    {lan_mac, options.lan_mtu, options.twin, options.transit_to_kernel}};
  client = pick(family, "192.0.2.77", "2001:db8:99::77");
  client_on_link = pick(family, "198.51.100.9", "2001:db8:1::9");
  router = pick(family, "198.51.100.1", "2001:db8:1::1");
  wan_host = pick(family, "198.51.100.254", "2001:db8:1::254");
  lan_host = pick(family, "10.0.0.254", "2001:db8:10::254");
  vip = pick(family, "203.0.113.10", "2001:db8:113::10");
  snat = pick(family, "10.0.0.100", "2001:db8:10::100");
  stranger = pick(family, "192.0.2.200", "2001:db8:99::200");
  backends = {pick(family, "10.0.0.11", "2001:db8:10::11"),
              pick(family, "10.0.0.12", "2001:db8:10::12"),
              pick(family, "10.0.0.13", "2001:db8:10::13")};
  snapshot.any_dnat = options.mode == ForwardingMode::kDnat;
  make_quotas();
  make_services();
  make_addresses(options);
  make_ways(options);
}

void World::make_services() {
  std::vector<BindingTable::Change> bindings;
  for (std::uint32_t i = 0; i < 3; ++i) {
    const auto active = BindingStateByte::make(BindingState::kActive, 0);
    bindings.push_back({web_slot(i), {backends[i], 8080, kWebId, active}});
    bindings.push_back({dns_slot(i), {backends[i], 5353, kDnsId, active}});
  }
  snapshot.bindings = std::make_shared<BindingTable>(BindingTable().with(bindings));
}

void World::make_addresses(const WorldOptions& options) {
  std::vector<MaglevEndpoint> web;
  std::vector<MaglevEndpoint> dns;
  for (const IpAddress& backend : backends) {
    web.push_back({backend, 8080, 1});
    dns.push_back({backend, 5353, 1});
  }
  auto entry = std::make_shared<AddressEntry>();
  entry->address = vip;
  entry->answers_echo = true;
  entry->answer_ports = 1U << kWan;
  entry->frontends = {
      {{53, kProtocolUdp},
       std::make_shared<ServicePort>(ServicePort{kDnsId,
                                                 options.mode,
                                                 kProtocolUdp,
                                                 MaglevTable::build(dns, 42),
                                                 {dns_slot(0), dns_slot(1), dns_slot(2)}})},
      {{80, kProtocolTcp},
       std::make_shared<ServicePort>(ServicePort{kWebId,
                                                 options.mode,
                                                 kProtocolTcp,
                                                 MaglevTable::build(web, 42),
                                                 {web_slot(0), web_slot(1), web_slot(2)}})},
      {{81, kProtocolTcp},
       std::make_shared<ServicePort>(
           ServicePort{kEmptyId, options.mode, kProtocolTcp, nullptr, {}, options.refuse})},
      {{82, kProtocolUdp},
       std::make_shared<ServicePort>(
           ServicePort{kEmptyId, options.mode, kProtocolUdp, nullptr, {}, options.refuse})}};
  std::sort(entry->frontends.begin(), entry->frontends.end(),
            [](const Frontend& a, const Frontend& b) { return a.key < b.key; });
  const auto other = [](const IpAddress& address, AddressKind kind, std::uint16_t ports) {
    auto made = std::make_shared<AddressEntry>();
    made->address = address;
    made->kind = kind;
    made->answers_echo = kind == AddressKind::kSnat;
    made->answer_ports = ports;
    return made;
  };
  snapshot.addresses = std::make_shared<AddressTable>(AddressTable().with(
      std::vector<AddressTable::Change>{{vip, entry},
                                        {snat, other(snat, AddressKind::kSnat, 1U << kLan)},
                                        {wan_host, other(wan_host, AddressKind::kHost, 0)},
                                        {lan_host, other(lan_host, AddressKind::kHost, 0)}}));
  auto& addresses = family == Family::kIpv4 ? snapshot.snat4 : snapshot.snat6;
  addresses = {{snat, options.snat_port_begin, options.snat_port_end}};
}

void World::make_ways(const WorldOptions& options) {
  const auto prefix = [this](const char* ipv4, const char* ipv6) {
    return pick_prefix(family, ipv4, ipv6);
  };
  std::vector<Route> routes{
      {prefix("198.51.100.0/24", "2001:db8:1::/64"), Route::Kind::kOnLink, kWan, {}},
      {prefix("192.0.2.0/24", "2001:db8:99::/64"), Route::Kind::kGateway, kWan, router},
      {{wan_host, wan_host.bits()}, Route::Kind::kHost, kWan, {}}};
  if (options.route_to_backends) {
    routes.push_back({prefix("10.0.0.0/24", "2001:db8:10::/64"), Route::Kind::kOnLink, kLan, {}});
  }
  snapshot.routes = std::make_shared<RouteTable>(routes);
  snapshot.next_hops = std::make_shared<NextHopTable>();
  const auto hop = [this](std::uint8_t port, const IpAddress& address, NextHop::State how,
                          const MacAddress& mac, std::uint16_t mtu) {
    NextHop next_hop;
    next_hop.header = {mac, snapshot.ports[port].mac, kEtherTypeIpv4};
    next_hop.state = how;
    next_hop.port = port;
    next_hop.mtu = mtu;
    next_hop.address = address;
    return next_hop;
  };
  std::vector<NextHopTable::Change> hops{
      {kRouterHop, hop(kWan, router, NextHop::State::kReachable, router_mac, options.wan_mtu)},
      {kWanHostHop, hop(kWan, wan_host, NextHop::State::kHost, wan_mac, 1500)}};
  for (std::uint8_t i = 0; i < 3; ++i) {
    hops.push_back({static_cast<NextHopIndex>(kBackendHop + i),
                    hop(kLan, backends[i], NextHop::State::kReachable,
                        MacAddress{{2, 0, 0, 0, 2, i}}, options.lan_mtu)});
  }
  snapshot.next_hops = std::make_shared<NextHopTable>(snapshot.next_hops->with(hops));
}

void World::set_binding(std::uint32_t slot, BindingState how, std::uint8_t incarnation) {
  Binding binding = snapshot.bindings->at(slot);
  binding.state = BindingStateByte::make(how, incarnation);
  snapshot.bindings = std::make_shared<BindingTable>(
      snapshot.bindings->with(std::vector<BindingTable::Change>{{slot, binding}}));
  ++snapshot.epoch;
}

void World::remove_and_reset(std::uint32_t slot) {
  Binding binding = snapshot.bindings->at(slot);
  binding.state = BindingStateByte::make(BindingState::kRemoved, binding.state.incarnation());
  binding.resets = true;
  snapshot.bindings = std::make_shared<BindingTable>(
      snapshot.bindings->with(std::vector<BindingTable::Change>{{slot, binding}}));
  ++snapshot.policy_epoch;
  ++snapshot.epoch;
}

void World::delete_services(bool resets) {
  std::vector<BindingTable::Change> bindings;
  for (std::uint32_t i = 0; i < 3; ++i) {
    for (const std::uint32_t slot : {web_slot(i), dns_slot(i)}) {
      Binding binding = snapshot.bindings->at(slot);
      binding.state = BindingStateByte::make(BindingState::kRemoved, binding.state.incarnation());
      binding.resets = resets;
      bindings.push_back({slot, binding});
    }
  }
  snapshot.bindings = std::make_shared<BindingTable>(snapshot.bindings->with(bindings));
  auto entry = std::make_shared<AddressEntry>();
  entry->address = vip;
  entry->kind = AddressKind::kWithdrawn;
  snapshot.addresses = std::make_shared<AddressTable>(
      snapshot.addresses->with(std::vector<AddressTable::Change>{{vip, entry}}));
  ++snapshot.policy_epoch;
  ++snapshot.epoch;
}

void World::share_snat_with_host() {
  auto host = std::make_shared<AddressEntry>();
  host->address = snat;
  host->kind = AddressKind::kHost;
  const std::vector<AddressTable::Change> changes{{snat, std::move(host)}};
  snapshot.addresses = std::make_shared<AddressTable>(snapshot.addresses->with(changes));
}

void World::add_vip(const IpAddress& other) {
  auto entry = std::make_shared<AddressEntry>(*snapshot.addresses->find(vip));
  entry->address = other;
  snapshot.addresses = std::make_shared<AddressTable>(
      snapshot.addresses->with(std::vector<AddressTable::Change>{{other, entry}}));
  ++snapshot.epoch;
}

void World::add_node_port(std::uint16_t node_port, std::uint32_t service_id) {
  NodePortTable ports = *snapshot.node_ports;
  for (const Frontend& frontend : snapshot.addresses->find(vip)->frontends) {
    if (frontend.service->id == service_id) {
      auto on_nodes = std::make_shared<ServicePort>(*frontend.service);
      on_nodes->allowed = nullptr;
      ports.set(family, {node_port, frontend.key.protocol},
                std::make_shared<NodePort>(NodePort{frontend.service, on_nodes}));
    }
  }
  snapshot.node_ports = std::make_shared<NodePortTable>(ports);
  ++snapshot.epoch;
}

void World::serve_node_ports(const IpAddress& address) {
  const AddressEntry* known = snapshot.addresses->find(address);
  auto entry = std::make_shared<AddressEntry>(known == nullptr ? AddressEntry{} : *known);
  if (known == nullptr) {
    entry->address = address;
    entry->kind = AddressKind::kNode;
  }
  entry->serves_node_ports = true;
  snapshot.addresses = std::make_shared<AddressTable>(
      snapshot.addresses->with(std::vector<AddressTable::Change>{{address, entry}}));
  ++snapshot.epoch;
}

void World::set_backends(std::uint32_t service_id, std::uint16_t port,
                         const std::vector<std::uint32_t>& usable) {
  std::vector<MaglevEndpoint> endpoints;
  for (std::uint32_t i = 0; i < 3; ++i) {
    const bool used = std::find(usable.begin(), usable.end(), i) != usable.end();
    endpoints.push_back({backends[i], port, static_cast<std::uint16_t>(used ? 1 : 0)});
  }
  change_service(service_id,
                 [&](ServicePort& service) { service.maglev = MaglevTable::build(endpoints, 42); });
}

void World::change_service(std::uint32_t id, const std::function<void(ServicePort&)>& change) {
  auto entry = std::make_shared<AddressEntry>(*snapshot.addresses->find(vip));
  for (Frontend& frontend : entry->frontends) {
    if (frontend.service->id == id) {
      auto service = std::make_shared<ServicePort>(*frontend.service);
      change(*service);
      frontend.service = service;
    }
  }
  snapshot.addresses = std::make_shared<AddressTable>(
      snapshot.addresses->with(std::vector<AddressTable::Change>{{vip, entry}}));
  ++snapshot.epoch;
}

void World::set_next_hop(NextHopIndex index, NextHop::State how, const MacAddress& mac) {
  NextHop next_hop = snapshot.next_hops->at(index);
  next_hop.state = how;
  next_hop.header.destination = mac;
  snapshot.next_hops = std::make_shared<NextHopTable>(
      snapshot.next_hops->with(std::vector<NextHopTable::Change>{{index, next_hop}}));
  ++snapshot.epoch;
}

FrameSpec World::from_client(std::uint8_t protocol, std::uint16_t client_port,
                             std::uint8_t tcp_flags) const {
  FrameSpec spec;
  spec.from_mac = router_mac;
  spec.to_mac = wan_mac;
  spec.source = client;
  spec.destination = vip;
  spec.protocol = protocol;
  spec.source_port = client_port;
  spec.destination_port = protocol == kProtocolTcp ? 80 : 53;
  spec.tcp_flags = tcp_flags;
  return spec;
}

FrameSpec World::answer_to(const Frame& sent, std::uint8_t tcp_flags) const {
  const FrameFacts facts = read_frame(sent);
  FrameSpec spec;
  spec.from_mac = facts.to_mac;
  spec.to_mac = lan_mac;
  spec.source = facts.destination;
  spec.destination = facts.source;
  spec.protocol = facts.protocol;
  spec.source_port = facts.destination_port;
  spec.destination_port = facts.source_port;
  spec.tcp_flags = tcp_flags;
  return spec;
}

void World::run_on(std::size_t lcore, std::vector<Passenger*>& passengers) {
  Burst burst;
  for (Passenger* passenger : passengers) {
    burst.add(passenger->mbuf(), passenger->port, passenger->from_host);
    Packet& packet = burst.packets[burst.count - 1];
    packet.drop = Drop::kNone;
    packet.errand = passenger->errand;
    packet.lent = passenger->lent;
    packet.chosen = passenger->chosen;
  }
  LcoreState& here = lcores[lcore]->state;
  run_pipeline(burst, snapshot, here);
  std::vector<Passenger*> order;  // as the stages left them
  for (std::uint32_t i = 0; i < burst.count; ++i) {
    const Packet& packet = burst.packets[i];
    Passenger& passenger = **std::find_if(passengers.begin(), passengers.end(),
                                          [&](Passenger* p) { return p->mbuf() == packet.mbuf; });
    order.push_back(&passenger);
    Outcome& outcome = passenger.outcome;
    outcome.verdict = packet.verdict;
    outcome.drop = packet.drop;
    outcome.answered = packet.drop != Drop::kNone && packet.verdict != Verdict::kDrop;
    outcome.out_port = packet.out_port;
    outcome.neighbour = packet.neighbour;
    if (packet.verdict == Verdict::kHandOver) {
      outcome.owner = packet.owner;
      outcome.errand = packet.errand;
      outcome.chosen = packet.chosen;
    }
    outcome.mtu = packet.verdict == Verdict::kFragment ? packet.next_hop_mtu : std::uint16_t{0};
    passenger.errand = packet.errand;
    passenger.lent = packet.lent;
    passenger.chosen = packet.chosen;
    if (packet.verdict == Verdict::kHoldFragment &&
        !here.fragments.hold(packet.datagram, {packet.mbuf, passenger.port, passenger.from_host})) {
      outcome.verdict = Verdict::kDrop;
      outcome.drop = Drop::kFragmentLimit;
      counters.count(Drop::kFragmentLimit);
    }
  }
  passengers = order;
}

void World::carry(std::vector<Passenger*> passengers, std::size_t first) {
  std::vector<std::vector<Passenger*>> queues(lcores.size());
  queues[first] = std::move(passengers);
  for (unsigned hop = 0; hop <= kHopsMax; ++hop) {
    std::vector<std::vector<Passenger*>> next(lcores.size());
    for (std::size_t lcore = 0; lcore < lcores.size(); ++lcore) {
      run_on(lcore, queues[lcore]);
      for (Passenger* passenger : queues[lcore]) {
        passenger->outcome.hops = hop;
        if (passenger->outcome.verdict == Verdict::kHandOver) {
          next[passenger->outcome.owner].push_back(passenger);
        }
      }
    }
    queues = std::move(next);
  }
}

// As the worker does each turn.
void World::settle_held() {
  for (std::size_t lcore = 0; lcore < lcores.size(); ++lcore) {
    Fragments& fragments = lcores[lcore]->state.fragments;
    const auto passenger_of = [this](const rte_mbuf* mbuf) {
      return std::find_if(held_.begin(), held_.end(),
                          [&](const auto& passenger) { return passenger->mbuf() == mbuf; });
    };
    for (const HeldFragment& fragment : std::exchange(fragments.released(), {})) {
      Passenger& passenger = **passenger_of(fragment.mbuf);
      fragment.mbuf->hash.usr = fragment.identification;
      passenger.errand = Errand::kReleased;
      passenger.lent = fragment.lent;
      carry({&passenger}, lcore);
      settled_.push_back(passenger.told(options_));
      held_.erase(passenger_of(fragment.mbuf));
    }
    for (const HeldFragment& fragment : std::exchange(fragments.discarded(), {})) {
      counters.count(fragment.drop);
      Passenger& passenger = **passenger_of(fragment.mbuf);
      passenger.outcome.verdict = Verdict::kDrop;
      passenger.outcome.drop = fragment.drop;
      settled_.push_back(passenger.told(options_));
      held_.erase(passenger_of(fragment.mbuf));
    }
  }
}

std::vector<Outcome> World::take_held() {
  return std::exchange(settled_, {});
}

void World::advance(std::uint32_t milliseconds) {
  for (const auto& lcore : lcores) {
    lcore->state.now_ms += milliseconds;
    lcore->state.fragments.expire(lcore->state.now_ms);
  }
  settle_held();
}

void World::age() {
  for (const auto& lcore : lcores) {
    lcore->aging4.run(lcore->state.flows4, lcore->state.now_ms, counters);
    lcore->aging6.run(lcore->state.flows6, lcore->state.now_ms, counters);
  }
}

std::size_t World::held_buffers() const {
  std::size_t buffers = 0;
  for (const auto& passenger : held_) {
    buffers += passenger->mbuf()->nb_segs;
  }
  return buffers;
}

Outcome World::run(const Frame& frame, std::uint8_t port, bool from_host) {
  return run_all({frame}, port, from_host)[0];
}

Outcome World::run_handed(const Frame& frame, std::uint8_t lcore, Errand errand,
                          BindingRef chosen) {
  Passenger passenger(frame, kWan, false, options_);
  passenger.errand = errand;
  passenger.chosen = chosen;
  std::vector<Passenger*> one{&passenger};
  run_on(lcore, one);
  return passenger.told(options_);
}

std::vector<Outcome> World::run_burst(const std::vector<Frame>& frames, std::uint8_t port) {
  return run_all(frames, port, false);
}

std::vector<Outcome> World::run_all(const std::vector<Frame>& frames, std::uint8_t port,
                                    bool from_host) {
  std::vector<std::unique_ptr<Passenger>> passengers;
  std::vector<Passenger*> all;
  for (const Frame& frame : frames) {
    passengers.push_back(std::make_unique<Passenger>(frame, port, from_host, options_, segment_));
    all.push_back(passengers.back().get());
  }
  record(frames, port, from_host);
  carry(all, arrivals_++ % lcores.size());
  std::vector<Outcome> outcomes;
  for (auto& passenger : passengers) {
    outcomes.push_back(passenger->told(options_));
    if (passenger->outcome.verdict == Verdict::kHoldFragment) {
      held_.push_back(std::move(passenger));
    }
  }
  settle_held();
  return outcomes;
}

Explanation World::explain(const ExplainQuery& query) const {
  for (const auto& lcore : lcores) {
    const Explanation told = sluice::explain(query, snapshot, lcore->state, 3);
    if (!told.owner) {
      continue;
    }
    if (!told.affinity_keeper) {
      return told;
    }
    ExplainQuery whole = query;
    whole.affinity =
        sluice::explain(query, snapshot, lcores[*told.affinity_keeper]->state, 4).affinity;
    return sluice::explain(whole, snapshot, lcore->state, 3);
  }
  return {};
}

std::vector<FlowRow> World::flows() const {
  std::vector<FlowRow> rows;
  for (const auto& lcore : lcores) {
    const std::uint32_t all =
        std::max(lcore->state.flows4.high_water(), lcore->state.flows6.high_water());
    collect_flows({}, family, 0, all, lcore->state, 3, SIZE_MAX, rows);
  }
  return rows;
}

}  // namespace sluice::testing
