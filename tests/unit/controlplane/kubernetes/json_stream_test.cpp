// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/json_stream.h"

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

namespace sluice::kubernetes {
namespace {

using Texts = std::vector<std::string>;

// Brackets, quotes and escapes where they mean nothing.
constexpr const char* kHostile =
    R"({"metadata":{"name":"a}","annotations":{"x":"{\"items\":[{","y":"]}\\","z":"\\\"}]"}}})";

// What is read of `pieces`, fed one after the other.
Texts events_of(const Texts& pieces) {
  Texts events;
  EventSplitter splitter([&](std::string_view event) { events.emplace_back(event); });
  for (const std::string& piece : pieces) {
    splitter.feed(piece);
  }
  EXPECT_EQ(splitter.passed_over(), 0U);
  return events;
}

struct List {
  Texts items;
  std::string envelope;
  bool complete = false;

  friend bool operator==(const List&, const List&) = default;
  friend std::ostream& operator<<(std::ostream& out, const List& list) {
    for (const std::string& item : list.items) {
      out << item << '\n';
    }
    return out << list.envelope << (list.complete ? "" : " to be continued");
  }
};

List list_of(const Texts& pieces) {
  List list;
  ListSplitter splitter([&](std::string_view item) { list.items.emplace_back(item); });
  for (const std::string& piece : pieces) {
    splitter.feed(piece);
  }
  EXPECT_EQ(splitter.passed_over(), 0U);
  list.envelope = splitter.envelope();
  list.complete = splitter.is_complete();
  return list;
}

Texts octets_of(const std::string& text) {
  Texts octets;
  for (const char octet : text) {
    octets.emplace_back(1, octet);
  }
  return octets;
}

// A JSON text of this many octets.
std::string object_of_size(std::size_t octets) {
  const std::string begin = R"({"a":")";
  const std::string end = R"("})";
  return begin + std::string(octets - begin.size() - end.size(), 'x') + end;
}

TEST(JsonScanner, DepthIsThatOfWhatFollowsAndStringsHaveNone) {
  JsonScanner scanner;
  std::string depths;
  for (const char octet : std::string(R"({"}":[{"\"]":"\\"}]})")) {
    scanner.take(octet);
    depths += std::to_string(scanner.depth()) + (scanner.in_string() ? "s" : " ");
  }
  EXPECT_EQ(depths, "1 1s1s1 1 2 3 3s3s3s3s3 3 3s3s3s3 2 1 0 ");
}

TEST(JsonScanner, WhatClosesWithoutAnOpeningIsPassedOver) {
  JsonScanner scanner;
  for (const char octet : std::string("]}{")) {
    scanner.take(octet);
  }
  EXPECT_EQ(scanner.depth(), 1U);
}

TEST(JsonStream, AnEventIsFoundWhereverThePiecesBreak) {
  const Texts events{R"({"type":"ADDED","object":{"metadata":{"name":"a"}}})", kHostile, "{}"};
  const std::string stream = events[0] + "\n" + events[1] + "\r\n\n" + events[2] + "\n";
  for (std::size_t first = 0; first <= stream.size(); ++first) {
    for (std::size_t second = first; second <= stream.size(); ++second) {
      ASSERT_EQ(events_of({stream.substr(0, first), stream.substr(first, second - first),
                           stream.substr(second)}),
                events)
          << first << ", " << second;
    }
  }
  EXPECT_EQ(events_of(octets_of(stream)), events);
}

TEST(JsonStream, EventsNeedNothingBetweenThem) {
  EXPECT_EQ(events_of({"{}{\"a\":1}{}"}), (Texts{"{}", "{\"a\":1}", "{}"}));
}

TEST(JsonStream, APrettyPrintedEventKeepsItsLines) {
  const std::string event = "{\n  \"type\": \"ADDED\",\n  \"object\": {\n  }\n}";
  EXPECT_EQ(events_of({"\n\n" + event + "\n" + event}), (Texts{event, event}));
}

TEST(JsonStream, WhatIsNoObjectIsPassedOverBetweenEvents) {
  EXPECT_EQ(events_of({"null 1 ]}, [{\"a\":1}] true{}"}), (Texts{"{\"a\":1}", "{}"}));
}

