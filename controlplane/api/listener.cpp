// SPDX-License-Identifier: Apache-2.0
#include "controlplane/api/listener.h"

#include "controlplane/runtime/start_fault.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <dirent.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <utility>

namespace sluice::api {
namespace {

constexpr std::size_t kConnectionsMax = 256;
constexpr int kRetryMs = 10;

// gRPC says nothing when it closes a connection, so what is open is counted where it cannot be
// wrong.
std::size_t open_descriptors() {
  DIR* directory = opendir("/proc/self/fd");
  if (directory == nullptr) {
    return 0;
  }
  std::size_t count = 0;
  while (readdir(directory) != nullptr) {
    ++count;
  }
  closedir(directory);
  return count;
}

std::size_t descriptors_max(std::size_t now) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  // Half of what is left stays for everything else.
  const std::size_t left = limit.rlim_cur > now ? limit.rlim_cur - now : 0;
  return now + std::min<std::size_t>(kConnectionsMax, left / 2);
}

int listening(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd >= 0 && bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 &&
      chmod(path.c_str(), S_IRUSR | S_IWUSR | S_IRGRP | S_IWGRP) == 0 &&
      listen(fd, SOMAXCONN) == 0) {
    return fd;
  }
  const std::string why = std::strerror(errno);
  close(fd);
  throw StartFault("api.listen: " + path + " cannot be served: " + why +
                   "; choose a path in a folder that can be written");
}

}  // namespace

Listener::Listener(const std::string& socket_path, std::function<void(int connection)> take)
    : take_(std::move(take)), socket_(listening(socket_path)) {
  stop_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  thread_ = std::thread([this] { run(); });
}

Listener::~Listener() {
  eventfd_write(stop_, 1);
  thread_.join();
  close(stop_);
  close(socket_);
}

void Listener::run() {
  const std::size_t full = descriptors_max(open_descriptors());
  bool waiting = false;  // too many are open, or the kernel refused: look again in a while
  while (true) {
    std::array<pollfd, 2> ready{{{stop_, POLLIN, 0}, {socket_, POLLIN, 0}}};
    poll(ready.data(), waiting ? 1 : 2, waiting ? kRetryMs : -1);
    if (ready[0].revents != 0) {
      return;
    }
    waiting = open_descriptors() >= full;
    if (waiting) {
      continue;
    }
    const int connection = accept4(socket_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (connection >= 0) {
      take_(connection);
    } else {
      waiting = errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS;
    }
  }
}

}  // namespace sluice::api
