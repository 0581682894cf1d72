// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/batch.h"

#include <gtest/gtest.h>

namespace sluice::kubernetes {
namespace {

using Places = std::vector<std::size_t>;

Batch batch_of(const std::vector<std::string>& upserts, const std::vector<std::string>& gone) {
  Batch batch;
  for (const std::string& name : upserts) {
    batch.upserts.push_back({.name = {"shop", name}, .service = {}, .print = 1});
    batch.upserts.back().service.mutable_metadata()->set_name(name);
  }
  for (const std::string& name : gone) {
    batch.gone.push_back({"shop", name});
  }
  return batch;
}

std::string text_of(const Batch& batch) {
  std::string text;
  for (const Batch::Upsert& upsert : batch.upserts) {
    EXPECT_EQ(upsert.name.name, upsert.service.metadata().name());
    text += "+" + upsert.name.name;
  }
  for (const ServiceName& name : batch.gone) {
    text += "-" + name.name;
  }
  return text;
}

TEST(Batch, PrintsTellFormsApartAndAreNeverThatOfNoForm) {
  std::size_t bytes = 0;
  v1::Service one;
  (*one.mutable_metadata()->mutable_labels())["a"] = "1";
  (*one.mutable_metadata()->mutable_labels())["b"] = "2";
  v1::Service same;
  (*same.mutable_metadata()->mutable_labels())["b"] = "2";
  (*same.mutable_metadata()->mutable_labels())["a"] = "1";
  EXPECT_EQ(print_of(one, bytes), print_of(same, bytes));
  EXPECT_EQ(bytes, 2 * one.ByteSizeLong());
  same.mutable_metadata()->set_name("other");
  EXPECT_NE(print_of(one, bytes), print_of(same, bytes));
  EXPECT_NE(print_of(v1::Service(), bytes), 0U);
}

TEST(Batch, DeletionsAreTheFirstHalf) {
  auto [deletions, upserts] = batch_of({"a", "b", "c"}, {"x", "y"}).halves();
  EXPECT_EQ(text_of(deletions), "-x-y");
  EXPECT_EQ(text_of(upserts), "+a+b+c");
  const auto [first, second] = std::move(upserts).halves();
  EXPECT_EQ(text_of(first), "+a");
  EXPECT_EQ(text_of(second), "+b+c");
}

TEST(Batch, AnAnswerIsAboutTheUpsertsThatItNames) {
  client::Error error;
  error.violations = {{"upsert[2].spec", "bad"},
                      {"upsert[0].metadata", "worse"},
                      {"upsert[2].metadata", "as well"},
                      {"upsert[3].spec", "not there"},
                      {"provider", "another matter"}};
  EXPECT_EQ(culprits(error, batch_of({"a", "b", "c"}, {"x"})), (Places{0, 2}));
  EXPECT_EQ(refusal_of(error, 2), "spec: bad");
}

TEST(Batch, AnAnswerWithoutNamesIsAboutTheOnlyOneThereIs) {
  client::Error error;
  error.message = "no";
  EXPECT_EQ(culprits(error, batch_of({"a"}, {})), Places{0});
  EXPECT_EQ(culprits(error, batch_of({"a"}, {"x"})), Places{});
  EXPECT_EQ(culprits(error, batch_of({"a", "b"}, {})), Places{});
  EXPECT_EQ(refusal_of(error, 0), "no");
}

// Who listens takes an empty refusal for none.
TEST(Batch, ARefusalAlwaysSaysSomething) {
  client::Error error;
  error.code = grpc::StatusCode::FAILED_PRECONDITION;
  EXPECT_EQ(refusal_of(error, 0), "FAILED_PRECONDITION");
}

}  // namespace
}  // namespace sluice::kubernetes
