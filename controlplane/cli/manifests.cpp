// SPDX-License-Identifier: Apache-2.0
#include "controlplane/cli/manifests.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace sluice::cli {
namespace {

std::string shown(const std::string& file) {
  return file == "-" ? "<stdin>" : file;
}

// "name[12]rest" -> 12 and "rest", for that very name.
std::optional<std::size_t> take_index(std::string_view& path, std::string_view name) {
  if (!path.starts_with(name) || !path.substr(name.size()).starts_with('[')) {
    return std::nullopt;
  }
  const std::string_view rest = path.substr(name.size() + 1);
  std::size_t index = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), index);
  const auto length = static_cast<std::size_t>(end - rest.data());
  if (error != std::errc{} || length >= rest.size() || rest[length] != ']') {
    return std::nullopt;
  }
  path = rest.substr(length + 1);
  if (path.starts_with('.')) {
    path.remove_prefix(1);
  }
  return index;
}

FileFault file_fault(const std::string& file, manifest::Fault fault) {
  std::string_view path = fault.path;
  const std::optional<std::size_t> index = take_index(path, "documents");
  return {shown(file),       index ? std::optional(*index + 1) : std::nullopt,
          std::string(path), std::move(fault.message),
          fault.line,        fault.value_kept};
}

// Whether a fault at `known` says all there is to say about `path`: the same place or above it.
bool covers(const std::string& known, const std::string& path) {
  return path == known ||
         (!known.empty() && path.size() > known.size() && path.starts_with(known) &&
          (path[known.size()] == '.' || path[known.size()] == '['));
}

}  // namespace

std::string to_string(const FileFault& fault) {
  std::string text = fault.file;
  if (fault.line > 0) {
    text += fmt::format(":{}", fault.line);
  }
  if (fault.document) {
    text += fmt::format(": document {}", *fault.document);
  }
  if (!fault.path.empty()) {
    text += fmt::format(": {}", fault.path);
  }
  return text + fmt::format(": {}", fault.message);
}

Manifests read_manifests(const std::vector<std::string>& files) {
  Manifests manifests;
  for (const std::string& file : files) {
    std::string text;
    std::vector<manifest::Fault> faults = manifest::load(file, text);
    if (faults.empty()) {
      manifest::Documents read = manifest::read_documents(text);
      for (manifest::Document& document : read.documents) {
        manifests.sources.push_back({shown(file), std::move(document)});
      }
      faults = std::move(read.faults);
      if (faults.empty() && read.documents.empty()) {
        faults.push_back({"", "there is no document in it", 0});
      }
    }
    for (manifest::Fault& fault : faults) {
      manifests.faults.push_back(file_fault(file, std::move(fault)));
    }
  }
  return manifests;
}

std::optional<FileFault> locate(const client::FieldViolation& violation,
                                const std::vector<Source>& sources) {
  std::string_view path = violation.field;
  std::optional<std::size_t> index = take_index(path, "upsert");
  std::string_view below_document = path;
  std::string name_path;
  if (!index) {
    index = take_index(path, "delete");
    name_path = path.empty() ? "metadata" : fmt::format("metadata.{}", path);
    below_document = name_path;
  }
  if (!index || *index >= sources.size()) {
    return std::nullopt;
  }
  const Source& source = sources[*index];
  return FileFault{source.file, source.document.index + 1, std::string(below_document),
                   violation.description, manifest::line_of(source.document.node, below_document)};
}

void merge(std::vector<FileFault>& faults, const std::vector<FileFault>& found) {
  const std::size_t known_count = faults.size();
  for (const FileFault& fault : found) {
    const bool is_known =
        std::any_of(faults.begin(), faults.begin() + static_cast<std::ptrdiff_t>(known_count),
                    [&](const FileFault& known) {
                      return !known.value_kept && known.file == fault.file &&
                             known.document == fault.document && covers(known.path, fault.path);
                    });
    if (!is_known) {
      faults.push_back(fault);
    }
  }
  // Files stay in the order they were given in.
  std::vector<std::string> order;
  for (const FileFault& fault : faults) {
    if (std::find(order.begin(), order.end(), fault.file) == order.end()) {
      order.push_back(fault.file);
    }
  }
  const auto rank = [&](const FileFault& fault) {
    return std::find(order.begin(), order.end(), fault.file) - order.begin();
  };
  std::stable_sort(faults.begin(), faults.end(), [&](const FileFault& a, const FileFault& b) {
    return std::pair(rank(a), a.line) < std::pair(rank(b), b.line);
  });
}

}  // namespace sluice::cli
