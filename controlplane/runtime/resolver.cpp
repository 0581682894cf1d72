// SPDX-License-Identifier: Apache-2.0
#include "controlplane/runtime/resolver.h"

#include "controlplane/runtime/waker.h"

#include <algorithm>
#include <ares.h>
#include <array>
#include <chrono>
#include <cstring>
#include <map>
#include <mutex>
#include <netinet/in.h>
#include <optional>
#include <poll.h>
#include <stdexcept>
#include <thread>

namespace sluice::runtime {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::seconds;

constexpr auto kAgain = seconds(5);
constexpr auto kShortest = seconds(1);
constexpr auto kLongest = seconds(3'600);
constexpr int kTriesMs = 1'000;  // of the first one; each further one waits longer
constexpr int kTries = 3;

// Once per process; never undone, as other libraries may use it too.
void initialise() {
  static const int result = ares_library_init(ARES_LIB_INIT_ALL);
  if (result != ARES_SUCCESS) {
    throw std::runtime_error(std::string("c-ares: ") + ares_strerror(result));
  }
}

std::optional<IpAddress> address_of(const ares_addrinfo_node& node) {
  if (node.ai_family == AF_INET) {
    Ipv4Address address;
    std::memcpy(&address, &reinterpret_cast<const sockaddr_in*>(node.ai_addr)->sin_addr,
                sizeof(address));
    return IpAddress(address);
  }
  if (node.ai_family == AF_INET6) {
    Ipv6Address address;
    std::memcpy(&address, &reinterpret_cast<const sockaddr_in6*>(node.ai_addr)->sin6_addr,
                sizeof(address));
    return IpAddress(address);
  }
  return std::nullopt;
}

}  // namespace

class Resolver::Thread {
 public:
  Thread(const std::vector<std::string>& servers, Tell tell);
  ~Thread();
  void order(const std::string& name, bool followed);

 private:
  // A and AAAA are asked for by themselves: what is wrong with one is not with the other.
  struct Half {
    std::vector<IpAddress> addresses;
    std::string fault;
    bool none = false;  // the answer is that there are none
  };
  struct Name {
    std::array<Half, 2> halves;
    int waiting = 0;  // for so many answers
    Clock::time_point due;
    seconds ttl = kLongest;
    std::optional<ResolvedName> told;
  };
  struct Asked {  // freed with its answer
    Thread& thread;
    std::string name;
    std::size_t half;
  };

  void run();
  void carry_out_orders();
  void ask_due();
  void ask(const std::string& text, Name& name);
  static void answered(void* asked, int status, int timeouts, ares_addrinfo* result);
  static void take(Half& half, int status, const ares_addrinfo* result, seconds& ttl);
  void settle(const std::string& text, Name& name);
  void wait();

