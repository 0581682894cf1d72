// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/kubernetes/cluster_access.h"

#include <chrono>
#include <mutex>
#include <string>

namespace sluice::kubernetes {

// As whom the next request speaks. Tokens rotate: a file is read for each request (KUBERNETES.md
// 1.22), what a plugin has said is kept until it expires or is refused. Any thread.
class Credentials {
 public:
  explicit Credentials(ClusterAccess access) : access_(std::move(access)) {}

  struct Present {
    std::string bearer;  // token; empty: none
    Pem certificate;     // empty: none
    Pem key;
  };
  // May run the plugin, for at most 30 s. The error says what could not be had.
  model::Result<Present> present();
  // The server answered 401: what a plugin has said is not asked for again.
  void refused();

 private:
  model::Result<Present> run_plugin();

  const ClusterAccess access_;
  std::mutex mutex_;
  Present said_;  // by the plugin
  bool has_said_ = false;
  std::chrono::system_clock::time_point until_{};
};

}  // namespace sluice::kubernetes