TEST(JsonStream, AnEventIsGivenWithItsLastOctetAndNeverBefore) {
  const std::string event = kHostile;
  for (std::size_t size = 0; size < event.size(); ++size) {
    ASSERT_EQ(events_of({event.substr(0, size)}), Texts{}) << size;
    ASSERT_EQ(events_of({"{}\n" + event.substr(0, size)}), Texts{"{}"}) << size;
  }
  EXPECT_EQ(events_of({event}), Texts{event});
}

TEST(JsonStream, AnEventThatIsTooLargeIsPassedOverAndThoseAfterItCome) {
  Texts events;
  std::vector<std::size_t> sizes;
  EventSplitter splitter([&](std::string_view event) {
    sizes.push_back(event.size());
    events.emplace_back(event.substr(0, 16));
  });
  splitter.feed("{}\n");
  splitter.feed(object_of_size(kObjectBytesMax));
  EXPECT_EQ(splitter.passed_over(), 0U);
  splitter.feed(object_of_size(kObjectBytesMax + 1));
  EXPECT_EQ(splitter.passed_over(), 1U);
  splitter.feed("\n{\"b\":1}\n");
  splitter.feed(object_of_size(kObjectBytesMax + 4096) + "{\"c\":2}");
  EXPECT_EQ(splitter.passed_over(), 2U);
  EXPECT_EQ(sizes, (std::vector<std::size_t>{2, kObjectBytesMax, 7, 7}));
  EXPECT_EQ(events, (Texts{"{}", R"({"a":"xxxxxxxxxx)", "{\"b\":1}", "{\"c\":2}"}));
}

TEST(JsonStream, AListIsTheSameWhereverThePiecesBreak) {
  const List expected{{R"({"metadata":{"name":"a"}})", kHostile, "{}"},
                      R"({"kind":"ServiceList","metadata":{"continue":"x"},"items":[],"a":[{}]})",
                      true};
  const std::string text =
      R"({"kind":"ServiceList","metadata":{"continue":"x"},"items":[{"metadata":{"name":"a"}},)" +
      std::string(kHostile) + R"(,{}],"a":[{}]})" + "\n";
  ASSERT_EQ(list_of({text}), expected);
  for (std::size_t first = 0; first <= text.size(); ++first) {
    for (std::size_t second = first; second <= text.size(); ++second) {
      ASSERT_EQ(
          list_of({text.substr(0, first), text.substr(first, second - first), text.substr(second)}),
          expected)
          << first << ", " << second;
    }
  }
  EXPECT_EQ(list_of(octets_of(text)), expected);
}

TEST(JsonStream, APrettyPrintedListIsReadAsAnyOther) {
  const std::string text =
      "{\n  \"kind\": \"ServiceList\",\n  \"metadata\": {\n    \"resourceVersion\": \"261\"\n  },\n"
      "  \"items\" : [\n    {\n      \"a\": [1, 2]\n    },\r\n\t{\n      \"b\": {}\n    }\n  "
      "]\n}\n";
  const List list = list_of(octets_of(text));
  EXPECT_EQ(list.items, (Texts{"{\n      \"a\": [1, 2]\n    }", "{\n      \"b\": {}\n    }"}));
  EXPECT_EQ(list.envelope,
            R"({"kind":"ServiceList","metadata":{"resourceVersion":"261"},"items":[]})");
  EXPECT_TRUE(list.complete);
}

TEST(JsonStream, MetadataMayComeAfterTheItems) {
  EXPECT_EQ(
      list_of({R"({"items":[{"a":1},{"b":2}],"metadata":{"resourceVersion":"7"}})"}),
      (List{
          {"{\"a\":1}", "{\"b\":2}"}, R"({"items":[],"metadata":{"resourceVersion":"7"}})", true}));
}

TEST(JsonStream, AListWithoutItemsIsComplete) {
  for (const char* text :
       {R"({"metadata":{},"items":[]})", R"({"items":null,"metadata":{}})", R"({"metadata":{}})",
        R"({"items":[],"metadata":{}})", R"({"metadata":{},"items":null})", "{}"}) {
    EXPECT_EQ(list_of({text}), (List{{}, text, true})) << text;
  }
  EXPECT_EQ(list_of({"{\"items\": [\n  ]}"}), (List{{}, "{\"items\":[]}", true}));
}

