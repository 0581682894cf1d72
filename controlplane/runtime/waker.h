// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>
#include <sys/eventfd.h>
#include <unistd.h>

namespace sluice::runtime {

// Wakes a thread that sleeps in poll(). Any thread may set it.
class Waker {
 public:
  Waker() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (fd_ < 0) {
      throw std::runtime_error("no eventfd");
    }
  }
  ~Waker() { close(fd_); }
  Waker(const Waker&) = delete;
  Waker& operator=(const Waker&) = delete;
  void set() const { eventfd_write(fd_, 1); }
  void clear() const {
    eventfd_t count = 0;
    eventfd_read(fd_, &count);
  }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
};

}  // namespace sluice::runtime
