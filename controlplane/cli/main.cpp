// SPDX-License-Identifier: Apache-2.0
#include "controlplane/cli/session.h"

#include <exception>
#include <iostream>
#include <string>
#include <vector>

int main(int argc, char** argv) {
  try {
    return sluice::cli::run(std::vector<std::string>(argv + 1, argv + argc), std::cout, std::cerr);
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return sluice::cli::kUsage;
  }
}
