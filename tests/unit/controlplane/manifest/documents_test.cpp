// SPDX-License-Identifier: Apache-2.0
#include "controlplane/manifest/manifest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

#include "sluice/v1/config.pb.h"
#include "sluice/v1/kubernetes.pb.h"

namespace sluice::manifest {
namespace {

constexpr const char* kHead = "apiVersion: v1\nkind: Service\n";

std::vector<std::string> paths_of(const std::vector<Fault>& faults) {
  std::vector<std::string> paths;
  for (const Fault& fault : faults) {
    paths.push_back(fault.path);
  }
  return paths;
}

class Folder {
 public:
  Folder() {
    std::string pattern = std::filesystem::temp_directory_path() / "sluice-manifest-XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string write(const std::string& name, const std::string& text) const {
    const std::filesystem::path file = path_ / name;
    std::ofstream(file) << text;
    return file;
  }
  [[nodiscard]] std::string path() const { return path_; }

 private:
  std::filesystem::path path_;
};

TEST(Documents, EachIsReadWithItsIndexAndLine) {
  const Documents read = read_documents(std::string(kHead) +
                                        "metadata: {name: a}\n"
                                        "---\n" +
                                        kHead + "metadata: {name: b}\n");
  EXPECT_TRUE(read.faults.empty());
  ASSERT_EQ(read.documents.size(), 2U);
  EXPECT_EQ(read.documents[0].service.metadata().name(), "a");
  EXPECT_EQ(read.documents[1].service.metadata().name(), "b");
  EXPECT_EQ(read.documents[1].index, 1U);
  EXPECT_EQ(read.documents[1].line, 5);
  EXPECT_EQ(read.documents[1].kind, "Service");
  EXPECT_EQ(read.documents[1].api_version, "v1");
}

TEST(Documents, EmptyOnesAreCountedAndLeftOut) {
  const Documents read = read_documents(std::string("---\n---\n") + kHead + "spec: 1\n---\n");
  ASSERT_EQ(read.documents.size(), 1U);
  EXPECT_EQ(read.documents[0].index, 1U);
  EXPECT_EQ(paths_of(read.faults), std::vector<std::string>{"documents[1].spec"});
}

TEST(Documents, FaultsOfAllOfThemComeTogether) {
  const Documents read = read_documents(
      "kind: Service\nspec: {prots: 1}\n"
      "---\n"
      "- a\n"
      "---\n"
      "apiVersion: v2\nkind: Pod\nkind: Service\nmetadata: {name: 1}\n");
  std::vector<std::string> found = paths_of(read.faults);
  std::sort(found.begin(), found.end());
  EXPECT_EQ(found, (std::vector<std::string>{"documents[0].apiVersion", "documents[0].spec.prots",
                                             "documents[1]", "documents[2].apiVersion",
                                             "documents[2].kind", "documents[2].kind",
                                             "documents[2].metadata.name"}));
  EXPECT_EQ(read.faults[0].message, "missing; expected 'v1'");
  EXPECT_EQ(read.faults[2].message, "expected a mapping, got a list");
  EXPECT_EQ(read.faults[2].line, 4);
  EXPECT_EQ(read.documents.size(), 2U);
}

TEST(Documents, AnotherKindOrVersionIsNamed) {
  const Documents read = read_documents("apiVersion: v2\nkind: ConfigMap\n");
  ASSERT_EQ(read.faults.size(), 2U);
  EXPECT_EQ(to_string(read.faults[0]), "line 1: documents[0].apiVersion: expected 'v1', got 'v2'");
  EXPECT_EQ(to_string(read.faults[1]),
            "line 2: documents[0].kind: expected 'Service', got 'ConfigMap'");
}

TEST(Documents, BrokenYamlIsAFaultWithItsLineAndNoException) {
  const char* broken[] = {
      "a: [1, 2\nb: c", "a: b: c", "\t- a", "a: \"open",     "*nobody", "%YAML 9\n",
      "a: 1\n b: 2",    "{",       "]",     "a: !!binary [", "? [",     "&a &b c"};
  for (const char* text : broken) {
    Documents read;
    EXPECT_NO_THROW(read = read_documents(text)) << text;
    EXPECT_FALSE(read.faults.empty()) << text;
  }
  const Documents read = read_documents("a: b\nc: [1, 2\nd: e\n");
  ASSERT_EQ(read.faults.size(), 1U);
  EXPECT_TRUE(read.faults[0].message.starts_with("not valid YAML: ")) << read.faults[0].message;
  EXPECT_GT(read.faults[0].line, 1);
}

TEST(Documents, NestingWithoutEndIsAFault) {
  const Documents read = read_documents(std::string(100'000, '['));
  ASSERT_EQ(read.faults.size(), 1U);
}

TEST(Documents, AnyBytesAreReadOrRefusedButNeverThrow) {
  std::uint32_t state = 12345;
  const std::string alphabet = "abc:-[]{}\"'#&*!|>%@`,?\n \t019~\xff\xc3\xa4";
  for (int round = 0; round < 3000; ++round) {
    std::string text = round % 2 == 0 ? std::string(kHead) : std::string{};
    for (int i = 0; i < 40; ++i) {
      state = state * 1664525U + 1013904223U;
      text += alphabet[(state >> 16U) % alphabet.size()];
    }
    EXPECT_NO_THROW((void)read_documents(text)) << text;
  }
}

TEST(LineOf, FollowsAPathAsFarAsItGoes) {
  const Documents read = read_documents(std::string(kHead) +
                                        "metadata:\n"     // 3
                                        "  labels:\n"     // 4
                                        "    a.b/c: d\n"  // 5
                                        "spec:\n"         // 6
                                        "  ports:\n"      // 7
                                        "  - port: 80\n"  // 8
                                        "  - port: 81\n"  // 9
                                        "    target_port: 8081\n"
                                        "  load_balancer_ips:\n"
                                        "  - 192.0.2.1\n");
  ASSERT_EQ(read.documents.size(), 1U);
  const YAML::Node& node = read.documents[0].node;
  EXPECT_EQ(line_of(node, "metadata.labels[a.b/c]"), 5);
  EXPECT_EQ(line_of(node, "spec.ports[1].port"), 9);
  EXPECT_EQ(line_of(node, "spec.ports[1].targetPort"), 10);
  EXPECT_EQ(line_of(node, "spec.ports[1].nodePort"), 9);
  EXPECT_EQ(line_of(node, "spec.loadBalancerIPs[0]"), 12);
  EXPECT_EQ(line_of(node, "spec.loadBalancerIPs[7]"), 11);
  EXPECT_EQ(line_of(node, "spec.endpoints[0].addresses[0]"), 6);
  EXPECT_EQ(line_of(node, "metadata.name"), 3);
  EXPECT_EQ(line_of(node, "status"), 1);
  EXPECT_EQ(line_of(node, ""), 1);
  for (const char* odd : {"[", "]", ".", "spec.ports[", "spec.ports[x]", "spec..ports", "a[0]b"}) {
    EXPECT_GE(line_of(node, odd), 1) << odd;
  }
}

TEST(Load, SaysWhyAFileCannotBeRead) {
  const Folder folder;
  std::string text;
  EXPECT_EQ(load(folder.path() + "/absent", text),
            (std::vector<Fault>{{"", "cannot be read: No such file or directory", 0}}));
  EXPECT_EQ(load(folder.path(), text),
            (std::vector<Fault>{{"", "cannot be read: it is a directory", 0}}));
}

TEST(Load, ReadsAFileOrStandardInputWhole) {
  const Folder folder;
  const std::string content(200'000, 'x');
  std::string text = "before";
  EXPECT_TRUE(load(folder.write("file", content), text).empty());
  EXPECT_EQ(text, content);

  std::istringstream input("from a pipe");
  std::streambuf* before = std::cin.rdbuf(input.rdbuf());
  EXPECT_TRUE(load("-", text).empty());
  std::cin.rdbuf(before);
  EXPECT_EQ(text, "from a pipe");
}

TEST(ReadFile, ReadsAConfiguration) {
  const Folder folder;
  v1::GatewayConfig config;
  EXPECT_TRUE(
      read_file(folder.write("a.yaml", "ports: [{name: wan0, mtu: 9000}]"), config).empty());
  EXPECT_EQ(config.ports(0).mtu(), 9000U);
  const auto faults = read_file(folder.write("b.yaml", "ports:\n- mtu: big\n"), config);
  ASSERT_EQ(faults.size(), 1U);
  EXPECT_EQ(faults[0].path, "ports[0].mtu");
  EXPECT_EQ(faults[0].line, 2);
}

TEST(Examples, AreAllReadWithoutFault) {
  int configurations = 0;
  int manifests = 0;
  for (const auto& entry : std::filesystem::directory_iterator(SLUICE_EXAMPLES)) {
    if (entry.path().extension() != ".yaml") {
      continue;
    }
    const bool is_configuration = entry.path().filename().string().starts_with("sluiced");
    std::string text;
    ASSERT_TRUE(load(entry.path(), text).empty()) << entry.path();
    v1::GatewayConfig config;
    std::vector<Fault> faults;
    if (is_configuration) {
      faults = read_text(text, config);
      EXPECT_GT(config.ports_size(), 0) << entry.path();
      EXPECT_GT(config.snat_size(), 0) << entry.path();
    } else if (entry.path().filename() == "sluice-k8s.yaml") {
      v1::KubernetesConfig adapter;
      faults = read_text(text, adapter);
      EXPECT_GT(adapter.gateways_size(), 0);
    } else {
      Documents read = read_documents(text);
      EXPECT_FALSE(read.documents.empty()) << entry.path();
      faults = std::move(read.faults);
    }
    for (const Fault& fault : faults) {
      ADD_FAILURE() << entry.path() << ": " << to_string(fault);
    }
    ++(is_configuration ? configurations : manifests);
  }
  EXPECT_GE(configurations, 4);
  EXPECT_GE(manifests, 1);
}

}  // namespace
}  // namespace sluice::manifest
