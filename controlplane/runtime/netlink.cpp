// SPDX-License-Identifier: Apache-2.0
#include "controlplane/runtime/netlink.h"

#include "controlplane/runtime/netlink_mirror.h"
#include "controlplane/runtime/netlink_socket.h"
#include "controlplane/runtime/waker.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <linux/rtnetlink.h>
#include <map>
#include <mutex>
#include <poll.h>
#include <set>
#include <stdexcept>
#include <sys/socket.h>
#include <system_error>
#include <thread>
#include <unistd.h>

namespace sluice::runtime {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr auto kCoalesce = milliseconds(5);
// What telling cost, times this, is the least time to the next: under a storm of changes the
// thread spends at most a fifth of its time copying tables, and reads news for the rest.
constexpr int kRest = 4;
// How often neighbours are used by hand where the kernel keeps none: below the shortest reachable
// time it would pick (base 30 s, half to three halves).
constexpr auto kUseInterval = std::chrono::seconds(10);
// An entry that somebody deleted is asked for again after the first, one that the kernel refused
// after the second; so is a dump that failed.
constexpr auto kAgain = milliseconds(50);
constexpr auto kRefused = milliseconds(1'000);
constexpr auto kWarnInterval = std::chrono::seconds(10);
constexpr int kMessagesPerTurn = 1'024;
constexpr int kMessagesPerDrain = 1 << 20;
constexpr int kDrainsMax = 8;
constexpr int kDumpsMax = 8;

}  // namespace

class Netlink::Thread {
 public:
  Thread(Callbacks callbacks, int receive_bytes);
  ~Thread();
  void order(const NeighbourKey& neighbour, bool wanted);

 private:
  // What must be read again at the next delivery.
  enum class Stale { kNothing, kRoutes, kAll };

  void run();
  void read_news();
  void take(nlmsghdr* message);
  void react(const LinkNews& news);
  void react(const NeighbourNews& news);
  void mark(Stale stale) { stale_ = std::max(stale_, stale); }
  void deliver_neighbours();
  void deliver();
  void try_deliver();
  void drain();
  void dump_routes();
  void dump_all_but_routes();
  void carry_out_orders();
  void keep(const NeighbourKey& neighbour);
  void keep_again(const NeighbourKey& neighbour, milliseconds after);
  void keep_house();
  [[nodiscard]] int patience_ms() const;

  const Callbacks callbacks_;
  NewsSocket news_;  // before the first dump, so that nothing falls between
  RequestSocket requests_;
  Waker wake_;
  NetlinkMirror mirror_;
  Stale stale_ = Stale::kNothing;
  bool requests_failed_ = false;
  bool due_ = false;
  Clock::time_point deliver_at_;
  Clock::time_point rest_until_;
  Clock::time_point warn_at_;

  std::set<NeighbourKey> wanted_;
  std::set<NeighbourKey> again_;
  Clock::time_point again_at_;
  Clock::time_point use_at_ = Clock::now() + kUseInterval;

