// SPDX-License-Identifier: Apache-2.0
#include "bench/pipeline/gateway.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <sys/mman.h>

namespace sluice::bench {
namespace {

constexpr HashSecret kSecret{{0x9ae16a3b2f90404fULL, 0xc949d7c7509e6557ULL, 0xff51afd7ed558ccdULL,
                              0xc4ceb9fe1a85ec53ULL, 0x8ebc6af09c88c6e3ULL, 0x589965cc75374cc3ULL}};
constexpr std::uint32_t kSmall = 64;
constexpr std::size_t kHugePage = 2 << 20;

IpAddress nth(Family family, const char* ipv4, const char* ipv6, std::uint8_t last) {
  IpAddress address = *parse_ip(family == Family::kIpv4 ? ipv4 : ipv6);
  address.bytes[family == Family::kIpv4 ? 3 : 15] = last;
  return address;
}

}  // namespace

Pages::Pages(std::size_t bytes) {
  const std::size_t length = (bytes + 2 * kHugePage) / kHugePage * kHugePage;
  void* pages = mmap(nullptr, length, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED) {
    throw std::bad_alloc();
  }
  madvise(pages, length, MADV_HUGEPAGE);
  region_ = {static_cast<std::byte*>(pages), length};
}

Pages::~Pages() {
  munmap(region_.data(), region_.size());
}

Gateway::Gateway(Family family, std::uint8_t protocol, std::uint32_t flows)
    : counters(4, 64),
      memory4(FlowTable<Family::kIpv4>::region_bytes(family == Family::kIpv4 ? flows : kSmall)),
      memory6(FlowTable<Family::kIpv6>::region_bytes(family == Family::kIpv6 ? flows : kSmall)),
      state{FlowTable<Family::kIpv4>(memory4.region(), family == Family::kIpv4 ? flows : kSmall,
                                     kSecret),
            FlowTable<Family::kIpv6>(memory6.region(), family == Family::kIpv6 ? flows : kSmall,
                                     kSecret),
            SnatPorts(1, 0),
            counters,
            0,
            1000},
      family_(family),
      protocol_(protocol),
      vip_(nth(family, "203.0.113.0", "2001:db8:113::", 10)) {
  snapshot.epoch = 1;
  snapshot.maglev_seed = 42;
  snapshot.ports = {{mac_, 1500, false, false}, {mac_, 1500, false, false}};
  auto& snat = family == Family::kIpv4 ? snapshot.snat4 : snapshot.snat6;
  for (std::uint8_t i = 0; i < 16; ++i) {
    snat.push_back({nth(family, "192.0.2.0", "2001:db8:5::", static_cast<std::uint8_t>(100 + i)),
                    1024, 65'536});
  }
  make_services();
  make_ways();
  make_template();
}

void Gateway::make_services() {
  std::vector<MaglevEndpoint> endpoints;
  std::vector<BindingTable::Change> bindings;
  ServicePort service{1, ForwardingMode::kFullNat, protocol_, nullptr, {}};
  for (std::uint32_t i = 0; i < kBackends; ++i) {
    const IpAddress backend =
        nth(family_, "192.0.2.0", "2001:db8:5::", static_cast<std::uint8_t>(1 + i));
    endpoints.push_back({backend, 8080, 1});
    service.binding_slots.push_back(1 + i);
    bindings.push_back(
        {1 + i, {backend, 8080, 1, BindingStateByte::make(BindingState::kActive, 0)}});
  }
  service.maglev = MaglevTable::build(endpoints, snapshot.maglev_seed);
  snapshot.bindings = std::make_shared<BindingTable>(BindingTable().with(bindings));
  auto entry = std::make_shared<AddressEntry>();
  entry->address = vip_;
  entry->frontends = {{{80, protocol_}, std::make_shared<ServicePort>(service)}};
  snapshot.addresses = std::make_shared<AddressTable>(
      AddressTable().with(std::vector<AddressTable::Change>{{vip_, entry}}));
}

void Gateway::make_ways() {
  const bool ipv4 = family_ == Family::kIpv4;
  const IpAddress router = nth(family_, "198.51.100.0", "2001:db8:1::", 1);
  const std::vector<Route> routes{
      {*parse_prefix(ipv4 ? "192.0.2.0/24" : "2001:db8:5::/64"), Route::Kind::kOnLink, 1, {}},
      {*parse_prefix(ipv4 ? "0.0.0.0/0" : "::/0"), Route::Kind::kGateway, 0, router}};
  snapshot.routes = std::make_shared<RouteTable>(routes);
  std::vector<NextHopTable::Change> hops;
  const auto add = [&](NextHopIndex index, std::uint8_t port, const IpAddress& address) {
    NextHop hop;
    hop.header = {MacAddress{{2, 0, 0, 0, 1, static_cast<std::uint8_t>(index)}}, mac_,
                  ipv4 ? kEtherTypeIpv4 : kEtherTypeIpv6};
    hop.state = NextHop::State::kReachable;
    hop.port = port;
    hop.address = address;
    hops.push_back({index, hop});
  };
  add(1, 0, router);
  for (std::uint8_t i = 0; i < kBackends; ++i) {
    add(static_cast<NextHopIndex>(2 + i), 1,
        nth(family_, "192.0.2.0", "2001:db8:5::", static_cast<std::uint8_t>(1 + i)));
  }
  snapshot.next_hops = std::make_shared<NextHopTable>(NextHopTable().with(hops));
}

void Gateway::make_template() {
  std::uint8_t* frame = template_.data();
  auto* ethernet = reinterpret_cast<EthernetHeader*>(frame);
  const std::size_t l4 =
      sizeof(EthernetHeader) + (family_ == Family::kIpv4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header));
  ethernet->destination = mac_;
  if (family_ == Family::kIpv4) {
    auto* ip = reinterpret_cast<Ipv4Header*>(ethernet + 1);
    ethernet->ether_type = kEtherTypeIpv4;
    ip->version_ihl = 0x45;
    ip->total_length = Be16::from_host(kFrame - sizeof(EthernetHeader));
    ip->time_to_live = 64;
    ip->protocol = protocol_;
    ip->destination = vip_.v4();
    template_sum_ = checksum_sum({reinterpret_cast<const std::uint8_t*>(ip), sizeof(Ipv4Header)});
  } else {
    auto* ip = reinterpret_cast<Ipv6Header*>(ethernet + 1);
    ethernet->ether_type = kEtherTypeIpv6;
    ip->version_class_flow = Be32::from_host(0x6000'0000);
    ip->payload_length = Be16::from_host(kFrame6 - sizeof(EthernetHeader) - sizeof(Ipv6Header));
    ip->next_header = protocol_;
    ip->hop_limit = 64;
    ip->source = nth(Family::kIpv6, "", "2001:db8:c::", 0).v6();
    ip->destination = vip_.v6();
  }
  // Ports first in both; the transport's own checksum may be anything, it is only updated.
  const Be16 to = Be16::from_host(80);
  std::memcpy(frame + l4 + 2, &to, sizeof(to));
  if (protocol_ == kProtocolTcp) {
    auto* tcp = reinterpret_cast<TcpHeader*>(frame + l4);
    tcp->data_offset = 0x50;
    tcp->flags = kTcpAck;
  } else {
    auto* udp = reinterpret_cast<UdpHeader*>(frame + l4);
    udp->length = Be16::from_host(static_cast<std::uint16_t>(frame_bytes() - l4));
    udp->checksum = Be16{0x1234};
  }
}

void Gateway::open_flows(std::uint32_t begin, std::uint32_t end) {
  std::vector<std::vector<std::uint8_t>> rooms(kBurstMax, std::vector<std::uint8_t>(256));
  std::vector<std::unique_ptr<rte_mbuf>> mbufs;
  for (auto& room : rooms) {
    mbufs.push_back(std::make_unique<rte_mbuf>());
    std::memset(mbufs.back().get(), 0, sizeof(rte_mbuf));
    mbufs.back()->buf_addr = room.data();
    mbufs.back()->buf_len = static_cast<std::uint16_t>(room.size());
    mbufs.back()->nb_segs = 1;
    mbufs.back()->data_len = static_cast<std::uint16_t>(frame_bytes());
    mbufs.back()->pkt_len = mbufs.back()->data_len;
  }
  const std::size_t l4 =
      sizeof(EthernetHeader) + (family_ == Family::kIpv4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header));
  Burst burst;
  while (begin < end) {
    burst.count = 0;
    while (burst.count < kBurstMax && begin < end) {
      const std::uint32_t at = burst.count;
      write_packet(rooms[at].data(), begin++);
      if (protocol_ == kProtocolTcp) {
        reinterpret_cast<TcpHeader*>(rooms[at].data() + l4)->flags = kTcpSyn;
      }
      burst.add(mbufs[at].get(), 0, false);
    }
    run_pipeline(burst, snapshot, state);
    for (std::uint32_t i = 0; i < burst.count; ++i) {
      if (burst.packets[i].verdict != Verdict::kTransmit) {
        std::fprintf(stderr, "a flow was refused: %s\n",
                     std::string(name_of(burst.packets[i].drop)).c_str());
        std::exit(1);
      }
    }
  }
  // Established, so that a hit is one.
  for (std::uint32_t i = 0; protocol_ == kProtocolTcp && i < state.flows4.high_water(); ++i) {
    state.flows4.set_state(i, FlowState::kTcpEstablished);
  }
}

void Gateway::erase_flows_from(std::uint32_t index) {
  const auto erase = [index](auto& flows) {
    for (std::uint32_t i = flows.high_water(); i-- > index;) {
      if (flows.hot(i).state != FlowState::kFree) {
        flows.erase(i);
      }
    }
  };
  family_ == Family::kIpv4 ? erase(state.flows4) : erase(state.flows6);
}

}  // namespace sluice::bench
