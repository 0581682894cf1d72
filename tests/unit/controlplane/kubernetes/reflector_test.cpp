// SPDX-License-Identifier: Apache-2.0
// KUBERNETES.md 1.1 to 1.24: list and watch against a server that misbehaves.
#include "controlplane/kubernetes/reflector.h"

#include "tests/unit/controlplane/kubernetes/api_stub.h"

#include <gtest/gtest.h>

#include <deque>
#include <memory>

namespace sluice::kubernetes {
namespace {

using std::chrono::milliseconds;
using Clock = Backoff::Clock;

// A request that follows at once comes sooner than after the least pause.
constexpr milliseconds kAtOnce = Backoff::kFirst;

std::string object(const std::string& name, const std::string& version) {
  return R"({"metadata":{"name":")" + name + R"(","resourceVersion":")" + version + R"("}})";
}
std::string event(const std::string& type, const std::string& name, const std::string& version) {
  return R"({"type":")" + type + R"(","object":)" + object(name, version) + "}\n";
}
std::string list_of(const std::string& items, const std::string& version,
                    const std::string& more = "") {
  return R"({"kind":"ServiceList","metadata":{"resourceVersion":")" + version +
         R"(","continue":")" + more + R"("},"items":[)" + items + "]}";
}
Answer gone_in_a_stream() {
  return {
      200,
      R"({"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}})"};
}
Answer watch_of(const std::string& events) {
  return {.status = 200, .body = "", .stream = open_after(events)};
}

Answer cut_after(milliseconds time, const std::string& events) {
  const auto until = std::make_shared<std::optional<Clock::time_point>>();
  return {.status = 200,
          .body = "",
          .stream = [=]() -> std::optional<std::string> {
            if (!*until) {
              *until = Clock::now() + time;
              return events;
            }
            return Clock::now() < **until ? std::optional(std::string()) : std::nullopt;
          },
          .breaks_off = true};
}

// What has been seen, as text: "[" and "]" around a list, then names, "-" before what went.
class Seen final : public ObjectSink {
 public:
  void begin_list() override {
    wants_list_ = false;
    add("[");
  }
  void end_list() override { add("]"); }
  void take(std::string_view json) override { add(name_in(json)); }
  void remove(std::string_view json) override { add("-" + name_in(json)); }
  [[nodiscard]] const std::atomic<bool>& wants_list() const override { return wants_list_; }

  void want_list() { wants_list_ = true; }
  [[nodiscard]] std::string text() const {
    const std::lock_guard lock(mutex_);
    return text_;
  }

 private:
  static std::string name_in(std::string_view json) {
    constexpr std::string_view kKey = R"("name":")";
    const std::size_t at = json.find(kKey) + kKey.size();
    return std::string(json.substr(at, json.find('"', at) - at));
  }
  void add(const std::string& what) {
    const std::lock_guard lock(mutex_);
    text_ += (text_.empty() ? "" : " ") + what;
  }
  mutable std::mutex mutex_;
  std::string text_;
  std::atomic<bool> wants_list_{false};
};

class ReflectorTest : public ::testing::Test {
 protected:
  // What lists and watches are answered in turn; then an empty list, and a watch that stays open.
  std::deque<Answer> lists_;
  std::deque<Answer> watches_;
  ApiStub server_{[this](const Asked& asked) { return answer(asked); }};
  const ClusterAccess access_ = server_.access();
  Credentials credentials_{access_};
  Seen seen_;
  std::unique_ptr<Reflector> reflector_;

