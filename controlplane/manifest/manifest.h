// SPDX-License-Identifier: Apache-2.0
// YAML text <-> the messages of the API, by reflection: the proto is the only schema there is.
//
// Reading is strict and never stops at the first fault: unknown fields, wrong types, numbers out
// of range, keys given twice are all collected, each with its path and line; what could be read is
// in the message all the same, so that a validator can add the faults of meaning to the same
// answer. Field names are the JSON names; snake_case is taken too. `null` is the same as absent.
// JSON is YAML, so it can be read as well. No exception of the YAML library leaves this room.
#pragma once

#include <google/protobuf/message.h>
#include <yaml-cpp/yaml.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/v1/service.pb.h"

namespace sluice::manifest {

inline constexpr std::string_view kApiVersion = "v1";
inline constexpr std::size_t kFileBytesMax = std::size_t{256} << 20;
// Bounds what one text can cost: aliases let a short one describe a very long one.
inline constexpr std::size_t kValuesMax = std::size_t{4} << 20;
inline constexpr std::size_t kFaultsMax = 10'000;

struct Fault {
  std::string path;         // JSON names and indices: "spec.ports[1].port"; empty: the whole text
  std::string message;      // no period at its end
  int line = 0;             // from 1; 0: unknown
  bool value_kept = false;  // the message has a value for `path` nevertheless: given twice

  friend bool operator==(const Fault&, const Fault&) = default;
};

// "line 7: spec.ports[1].port: expected ..."
std::string to_string(const Fault& fault);

// Reads a mapping into `message` (merged into what it holds). `path` goes before every fault's
// path.
[[nodiscard]] std::vector<Fault> read_message(const YAML::Node& node,
                                              google::protobuf::Message& message,
                                              const std::string& path = {});

// One document, as a configuration file has. An empty text reads as an empty message.
[[nodiscard]] std::vector<Fault> read_text(const std::string& text,
                                           google::protobuf::Message& message);
[[nodiscard]] std::vector<Fault> read_file(const std::string& file,
                                           google::protobuf::Message& message);

// The content of `file`, at most kFileBytesMax; "-" is standard input.
[[nodiscard]] std::vector<Fault> load(const std::string& file, std::string& text);

// One document of a manifest: apiVersion, kind and the fields of that kind.
struct Document {
  std::size_t index = 0;  // from 0, empty documents counted too
  int line = 0;
  std::string api_version;
  std::string kind;
  v1::Service service;  // kind "Service"
  YAML::Node node;
};

struct Documents {
  std::vector<Document> documents;  // those that are mappings, with or without faults
  std::vector<Fault> faults;        // paths begin with "documents[N]"
};

// Several documents, apart by "---".
[[nodiscard]] Documents read_documents(const std::string& text);

// The line of `path` ("spec.ports[1].port") below `node`, or of the nearest of its ancestors
// that is there; 0 when there is none.
[[nodiscard]] int line_of(const YAML::Node& node, std::string_view path);

// Block style, JSON names, fields at their default left out, 64-bit numbers as numbers.
std::string to_yaml(const google::protobuf::Message& message);
// As the protobuf JSON mapping has it (64-bit numbers are strings), several lines.
std::string to_json(const google::protobuf::Message& message);

}  // namespace sluice::manifest
