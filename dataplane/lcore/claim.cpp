// SPDX-License-Identifier: Apache-2.0
#include "dataplane/lcore/claim.h"

#include "dataplane/net/headers.h"

#include <cstring>

namespace sluice {
namespace {

template <typename T>
std::optional<T> read(std::span<const std::uint8_t> frame, std::size_t offset) {
  if (frame.size() < offset + sizeof(T)) {
    return std::nullopt;
  }
  T value;
  std::memcpy(&value, frame.data() + offset, sizeof(T));
  return value;
}

}  // namespace

std::optional<Claim> read_claim(std::span<const std::uint8_t> frame) {
  constexpr std::size_t kL3 = sizeof(EthernetHeader);
  const auto ethernet = read<EthernetHeader>(frame, 0);
  if (!ethernet) {
    return std::nullopt;
  }
  if (ethernet->ether_type == kEtherTypeArp) {
    const auto arp = read<ArpHeader>(frame, kL3);
    const bool fits = arp && arp->hardware_type == Be16::from_host(1) &&
                      arp->protocol_type == kEtherTypeIpv4 && arp->hardware_length == 6 &&
                      arp->protocol_length == 4;
    if (!fits || IpAddress(arp->sender_ip).is_unspecified()) {
      return std::nullopt;
    }
    return Claim{IpAddress(arp->sender_ip), arp->sender_mac};
  }
  const auto ip = read<Ipv6Header>(frame, kL3);
  const auto icmp = read<IcmpHeader>(frame, kL3 + sizeof(Ipv6Header));
  if (ethernet->ether_type != kEtherTypeIpv6 || !ip || !icmp || ip->next_header != kProtocolIcmp6 ||
      icmp->type != kIcmp6NeighborAdvertisement) {
    return std::nullopt;
  }
  const auto target = read<Ipv6Address>(frame, kL3 + sizeof(Ipv6Header) + sizeof(IcmpHeader));
  if (!target) {
    return std::nullopt;
  }
  const auto whole = read<NeighborMessage>(frame, kL3 + sizeof(Ipv6Header));
  const bool has_option = whole && whole->option_type == 2 && whole->option_length == 1;
  return Claim{IpAddress(*target), has_option ? whole->option_mac : ethernet->source};
}

}  // namespace sluice