  std::mutex orders_mutex_;
  std::map<NeighbourKey, bool> orders_;  // the last word on each
  std::atomic<bool> stop_{false};
  std::thread thread_;  // last: it uses all of the above
};

Netlink::Thread::Thread(Callbacks callbacks, int receive_bytes)
    : callbacks_(std::move(callbacks)), news_(receive_bytes) {
  mark(Stale::kAll);
  deliver();
  thread_ = std::thread([this] { run(); });
}

Netlink::Thread::~Thread() {
  stop_ = true;
  wake_.set();
  thread_.join();
  for (const NeighbourKey& neighbour : wanted_) {
    if (!mirror_.is_fixed(neighbour)) {
      requests_.keep(neighbour, false);
    }
  }
}

void Netlink::Thread::order(const NeighbourKey& neighbour, bool wanted) {
  const std::lock_guard lock(orders_mutex_);
  orders_[neighbour] = wanted;
  wake_.set();
}

void Netlink::Thread::run() {
  pollfd polled[] = {{news_.fd(), POLLIN, 0}, {wake_.fd(), POLLIN, 0}};
  while (!stop_) {
    poll(polled, std::size(polled), patience_ms());
    if (polled[1].revents != 0) {
      wake_.clear();
      carry_out_orders();
    }
    if (polled[0].revents != 0) {
      read_news();
    }
    // The neighbours' news are waited for by packets: they do not wait for the end of the burst.
    deliver_neighbours();
    if (due_ && Clock::now() >= deliver_at_) {
      try_deliver();
    }
    // A delivery may leave something to be read again.
    const bool pending = mirror_.changed() || stale_ != Stale::kNothing;
    if (pending && !due_) {
      due_ = true;
      deliver_at_ = std::max(Clock::now() + kCoalesce, rest_until_);
    }
    keep_house();
  }
}

int Netlink::Thread::patience_ms() const {
  auto until = Clock::now() + std::chrono::hours(1);
  if (due_) {
    until = std::min(until, deliver_at_);
  }
  if (!again_.empty()) {
    until = std::min(until, again_at_);
  }
  if (!requests_.kernel_keeps()) {
    until = std::min(until, use_at_);
  }
  const auto left = std::chrono::ceil<milliseconds>(until - Clock::now());
  return static_cast<int>(std::max(left, milliseconds(0)).count());
}

void Netlink::Thread::read_news() {
  const auto outcome = news_.read([this](nlmsghdr* message) { take(message); }, kMessagesPerTurn);
  if (outcome == NewsSocket::Outcome::kLost) {
    if (Clock::now() >= warn_at_) {
      spdlog::warn("netlink: news were lost, so everything is read again");
      warn_at_ = Clock::now() + kWarnInterval;
    }
    mark(Stale::kAll);
  }
}

void Netlink::Thread::take(nlmsghdr* message) {
  std::visit(
      [this]<typename Value>(const Value& news) {
        if constexpr (!std::is_same_v<Value, std::monostate>) {
          if constexpr (std::is_same_v<Value, NeighbourNews> || std::is_same_v<Value, LinkNews>) {
            react(news);
          }
          if (!mirror_.take(news)) {
            mark(Stale::kRoutes);
          }
        }
      },
      decode(message));
}

// A link that is set down takes its neighbours along; they are wanted when it comes back.
void Netlink::Thread::react(const LinkNews& news) {
  if (news.gone || !news.up || !news.carrier) {
    return;
  }
  for (auto at = wanted_.lower_bound({news.interface, IpAddress()});
       at != wanted_.end() && at->first == news.interface; ++at) {
    keep_again(*at, kAgain);
  }
}

// Somebody deleted a wanted neighbour, or wrote over it; or it fell silent. The latter the kernel
// asked only at its last MAC: it may have moved, which is found out by asking all, now rather than
// when the kernel comes round again.
void Netlink::Thread::react(const NeighbourNews& news) {
  const NeighbourKey key{news.neighbour.interface, news.neighbour.address};
  const bool kept = news.fixed || news.managed || !requests_.kernel_keeps();
  const bool silent = !news.neighbour.reachable && mirror_.is_reachable(key);
  if ((news.gone || !kept || silent) && wanted_.contains(key)) {
    keep_again(key, kAgain);
  }
}

void Netlink::Thread::deliver_neighbours() {
  auto neighbours = mirror_.changed_neighbours();
  if (!neighbours.empty() && callbacks_.neighbours) {
    callbacks_.neighbours(std::move(neighbours));
  }
}

void Netlink::Thread::deliver() {
  const auto since = Clock::now();
  due_ = false;
  if (stale_ != Stale::kNothing) {
    if (std::exchange(requests_failed_, false)) {
      requests_.reconnect();
    }
    const bool all = std::exchange(stale_, Stale::kNothing) == Stale::kAll;
    drain();
    if (all) {
      dump_all_but_routes();
    }
    dump_routes();
  }
  if (auto addresses = mirror_.changed_addresses(); addresses && callbacks_.addresses) {
    callbacks_.addresses(std::move(*addresses));
  }
  if (auto routes = mirror_.changed_routes(); routes && callbacks_.routes) {
    callbacks_.routes(std::move(*routes));
  }
  deliver_neighbours();
  for (const auto& [interface, up] : mirror_.changed_links()) {
    if (callbacks_.link) {
      callbacks_.link(interface, up);
    }
  }
  const auto now = Clock::now();
  rest_until_ = now + kRest * (now - since);
}

// A kernel without memory for a dump is asked again later; what was known before goes on to count.
void Netlink::Thread::try_deliver() {
  try {
    deliver();
  } catch (const std::runtime_error& fault) {
    spdlog::warn("{}; trying again in {} ms", fault.what(), kRefused.count());
    mark(Stale::kAll);
    rest_until_ = Clock::now() + kRefused;
    requests_failed_ = true;
  }
}

// Where news were lost, what is still queued may contradict what was lost: heard before the dump
// it does no harm, after it it would.
void Netlink::Thread::drain() {
  for (int i = 0; i < kDrainsMax; ++i) {
    const auto outcome =
        news_.read([this](nlmsghdr* message) { take(message); }, kMessagesPerDrain);
    if (outcome != NewsSocket::Outcome::kLost) {
      return;
    }
  }
  mark(Stale::kAll);
}

void Netlink::Thread::dump_routes() {
  for (int i = 0; i < kDumpsMax; ++i) {
    NetlinkMirror dumped;
    bool whole = true;
    for (const int family : {AF_INET, AF_INET6}) {
      whole = requests_.dump(RTM_GETROUTE, family, [&dumped](nlmsghdr* message) {
        const News news = decode(message);
        if (const auto* route = std::get_if<RouteNews>(&news)) {
          dumped.take(*route);
        }
      }) && whole;
    }
    if (whole || i + 1 == kDumpsMax) {
      mirror_.adopt_routes(std::move(dumped));
      if (!whole) {
        mark(Stale::kRoutes);
      }
      return;
    }
  }
}

void Netlink::Thread::dump_all_but_routes() {
  constexpr std::pair<int, int> kKinds[] = {{RTM_GETLINK, AF_UNSPEC},
                                            {RTM_GETADDR, AF_INET},
                                            {RTM_GETADDR, AF_INET6},
                                            {RTM_GETNEIGH, AF_INET},
                                            {RTM_GETNEIGH, AF_INET6}};
  for (int i = 0; i < kDumpsMax; ++i) {
    NetlinkMirror dumped;
    bool whole = true;
    for (const auto& [kind, family] : kKinds) {
      whole = requests_.dump(kind, family, [&dumped](nlmsghdr* message) {
        std::visit(
            [&dumped]<typename Value>(const Value& news) {
              if constexpr (!std::is_same_v<Value, std::monostate>) {
                dumped.take(news);
              }
            },
            decode(message));
      }) && whole;
    }
    if (whole || i + 1 == kDumpsMax) {
      mirror_.adopt_all_but_routes(std::move(dumped));
      if (!whole) {
        mark(Stale::kAll);
      }
      break;
    }
  }
  for (const NeighbourKey& neighbour : wanted_) {
    keep_again(neighbour, kAgain);
  }
}

void Netlink::Thread::carry_out_orders() {
  std::map<NeighbourKey, bool> orders;
  {
    const std::lock_guard lock(orders_mutex_);
    orders.swap(orders_);
  }
  for (const auto& [neighbour, wanted] : orders) {
    if (wanted) {
      wanted_.insert(neighbour);
      keep(neighbour);
    } else if (wanted_.erase(neighbour) != 0 && !mirror_.is_fixed(neighbour)) {
      requests_.keep(neighbour, false);
    }
  }
}

void Netlink::Thread::keep(const NeighbourKey& neighbour) {
  if (mirror_.is_fixed(neighbour)) {
    return;
  }
  const int error = requests_.keep(neighbour, true);
  if (error == 0 || error == ENODEV) {  // without its interface, nothing can be done
    return;
  }
  spdlog::debug("netlink: {} on interface {}: {}", to_string(neighbour.second), neighbour.first,
                std::generic_category().message(error));
  keep_again(neighbour, kRefused);
}

void Netlink::Thread::keep_again(const NeighbourKey& neighbour, milliseconds after) {
  const auto at = Clock::now() + after;
  again_at_ = again_.empty() ? at : std::min(again_at_, at);
  again_.insert(neighbour);
}

void Netlink::Thread::keep_house() {
  const auto now = Clock::now();
  if (!again_.empty() && now >= again_at_) {
    for (const NeighbourKey& neighbour : std::exchange(again_, {})) {
      if (wanted_.contains(neighbour)) {
        keep(neighbour);
      }
    }
  }
  if (!requests_.kernel_keeps() && now >= use_at_) {
    use_at_ = now + kUseInterval;
    for (const NeighbourKey& neighbour : wanted_) {
      keep(neighbour);
    }
  }
}

Netlink::Netlink(Callbacks callbacks, int receive_bytes)
    : thread_(std::make_unique<Thread>(std::move(callbacks), receive_bytes)) {}

Netlink::~Netlink() = default;

void Netlink::want(int interface, const IpAddress& address) {
  thread_->order({interface, address}, true);
}

void Netlink::unwant(int interface, const IpAddress& address) {
  thread_->order({interface, address}, false);
}

}  // namespace sluice::runtime
