// SPDX-License-Identifier: Apache-2.0
#include "controlplane/runtime/instance_lock.h"

#include "controlplane/runtime/start_fault.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace sluice::runtime {
namespace {

class InstanceLockTest : public ::testing::Test {
 protected:
  InstanceLockTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "sluice-lock-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
    path_ = folder_ + "/deep/sluice.sock";
  }
  ~InstanceLockTest() override { std::filesystem::remove_all(folder_); }

  // The sentence it is refused with; empty: it was not.
  std::string refusal() const {
    try {
      const InstanceLock lock(path_);
    } catch (const StartFault& fault) {
      return fault.what();
    }
    return "";
  }
  // A bound socket; listening or left behind by the dead.
  int bind_socket(bool listening) const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof(address.sun_path) - 1);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_TRUE(!listening || listen(fd, 1) == 0);
    return fd;
  }

  std::string folder_;
  std::string path_;
};

TEST_F(InstanceLockTest, MakesTheFolderAndLeavesNoFile) {
  EXPECT_EQ(refusal(), "");
  EXPECT_TRUE(std::filesystem::is_empty(folder_ + "/deep"));
}

TEST_F(InstanceLockTest, ASecondOneIsRefusedUntilTheFirstIsGone) {
  {
    const InstanceLock first(path_);
    EXPECT_NE(refusal().find("another sluiced"), std::string::npos);
    EXPECT_NE(refusal().find(path_), std::string::npos) << "the first keeps its lock file";
  }
  EXPECT_EQ(refusal(), "");
}

TEST_F(InstanceLockTest, ASocketLeftBehindIsRemoved) {
  std::filesystem::create_directories(folder_ + "/deep");
  close(bind_socket(false));
  const InstanceLock lock(path_);
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(InstanceLockTest, ASocketThatIsServedIsLeftAlone) {
  std::filesystem::create_directories(folder_ + "/deep");
  const int fd = bind_socket(true);
  EXPECT_NE(refusal().find("taken by another program"), std::string::npos);
  EXPECT_TRUE(std::filesystem::exists(path_));
  EXPECT_FALSE(std::filesystem::exists(path_ + ".lock"));
  close(fd);
}

TEST_F(InstanceLockTest, AFileInTheWayIsLeftAlone) {
  std::filesystem::create_directories(folder_ + "/deep");
  std::ofstream(path_) << "precious";
  EXPECT_NE(refusal().find("taken by a file"), std::string::npos);
  EXPECT_TRUE(std::filesystem::exists(path_));
}

TEST_F(InstanceLockTest, AFolderThatCannotBeIsASentenceNamingTheSetting) {
  path_ = "/dev/null/sluice.sock";
  EXPECT_EQ(refusal().rfind("api.listen: ", 0), 0U);
}

}  // namespace
}  // namespace sluice::runtime
