// SPDX-License-Identifier: Apache-2.0
#include "controlplane/runtime/route_message.h"

#include <netlink/attr.h>

#include <sys/socket.h>

namespace sluice::runtime {

nl_msg* route_message(int kind, int flags, rtmsg header, const IpPrefix& destination) {
  const IpAddress& address = destination.address;
  header.rtm_family = static_cast<unsigned char>(address.is_ipv4() ? AF_INET : AF_INET6);
  header.rtm_dst_len = destination.length;
  header.rtm_scope = RT_SCOPE_UNIVERSE;
  nl_msg* message = nlmsg_alloc_simple(kind, NLM_F_REQUEST | NLM_F_ACK | flags);
  if (message != nullptr) {
    nlmsg_append(message, &header, sizeof(header), NLMSG_ALIGNTO);
    nla_put(message, RTA_DST, address.bits() / 8, address.bytes.data());
  }
  return message;
}

}  // namespace sluice::runtime
