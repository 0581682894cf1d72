// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/kubernetes/cluster_access.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>

namespace sluice::kubernetes {

inline const std::atomic<bool> kNeverStops{false};

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
  // May run the plugin, for at most 30 s, or wait for another thread that does; until `stop`
  // becomes true, and little longer. The error says what could not be had.
  model::Result<Present> present(const std::atomic<bool>& stop = kNeverStops);
  // The server answered 401: what a plugin has said is not asked for again.
  void refused();

 private:
  model::Result<Present> run_plugin(const std::atomic<bool>& stop);

  const ClusterAccess access_;
  std::mutex mutex_;
  std::condition_variable answered_;
  bool is_asked_ = false;  // the plugin, by one thread for all
  Present said_;           // by the plugin
  bool has_said_ = false;
  std::chrono::system_clock::time_point until_{};
};

}  // namespace sluice::kubernetes
