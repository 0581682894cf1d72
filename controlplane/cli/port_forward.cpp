// SPDX-License-Identifier: Apache-2.0
// port-forward: local listeners, each connection a stream of the API; prints what kubectl prints.
#include "controlplane/cli/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <mutex>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

namespace sluice::cli {
namespace {

constexpr std::size_t kChunk = 64 << 10;
constexpr auto kAcceptAgain = std::chrono::milliseconds(50);

// A port of the service, and the local one that leads to it.
struct Forward {
  std::uint16_t local = 0;  // 0: any that is free
  std::uint16_t port = 0;
  std::int32_t target = 0;
};

struct Listener {
  int fd = -1;
  std::uint16_t local = 0;
  std::uint16_t port = 0;
};

std::optional<std::uint16_t> port_number(std::string_view text) {
  std::uint16_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool whole = error == std::errc{} && end == text.data() + text.size();
  return whole && number != 0 ? std::optional(number) : std::nullopt;
}

// "80", "8001:80", ":80", each with the name of a port in place of its number. Empty: it is none.
std::string read_forward(const std::string& text, const v1::Service& service, Forward& forward) {
  const std::size_t colon = text.find(':');
  const std::string wanted = colon == std::string::npos ? text : text.substr(colon + 1);
  const auto& ports = service.spec().ports();
  const auto is_wanted = [&](const v1::ServicePort& port) {
    return !wanted.empty() && (wanted == port.name() || port_number(wanted) == port.port());
  };
  const auto is_tcp = [&](const v1::ServicePort& port) {
    return is_wanted(port) && (port.protocol().empty() || port.protocol() == "TCP");
  };
  const auto at = std::find_if(ports.begin(), ports.end(), is_wanted);
  if (at == ports.end()) {
    return fmt::format("service {} has no port '{}'", service.metadata().name(), wanted);
  }
  const auto tcp = std::find_if(ports.begin(), ports.end(), is_tcp);
  if (tcp == ports.end()) {
    return fmt::format("port {} of service {} is {}; only TCP is forwarded", wanted,
                       service.metadata().name(), at->protocol());
  }
  forward.port = static_cast<std::uint16_t>(tcp->port());
  forward.target = tcp->target_port() == 0 ? tcp->port() : tcp->target_port();
  if (colon == std::string::npos) {
    forward.local = forward.port;
  } else if (colon != 0) {
    const auto local = port_number(std::string_view(text).substr(0, colon));
    if (!local) {
      return fmt::format("'{}' is not a local port; use 1 to 65535, or :{} for any", text, wanted);
    }
    forward.local = *local;
  }
  const auto& endpoints = service.status().endpoints();
  const bool usable = std::any_of(endpoints.begin(), endpoints.end(), [&](const auto& endpoint) {
    return endpoint.service_port() == tcp->name() && endpoint.state() == "active";
  });
  return usable ? ""
                : fmt::format("no endpoint of service {} is usable on port {}",
                              service.metadata().name(), wanted);
}

std::string listen_on(const std::string& address, std::uint16_t local, Listener& made,
                      std::string& shown) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_PASSIVE;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(address.c_str(), std::to_string(local).c_str(), &hints, &found) != 0) {
    return fmt::format("--address '{}' is not an address; use localhost or an IP address", address);
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, freeaddrinfo);
  const bool ipv6 = found->ai_family == AF_INET6;
  const int on = 1;
  made.fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (made.fd < 0) {
    return fmt::format("cannot listen on {}: {}", address, std::strerror(errno));
  }
  setsockopt(made.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (ipv6) {
    setsockopt(made.fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
  }
  if (bind(made.fd, found->ai_addr, found->ai_addrlen) != 0 || listen(made.fd, SOMAXCONN) != 0) {
    const std::string why = std::strerror(errno);
    close(made.fd);
    return fmt::format("cannot listen on {} port {}: {}", address, local, why);
  }
  sockaddr_storage bound{};
  socklen_t length = sizeof(bound);
  getsockname(made.fd, reinterpret_cast<sockaddr*>(&bound), &length);
  made.local = ntohs(ipv6 ? reinterpret_cast<sockaddr_in6&>(bound).sin6_port
                          : reinterpret_cast<sockaddr_in&>(bound).sin_port);
  shown = ipv6 ? fmt::format("[{}]:{}", address, made.local)
               : fmt::format("{}:{}", address, made.local);
  return "";
}

// One connection, from its acceptance to its end.
class Carried {
 public:
  Carried(const Session& session, int fd, v1::PortForwardOpen open)
      : session_(session), fd_(fd), open_(std::move(open)) {}
  ~Carried() { close(fd_); }
  Carried(const Carried&) = delete;
  Carried& operator=(const Carried&) = delete;

  void run() {
    stream_ = session_.gateway.PortForward(&context_);
    v1::PortForwardRequest request;
    *request.mutable_open() = open_;
    v1::PortForwardResponse response;
    if (stream_->Write(request) && stream_->Read(&response)) {
      std::thread up([this] { carry_up(); });
      carry_down();
      // Whichever way it has ended, nothing more comes down.
      shutdown(fd_, SHUT_RD);
      up.join();
    }
    const grpc::Status status = stream_->Finish();
    if (!status.ok() && !broken_ && !gone_) {
      break_off();
      static std::mutex one_at_a_time;
      const std::lock_guard lock(one_at_a_time);
      report(session_, client::error_of(status));
    }
  }

 private:
  void carry_up() {
    std::array<char, kChunk> chunk;
    v1::PortForwardRequest request;
    ssize_t received = 0;
    while ((received = recv(fd_, chunk.data(), chunk.size(), 0)) > 0) {
      request.set_data(chunk.data(), static_cast<std::size_t>(received));
      if (!stream_->Write(request)) {
        return;
      }
    }
    if (received == 0) {
      request.set_end(true);
      stream_->Write(request);
      stream_->WritesDone();
    } else {
      gone_ = true;
      context_.TryCancel();
    }
  }

  // Until the gateway has said all: it ends the stream once both sides are done.
  void carry_down() {
    v1::PortForwardResponse response;
    while (stream_->Read(&response)) {
      if (response.end()) {
        shutdown(fd_, SHUT_WR);
      } else if (response.reset() || !send_all(response.data())) {
        break_off();
        context_.TryCancel();
      }
    }
  }

  bool send_all(const std::string& bytes) const {
    std::size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t sent = send(fd_, bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL);
      if (sent < 0 && errno != EINTR) {
        return false;
      }
      done += sent < 0 ? 0 : static_cast<std::size_t>(sent);
    }
    return true;
  }

  // By a reset, so that nobody takes what came so far for all of it.
  void break_off() {
    broken_ = true;
    const linger at_once{1, 0};
    setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  }

  const Session& session_;
  int fd_;
  v1::PortForwardOpen open_;
  grpc::ClientContext context_;
  std::unique_ptr<
      grpc::ClientReaderWriterInterface<v1::PortForwardRequest, v1::PortForwardResponse>>
      stream_;
  bool broken_ = false;  // the downward thread's
  bool gone_ = false;    // the upward thread's: whoever has connected has broken it
};

// Both loopback addresses stand for localhost; one of them is enough.
std::string open_listeners(const Session& session, std::vector<Forward>& forwards,
                           std::vector<Listener>& listeners) {
  const std::vector<std::string>& asked = session.options.port_forward.addresses;
  for (Forward& forward : forwards) {
    for (const std::string& address :
         asked.empty() ? std::vector<std::string>{"localhost"} : asked) {
      const bool both = address == "localhost";
      std::string fault;
      std::size_t opened = 0;
      for (const std::string& each :
           both ? std::vector<std::string>{"127.0.0.1", "::1"} : std::vector{address}) {
        Listener listener{.port = forward.port};
        std::string shown;
        fault = listen_on(each, forward.local, listener, shown);
        if (fault.empty()) {
          ++opened;
          forward.local = listener.local;  // what was left open is the same on all addresses
          listeners.push_back(listener);
          session.out << fmt::format("Forwarding from {} -> {}\n", shown, forward.target);
        } else if (!both) {
          return fault;
        }
      }
      if (opened == 0) {
        return fault;
      }
    }
  }
  session.out.flush();
  return "";
}

[[noreturn]] void serve(const Session& session, const v1::Service& service,
                        const std::vector<Listener>& listeners) {
  std::vector<pollfd> ready;
  for (const Listener& listener : listeners) {
    ready.push_back({listener.fd, POLLIN, 0});
  }
  v1::PortForwardOpen open;
  open.set_provider(session.options.provider.value_or(""));
  open.mutable_service()->set_namespace_(service.metadata().namespace_());
  open.mutable_service()->set_name(service.metadata().name());
  open.set_through_vip(session.options.port_forward.through_vip);
  while (true) {
    poll(ready.data(), ready.size(), -1);
    for (std::size_t i = 0; i < ready.size(); ++i) {
      if (ready[i].revents == 0) {
        continue;
      }
      const int fd = accept4(ready[i].fd, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) {  // too many are open, perhaps: the next is taken once one has ended
        std::this_thread::sleep_for(kAcceptAgain);
        continue;
      }
      session.out << fmt::format("Handling connection for {}\n", listeners[i].local);
      session.out.flush();
      open.set_port(listeners[i].port);
      std::thread([&session, fd, open] { Carried(session, fd, open).run(); }).detach();
    }
  }
}

}  // namespace

int port_forward(const Session& session) {
  v1::GetServiceRequest request;
  request.set_provider(session.options.provider.value_or(""));
  request.mutable_name()->set_name(session.options.names[0]);
  request.mutable_name()->set_namespace_(session.options.namespace_filter());
  v1::Service service;
  if (const auto error = call(session, &v1::Gateway::StubInterface::GetService, request, service)) {
    return report(session, *error);
  }
  std::vector<Forward> forwards;
  for (const std::string& text : session.options.port_forward.ports) {
    const std::string fault = read_forward(text, service, forwards.emplace_back());
    if (!fault.empty()) {
      session.err << "error: " << fault << "\n";
      return kRefused;
    }
  }
  std::vector<Listener> listeners;
  const std::string fault = open_listeners(session, forwards, listeners);
  if (!fault.empty()) {
    session.err << "error: " << fault << "\n";
    for (const Listener& listener : listeners) {
      close(listener.fd);
    }
    return kUsage;
  }
  serve(session, service, listeners);
}

}  // namespace sluice::cli
