// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <thread>

namespace sluice::api {

// Accepts on a Unix socket (mode 0660) and hands each connection on, as long as the process has
// descriptors to spare; more peers wait in the kernel's queue, or are refused by it. gRPC's own
// listener does not know such a bound: a flood of connections takes every descriptor there is, and
// with the first accept that fails for it (EMFILE) gRPC 1.51 stops listening for good.
class Listener {
 public:
  // `take` owns the descriptor it gets (non-blocking); it is called on the listener's thread.
  // Throws StartFault when the socket cannot be made. The caller removes the socket's file.
  Listener(const std::string& socket_path, std::function<void(int connection)> take);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

 private:
  void run();

  std::function<void(int)> take_;
  int socket_ = -1;
  int stop_ = -1;  // eventfd
  std::thread thread_;
};

}  // namespace sluice::api
