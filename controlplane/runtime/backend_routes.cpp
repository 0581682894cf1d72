// SPDX-License-Identifier: Apache-2.0
#include "controlplane/runtime/backend_routes.h"

#include <netlink/attr.h>
#include <netlink/msg.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <linux/rtnetlink.h>
#include <optional>
#include <sys/socket.h>

namespace sluice::runtime {
namespace {

nl_msg* route_message(int kind, int flags, const IpPrefix& destination, const IpAddress& gateway) {
  const IpAddress& address = destination.address;
  rtmsg header{};
  header.rtm_family = static_cast<unsigned char>(address.is_ipv4() ? AF_INET : AF_INET6);
  header.rtm_dst_len = destination.length;
  header.rtm_table = RT_TABLE_MAIN;
  header.rtm_protocol = BackendRoutes::kProtocol;
  header.rtm_scope = RT_SCOPE_UNIVERSE;
  header.rtm_type = RTN_UNICAST;
  nl_msg* message = nlmsg_alloc_simple(kind, NLM_F_REQUEST | NLM_F_ACK | flags);
  if (message != nullptr) {
    nlmsg_append(message, &header, sizeof(header), NLMSG_ALIGNTO);
    nla_put(message, RTA_DST, address.bits() / 8, address.bytes.data());
    nla_put(message, RTA_GATEWAY, gateway.bits() / 8, gateway.bytes.data());
    nla_put_u32(message, RTA_PRIORITY, BackendRoutes::kMetric);
  }
  return message;
}

IpAddress address_in(const nlattr* attribute, unsigned char family) {
  if (family == AF_INET) {
    Ipv4Address address;
    std::memcpy(&address, nla_data(attribute), sizeof(address));
    return IpAddress(address);
  }
  Ipv6Address address;
  std::memcpy(&address, nla_data(attribute), sizeof(address));
  return IpAddress(address);
}

// A route of ours.
std::optional<BackendRoutes::Route> own_route(nlmsghdr* message) {
  const auto* header = static_cast<const rtmsg*>(nlmsg_data(message));
  nlattr* attributes[RTA_MAX + 1];
  if (message->nlmsg_type != RTM_NEWROUTE || header->rtm_protocol != BackendRoutes::kProtocol ||
      header->rtm_table != RT_TABLE_MAIN ||
      nlmsg_parse(message, sizeof(rtmsg), attributes, RTA_MAX, nullptr) != 0 ||
      attributes[RTA_DST] == nullptr || attributes[RTA_GATEWAY] == nullptr) {
    return std::nullopt;
  }
  return BackendRoutes::Route{
      {address_in(attributes[RTA_DST], header->rtm_family), header->rtm_dst_len},
      address_in(attributes[RTA_GATEWAY], header->rtm_family)};
}

// The kernel's words are for those who know its source.
std::string words_of(int error, const IpAddress& gateway) {
  if (error == ENETUNREACH || error == EHOSTUNREACH || error == EINVAL) {
    return to_string(gateway) + " is on no link of this gateway; give it an address there";
  }
  return std::string("the kernel says: ") + std::strerror(error);
}

}  // namespace

BackendRoutes::BackendRoutes() {
  remove_leftovers();
}

BackendRoutes::~BackendRoutes() {
  for (const auto& [destination, way] : routes_) {
    remove(destination, way.gateway);
  }
}

void BackendRoutes::remove_leftovers() {
  std::vector<Route> left;
  for (const int family : {AF_INET, AF_INET6}) {
    socket_.dump(RTM_GETROUTE, family, [&](nlmsghdr* message) {
      if (const auto route = own_route(message)) {
        left.push_back(*route);
      }
    });
  }
  for (const Route& route : left) {
    remove(route.destination, route.gateway);
  }
}

std::vector<BackendRoutes::Refused> BackendRoutes::set(const std::string& provider,
                                                       const std::vector<Route>& routes) {
  const std::lock_guard lock(mutex_);
  std::map<IpPrefix, IpAddress> wanted;
  for (const Route& route : routes) {
    wanted.emplace(route.destination, route.gateway);
  }
  std::erase_if(routes_, [&](const auto& each) {
    const auto& [destination, way] = each;
    const auto at = wanted.find(destination);
    if (way.provider != provider || (at != wanted.end() && at->second == way.gateway)) {
      return false;
    }
    remove(destination, way.gateway);
    return true;
  });
  std::vector<Refused> refused;
  for (const auto& [destination, gateway] : wanted) {
    const auto at = routes_.find(destination);
    if (at != routes_.end()) {
      if (at->second.provider != provider) {
        refused.push_back({{destination, gateway},
                           "provider " + at->second.provider + " has a route to it already"});
      }
      continue;
    }
    if (const int error = add(destination, gateway); error != 0) {
      refused.push_back({{destination, gateway}, words_of(error, gateway)});
    } else {
      routes_.emplace(destination, Way{gateway, provider});
    }
  }
  return refused;
}

void BackendRoutes::repair_some() {
  const std::lock_guard lock(mutex_);
  auto at = routes_.upper_bound(repaired_);
  for (std::size_t i = 0; i < std::min(kRepairs, routes_.size()); ++i, ++at) {
    at = at == routes_.end() ? routes_.begin() : at;
    add(at->first, at->second.gateway);  // a link that is down takes it later
    repaired_ = at->first;
  }
}

// Never over a route of somebody else's. 0: it is there; else an errno.
int BackendRoutes::add(const IpPrefix& destination, const IpAddress& gateway) {
  const int error = socket_.transact(
      route_message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, destination, gateway));
  return error == EEXIST ? 0 : error;
}

void BackendRoutes::remove(const IpPrefix& destination, const IpAddress& gateway) {
  const int error = socket_.transact(route_message(RTM_DELROUTE, 0, destination, gateway));
  if (error != 0 && error != ESRCH) {  // the kernel has flushed it
    spdlog::error("the route to {} by {} stays: {}", to_string(destination), to_string(gateway),
                  std::strerror(error));
  }
}

}  // namespace sluice::runtime
