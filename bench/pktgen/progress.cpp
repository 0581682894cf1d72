// SPDX-License-Identifier: Apache-2.0
#include "bench/pktgen/progress.h"

#include <algorithm>
#include <cstdio>
#include <unistd.h>

namespace sluice::pktgen {

Progress::Progress() : terminal_(isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  clear();
}

void Progress::show(const std::string& what, double share) {
  if (!terminal_) {
    return;
  }
  constexpr std::size_t kWidth = 30;
  const auto done = static_cast<std::size_t>(std::clamp(share, 0.0, 1.0) * kWidth);
  std::fprintf(stderr, "\r\033[K[%s%s] %s", std::string(done, '#').c_str(),
               std::string(kWidth - done, ' ').c_str(), what.c_str());
  std::fflush(stderr);
  shown_ = true;
}

void Progress::clear() {
  if (shown_) {
    std::fputs("\r\033[K", stderr);
    std::fflush(stderr);
    shown_ = false;
  }
}

}  // namespace sluice::pktgen
