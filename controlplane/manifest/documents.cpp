// SPDX-License-Identifier: Apache-2.0
#include "controlplane/manifest/manifest.h"
#include "controlplane/manifest/scalar.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <sstream>
#include <sys/stat.h>

namespace sluice::manifest {
namespace {

int line_at(const YAML::Node& node) {
  return node.Mark().is_null() ? 0 : node.Mark().line + 1;
}

Fault syntax_fault(const YAML::Exception& error) {
  return {"", "not valid YAML: " + error.msg, error.mark.is_null() ? 0 : error.mark.line + 1};
}

// Before the tree is built: yaml-cpp 0.7 makes empty documents without end of a text such as ",",
// and this notices that a document begins where the one before did.
class ProgressCheck : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark& mark) override {
    if (mark.pos == last_position_) {
      throw YAML::ParserException(mark, "unexpected character");
    }
    last_position_ = mark.pos;
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t /*anchor*/) override { count(mark); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t /*anchor*/) override { count(mark); }
  void OnScalar(const YAML::Mark& mark, const std::string& /*tag*/, YAML::anchor_t /*anchor*/,
                const std::string& /*value*/) override {
    count(mark);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& /*tag*/,
                       YAML::anchor_t /*anchor*/, YAML::EmitterStyle::value /*style*/) override {
    count(mark);
  }
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark& mark, const std::string& /*tag*/, YAML::anchor_t /*anchor*/,
                  YAML::EmitterStyle::value /*style*/) override {
    count(mark);
  }
  void OnMapEnd() override {}

 private:
  void count(const YAML::Mark& mark) {
    if (++values_ > kValuesMax) {
      throw YAML::ParserException(mark, fmt::format("more than {} values", kValuesMax));
    }
  }

  int last_position_ = -1;
  std::size_t values_ = 0;
};

std::vector<YAML::Node> parse(const std::string& text, std::vector<Fault>& faults) {
  try {
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    ProgressCheck check;
    while (parser.HandleNextDocument(check)) {
    }
    return YAML::LoadAll(text);
  } catch (const YAML::Exception& error) {
    faults.push_back(syntax_fault(error));
  } catch (const std::exception& error) {
    faults.push_back({"", fmt::format("not valid YAML: {}", error.what()), 0});
  }
  return {};
}

// Takes one of the document's own words out of `fields`, or says what is wrong with it.
void read_word(const YAML::Node& document, const char* name, std::string_view expected,
               const std::string& path, std::string& word, std::vector<Fault>& faults) {
  int line = line_at(document);
  for (const auto& entry : document) {
    if (!entry.first.IsScalar() || entry.first.Scalar() != name) {
      continue;
    }
    if (!word.empty()) {
      faults.push_back({path + "." + name, "given twice", line_at(entry.first)});
      continue;
    }
    line = line_at(entry.first);
    word = entry.second.IsScalar() ? entry.second.Scalar() : describe(entry.second);
  }
  if (word.empty()) {
    faults.push_back({path + "." + name, fmt::format("missing; expected '{}'", expected), line});
  } else if (word != expected) {
    faults.push_back({path + "." + name,
                      fmt::format("expected '{}', got '{}'", expected, word.substr(0, 60)), line});
  }
}

Document read_document(const YAML::Node& node, std::size_t index, std::vector<Fault>& faults) {
  Document document;
  document.index = index;
  document.line = line_at(node);
  document.node = node;
  const std::string path = fmt::format("documents[{}]", index);
  read_word(node, "apiVersion", kApiVersion, path, document.api_version, faults);
  read_word(node, "kind", "Service", path, document.kind, faults);
  // What remains is the message. Its node keeps the mark of the document only in its children,
  // which is where faults point.
  YAML::Node fields(YAML::NodeType::Map);
  for (const auto& entry : node) {
    const bool own_word = entry.first.IsScalar() &&
                          (entry.first.Scalar() == "apiVersion" || entry.first.Scalar() == "kind");
    if (!own_word) {
      fields.force_insert(entry.first, entry.second);
    }
  }
  std::vector<Fault> found = read_message(fields, document.service, path);
  std::move(found.begin(), found.end(), std::back_inserter(faults));
  return document;
}

bool is_empty(const YAML::Node& node) {
  return !node.IsDefined() || node.IsNull() ||
         (node.IsScalar() && kind_of(node) == ScalarKind::kNull);
}

