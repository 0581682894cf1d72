// SPDX-License-Identifier: Apache-2.0
#include "controlplane/kubernetes/gateway_answers.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace sluice::kubernetes {
namespace {

const ServiceName kWeb{"shop", "web"};
const ServiceName kOther{"shop", "other"};
const std::vector<IpAddress> kVips{*parse_ip("203.0.113.10"), *parse_ip("2001:db8::10")};

Sent served(const ServiceName& name, std::vector<std::string> vips) {
  Sent sent;
  sent.name = name;
  sent.served = true;
  sent.vips = std::move(vips);
  return sent;
}
Sent refused(const ServiceName& name, const std::string& why) {
  Sent sent;
  sent.name = name;
  sent.refusal = why;
  sent.resource = "203.0.113.10:80/TCP";
  sent.owner = "cli: default/web";
  return sent;
}
Sent gone(const ServiceName& name) {
  Sent sent;
  sent.name = name;
  return sent;
}
using Names = std::vector<ServiceName>;

class GatewayAnswersTest : public ::testing::Test {
 protected:
  GatewayAnswers answers_{2};
};

TEST_F(GatewayAnswersTest, NamesOnlyWhatIsSaidAnew) {
  EXPECT_EQ(answers_.take(0, {served(kWeb, {"203.0.113.10"})}, false), Names{kWeb});
  EXPECT_EQ(answers_.take(0, {served(kWeb, {"203.0.113.10"})}, false), Names{});
  EXPECT_EQ(answers_.take(1, {served(kWeb, {"203.0.113.10"})}, false), Names{kWeb});
  EXPECT_EQ(answers_.take(0, {served(kWeb, {"203.0.113.11"})}, false), Names{kWeb});
  EXPECT_EQ(answers_.take(0, {refused(kWeb, "why")}, false), Names{kWeb});
  EXPECT_EQ(answers_.take(0, {refused(kWeb, "why")}, false), Names{});
  EXPECT_EQ(answers_.take(0, {refused(kWeb, "another why")}, false), Names{kWeb});
  EXPECT_EQ(answers_.take(0, {gone(kWeb)}, false), Names{kWeb});
  EXPECT_EQ(answers_.take(0, {gone(kWeb)}, false), Names{});
}

TEST_F(GatewayAnswersTest, WhatIsNotAmongAllIsGone) {
  answers_.take(0, {served(kWeb, {}), served(kOther, {})}, true);
  answers_.take(1, {served(kWeb, {})}, true);
  EXPECT_EQ(answers_.take(0, {served(kOther, {})}, true), Names{kWeb});
  EXPECT_FALSE(answers_.of(0, kWeb));
  EXPECT_TRUE(answers_.of(0, kOther));
  EXPECT_TRUE(answers_.of(1, kWeb)) << "another gateway's are its own";
}

TEST_F(GatewayAnswersTest, ARefusedOneGoesOnInItsLastGoodForm) {
  answers_.take(0, {served(kWeb, {"203.0.113.10"})}, false);
  answers_.take(0, {refused(kWeb, "why")}, false);
  const auto answer = answers_.of(0, kWeb);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->vips, (std::vector<std::string>{"203.0.113.10"}));
  EXPECT_EQ(answer->refusal, "why");
  EXPECT_EQ(answer->resource, "203.0.113.10:80/TCP");
  EXPECT_EQ(answer->owner, "cli: default/web");
  answers_.take(0, {served(kWeb, {"203.0.113.10"})}, false);
  EXPECT_EQ(answers_.of(0, kWeb)->refusal, "") << "what was refused is forgotten";
}

TEST_F(GatewayAnswersTest, IsServedWhereOneGatewayHasAllAddressesAndDoesNotRefuseIt) {
  EXPECT_FALSE(answers_.is_served(kWeb, kVips));
  answers_.take(0, {served(kWeb, {"203.0.113.10"})}, false);
  answers_.take(1, {served(kWeb, {"2001:db8::10"})}, false);
  EXPECT_FALSE(answers_.is_served(kWeb, kVips)) << "none of them has both";
  answers_.take(1, {served(kWeb, {"2001:db8::10", "203.0.113.10"})}, false);
  EXPECT_TRUE(answers_.is_served(kWeb, kVips));
  answers_.take(1, {refused(kWeb, "why")}, false);
  EXPECT_FALSE(answers_.is_served(kWeb, kVips));
}

}  // namespace
}  // namespace sluice::kubernetes