  Tell tell_;
  ares_channel channel_ = nullptr;
  std::map<std::string, Name> names_;
  Waker wake_;
  std::mutex orders_mutex_;
  std::map<std::string, bool> orders_;  // the last word on each
  bool stop_ = false;                   // under orders_mutex_ too
  std::thread thread_;                  // last: it uses all of the above
};

Resolver::Thread::Thread(const std::vector<std::string>& servers, Tell tell)
    : tell_(std::move(tell)) {
  initialise();
  ares_options options{};
  options.flags = ARES_FLAG_NOSEARCH;  // names are whole
  options.timeout = kTriesMs;
  options.tries = kTries;
  std::string lookups = "b";  // DNS alone, no hosts file
  options.lookups = lookups.data();
  int result = ares_init_options(
      &channel_, &options, ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS);
  if (result == ARES_SUCCESS && !servers.empty()) {
    std::string list;
    for (const std::string& server : servers) {
      list += (list.empty() ? "" : ",") + server;
    }
    result = ares_set_servers_ports_csv(channel_, list.c_str());
  }
  if (result != ARES_SUCCESS) {
    throw std::runtime_error(std::string("c-ares: ") + ares_strerror(result));
  }
  thread_ = std::thread([this] { run(); });
}

Resolver::Thread::~Thread() {
  {
    const std::lock_guard lock(orders_mutex_);
    stop_ = true;
  }
  wake_.set();
  thread_.join();
  names_.clear();
  ares_destroy(channel_);  // what is under way is answered with ARES_EDESTRUCTION
}

void Resolver::Thread::order(const std::string& name, bool followed) {
  {
    const std::lock_guard lock(orders_mutex_);
    orders_[name] = followed;
  }
  wake_.set();
}

void Resolver::Thread::run() {
  while (true) {
    carry_out_orders();
    {
      const std::lock_guard lock(orders_mutex_);
      if (stop_) {
        return;
      }
    }
    ask_due();
    wait();
  }
}

void Resolver::Thread::carry_out_orders() {
  std::map<std::string, bool> orders;
  {
    const std::lock_guard lock(orders_mutex_);
    orders.swap(orders_);
  }
  for (const auto& [name, followed] : orders) {
    if (followed) {
      names_[name].due = Clock::now();
      names_[name].told.reset();
    } else {
      names_.erase(name);
    }
  }
}

void Resolver::Thread::ask_due() {
  for (auto& [text, name] : names_) {
    if (name.waiting == 0 && name.due <= Clock::now()) {
      ask(text, name);
    }
  }
}

void Resolver::Thread::ask(const std::string& text, Name& name) {
  name.waiting = 2;
  name.ttl = kLongest;
  for (std::size_t half = 0; half < name.halves.size(); ++half) {
    ares_addrinfo_hints hints{};
    hints.ai_family = half == 0 ? AF_INET : AF_INET6;
    hints.ai_socktype = SOCK_STREAM;  // else each address comes once for each kind of socket
    hints.ai_flags = ARES_AI_NOSORT;
    ares_getaddrinfo(channel_, text.c_str(), nullptr, &hints, answered,
                     new Asked{*this, text, half});
  }
}

void Resolver::Thread::answered(void* asked, int status, int /*timeouts*/, ares_addrinfo* result) {
  const std::unique_ptr<Asked> question(static_cast<Asked*>(asked));
  const std::unique_ptr<ares_addrinfo, void (*)(ares_addrinfo*)> owner(result, ares_freeaddrinfo);
  Thread& thread = question->thread;
  const auto at = thread.names_.find(question->name);
  if (at == thread.names_.end() || at->second.waiting == 0) {
    return;  // forgotten meanwhile
  }
  Name& name = at->second;
  take(name.halves[question->half], status, result, name.ttl);
  if (--name.waiting == 0) {
    thread.settle(question->name, name);
  }
}

void Resolver::Thread::take(Half& half, int status, const ares_addrinfo* result, seconds& ttl) {
  half.fault.clear();
  // An alias without addresses behind it is a success for c-ares.
  half.none = status == ARES_ENODATA || status == ARES_ENOTFOUND ||
              (status == ARES_SUCCESS && result->nodes == nullptr);
  if (status != ARES_SUCCESS || half.none) {
    half.fault = half.none ? "" : ares_strerror(status);
    return;
  }
  for (const auto* alias = result->cnames; alias != nullptr; alias = alias->next) {
    ttl = std::min(ttl, seconds(alias->ttl));
  }
  half.addresses.clear();
  for (const auto* node = result->nodes; node != nullptr; node = node->ai_next) {
    if (const auto address = address_of(*node)) {
      half.addresses.push_back(*address);
      ttl = std::min(ttl, seconds(node->ai_ttl));
    }
  }
}

// Both answers are there.
void Resolver::Thread::settle(const std::string& text, Name& name) {
  const bool none = name.halves[0].none && name.halves[1].none;
  ResolvedName now{.name = text, .addresses = {}, .fault = ""};
  for (Half& half : name.halves) {
    if (half.none && !none) {
      half.addresses.clear();  // this family alone has none any more
    }
    now.addresses.insert(now.addresses.end(), half.addresses.begin(), half.addresses.end());
    now.fault = now.fault.empty() ? half.fault : now.fault;
  }
  if (none) {
    now.fault = "the name has no address";
  }
  std::sort(now.addresses.begin(), now.addresses.end());
  now.addresses.erase(std::unique(now.addresses.begin(), now.addresses.end()), now.addresses.end());
  const auto after = std::clamp(name.ttl, kShortest, kLongest);
  name.due = Clock::now() + (now.fault.empty() ? after : std::min<seconds>(after, kAgain));
  if (name.told != now) {
    name.told = now;
    tell_(now);
  }
}

void Resolver::Thread::wait() {
  std::array<ares_socket_t, ARES_GETSOCK_MAXNUM> sockets{};
  const int wanted = ares_getsock(channel_, sockets.data(), ARES_GETSOCK_MAXNUM);
  std::vector<pollfd> polled{{wake_.fd(), POLLIN, 0}};
  for (unsigned i = 0; i < sockets.size(); ++i) {
    const bool reads = ARES_GETSOCK_READABLE(static_cast<unsigned>(wanted), i) != 0;
    const bool writes = ARES_GETSOCK_WRITABLE(static_cast<unsigned>(wanted), i) != 0;
    if (reads || writes) {
      polled.push_back(
          {sockets[i], static_cast<short>((reads ? POLLIN : 0) | (writes ? POLLOUT : 0)), 0});
    }
  }
  auto patience = std::chrono::milliseconds(kAgain);
  for (const auto& [text, name] : names_) {
    if (name.waiting == 0) {
      patience = std::min(patience, std::chrono::ceil<std::chrono::milliseconds>(
                                        std::max(name.due - Clock::now(), Clock::duration(0))));
    }
  }
  timeval longest{patience.count() / 1'000, patience.count() % 1'000 * 1'000};
  timeval left{};
  const timeval* until = ares_timeout(channel_, &longest, &left);
  const auto timeout_ms = static_cast<int>(until->tv_sec * 1'000 + (until->tv_usec + 999) / 1'000);
  poll(polled.data(), polled.size(), timeout_ms);
  wake_.clear();
  ares_process_fd(channel_, ARES_SOCKET_BAD, ARES_SOCKET_BAD);  // what has timed out
  for (std::size_t i = 1; i < polled.size(); ++i) {
    const bool readable = (polled[i].revents & (POLLIN | POLLERR | POLLHUP)) != 0;
    const bool writable = (polled[i].revents & POLLOUT) != 0;
    ares_process_fd(channel_, readable ? polled[i].fd : ARES_SOCKET_BAD,
                    writable ? polled[i].fd : ARES_SOCKET_BAD);
  }
}

Resolver::Resolver(const std::vector<std::string>& servers, Tell tell)
    : thread_(std::make_unique<Thread>(servers, std::move(tell))) {}
Resolver::~Resolver() = default;

void Resolver::follow(const std::string& name) {
  thread_->order(name, true);
}

void Resolver::forget(const std::string& name) {
  thread_->order(name, false);
}

}  // namespace sluice::runtime
