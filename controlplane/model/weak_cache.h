// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>
#include <unordered_map>

namespace sluice::model {

// What several have in common, by what it is made of, for as long as one of them has it. One
// thread.
template <typename Key, typename Value, typename Hash>
class WeakCache {
 public:
  // `make`, without arguments, when there is none; it may return null.
  template <typename Make>
  [[nodiscard]] std::shared_ptr<const Value> get(const Key& key, Make make) {
    sweep();
    std::weak_ptr<const Value>& known = values_[key];
    std::shared_ptr<const Value> value = known.lock();
    if (value == nullptr) {
      value = make();
      known = value;
    }
    return value;
  }
  // Dead ones included.
  [[nodiscard]] std::size_t size() const { return values_.size(); }

 private:
  // Two buckets for each one that is looked up: the dead ones never outnumber the others for long,
  // and no change pays for all of them.
  void sweep() {
    for (int i = 0; i < 2; ++i) {
      const std::size_t bucket = sweep_at_++ % values_.bucket_count();
      for (auto at = values_.begin(bucket); at != values_.end(bucket);) {
        const auto looked_at = at++;
        if (looked_at->second.expired()) {
          values_.erase(looked_at->first);
        }
      }
    }
  }

  std::unordered_map<Key, std::weak_ptr<const Value>, Hash> values_;
  std::size_t sweep_at_ = 0;
};

}  // namespace sluice::model
