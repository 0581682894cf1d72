// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace sluice::runtime {

// Held by the one sluiced that serves a socket: a lock on SOCKET.lock, freed by the kernel when the
// process ends however it ends. A socket left behind by a dead one is removed.
class InstanceLock {
 public:
  // Throws StartFault when another instance holds it or the folder cannot be made.
  explicit InstanceLock(const std::string& socket_path);
  ~InstanceLock();
  InstanceLock(const InstanceLock&) = delete;
  InstanceLock& operator=(const InstanceLock&) = delete;

 private:
  std::string socket_path_;
  int fd_ = -1;
};

}  // namespace sluice::runtime
