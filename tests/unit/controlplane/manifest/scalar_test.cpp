// SPDX-License-Identifier: Apache-2.0
#include "controlplane/manifest/scalar.h"

#include <gtest/gtest.h>

namespace sluice::manifest {
namespace {

TEST(KindOfPlain, FollowsTheCoreSchemaOfYaml12) {
  const std::pair<const char*, ScalarKind> cases[] = {
      {"", ScalarKind::kNull},         {"~", ScalarKind::kNull},
      {"null", ScalarKind::kNull},     {"true", ScalarKind::kBool},
      {"FALSE", ScalarKind::kBool},    {"tRue", ScalarKind::kText},
      {"yes", ScalarKind::kText},      {"0", ScalarKind::kWhole},
      {"-12", ScalarKind::kWhole},     {"+12", ScalarKind::kWhole},
      {"0x1F", ScalarKind::kWhole},    {"0o17", ScalarKind::kWhole},
      {"0x", ScalarKind::kText},       {"-", ScalarKind::kText},
      {"1.5", ScalarKind::kFraction},  {".5", ScalarKind::kFraction},
      {"1.", ScalarKind::kFraction},   {"1e3", ScalarKind::kFraction},
      {"1e", ScalarKind::kText},       {"-.inf", ScalarKind::kFraction},
      {".nan", ScalarKind::kFraction}, {".", ScalarKind::kText},
      {"1.2.3", ScalarKind::kText},    {"192.0.2.1", ScalarKind::kText},
      {"100us", ScalarKind::kText},    {"1024-65535", ScalarKind::kText},
      {"::1", ScalarKind::kText},      {"12:30", ScalarKind::kText},
  };
  for (const auto& [text, kind] : cases) {
    EXPECT_EQ(kind_of_plain(text), kind) << text;
  }
}

TEST(KindOf, QuotesMakeText) {
  EXPECT_EQ(kind_of(YAML::Load("\"80\"")), ScalarKind::kText);
  EXPECT_EQ(kind_of(YAML::Load("'true'")), ScalarKind::kText);
  EXPECT_EQ(kind_of(YAML::Load("!!str 80")), ScalarKind::kText);
  EXPECT_EQ(kind_of(YAML::Load("80")), ScalarKind::kWhole);
}

TEST(Describe, CutsLongTextOff) {
  EXPECT_EQ(describe(YAML::Load(std::string(100, 'x'))),
            "the text '" + std::string(60, 'x') + "...'");
}

TEST(IsUtf8, RefusesWhatProtobufRefuses) {
  for (const char* good : {"", "plain", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
                           "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf"}) {
    EXPECT_TRUE(is_utf8(good)) << good;
  }
  for (const char* bad :
       {"\xff", "\x80", "\xc3", "\xc0\xaf", "\xc1\xbf", "\xe0\x80\x80", "\xed\xa0\x80",
        "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82", "a\xe2\x82z"}) {
    EXPECT_FALSE(is_utf8(bad)) << bad;
  }
}

TEST(NeedsQuotes, OnlyWhereAReaderWouldTakeItForSomethingElse) {
  for (const char* plain :
       {"web", "203.0.113.10", "203.0.113.10:80", "2001:db8::10", "::1", "0.0.0.0/0",
        "unix:/run/sluice.sock", "100us", "a, b", "FULL_NAT", "net_memif0,role=client"}) {
    EXPECT_FALSE(needs_quotes(plain)) << plain;
  }
  for (const char* quoted :
       {"",           "80",  "1.5",  "true", "True", "yes", "Off",        "null", "~",  "12:30:45",
        "2024-01-31", "- a", "a: b", "a:",   "a #b", "#",   " a",         "a ",   "\n", "&a",
        "*a",         "!a",  "[",    "{",    "\"",   "'",   "2001:db8::", "1_000"}) {
    EXPECT_TRUE(needs_quotes(quoted)) << quoted;
  }
}

TEST(EditDistance, CountsChangesAndNotLetterCase) {
  EXPECT_EQ(edit_distance("ports", "ports"), 0U);
  EXPECT_EQ(edit_distance("Ports", "pORTS"), 0U);
  EXPECT_EQ(edit_distance("prots", "ports"), 2U);
  EXPECT_EQ(edit_distance("port", "ports"), 1U);
  EXPECT_EQ(edit_distance("", "abc"), 3U);
  EXPECT_EQ(edit_distance("abc", ""), 3U);
}

}  // namespace
}  // namespace sluice::manifest
