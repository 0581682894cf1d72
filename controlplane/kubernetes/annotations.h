// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/kubernetes/translate.h"

#include <map>
#include <string>
#include <vector>

namespace sluice::kubernetes {

// Those of ours, checked: a bad one is left out and told, the rest of the service works (3.13).
class Annotations {
 public:
  Annotations(const Service& service, std::vector<Finding>& findings);

  [[nodiscard]] std::string get(const char* key) const {
    const auto at = sound_.find(key);
    return at == sound_.end() ? "" : at->second;
  }

 private:
  void take(const std::string& key, const std::string& value, std::vector<Finding>& findings);

  std::map<std::string, std::string> sound_;
};

}  // namespace sluice::kubernetes
