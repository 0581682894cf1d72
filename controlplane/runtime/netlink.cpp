// SPDX-License-Identifier: Apache-2.0
#include "controlplane/runtime/netlink.h"

#include <net/if.h>
#include <netlink/cache.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/neighbour.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <deque>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <map>
#include <mutex>
#include <poll.h>
#include <set>
#include <stdexcept>
#include <sys/eventfd.h>
#include <thread>
#include <unistd.h>

namespace sluice::runtime {
namespace {

using Clock = std::chrono::steady_clock;
using NeighbourKey = std::pair<int, IpAddress>;

constexpr auto kCoalesce = std::chrono::milliseconds(5);
// How often neighbours are used by hand where the kernel has no managed ones: below the shortest
// reachable time it would pick (base 30 s, half to three halves).
constexpr auto kUseInterval = std::chrono::seconds(10);
constexpr int kSocketBytes = 4 << 20;

std::optional<IpAddress> address_of(const nl_addr* address) {
  if (address == nullptr) {
    return std::nullopt;
  }
  const void* bytes = nl_addr_get_binary_addr(address);
  if (nl_addr_get_family(address) == AF_INET && nl_addr_get_len(address) == 4) {
    Ipv4Address v4{};
    std::memcpy(&v4, bytes, sizeof(v4));
    return IpAddress(v4);
  }
  if (nl_addr_get_family(address) == AF_INET6 && nl_addr_get_len(address) == 16) {
    Ipv6Address v6{};
    std::memcpy(&v6, bytes, sizeof(v6));
    return IpAddress(v6);
  }
  return std::nullopt;
}

std::optional<model::KernelAddress> decode(rtnl_addr* address) {
  const auto local = address_of(rtnl_addr_get_local(address));
  if (!local) {
    return std::nullopt;
  }
  return model::KernelAddress{rtnl_addr_get_ifindex(address), *local,
                              static_cast<std::uint8_t>(rtnl_addr_get_prefixlen(address))};
}

// Unicast routes of the main table, and those that say no. Of several next hops the first is taken.
std::optional<model::KernelRoute> decode(rtnl_route* route) {
  if (rtnl_route_get_table(route) != RT_TABLE_MAIN) {
    return std::nullopt;
  }
  nl_addr* destination = rtnl_route_get_dst(route);
  const int family = rtnl_route_get_family(route);
  if (family != AF_INET && family != AF_INET6) {
    return std::nullopt;
  }
  model::KernelRoute decoded;
  IpAddress any;
  any.family = family == AF_INET ? Family::kIpv4 : Family::kIpv6;
  // The default route has an address of no length.
  const auto address = address_of(destination);
  decoded.prefix = prefix_of(
      address.value_or(any),
      address ? static_cast<std::uint8_t>(nl_addr_get_prefixlen(destination)) : std::uint8_t{0});
  decoded.metric = rtnl_route_get_priority(route);
  switch (rtnl_route_get_type(route)) {
    case RTN_UNICAST:
      break;
    case RTN_BLACKHOLE:
    case RTN_UNREACHABLE:
    case RTN_PROHIBIT:
      decoded.kind = model::KernelRoute::Kind::kBlackhole;
      return decoded;
    default:
      return std::nullopt;
  }
  rtnl_nexthop* hop = rtnl_route_nexthop_n(route, 0);
  if (hop == nullptr) {
    return std::nullopt;
  }
  decoded.interface = rtnl_route_nh_get_ifindex(hop);
  decoded.gateway = address_of(rtnl_route_nh_get_gateway(hop));
  return decoded;
}

std::optional<model::KernelNeighbour> decode(rtnl_neigh* neighbour) {
  const auto address = address_of(rtnl_neigh_get_dst(neighbour));
  if (!address) {
    return std::nullopt;
  }
  model::KernelNeighbour decoded;
  decoded.interface = rtnl_neigh_get_ifindex(neighbour);
  decoded.address = *address;
  const nl_addr* mac = rtnl_neigh_get_lladdr(neighbour);
  constexpr int kUsable = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT;
  if ((rtnl_neigh_get_state(neighbour) & kUsable) != 0 && mac != nullptr &&
      nl_addr_get_len(mac) == decoded.mac.bytes.size()) {
    std::memcpy(decoded.mac.bytes.data(), nl_addr_get_binary_addr(mac), decoded.mac.bytes.size());
    decoded.reachable = true;
  }
  return decoded;
}

// Every object of a cache that can be decoded.
template <typename Value, typename Object>
std::vector<Value> decode_all(nl_cache* cache) {
  std::vector<Value> values;
  for (nl_object* object = nl_cache_get_first(cache); object != nullptr;
       object = nl_cache_get_next(object)) {
    if (auto value = decode(reinterpret_cast<Object*>(object))) {
      values.push_back(*value);
    }
  }
  return values;
}

}  // namespace

struct Netlink::Parts {
  struct Order {
    int interface;
    IpAddress address;
    bool wanted;
  };

