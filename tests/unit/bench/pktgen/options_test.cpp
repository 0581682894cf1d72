// SPDX-License-Identifier: Apache-2.0
#include "bench/pktgen/options.h"

#include <gtest/gtest.h>

namespace sluice::pktgen {
namespace {

// What the words give; on refusal nothing, and the reason in `said`.
std::optional<Options> parse(std::vector<std::string> words, std::string* said = nullptr) {
  words.insert(words.begin(), {"sluice-pktgen", "--client-port", "net_null0"});
  std::vector<char*> argv;
  for (std::string& word : words) {
    argv.push_back(word.data());
  }
  int exit_code = 0;
  ::testing::internal::CaptureStderr();
  auto options = parse_options(static_cast<int>(argv.size()), argv.data(), &exit_code);
  const std::string error = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(exit_code, options ? 0 : 2);
  if (said != nullptr) {
    *said = error;
  }
  return options;
}

TEST(ParseSizes, TakesSizesWithTheFcsAndGivesThemWithout) {
  const auto one = parse_sizes("64");
  ASSERT_TRUE(one);
  EXPECT_EQ(one->front().bytes, 60);
  const auto imix = parse_sizes("imix");
  ASSERT_TRUE(imix);
  ASSERT_EQ(imix->size(), 3U);
  EXPECT_EQ((*imix)[2].bytes, 1514);
  EXPECT_EQ((*imix)[0].weight, 7U);
  for (const char* wrong : {"", "63", "1519", "64:0", "64:", "64;2", "64:1,x", "64:1x"}) {
    EXPECT_FALSE(parse_sizes(wrong)) << wrong;
  }
}

TEST(ParseRate, TakesUnits) {
  EXPECT_EQ(parse_rate("max"), 0.0);
  EXPECT_EQ(parse_rate("14.88M"), 14.88e6);
  EXPECT_EQ(parse_rate("500k"), 5e5);
  EXPECT_EQ(parse_rate("1000"), 1e3);
  for (const char* wrong : {"", "fast", "-1", "1G"}) {
    EXPECT_FALSE(parse_rate(wrong)) << wrong;
  }
}

TEST(ParseOptions, ChoosesTheFamilyByTheVip) {
  const auto four = parse({});
  ASSERT_TRUE(four);
  EXPECT_EQ(four->traffic.client, *parse_ip("198.18.0.1"));
  EXPECT_EQ(four->traffic.sizes.front().bytes, 60);
  EXPECT_EQ(four->backend_port, "net_null0");
  const auto six = parse({"--vip", "2001:db8::1", "--backend", "2001:db8::2"});
  ASSERT_TRUE(six);
  EXPECT_EQ(six->traffic.client, *parse_ip("2001:2::1"));
  EXPECT_EQ(six->traffic.sizes.front().bytes, 70);
}

TEST(ParseOptions, RefusesWhatCannotBeByTheNameOfTheOption) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases{
      {{"--vip", "2001:db8::1"}, "--backend"},
      {{"--clients", "3"}, "--clients"},
      {{"--clients", "1", "--flows", "40000"}, "--flows"},
      {{"--syn-only"}, "--syn-only"},
      {{"--size", "60"}, "--size"},
      {{"--vip", "2001:db8::1", "--backend", "2001:db8::2", "--size", "64"}, "--size"},
      {{"--new-flows", "10k"}, "--new-flows"},
      {{"--rate", "fast"}, "--rate"},
      {{"--latency-sample", "3"}, "--latency-sample"},
      {{"--vip", "2001:db8::1", "--backend", "2001:db8::2", "--no-udp-checksum"},
       "--no-udp-checksum"},
      {{"--linger", "3601"}, "--linger"},
  };
  for (const auto& [words, option] : cases) {
    std::string said;
    EXPECT_FALSE(parse(words, &said)) << option;
    EXPECT_NE(said.find(option), std::string::npos) << said;
  }
}

}  // namespace
}  // namespace sluice::pktgen
