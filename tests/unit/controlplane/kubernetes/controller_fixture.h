// SPDX-License-Identifier: Apache-2.0
// A controller between an API server that keeps what is written to it and gateways that do what a
// test says.
#pragma once

#include "controlplane/kubernetes/controller.h"
#include "tests/unit/controlplane/kubernetes/api_stub.h"
#include "tests/unit/controlplane/model/pools.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

namespace sluice::kubernetes {

using model::pool;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;
using Json = nlohmann::json;
using Leads = LeaderElection::Leads;

// In which what must not happen would have happened.
inline constexpr milliseconds kAWhile{1'200};
inline constexpr const char* kVip = "203.0.113.10";
inline constexpr const char* kNextVip = "203.0.113.11";

class ControllerTest : public ::testing::Test {
 protected:
  // Under the server's lock: what it has, and what it and the gateways were told, in order.
  std::map<std::string, Json> objects_;
  int version_ = 0;
  std::string log_;
  std::map<std::string, std::string> at_gateways_;
  std::vector<std::string> events_;  // "REASON about NAME"
  Answer refusal_{0, ""};            // of writes; status 0: none
  std::string refused_;              // whose; empty: everybody's
  bool is_deaf_ = false;             // what changes is not told
  std::atomic<bool> announces_{true};
  std::atomic<bool> in_step_{true};
  std::atomic<bool> is_away_{false};
  std::optional<std::vector<model::AddressPool>> pools_{
      {pool("main", {"203.0.113.10-203.0.113.11"})}};

  std::shared_ptr<const GatewayRoutes> routes_;   // before it begins
  std::function<void()> when_addressed_ = [] {};  // in the midst of a pass; before it begins
  ApiStub server_{[this](const Asked& asked) { return answer(asked); }};
  const ClusterAccess access_ = server_.access();
  Credentials credentials_{access_};
  std::unique_ptr<Controller> controller_;
  ClusterState state_{[this](const std::vector<ServiceName>& names) {
    if (controller_ != nullptr) {
      controller_->changed(names);
    }
  }};

  void SetUp() override { set_up({}); }
  // In the place of the one that is there.
  void set_up(milliseconds release_delay, milliseconds leave_max = Settings().leave_max) {
    if (controller_ != nullptr) {
      controller_->stop();
      controller_.reset();
    }
    Settings settings;
    settings.release_delay = release_delay;
    settings.leave_max = leave_max;
    settings.provider = "east";
    settings.gateways = {"g1", "g2"};
    const auto addressed = [this](const std::vector<ServiceName>& names) {
      for (const ServiceName& name : names) {
        note_addresses(name.name);
      }
      when_addressed_();
    };
    controller_ = std::make_unique<Controller>(
        settings, "this", state_, access_, credentials_,
        Controller::Outside{.addressed = addressed,
                            .pools = [this] { return server_.with([this] { return pools_; }); },
                            .in_step = [this](std::size_t) { return in_step_.load(); },
                            .is_away = [this](std::size_t) { return is_away_.load(); },
                            .announces = [this](std::size_t) { return announces_.load(); },
                            .routes = [this] { return routes_; }});
  }
  void TearDown() override {
    controller_->stop();
    // A request may still be answered, and is to tell nobody who is gone.
    server_.with([this] { is_deaf_ = true; });
  }

  void note(const std::string& what) { log_ += (log_.empty() ? "" : ", ") + what; }
  // Where gateways are to serve it, if that is new to them.
  void note_addresses(const std::string& name) {
    const std::string vips = vips_of(name);
    server_.with([&] {
      if (std::exchange(at_gateways_[name], vips) != vips) {
        note("gateway " + name + vips);
      }
    });
  }
  std::string vips_of(const std::string& name) {
    std::string text;
    const ServiceView view = state_.view({"shop", name});
    if (view.service != nullptr) {
      for (const IpAddress& vip : controller_->vips_of(*view.service)) {
        text += " " + sluice::to_string(vip);
      }
    }
    return text;
  }

  Answer answer(const Asked& asked) {
    const Json body = Json::parse(asked.body);
    if (asked.method == "POST") {
      events_.push_back(body["reason"].get<std::string>() + " about " +
                        body["regarding"]["name"].get<std::string>());
      return {201, "{}"};
    }
    const bool is_status = asked.path.ends_with("/status");
    std::string name = asked.path.substr(0, asked.path.size() - (is_status ? 7 : 0));
    name = name.substr(name.rfind('/') + 1);
    if (refusal_.status != 0 && (refused_.empty() || refused_ == name)) {
      note(std::to_string(refusal_.status));
      return refusal_;
    }
    const auto at = objects_.find(name);
    if (at == objects_.end()) {
      return {404, "{}"};
    }
    if (body["metadata"]["resourceVersion"] != at->second["metadata"]["resourceVersion"]) {
      note("409");
      return {409, "{}"};
    }
    note_patch(name, body, is_status);
    Json made = at->second;
    made.merge_patch(body);
    put(made);
    return {200, made.dump()};
  }
  void note_patch(const std::string& name, const Json& body, bool is_status) {
    if (!is_status) {
      const auto& finalizers = body["metadata"]["finalizers"];
      const bool marks =
          std::find(finalizers.begin(), finalizers.end(), kFinalizer) != finalizers.end();
      note((marks ? "mark " : "unmark ") + name);
      return;
    }
    const Json ingress = body["status"]["loadBalancer"]["ingress"];
    std::string vips;
    for (const Json& entry : ingress.is_null() ? Json::array() : ingress) {
      vips += " " + entry["ip"].get<std::string>();
    }
    note("status " + name + vips);
  }
  // As the server keeps it, and as a watch tells it.
  void put(Json& object) {
    object["metadata"]["resourceVersion"] = std::to_string(++version_);
    const std::string name = object["metadata"]["name"];
    const bool goes = object["metadata"].contains("deletionTimestamp") &&
                      object["metadata"]["finalizers"].empty();
    if (goes) {
      objects_.erase(name);
    } else {
      objects_[name] = object;
    }
    if (is_deaf_) {
      return;
    }
    goes ? state_.services().remove(object.dump()) : state_.services().take(object.dump());
  }
  static Json balancer(const std::string& name) {
    return {{"metadata",
             {{"namespace", "shop"},
              {"name", name},
              {"uid", "u-" + name},
              {"finalizers", {"foreign/one"}}}},
            {"spec",
             {{"type", "LoadBalancer"},
              {"loadBalancerClass", kLoadBalancerClass},
              {"clusterIP", "10.96.0.1"},
              {"ipFamilies", {"IPv4"}},
              {"ports", {{{"port", 80}, {"protocol", "TCP"}}}}}}};
  }
  // One that this provider has given kVip.
  static Json assigned(const std::string& name) {
    Json object = balancer(name);
    object["metadata"]["finalizers"] = {kFinalizer};
    object["metadata"]["annotations"][kProviderAnnotation] = "east";
    object["status"]["loadBalancer"]["ingress"] = {{{"ip", kVip}, {"ipMode", "VIP"}}};
    return object;
  }
  void put_service(Json object) {
    server_.with([&] { put(object); });
  }
  template <typename Change>
  void change(const std::string& name, Change change) {
    server_.with([&] {
      Json object = objects_[name];
      change(object);
      put(object);
    });
  }
  // All that there is, as lists have it.
  void list() {
    server_.with([&] {
      state_.services().begin_list();
      for (const auto& [name, object] : objects_) {
        state_.services().take(object.dump());
      }
      state_.services().end_list();
      for (ObjectSink* sink : {&state_.slices(), &state_.nodes()}) {
        sink->begin_list();
        sink->end_list();
      }
    });
  }
  void lead(Leads leads = Leads::kFirst, milliseconds time = std::chrono::hours(1)) {
    controller_->set_leads(leads, Clock::now() + time);
  }
  // It leads, and all was listed before: as at the start of one that is alone.
  void begin() {
    lead();
    list();
  }
  // "web" has the one address that is given by itself; 198.51.100.1 is for who asks for it.
  void begin_with_an_address_to_ask_for() {
    server_.with([this] {
      pools_ = {{pool("main", {"203.0.113.10-203.0.113.10"}), pool("other", {"198.51.100.1"})}};
      pools_->at(1).auto_assign = false;
    });
    put_service(balancer("web"));
    begin();
    ASSERT_TRUE(within(kSoon, [this] { return vips_of("web") == " 203.0.113.10"; }));
  }
  // "web" is marked, served at `kVip`, and its status says so.
  void begin_served() {
    put_service(balancer("web"));
    begin();
    expect("mark web, gateway web 203.0.113.10");
    serve("web", {kVip});
    expect("mark web, gateway web 203.0.113.10, status web 203.0.113.10");
  }
  void remove(const std::string& name) {
    change(name,
           [](Json& object) { object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"; });
  }
  void serve(const std::string& name, const std::vector<std::string>& vips,
             std::size_t gateway = 0) {
    Sent sent;
    sent.name = {"shop", name};
    sent.served = true;
    sent.vips = vips;
    controller_->sent(gateway, {sent}, false);
  }
  void serve_no_more(const std::string& name, std::size_t gateway = 0) {
    Sent sent;
    sent.name = {"shop", name};
    controller_->sent(gateway, {sent}, false);
  }
  void refuse(const std::string& name, const std::string& owner, std::size_t gateway = 0,
              const std::string& resource = "203.0.113.10:80/TCP") {
    Sent sent;
    sent.name = {"shop", name};
    sent.refusal = resource + " is " + owner;
    sent.resource = resource;
    sent.owner = owner;
    controller_->sent(gateway, {sent}, false);
  }
  std::string log() {
    return server_.with([this] { return log_; });
  }
  void expect(const std::string& log) {
    within(kSoon, [&] { return this->log() == log; });
    EXPECT_EQ(this->log(), log);
  }
  // Nothing more, for a while.
  void expect_only(const std::string& log) {
    expect(log);
    std::this_thread::sleep_for(kAWhile);
    EXPECT_EQ(this->log(), log);
  }
  bool was_told(const std::string& event) {
    return within(kSoon, [&] {
      return server_.with(
          [&] { return std::find(events_.begin(), events_.end(), event) != events_.end(); });
    });
  }
};

}  // namespace sluice::kubernetes
