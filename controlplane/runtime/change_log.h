// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/model/service.h"

#include <absl/container/flat_hash_map.h>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
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
    bool all = false;          // too much has been forgotten: only a listing of everything will do
    std::vector<Key> changed;  // in the order of their last changes
    std::vector<Key> removed;  // may have been created again: then it is in `changed` too
  };
  // After `seen`; 0: from the beginning.
  [[nodiscard]] Since since(std::uint64_t seen) const;

 private:
  struct Entry {
    std::uint64_t sequence;
    Key key;
  };
  std::uint64_t sequence_ = 0;
  std::uint64_t forgotten_ = 0;  // removals up to this one are not all there
  std::list<Entry> changed_;     // ascending, as are removed_
  absl::flat_hash_map<Key, std::list<Entry>::iterator> last_;
  std::deque<Entry> removed_;
};

}  // namespace sluice::runtime
