// SPDX-License-Identifier: Apache-2.0
#include "controlplane/api/convert.h"

#include <google/protobuf/unknown_field_set.h>

#include <unordered_map>

namespace sluice::api {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

// The fields of a message that are messages themselves, but for maps.
const std::vector<const FieldDescriptor*>& messages_in(const Descriptor& descriptor) {
  static thread_local std::unordered_map<const Descriptor*, std::vector<const FieldDescriptor*>>
      known;
  const auto [at, fresh] = known.try_emplace(&descriptor);
  for (int i = 0; fresh && i < descriptor.field_count(); ++i) {
    const FieldDescriptor* field = descriptor.field(i);
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && !field->is_map()) {
      at->second.push_back(field);
    }
  }
  return at->second;
}

// Without looking for where it is: as a rule there is none, in a million messages of one write.
bool any_unknown(const google::protobuf::Message& message) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  if (!reflection.GetUnknownFields(message).empty()) {
    return true;
  }
  for (const FieldDescriptor* field : messages_in(*message.GetDescriptor())) {
    if (!field->is_repeated()) {
      if (reflection.HasField(message, field) &&
          any_unknown(reflection.GetMessage(message, field))) {
        return true;
      }
      continue;
    }
    const int count = reflection.FieldSize(message, field);
    for (int i = 0; i < count; ++i) {
      if (any_unknown(reflection.GetRepeatedMessage(message, field, i))) {
        return true;
      }
    }
  }
  return false;
}

void collect_unknown(const google::protobuf::Message& message, const std::string& path,
                     std::vector<std::string>& found) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  const google::protobuf::UnknownFieldSet& unknown = reflection.GetUnknownFields(message);
  for (int i = 0; i < unknown.field_count(); ++i) {
    found.push_back(path + (path.empty() ? "" : ".") + "#" +
                    std::to_string(unknown.field(i).number()));
  }
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const auto* field : fields) {
    if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE ||
        field->is_map()) {
      continue;
    }
    const std::string name = path + (path.empty() ? "" : ".") + field->json_name();
    if (!field->is_repeated()) {
      collect_unknown(reflection.GetMessage(message, field), name, found);
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
      collect_unknown(reflection.GetRepeatedMessage(message, field, i),
                      name + "[" + std::to_string(i) + "]", found);
    }
  }
}

}  // namespace

std::vector<std::string> unknown_fields(const google::protobuf::Message& message) {
  std::vector<std::string> found;
  if (any_unknown(message)) {
    collect_unknown(message, "", found);
  }
  return found;
}

void check_unknown(const google::protobuf::Message& message, model::Faults& faults) {
  for (const std::string& path : unknown_fields(message)) {
    faults.add(path, "a field that this version does not know");
  }
}

}  // namespace sluice::api
