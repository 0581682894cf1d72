// SPDX-License-Identifier: Apache-2.0
#include "controlplane/manifest/manifest.h"
#include "controlplane/manifest/scalar.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/timestamp.pb.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/time_util.h>

#include <algorithm>

namespace sluice::manifest {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string text_of(const std::string& text) {
  return needs_quotes(text) ? quoted(text) : text;
}

void write_fields(const Message& message, int indent, std::string& out);

// The value of a field, or of one element of it (`index` >= 0), when it is no mapping.
std::string scalar_of(const Message& message, const FieldDescriptor& field, int index) {
  const Reflection* reflection = message.GetReflection();
  const bool one = index < 0;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return std::to_string(one ? reflection->GetInt32(message, &field)
                                : reflection->GetRepeatedInt32(message, &field, index));
    case FieldDescriptor::CPPTYPE_INT64:
      return std::to_string(one ? reflection->GetInt64(message, &field)
                                : reflection->GetRepeatedInt64(message, &field, index));
    case FieldDescriptor::CPPTYPE_UINT32:
      return std::to_string(one ? reflection->GetUInt32(message, &field)
                                : reflection->GetRepeatedUInt32(message, &field, index));
    case FieldDescriptor::CPPTYPE_UINT64:
      return std::to_string(one ? reflection->GetUInt64(message, &field)
                                : reflection->GetRepeatedUInt64(message, &field, index));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return fmt::format("{}", one ? reflection->GetDouble(message, &field)
                                   : reflection->GetRepeatedDouble(message, &field, index));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return fmt::format("{}", one ? reflection->GetFloat(message, &field)
                                   : reflection->GetRepeatedFloat(message, &field, index));
    case FieldDescriptor::CPPTYPE_BOOL: {
      const bool value = one ? reflection->GetBool(message, &field)
                             : reflection->GetRepeatedBool(message, &field, index);
      return value ? "true" : "false";
    }
    case FieldDescriptor::CPPTYPE_ENUM:
      return (one ? reflection->GetEnum(message, &field)
                  : reflection->GetRepeatedEnum(message, &field, index))
          ->name();
    case FieldDescriptor::CPPTYPE_STRING:
      return text_of(one ? reflection->GetString(message, &field)
                         : reflection->GetRepeatedString(message, &field, index));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      break;
  }
  return {};
}

bool is_timestamp(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
         field.message_type() == google::protobuf::Timestamp::descriptor();
}

std::string timestamp_of(const Message& message) {
  google::protobuf::Timestamp value;
  value.CopyFrom(message);
  return quoted(google::protobuf::util::TimeUtil::ToString(value));
}

std::string spaces(int count) {
  return std::string(static_cast<std::size_t>(count), ' ');
}

// After "key:" or "-": a value on the same line, or a mapping below.
void write_value(const Message& message, const FieldDescriptor& field, int index, int indent,
                 std::string& out) {
  if (field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
    out += fmt::format(" {}\n", scalar_of(message, field, index));
    return;
  }
  const Reflection* reflection = message.GetReflection();
  const Message& inner = index < 0 ? reflection->GetMessage(message, &field)
                                   : reflection->GetRepeatedMessage(message, &field, index);
  if (is_timestamp(field)) {
    out += fmt::format(" {}\n", timestamp_of(inner));
    return;
  }
  std::string fields;
  write_fields(inner, indent, fields);
  if (fields.empty()) {
    out += " {}\n";
  } else if (index < 0) {
    out += '\n';
    out += fields;
  } else {
    // The first field of an element stands on the line of its dash.
    out += ' ';
    out.append(fields, static_cast<std::size_t>(indent));
  }
}

void write_list(const Message& message, const FieldDescriptor& field, int indent,
                std::string& out) {
  out += "\n";
  const int count = message.GetReflection()->FieldSize(message, &field);
  for (int i = 0; i < count; ++i) {
    out += spaces(indent) + "-";
    write_value(message, field, i, indent + 2, out);
  }
}

// Sorted by key: the order inside a protobuf map changes from run to run.
void write_map(const Message& message, const FieldDescriptor& field, int indent, std::string& out) {
  const FieldDescriptor* key_field = field.message_type()->map_key();
  const FieldDescriptor* value_field = field.message_type()->map_value();
  std::vector<std::string> lines;
  const int count = message.GetReflection()->FieldSize(message, &field);
  for (int i = 0; i < count; ++i) {
    const Message& entry = message.GetReflection()->GetRepeatedMessage(message, &field, i);
    std::string line = spaces(indent) + scalar_of(entry, *key_field, -1) + ":";
    write_value(entry, *value_field, -1, indent + 2, line);
    lines.push_back(std::move(line));
  }
  std::sort(lines.begin(), lines.end());
  out += "\n";
  for (const std::string& line : lines) {
    out += line;
  }
}

void write_fields(const Message& message, int indent, std::string& out) {
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    out += spaces(indent) + field->json_name() + ":";
    if (field->is_map()) {
      write_map(message, *field, indent + 2, out);
    } else if (field->is_repeated()) {
      write_list(message, *field, indent, out);
    } else {
      write_value(message, *field, -1, indent + 2, out);
    }
  }
}

}  // namespace

std::string to_yaml(const Message& message) {
  std::string out;
  write_fields(message, 0, out);
  return out.empty() ? "{}\n" : out;
}

std::string to_json(const Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  std::string out;
  const auto status = google::protobuf::util::MessageToJsonString(message, &out, options);
  return status.ok() ? out : std::string("{}\n");
}

}  // namespace sluice::manifest
