// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace sluice::pktgen {

// One line on standard error that is written over; nothing at all where that is no terminal.
class Progress {
 public:
  Progress();
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `share`: 0 to 1 of what `what` names.
  void show(const std::string& what, double share);
  void clear();

 private:
  bool terminal_;
  bool shown_ = false;
};

}  // namespace sluice::pktgen
