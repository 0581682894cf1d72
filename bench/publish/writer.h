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

  // Applies `request`; seconds from the call to the answer, which says that every lcore has seen
  // it. Throws std::runtime_error when it is refused.
  double apply(const v1::ApplyRequest& request);

  // What the gateway has dropped so far and why, "REASON N, REASON N".
  std::string drops();

  struct Changes {
    std::uint64_t confirmed = 0;
    double seconds = 0;
    std::vector<std::uint32_t> micros;  // of each, call to answer
  };
  // One at a time, `pause_us` between them.
  Changes change_singly(Fleet& fleet, std::uint32_t count, std::uint32_t pause_us);
  // At `rate` a second for `seconds`, one endpoint in each transaction, whether answers are there
  // or not, but not more than kInFlight at once.
  Changes change_steadily(Fleet& fleet, std::uint32_t rate, std::uint32_t seconds);

 private:
  static constexpr std::uint32_t kInFlight = 32;
  std::unique_ptr<v1::Gateway::Stub> stub_;
};

}  // namespace sluice::bench
