// SPDX-License-Identifier: Apache-2.0
// The resolver before a DNS server of the test's own, whose answers change; dnsmasq is its server
// end to end (reach_test.py).
#include "controlplane/runtime/resolver.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <atomic>
#include <condition_variable>
#include <initializer_list>
#include <map>
#include <mutex>
#include <poll.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

namespace sluice::runtime {
namespace {

constexpr std::uint16_t kA = 1;
constexpr std::uint16_t kAaaa = 28;
constexpr std::uint8_t kNoError = 0;
constexpr std::uint8_t kNameError = 3;

// RFC 1035 §4, as much of it as c-ares asks for: one question, answers that point back to its name.
class DnsServer {
 public:
  struct Answer {
    std::vector<std::string> addresses{};
    std::uint8_t code = kNoError;
    bool silent = false;
    std::uint8_t ttl = 1;        // seconds
    std::uint8_t alias_ttl = 0;  // 0: no CNAME before them
  };

  DnsServer() {
    fd_ = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(any);
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&any), length), 0);
    getsockname(fd_, reinterpret_cast<sockaddr*>(&any), &length);
    address_ = "127.0.0.1:" + std::to_string(ntohs(any.sin_port));
    thread_ = std::thread([this] { run(); });
  }
  ~DnsServer() {
    stop_ = true;
    thread_.join();
    close(fd_);
  }
  void set(std::uint16_t type, Answer answer) {
    const std::lock_guard lock(mutex_);
    answers_[type] = std::move(answer);
  }
  [[nodiscard]] std::vector<std::string> servers() const { return {address_}; }
  [[nodiscard]] int asked() const { return asked_; }

 private:
  using Message = std::array<std::uint8_t, 512>;

  void run() {
    while (!stop_) {
      pollfd ready{fd_, POLLIN, 0};
      if (poll(&ready, 1, 20) != 1) {
        continue;
      }
      Message message{};
      sockaddr_in from{};
      socklen_t length = sizeof(from);
      const ssize_t size = recvfrom(fd_, message.data(), message.size(), 0,
                                    reinterpret_cast<sockaddr*>(&from), &length);
      if (size > 16) {
        ++asked_;
        answer(message, from);
      }
    }
  }

  void answer(const Message& asked, const sockaddr_in& to) {
    std::size_t end = 12;
    while (asked[end] != 0) {
      end += asked[end] + 1U;
    }
    const auto type = static_cast<std::uint16_t>(asked[end + 1] << 8U | asked[end + 2]);
    Answer wanted;
    {
      const std::lock_guard lock(mutex_);
      wanted = answers_[type];
    }
    if (wanted.silent) {
      return;
    }
    Message reply = asked;
    std::size_t size = end + 5;
    const bool has_alias = wanted.alias_ttl != 0;
    reply[2] = 0x81;  // a response, recursion desired
    reply[3] = static_cast<std::uint8_t>(0x80 | wanted.code);
    reply[7] = static_cast<std::uint8_t>(wanted.addresses.size() + (has_alias ? 1 : 0));
    reply[8] = reply[9] = reply[10] = reply[11] = 0;
    const auto add = [&](std::initializer_list<std::uint8_t> octets) {
      std::copy(octets.begin(), octets.end(), reply.begin() + static_cast<long>(size));
      size += octets.size();
    };
    std::uint8_t name = 12;  // where the records' name stands
    if (has_alias) {
      add({0xc0, 12, 0, 5, 0, 1, 0, 0, 0, wanted.alias_ttl, 0, 3});
      name = static_cast<std::uint8_t>(size);
      add({1, 'a', 0});
    }
    for (const std::string& text : wanted.addresses) {
      const IpAddress address = *parse_ip(text);
      const auto octets = static_cast<std::uint8_t>(address.bits() / 8);
      add({0xc0, name, 0, asked[end + 2], 0, 1, 0, 0, 0, wanted.ttl, 0, octets});
      std::copy_n(address.bytes.begin(), octets, reply.begin() + static_cast<long>(size));
      size += octets;
    }
    sendto(fd_, reply.data(), size, 0, reinterpret_cast<const sockaddr*>(&to), sizeof(to));
  }

  int fd_ = -1;
  std::string address_;
  std::mutex mutex_;
  std::map<std::uint16_t, Answer> answers_;
  std::atomic<bool> stop_{false};
  std::atomic<int> asked_{0};
  std::thread thread_;
};

// What was told, in order.
class Told {
 public:
  Resolver::Tell tell() {
    return [this](const ResolvedName& name) {
      const std::lock_guard lock(mutex_);
      all_.push_back(name);
      changed_.notify_all();
    };
  }
  // The next one that is told; an empty one after `seconds`.
  ResolvedName next(int seconds = 10) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, std::chrono::seconds(seconds),
                           [this] { return taken_ < all_.size(); })) {
      return {};
    }
    return all_[taken_++];
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<ResolvedName> all_;
  std::size_t taken_ = 0;
};

std::vector<IpAddress> addresses(const std::vector<std::string>& texts) {
  std::vector<IpAddress> made;
  for (const std::string& text : texts) {
    made.push_back(*parse_ip(text));
  }
  return made;
}

TEST(Resolver, BothFamiliesAreFollowedByTheirTimeToLive) {
  DnsServer server;
  server.set(kA, {.addresses = {"10.0.0.2", "10.0.0.1"}});
  server.set(kAaaa, {.addresses = {"2001:db8::1"}});
  Told told;
  Resolver resolver(server.servers(), told.tell());
  resolver.follow("api.example.com");
  const ResolvedName first = told.next();
  EXPECT_EQ(first.name, "api.example.com");
  EXPECT_EQ(first.addresses, addresses({"10.0.0.1", "10.0.0.2", "2001:db8::1"})) << "sorted";
  EXPECT_EQ(first.fault, "");
  server.set(kA, {.addresses = {"10.0.0.3"}});
  EXPECT_EQ(told.next().addresses, addresses({"10.0.0.3", "2001:db8::1"})) << "after a second";
}

