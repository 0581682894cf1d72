// SPDX-License-Identifier: Apache-2.0
#include "controlplane/manifest/manifest.h"

#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <random>

#include "sluice/v1/config.pb.h"
#include "sluice/v1/gateway.pb.h"

namespace sluice::manifest {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::util::MessageDifferencer;

// Fills any message with values that YAML is likely to get wrong.
class Filler {
 public:
  explicit Filler(std::uint32_t seed) : random_(seed) {}

  void fill(Message& message) {
    const auto* type = message.GetDescriptor();
    if (type->full_name() == "google.protobuf.Timestamp") {
      message.GetReflection()->SetInt64(&message, type->field(0), pick(4'000'000'000U));
      message.GetReflection()->SetInt32(&message, type->field(1), 250'000'000);
      return;
    }
    for (int i = 0; i < type->field_count(); ++i) {
      const int count = type->field(i)->is_repeated() ? static_cast<int>(pick(4)) : 1;
      for (int k = 0; k < count && (type->field(i)->is_repeated() || pick(3) != 0); ++k) {
        set(message, *type->field(i), k);
      }
    }
  }

 private:
  std::uint32_t pick(std::uint32_t bound) { return static_cast<std::uint32_t>(random_() % bound); }

  std::string text() {
    static const char* kTexts[] = {
        "web",     "80",       "true",  "null", "~",          "yes",
        "1e3",     "0x1f",     "- a",   "a: b", "a #b",       "#",
        "{",       "[",        "\"q\"", "it's", "\\",         " lead",
        "trail ",  "a\nb",     "\t",    "::1",  "2001:db8::", "2001:db8::10",
        "1:30:45", "2024-1-1", "100us", "!tag", "&anchor",    "*alias",
        "%",       "@",        "`",     "a:",   "\x01\x7f",   "ä€😀",
        "?",       "-",        "|",     ">",    "0000:03",    "unix:/run/x"};
    return kTexts[pick(std::size(kTexts))];
  }

  void set(Message& message, const FieldDescriptor& field, int index) {
    const auto* reflection = message.GetReflection();
    if (field.is_map()) {
      set_entry(message, field, index);
      return;
    }
    const bool repeated = field.is_repeated();
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_STRING:
        return repeated ? reflection->AddString(&message, &field, text())
                        : reflection->SetString(&message, &field, text());
      case FieldDescriptor::CPPTYPE_INT32:
        return reflection->SetInt32(&message, &field, static_cast<std::int32_t>(random_()));
      case FieldDescriptor::CPPTYPE_UINT32:
        return repeated ? reflection->AddUInt32(&message, &field, pick(UINT32_MAX))
                        : reflection->SetUInt32(&message, &field, pick(UINT32_MAX));
      case FieldDescriptor::CPPTYPE_UINT64:
        return reflection->SetUInt64(&message, &field, random_());
      case FieldDescriptor::CPPTYPE_BOOL:
        return reflection->SetBool(&message, &field, pick(2) == 1);
      case FieldDescriptor::CPPTYPE_ENUM:
        return reflection->SetEnumValue(&message, &field, 1);
      case FieldDescriptor::CPPTYPE_MESSAGE:
        return fill(repeated ? *reflection->AddMessage(&message, &field)
                             : *reflection->MutableMessage(&message, &field));
      default:
        FAIL() << field.full_name();
    }
  }

  void set_entry(Message& message, const FieldDescriptor& field, int index) {
    Message& entry = *message.GetReflection()->AddMessage(&message, &field);
    const auto* type = entry.GetDescriptor();
    entry.GetReflection()->SetString(&entry, type->map_key(), std::to_string(index) + text());
    set(entry, *type->map_value(), index);
  }

  std::mt19937_64 random_;
};

template <typename M>
void expect_round_trips() {
  for (std::uint32_t seed = 0; seed < 200; ++seed) {
    M message;
    Filler(seed).fill(message);
    for (const std::string& text : {to_yaml(message), to_json(message)}) {
      M read;
      for (const Fault& fault : read_text(text, read)) {
        ADD_FAILURE() << "seed " << seed << ": " << to_string(fault) << "\n" << text;
      }
      EXPECT_TRUE(MessageDifferencer::Equals(message, read)) << "seed " << seed << "\n" << text;
      if (testing::Test::HasFailure()) {
        return;
      }
    }
  }
}

TEST(RoundTrip, AnyServiceIsReadBackAsItWasWritten) {
  expect_round_trips<v1::Service>();
}
TEST(RoundTrip, AnyConfigurationIsReadBackAsItWasWritten) {
  expect_round_trips<v1::GatewayConfig>();
}
TEST(RoundTrip, AnyEventIsReadBackAsItWasWritten) {
  expect_round_trips<v1::ServiceEvent>();
}
TEST(RoundTrip, AnyStatusIsReadBackAsItWasWritten) {
  expect_round_trips<v1::GatewayStatus>();
}

TEST(ToYaml, IsBlockStyleWithJsonNamesAndWithoutDefaults) {
  v1::Service service;
  service.mutable_metadata()->set_name("web");
  (*service.mutable_metadata()->mutable_labels())["b"] = "2";
  (*service.mutable_metadata()->mutable_labels())["a"] = "x";
  service.mutable_spec()->add_load_balancer_ips("203.0.113.10");
  service.mutable_spec()->add_load_balancer_ips("2001:db8:113::10");
  service.mutable_spec()->add_ports()->set_port(80);
  service.mutable_spec()->add_endpoints()->add_addresses("10.10.0.11");
  service.mutable_spec()->mutable_endpoints(0)->mutable_conditions()->set_ready(false);
  service.mutable_spec()->add_endpoints();
  service.mutable_status()->set_revision(18446744073709551615U);
  EXPECT_EQ(to_yaml(service),
            "metadata:\n"
            "  name: web\n"
            "  labels:\n"
            "    a: x\n"
            "    b: \"2\"\n"
            "spec:\n"
            "  ports:\n"
            "  - port: 80\n"
            "  loadBalancerIPs:\n"
            "  - 203.0.113.10\n"
            "  - 2001:db8:113::10\n"
            "  endpoints:\n"
            "  - addresses:\n"
            "    - 10.10.0.11\n"
            "    conditions:\n"
            "      ready: false\n"
            "  - {}\n"
            "status:\n"
            "  revision: 18446744073709551615\n");
}

TEST(ToYaml, OfAnEmptyMessageIsAnEmptyMapping) {
  EXPECT_EQ(to_yaml(v1::Service{}), "{}\n");
}

TEST(ToJson, HasJsonNames) {
  v1::ServicePort port;
  port.set_target_port(8080);
  EXPECT_EQ(to_json(port), "{\n \"targetPort\": 8080\n}\n");
}

}  // namespace
}  // namespace sluice::manifest