  explicit Parts(Callbacks given) : callbacks(std::move(given)) {
    wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    orders_socket = nl_socket_alloc();
    if (wake < 0 || orders_socket == nullptr || nl_connect(orders_socket, NETLINK_ROUTE) != 0) {
      throw std::runtime_error("netlink: no socket");
    }
    watch();
    deliver();
    report_neighbours();
  }
  ~Parts() {
    stop = true;
    eventfd_write(wake, 1);
    if (thread.joinable()) {
      thread.join();
    }
    nl_cache_mngr_free(manager);
    nl_socket_free(orders_socket);
    close(wake);
  }

  void watch() {
    const int result = nl_cache_mngr_alloc(nullptr, NETLINK_ROUTE, NL_AUTO_PROVIDE, &manager);
    if (result != 0) {
      throw std::runtime_error(std::string("netlink: ") + nl_geterror(result));
    }
    watch_one("route/link", &links, on_link);
    watch_one("route/addr", &addresses, on_address);
    watch_one("route/route", &routes, on_route);
    watch_one("route/neigh", &neighbours, on_neighbour);
    const int size = kSocketBytes;
    setsockopt(nl_cache_mngr_get_fd(manager), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
  }
  void watch_one(const char* kind, nl_cache** cache, change_func_t changed) {
    const int result = nl_cache_mngr_add(manager, kind, changed, this, cache);
    if (result != 0) {
      throw std::runtime_error(std::string("netlink: ") + kind + ": " + nl_geterror(result));
    }
  }
  static void on_address(nl_cache* /*cache*/, nl_object* /*object*/, int /*action*/, void* self) {
    static_cast<Parts*>(self)->addresses_changed = true;
  }
  static void on_route(nl_cache* /*cache*/, nl_object* /*object*/, int /*action*/, void* self) {
    static_cast<Parts*>(self)->routes_changed = true;
  }
  static void on_neighbour(nl_cache* /*cache*/, nl_object* object, int action, void* self) {
    if (auto neighbour = decode(reinterpret_cast<rtnl_neigh*>(object))) {
      neighbour->reachable = neighbour->reachable && action != NL_ACT_DEL;
      static_cast<Parts*>(self)->note(*neighbour);
    }
  }
  static void on_link(nl_cache* /*cache*/, nl_object* object, int action, void* self) {
    auto* link = reinterpret_cast<rtnl_link*>(object);
    const bool up = action != NL_ACT_DEL && (rtnl_link_get_flags(link) & IFF_UP) != 0;
    auto& parts = *static_cast<Parts*>(self);
    // Routes through an interface that goes down vanish without a message of their own.
    parts.routes_changed = true;
    if (parts.callbacks.link) {
      parts.callbacks.link(rtnl_link_get_ifindex(link), up);
    }
  }

  void note(const model::KernelNeighbour& neighbour) {
    const NeighbourKey key{neighbour.interface, neighbour.address};
    const auto before = told.find(key);
    const bool new_to_us = before == told.end() ? neighbour.reachable
                                                : before->second.reachable != neighbour.reachable ||
                                                      before->second.mac != neighbour.mac;
    if (!new_to_us) {
      return;
    }
    if (neighbour.reachable) {
      told[key] = neighbour;
    } else {
      told.erase(key);
    }
    news.push_back(neighbour);
  }

  void deliver() {
    if (std::exchange(addresses_changed, false)) {
      callbacks.addresses(decode_all<model::KernelAddress, rtnl_addr>(addresses));
    }
    if (std::exchange(routes_changed, false)) {
      // A flushed route leaves no trace in the cache's events when its interface went down.
      callbacks.routes(decode_all<model::KernelRoute, rtnl_route>(routes));
    }
    if (!news.empty()) {
      callbacks.neighbours(std::exchange(news, {}));
    }
  }

  // After a dump: all there is, and what is no longer there.
  void report_neighbours() {
    std::map<NeighbourKey, model::KernelNeighbour> now;
    for (auto& neighbour : decode_all<model::KernelNeighbour, rtnl_neigh>(neighbours)) {
      now[{neighbour.interface, neighbour.address}] = neighbour;
    }
    const auto before = told;
    for (const auto& [key, neighbour] : before) {
      if (!now.contains(key)) {
        model::KernelNeighbour gone = neighbour;
        gone.reachable = false;
        note(gone);
      }
    }
    for (const auto& [key, neighbour] : now) {
      note(neighbour);
    }
    deliver();
  }

  // Messages were lost (the socket overran): everything is read again.
  void resync() {
    spdlog::warn("netlink: messages were lost; reading everything again");
    for (nl_cache* cache : {links, addresses, routes, neighbours}) {
      nl_cache_refill(orders_socket, cache);
    }
    addresses_changed = routes_changed = true;
    report_neighbours();
  }

  void run() {
    pollfd polled[2] = {{nl_cache_mngr_get_fd(manager), POLLIN, 0}, {wake, POLLIN, 0}};
    auto next_use = Clock::now() + kUseInterval;
    while (!stop) {
      const bool pending = addresses_changed || routes_changed || !news.empty();
      const auto patience = pending ? kCoalesce : std::chrono::milliseconds(1000);
      if (poll(polled, 2, static_cast<int>(patience.count())) == 0 && pending) {
        deliver();
      }
      if ((polled[0].revents & (POLLIN | POLLERR)) != 0) {
        const int result = nl_cache_mngr_data_ready(manager);
        if (result == -NLE_NOMEM) {
          resync();
        }
        // The neighbours' news is waited for by packets: it does not wait for silence.
        if (!news.empty()) {
          callbacks.neighbours(std::exchange(news, {}));
        }
      }
      if ((polled[1].revents & POLLIN) != 0) {
        eventfd_t count = 0;
        eventfd_read(wake, &count);
        carry_out_orders();
      }
      if (!managed && Clock::now() >= next_use) {
        next_use = Clock::now() + kUseInterval;
        for (const auto& [interface, address] : wanted) {
          use(interface, address);
        }
      }
    }
  }

  void carry_out_orders() {
    std::deque<Order> taken;
    {
      const std::lock_guard lock(orders_mutex);
      taken.swap(orders);
    }
    for (const Order& order : taken) {
      if (!order.wanted) {
        wanted.erase({order.interface, order.address});
        send(order.interface, order.address, 0, 0);
        continue;
      }
      wanted.insert({order.interface, order.address});
      if (managed && send(order.interface, order.address, 0, NTF_EXT_MANAGED) == -NLE_INVAL) {
        managed = false;
      }
      use(order.interface, order.address);
    }
  }
  // Probes at once when nothing is known.
  void use(int interface, const IpAddress& address) { send(interface, address, NTF_USE, 0); }

  int send(int interface, const IpAddress& address, std::uint8_t flags, std::uint32_t extended) {
    ndmsg header{};
    header.ndm_family = static_cast<unsigned char>(address.is_ipv4() ? AF_INET : AF_INET6);
    header.ndm_ifindex = interface;
    header.ndm_flags = flags;
    nl_msg* message =
        nlmsg_alloc_simple(RTM_NEWNEIGH, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE);
    if (message == nullptr) {
      return -NLE_NOMEM;
    }
    nlmsg_append(message, &header, sizeof(header), NLMSG_ALIGNTO);
    nla_put(message, NDA_DST, address.is_ipv4() ? 4 : 16, address.bytes.data());
    if (extended != 0) {
      nla_put_u32(message, NDA_FLAGS_EXT, extended);
    }
    return nl_send_sync(orders_socket, message);  // frees it
  }

  Callbacks callbacks;
  int wake = -1;
  nl_cache_mngr* manager = nullptr;
  nl_cache* links = nullptr;
  nl_cache* addresses = nullptr;
  nl_cache* routes = nullptr;
  nl_cache* neighbours = nullptr;
  nl_sock* orders_socket = nullptr;
  bool addresses_changed = true;
  bool routes_changed = true;
  bool managed = true;
  std::map<NeighbourKey, model::KernelNeighbour> told;  // what the callbacks know to be reachable
  std::vector<model::KernelNeighbour> news;
  std::set<NeighbourKey> wanted;
  std::mutex orders_mutex;
  std::deque<Order> orders;
  std::atomic<bool> stop{false};
  std::thread thread;
};

Netlink::Netlink(Callbacks callbacks) : parts_(std::make_unique<Parts>(std::move(callbacks))) {
  parts_->thread = std::thread([this] { parts_->run(); });
}

Netlink::~Netlink() = default;

void Netlink::want(int interface, const IpAddress& address) {
  const std::lock_guard lock(parts_->orders_mutex);
  parts_->orders.push_back({interface, address, true});
  eventfd_write(parts_->wake, 1);
}

void Netlink::unwant(int interface, const IpAddress& address) {
  const std::lock_guard lock(parts_->orders_mutex);
  parts_->orders.push_back({interface, address, false});
  eventfd_write(parts_->wake, 1);
}

}  // namespace sluice::runtime
