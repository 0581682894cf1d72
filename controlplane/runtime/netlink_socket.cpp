// SPDX-License-Identifier: Apache-2.0
#include "controlplane/runtime/netlink_socket.h"

#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/route/rtnl.h>
#include <netlink/socket.h>

#include <cerrno>
#include <limits>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdexcept>
#include <string>
#include <sys/socket.h>

namespace sluice::runtime {
namespace {

[[noreturn]] void fail(const char* what, int error) {
  throw std::runtime_error(std::string("netlink: ") + what + ": " + nl_geterror(error));
}

Socket connect() {
  Socket socket(nl_socket_alloc());
  if (!socket) {
    fail("socket", -NLE_NOMEM);
  }
  if (const int result = nl_connect(socket.get(), NETLINK_ROUTE); result != 0) {
    fail("socket", result);
  }
  return socket;
}

int pass_on(nl_msg* message, void* hear) {
  (*static_cast<const Hear*>(hear))(nlmsg_hdr(message));
  return NL_OK;
}

int receive(nl_sock* socket, const Hear& hear) {
  nl_socket_modify_cb(socket, NL_CB_VALID, NL_CB_CUSTOM, pass_on, const_cast<Hear*>(&hear));
  return nl_recvmsgs_default(socket);
}

}  // namespace

void CloseSocket::operator()(nl_sock* socket) const {
  nl_socket_free(socket);
}

NewsSocket::NewsSocket(int receive_bytes) : socket_(connect()) {
  nl_socket_disable_seq_check(socket_.get());
  nl_socket_set_nonblocking(socket_.get());
  if (setsockopt(fd(), SOL_SOCKET, SO_RCVBUFFORCE, &receive_bytes, sizeof(receive_bytes)) != 0) {
    setsockopt(fd(), SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes));
  }
  for (const int group : {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
                          RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE, RTNLGRP_NEIGH}) {
    if (const int result = nl_socket_add_membership(socket_.get(), group); result != 0) {
      fail("group", result);
    }
  }
}

int NewsSocket::fd() const {
  return nl_socket_get_fd(socket_.get());
}

NewsSocket::Outcome NewsSocket::read(const Hear& hear, int messages_max) {
  for (int i = 0; i < messages_max; ++i) {
    const int result = receive(socket_.get(), hear);
    if (result == -NLE_AGAIN) {
      return Outcome::kQuiet;
    }
    // libnl's word for ENOBUFS; without memory of its own news is lost as well.
    if (result == -NLE_NOMEM) {
      return Outcome::kLost;
    }
  }
  return Outcome::kMore;
}

RequestSocket::RequestSocket() : socket_(connect()) {
  // A kernel that knows the attribute refuses flags it does not know before it looks at the rest;
  // an older one overlooks the attribute and misses the interface.
  const int answer =
      send_neighbour({std::numeric_limits<int>::max(), IpAddress(Ipv4Address{})}, 0, 0, 1U << 31U);
  kernel_keeps_ = answer == EINVAL || answer == ERANGE;
}

bool RequestSocket::dump(int kind, int family, const Hear& hear) {
  const int sent = nl_rtgen_request(socket_.get(), kind, family, NLM_F_DUMP);
  if (sent < 0) {
    fail("request", sent);
  }
  const int result = receive(socket_.get(), hear);
  if (result < 0 && result != -NLE_DUMP_INTR) {
    fail("dump", result);
  }
  return result >= 0;
}

void RequestSocket::reconnect() {
  socket_ = connect();
}

// NTF_USE probes and leaves the entry's state alone, but for a permanent one, which it would make
// an ordinary one: the caller does not ask for those. NTF_EXT_LEARNED keeps the entry out of the
// kernel's garbage collection, so its size limits do not bound the number of backends. Without the
// two, NTF_USE takes them off again.
int RequestSocket::keep(const NeighbourKey& neighbour, bool kept) {
  if (!kept) {
    return kernel_keeps_ ? send_neighbour(neighbour, 0, NTF_USE, 0) : 0;
  }
  if (!kernel_keeps_) {
    return send_neighbour(neighbour, NLM_F_CREATE, NTF_USE, 0);
  }
  return send_neighbour(neighbour, NLM_F_CREATE, NTF_USE | NTF_EXT_LEARNED, NTF_EXT_MANAGED);
}

int RequestSocket::send_neighbour(const NeighbourKey& neighbour, int flags,
                                  std::uint8_t neighbour_flags, std::uint32_t extended) {
  const auto& [interface, address] = neighbour;
  ndmsg header{};
  header.ndm_family = static_cast<unsigned char>(address.is_ipv4() ? AF_INET : AF_INET6);
  header.ndm_ifindex = interface;
  header.ndm_flags = neighbour_flags;
  nl_msg* message = nlmsg_alloc_simple(RTM_NEWNEIGH, NLM_F_REQUEST | NLM_F_ACK | flags);
  if (message != nullptr) {
    nlmsg_append(message, &header, sizeof(header), NLMSG_ALIGNTO);
    nla_put(message, NDA_DST, address.bits() / 8, address.bytes.data());
    if (extended != 0) {
      nla_put_u32(message, NDA_FLAGS_EXT, extended);
    }
  }
  return transact(message);
}

int RequestSocket::transact(nl_msg* message) {
  if (message == nullptr) {
    return ENOMEM;
  }
  // libnl would fold the kernel's errno into words of its own, several into one.
  int error = 0;
  nl_cb* callbacks = nl_cb_alloc(NL_CB_DEFAULT);
  nl_cb_err(
      callbacks, NL_CB_CUSTOM,
      [](sockaddr_nl* /*from*/, nlmsgerr* answer, void* into) -> int {
        *static_cast<int*>(into) = -answer->error;
        return NL_STOP;
      },
      &error);
  const int sent = nl_send_auto_complete(socket_.get(), message);
  nlmsg_free(message);
  // Either the acknowledgement or the error ends it.
  nl_cb_set(
      callbacks, NL_CB_ACK, NL_CB_CUSTOM,
      [](nl_msg* /*message*/, void* /*argument*/) -> int { return NL_STOP; }, nullptr);
  const int received = sent < 0 ? sent : nl_recvmsgs(socket_.get(), callbacks);
  nl_cb_put(callbacks);
  return error != 0 || received >= 0 ? error : EIO;
}

}  // namespace sluice::runtime
