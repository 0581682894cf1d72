// SPDX-License-Identifier: Apache-2.0
#include "controlplane/runtime/netlink_decode.h"

#include <netlink/attr.h>
#include <netlink/msg.h>

#include <cstring>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

namespace sluice::runtime {
namespace {

template <int kLast>
struct Attributes {
  nlattr* at[kLast + 1] = {};

  // False for a message too short for its header.
  bool parse(nlmsghdr* message, std::size_t header) {
    return nlmsg_parse(message, static_cast<int>(header), at, kLast, nullptr) == 0;
  }
  [[nodiscard]] std::uint32_t u32(int type, std::uint32_t otherwise) const {
    const nlattr* attribute = at[type];
    return attribute != nullptr && nla_len(attribute) == 4 ? nla_get_u32(attribute) : otherwise;
  }
};

std::optional<IpAddress> address_from(int family, const void* bytes, int length) {
  if (family == AF_INET && length == 4) {
    Ipv4Address v4{};
    std::memcpy(&v4, bytes, sizeof(v4));
    return IpAddress(v4);
  }
  if (family == AF_INET6 && length == 16) {
    Ipv6Address v6{};
    std::memcpy(&v6, bytes, sizeof(v6));
    return IpAddress(v6);
  }
  return std::nullopt;
}

}  // namespace

std::optional<IpAddress> address_of(int family, const nlattr* attribute) {
  if (attribute == nullptr) {
    return std::nullopt;
  }
  return address_from(family, nla_data(attribute), nla_len(attribute));
}

namespace {

template <typename Header>
const Header& header_of(nlmsghdr* message) {
  return *static_cast<const Header*>(nlmsg_data(message));
}

// Bridges speak of their ports by link messages too, also when a port merely leaves the bridge.
News decode_link(nlmsghdr* message) {
  Attributes<IFLA_MAX> attributes;
  if (!attributes.parse(message, sizeof(ifinfomsg))) {
    return {};
  }
  const auto& header = header_of<ifinfomsg>(message);
  if (header.ifi_family != AF_UNSPEC) {
    return {};
  }
  return LinkNews{header.ifi_index, (header.ifi_flags & IFF_UP) != 0,
                  (header.ifi_flags & IFF_RUNNING) != 0, message->nlmsg_type == RTM_DELLINK};
}

// IFA_ADDRESS is the peer's where there is one, and the host's own where IFA_LOCAL is absent.
News decode_address(nlmsghdr* message) {
  Attributes<IFA_MAX> attributes;
  if (!attributes.parse(message, sizeof(ifaddrmsg))) {
    return {};
  }
  const auto& header = header_of<ifaddrmsg>(message);
  const nlattr* local = attributes.at[IFA_LOCAL];
  const auto address =
      address_of(header.ifa_family, local != nullptr ? local : attributes.at[IFA_ADDRESS]);
  if (!address || header.ifa_prefixlen > address->bits()) {
    return {};
  }
  return AddressNews{{static_cast<int>(header.ifa_index), *address, header.ifa_prefixlen},
                     message->nlmsg_type == RTM_DELADDR};
}

// An IPv4 route may lead over an IPv6 neighbour (RFC 8950); that one is told by RTA_VIA.
std::optional<IpAddress> via_of(const nlattr* attribute) {
  rtvia via{};
  if (attribute == nullptr || nla_len(attribute) < static_cast<int>(sizeof(via))) {
    return std::nullopt;
  }
  std::memcpy(&via, nla_data(attribute), sizeof(via));
  const int header = static_cast<int>(sizeof(via));
  return address_from(via.rtvia_family,
                      static_cast<const std::uint8_t*>(nla_data(attribute)) + header,
                      nla_len(attribute) - header);
}

// A hop into a tunnel of the kernel's (RTA_ENCAP) or over nothing we know cannot be gone: packets
// are dropped rather than sent without their wrapping.
Way way_of(int family, int interface, const Attributes<RTA_MAX>& attributes) {
  if (interface == 0 || attributes.at[RTA_ENCAP] != nullptr) {
    return {model::KernelRoute::Kind::kBlackhole, 0, std::nullopt};
  }
  auto gateway = address_of(family, attributes.at[RTA_GATEWAY]);
  if (!gateway) {
    gateway = via_of(attributes.at[RTA_VIA]);
  }
  return {model::KernelRoute::Kind::kUnicast, interface, gateway};
}

// The hops in the kernel's order, without those it holds to be dead.
std::vector<Way> multipath_of(int family, nlattr* multipath) {
  std::vector<Way> ways;
  auto* hop = static_cast<rtnexthop*>(nla_data(multipath));
  int left = nla_len(multipath);
  while (left >= static_cast<int>(sizeof(rtnexthop)) && hop->rtnh_len >= sizeof(rtnexthop) &&
         hop->rtnh_len <= left) {
    Attributes<RTA_MAX> attributes;
    nla_parse(attributes.at, RTA_MAX, reinterpret_cast<nlattr*>(RTNH_DATA(hop)),
              hop->rtnh_len - static_cast<int>(sizeof(rtnexthop)), nullptr);
    if ((hop->rtnh_flags & RTNH_F_DEAD) == 0) {
      ways.push_back(way_of(family, hop->rtnh_ifindex, attributes));
    }
    left -= static_cast<int>(RTNH_ALIGN(hop->rtnh_len));
    hop = RTNH_NEXT(hop);
  }
  return ways;
}

std::vector<Way> ways_of(const rtmsg& header, const Attributes<RTA_MAX>& attributes) {
  if (header.rtm_type != RTN_UNICAST) {
    return {{model::KernelRoute::Kind::kBlackhole, 0, std::nullopt}};
  }
  if (attributes.at[RTA_MULTIPATH] != nullptr) {
    return multipath_of(header.rtm_family, attributes.at[RTA_MULTIPATH]);
  }
  if ((header.rtm_flags & RTNH_F_DEAD) != 0) {
    return {};
  }
  return {way_of(header.rtm_family, static_cast<int>(attributes.u32(RTA_OIF, 0)), attributes)};
}

RouteNews::Verb verb_of(const nlmsghdr& message) {
  if (message.nlmsg_type == RTM_DELROUTE) {
    return RouteNews::Verb::kDelete;
  }
  if ((message.nlmsg_flags & NLM_F_REPLACE) != 0) {
    return RouteNews::Verb::kReplace;
  }
  // In a dump the kernel lists routes in its order; of its news only IPv4 ones without
  // NLM_F_APPEND go to the front.
  const bool dump = (message.nlmsg_flags & NLM_F_MULTI) != 0;
  return dump || (message.nlmsg_flags & NLM_F_APPEND) != 0 ? RouteNews::Verb::kAppend
                                                           : RouteNews::Verb::kPrepend;
}

// Of the main table, and what somebody put into the local one beside the kernel's own entries: the
// host's addresses are told as addresses, groups and broadcast are the kernel's.
bool is_of_use(const rtmsg& header, std::uint32_t table) {
  const bool says_no = header.rtm_type == RTN_BLACKHOLE || header.rtm_type == RTN_UNREACHABLE ||
                       header.rtm_type == RTN_PROHIBIT;
  return (table == RT_TABLE_MAIN || table == RT_TABLE_LOCAL) &&
         (header.rtm_type == RTN_UNICAST || says_no) && (header.rtm_flags & RTM_F_CLONED) == 0 &&
         header.rtm_src_len == 0 && header.rtm_tos == 0;
}

News decode_route(nlmsghdr* message) {
  Attributes<RTA_MAX> attributes;
  if (!attributes.parse(message, sizeof(rtmsg))) {
    return {};
  }
  const auto& header = header_of<rtmsg>(message);
  const std::uint32_t table = attributes.u32(RTA_TABLE, header.rtm_table);
  if (!is_of_use(header, table) ||
      (header.rtm_family != AF_INET && header.rtm_family != AF_INET6)) {
    return {};
  }
  // A default route bears no destination.
  IpAddress any;
  any.family = header.rtm_family == AF_INET ? Family::kIpv4 : Family::kIpv6;
  const IpAddress destination = address_of(header.rtm_family, attributes.at[RTA_DST]).value_or(any);
  if (header.rtm_dst_len > any.bits() || destination.is_multicast()) {
    return {};
  }
  RouteNews news;
  news.verb = verb_of(*message);
  news.key.prefix = prefix_of(destination, header.rtm_dst_len);
  news.key.table = table == RT_TABLE_LOCAL ? 0 : 1;
  news.key.metric = attributes.u32(RTA_PRIORITY, 0);
  news.ways = ways_of(header, attributes);
  return news;
}

News decode_neighbour(nlmsghdr* message) {
  Attributes<NDA_MAX> attributes;
  if (!attributes.parse(message, sizeof(ndmsg))) {
    return {};
  }
  const auto& header = header_of<ndmsg>(message);
  const auto address = address_of(header.ndm_family, attributes.at[NDA_DST]);
  if (!address || (header.ndm_flags & NTF_PROXY) != 0) {
    return {};
  }
  NeighbourNews news;
  news.neighbour.interface = header.ndm_ifindex;
  news.neighbour.address = *address;
  news.gone = message->nlmsg_type == RTM_DELNEIGH;
  news.fixed = !news.gone && (header.ndm_state & (NUD_PERMANENT | NUD_NOARP)) != 0;
  news.managed = (attributes.u32(NDA_FLAGS_EXT, 0) & NTF_EXT_MANAGED) != 0;
  constexpr int kUsable =
      NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP;
  const nlattr* mac = attributes.at[NDA_LLADDR];
  auto& bytes = news.neighbour.mac.bytes;
  if (!news.gone && (header.ndm_state & kUsable) != 0 && mac != nullptr &&
      nla_len(mac) == static_cast<int>(bytes.size())) {
    std::memcpy(bytes.data(), nla_data(mac), bytes.size());
    news.neighbour.reachable = true;
  }
  return news;
}

}  // namespace

News decode(nlmsghdr* message) {
  switch (message->nlmsg_type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
      return decode_link(message);
    case RTM_NEWADDR:
    case RTM_DELADDR:
      return decode_address(message);
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
      return decode_route(message);
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH:
      return decode_neighbour(message);
    default:
      return {};
  }
}

}  // namespace sluice::runtime
