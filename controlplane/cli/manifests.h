// SPDX-License-Identifier: Apache-2.0
// The files of `apply` and `delete`, and faults with their place in them, whoever found them:
// the reader of the files (form) or the gateway (meaning).
#pragma once

#include "controlplane/client/error.h"
#include "controlplane/manifest/manifest.h"

#include <optional>
#include <string>
#include <vector>

namespace sluice::cli {

struct FileFault {
  std::string file;
  std::optional<std::size_t> document;  // from 1; nothing: the file as a whole
  std::string path;                     // below the document
  std::string message;
  int line = 0;             // 0: unknown
  bool value_kept = false;  // what else is wrong with the value is still worth saying

  friend bool operator==(const FileFault&, const FileFault&) = default;
};

// "web.yaml:7: document 1: spec.ports[1].port: expected ..."
[[nodiscard]] std::string to_string(const FileFault& fault);

struct Source {
  std::string file;
  manifest::Document document;
};

struct Manifests {
  std::vector<Source> sources;  // in the order of the files, then of the documents
  std::vector<FileFault> faults;
};

[[nodiscard]] Manifests read_manifests(const std::vector<std::string>& files);

// A fault of the gateway at "upsert[2].spec.ports[0].port" or "delete[2].name", the index being
// that of `sources`. Nothing when the field is not of the files ("provider").
[[nodiscard]] std::optional<FileFault> locate(const client::FieldViolation& violation,
                                              const std::vector<Source>& sources);

// Adds those of `found` whose place has no fault yet (a port that could not be read is 0 to the
// gateway), and sorts by file and line.
void merge(std::vector<FileFault>& faults, const std::vector<FileFault>& found);

}  // namespace sluice::cli
