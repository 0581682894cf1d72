// SPDX-License-Identifier: Apache-2.0
// Envelopes of what a server says, and text that no server says.
#include "controlplane/kubernetes/decode.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>

namespace sluice::kubernetes {
namespace {

constexpr const char* kService =
    R"({"metadata":{"namespace":"a","name":"b","labels":{"c":"d"},"finalizers":["e"]},
    "spec":{"clusterIPs":["10.0.0.1"],"ports":[{"name":"f","port":80}],
    "sessionAffinityConfig":{"clientIP":{"timeoutSeconds":9}}},
    "status":{"loadBalancer":{"ingress":[{"ip":"g"}]}}})";
constexpr const char* kSlice =
    R"({"metadata":{"name":"b","labels":{"kubernetes.io/service-name":"c"}},"ports":[{"port":80}],
    "endpoints":[{"addresses":["fd::1"],"conditions":{"ready":true},"zone":"\u00e4",
    "hints":{"forZones":[{"name":"z"}]}}]})";
constexpr const char* kNode =
    R"({"metadata":{"name":"b"},"spec":{"podCIDRs":["10.0.0.0/24"],"taints":[{"key":"x"}]},
    "status":{"addresses":[{"type":"InternalIP","address":"10.0.0.1"}]}})";
constexpr const char* kExpired =
    R"x({"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},
    "status":"Failure","message":"too old resource version: 1 (288)",
    "reason":"Expired","code":410}})x";

// Each kind of reading of one text, with one decoder; how many of them found something.
int readings_of(Decoder& decoder, Names& names, std::string_view json) {
  int found = decoder.service(json).has_value() ? 1 : 0;
  found += decoder.slice(json, names).has_value() ? 1 : 0;
  found += decoder.node(json).has_value() ? 1 : 0;
  found += decoder.status(json).has_value() ? 1 : 0;
  found += decoder.list(json).has_value() ? 1 : 0;
  found += decoder.event(json).has_value() ? 1 : 0;
  found += decoder.resource_version(json).empty() ? 0 : 1;
  found += decoder.name(json).name.empty() ? 0 : 1;
  return found;
}

TEST(DecodeEvent, ItsTypeIsOneOfFiveOrUnknown) {
  const std::pair<const char*, EventType> cases[] = {
      {R"("ADDED")", EventType::kAdded},     {R"("MODIFIED")", EventType::kModified},
      {R"("DELETED")", EventType::kDeleted}, {R"("BOOKMARK")", EventType::kBookmark},
      {R"("ERROR")", EventType::kError},     {R"("RENAMED")", EventType::kUnknown},
      {R"("added")", EventType::kUnknown},   {R"("")", EventType::kUnknown},
      {"null", EventType::kUnknown}};
  Decoder decoder;
  for (const auto& [word, type] : cases) {
    const auto event = decoder.event(std::string("{\"type\":") + word + ",\"object\":{}}");
    ASSERT_TRUE(event) << word;
    EXPECT_EQ(event->type, type) << word;
    EXPECT_EQ(event->object, "{}");
  }
  const auto event = decoder.event("{\"object\":{}}");
  ASSERT_TRUE(event);
  EXPECT_EQ(event->type, EventType::kUnknown);
}

TEST(DecodeEvent, WithoutAnObjectOrATypeThatIsAWordThereIsNone) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"type":"ADDED"})", "object: expected an object"},
      {R"({"type":"ADDED","object":null})", "object: expected an object"},
      {R"({"type":"ADDED","object":[]})", "object: expected an object"},
      {R"({"type":1,"object":{}})", "type: expected a string"},
      {"[]", "expected an object"}};
  Decoder decoder;
  for (const auto& [json, fault] : cases) {
    EXPECT_FALSE(decoder.event(json)) << json;
    EXPECT_EQ(decoder.fault(), fault) << json;
  }
}

