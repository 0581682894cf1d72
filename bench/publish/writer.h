// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "bench/publish/fleet.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sluice::bench {

// The provider's side: writes through the real API, and a watch in its hand.
class Writer {
 public:
  // `server`: "unix:PATH".
  explicit Writer(const std::string& server);

  // Applies the requests, one after the other; seconds from the first call to the last answer,
  // which says that every lcore has seen it. Throws std::runtime_error when one is refused.
  double apply(const std::vector<v1::ApplyRequest>& requests);
  v1::ApplyResponse apply(const v1::ApplyRequest& request);

  // What the gateway has dropped so far and why, "REASON N, REASON N".
  std::string drops();

  struct Changes {
    std::uint64_t confirmed = 0;  // endpoints
    double seconds = 0;
    std::vector<std::uint32_t> call_us;     // of each transaction: its call to its answer
    std::vector<std::uint32_t> publish_us;  // received by the gateway to seen by all lcores
  };
  // One at a time, `pause_us` between them.
  Changes change_singly(Fleet& fleet, std::uint32_t count, std::uint32_t pause_us);
  // A transaction each millisecond for `seconds`, `rate` endpoints a second in all, whether answers
  // are there or not, but not more than kInFlight at once; what is not sent in thrice the time is
  // not sent.
  Changes change_steadily(Fleet& fleet, std::uint32_t rate, std::uint32_t seconds);

 private:
  static constexpr std::uint32_t kInFlight = 32;
  std::unique_ptr<v1::Gateway::Stub> stub_;
};

}  // namespace sluice::bench
