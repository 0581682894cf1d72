// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/model/result.h"
#include "controlplane/model/service.h"

#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace sluice::runtime {

// What a provider says of one of its services, for people: why it is not served, say.
struct ServiceReport {
  model::ServiceName name;
  std::string reason;   // CamelCase; empty: nothing any more
  std::string message;  // a sentence
};

// The last word on each service of each provider, until the process ends. Any thread.
class ServiceReports {
 public:
  static constexpr std::size_t kReportsMax = 200'000;  // of all providers
  static constexpr std::size_t kReasonBytesMax = 128;
  static constexpr std::size_t kMessageBytesMax = 1'024;

  using Key = std::pair<std::string, model::ServiceName>;  // provider first

  // `replace`: services that are not among them have nothing to say. RESOURCE_EXHAUSTED when there
  // would be more than kReportsMax; then nothing is changed.
  model::Result<std::size_t> take(const std::string& provider, std::vector<ServiceReport> reports,
                                  bool replace);
  // Those of a provider and a namespace; empty: of all. In order.
  [[nodiscard]] std::map<Key, ServiceReport> of(const std::string& provider,
                                                const std::string& space) const;

 private:
  mutable std::mutex mutex_;
  std::map<Key, ServiceReport> reports_;
};

}  // namespace sluice::runtime
