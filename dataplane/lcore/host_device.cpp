// SPDX-License-Identifier: Apache-2.0
#include "dataplane/lcore/host_device.h"

#include "dataplane/lcore/dataplane.h"

#include <cstring>
#include <fstream>
#include <functional>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;  // NOLINT: posix_spawn wants it

namespace sluice {
namespace {

// `nft SCRIPT` without a shell; false when it fails. Its words go nowhere.
bool nft(const std::string& script) {
  std::string program = "nft";
  std::string text = script;
  char* arguments[] = {program.data(), text.data(), nullptr};
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", 1 /* O_WRONLY */, 0);
  posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", 1, 0);
  pid_t pid = 0;
  const int spawned = posix_spawnp(&pid, program.c_str(), &files, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&files);
  int status = 1;
  return spawned == 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
         WEXITSTATUS(status) == 0;
}

std::string first_address(const std::string& interface) {
  ifaddrs* list = nullptr;
  std::string found;
  if (getifaddrs(&list) != 0) {
    return found;
  }
  for (const ifaddrs* at = list; at != nullptr && found.empty(); at = at->ifa_next) {
    if (at->ifa_addr == nullptr || interface != at->ifa_name) {
      continue;
    }
    if (at->ifa_addr->sa_family == AF_INET) {
      sockaddr_in address{};
      std::memcpy(&address, at->ifa_addr, sizeof(address));
      found = to_string(IpAddress(Ipv4Address{Be32{address.sin_addr.s_addr}}));
    } else if (at->ifa_addr->sa_family == AF_INET6) {
      sockaddr_in6 address{};
      std::memcpy(&address, at->ifa_addr, sizeof(address));
      Ipv6Address v6{};
      std::memcpy(v6.bytes.data(), &address.sin6_addr, sizeof(v6));
      found = v6.is_link_local() ? "" : to_string(IpAddress(v6));
    }
  }
  freeifaddrs(list);
  return found;
}

// One of the SIOC[GS]IF* requests about an interface; nothing when the kernel refuses it.
std::optional<ifreq> interface_request(const std::string& interface, unsigned long what,
                                       const std::function<void(ifreq&)>& fill = nullptr) {
  ifreq request{};
  interface.copy(request.ifr_name, IFNAMSIZ - 1);
  if (fill) {
    fill(request);
  }
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const bool done = fd >= 0 && ioctl(fd, what, &request) == 0;
  close(fd);
  return done ? std::optional(request) : std::nullopt;
}

bool set_flags(const std::string& interface, short flags) {
  return interface_request(interface, SIOCSIFFLAGS,
                           [flags](ifreq& request) { request.ifr_flags = flags; })
      .has_value();
}

std::string ipv6_switch(const std::string& interface) {
  return "/proc/sys/net/ipv6/conf/" + interface + "/disable_ipv6";
}

}  // namespace

// Delegates, so that what was done before a fault is undone by the destructor.
HostDevice::HostDevice(const std::string& interface, bool drop_ingress, const std::string& setting)
    : HostDevice(interface) {
  if (if_nametoindex(interface_.c_str()) == 0) {
    throw StartFault(setting + ": no such port: there is no interface '" + interface_ +
                     "' here; correct iface=");
  }
  if (const std::string address = first_address(interface_); !address.empty()) {
    throw StartFault(setting + ": interface '" + interface_ + "' has the address " + address +
                     ", so the kernel would answer beside the gateway; remove it and give it to " +
                     "the twin instead");
  }
  std::ifstream(ipv6_switch(interface_)) >> ipv6_before_;
  std::ofstream(ipv6_switch(interface_)) << "1";
  if (const auto mtu = interface_request(interface_, SIOCGIFMTU)) {
    mtu_before_ = mtu->ifr_mtu;
  }
  if (const auto flags = interface_request(interface_, SIOCGIFFLAGS)) {
    flags_before_ = flags->ifr_flags;
  }
  if (!flags_before_ || !set_flags(interface_, static_cast<short>(*flags_before_ | IFF_UP))) {
    throw StartFault(setting + ": interface '" + interface_ + "' cannot be set up; run as root");
  }
  if (drop_ingress) {
    this->drop_ingress(setting);
  }
}

void HostDevice::drop_ingress(const std::string& setting) {
  nft("delete table netdev " + table());  // of a run that could not clean up
  table_made_ = nft("table netdev " + table() + " { chain ingress { type filter hook ingress " +
                    "device \"" + interface_ + "\" priority -500; policy drop; }; }");
  if (!table_made_) {
    throw StartFault(setting + ": the kernel's own ingress on '" + interface_ +
                     "' cannot be dropped; install nftables and run as root");
  }
}

HostDevice::~HostDevice() {
  if (table_made_) {
    nft("delete table netdev " + table());
  }
  if (mtu_before_) {
    interface_request(interface_, SIOCSIFMTU,
                      [this](ifreq& request) { request.ifr_mtu = *mtu_before_; });
  }
  if (flags_before_) {
    set_flags(interface_, *flags_before_);
  }
  if (!ipv6_before_.empty() && ipv6_before_ != "1") {
    std::ofstream(ipv6_switch(interface_)) << ipv6_before_;
  }
}

}  // namespace sluice
