// SPDX-License-Identifier: Apache-2.0
// KUBERNETES.md 1.28: a Lease as client-go keeps it, by an API server that is not always there.
#include "controlplane/kubernetes/leader_election.h"

#include "tests/unit/controlplane/kubernetes/api_stub.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <regex>
#include <thread>

namespace sluice::kubernetes {
namespace {

using std::chrono::milliseconds;
using Clock = LeaderElection::Clock;
using Json = nlohmann::json;
using Leads = LeaderElection::Leads;

constexpr const char* kPath = "/apis/coordination.k8s.io/v1/namespaces/edge/leases";
// In the proportions of client-go's, a tenth as long.
constexpr milliseconds kDuration{1'500};
constexpr milliseconds kRenewDeadline{1'000};
constexpr milliseconds kRetry{200};
constexpr milliseconds kMargin{1'000};  // of a machine that does other things too

class LeaderElectionTest : public ::testing::Test {
 protected:
  // The server's one Lease, under its lock. Versions are numbers that grow.
  Json lease_;
  int version_ = 0;
  int refuses_ = 0;            // with which status everything is refused
  int loses_answers_ = 0;      // so many writes take effect, and their answer is lost
  bool conflicts_ = false;     // somebody else is faster each time
  std::vector<Leads> told_;    // by the election
  Clock::time_point until_{};  // as told last
  ApiStub server_{[this](const Asked& asked) { return answer(asked); }};
  Credentials credentials_{server_.access()};
  const ClusterAccess access_ = server_.access();
  std::unique_ptr<LeaderElection> election_;

  void TearDown() override {
    server_.with([this] { refuses_ = 0; });
    election_.reset();
  }

  Answer answer(const Asked& asked) {
    if (refuses_ != 0) {
      return {refuses_, "{}"};
    }
    if (asked.method == "GET") {
      return lease_.is_null() ? Answer{404, "{}"} : Answer{200, lease_.dump()};
    }
    const Json body = Json::parse(asked.body);
    const bool creates = asked.method == "POST";
    if (conflicts_ || creates != lease_.is_null() ||
        (!creates &&
         body["metadata"]["resourceVersion"] != lease_["metadata"]["resourceVersion"])) {
      return {409, "{}"};
    }
    put(body);
    if (loses_answers_ > 0) {
      --loses_answers_;
      return {.status = 200, .body = "{", .breaks_off = true};
    }
    return {creates ? 201 : 200, lease_.dump()};
  }
  void put(Json lease) {
    lease_ = std::move(lease);
    lease_["metadata"]["resourceVersion"] = std::to_string(++version_);
  }
  // As another adapter would have it, whose clock is as wrong as it likes.
  void put_by_another(const std::string& renewed, const std::string& holder = "other") {
    server_.with([&] {
      put({{"metadata", {{"name", "sluice"}, {"annotations", {{"a", "b"}}}}},
           {"spec",
            {{"holderIdentity", holder},
             {"leaseDurationSeconds", 1},
             {"acquireTime", renewed},
             {"renewTime", renewed},
             {"leaseTransitions", 4},
             {"strategy", "OldestEmulationVersion"}}}});
    });
  }
  void start() {
    election_ = std::make_unique<LeaderElection>(
        LeaseSettings{"edge", "sluice", "this", kDuration, kRenewDeadline, kRetry}, access_,
        credentials_, [this](Leads leads, Clock::time_point until) {
          server_.with([&] {
            told_.push_back(leads);
            until_ = until;
          });
        });
  }
  Json lease() {
    return server_.with([this] { return lease_; });
  }
  std::string holder() {
    const Json now = lease();
    return now.is_null() ? "none" : now["spec"]["holderIdentity"].get<std::string>();
  }
  std::vector<Leads> told() {
    return server_.with([this] { return told_; });
  }
  bool leads_within(milliseconds most) {
    return within(most, [this] { return election_->leads(); });
  }
  bool stops_leading_within(milliseconds most) {
    return within(most, [this] { return !election_->leads(); });
  }
};

TEST_F(LeaderElectionTest, CreatesALeaseThatIsNotThereInTheFormOfClientGo) {
  start();
  ASSERT_TRUE(leads_within(kSoon));
  const Json made = lease();
  EXPECT_EQ(made["metadata"]["name"], "sluice");
  EXPECT_EQ(made["metadata"]["namespace"], "edge");
  EXPECT_EQ(made["spec"]["holderIdentity"], "this");
  EXPECT_EQ(made["spec"]["leaseDurationSeconds"], 1);
  EXPECT_EQ(made["spec"]["leaseTransitions"], 0);
  const std::regex micro_time(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)");
  for (const char* time : {"acquireTime", "renewTime"}) {
    EXPECT_TRUE(std::regex_match(made["spec"][time].get<std::string>(), micro_time)) << made;
  }
  EXPECT_EQ(server_.asked()[1].path, kPath);
}

TEST_F(LeaderElectionTest, RenewsWhatItHasAndSaysThatItHadItAllTheTime) {
  start();
  ASSERT_TRUE(within(kSoon, [this] { return told().size() >= 3; }));
  EXPECT_EQ(told()[0], Leads::kFirst);
  EXPECT_EQ(told()[1], Leads::kAgain);
  EXPECT_EQ(told()[2], Leads::kAgain);
  const Json now = lease();
  EXPECT_GT(now["spec"]["renewTime"], now["spec"]["acquireTime"]);
  EXPECT_EQ(now["spec"]["leaseTransitions"], 0);
  const auto until = server_.with([this] { return until_; });
  EXPECT_GT(until, Clock::now() - kMargin);
  EXPECT_LE(until, Clock::now() + kRenewDeadline);
}

// Its renewTime is the other's clock, which may be hours off either way.
TEST_F(LeaderElectionTest, TakesAnothersOnlyWhenItsRecordHasNotChangedForItsDuration) {
  for (const char* renewed : {"1999-01-01T00:00:00.000000Z", "2999-01-01T00:00:00.000000Z"}) {
    put_by_another(renewed);
    const auto begun = Clock::now();
    start();
    ASSERT_TRUE(leads_within(kDuration + kSoon)) << renewed;
    EXPECT_GE(Clock::now() - begun, kDuration) << renewed;
    EXPECT_EQ(holder(), "this");
    const Json now = lease();
    EXPECT_EQ(now["spec"]["leaseTransitions"], 5);
    EXPECT_NE(now["spec"]["acquireTime"], renewed);
    EXPECT_EQ(now["spec"]["strategy"], "OldestEmulationVersion") << "what is others' stays";
    EXPECT_EQ(now["metadata"]["annotations"]["a"], "b");
    std::vector<Leads> said;
    ASSERT_TRUE(within(kSoon, [&] {
      said = told();
      return !said.empty() && said.back() != Leads::kNot;
    }));
    const auto first =
        std::find_if(said.begin(), said.end(), [](Leads leads) { return leads != Leads::kNot; });
    EXPECT_EQ(*first, Leads::kFirst);
    EXPECT_EQ(std::count(first, said.end(), Leads::kNot), 0);
    election_.reset();
    server_.with([this] { told_.clear(); });
  }
}

TEST_F(LeaderElectionTest, LeavesItToAnotherThatRenews) {
  put_by_another("2026-01-01T00:00:00.000000Z");
  start();
  const auto until = Clock::now() + 2 * kDuration;
  for (int i = 0; Clock::now() < until; ++i) {
    put_by_another("2026-01-01T00:00:00.00000" + std::to_string(i % 10) + "Z");
    EXPECT_FALSE(election_->leads());
    std::this_thread::sleep_for(kRetry);
  }
  EXPECT_EQ(holder(), "other");
}

TEST_F(LeaderElectionTest, TakesOneThatWasGivenUpAtOnce) {
  put_by_another("2026-01-01T00:00:00.000000Z", "");
  const auto begun = Clock::now();
  start();
  ASSERT_TRUE(leads_within(kSoon));
  EXPECT_LT(Clock::now() - begun, kDuration);
  EXPECT_EQ(lease()["spec"]["leaseTransitions"], 5);
}

TEST_F(LeaderElectionTest, DoesNotLeadWhereAnotherWasFaster) {
  put_by_another("2026-01-01T00:00:00.000000Z", "");
  server_.with([this] { conflicts_ = true; });
  start();
  ASSERT_TRUE(within(kSoon, [this] { return told().size() >= 2; }));
  EXPECT_FALSE(election_->leads());
  EXPECT_EQ(told(), (std::vector<Leads>(told().size(), Leads::kNot)));
}

TEST_F(LeaderElectionTest, DoesNotLeadByAWriteWhoseAnswerWasLostButByTheNext) {
  server_.with([this] { loses_answers_ = 1; });
  start();
  ASSERT_TRUE(leads_within(kSoon));
  const auto said = told();
  ASSERT_GE(said.size(), 1U);
  EXPECT_EQ(said[0], Leads::kNot);
  ASSERT_TRUE(within(kSoon, [this] { return told().size() >= 2; }));
  EXPECT_EQ(told()[1], Leads::kFirst) << "it was another's before";
  EXPECT_EQ(lease()["spec"]["leaseTransitions"], 0) << "it was its own already";
}

TEST_F(LeaderElectionTest, DoesNotLeadAnyLongerThanItsDeadlineWithoutTheServer) {
  start();
  ASSERT_TRUE(within(kSoon, [this] { return told().size() >= 2; }));
  const auto begun = Clock::now();
  server_.with([this] { refuses_ = 503; });
  ASSERT_TRUE(stops_leading_within(kSoon));
  EXPECT_LE(Clock::now() - begun, kRenewDeadline + kMargin);
  ASSERT_TRUE(within(kSoon, [this] { return told().back() == Leads::kNot; }));
  server_.with([this] { refuses_ = 0; });
  ASSERT_TRUE(leads_within(kSoon));
  ASSERT_TRUE(within(kSoon, [this] { return told().back() != Leads::kNot; }));
  EXPECT_EQ(told().back(), Leads::kAgain) << "nobody has had it since";
}

TEST_F(LeaderElectionTest, SaysThatAnotherMayHaveWrittenWhereAnotherHadItMeanwhile) {
  start();
  ASSERT_TRUE(within(kSoon, [this] { return told().size() >= 2; }));
  put_by_another("2026-01-01T00:00:00.000000Z");
  const auto knows_another = [this] {
    return told_.back() == Leads::kNot && until_ == Clock::time_point{};
  };
  ASSERT_TRUE(within(kSoon, [&] { return server_.with(knows_another); }))
      << "whoever put it there knows why: it does not wait for its own time to end";
  ASSERT_TRUE(leads_within(kDuration + kSoon));
  ASSERT_TRUE(within(kSoon, [this] { return told().back() != Leads::kNot; }));
  const auto said = told();
  EXPECT_EQ(std::count(said.begin(), said.end(), Leads::kFirst), 2);
}

TEST_F(LeaderElectionTest, GivesUpItsOwnAtTheEndAndNotAnothers) {
  start();
  ASSERT_TRUE(leads_within(kSoon));
  election_.reset();
  EXPECT_EQ(holder(), "");
  start();
  ASSERT_TRUE(leads_within(kSoon));
  put_by_another("2026-01-01T00:00:00.000000Z");
  election_.reset();
  EXPECT_EQ(holder(), "other");
}

TEST_F(LeaderElectionTest, TheFirstTryIsWaitedForButNoLongerThanAsked) {
  start();
  election_->await_first_try(kSoon);
  EXPECT_GE(told().size(), 1U);
  election_.reset();
  const std::size_t before = told().size();
  server_.with([&] {  // it takes the request, and says nothing
    start();
    const auto begun = Clock::now();
    election_->await_first_try(milliseconds(100));
    EXPECT_GE(Clock::now() - begun, milliseconds(100));
    EXPECT_LT(Clock::now() - begun, milliseconds(2'000));
    EXPECT_EQ(told_.size(), before);
  });
}

}  // namespace
}  // namespace sluice::kubernetes
