// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/model/service.h"

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <string>
#include <tuple>
#include <vector>

namespace sluice::runtime {

// Something that a person should know about a service or the gateway, in Kubernetes' words.
struct Event {
  bool warning = false;    // type "Warning"; else "Normal"
  std::string reason{};    // CamelCase, for programs
  std::string provider{};  // of the service it is about; empty: about the gateway
  model::ServiceName service{};
  std::string message{};
  std::uint64_t count = 1;
  std::int64_t first_seconds = 0;  // Unix time
  std::int64_t last_seconds = 0;
};

// The last of them. What happens again is counted, not listed again. One thread.
class EventLog {
 public:
  static constexpr std::size_t kEventsMax = 1'000;

  // True when it is new, not one that is counted once more.
  bool add(Event event, std::int64_t now_seconds);
  // The earliest first, by their last time.
  [[nodiscard]] std::vector<Event> events() const { return {events_.begin(), events_.end()}; }

 private:
  using Key = std::tuple<std::string, std::string, model::ServiceName, std::string>;
  static Key key_of(const Event& event) {
    return {event.reason, event.provider, event.service, event.message};
  }
  std::list<Event> events_;
  std::map<Key, std::list<Event>::iterator> known_;
};

}  // namespace sluice::runtime
