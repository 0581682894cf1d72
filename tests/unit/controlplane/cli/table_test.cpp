// SPDX-License-Identifier: Apache-2.0
#include "controlplane/cli/table.h"

#include <gtest/gtest.h>

namespace sluice::cli {
namespace {

TEST(Table, ColumnsAreAlignedAndNothingTrails) {
  const Table table{{"NAME", "STATE"}, {{"a-long-name", "active"}, {"b", "draining"}}};
  EXPECT_EQ(render(table),
            "NAME          STATE\n"
            "a-long-name   active\n"
            "b             draining\n");
}

TEST(Table, AnEmptyCellIsNamed) {
  EXPECT_EQ(render(Table{{"A", "B"}, {{"", "x"}, {"y", ""}}}),
            "A        B\n"
            "<none>   x\n"
            "y        <none>\n");
}

TEST(Table, TextOfOthersDoesNotSteerTheTerminal) {
  EXPECT_EQ(render(Row{"a\x1b[2Jb\nc"}, {}), "a?[2Jb?c\n");
}

TEST(Table, WidthIsCountedInCharacters) {
  EXPECT_EQ(render(Table{{"A", "B"}, {{"\xc3\xa4\xc3\xb6", "x"}, {"cd", "y"}}}),
            "A    B\n\xc3\xa4\xc3\xb6   x\ncd   y\n");
}

TEST(Table, ALaterRowKeepsToTheColumnsOfTheFirstOnes) {
  const Widths widths = widths_of(Table{{"NAME", "B"}, {{"abcdef", "x"}}});
  EXPECT_EQ(render(Row{"g", "y"}, widths), "g        y\n");
  EXPECT_EQ(render(Row{"wider-than-that", "y"}, widths), "wider-than-that   y\n");
}

TEST(DurationText, HasTwoUnitsAtMost) {
  using std::chrono::seconds;
  const std::pair<int, const char*> cases[] = {
      {-5, "0s"},   {0, "0s"},      {119, "119s"},      {120, "2m"},    {200, "3m20s"},
      {3600, "1h"}, {3700, "1h1m"}, {86'399, "23h59m"}, {86'400, "1d"}, {93'600, "1d2h"},
  };
  for (const auto& [count, text] : cases) {
    EXPECT_EQ(duration_text(seconds(count)), text);
  }
}

TEST(NanosecondsText, HasAUnitThatFits) {
  EXPECT_EQ(nanoseconds_text(850), "850 ns");
  EXPECT_EQ(nanoseconds_text(12'345), "12.3 us");
  EXPECT_EQ(nanoseconds_text(420'000), "0.42 ms");
  EXPECT_EQ(nanoseconds_text(1'500'000'000), "1.50 s");
}

}  // namespace
}  // namespace sluice::cli
