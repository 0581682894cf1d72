// SPDX-License-Identifier: Apache-2.0
#include "controlplane/runtime/backend_routes.h"

#include "controlplane/runtime/netlink_decode.h"
#include "controlplane/runtime/route_message.h"

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

nl_msg* message_about(const IpPrefix& destination, int kind, int flags, const IpAddress& gateway) {
  rtmsg header{};
  header.rtm_table = RT_TABLE_MAIN;
  header.rtm_protocol = BackendRoutes::kProtocol;
  header.rtm_type = RTN_UNICAST;
  nl_msg* message = route_message(kind, flags, header, destination);
  if (message != nullptr) {
    nla_put(message, RTA_GATEWAY, gateway.bits() / 8, gateway.bytes.data());
    nla_put_u32(message, RTA_PRIORITY, BackendRoutes::kMetric);
  }
  return message;
}

// A route of ours.
std::optional<BackendRoutes::Route> own_route(nlmsghdr* message) {
  const auto* header = static_cast<const rtmsg*>(nlmsg_data(message));
  nlattr* attributes[RTA_MAX + 1];
  if (message->nlmsg_type != RTM_NEWROUTE || header->rtm_protocol != BackendRoutes::kProtocol ||
      header->rtm_table != RT_TABLE_MAIN ||
      nlmsg_parse(message, sizeof(rtmsg), attributes, RTA_MAX, nullptr) != 0) {
    return std::nullopt;
  }
  const auto destination = address_of(header->rtm_family, attributes[RTA_DST]);
  const auto gateway = address_of(header->rtm_family, attributes[RTA_GATEWAY]);
  if (!destination || !gateway) {
    return std::nullopt;
  }
  return BackendRoutes::Route{{*destination, header->rtm_dst_len}, *gateway};
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
      message_about(destination, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, gateway));
  return error == EEXIST ? 0 : error;
}

void BackendRoutes::remove(const IpPrefix& destination, const IpAddress& gateway) {
  const int error = socket_.transact(message_about(destination, RTM_DELROUTE, 0, gateway));
  if (error != 0 && error != ESRCH) {  // the kernel has flushed it
    spdlog::error("the route to {} by {} stays: {}", to_string(destination), to_string(gateway),
                  std::strerror(error));
  }
}

}  // namespace sluice::runtime