TEST(DecodeEvent, ItsObjectIsTheObjectItself) {
  Decoder decoder;
  const auto event = decoder.event(
      R"({"object" : {"metadata":{"namespace":"a\"}","name":"b\\\u00e4","resourceVersion":"7"},
      "spec":{"ports":[{"port":80}], "externalName":"\u0001\n\t\ud83d\ude00"}},
      "type":"MODIFIED"})");
  ASSERT_TRUE(event);
  EXPECT_EQ(event->type, EventType::kModified);
  const std::string object(event->object);
  const auto service = decoder.service(object);
  ASSERT_TRUE(service) << decoder.fault();
  EXPECT_EQ(service->meta.name, (ServiceName{"a\"}", "b\\\xc3\xa4"}));
  EXPECT_EQ(service->ports.at(0).port, 80);
  EXPECT_EQ(service->external_name, "\x01\n\t\xf0\x9f\x98\x80");
  EXPECT_EQ(decoder.resource_version(object), "7");
}

TEST(DecodeEvent, ItsObjectIsValidWhileItIsDecoded) {
  Decoder decoder;
  const auto event =
      decoder.event(R"({"type":"ADDED","object":{"metadata":{"name":"b","resourceVersion":"7"}}})");
  ASSERT_TRUE(event);
  EXPECT_TRUE(decoder.service(event->object));
  EXPECT_FALSE(decoder.status("{"));
  EXPECT_EQ(decoder.resource_version(event->object), "7");
  EXPECT_EQ(decoder.name(event->object).name, "b");
}

TEST(DecodeEvent, ABookmarkHasAVersionAndNoName) {
  Decoder decoder;
  const auto event = decoder.event(
      R"({"type":"BOOKMARK","object":{"kind":"Service","apiVersion":"v1","metadata":
      {"resourceVersion":"288","creationTimestamp":null},"spec":{},
      "status":{"loadBalancer":{}}}})");
  ASSERT_TRUE(event);
  EXPECT_EQ(event->type, EventType::kBookmark);
  const std::string object(event->object);
  EXPECT_EQ(decoder.resource_version(object), "288");
  EXPECT_EQ(decoder.name(object), ServiceName());
  EXPECT_FALSE(decoder.service(object)) << "it must not be stored";
}

TEST(DecodeEvent, AnErrorHasAStatus) {
  Decoder decoder;
  const auto event = decoder.event(kExpired);
  ASSERT_TRUE(event);
  EXPECT_EQ(event->type, EventType::kError);
  const auto status = decoder.status(std::string(event->object));
  ASSERT_TRUE(status);
  EXPECT_EQ(status->code, 410);
  EXPECT_EQ(status->reason, "Expired");
  EXPECT_EQ(status->message, "too old resource version: 1 (288)");
}

TEST(DecodeStatus, WhatItDoesNotSayIsNothing) {
  Decoder decoder;
  for (const char* json :
       {"{}", R"({"code":null,"reason":null,"message":null,"details":{"retryAfterSeconds":1}})"}) {
    const auto status = decoder.status(json);
    ASSERT_TRUE(status) << json;
    EXPECT_EQ(status->code, 0);
    EXPECT_EQ(status->reason + status->message, "");
  }
  for (const char* json : {"", "<html></html>", R"({"code":"410"})", R"({"reason":1})", "null"}) {
    EXPECT_FALSE(decoder.status(json)) << json;
    EXPECT_NE(decoder.fault(), "") << json;
  }
}

TEST(DecodeList, AnEnvelopeHasAVersionAndATokenWhileThereIsMore) {
  Decoder decoder;
  const auto list = decoder.list(
      R"({"kind":"ServiceList","metadata":{"resourceVersion":"261","continue":"a b",
      "remainingItemCount":9},"items":[]})");
  ASSERT_TRUE(list);
  EXPECT_EQ(list->resource_version, "261");
  EXPECT_EQ(list->continue_token, "a b");
  for (const char* json : {"{}", R"({"metadata":null,"items":null})", R"({"metadata":{}})",
                           R"({"metadata":{"resourceVersion":null,"continue":null}})"}) {
    const auto bare = decoder.list(json);
    ASSERT_TRUE(bare) << json;
    EXPECT_EQ(bare->resource_version + bare->continue_token, "") << json;
  }
  EXPECT_FALSE(decoder.list(R"({"metadata":{"continue":1}})"));
  EXPECT_EQ(decoder.fault(), "continue: expected a string");
}

