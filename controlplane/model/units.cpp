// SPDX-License-Identifier: Apache-2.0
// Durations and sizes as text with a unit, as configuration and manifests write them.
#include "controlplane/model/config.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

namespace sluice::model {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};
constexpr std::array<Unit, 5> kDurations{
    {{"us", 1}, {"ms", 1'000}, {"s", 1'000'000}, {"m", 60'000'000}, {"h", 3'600'000'000}}};
constexpr std::array<Unit, 4> kSizes{
    {{"", 1}, {"KiB", 1ULL << 10U}, {"MiB", 1ULL << 20U}, {"GiB", 1ULL << 30U}}};

// Reads "12unit" at the front of `text`; removes it.
template <std::size_t N>
std::optional<std::uint64_t> take(std::string_view& text, const std::array<Unit, N>& units) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) {
    return std::nullopt;
  }
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  const std::size_t length = std::min(text.find_first_of("0123456789"), text.size());
  const std::string_view unit = text.substr(0, length);
  for (const Unit& known : units) {
    if (known.name == unit && number <= UINT64_MAX / known.factor / 4) {
      text.remove_prefix(length);
      return number * known.factor;
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::uint64_t> parse_duration_us(const std::string& text) {
  std::string_view rest = text;
  std::uint64_t total = 0;
  if (rest.empty()) {
    return std::nullopt;
  }
  while (!rest.empty()) {
    const auto part = take(rest, kDurations);
    if (!part) {
      return std::nullopt;
    }
    if (*part > UINT64_MAX - total) {
      return std::nullopt;
    }
    total += *part;
  }
  return total;
}

std::string duration_text(std::uint64_t milliseconds) {
  std::string text;
  for (const auto& [unit, factor] : {std::pair{"h", 3'600'000ULL}, {"m", 60'000ULL}}) {
    if (milliseconds >= factor) {
      text += std::to_string(milliseconds / factor) + unit;
      milliseconds %= factor;
    }
  }
  if (milliseconds % 1'000 != 0) {
    return text + std::to_string(milliseconds) + "ms";
  }
  return milliseconds == 0 && !text.empty() ? text
                                            : text + std::to_string(milliseconds / 1'000) + "s";
}

std::optional<std::uint64_t> parse_size(const std::string& text) {
  std::string_view rest = text;
  const auto size = take(rest, kSizes);
  return rest.empty() ? size : std::nullopt;
}

}  // namespace sluice::model
