// SPDX-License-Identifier: Apache-2.0
// doctor --kubernetes: the adapter examines the cluster, as it knows how to speak to one.
#include "controlplane/cli/session.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <unistd.h>

namespace sluice::cli {
namespace {

constexpr const char* kAdapter = "sluice-k8s";

}  // namespace

int doctor(const Options& options, std::ostream& out, std::ostream& err) {
  out.flush();
  std::error_code failed;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", failed);
  const std::string beside = failed ? std::string() : (self.parent_path() / kAdapter).string();
  const char* config = options.config.c_str();
  for (const std::string& program : {beside, std::string(kAdapter)}) {
    execlp(program.c_str(), kAdapter, "--doctor", "--config", config, nullptr);
  }
  err << fmt::format("error: {} cannot be run: {}; it is to be beside sluicectl or on the PATH\n",
                     kAdapter, std::strerror(errno));
  return kUsage;
}

}  // namespace sluice::cli
