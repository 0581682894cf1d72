// SPDX-License-Identifier: Apache-2.0
// role, drain and undrain.
#include "controlplane/cli/session.h"
#include "controlplane/cli/views.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <thread>

namespace sluice::cli {
namespace {

using Gateway = v1::Gateway::StubInterface;

constexpr auto kLookAgain = std::chrono::milliseconds(250);
constexpr std::uint32_t kFlowsMax = 100'000;
// A connection on which a side has said all and nothing comes any more is over, though its entry
// stays for late segments.
constexpr std::uint32_t kSilentSeconds = 2;

bool is_over(const v1::Flow& flow) {
  return (flow.state() == "closing" || flow.state() == "time_wait" || flow.state() == "reset") &&
         flow.idle_seconds() >= kSilentSeconds;
}

std::string seconds_text(std::chrono::steady_clock::duration time) {
  return fmt::format("{:.0f}s", std::chrono::duration<double>(time).count());
}

// "12 flows are left: default/web 10, default/dns 2".
std::string words_of(const v1::ListFlowsResponse& response) {
  std::map<std::string, std::size_t> by_service;
  for (const v1::Flow& flow : response.flows()) {
    ++by_service[text_of(flow.service())];
  }
  const int count = response.flows_size();
  std::string text = fmt::format("{}{} flow{} left", count, response.truncated() ? " and more" : "",
                                 count == 1 ? " is" : "s are");
  const char* separator = ": ";
  for (const auto& [service, flows] : by_service) {
    text += fmt::format("{}{} {}", separator, service, flows);
    separator = ", ";
  }
  return text;
}

}  // namespace

int role(const Session& session) {
  v1::SetRoleRequest request;
  request.set_role(session.options.role);
  v1::SetRoleResponse response;
  if (const auto error = call(session, &Gateway::SetRole, request, response)) {
    return report(session, *error);
  }
  session.out << fmt::format("the gateway is {}\n", session.options.role);
  return kOk;
}

int drain(const Session& session) {
  v1::DrainResponse done;
  if (const auto error = call(session, &Gateway::Drain, v1::DrainRequest{}, done)) {
    return report(session, *error);
  }
  session.out << "draining: no new flows are taken\n";
  session.out.flush();
  const auto begun = std::chrono::steady_clock::now();
  v1::ListFlowsRequest request;
  request.set_limit(kFlowsMax);
  while (true) {
    v1::ListFlowsResponse left;
    if (const auto error = call(session, &Gateway::ListFlows, request, left)) {
      return report(session, *error);
    }
    auto& flows = *left.mutable_flows();
    flows.erase(std::remove_if(flows.begin(), flows.end(), is_over), flows.end());
    const auto taken = std::chrono::steady_clock::now() - begun;
    if (flows.empty() && !left.truncated()) {
      session.out << fmt::format("drained after {}, no flow is left\n", seconds_text(taken));
      return kOk;
    }
    if (taken >= session.options.deadline) {
      session.err << fmt::format("error: after {} {}\n", seconds_text(taken), words_of(left));
      return kRefused;
    }
    std::this_thread::sleep_for(kLookAgain);
  }
}

int undrain(const Session& session) {
  v1::UndrainResponse done;
  if (const auto error = call(session, &Gateway::Undrain, v1::UndrainRequest{}, done)) {
    return report(session, *error);
  }
  session.out << "new flows are taken again\n";
  return kOk;
}

}  // namespace sluice::cli
