// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

namespace sluice {

// An array that shares with its copies all that was not set anew since: a tree in which setting one
// value copies `kLevels` nodes of `kFan` pointers, whatever the array holds. What such a copy costs
// is the counts of references, nearly each a cache miss; hence a tree of narrow nodes.
//
// Copies may be read by other threads while this one is changed; set() and the destruction of
// copies are one thread's.
template <typename T, unsigned kLevels>
class SharedArray {
 public:
  static constexpr std::size_t kFan = 16;
  static constexpr std::size_t kSize = std::size_t{1} << 4 * kLevels;

  // Null where nothing was set. `index` < kSize.
  [[nodiscard]] const T* find(std::size_t index) const {
    const Node& node = *root_;
    if constexpr (kLevels == 1) {
      return node[index].get();
    } else {
      return node[index / Child::kSize].find(index % Child::kSize);
    }
  }

  // Null takes the value out. `index` < kSize.
  void set(std::size_t index, std::shared_ptr<const T> value) {
    if (root_.use_count() > 1) {
      root_ = std::make_shared<Node>(*root_);
    }
    if constexpr (kLevels == 1) {
      (*root_)[index] = std::move(value);
    } else {
      (*root_)[index / Child::kSize].set(index % Child::kSize, std::move(value));
    }
  }

 private:
  using Child =
      std::conditional_t<kLevels == 1, std::shared_ptr<const T>, SharedArray<T, kLevels - 1>>;
  using Node = std::array<Child, kFan>;

  // So that no look-up asks whether there is a node.
  static const std::shared_ptr<Node>& empty() {
    static const auto node = std::make_shared<Node>();
    return node;
  }

  std::shared_ptr<Node> root_ = empty();  // written to only while nobody shares it
};

}  // namespace sluice
