// SPDX-License-Identifier: Apache-2.0
#include "controlplane/manifest/manifest.h"
#include "controlplane/manifest/scalar.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/timestamp.pb.h>
#include <google/protobuf/util/time_util.h>

#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <map>
#include <optional>

namespace sluice::manifest {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

int line_at(const YAML::Node& node) {
  return node.Mark().is_null() ? 0 : node.Mark().line + 1;
}

std::string join(const std::string& path, const std::string& field) {
  return path.empty() ? field : path + "." + field;
}

const FieldDescriptor* find_field(const Descriptor& type, const std::string& name) {
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor* field = type.field(i);
    if (field->json_name() == name || field->name() == name) {
      return field;
    }
  }
  return nullptr;
}

std::string unknown_field(const Descriptor& type, const std::string& name) {
  if (name == "<<") {
    return "merge keys are not read; write the fields out";
  }
  const std::string* nearest = nullptr;
  std::size_t nearest_distance = std::max<std::size_t>(2, name.size() / 3) + 1;
  for (int i = 0; i < type.field_count(); ++i) {
    const std::size_t distance = edit_distance(name, type.field(i)->json_name());
    if (distance < nearest_distance && distance < type.field(i)->json_name().size()) {
      nearest_distance = distance;
      nearest = &type.field(i)->json_name();
    }
  }
  return nearest == nullptr ? "unknown field"
                            : fmt::format("unknown field; did you mean '{}'?", *nearest);
}

