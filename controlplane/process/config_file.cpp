// SPDX-License-Identifier: Apache-2.0
#include "controlplane/process/config_file.h"

#include <cstdio>

namespace sluice::process {

void tell(const std::string& program, const std::string& file,
          const std::vector<manifest::Fault>& faults) {
  for (const manifest::Fault& fault : faults) {
    std::fprintf(stderr, "%s: %s: %s\n", program.c_str(), file.c_str(),
                 manifest::to_string(fault).c_str());
  }
}

void tell(const std::string& program, const std::string& file,
          const std::vector<model::Fault>& faults) {
  for (const model::Fault& fault : faults) {
    std::fprintf(stderr, "%s: %s: %s: %s\n", program.c_str(), file.c_str(), fault.path.c_str(),
                 fault.message.c_str());
  }
}

}  // namespace sluice::process
