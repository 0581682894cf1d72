// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace sluice::cli {

using Row = std::vector<std::string>;

// Columns for people: aligned left, three spaces apart, "<none>" where a cell is empty.
struct Table {
  Row header;
  std::vector<Row> rows;
};

using Widths = std::vector<std::size_t>;

[[nodiscard]] Widths widths_of(const Table& table);
// One line with its newline. Cells wider than their column push what follows to the right.
[[nodiscard]] std::string render(const Row& row, const Widths& widths);
[[nodiscard]] std::string render(const Table& table);

// "a,b,c".
[[nodiscard]] std::string join(const std::vector<std::string>& parts);

// Two significant units: "45s", "3m20s", "5h2m", "12d4h".
[[nodiscard]] std::string duration_text(std::chrono::seconds duration);
// "850 ns", "12.3 us", "0.42 ms" (from 0.1 ms on), "1.50 s".
[[nodiscard]] std::string nanoseconds_text(std::uint64_t nanoseconds);

}  // namespace sluice::cli
