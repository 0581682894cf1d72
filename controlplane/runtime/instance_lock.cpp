// SPDX-License-Identifier: Apache-2.0
#include "controlplane/runtime/instance_lock.h"

#include "dataplane/lcore/dataplane.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace sluice::runtime {
namespace {

// Whether somebody accepts connections there.
bool is_served(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool served =
      connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  close(fd);
  return served;
}

}  // namespace

InstanceLock::InstanceLock(const std::string& socket_path) : socket_path_(socket_path) {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(socket_path).parent_path(), error);
  const std::string lock = socket_path + ".lock";
  fd_ = open(lock.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  if (fd_ < 0) {
    throw StartFault("api.listen: " + lock + " cannot be written: " + std::strerror(errno) +
                     "; choose a folder that can");
  }
  // The one before unlinks the file as it ends: a lock on what has no name any more holds nobody.
  struct stat held {};
  struct stat named {};
  if (flock(fd_, LOCK_EX | LOCK_NB) != 0 || fstat(fd_, &held) != 0 ||
      stat(lock.c_str(), &named) != 0 || held.st_ino != named.st_ino) {
    close(fd_);
    throw StartFault("api.listen: another sluiced serves " + socket_path +
                     "; stop it, or give this one a socket of its own");
  }
  struct stat status {};
  if (lstat(socket_path.c_str(), &status) != 0) {
    return;
  }
  if (!S_ISSOCK(status.st_mode) || is_served(socket_path)) {
    unlink(lock.c_str());
    close(fd_);
    throw StartFault("api.listen: the address " + socket_path + " is taken by " +
                     (S_ISSOCK(status.st_mode) ? "another program" : "a file") +
                     "; remove it or choose another");
  }
  unlink(socket_path.c_str());
}

InstanceLock::~InstanceLock() {
  unlink(socket_path_.c_str());
  unlink((socket_path_ + ".lock").c_str());
  close(fd_);
}

}  // namespace sluice::runtime
