// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/controlplane/kubernetes/health_server.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <arpa/inet.h>
#include <chrono>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace sluice::kubernetes {

HealthServer::HealthServer(const std::string& address, std::uint16_t port)
    : address_(address), port_(port) {
  answer(200);
  open();
  thread_ = std::thread([this] { run(); });
}

HealthServer::~HealthServer() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  thread_.join();
  close();
}

void HealthServer::answer(int status) {
  change("HTTP/1.1 " + std::to_string(status) + " Status\r\nContent-Length: 2\r\n\r\n{}", false);
}

void HealthServer::answer_text(const std::string& text) {
  change(text, true);
}

void HealthServer::change(const std::string& text, bool keeps) {
  const std::lock_guard lock(mutex_);
  text_ = text;
  keeps_ = keeps;
  for (const Connection& connection : connections_) {
    ::close(connection.descriptor);
  }
  connections_.clear();
}

void HealthServer::open() {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int yes = 1;
  ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port_);
  ::inet_pton(AF_INET, address_.c_str(), &at.sin_addr);
  socklen_t size = sizeof(at);
  auto* where = reinterpret_cast<sockaddr*>(&at);
  ASSERT_EQ(::bind(listener, where, size), 0) << address_ << " port " << port_;
  ASSERT_EQ(::listen(listener, 128), 0);
  ASSERT_EQ(::getsockname(listener, where, &size), 0);
  const std::lock_guard lock(mutex_);
  port_ = ntohs(at.sin_port);
  listener_ = listener;
}

void HealthServer::close() {
  const std::lock_guard lock(mutex_);
  if (listener_ >= 0) {
    ::close(listener_);
    listener_ = -1;
  }
  for (const Connection& connection : connections_) {
    ::close(connection.descriptor);
  }
  connections_.clear();
}

int HealthServer::asked() const {
  const std::lock_guard lock(mutex_);
  return asked_;
}

int HealthServer::held() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int>(connections_.size());
}

int HealthServer::held_max() const {
  const std::lock_guard lock(mutex_);
  return held_max_;
}

std::string HealthServer::last_request() const {
  const std::lock_guard lock(mutex_);
  return last_request_;
}

// A look every millisecond is all that a test needs.
void HealthServer::run() {
  while (true) {
    {
      const std::lock_guard lock(mutex_);
      if (stop_) {
        return;
      }
      while (listener_ >= 0) {
        pollfd ready{listener_, POLLIN, 0};
        if (::poll(&ready, 1, 0) != 1) {
          break;
        }
        const int accepted = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (accepted < 0) {
          break;
        }
        connections_.push_back({accepted, {}});
      }
      held_max_ = std::max(held_max_, static_cast<int>(connections_.size()));
      for (Connection& connection : connections_) {
        take(connection);
      }
      std::erase_if(connections_, [](const Connection& each) { return each.descriptor < 0; });
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

// The lock is held.
void HealthServer::take(Connection& connection) {
  char octets[4096];
  const ssize_t size = ::recv(connection.descriptor, octets, sizeof(octets), 0);
  bool is_over = size == 0 || (size < 0 && errno != EAGAIN);
  if (size > 0) {
    connection.request.append(octets, static_cast<std::size_t>(size));
  }
  if (!connection.is_answered && connection.request.ends_with("\r\n\r\n")) {
    connection.is_answered = true;
    ++asked_;
    last_request_ = connection.request;
    ::send(connection.descriptor, text_.data(), text_.size(), MSG_NOSIGNAL);
    is_over = is_over || !keeps_;
  }
  if (is_over) {
    ::close(connection.descriptor);
    connection.descriptor = -1;
  }
}

}  // namespace sluice::kubernetes
