// SPDX-License-Identifier: Apache-2.0
// One request to the API server, and the ways in which it does not end well.
#include "controlplane/kubernetes/http.h"

#include "tests/unit/controlplane/kubernetes/api_stub.h"
#include "tests/unit/controlplane/kubernetes/temporary_folder.h"

#include <gtest/gtest.h>

#include <deque>

namespace sluice::kubernetes {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

class HttpTest : public ::testing::Test {
 protected:
  std::deque<Answer> answers_;  // then 200 "{}"
  std::atomic<bool> stop_{false};
  ApiStub server_{[this](const Asked&) {
    if (answers_.empty()) {
      return Answer{200, "{}"};
    }
    Answer next = std::move(answers_.front());
    answers_.pop_front();
    return next;
  }};
  ClusterAccess access_ = server_.access();
  Credentials credentials_{access_};
  HttpClient http_{access_, credentials_, stop_};
};

Answer silent(const std::string& first = "") {
  return {.status = 200, .body = "", .stream = open_after(first)};
}

TEST_F(HttpTest, SendsWhatItIsGivenOverOneConnection) {
  EXPECT_TRUE(http_.send({.path = "/a?b=c%2Fd"}).is_ok());
  EXPECT_TRUE(http_
                  .send({.method = "PATCH",
                         .path = "/e",
                         .body = "{\"x\":1}",
                         .content_type = "application/merge-patch+json"})
                  .is_ok());
  const auto asked = server_.asked();
  ASSERT_EQ(asked.size(), 2U);
  EXPECT_EQ(asked[0].method, "GET");
  EXPECT_EQ(asked[0].path, "/a");
  EXPECT_EQ(asked[0].query.at("b"), "c/d");
  EXPECT_EQ(asked[0].authorization, "Bearer token");
  EXPECT_EQ(asked[1].method, "PATCH");
  EXPECT_EQ(asked[1].body, "{\"x\":1}");
  EXPECT_EQ(asked[1].content_type, "application/merge-patch+json");
  EXPECT_EQ(asked[0].port, asked[1].port);
}

// A certificate is the connection's: the one that is kept would be refused for ever.
TEST_F(HttpTest, AsksOnceMoreAfterA401AndOverAnotherConnection) {
  answers_ = {{200, "{}"}, {401, "{}"}};
  EXPECT_TRUE(http_.send({.path = "/"}).is_ok());
  EXPECT_TRUE(http_.send({.path = "/"}).is_ok());
  EXPECT_TRUE(http_.send({.path = "/"}).is_ok());
  const auto asked = server_.asked();
  ASSERT_EQ(asked.size(), 4U);
  EXPECT_EQ(asked[1].port, asked[0].port);
  EXPECT_NE(asked[2].port, asked[1].port);
}

TEST_F(HttpTest, AsksNotMoreThanOnceMore) {
  answers_ = {{401, "{}"}, {401, "no"}, {200, "{}"}};
  const HttpResponse response = http_.send({.path = "/"});
  EXPECT_EQ(response.status, 401);
  EXPECT_EQ(response.body, "no");
  EXPECT_EQ(server_.asked().size(), 2U);
}

TEST_F(HttpTest, ReadsATokenThatWasRotated) {
  const TemporaryFolder folder;
  access_.token.clear();
  access_.token_file = folder.write("token", "first\n");
  Credentials credentials(access_);
  HttpClient http(access_, credentials, stop_);
  EXPECT_TRUE(http.send({.path = "/"}).is_ok());
  folder.write("token", "second\n");
  EXPECT_TRUE(http.send({.path = "/"}).is_ok());
  EXPECT_EQ(server_.asked().at(0).authorization, "Bearer first");
  EXPECT_EQ(server_.asked().at(1).authorization, "Bearer second");
}

TEST_F(HttpTest, SaysWhatTheServerSaid) {
  answers_ = {{.status = 429, .body = "later", .retry_after = "7"},
              {.status = 500, .body = "", .retry_after = "soon"}};
  HttpResponse response = http_.send({.path = "/"});
  EXPECT_EQ(response.status, 429);
  EXPECT_EQ(response.body, "later");
  EXPECT_EQ(response.retry_after, std::chrono::seconds(7));
  EXPECT_FALSE(response.is_ok());
  response = http_.send({.path = "/"});
  EXPECT_EQ(response.status, 500);
  EXPECT_FALSE(response.retry_after);
}

TEST_F(HttpTest, GivesASuccessToTheSinkAndARefusalNot) {
  answers_ = {{200, "yes"}, {500, "no"}};
  std::string sunk;
  const auto sink = [&](std::string_view piece) {
    sunk += piece;
    return true;
  };
  EXPECT_EQ(http_.send({.path = "/"}, sink).body, "");
  EXPECT_EQ(http_.send({.path = "/"}, sink).body, "no");
  EXPECT_EQ(sunk, "yes");
}

TEST_F(HttpTest, ASinkThatHasEnoughEndsItWithoutAFault) {
  answers_ = {silent("enough")};
  const HttpResponse response = http_.send({.path = "/"}, [](std::string_view) { return false; });
  EXPECT_TRUE(response.is_ok()) << response.fault;
}

TEST_F(HttpTest, KeepsNoMoreOfARefusalThanAMebibyte) {
  answers_ = {{500, std::string((std::size_t{1} << 20) + (1 << 19), 'x')}};
  const HttpResponse response = http_.send({.path = "/"});
  EXPECT_LE(response.body.size(), std::size_t{1} << 20);
  EXPECT_GT(response.body.size(), std::size_t{1} << 19);
}

TEST_F(HttpTest, AnAnswerThatBreaksOffIsAFault) {
  answers_ = {{.status = 200, .body = "half", .breaks_off = true}};
  const HttpResponse response = http_.send({.path = "/"});
  EXPECT_FALSE(response.is_ok());
  EXPECT_NE(response.fault, "");
  EXPECT_FALSE(response.is_silent);
}

// Of a proxy for several clusters (Rancher's). Nobody has told a name server of the name.
TEST_F(HttpTest, AServerNameIsThatOfTheAddressAlsoWhereTheServerHasAPath) {
  for (const char* server : {"https://127.0.0.1:1", "https://127.0.0.1:1/k8s/clusters/c-1",
                             "https://[::1]:1/k8s/clusters/c-1"}) {
    ClusterAccess access = access_;
    access.server = server;
    access.tls_server_name = "api.invalid";
    HttpClient http(access, credentials_, stop_);
    const std::string fault = http.send({.path = "/version"}).fault;
    EXPECT_NE(fault.find("port 1 after"), std::string::npos) << fault;
  }
}

TEST_F(HttpTest, AServerThatIsNotThereIsAFault) {
  access_.server = "http://127.0.0.1:1";
  const HttpResponse response = http_.send({.path = "/"});
  EXPECT_EQ(response.status, 0);
  EXPECT_NE(response.fault, "");
}

// KUBERNETES.md 1.18: what is half open looks like this for ever.
TEST_F(HttpTest, SilenceEndsItAndSoDoesTheTimeThatItMayTake) {
  answers_ = {silent("a"), silent("a")};
  const auto begun = steady_clock::now();
  HttpResponse response = http_.send({.path = "/", .silence_max = milliseconds(300)});
  EXPECT_TRUE(response.is_silent);
  EXPECT_FALSE(response.is_ok());
  EXPECT_GE(steady_clock::now() - begun, milliseconds(300));
  response = http_.send({.path = "/", .time_max = milliseconds(300)});
  EXPECT_FALSE(response.is_ok());
  EXPECT_FALSE(response.is_silent);
  EXPECT_LT(steady_clock::now() - begun, milliseconds(5'000));
}

TEST_F(HttpTest, StopEndsAllAndCutEndsOne) {
  answers_ = {silent("a"), silent("a")};
  std::atomic<bool> cut{false};
  const auto seen = [&](std::atomic<bool>& flag) {
    return [&](std::string_view) {
      flag = true;
      return true;
    };
  };
  const auto begun = steady_clock::now();
  EXPECT_EQ(http_.send({.path = "/", .cut = &cut}, seen(cut)).fault, "stopped");
  EXPECT_EQ(http_.send({.path = "/"}, seen(stop_)).fault, "stopped");
  EXPECT_LT(steady_clock::now() - begun, milliseconds(5'000));
}

}  // namespace
}  // namespace sluice::kubernetes
