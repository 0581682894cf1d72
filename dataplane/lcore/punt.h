// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dataplane/lcore/twin.h"
#include "dataplane/net/address.h"
#include "dataplane/state/counters.h"
#include "dataplane/state/token_bucket.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

struct pollfd;
struct rte_mbuf;
struct rte_mempool;
struct rte_ring;

namespace sluice {

struct FreeRing {
  void operator()(rte_ring* ring) const;
};
using Ring = std::unique_ptr<rte_ring, FreeRing>;

// A neighbour an lcore holds packets for.
struct WantedNeighbour {
  IpAddress address;
  std::uint8_t port = 0;
  std::array<std::uint8_t, 2> reserved{};
};
static_assert(sizeof(WantedNeighbour) % 4 == 0);

// What runs between the lcores and the kernel: for each port with a twin one ring towards the
// kernel and one from it; one ring of frames to send as they are (announcements); one of wanted
// neighbours. One thread moves everything; the rings' lcore ends are used by workers only.
class Punt {
 public:
  struct PortEnds {
    std::unique_ptr<Twin> twin;  // null: none
    MacAddress mac{};
    Ring to_kernel;      // producers: lcores; consumer: the punt thread
    Ring from_kernel;    // producer: the punt thread; consumer: the first lcore
    Ring announcements;  // likewise
    Counter punted;      // writer: the punt thread
    Counter injected;
  };
  using Wanted = std::function<void(std::uint8_t port, const IpAddress& address)>;
  // Somebody else has said, in ARP or ND, that one of our addresses is his.
  using Claimed =
      std::function<void(std::uint8_t port, const IpAddress& address, const MacAddress& mac)>;

  explicit Punt(rte_mempool* pool);
  ~Punt();
  Punt(const Punt&) = delete;
  Punt& operator=(const Punt&) = delete;

  // Before start(); in the order of the ports.
  void add_port(std::unique_ptr<Twin> twin, const MacAddress& mac);
  // Keeps the twins for good. Both are called on the punt thread.
  void start(Wanted wanted, Claimed claimed = {});
  void stop();
  // Three announcements one second apart, the first at once. Any thread.
  void announce(std::uint8_t port, const IpAddress& address);
  // Bit per port on which we answer for the address: claims of it there are told, and announcements
  // elsewhere are not sent any more. Any thread.
  void set_answered(const IpAddress& address, std::uint16_t ports);

  [[nodiscard]] PortEnds& port(std::size_t index) { return *ports_[index]; }
  [[nodiscard]] std::size_t ports() const { return ports_.size(); }
  [[nodiscard]] rte_ring* wanted() const { return wanted_ring_.get(); }

 private:
  struct Announcement {
    IpAddress address;
    std::uint8_t port = 0;
    int left = 3;
    std::uint64_t due_ms = 0;
  };
  void run();
  void wait(std::vector<pollfd>& polled, int timeout_ms) const;
  bool move_to_kernel(std::uint8_t port);
  void look_for_claim(std::uint8_t port, std::span<const std::uint8_t> frame);
  bool move_from_kernel(PortEnds& ends);
  void send_announcements();
  void tell_wanted();

  static constexpr unsigned kRingSize = 1024;
  rte_mempool* pool_;
  bool pool_empty_ = false;  // the punt thread's own
  std::vector<std::unique_ptr<PortEnds>> ports_;
  Ring wanted_ring_;
  Wanted tell_;
  Claimed claimed_;
  std::mutex announcements_mutex_;
  std::deque<Announcement> announcements_;
  std::map<IpAddress, std::uint16_t> answered_;  // under announcements_mutex_ too
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace sluice
