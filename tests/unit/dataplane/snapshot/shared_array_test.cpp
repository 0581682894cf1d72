// SPDX-License-Identifier: Apache-2.0
#include "dataplane/snapshot/shared_array.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <vector>

namespace sluice {
namespace {

using Array = SharedArray<int, 3>;

TEST(SharedArray, HasRoomForSixteenToThePowerOfItsLevels) {
  static_assert(Array::kSize == 4'096 && SharedArray<int, 1>::kSize == 16);
  Array array;
  array.set(Array::kSize - 1, std::make_shared<int>(7));
  EXPECT_EQ(*array.find(Array::kSize - 1), 7);
  EXPECT_EQ(array.find(0), nullptr);
}

TEST(SharedArray, EveryCopyGoesOnSayingWhatItSaid) {
  std::mt19937_64 random(1);
  std::vector<std::pair<Array, std::map<std::size_t, int>>> versions(1);
  for (int step = 0; step < 50; ++step) {
    auto [array, model] = versions[random() % versions.size()];
    for (int i = 0; i < 40; ++i) {
      const std::size_t index = random() % Array::kSize;
      if (random() % 4 == 0) {
        array.set(index, nullptr);
        model.erase(index);
      } else {
        const int value = static_cast<int>(random() % 1'000);
        array.set(index, std::make_shared<int>(value));
        model[index] = value;
      }
    }
    versions.emplace_back(std::move(array), std::move(model));
  }
  for (const auto& [array, model] : versions) {
    for (std::size_t index = 0; index < Array::kSize; ++index) {
      const auto expected = model.find(index);
      ASSERT_EQ(array.find(index) != nullptr, expected != model.end()) << index;
      if (expected != model.end()) {
        ASSERT_EQ(*array.find(index), expected->second) << index;
      }
    }
  }
}

TEST(SharedArray, SharesWhatWasNotSetAnew) {
  Array before;
  for (std::size_t index = 0; index < Array::kSize; ++index) {
    before.set(index, std::make_shared<int>(static_cast<int>(index)));
  }
  Array after = before;
  after.set(100, std::make_shared<int>(0));
  for (std::size_t index = 0; index < Array::kSize; ++index) {
    EXPECT_EQ(before.find(index) == after.find(index), index != 100) << index;
  }
}

TEST(SharedArray, AValueLivesAsLongAsACopyHasIt) {
  auto value = std::make_shared<int>(1);
  const std::weak_ptr<int> watched = value;
  Array one;
  one.set(5, std::move(value));
  Array other = one;
  one.set(5, nullptr);
  EXPECT_FALSE(watched.expired());
  other = {};
  EXPECT_TRUE(watched.expired());
}

}  // namespace
}  // namespace sluice
