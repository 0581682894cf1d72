// SPDX-License-Identifier: Apache-2.0
// KUBERNETES.md 1.29: events must never block, and are not lost for one failure.
#include "controlplane/kubernetes/event_writer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <vector>

namespace sluice::kubernetes {
namespace {

using std::chrono::milliseconds;

HttpResponse answer(int status) {
  return {.status = status, .body = "", .retry_after = {}, .fault = status == 0 ? "refused" : ""};
}

// Answers with these in turn, and with the last one from then on; keeps what it was asked.
class Server {
 public:
  explicit Server(std::vector<HttpResponse> answers) : answers_(std::move(answers)) {}

  HttpResponse operator()(const HttpRequest& request) {
    const std::lock_guard lock(mutex_);
    asked_.push_back(request.body);
    return answers_[std::min(asked_.size(), answers_.size()) - 1];
  }
  std::vector<std::string> asked() {
    const std::lock_guard lock(mutex_);
    return asked_;
  }

 private:
  std::mutex mutex_;
  const std::vector<HttpResponse> answers_;
  std::vector<std::string> asked_;
};

// What `bodies` come to with a server that answers so: what it was asked, and the counts.
struct Outcome {
  std::vector<std::string> asked;
  EventWriter::Counts counts;
};
Outcome written(std::vector<HttpResponse> answers, const std::vector<std::string>& bodies) {
  Server server(std::move(answers));
  EventWriter writer([&](const HttpRequest& request) { return server(request); },
                     {.waiting_max = 100, .tries_max = 3, .pause = milliseconds(1)});
  for (const std::string& body : bodies) {
    writer.add({.path = "/events", .body = body}, "event " + body);
  }
  for (int i = 0; i < 5'000; ++i) {
    const auto counts = writer.counts();
    if (counts.written + counts.given_up == bodies.size()) {
      break;
    }
    std::this_thread::sleep_for(milliseconds(1));
  }
  return {server.asked(), writer.counts()};
}

TEST(EventWriter, WritesThemInTheirOrder) {
  const Outcome outcome = written({answer(201)}, {"a", "b", "c"});
  EXPECT_EQ(outcome.asked, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(outcome.counts.written, 3U);
}

TEST(EventWriter, TriesAgainWhatTheServerCouldNotTakeNow) {
  for (const int status : {0, 401, 408, 429, 500, 503, 504}) {
    const Outcome outcome = written({answer(status), answer(status), answer(201)}, {"a", "b"});
    EXPECT_EQ(outcome.asked, (std::vector<std::string>{"a", "a", "a", "b"})) << status;
    EXPECT_EQ(outcome.counts.written, 2U) << status;
  }
}

TEST(EventWriter, GivesUpAfterAFewTriesAndGoesOnWithTheNext) {
  const Outcome outcome = written({answer(503), answer(503), answer(503), answer(201)}, {"a", "b"});
  EXPECT_EQ(outcome.asked, (std::vector<std::string>{"a", "a", "a", "b"}));
  EXPECT_EQ(outcome.counts.given_up, 1U);
  EXPECT_EQ(outcome.counts.written, 1U);
}

TEST(EventWriter, DoesNotRepeatWhatIsRefusedForWhatItIs) {
  for (const int status : {400, 403, 404, 422}) {
    const Outcome outcome = written({answer(status), answer(201)}, {"a", "b"});
    EXPECT_EQ(outcome.asked, (std::vector<std::string>{"a", "b"})) << status;
    EXPECT_EQ(outcome.counts.given_up, 1U) << status;
  }
}

TEST(EventWriter, TakesOneThatIsThereAlreadyForWritten) {
  const Outcome outcome = written({answer(0), answer(409)}, {"a"});
  EXPECT_EQ(outcome.asked.size(), 2U) << "the first answer was lost, not the event";
  EXPECT_EQ(outcome.counts.written, 1U);
}

TEST(EventWriter, WaitsAsLongAsTheServerAsks) {
  HttpResponse busy = answer(429);
  busy.retry_after = std::chrono::seconds(1);
  const auto begun = std::chrono::steady_clock::now();
  written({busy, answer(201)}, {"a"});
  EXPECT_GE(std::chrono::steady_clock::now() - begun, std::chrono::seconds(1));
}

TEST(EventWriter, NeverBlocksAndLeavesOutWhatItHasNoRoomFor) {
  std::promise<void> go;
  const std::shared_future<void> gate = go.get_future().share();
  std::atomic<int> asked{0};
  EventWriter writer(
      [&](const HttpRequest&) {
        ++asked;
        gate.wait();
        return answer(201);
      },
      {.waiting_max = 3, .tries_max = 3, .pause = milliseconds(1)});
  writer.add({}, "first");
  while (asked == 0) {
    std::this_thread::sleep_for(milliseconds(1));
  }
  for (int i = 0; i < 10; ++i) {
    writer.add({}, "next");
  }
  EXPECT_EQ(writer.counts().left_out, 7U);
  go.set_value();
}

TEST(EventWriter, EndsInTheMiddleOfAPause) {
  const auto begun = std::chrono::steady_clock::now();
  {
    std::atomic<int> asked{0};
    EventWriter writer(
        [&](const HttpRequest&) {
          ++asked;
          return answer(503);
        },
        {.waiting_max = 3, .tries_max = 3, .pause = std::chrono::minutes(1)});
    writer.add({}, "one");
    while (asked == 0) {
      std::this_thread::sleep_for(milliseconds(1));
    }
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(30));
}

}  // namespace
}  // namespace sluice::kubernetes
