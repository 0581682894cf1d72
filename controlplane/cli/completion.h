// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace sluice::cli {

// `shell` is bash, zsh or fish. Names of services are completed by asking the gateway.
[[nodiscard]] std::string completion_script(std::string_view shell);

}  // namespace sluice::cli
