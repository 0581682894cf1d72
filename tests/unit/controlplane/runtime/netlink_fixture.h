// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/runtime/netlink.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <map>
#include <mutex>
#include <net/if.h>
#include <optional>
#include <sched.h>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

namespace sluice::runtime {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using model::KernelRoute;

inline IpAddress ip(const char* text) {
  return parse_ip(text).value();
}

// What the callbacks told, to be waited for.
class Told {
 public:
  Netlink::Callbacks callbacks() {
    return {[this](auto addresses) { note([&] { addresses_ = std::move(addresses); }); },
            [this](auto routes) {
              note([&] {
                routes_ = std::move(routes);
                ++route_deliveries_;
              });
            },
            [this](const auto& neighbours) {
              note([&] {
                for (const model::KernelNeighbour& neighbour : neighbours) {
                  neighbours_[{neighbour.interface, neighbour.address}] = neighbour;
                  ++neighbour_reports_;
                  last_neighbour_ = Clock::now();
                }
              });
            },
            [this](int interface, bool up) { note([&] { links_[interface] = up; }); }};
  }

  template <typename Condition>
  bool becomes(Condition condition, std::chrono::milliseconds patience = 10s) {
    std::unique_lock lock(mutex_);
    return told_.wait_for(lock, patience, [&] { return condition(*this); });
  }
  template <typename Question>
  auto ask(Question question) {
    const std::lock_guard lock(mutex_);
    return question(*this);
  }

  [[nodiscard]] bool has_address(int interface, const char* address, int length) const {
    const model::KernelAddress wanted{interface, ip(address), static_cast<std::uint8_t>(length)};
    return std::find(addresses_.begin(), addresses_.end(), wanted) != addresses_.end();
  }
  [[nodiscard]] std::vector<KernelRoute> routes_to(const char* prefix) const {
    std::vector<KernelRoute> found;
    std::copy_if(routes_.begin(), routes_.end(), std::back_inserter(found),
                 [&](const KernelRoute& route) { return to_string(route.prefix) == prefix; });
    return found;
  }
  [[nodiscard]] bool has_route(const char* prefix, int interface, const char* gateway) const {
    const auto routes = routes_to(prefix);
    return routes.size() == 1 && routes[0].interface == interface &&
           routes[0].kind == KernelRoute::Kind::kUnicast &&
           (gateway == nullptr ? !routes[0].gateway : routes[0].gateway == ip(gateway));
  }
  // Of those that route_lines() made.
  [[nodiscard]] std::size_t route_count() const {
    return static_cast<std::size_t>(
        std::count_if(routes_.begin(), routes_.end(), [](const KernelRoute& route) {
          return route.prefix.length == 32 && route.prefix.address.is_ipv4();
        }));
  }
  [[nodiscard]] std::size_t route_deliveries() const { return route_deliveries_; }
  [[nodiscard]] std::size_t neighbour_reports() const { return neighbour_reports_; }
  [[nodiscard]] Clock::time_point last_neighbour() const { return last_neighbour_; }
  // The MAC of a reachable neighbour, "gone" of one reported as unreachable, or nothing.
  [[nodiscard]] std::string neighbour(int interface, const char* address) const {
    const auto at = neighbours_.find({interface, ip(address)});
    if (at == neighbours_.end()) {
      return "";
    }
    return at->second.reachable ? to_string(at->second.mac) : "gone";
  }
  [[nodiscard]] std::optional<bool> link(int interface) const {
    const auto at = links_.find(interface);
    return at == links_.end() ? std::nullopt : std::optional(at->second);
  }

 private:
  template <typename Change>
  void note(Change change) {
    const std::lock_guard lock(mutex_);
    change();
    told_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable told_;
  std::vector<model::KernelAddress> addresses_;
  std::vector<KernelRoute> routes_;
  std::map<std::pair<int, IpAddress>, model::KernelNeighbour> neighbours_;
  std::map<int, bool> links_;
  std::size_t route_deliveries_ = 0;
  std::size_t neighbour_reports_ = 0;
  Clock::time_point last_neighbour_;
};

// Every test runs in a network namespace of its own, with a second one for the peer at the other
// end of a veth pair. Needs root.
class NetlinkTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(geteuid(), 0U) << "needs root: it makes network namespaces";
    outside_ = open_namespace();
    ASSERT_EQ(unshare(CLONE_NEWNET), 0);
    peer_ = open_namespace();
    ASSERT_EQ(unshare(CLONE_NEWNET), 0);
    here_ = open_namespace();
    run("ip link set lo up");
    run(fmt::format("ip link add veth0 type veth peer name veth0 netns /proc/{}/fd/{}", getpid(),
                    peer_));
    sysctl("ipv6/conf/veth0/accept_dad", "0");
    run("ip link set veth0 address 02:00:00:00:00:01 up");
    index_ = static_cast<int>(if_nametoindex("veth0"));
    ASSERT_NE(index_, 0);
    at_peer([this] {
      sysctl("ipv6/conf/veth0/accept_dad", "0");
      run("ip link set veth0 address 02:00:00:00:00:02 up");
    });
    // Neighbours that fall silent are noticed within a second or two rather than a minute.
    for (const char* family : {"ipv4", "ipv6"}) {
      const std::string folder = std::string(family) + "/neigh/veth0/";
      sysctl(folder + "base_reachable_time_ms", "400");
      sysctl(folder + "delay_first_probe_time", "0");
      sysctl(folder + "retrans_time_ms", "50");
    }
  }
  void TearDown() override {
    if (outside_ >= 0) {
      setns(outside_, CLONE_NEWNET);
      for (const int fd : {here_, peer_, outside_}) {
        close(fd);
      }
    }
  }

  static int open_namespace() { return open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC); }
  static void run(const std::string& command) {
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
  }
  static void sysctl(const std::string& name, const char* value) {
    std::ofstream("/proc/sys/net/" + name) << value;
  }
  template <typename Deed>
  void at_peer(Deed deed) {
    setns(peer_, CLONE_NEWNET);
    deed();
    setns(here_, CLONE_NEWNET);
  }
  // Many `ip` commands in one process.
  static void batch(const std::string& lines) {
    FILE* pipe = popen("ip -batch -", "w");
    ASSERT_NE(pipe, nullptr);
    fputs(lines.c_str(), pipe);
    ASSERT_EQ(pclose(pipe), 0);
  }
  // A pair in this namespace, so that the far end may be set down.
  int add_link(const std::string& name) {
    run(fmt::format("ip link add {0} type veth peer name {0}p", name));
    run(fmt::format("ip link set {}p up", name));
    run(fmt::format("ip link set {} up", name));
    return static_cast<int>(if_nametoindex(name.c_str()));
  }
  static std::string route_lines(int count, const char* verb) {
    std::string lines;
    for (int i = 0; i < count; ++i) {
      lines += fmt::format("route {} 10.{}.{}.{}/32 via 192.0.2.2\n", verb, 100 + i / 65'536,
                           i / 256 % 256, i % 256);
    }
    return lines;
  }

  int outside_ = -1;
  int here_ = -1;
  int peer_ = -1;
  int index_ = 0;
  Told told_;
};

}  // namespace sluice::runtime
