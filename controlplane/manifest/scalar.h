// SPDX-License-Identifier: Apache-2.0
// What a plain scalar of YAML stands for, by the core schema of YAML 1.2.
#pragma once

#include <yaml-cpp/yaml.h>

#include <string>
#include <string_view>

namespace sluice::manifest {

enum class ScalarKind { kText, kBool, kWhole, kFraction, kNull };

// Of text that is not in quotes.
[[nodiscard]] ScalarKind kind_of_plain(std::string_view text);

// Of a scalar node: quoted or tagged `!!str` is always text.
[[nodiscard]] ScalarKind kind_of(const YAML::Node& node);

// "text 'http'", "the number 80", "a list": for "expected ..., got ...".
[[nodiscard]] std::string describe(const YAML::Node& node);

// Protobuf refuses to send strings that are not UTF-8.
[[nodiscard]] bool is_utf8(std::string_view text);

// Whether a reader of YAML 1.1 or 1.2 takes the plain `text` for anything but this very text.
[[nodiscard]] bool needs_quotes(std::string_view text);

// How many letters have to be changed, added or left out; letter case does not count.
[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b);

}  // namespace sluice::manifest
