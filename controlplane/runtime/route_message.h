// SPDX-License-Identifier: Apache-2.0
// What is common to the routes that the gateway keeps in the kernel: rtnetlink(7).
#pragma once

#include "dataplane/net/address.h"

#include <netlink/msg.h>

#include <linux/rtnetlink.h>

namespace sluice::runtime {

// About a route to `destination`, of either family; the rest of the header is the caller's, and so
// are further attributes. The caller frees it; null: there is no memory.
nl_msg* route_message(int kind, int flags, rtmsg header, const IpPrefix& destination);

}  // namespace sluice::runtime
