// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/runtime/netlink_decode.h"

#include <functional>
#include <memory>

struct nl_msg;
struct nl_sock;

// The two rtnetlink sockets of the mirror: one that hears, one that asks. Both stay in the network
// namespace they were made in.
namespace sluice::runtime {

using Hear = std::function<void(nlmsghdr*)>;

struct CloseSocket {
  void operator()(nl_sock* socket) const;
};
using Socket = std::unique_ptr<nl_sock, CloseSocket>;

// Hears what changes in links, addresses, routes and neighbours.
class NewsSocket {
 public:
  // Throws std::runtime_error.
  explicit NewsSocket(int receive_bytes);

  enum class Outcome { kQuiet, kMore, kLost };
  // At most `messages_max`; kLost when the kernel had to throw news away. Never blocks.
  Outcome read(const Hear& hear, int messages_max);
  [[nodiscard]] int fd() const;

 private:
  Socket socket_;
};

// Asks and waits for the answer.
class RequestSocket {
 public:
  // Throws std::runtime_error.
  RequestSocket();

  // All objects of a kind (RTM_GET*) and an address family. False when they kept changing under
  // the kernel's hands, so that some may be missing. Throws std::runtime_error.
  bool dump(int kind, int family, const Hear& hear);

  // Forgets what a failed dump may have left unread. Throws std::runtime_error.
  void reconnect();

  // Has the kernel probe the neighbour, if it knows nothing fresh, and keep it fresh from now on,
  // or no longer. What it knows stays. Returns an errno, 0 when done.
  int keep(const NeighbourKey& neighbour, bool kept);
  // Sends a request that asks for an acknowledgement, and takes it; null: no memory was left for
  // it. Returns an errno, 0 when done.
  int transact(nl_msg* message);
  // False before Linux 5.16: then keep() but probes, and must be repeated.
  [[nodiscard]] bool kernel_keeps() const { return kernel_keeps_; }

 private:
  int send_neighbour(const NeighbourKey& neighbour, int flags, std::uint8_t neighbour_flags,
                     std::uint32_t extended);

  Socket socket_;
  bool kernel_keeps_ = true;
};

}  // namespace sluice::runtime
