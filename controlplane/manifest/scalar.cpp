// SPDX-License-Identifier: Apache-2.0
#include "controlplane/manifest/scalar.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <vector>

namespace sluice::manifest {
namespace {

constexpr std::size_t kShownMax = 60;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

char lower(char c) {
  return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
}

bool is_one_of(std::string_view text, const auto& words) {
  return std::find(words.begin(), words.end(), text) != words.end();
}

std::string_view without_sign(std::string_view text) {
  if (!text.empty() && (text.front() == '-' || text.front() == '+')) {
    text.remove_prefix(1);
  }
  return text;
}

bool is_whole(std::string_view text) {
  if (text.starts_with("0x") || text.starts_with("0o")) {
    text.remove_prefix(2);
    return !text.empty() && std::all_of(text.begin(), text.end(),
                                        [](unsigned char c) { return std::isxdigit(c) != 0; });
  }
  text = without_sign(text);
  return !text.empty() && std::all_of(text.begin(), text.end(), is_digit);
}

// [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?
bool is_fraction(std::string_view text) {
  text = without_sign(text);
  std::size_t at = 0;
  std::size_t digits = 0;
  const auto skip_digits = [&] {
    for (; at < text.size() && is_digit(text[at]); ++at) {
      ++digits;
    }
  };
  skip_digits();
  if (at < text.size() && text[at] == '.') {
    ++at;
    skip_digits();
  }
  if (digits == 0) {
    static constexpr std::array<std::string_view, 6> kSpecial = {".inf", ".Inf", ".INF",
                                                                 ".nan", ".NaN", ".NAN"};
    return is_one_of(text, kSpecial);
  }
  if (at < text.size() && lower(text[at]) == 'e') {
    const std::string_view exponent = without_sign(text.substr(at + 1));
    return !exponent.empty() && std::all_of(exponent.begin(), exponent.end(), is_digit);
  }
  return at == text.size();
}

// Bytes of the character that begins with `lead`; 0: none does.
std::size_t utf8_length(unsigned char lead) {
  if (lead < 0x80) {
    return 1;
  }
  if (lead < 0xc2 || lead > 0xf4) {
    return 0;
  }
  return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

// What YAML 1.1 makes of "12:30:45" (a number to the base 60) and "2024-05-01" (a date).
bool is_old_number_or_date(std::string_view text) {
  const std::string_view number = without_sign(text);
  const std::size_t digits = std::min(number.find_first_not_of("0123456789_"), number.size());
  if (digits == 0 || digits == number.size()) {
    return digits != 0;
  }
  if (number[digits] == ':') {
    return number.find_first_not_of("0123456789_:.") == std::string_view::npos;
  }
  return digits == 4 && number[digits] == '-';
}

}  // namespace

ScalarKind kind_of_plain(std::string_view text) {
  static constexpr std::array<std::string_view, 5> kNulls = {"", "~", "null", "Null", "NULL"};
  static constexpr std::array<std::string_view, 6> kBools = {"true",  "True",  "TRUE",
                                                             "false", "False", "FALSE"};
  if (is_one_of(text, kNulls)) {
    return ScalarKind::kNull;
  }
  if (is_one_of(text, kBools)) {
    return ScalarKind::kBool;
  }
  if (is_whole(text)) {
    return ScalarKind::kWhole;
  }
  return is_fraction(text) ? ScalarKind::kFraction : ScalarKind::kText;
}

ScalarKind kind_of(const YAML::Node& node) {
  const std::string& tag = node.Tag();
  if (tag == "!" || tag == "tag:yaml.org,2002:str") {
    return ScalarKind::kText;
  }
  return kind_of_plain(node.Scalar());
}

std::string describe(const YAML::Node& node) {
  if (node.IsMap()) {
    return "a mapping";
  }
  if (node.IsSequence()) {
    return "a list";
  }
  if (!node.IsScalar()) {
    return "nothing";
  }
  std::string shown = node.Scalar().substr(0, kShownMax);
  if (node.Scalar().size() > kShownMax) {
    shown += "...";
  }
  switch (kind_of(node)) {
    case ScalarKind::kBool:
      return fmt::format("the truth value {}", shown);
    case ScalarKind::kWhole:
    case ScalarKind::kFraction:
      return fmt::format("the number {}", shown);
    case ScalarKind::kNull:
      return "nothing";
    case ScalarKind::kText:
      break;
  }
  return fmt::format("the text '{}'", shown);
}

bool is_utf8(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const auto lead = static_cast<unsigned char>(text[at]);
    const std::size_t length = utf8_length(lead);
    if (length == 0 || at + length > text.size()) {
      return false;
    }
    for (std::size_t i = 1; i < length; ++i) {
      if ((static_cast<unsigned char>(text[at + i]) & 0xc0) != 0x80) {
        return false;
      }
    }
    // Overlong forms, surrogates and what lies above U+10FFFF show in the second byte.
    const auto second = length > 1 ? static_cast<unsigned char>(text[at + 1]) : 0U;
    if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) ||
        (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f)) {
      return false;
    }
    at += length;
  }
  return true;
}

bool needs_quotes(std::string_view text) {
  static constexpr std::array<std::string_view, 8> kOldBools = {"y",  "n",   "yes", "no",
                                                                "on", "off", "<<",  "="};
  std::string lowered(text);
  std::transform(lowered.begin(), lowered.end(), lowered.begin(), lower);
  if (kind_of_plain(text) != ScalarKind::kText || kind_of_plain(lowered) != ScalarKind::kText ||
      is_one_of(lowered, kOldBools) || is_old_number_or_date(text)) {
    return true;
  }
  const auto first = static_cast<unsigned char>(text.front());
  if (std::isalnum(first) == 0 && first != '/' && first != '_' &&
      !(first == ':' && text.size() > 1 && text[1] == ':')) {
    return true;
  }
  if (text.back() == ' ' || text.back() == ':') {
    return true;
  }
  const auto harmless = [](unsigned char c) { return c >= 0x20 && c < 0x7f; };
  return !std::all_of(text.begin(), text.end(), harmless) ||
         text.find(": ") != std::string_view::npos || text.find(" #") != std::string_view::npos;
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) {
    row[j] = j;
  }
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      const std::size_t change = lower(a[i - 1]) == lower(b[j - 1]) ? 0 : 1;
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + change});
      diagonal = above;
    }
  }
  return row[b.size()];
}

}  // namespace sluice::manifest
