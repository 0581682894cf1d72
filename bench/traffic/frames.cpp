// SPDX-License-Identifier: Apache-2.0
#include "bench/traffic/frames.h"

#include "dataplane/net/checksum.h"
#include "dataplane/net/headers.h"

#include <cstring>

namespace sluice::bench {
namespace {

constexpr std::size_t kIp = sizeof(EthernetHeader);
constexpr std::size_t kUdp = kIp + sizeof(Ipv4Header);
constexpr std::uint16_t kUdpBytes = ClientFrames::kBytes - kUdp;

}  // namespace

ClientFrames::ClientFrames(const Path& path) {
  auto* ethernet = reinterpret_cast<EthernetHeader*>(template_.data());
  ethernet->destination = path.to;
  ethernet->source = path.from;
  ethernet->ether_type = kEtherTypeIpv4;
  auto* ip = reinterpret_cast<Ipv4Header*>(template_.data() + kIp);
  ip->version_ihl = 0x45;
  ip->total_length = Be16::from_host(kBytes - kIp);
  ip->time_to_live = 64;
  ip->protocol = kProtocolUdp;
  ip->destination = path.service;
  auto* udp = reinterpret_cast<UdpHeader*>(template_.data() + kUdp);
  udp->destination_port = Be16::from_host(path.port);
  udp->length = Be16::from_host(kUdpBytes);
}

void ClientFrames::write(std::uint8_t* frame, std::uint32_t flow) const {
  std::memcpy(frame, template_.data(), kBytes);
  auto* ip = reinterpret_cast<Ipv4Header*>(frame + kIp);
  auto* udp = reinterpret_cast<UdpHeader*>(frame + kUdp);
  ip->source = Ipv4Address{Be32::from_host(0x0a00'0000U + flow)};
  ip->checksum.raw = checksum_finish(checksum_sum({frame + kIp, sizeof(Ipv4Header)}));
  udp->source_port = Be16::from_host(static_cast<std::uint16_t>(1024 + (flow & 0x7fffU)));
  const ChecksumSum pseudo =
      pseudo_header_sum(ip->source, ip->destination, kProtocolUdp, kUdpBytes);
  udp->checksum.raw = checksum_finish(checksum_sum({frame + kUdp, kUdpBytes}, pseudo));
}

}  // namespace sluice::bench
