// SPDX-License-Identifier: Apache-2.0
// What CLI11 cannot say of what was typed. Each returns what is wrong, or nothing.
#pragma once

#include "controlplane/cli/options.h"

#include <string>
#include <vector>

namespace sluice::cli {

// Options that do not go together, or that the command would not look at: who typed them was
// mistaken.
[[nodiscard]] std::string check(const Options& options);

// Of doctor, whose gateways are those of sluice-k8s's configuration, and of completion. The
// environment may name one all the same.
[[nodiscard]] std::string check_asks_no_gateway(const std::vector<std::string>& arguments);

}  // namespace sluice::cli
