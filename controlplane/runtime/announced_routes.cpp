// SPDX-License-Identifier: Apache-2.0
#include "controlplane/runtime/announced_routes.h"

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

nl_msg* message_about(const IpAddress& address, int kind, int flags, std::uint32_t table) {
  rtmsg header{};
  header.rtm_protocol = AnnouncedRoutes::kProtocol;
  header.rtm_type = RTN_BLACKHOLE;
  nl_msg* message = route_message(kind, flags, header, {address, address.bits()});
  if (message != nullptr) {
    nla_put_u32(message, RTA_TABLE, table);
  }
  return message;
}

// The address of a route of ours in this table.
std::optional<IpAddress> own_route(nlmsghdr* message, std::uint32_t table) {
  const auto* header = static_cast<const rtmsg*>(nlmsg_data(message));
  nlattr* attributes[RTA_MAX + 1];
  if (message->nlmsg_type != RTM_NEWROUTE || header->rtm_protocol != AnnouncedRoutes::kProtocol ||
      nlmsg_parse(message, sizeof(rtmsg), attributes, RTA_MAX, nullptr) != 0 ||
      attributes[RTA_TABLE] == nullptr || nla_get_u32(attributes[RTA_TABLE]) != table) {
    return std::nullopt;
  }
  return address_of(header->rtm_family, attributes[RTA_DST]);
}

}  // namespace

AnnouncedRoutes::AnnouncedRoutes(std::uint32_t table) : table_(table) {
  for (const int family : {AF_INET, AF_INET6}) {
    socket_.dump(RTM_GETROUTE, family, [&](nlmsghdr* message) {
      if (const auto address = own_route(message, table_)) {
        announced_.insert(*address);
      }
    });
  }
  withdraw_all();
}

AnnouncedRoutes::~AnnouncedRoutes() {
  withdraw_all();
}

bool AnnouncedRoutes::withdraw_all() {
  const std::set<IpAddress> all = announced_;
  for (const IpAddress& address : all) {
    withdraw(address);
  }
  return !all.empty();
}

void AnnouncedRoutes::announce(const IpAddress& address) {
  if (announced_.insert(address).second) {
    add(address);
  }
}

// Never over a route of somebody else's.
void AnnouncedRoutes::add(const IpAddress& address) {
  const int error =
      socket_.transact(message_about(address, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, table_));
  const bool failed = error != 0 && error != EEXIST;
  if (!failed) {
    failed_.erase(address);
  } else if (failed_.insert(address).second) {  // tried again each time, told once
    spdlog::error("no route for {} in table {}: {}", to_string(address), table_,
                  std::strerror(error));
  }
}

void AnnouncedRoutes::repair_some() {
  auto at = announced_.upper_bound(repaired_);
  for (std::size_t i = 0; i < std::min(kRepairs, announced_.size()); ++i, ++at) {
    at = at == announced_.end() ? announced_.begin() : at;
    add(*at);
    repaired_ = *at;
  }
}

void AnnouncedRoutes::withdraw(const IpAddress& address) {
  if (announced_.erase(address) == 0) {
    return;
  }
  failed_.erase(address);
  const int error = socket_.transact(message_about(address, RTM_DELROUTE, 0, table_));
  if (error != 0 && error != ESRCH) {  // somebody else has removed it
    spdlog::error("the route for {} in table {} stays: {}", to_string(address), table_,
                  std::strerror(error));
  }
}

}  // namespace sluice::runtime