TEST(Resolver, ALongTimeToLiveIsNotAskedAgain) {
  DnsServer server;
  server.set(kA, {.addresses = {"10.0.0.1"}, .ttl = 200});
  server.set(kAaaa, {});
  Told told;
  Resolver resolver(server.servers(), told.tell());
  resolver.follow("api.example.com");
  told.next();
  const int asked = server.asked();
  std::this_thread::sleep_for(std::chrono::milliseconds(1'500));
  EXPECT_EQ(server.asked(), asked);
  resolver.follow("api.example.com");
  EXPECT_EQ(told.next().addresses, addresses({"10.0.0.1"})) << "asked for again at once, and told";
  EXPECT_GT(server.asked(), asked);
}

TEST(Resolver, AFamilyThatHasNoneAnyMoreLosesItsAddressesAndTheOtherKeepsThem) {
  DnsServer server;
  server.set(kA, {.addresses = {"10.0.0.1"}});
  server.set(kAaaa, {.addresses = {"2001:db8::1"}});
  Told told;
  Resolver resolver(server.servers(), told.tell());
  resolver.follow("api.example.com");
  told.next();
  server.set(kAaaa, {});
  const ResolvedName next = told.next();
  EXPECT_EQ(next.addresses, addresses({"10.0.0.1"}));
  EXPECT_EQ(next.fault, "");
}

TEST(Resolver, ANameWithoutAnyAddressKeepsTheLastOnesWithAFault) {
  DnsServer server;
  server.set(kA, {.addresses = {"10.0.0.1"}});
  server.set(kAaaa, {});
  Told told;
  Resolver resolver(server.servers(), told.tell());
  resolver.follow("api.example.com");
  told.next();
  server.set(kA, {.addresses = {}, .code = kNameError});
  server.set(kAaaa, {.addresses = {}, .code = kNameError});
  const ResolvedName gone = told.next();
  EXPECT_EQ(gone.addresses, addresses({"10.0.0.1"}));
  EXPECT_EQ(gone.fault, "the name has no address");
}

TEST(Resolver, AFamilyWithoutAnAnswerKeepsWhatItHadAndTheOtherGoesOn) {
  DnsServer server;
  server.set(kA, {.addresses = {"10.0.0.1"}});
  server.set(kAaaa, {.addresses = {"2001:db8::1"}});
  Told told;
  Resolver resolver(server.servers(), told.tell());
  resolver.follow("api.example.com");
  told.next();
  server.set(kA, {.addresses = {}, .code = kNoError, .silent = true});
  server.set(kAaaa, {.addresses = {"2001:db8::2"}});
  const ResolvedName next = told.next(20);
  EXPECT_EQ(next.addresses, addresses({"10.0.0.1", "2001:db8::2"}));
  EXPECT_NE(next.fault, "");
}

TEST(Resolver, AnAliasIsFollowedByItsOwnTimeToLive) {
  DnsServer server;
  server.set(kA, {.addresses = {"10.0.0.1"}, .ttl = 200, .alias_ttl = 1});
  server.set(kAaaa, {});
  Told told;
  Resolver resolver(server.servers(), told.tell());
  resolver.follow("api.example.com");
  EXPECT_EQ(told.next().addresses, addresses({"10.0.0.1"}));
  server.set(kA, {.addresses = {"10.0.0.2"}, .ttl = 200, .alias_ttl = 1});
  EXPECT_EQ(told.next(5).addresses, addresses({"10.0.0.2"}));
}

TEST(Resolver, AnAliasWithoutAddressesKeepsTheLastOnesWithAFault) {
  DnsServer server;
  server.set(kA, {.addresses = {"10.0.0.1"}});
  server.set(kAaaa, {});
  Told told;
  Resolver resolver(server.servers(), told.tell());
  resolver.follow("api.example.com");
  told.next();
  server.set(kA, {.addresses = {}, .alias_ttl = 200});
  server.set(kAaaa, {.addresses = {}, .alias_ttl = 200});
  const ResolvedName gone = told.next();
  EXPECT_EQ(gone.addresses, addresses({"10.0.0.1"}));
  EXPECT_EQ(gone.fault, "the name has no address");
  server.set(kA, {.addresses = {"10.0.0.3"}});
  EXPECT_EQ(told.next(8).addresses, addresses({"10.0.0.3"})) << "asked again within seconds";
}

TEST(Resolver, ANameThatIsForgottenIsAskedForNoMore) {
  DnsServer server;
  server.set(kA, {.addresses = {"10.0.0.1"}});
  server.set(kAaaa, {});
  Told told;
  Resolver resolver(server.servers(), told.tell());
  resolver.follow("api.example.com");
  told.next();
  resolver.forget("api.example.com");
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  const int asked = server.asked();
  std::this_thread::sleep_for(std::chrono::milliseconds(1'500));
  EXPECT_EQ(server.asked(), asked);
}

TEST(Resolver, EndsWhileQuestionsAreOpen) {
  DnsServer server;
  server.set(kA, {.addresses = {}, .code = kNoError, .silent = true});
  server.set(kAaaa, {.addresses = {}, .code = kNoError, .silent = true});
  Told told;
  {
    Resolver resolver(server.servers(), told.tell());
    resolver.follow("api.example.com");
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  EXPECT_TRUE(told.next(0).name.empty());
}

}  // namespace
}  // namespace sluice::runtime