TEST(DecodeName, IsReadAsFarAsItGoes) {
  Decoder decoder;
  EXPECT_EQ(decoder.name(R"({"metadata":{"namespace":"a","name":"b"},"spec":5})"),
            (ServiceName{"a", "b"}));
  EXPECT_EQ(decoder.name(R"({"metadata":{"namespace":1,"name":"b"}})"), (ServiceName{"", "b"}));
  for (const char* json : {"", "{", "{}", "[]", R"({"metadata":[]})", R"({"metadata":{}})"}) {
    EXPECT_EQ(decoder.name(json), ServiceName()) << json;
    EXPECT_EQ(decoder.resource_version(json), "") << json;
  }
}

TEST(DecodeHostile, NoPrefixOfAnObjectIsOneNorACrash) {
  Decoder decoder;
  Names names;
  for (const std::string whole : {kService, kSlice, kNode, kExpired}) {
    EXPECT_GT(readings_of(decoder, names, whole), 0) << whole;
    for (std::size_t size = 0; size < whole.size(); ++size) {
      // Of exactly this size on the heap, so that a sanitizer sees what is read behind it.
      const auto prefix = std::make_unique<char[]>(size);
      std::copy_n(whole.begin(), size, prefix.get());
      ASSERT_EQ(readings_of(decoder, names, {prefix.get(), size}), 0) << size;
    }
  }
}

TEST(DecodeHostile, NoFlippedBitIsACrash) {
  Decoder decoder;
  Names names;
  for (const std::string whole : {kService, kSlice, kNode, kExpired}) {
    for (std::size_t at = 0; at < whole.size(); ++at) {
      for (int bit = 0; bit < 8; ++bit) {
        std::string mutated = whole;
        mutated[at] = static_cast<char>(mutated[at] ^ (1 << bit));
        readings_of(decoder, names, mutated);
      }
    }
    EXPECT_GT(readings_of(decoder, names, whole), 0) << "and it goes on";
  }
}

TEST(DecodeHostile, NoWordInPlaceOfAnOctetIsACrash) {
  Decoder decoder;
  Names names;
  for (const std::string whole : {kService, kSlice, kNode, kExpired}) {
    for (std::size_t at = 0; at < whole.size(); ++at) {
      for (const char* word : {"", "null", "{}", "[]", "\"", "\\", "{", "]", "1e999", "-", "\xff",
                               "18446744073709551616", "\\ud800"}) {
        std::string mutated = whole;
        mutated.replace(at, 1, word);
        readings_of(decoder, names, mutated);
      }
    }
  }
}

TEST(DecodeHostile, WhatIsNoObjectIsNoCrashAndHasAFault) {
  Decoder decoder;
  const std::string deep(100'000, '[');
  const std::string nested = R"({"metadata":{"name":"a"},"spec":)" + deep;
  const std::string closed =
      R"({"metadata":{"name":"a"},"x":)" + deep + std::string(deep.size(), ']') + "}";
  for (const std::string& json :
       {std::string(), std::string("null"), std::string("5"), std::string("\"x\""),
        std::string("[{}]"), std::string("k8s\0\x0a", 5), std::string(4096, '\0'),
        std::string("{}{}"), std::string("{\"a\":\"\xff\"}"), deep, nested, closed}) {
    EXPECT_FALSE(decoder.service(json)) << json.substr(0, 100);
    EXPECT_NE(decoder.fault(), "");
    EXPECT_FALSE(decoder.event(json)) << json.substr(0, 100);
    EXPECT_NE(decoder.fault(), "");
  }
}

TEST(DecodeHostile, AnObjectAsLargeAsIsLetThroughIsRead) {
  Decoder decoder;
  const std::string large(std::size_t{2} << 20, 'x');
  const auto event =
      decoder.event(R"({"type":"ADDED","object":{"metadata":{"name":"a","annotations":{"x":")" +
                    large + "\"}}}}");
  ASSERT_TRUE(event);
  const auto service = decoder.service(event->object);
  ASSERT_TRUE(service);
  EXPECT_EQ(service->meta.annotations.at("x").size(), large.size());
}

}  // namespace
}  // namespace sluice::kubernetes