// A whole number as it is written in full; nothing when there is no 64-bit number of this text.
template <typename Int>
std::optional<Int> parse_whole(std::string_view text) {
  int base = 10;
  if (text.starts_with("0x") || text.starts_with("0o")) {
    base = text[1] == 'x' ? 16 : 8;
    text.remove_prefix(2);
  } else if (text.starts_with('+')) {
    text.remove_prefix(1);
  }
  Int value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{} || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

bool has_leading_zero(std::string_view text) {
  if (text.starts_with('-') || text.starts_with('+')) {
    text.remove_prefix(1);
  }
  return text.size() > 1 && text[0] == '0' && text[1] != 'x' && text[1] != 'o';
}

class Reader {
 public:
  std::vector<Fault> take_faults() { return std::move(faults_); }

  void read(const YAML::Node& node, Message& message, const std::string& path);

 private:
  void read_field(const YAML::Node& node, Message& message, const FieldDescriptor& field,
                  const std::string& path);
  void read_list(const YAML::Node& node, Message& message, const FieldDescriptor& field,
                 const std::string& path);
  void read_map(const YAML::Node& node, Message& message, const FieldDescriptor& field,
                const std::string& path);
  void read_value(const YAML::Node& node, Message& message, const FieldDescriptor& field,
                  const std::string& path);
  void read_text_value(const YAML::Node& node, Message& message, const FieldDescriptor& field,
                       const std::string& path);
  void read_enum(const YAML::Node& node, Message& message, const FieldDescriptor& field,
                 const std::string& path);
  void read_timestamp(const YAML::Node& node, Message& message, const std::string& path);
  template <typename Int>
  std::optional<Int> read_whole(const YAML::Node& node, const std::string& path);
  std::optional<double> read_fraction(const YAML::Node& node, const std::string& path);
  std::optional<std::string> read_key(const YAML::Node& key, const std::string& path);
  bool within_limits(const YAML::Node& node, const std::string& path);
  void fault(const YAML::Node& node, const std::string& path, std::string message);
  void given_twice(const YAML::Node& key, const std::string& path, int first_line);

  std::vector<Fault> faults_;
  std::size_t values_ = 0;
  bool stopped_ = false;
};

void Reader::fault(const YAML::Node& node, const std::string& path, std::string message) {
  if (stopped_) {
    return;
  }
  if (faults_.size() + 1 == kFaultsMax) {
    stopped_ = true;
    message = "too many faults; what follows is not shown";
  }
  faults_.push_back({path, std::move(message), line_at(node)});
}

void Reader::given_twice(const YAML::Node& key, const std::string& path, int first_line) {
  if (!stopped_) {
    fault(key, path, fmt::format("given twice, first in line {}", first_line));
    faults_.back().value_kept = true;
  }
}

bool Reader::within_limits(const YAML::Node& node, const std::string& path) {
  if (++values_ > kValuesMax) {
    fault(node, path, fmt::format("more than {} values", kValuesMax));
    stopped_ = true;
  }
  return !stopped_;
}

std::optional<std::string> Reader::read_key(const YAML::Node& key, const std::string& path) {
  if (!key.IsScalar()) {
    fault(key, path, fmt::format("a field name is expected, got {}", describe(key)));
    return std::nullopt;
  }
  if (!is_utf8(key.Scalar())) {
    fault(key, path, "a field name is not valid UTF-8");
    return std::nullopt;
  }
  return key.Scalar();
}

void Reader::read(const YAML::Node& node, Message& message, const std::string& path) {
  if (!within_limits(node, path)) {
    return;
  }
  if (!node.IsMap()) {
    fault(node, path, fmt::format("expected a mapping, got {}", describe(node)));
    return;
  }
  std::map<const FieldDescriptor*, int> seen;
  for (const auto& entry : node) {
    const std::optional<std::string> name = read_key(entry.first, path);
    if (!name) {
      continue;
    }
    const FieldDescriptor* field = find_field(*message.GetDescriptor(), *name);
    if (field == nullptr) {
      fault(entry.first, join(path, *name), unknown_field(*message.GetDescriptor(), *name));
      continue;
    }
    const std::string field_path = join(path, field->json_name());
    const auto [first, is_new] = seen.try_emplace(field, line_at(entry.first));
    if (!is_new) {
      given_twice(entry.first, field_path, first->second);
      continue;
    }
    read_field(entry.second, message, *field, field_path);
  }
}

void Reader::read_field(const YAML::Node& node, Message& message, const FieldDescriptor& field,
                        const std::string& path) {
  if (node.IsNull() || (node.IsScalar() && kind_of(node) == ScalarKind::kNull)) {
    return;
  }
  if (field.is_map()) {
    read_map(node, message, field, path);
  } else if (field.is_repeated()) {
    read_list(node, message, field, path);
  } else {
    read_value(node, message, field, path);
  }
}

void Reader::read_list(const YAML::Node& node, Message& message, const FieldDescriptor& field,
                       const std::string& path) {
  if (!node.IsSequence()) {
    fault(node, path, fmt::format("expected a list, got {}", describe(node)));
    return;
  }
  std::size_t index = 0;
  for (const auto& element : node) {
    const std::string element_path = fmt::format("{}[{}]", path, index++);
    const int before = message.GetReflection()->FieldSize(message, &field);
    read_value(element, message, field, element_path);
    if (stopped_) {
      return;
    }
    // A place is kept for an element that could not be read, so that the indices of whoever
    // looks at the message later are those of the text.
    const auto* reflection = message.GetReflection();
    if (reflection->FieldSize(message, &field) == before &&
        field.cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
      reflection->AddString(&message, &field, "");
    }
  }
}

void Reader::read_map(const YAML::Node& node, Message& message, const FieldDescriptor& field,
                      const std::string& path) {
  if (!node.IsMap()) {
    fault(node, path, fmt::format("expected a mapping, got {}", describe(node)));
    return;
  }
  const FieldDescriptor* key_field = field.message_type()->map_key();
  const FieldDescriptor* value_field = field.message_type()->map_value();
  std::map<std::string, int> seen;
  for (const auto& entry : node) {
    const std::optional<std::string> key = read_key(entry.first, path);
    if (!key) {
      continue;
    }
    const std::string entry_path = fmt::format("{}[{}]", path, *key);
    const auto [first, is_new] = seen.try_emplace(*key, line_at(entry.first));
    if (!is_new) {
      given_twice(entry.first, entry_path, first->second);
      continue;
    }
    const std::size_t faults_before = faults_.size();
    Message* added = message.GetReflection()->AddMessage(&message, &field);
    if (key_field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
      added->GetReflection()->SetString(added, key_field, *key);
    } else {
      read_value(entry.first, *added, *key_field, entry_path);
    }
    read_value(entry.second, *added, *value_field, entry_path);
    if (faults_.size() != faults_before) {
      message.GetReflection()->RemoveLast(&message, &field);
    }
  }
}

template <typename Int>
std::optional<Int> Reader::read_whole(const YAML::Node& node, const std::string& path) {
  // The JSON mapping of protobuf writes 64-bit numbers as strings, and such text is read back.
  const bool quoted_allowed = sizeof(Int) == 8;
  const bool is_number =
      node.IsScalar() && (kind_of(node) == ScalarKind::kWhole ||
                          (quoted_allowed && kind_of_plain(node.Scalar()) == ScalarKind::kWhole));
  if (!is_number) {
    fault(node, path, fmt::format("expected a whole number, got {}", describe(node)));
    return std::nullopt;
  }
  const std::string& text = node.Scalar();
  if (has_leading_zero(text)) {
    fault(node, path, fmt::format("the number {} may not begin with 0", text));
    return std::nullopt;
  }
  const std::optional<Int> value = parse_whole<Int>(text);
  if (!value) {
    fault(node, path,
          fmt::format("the number {} is out of range {}..{}", text, std::numeric_limits<Int>::min(),
                      std::numeric_limits<Int>::max()));
  }
  return value;
}

std::optional<double> Reader::read_fraction(const YAML::Node& node, const std::string& path) {
  const ScalarKind kind = node.IsScalar() ? kind_of(node) : ScalarKind::kText;
  if (kind != ScalarKind::kWhole && kind != ScalarKind::kFraction) {
    fault(node, path, fmt::format("expected a number, got {}", describe(node)));
    return std::nullopt;
  }
  try {
    return node.as<double>();
  } catch (const YAML::Exception&) {
    fault(node, path, fmt::format("the number {} is out of range", node.Scalar()));
    return std::nullopt;
  }
}

void Reader::read_text_value(const YAML::Node& node, Message& message, const FieldDescriptor& field,
                             const std::string& path) {
  if (!node.IsScalar() || kind_of(node) != ScalarKind::kText) {
    const char* hint = node.IsSequence() ? "" : "; put text in quotes";
    fault(node, path, fmt::format("expected text, got {}{}", describe(node), hint));
    return;
  }
  if (!is_utf8(node.Scalar())) {
    fault(node, path, "the text is not valid UTF-8");
    return;
  }
  const Reflection* reflection = message.GetReflection();
  if (field.is_repeated()) {
    reflection->AddString(&message, &field, node.Scalar());
  } else {
    reflection->SetString(&message, &field, node.Scalar());
  }
}

void Reader::read_enum(const YAML::Node& node, Message& message, const FieldDescriptor& field,
                       const std::string& path) {
  const auto* type = field.enum_type();
  const auto* value = node.IsScalar() && kind_of(node) == ScalarKind::kText
                          ? type->FindValueByName(node.Scalar())
                          : nullptr;
  if (value == nullptr) {
    std::string names;
    for (int i = 0; i < type->value_count(); ++i) {
      names += (i == 0 ? "" : ", ") + type->value(i)->name();
    }
    fault(node, path, fmt::format("expected one of {}, got {}", names, describe(node)));
    return;
  }
  const Reflection* reflection = message.GetReflection();
  if (field.is_repeated()) {
    reflection->AddEnum(&message, &field, value);
  } else {
    reflection->SetEnum(&message, &field, value);
  }
}

void Reader::read_timestamp(const YAML::Node& node, Message& message, const std::string& path) {
  google::protobuf::Timestamp value;
  if (!node.IsScalar() || kind_of(node) != ScalarKind::kText ||
      !google::protobuf::util::TimeUtil::FromString(node.Scalar(), &value)) {
    fault(node, path,
          fmt::format("expected a time such as 2026-01-31T12:00:00Z, got {}", describe(node)));
    return;
  }
  message.CopyFrom(value);
}

void Reader::read_value(const YAML::Node& node, Message& message, const FieldDescriptor& field,
                        const std::string& path) {
  if (!within_limits(node, path)) {
    return;
  }
  const Reflection* reflection = message.GetReflection();
  const bool repeated = field.is_repeated();
  // Sets or appends a number that could be read; one that could not leaves a 0 in a list's place.
  const auto put = [&](auto value, auto set, auto add) {
    if (repeated) {
      (reflection->*add)(&message, &field, value.value_or(0));
    } else if (value) {
      (reflection->*set)(&message, &field, *value);
    }
  };
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return put(read_whole<std::int32_t>(node, path), &Reflection::SetInt32,
                 &Reflection::AddInt32);
    case FieldDescriptor::CPPTYPE_INT64:
      return put(read_whole<std::int64_t>(node, path), &Reflection::SetInt64,
                 &Reflection::AddInt64);
    case FieldDescriptor::CPPTYPE_UINT32:
      return put(read_whole<std::uint32_t>(node, path), &Reflection::SetUInt32,
                 &Reflection::AddUInt32);
    case FieldDescriptor::CPPTYPE_UINT64:
      return put(read_whole<std::uint64_t>(node, path), &Reflection::SetUInt64,
                 &Reflection::AddUInt64);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return put(read_fraction(node, path), &Reflection::SetDouble, &Reflection::AddDouble);
    case FieldDescriptor::CPPTYPE_FLOAT: {
      const std::optional<double> value = read_fraction(node, path);
      return put(value ? std::optional<float>(static_cast<float>(*value)) : std::nullopt,
                 &Reflection::SetFloat, &Reflection::AddFloat);
    }
    case FieldDescriptor::CPPTYPE_BOOL: {
      std::optional<bool> value;
      if (node.IsScalar() && kind_of(node) == ScalarKind::kBool) {
        value = node.Scalar()[0] == 't' || node.Scalar()[0] == 'T';
      } else {
        fault(node, path, fmt::format("expected true or false, got {}", describe(node)));
      }
      return put(value, &Reflection::SetBool, &Reflection::AddBool);
    }
    case FieldDescriptor::CPPTYPE_ENUM:
      return read_enum(node, message, field, path);
    case FieldDescriptor::CPPTYPE_STRING:
      return read_text_value(node, message, field, path);
    case FieldDescriptor::CPPTYPE_MESSAGE: {
      Message* inner = repeated ? reflection->AddMessage(&message, &field)
                                : reflection->MutableMessage(&message, &field);
      if (field.message_type() == google::protobuf::Timestamp::descriptor()) {
        return read_timestamp(node, *inner, path);
      }
      return read(node, *inner, path);
    }
  }
}

}  // namespace

std::string to_string(const Fault& fault) {
  std::string text;
  if (fault.line > 0) {
    text += fmt::format("line {}: ", fault.line);
  }
  if (!fault.path.empty()) {
    text += fault.path + ": ";
  }
  return text + fault.message;
}

std::vector<Fault> read_message(const YAML::Node& node, Message& message, const std::string& path) {
  Reader reader;
  reader.read(node, message, path);
  return reader.take_faults();
}

}  // namespace sluice::manifest