  Answer answer(const Asked& asked) {
    auto& answers = asked.is_watch() ? watches_ : lists_;
    if (answers.empty()) {
      return asked.is_watch() ? watch_of("") : Answer{200, list_of("", "99")};
    }
    Answer next = std::move(answers.front());
    answers.pop_front();
    return next;
  }
  void start(milliseconds silence_max = milliseconds(60'000)) {
    reflector_ = std::make_unique<Reflector>(ReflectorSettings{.what = "services",
                                                               .path = "/api/v1/services",
                                                               .selector = "!a,b=c",
                                                               .page = 2,
                                                               .silence_max = silence_max},
                                             access_, credentials_, seen_);
  }
  bool sees(const std::string& text) {
    const bool sees = within(kSoon, [&] { return seen_.text() == text; });
    EXPECT_EQ(seen_.text(), text);
    return sees;
  }
  // Of the requests so far, those of a kind.
  std::vector<Asked> asked(bool watches) {
    std::vector<Asked> all = server_.asked();
    std::erase_if(all, [&](const Asked& each) { return each.is_watch() != watches; });
    return all;
  }
  std::vector<Asked> await(bool watches, std::size_t count) {
    EXPECT_TRUE(within(kSoon, [&] { return asked(watches).size() >= count; }));
    std::vector<Asked> all = asked(watches);
    EXPECT_GE(all.size(), count);
    all.resize(std::max(all.size(), count));
    return all;
  }
};

TEST_F(ReflectorTest, ListsInPagesAndWatchesFromTheListsVersion) {
  lists_ = {{200, list_of(object("a", "3") + "," + object("b", "5"), "7", "to ken")},
            {200, list_of(object("c", "1"), "7")}};
  watches_ = {watch_of(event("ADDED", "d", "8") + event("MODIFIED", "a", "9") +
                       event("DELETED", "b", "10"))};
  start();
  ASSERT_TRUE(sees("[ a b c ] d a -b"));
  const auto lists = asked(false);
  ASSERT_EQ(lists.size(), 2U);
  EXPECT_EQ(lists[0].path, "/api/v1/services");
  EXPECT_EQ(lists[0].query.at("limit"), "2");
  EXPECT_EQ(lists[0].query.at("labelSelector"), "!a,b=c");
  EXPECT_EQ(lists[1].query.at("continue"), "to ken");
  const auto watch = asked(true).at(0);
  EXPECT_EQ(watch.query.at("resourceVersion"), "7");
  EXPECT_EQ(watch.query.at("allowWatchBookmarks"), "true");
  EXPECT_EQ(watch.query.at("labelSelector"), "!a,b=c");
  EXPECT_GE(std::stoi(watch.query.at("timeoutSeconds")), 300);
  EXPECT_LE(std::stoi(watch.query.at("timeoutSeconds")), 600);
}

TEST_F(ReflectorTest, GoesOnFromTheLastEventOrBookmarkWhenAWatchEnds) {
  watches_ = {{200, event("ADDED", "a", "100")}, {200, event("BOOKMARK", "", "120")}};
  start();
  const auto watches = await(true, 3);
  EXPECT_EQ(watches[0].query.at("resourceVersion"), "99");
  EXPECT_EQ(watches[1].query.at("resourceVersion"), "100");
  EXPECT_EQ(watches[2].query.at("resourceVersion"), "120");
  EXPECT_TRUE(sees("[ ] a"));
  EXPECT_LT(watches[2].at - watches[1].at, kAtOnce) << "a clean end is no failure";
}

// As by a proxy in between that cuts what rests, for ever.
TEST_F(ReflectorTest, AWatchThatIsCutAfterAWhileGoesOnAtOnceAndOneThatIsCutAtOnceIsGivenAPause) {
  constexpr milliseconds kLife{1'200};
  watches_ = {cut_after(kLife, event("ADDED", "a", "100")), cut_after(kLife, ""),
              cut_after(kLife, ""), cut_after(kLife / 10, "")};
  start();
  const auto watches = await(true, 5);
  for (std::size_t i = 1; i < 4; ++i) {
    EXPECT_LT(watches[i].at - watches[i - 1].at, kLife + kAtOnce) << i;
  }
  EXPECT_GE(watches[4].at - watches[3].at, kAtOnce);
  EXPECT_EQ(watches[4].query.at("resourceVersion"), "100");
  EXPECT_EQ(asked(false).size(), 1U);
}

TEST_F(ReflectorTest, WhatIsKnownStaysUntilAWholeListHasCome) {
  lists_ = {{200, list_of(object("a", "3"), "7", "next")}, {500, "{}"}, {200, list_of("", "8")}};
  start();
  ASSERT_TRUE(sees("[ a [ ]"));
  const auto lists = asked(false);
  EXPECT_FALSE(lists.at(2).query.contains("continue")) << "from the beginning";
  EXPECT_GE(lists[2].at - lists[1].at, kAtOnce);
}

TEST_F(ReflectorTest, AListThatBreaksOffIsNoList) {
  lists_ = {
      {.status = 200, .body = R"({"metadata":{},"items":[)" + object("a", "3"), .breaks_off = true},
      {200, R"({"metadata":{"resourceVersion":""},"items":[]})"},
      {200, "[]"}};
  start();
  EXPECT_TRUE(sees("[ a [ [ [ ]"));
}

TEST_F(ReflectorTest, AVersionThatHasExpiredIsListedAnewAfterAPauseWhereTheListIsYoung) {
  for (Answer& gone : std::vector<Answer>{gone_in_a_stream(), {410, "{}"}}) {
    const std::size_t before = asked(false).size();
    server_.with([&] { watches_.push_back(std::move(gone)); });
    start();
    const auto lists = await(false, before + 2);
    EXPECT_GE(lists[before + 1].at - lists[before].at, kAtOnce);
    reflector_.reset();
  }
}

TEST_F(ReflectorTest, APageThatHasExpiredIsAskedForOnceMoreInOnePiece) {
  lists_ = {{200, list_of(object("a", "3"), "7", "next")}, {410, "{}"}};
  start();
  ASSERT_TRUE(sees("[ a [ ]"));
  const auto lists = asked(false);
  EXPECT_EQ(lists.at(2).query.at("limit"), "0");
  EXPECT_LT(lists[2].at - lists[1].at, kAtOnce);
}

TEST_F(ReflectorTest, AServerThatAnswersEveryListWith410IsGivenPauses) {
  lists_.assign(100, {410, "{}"});
  start();
  await(false, 2);
  std::this_thread::sleep_for(Backoff::kFirst / 2);
  EXPECT_EQ(asked(false).size(), 2U) << "in pages, and in one piece";
}

TEST_F(ReflectorTest, AServerThatEndsEachWatchAtOnceIsGivenPauses) {
  watches_.assign(100, {200, ""});
  start();
  await(true, 1);
  std::this_thread::sleep_for(Backoff::kFirst / 2);
  EXPECT_EQ(asked(true).size(), 1U);
  EXPECT_EQ(asked(false).size(), 1U);
}

TEST_F(ReflectorTest, WaitsAsLongAsTheServerAsks) {
  lists_ = {{.status = 429, .body = "{}", .retry_after = "3"}};
  start();
  const auto lists = await(false, 2);
  EXPECT_GE(lists[1].at - lists[0].at, std::chrono::seconds(3));
}

TEST_F(ReflectorTest, AnEventThatCannotBeReadIsMadeUpForByAList) {
  watches_ = {watch_of(event("ADDED", "a", "100") + R"({"type":7}{"type":"ADDED"})")};
  start();
  EXPECT_TRUE(sees("[ ] a [ ]"));
}

TEST_F(ReflectorTest, AWatchThatNeverSaysAnythingIsListedAnewAndOneThatDidIsResumed) {
  watches_ = {watch_of(event("ADDED", "a", "100"))};
  start(milliseconds(500));
  ASSERT_TRUE(within(kSoon, [this] { return asked(false).size() >= 2; }));
  const auto watches = asked(true);
  ASSERT_GE(watches.size(), 2U);
  EXPECT_EQ(watches[1].query.at("resourceVersion"), "100") << "half open (1.18): it goes on";
  EXPECT_EQ(asked(false).size(), 2U) << "a version that is not there yet is met by silence (1.12)";
}

TEST_F(ReflectorTest, AListThatIsWantedEndsTheWatch) {
  start();
  await(true, 1);
  const auto begun = Clock::now();
  seen_.want_list();
  await(false, 2);
  EXPECT_LT(Clock::now() - begun, std::chrono::seconds(3));
  EXPECT_TRUE(sees("[ ] [ ]"));
}

TEST_F(ReflectorTest, EndsInTheMiddleOfAWatchAndOfAPause) {
  start();
  await(true, 1);
  auto begun = Clock::now();
  reflector_.reset();
  EXPECT_LT(Clock::now() - begun, std::chrono::seconds(3));
  server_.with([this] { lists_.assign(1, {.status = 429, .body = "{}", .retry_after = "3600"}); });
  start();
  await(false, 2);
  begun = Clock::now();
  reflector_.reset();
  EXPECT_LT(Clock::now() - begun, std::chrono::seconds(3));
}

}  // namespace
}  // namespace sluice::kubernetes
