// SPDX-License-Identifier: Apache-2.0
// The bash script is run by bash; the others are held to name the same words.
#include "controlplane/cli/completion.h"

#include "tests/unit/controlplane/cli/fake_gateway.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <memory>

namespace sluice::cli {
namespace {

std::string output_of(const std::string& command) {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(command.c_str(), "r"), &::pclose);
  std::string text;
  std::array<char, 4096> block{};
  while (const std::size_t count = std::fread(block.data(), 1, block.size(), pipe.get())) {
    text.append(block.data(), count);
  }
  return text;
}

// What bash offers for the words typed so far, the last of them unfinished; sorted.
std::string offered(const FakeGateway& gateway, const std::string& words) {
  const std::string script = "source " +
                             gateway.write("completion.bash", completion_script("bash")) +
                             "\nCOMP_WORDS=(" SLUICECTL " " + words +
                             ")\nCOMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_sluicectl\n"
                             "printf '%s\\n' \"${COMPREPLY[@]}\" | sort | tr '\\n' ' '\n";
  return output_of("SLUICE_SERVER=" + gateway.address() + " bash " +
                   gateway.write("try.bash", script) + " 2>&1");
}

TEST(BashCompletion, KnowsCommandsKindsFlagsAndOutputs) {
  const FakeGateway gateway;
  EXPECT_EQ(offered(gateway, "''"),
            "apply completion delete describe doctor drain explain expose flows get port-forward "
            "role status "
            "undrain version ");
  EXPECT_EQ(offered(gateway, "g"), "get ");
  EXPECT_EQ(offered(gateway, "expose --ty"), "--type ");
  EXPECT_EQ(offered(gateway, "-n shop get ''"),
            "backends drops events flows pools ports providers services ");
  EXPECT_EQ(offered(gateway, "get services -o ''"), "json name table wide yaml ");
  EXPECT_EQ(offered(gateway, "apply --re"), "--replace ");
  EXPECT_EQ(offered(gateway, "completion ''"), "bash fish zsh ");
  EXPECT_EQ(offered(gateway, "explain --protocol ''"), "tcp udp ");
}

TEST(BashCompletion, AsksTheGatewayForNames) {
  FakeGateway gateway;
  for (const char* name : {"web", "web-admin", "db"}) {
    auto* meta = gateway.services.add_services()->mutable_service()->mutable_metadata();
    meta->set_name(name);
  }
  gateway.ports.add_ports()->set_name("wan0");
  EXPECT_EQ(offered(gateway, "get services ''"), "db web web-admin ");
  EXPECT_EQ(offered(gateway, "-n shop delete service w"), "web web-admin ");
  EXPECT_EQ(gateway.services_request.namespace_(), "shop");
  EXPECT_EQ(offered(gateway, "get flows --service d"), "db ");
  EXPECT_EQ(offered(gateway, "get port ''"), "wan0 ");
}

TEST(BashCompletion, IsSilentWithoutAGateway) {
  FakeGateway gateway;
  gateway.stop();
  EXPECT_EQ(offered(gateway, "get services ''"), " ");
}

TEST(Completion, EveryShellKnowsTheSameWords) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const std::string script = completion_script(shell);
    for (const char* word : {"apply",
                             "delete",
                             "get",
                             "status",
                             "explain",
                             "completion",
                             "version",
                             "services",
                             "backends",
                             "ports",
                             "flows",
                             "list",
                             "state",
                             "half_open",
                             "drops",
                             "providers",
                             "pools",
                             "events",
                             "describe",
                             "port-forward",
                             "role",
                             "standby",
                             "drain",
                             "undrain",
                             "deadline",
                             "address",
                             "table wide json yaml name",
                             "filename",
                             "replace",
                             "dry-run",
                             "expected-revision",
                             "watch",
                             "client",
                             "backend",
                             "service",
                             "limit",
                             "from",
                             "to",
                             "protocol",
                             "port",
                             "namespace",
                             "all-namespaces",
                             "output",
                             "provider",
                             "server",
                             "timeout",
                             "-o name"}) {
      EXPECT_NE(script.find(word), std::string::npos) << shell << ": " << word;
    }
  }
}

}  // namespace
}  // namespace sluice::cli
