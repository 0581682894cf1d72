// SPDX-License-Identifier: Apache-2.0
// Which of several adapters writes to the cluster: the holder of a Lease (coordination.k8s.io/v1),
// as client-go's leaderelection has it.
#pragma once

#include "controlplane/kubernetes/http.h"

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

namespace sluice::kubernetes {

struct LeaseSettings {
  std::string space;  // namespace
  std::string name;
  std::string identity;  // of this adapter, distinct
  // KUBERNETES.md 1.28: how long a holder that says nothing is believed, until when a holder that
  // cannot renew believes itself, and how often it is tried.
  std::chrono::milliseconds duration{15'000};
  std::chrono::milliseconds renew_deadline{10'000};
  std::chrono::milliseconds retry{2'000};
};

class LeaderElection {
 public:
  using Clock = std::chrono::steady_clock;
  enum class Leads {
    kNot,
    kFirst,  // another may have written since this one did
    kAgain,  // the Lease was this one's all the time
  };
  // `told` is called from the election's thread, after each try: whether it leads, and until when
  // unless it is told again.
  using Told = std::function<void(Leads, Clock::time_point until)>;
  LeaderElection(LeaseSettings settings, const ClusterAccess& access, Credentials& credentials,
                 Told told);
  // Gives the lease up, so that another need not wait for its end.
  ~LeaderElection();
  LeaderElection(const LeaderElection&) = delete;
  LeaderElection& operator=(const LeaderElection&) = delete;

  // Any thread. Judged by the local monotonic clock alone.
  [[nodiscard]] bool leads() const;
  // Until it is known for the first time whether this one leads, but no longer than `patience`.
  void await_first_try(std::chrono::milliseconds patience);

 private:
  using Json = nlohmann::json;

  void run();
  void try_once();
  bool read_lease(Json& lease);
  bool write(Json lease, const std::string& holder, bool creates);
  void release();
  void tell();
  void say(const std::string& what);

  const LeaseSettings settings_;
  const std::string path_;
  const Told told_;
  std::atomic<bool> cut_{false};  // the release at the end is a request too
  HttpClient http_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable tried_once_;
  bool stop_ = false;
  bool tried_ = false;
  Clock::time_point until_{};  // it leads so long
  bool led_ = false;           // as it was told last
  bool another_held_ = true;   // since this one was told that it leads; or nobody did
  // Another's lease is over when its record has not changed for its duration, whatever its clock
  // says.
  std::string seen_record_;
  Clock::time_point seen_at_{};
  std::string said_;
  std::thread thread_;
};

}  // namespace sluice::kubernetes
