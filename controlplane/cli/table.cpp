// SPDX-License-Identifier: Apache-2.0
#include "controlplane/cli/table.h"

#include <fmt/format.h>

#include <algorithm>

namespace sluice::cli {
namespace {

constexpr std::size_t kGap = 3;

// What stands in a cell: text of others must not steer the terminal.
std::string shown(const std::string& cell) {
  if (cell.empty()) {
    return "<none>";
  }
  std::string text = cell;
  std::replace_if(
      text.begin(), text.end(),
      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  return text;
}

std::size_t width_of(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;  // not the rest of a UTF-8 character
  }));
}

}  // namespace

Widths widths_of(const Table& table) {
  Widths widths(table.header.size(), 0);
  const auto widen = [&](const Row& row) {
    for (std::size_t i = 0; i < row.size() && i < widths.size(); ++i) {
      widths[i] = std::max(widths[i], width_of(shown(row[i])));
    }
  };
  widen(table.header);
  std::for_each(table.rows.begin(), table.rows.end(), widen);
  return widths;
}

std::string render(const Row& row, const Widths& widths) {
  std::string line;
  for (std::size_t i = 0; i < row.size(); ++i) {
    const std::string text = shown(row[i]);
    line += text;
    if (i + 1 < row.size()) {
      const std::size_t width = i < widths.size() ? widths[i] : 0;
      line.append(std::max(width, width_of(text)) - width_of(text) + kGap, ' ');
    }
  }
  line += '\n';
  return line;
}

std::string render(const Table& table) {
  const Widths widths = widths_of(table);
  std::string text = render(table.header, widths);
  for (const Row& row : table.rows) {
    text += render(row, widths);
  }
  return text;
}

std::string duration_text(std::chrono::seconds duration) {
  const auto total = std::max<std::int64_t>(duration.count(), 0);
  constexpr std::int64_t kMinute = 60;
  constexpr std::int64_t kHour = 60 * kMinute;
  constexpr std::int64_t kDay = 24 * kHour;
  const auto two = [](std::int64_t big, char big_unit, std::int64_t small, char small_unit) {
    return small == 0 ? fmt::format("{}{}", big, big_unit)
                      : fmt::format("{}{}{}{}", big, big_unit, small, small_unit);
  };
  if (total < 2 * kMinute) {
    return fmt::format("{}s", total);
  }
  if (total < kHour) {
    return two(total / kMinute, 'm', total % kMinute, 's');
  }
  if (total < kDay) {
    return two(total / kHour, 'h', total % kHour / kMinute, 'm');
  }
  return two(total / kDay, 'd', total % kDay / kHour, 'h');
}

std::string nanoseconds_text(std::uint64_t nanoseconds) {
  const auto value = static_cast<double>(nanoseconds);
  if (nanoseconds < 1'000) {
    return fmt::format("{} ns", nanoseconds);
  }
  if (nanoseconds < 100'000) {
    return fmt::format("{:.1f} us", value / 1e3);
  }
  if (nanoseconds < 1'000'000'000) {
    return fmt::format("{:.2f} ms", value / 1e6);
  }
  return fmt::format("{:.2f} s", value / 1e9);
}

std::string join(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) {
    text += fmt::format("{}{}", text.empty() ? "" : ",", part);
  }
  return text;
}

}  // namespace sluice::cli
