// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/annotations.h"

#include "controlplane/kubernetes/addresses.h"
#include "controlplane/model/allocate.h"

#include <algorithm>
#include <array>

namespace sluice::kubernetes {
namespace {

// What the adapter itself writes is nobody's wish.
bool is_own(const std::string& key) {
  return key == kProviderAnnotation || key == kAssignedIpsAnnotation;
}

struct Known {
  const char* key;
  std::array<const char*, 3> words;  // null: any text but an empty one
};
constexpr std::array<Known, 6> kKnown{{
    {kDeliveryAnnotation, {"auto", "endpoint", "node"}},
    {kOnEndpointRemovalAnnotation, {"keep", "reset", nullptr}},
    {model::kExposeExternalNameAnnotation, {"true", "false", nullptr}},
    {model::kAddressPoolAnnotation, {}},
    {model::kSharedIpAnnotation, {}},
    {kLoadBalancerIpsAnnotation, {}},
}};

std::string words_of(const Known& known) {
  std::string words;
  for (const char* word : known.words) {
    words += word == nullptr ? "" : (words.empty() ? "" : ", ") + std::string(word);
  }
  return words;
}

}  // namespace

Annotations::Annotations(const Service& service, std::vector<Finding>& findings) {
  for (const auto& [key, value] : service.meta.annotations) {
    if (key.starts_with(kAnnotationPrefix) && !is_own(key)) {
      take(key, value, findings);
    }
  }
}

void Annotations::take(const std::string& key, const std::string& value,
                       std::vector<Finding>& findings) {
  const auto bad = [&](const std::string& why) {
    findings.push_back({"BadAnnotation", key + ": " + why + "; it is ignored"});
  };
  const auto* known = std::find_if(kKnown.begin(), kKnown.end(),
                                   [&](const Known& each) { return key == each.key; });
  if (known == kKnown.end()) {
    bad("there is no such annotation");
  } else if (known->words[0] == nullptr
                 ? value.empty()
                 : std::none_of(known->words.begin(), known->words.end(), [&](const char* word) {
                     return word != nullptr && value == word;
                   })) {
    bad("'" + value + "' is no value of it; use " +
        (known->words[0] == nullptr ? "a text" : words_of(*known)));
  } else {
    sound_.emplace(key, value);
  }
}

}  // namespace sluice::kubernetes