TEST(JsonStream, ItemsElsewhereAreNotTheLists) {
  const Texts texts{R"({"metadata":{"items":[{"a":1}]},"items":[]})",
                    R"({"metadata":{"a":{"items":[{"a":1}]}},"items":[]})",
                    R"({"metadata":{"annotations":{"x":"\"items\":[{}]"}},"items":[]})",
                    R"({"x":"\"items\":[","items":[]})",
                    R"({"x":"\"items\":[{\"a\":1}]"})",
                    R"({"other":[{"a":1}],"items":[]})",
                    R"({"more items":[{"a":1}],"items":[]})",
                    R"({"it ems":[{"a":1}],"items":[]})",
                    R"({"items":[],"other":[{"a":1}]})",
                    R"({"items":{"items":[{"a":1}]}})",
                    R"({"x":"items","other":[{"a":1}]})"};
  for (const std::string& text : texts) {
    EXPECT_EQ(list_of({text}), (List{{}, text, true})) << text;
    EXPECT_EQ(list_of(octets_of(text)), (List{{}, text, true})) << text;
  }
  EXPECT_EQ(list_of({R"({"items":[{"items":[{"a":1}]},{"b":"\"items\":["}]})"}),
            (List{{R"({"items":[{"a":1}]})", R"({"b":"\"items\":["})"}, R"({"items":[]})", true}));
}

TEST(JsonStream, TextOfTheEnvelopeKeepsItsSpaces) {
  EXPECT_EQ(list_of({"{ \"metadata\" : { \"continue\" : \"a b\\\" c\" } }"}).envelope,
            R"({"metadata":{"continue":"a b\" c"}})");
}

TEST(JsonStream, AnItemIsGivenWithItsLastOctetAndAListIsCompleteWithIts) {
  const std::string first = R"({"a":"}]"})";
  const std::string text = R"({"items":[)" + first + "," + kHostile + "]}";
  const std::size_t first_ends = text.find(first) + first.size();
  const std::size_t second_ends = text.size() - 2;
  for (std::size_t size = 0; size <= text.size(); ++size) {
    const List list = list_of({text.substr(0, size)});
    const std::size_t items = (size >= first_ends ? 1 : 0) + (size >= second_ends ? 1 : 0);
    ASSERT_EQ(list.items.size(), items) << size;
    ASSERT_EQ(list.complete, size == text.size()) << size;
  }
}

TEST(JsonStream, WhatFollowsAListIsNotRead) {
  EXPECT_EQ(list_of({R"({"items":[{"a":1}]} {"items":[{"b":2}]})", "{\"items\":[{}]}"}),
            (List{{"{\"a\":1}"}, "{\"items\":[]}", true}));
}

TEST(JsonStream, AnItemThatIsTooLargeIsPassedOverAndThoseAfterItCome) {
  std::vector<std::size_t> sizes;
  ListSplitter splitter([&](std::string_view item) { sizes.push_back(item.size()); });
  splitter.feed("{\"items\":[{},");
  splitter.feed(object_of_size(kObjectBytesMax) + ",");
  EXPECT_EQ(splitter.passed_over(), 0U);
  splitter.feed(object_of_size(kObjectBytesMax + 1));
  EXPECT_EQ(splitter.passed_over(), 1U);
  splitter.feed(",{\"b\":1}],\"metadata\":{\"resourceVersion\":\"7\"}}");
  EXPECT_EQ(splitter.passed_over(), 1U);
  EXPECT_EQ(sizes, (std::vector<std::size_t>{2, kObjectBytesMax, 7}));
  EXPECT_TRUE(splitter.is_complete());
  EXPECT_EQ(splitter.envelope(), R"({"items":[],"metadata":{"resourceVersion":"7"}})");
}

TEST(JsonStream, AnEnvelopeIsHeldToALimit) {
  ListSplitter splitter([](std::string_view) {});
  splitter.feed("{\"items\":[],\"x\":\"" + std::string(std::size_t{4} << 20, 'x') + "\"}");
  EXPECT_TRUE(splitter.is_complete());
  EXPECT_LE(splitter.envelope().size(), std::size_t{1} << 20);
}

TEST(JsonStream, WhatIsNoListIsSurvived) {
  for (const char* text :
       {"", "]", "}", "[]", "[{\"items\":[{}]}]", "\"}\"", "null", "]]]]{\"items\":", "k8s\0x",
        "{\"items\":[1,\"}\",[2],null]}", "{\"items\":[[{}]]}"}) {
    for (const char* end : {"", "{", "}", "[", "]", "\"", "\\", "}}}}]]]]"}) {
      list_of({text, end});
      events_of({text, end});
    }
  }
}

}  // namespace
}  // namespace sluice::kubernetes
