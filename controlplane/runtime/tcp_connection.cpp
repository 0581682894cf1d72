// SPDX-License-Identifier: Apache-2.0
#include "controlplane/runtime/tcp_connection.h"

#include <cerrno>
#include <cstring>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace sluice::runtime {
namespace {

// How often somebody who waits looks whether he still shall.
constexpr int kLookMs = 200;

socklen_t fill(const IpAddress& address, std::uint16_t port, sockaddr_storage& into) {
  if (address.is_ipv4()) {
    auto& ipv4 = reinterpret_cast<sockaddr_in&>(into);
    ipv4.sin_family = AF_INET;
    ipv4.sin_port = htons(port);
    std::memcpy(&ipv4.sin_addr, address.bytes.data(), sizeof(ipv4.sin_addr));
    return sizeof(ipv4);
  }
  auto& ipv6 = reinterpret_cast<sockaddr_in6&>(into);
  ipv6.sin6_family = AF_INET6;
  ipv6.sin6_port = htons(port);
  std::memcpy(&ipv6.sin6_addr, address.bytes.data(), sizeof(ipv6.sin6_addr));
  return sizeof(ipv6);
}

}  // namespace

TcpConnection::~TcpConnection() {
  if (fd_ >= 0) {
    close(fd_);
  }
}

std::string TcpConnection::connect(const IpAddress& address, std::uint16_t port,
                                   std::chrono::milliseconds patience) {
  sockaddr_storage to{};
  const socklen_t length = fill(address, port, to);
  fd_ = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd_ < 0) {
    return std::strerror(errno);
  }
  int error = 0;
  if (::connect(fd_, reinterpret_cast<const sockaddr*>(&to), length) != 0) {
    error = errno;
  }
  if (error == EINPROGRESS) {
    const auto until = std::chrono::steady_clock::now() + patience;
    pollfd ready{fd_, POLLOUT, 0};
    while (poll(&ready, 1, kLookMs) <= 0) {
      if (is_over() || std::chrono::steady_clock::now() > until) {
        return "it does not answer";
      }
    }
    socklen_t size = sizeof(error);
    getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
  }
  if (error != 0) {
    return std::strerror(error);
  }
  const int on = 1;
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  return "";
}

std::uint32_t TcpConnection::segment_max() const {
  constexpr std::uint32_t kTimestamps =
      12;  // in each segment, where both ends have them (RFC 7323)
  tcp_info info{};
  socklen_t size = sizeof(info);
  if (getsockopt(fd_, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) {
    return 0;
  }
  return info.tcpi_snd_mss + ((info.tcpi_options & TCPI_OPT_TIMESTAMPS) != 0 ? kTimestamps : 0);
}

bool TcpConnection::wait_for(short events) {
  pollfd ready{fd_, events, 0};
  while (!is_over()) {
    if (poll(&ready, 1, kLookMs) > 0) {
      return true;
    }
  }
  return false;
}

bool TcpConnection::send(std::span<const char> bytes) {
  while (!bytes.empty()) {
    std::unique_lock lock(mutex_);
    const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    broken_ = broken_ || (sent < 0 && errno != EAGAIN && errno != EINTR);
    if (broken_) {
      return false;
    }
    lock.unlock();
    if (sent >= 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(sent));
    } else if (!wait_for(POLLOUT)) {
      return false;
    }
  }
  return true;
}

std::ptrdiff_t TcpConnection::receive(std::span<char> into) {
  while (true) {
    std::unique_lock lock(mutex_);
    const ssize_t received = recv(fd_, into.data(), into.size(), 0);
    broken_ = broken_ || (received < 0 && errno != EAGAIN && errno != EINTR);
    if (broken_) {
      return -1;
    }
    lock.unlock();
    if (received >= 0) {
      return received;
    }
    if (!wait_for(POLLIN)) {
      return -1;
    }
  }
}

void TcpConnection::end_sending() {
  shutdown(fd_, SHUT_WR);
}

void TcpConnection::abort() {
  const linger at_once{1, 0};  // close() resets
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  aborted_ = true;
}

}  // namespace sluice::runtime
