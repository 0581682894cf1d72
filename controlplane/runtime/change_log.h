// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/model/service.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace sluice::runtime {

// Which services changed since when, so that who watches is told of these and not of all there
// are. A service stands in it once, at its last change; removals are remembered up to a bound, and
// who has slept through more of them begins anew with all. Sequence numbers count writes from 1.
class ChangeLog {
 public:
  using Key = std::pair<std::string, model::ServiceName>;  // provider, name
  static constexpr std::size_t kRemovalsMax = 10'000;

  // One write: what it changed or created, and what it removed.
  void add(const std::vector<Key>& changed, const std::vector<Key>& removed);
  [[nodiscard]] std::uint64_t sequence() const { return sequence_; }

  struct Since {
    bool all = false;  // too much has been forgotten: only a listing of everything will do
    std::vector<Key> changed;
    std::vector<Key> removed;  // may have been created again: then it is in `changed` too
  };
  // After `seen`; 0: from the beginning.
  [[nodiscard]] Since since(std::uint64_t seen) const;

 private:
  std::uint64_t sequence_ = 0;
  std::uint64_t forgotten_ = 0;  // removals up to this one are not all there
  std::map<Key, std::uint64_t> last_;
  std::set<std::pair<std::uint64_t, Key>> changed_;
  std::set<std::pair<std::uint64_t, Key>> removed_;
};

}  // namespace sluice::runtime