// "load_balancer_ips" and "loadBalancerIPs" are the same name.
bool is_same_name(std::string_view a, std::string_view b) {
  const auto plain = [](std::string_view name) {
    std::string out;
    for (const char c : name) {
      if (c != '_') {
        out.push_back(static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
      }
    }
    return out;
  };
  return plain(a) == plain(b);
}

// The next step of a path, cut off from it: "name", or what stands in "[...]".
std::string_view next_step(std::string_view& path, bool& in_brackets) {
  if (path.starts_with('.')) {
    path.remove_prefix(1);
  }
  in_brackets = path.starts_with('[');
  std::size_t end = in_brackets ? path.find(']') : path.find_first_of(".[");
  end = std::min(end, path.size());
  const std::string_view step = path.substr(in_brackets ? 1 : 0, end - (in_brackets ? 1 : 0));
  path.remove_prefix(in_brackets && end < path.size() ? end + 1 : end);
  return step;
}

// `line` becomes that of the key or element when there is one.
YAML::Node child_of(const YAML::Node& node, std::string_view step, bool in_brackets, int& line) {
  if (node.IsMap()) {
    for (const auto& entry : node) {
      if (!entry.first.IsScalar()) {
        continue;
      }
      const std::string& key = entry.first.Scalar();
      if (in_brackets ? key == step : is_same_name(key, step)) {
        line = line_at(entry.first);
        return entry.second;
      }
    }
  }
  std::size_t index = 0;
  const auto [end, error] = std::from_chars(step.data(), step.data() + step.size(), index);
  if (node.IsSequence() && in_brackets && error == std::errc{} &&
      end == step.data() + step.size() && index < node.size()) {
    const YAML::Node element = node[index];
    line = line_at(element);
    return element;
  }
  return YAML::Node(YAML::NodeType::Undefined);
}

bool read_stream(std::istream& stream, std::string& text) {
  char block[65536];
  while (stream.read(block, sizeof(block)) || stream.gcount() > 0) {
    text.append(block, static_cast<std::size_t>(stream.gcount()));
    if (text.size() > kFileBytesMax) {
      return false;
    }
  }
  return true;
}

}  // namespace

std::vector<Fault> load(const std::string& file, std::string& text) {
  const auto too_large = [] {
    return std::vector<Fault>{{"", fmt::format("larger than {} MiB", kFileBytesMax >> 20), 0}};
  };
  text.clear();
  if (file == "-") {
    return read_stream(std::cin, text) ? std::vector<Fault>{} : too_large();
  }
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) {
    return {{"", fmt::format("cannot be read: {}", std::strerror(errno)), 0}};
  }
  if (S_ISDIR(status.st_mode)) {
    return {{"", "cannot be read: it is a directory", 0}};
  }
  std::ifstream stream(file, std::ios::binary);
  if (!stream) {
    return {{"", fmt::format("cannot be read: {}", std::strerror(errno)), 0}};
  }
  return read_stream(stream, text) ? std::vector<Fault>{} : too_large();
}

std::vector<Fault> read_text(const std::string& text, google::protobuf::Message& message) {
  std::vector<Fault> faults;
  const std::vector<YAML::Node> nodes = parse(text, faults);
  if (!faults.empty()) {
    return faults;
  }
  if (nodes.size() > 1) {
    faults.push_back({"", "several documents; expected one", line_at(nodes[1])});
    return faults;
  }
  if (nodes.empty() || is_empty(nodes[0])) {
    return {};
  }
  return read_message(nodes[0], message);
}

std::vector<Fault> read_file(const std::string& file, google::protobuf::Message& message) {
  std::string text;
  std::vector<Fault> faults = load(file, text);
  return faults.empty() ? read_text(text, message) : faults;
}

Documents read_documents(const std::string& text) {
  Documents result;
  const std::vector<YAML::Node> nodes = parse(text, result.faults);
  for (std::size_t index = 0; index < nodes.size(); ++index) {
    const YAML::Node& node = nodes[index];
    if (is_empty(node)) {
      continue;
    }
    if (!node.IsMap()) {
      result.faults.push_back({fmt::format("documents[{}]", index),
                               fmt::format("expected a mapping, got {}", describe(node)),
                               line_at(node)});
      continue;
    }
    result.documents.push_back(read_document(node, index, result.faults));
  }
  return result;
}

int line_of(const YAML::Node& node, std::string_view path) {
  int line = line_at(node);
  YAML::Node at = node;
  while (!path.empty() && at.IsDefined()) {
    bool in_brackets = false;
    const std::string_view step = next_step(path, in_brackets);
    at.reset(child_of(at, step, in_brackets, line));
  }
  return line;
}

}  // namespace sluice::manifest
