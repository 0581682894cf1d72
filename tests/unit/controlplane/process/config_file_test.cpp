// SPDX-License-Identifier: Apache-2.0
#include "controlplane/process/config_file.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

#include "sluice/v1/kubernetes.pb.h"

namespace sluice::process {
namespace {

model::Result<std::string> provider_of(const v1::KubernetesConfig& message) {
  if (message.provider().empty()) {
    return model::Error{.message = "it is bad",
                        .faults = {{"provider", "it is missing"}, {"gateways", "as well"}}};
  }
  return message.provider();
}

class ConfigFile : public ::testing::Test {
 protected:
  const std::string file_ = ::testing::TempDir() + "sluice_config_file_test.yaml";

  ~ConfigFile() override { std::remove(file_.c_str()); }

  // What is told of it, or "VALUE".
  std::string read(const std::string& text) const {
    std::ofstream(file_) << text;
    ::testing::internal::CaptureStderr();
    const auto value = read_config("program", file_, &provider_of);
    const std::string told = ::testing::internal::GetCapturedStderr();
    EXPECT_EQ(value.has_value(), told.empty());
    return value.value_or(told);
  }
};

TEST_F(ConfigFile, AValidOneIsItsValue) {
  EXPECT_EQ(read("provider: cluster-a\n"), "cluster-a");
}

TEST_F(ConfigFile, EachFaultOfItsFormIsALine) {
  EXPECT_EQ(read("provider: cluster-a\ncolour: 1\nshape: 2\n"),
            "program: " + file_ + ": line 2: colour: unknown field\n" + "program: " + file_ +
                ": line 3: shape: unknown field\n");
}

TEST_F(ConfigFile, EachFaultOfItsMeaningIsALine) {
  EXPECT_EQ(read(""), "program: " + file_ + ": provider: it is missing\n" + "program: " + file_ +
                          ": gateways: as well\n");
}

}  // namespace
}  // namespace sluice::process
