// SPDX-License-Identifier: Apache-2.0
// Mutations that leave JSON JSON: octets changed by chance rarely do.
#pragma once

#include <random>
#include <string>

namespace sluice::testing {

// Of a stream with one object a line: one of them is another, some lines are there twice.
[[nodiscard]] std::string mutated(const std::string& stream, std::minstd_rand& random);

}  // namespace sluice::testing
