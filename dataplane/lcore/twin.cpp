// SPDX-License-Identifier: Apache-2.0
#include "dataplane/lcore/twin.h"

#include "dataplane/lcore/dataplane.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace sluice {
namespace {

ifreq request_for(const std::string& name) {
  ifreq request{};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  return request;
}

// Only what differs is set, so that a twin that is up with the right MAC is not disturbed.
bool set_up(int control, const std::string& name, const MacAddress& mac, std::uint16_t mtu) {
  ifreq request = request_for(name);
  if (ioctl(control, SIOCGIFHWADDR, &request) != 0) {
    return false;
  }
  if (std::memcmp(request.ifr_hwaddr.sa_data, mac.bytes.data(), 6) != 0) {
    request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
    std::memcpy(request.ifr_hwaddr.sa_data, mac.bytes.data(), 6);
    if (ioctl(control, SIOCSIFHWADDR, &request) != 0) {
      return false;
    }
  }
  request = request_for(name);
  request.ifr_mtu = mtu;
  if (ioctl(control, SIOCSIFMTU, &request) != 0) {
    return false;
  }
  request = request_for(name);
  if (ioctl(control, SIOCGIFFLAGS, &request) != 0) {
    return false;
  }
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  return ioctl(control, SIOCSIFFLAGS, &request) == 0;
}

}  // namespace

Twin::Twin(const std::string& name, const MacAddress& mac, std::uint16_t mtu,
           const std::string& setting) {
  fd_ = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  ifreq request = request_for(name);
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  if (fd_ < 0 || ioctl(fd_, TUNSETIFF, &request) != 0) {
    const std::string why = std::strerror(errno);
    const bool busy = errno == EBUSY;
    close(fd_);
    throw StartFault(setting + ": the twin '" + name + "' cannot be made: " + why +
                     (busy ? "; another process serves an interface of this name"
                           : "; it must not be the name of another interface, and sluiced must "
                             "run as root with /dev/net/tun"));
  }
  const int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const bool done = set_up(control, name, mac, mtu);
  const std::string why = std::strerror(errno);
  close(control);
  if (!done) {
    close(fd_);
    throw StartFault(setting + ": the twin '" + name + "' cannot be set up: " + why +
                     "; run as root");
  }
  index_ = static_cast<int>(if_nametoindex(name.c_str()));
}

Twin::~Twin() {
  close(fd_);
}

void Twin::keep() const {
  ioctl(fd_, TUNSETPERSIST, 1);  // fails only where TUNSETIFF has failed before
}

void Twin::set_carrier(bool up) const {
  const int carrier = up ? 1 : 0;
  ioctl(fd_, TUNSETCARRIER, &carrier);  // a kernel before 5.0 has none: the twin stays up
}

std::size_t Twin::read(std::span<std::uint8_t> frame) const {
  const ssize_t length = ::read(fd_, frame.data(), frame.size());
  return length > 0 ? static_cast<std::size_t>(length) : 0;
}

bool Twin::write(std::span<const std::uint8_t> frame) const {
  return ::write(fd_, frame.data(), frame.size()) == static_cast<ssize_t>(frame.size());
}

}  // namespace sluice
