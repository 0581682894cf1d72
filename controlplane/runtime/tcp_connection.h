// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/net/address.h"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <string>

namespace sluice::runtime {

// A TCP connection from this host. One thread may send while another receives; both wait, and look
// every now and then whether they still shall.
class TcpConnection {
 public:
  // `stop`: whoever waits gives up; any thread.
  explicit TcpConnection(std::function<bool()> stop) : stop_(std::move(stop)) {}
  ~TcpConnection();
  TcpConnection(const TcpConnection&) = delete;
  TcpConnection& operator=(const TcpConnection&) = delete;

  // Why it is not there; empty: it is.
  std::string connect(const IpAddress& address, std::uint16_t port,
                      std::chrono::milliseconds patience);
  // Octets that a segment to the peer has at the most, options not counted: as its SYN and the way
  // to it allow (RFC 9293 section 3.7.1). Of one that is there; 0: unknown.
  [[nodiscard]] std::uint32_t segment_max() const;
  // All of it; false when the connection is broken, or told to stop.
  bool send(std::span<const char> bytes);
  // How many; 0: the peer says no more; negative: the connection is broken, or told to stop.
  std::ptrdiff_t receive(std::span<char> into);
  void end_sending();
  // It is over for both threads, and ends with a reset when this goes, so that the peer does not
  // take what came for all of it. Any thread.
  void abort();

 private:
  // False when told to stop.
  bool wait_for(short events);
  [[nodiscard]] bool is_over() const { return aborted_ || stop_(); }

  std::function<bool()> stop_;
  int fd_ = -1;
  std::mutex mutex_;     // a reset is told to one call alone: the other must hear of it too
  bool broken_ = false;  // under mutex_
  std::atomic<bool> aborted_{false};
};

}  // namespace sluice::runtime
