// SPDX-License-Identifier: Apache-2.0
// What listens at a node's health port, as a test wants it to behave.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace sluice::kubernetes {

class HealthServer {
 public:
  // Listens at once. Port 0: one that is free.
  explicit HealthServer(const std::string& address, std::uint16_t port = 0);
  ~HealthServer();
  HealthServer(const HealthServer&) = delete;
  HealthServer& operator=(const HealthServer&) = delete;

  [[nodiscard]] std::uint16_t port() const { return port_; }
  void answer(int status);
  // These octets, whatever is asked; then the connection stays open until the mode changes.
  void answer_text(const std::string& text);
  // Takes connections and says nothing.
  void hang() { answer_text(""); }
  // Connections are refused.
  void close();
  // Listens again.
  void open();

  [[nodiscard]] int asked() const;
  [[nodiscard]] int held() const;  // connections that are open now
  [[nodiscard]] int held_max() const;
  [[nodiscard]] std::string last_request() const;

 private:
  struct Connection {
    int descriptor;
    std::string request;
    bool is_answered = false;
  };
  void run();
  void take(Connection& connection);
  void change(const std::string& text, bool keeps);

  const std::string address_;
  std::uint16_t port_;
  mutable std::mutex mutex_;
  int listener_ = -1;
  std::string text_;
  bool keeps_ = false;
  bool stop_ = false;
  int asked_ = 0;
  int held_max_ = 0;
  std::string last_request_;
  std::vector<Connection> connections_;
  std::thread thread_;
};

}  // namespace sluice::kubernetes
