// SPDX-License-Identifier: Apache-2.0
#include "controlplane/cli/manifests.h"

#include <gtest/gtest.h>

namespace sluice::cli {
namespace {

std::vector<Source> sources() {
  const std::string head = "apiVersion: v1\nkind: Service\n";
  manifest::Documents first = manifest::read_documents(
      head + "metadata: {name: a}\n---\n" + head +
      "metadata:\n  name: b\nspec:\n  ports:\n  - port: 80\n  - port: 81\n");
  manifest::Documents second = manifest::read_documents(head + "metadata: {name: c}\n");
  std::vector<Source> all;
  for (manifest::Document& document : first.documents) {
    all.push_back({"one.yaml", std::move(document)});
  }
  all.push_back({"two.yaml", std::move(second.documents[0])});
  return all;
}

TEST(Locate, TurnsAPlaceInTheRequestIntoAPlaceInAFile) {
  const auto fault = locate({"upsert[1].spec.ports[1].port", "is wrong"}, sources());
  ASSERT_TRUE(fault);
  EXPECT_EQ(*fault, (FileFault{"one.yaml", 2, "spec.ports[1].port", "is wrong", 12, false}));
  EXPECT_EQ(to_string(*fault), "one.yaml:12: document 2: spec.ports[1].port: is wrong");
  EXPECT_EQ(to_string(*locate({"upsert[2].metadata.name", "x"}, sources())),
            "two.yaml:3: document 1: metadata.name: x");
  EXPECT_EQ(to_string(*locate({"upsert[0]", "x"}, sources())), "one.yaml:1: document 1: x");
}

TEST(Locate, KnowsDeletesToo) {
  EXPECT_EQ(to_string(*locate({"delete[1].name", "x"}, sources())),
            "one.yaml:8: document 2: metadata.name: x");
  EXPECT_EQ(to_string(*locate({"delete[0]", "x"}, sources())),
            "one.yaml:3: document 1: metadata: x");
}

TEST(Locate, LeavesWhatIsNotOfTheFilesAlone) {
  for (const char* field : {"provider", "upsert", "upsert[3].spec", "upsert[", "upsert[x].a",
                            "upserts[0]", "upsert[99999999999999999999].a", ""}) {
    EXPECT_FALSE(locate({field, "x"}, sources())) << field;
  }
}

FileFault at(const char* file, int line, const char* path, const char* message) {
  return {file, 1, path, message, line, false};
}

TEST(Merge, SortsByFileAndLine) {
  std::vector<FileFault> faults = {at("b", 9, "x", "1"), at("a", 5, "y", "2")};
  merge(faults, {at("a", 1, "z", "3"), at("b", 2, "w", "4")});
  EXPECT_EQ(faults, (std::vector<FileFault>{at("b", 2, "w", "4"), at("b", 9, "x", "1"),
                                            at("a", 1, "z", "3"), at("a", 5, "y", "2")}));
}

TEST(Merge, AValueThatCouldNotBeReadHasOneFaultOnly) {
  std::vector<FileFault> faults = {at("a", 5, "spec.ports[1].port", "no number"),
                                   at("a", 6, "spec.endpoints[0]", "no mapping")};
  merge(faults, {at("a", 5, "spec.ports[1].port", "0 is no port"),
                 at("a", 6, "spec.endpoints[0].addresses", "exactly one"),
                 at("a", 5, "spec.ports[1].ports", "kept"),
                 at("b", 5, "spec.ports[1].port", "of another file, kept")});
  std::vector<std::string> messages;
  for (const FileFault& fault : faults) {
    messages.push_back(fault.message);
  }
  EXPECT_EQ(messages,
            (std::vector<std::string>{"no number", "kept", "no mapping", "of another file, kept"}));
}

TEST(Merge, OfAValueGivenTwiceAllFaultsAreKept) {
  FileFault twice = at("a", 5, "spec.ports[1].port", "given twice");
  twice.value_kept = true;
  std::vector<FileFault> faults = {twice};
  merge(faults, {at("a", 4, "spec.ports[1].port", "0 is no port")});
  EXPECT_EQ(faults.size(), 2U);
}

TEST(ReadManifests, AFileWithoutADocumentIsAFault) {
  const Manifests manifests = read_manifests({"/dev/null", "/absent/file.yaml"});
  ASSERT_EQ(manifests.faults.size(), 2U);
  EXPECT_EQ(to_string(manifests.faults[0]), "/dev/null: there is no document in it");
  EXPECT_EQ(to_string(manifests.faults[1]),
            "/absent/file.yaml: cannot be read: No such file or directory");
}

}  // namespace
}  // namespace sluice::cli
