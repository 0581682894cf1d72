// SPDX-License-Identifier: Apache-2.0
// A sender between a gateway and what a test wants there, and all that it reports.
#pragma once

#include "controlplane/kubernetes/gateway_sender.h"
#include "tests/unit/controlplane/kubernetes/fake_gateway.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace sluice::kubernetes {

using std::chrono::milliseconds;
using Forms = std::map<std::string, std::string>;

inline constexpr milliseconds kNever{3'600'000};
// A form that is as the gateway's routes are: "endpoint" when it has one to a pod's address, else
// "node"; "unknown" when they are not known.
inline constexpr const char* kAuto = "auto";
inline constexpr const char* kPod = "10.244.1.7";

inline std::string form_for(const std::string& form, const GatewayRoutes* routes) {
  if (form != kAuto) {
    return form;
  }
  if (routes == nullptr) {
    return "unknown";
  }
  return routes->find(*parse_ip(kPod)) == nullptr ? "node" : "endpoint";
}

// Its form is the name of its port.
inline v1::Service service_message(const std::string& name, const std::string& form) {
  v1::Service service;
  service.mutable_metadata()->set_namespace_("shop");
  service.mutable_metadata()->set_name(name);
  auto* port = service.mutable_spec()->add_ports();
  port->set_name(form);
  port->set_port(80);
  service.mutable_spec()->add_load_balancer_ips("192.0.2." + std::to_string(name.size()));
  return service;
}

// "upsert a=1 b=1; delete c": in the order of names; a replace begins with "replace".
inline std::string text_of(const v1::ApplyRequest& request) {
  Forms upserts;
  for (const v1::Service& service : request.upsert()) {
    upserts[service.metadata().name()] = service.spec().ports(0).name();
  }
  std::string text = request.replace() ? "replace" : "upsert";
  for (const auto& [name, form] : upserts) {
    text += " " + name + "=" + form;
  }
  std::vector<std::string> deletes;
  for (const v1::ServiceName& name : request.delete_()) {
    deletes.push_back(name.name());
  }
  std::sort(deletes.begin(), deletes.end());
  for (const std::string& name : deletes) {
    text += (name == deletes.front() ? "; delete " : " ") + name;
  }
  return text;
}

class GatewaySenderTest : public ::testing::Test {
 protected:
  struct Reported {
    std::vector<Sent> sent;
    bool all = false;
  };

  std::atomic<bool> decides_{true};
  std::shared_ptr<FakeGateway> gateway_ = std::make_shared<FakeGateway>();
  SenderSettings settings_{.gateway = "unix:fake",
                           .provider = "cluster-a",
                           .fold = milliseconds(1),
                           .poll = milliseconds(20),
                           .again = milliseconds(50),
                           .deadline = milliseconds(5'000)};

  // As the watch does: first the new state, then its name. An empty form: it is not to be served.
  void want(const std::string& name, const std::string& form) {
    prepare(name, form);
    tell({name});
  }
  void prepare(const std::string& name, const std::string& form) {
    const std::lock_guard lock(mutex_);
    wanted_[{"shop", name}] = form;
  }
  void drop(const std::string& name) {
    {
      const std::lock_guard lock(mutex_);
      wanted_.erase({"shop", name});
    }
    tell({name});
  }
  void tell(const std::vector<std::string>& names) {
    std::vector<ServiceName> changed;
    for (const std::string& name : names) {
      changed.push_back({"shop", name});
    }
    if (sender_) {
      sender_->changed(changed);
    }
  }
  // What people are told of it; `why_not` counts while it has no form.
  void explain(const std::string& name, const std::string& why_not,
               std::vector<Finding> findings = {}) {
    {
      const std::lock_guard lock(mutex_);
      why_not_[{"shop", name}] = why_not;
      findings_[{"shop", name}] = std::move(findings);
    }
    tell({name});
  }
  void want_routes(const std::map<std::string, std::string>& routes) {
    auto wanted = std::make_shared<std::vector<v1::ProviderRoute>>();
    for (const auto& [destination, gateway] : routes) {
      wanted->emplace_back();
      wanted->back().set_destination(destination);
      wanted->back().set_gateway(gateway);
    }
    want_routes(std::move(wanted));
  }
  void want_routes(ProviderRoutes routes) {
    const std::lock_guard lock(mutex_);
    routes_ = std::move(routes);
  }
  void set_synced(bool synced) {
    const std::lock_guard lock(mutex_);
    synced_ = synced;
  }

  // Running; with all in step, unless something is in its way.
  void start() {
    sender_ = std::make_unique<GatewaySender>(
        settings_, gateway_,
        Wanted{.is_synced = [this] { return is_synced(); },
               .names = [this] { return names(); },
               .service = [this](const ServiceName& name,
                                 const GatewayRoutes* routes) { return service(name, routes); },
               .decides = [this] { return decides_.load(); },
               .routes = [this] { return routes(); }},
        [this](const std::vector<Sent>& sent, bool all) {
          const std::lock_guard lock(mutex_);
          reports_.push_back({sent, all});
        });
  }
  void start_in_step() {
    start();
    ASSERT_TRUE(await([this] {
      tell({});  // it may not have listened to the last one
      return sender_->counts().in_step;
    }));
  }
  void stop() { sender_.reset(); }

  [[nodiscard]] static bool await(const std::function<bool()>& holds) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!holds()) {
      if (std::chrono::steady_clock::now() > end) {
        return false;
      }
      std::this_thread::sleep_for(milliseconds(1));
    }
    return true;
  }
  [[nodiscard]] bool await_forms(const Forms& forms) const {
    return await([&] { return gateway_->forms() == forms && sender_->counts().in_step; });
  }
  // Whatever is to come by itself has come.
  void await_polls(std::size_t more) const {
    const std::size_t enough = gateway_->polls() + more;
    ASSERT_TRUE(await([&] { return gateway_->polls() >= enough; }));
  }

  // Writes after the first `skip`.
  [[nodiscard]] std::vector<std::string> writes(std::size_t skip = 0) const {
    std::vector<std::string> texts;
    for (const v1::ApplyRequest& request : gateway_->applied()) {
      texts.push_back(text_of(request));
    }
    texts.erase(texts.begin(),
                texts.begin() + static_cast<std::ptrdiff_t>(std::min(skip, texts.size())));
    return texts;
  }
  // Of this service, oldest first: "served 192.0.2.3", "absent", "refused: why".
  [[nodiscard]] std::vector<std::string> reports_of(const std::string& name) const {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> texts;
    for (const Reported& reported : reports_) {
      for (const Sent& sent : reported.sent) {
        if (sent.name.name != name) {
          continue;
        }
        std::string text = sent.served            ? "served"
                           : sent.refusal.empty() ? "absent"
                                                  : "refused: " + sent.refusal;
        for (const std::string& vip : sent.vips) {
          text += " " + vip;
        }
        if (!sent.resource.empty()) {
          text += " (" + sent.resource + " of " + sent.owner + ")";
        }
        texts.push_back(text);
      }
    }
    return texts;
  }
  [[nodiscard]] std::string last_report_of(const std::string& name) const {
    const auto reports = reports_of(name);
    return reports.empty() ? "" : reports.back();
  }
  [[nodiscard]] bool await_report(const std::string& name, const std::string& text) const {
    return await([&] { return last_report_of(name) == text; });
  }
  [[nodiscard]] std::vector<Reported> reports() const {
    const std::lock_guard lock(mutex_);
    return reports_;
  }
  // What somebody who listens takes the gateway to serve, as the controller does.
  [[nodiscard]] std::vector<std::string> believed() const {
    const std::lock_guard lock(mutex_);
    std::map<std::string, bool> served;
    for (const Reported& reported : reports_) {
      if (reported.all) {
        served.clear();
      }
      for (const Sent& sent : reported.sent) {
        if (sent.served) {
          served[sent.name.name] = true;
        } else if (sent.refusal.empty()) {
          served.erase(sent.name.name);
        }
      }
    }
    std::vector<std::string> names;
    for (const auto& [name, is_served] : served) {
      names.push_back(name);
    }
    return names;
  }

  [[nodiscard]] GatewaySender::Counts counts() const { return sender_->counts(); }
  [[nodiscard]] std::shared_ptr<const GatewayRoutes> gateway_routes() const {
    return sender_->routes();
  }
  [[nodiscard]] bool await_told(const std::map<std::string, std::string>& reports) const {
    return await([&] { return gateway_->reports() == reports; });
  }

 private:
  [[nodiscard]] bool is_synced() const {
    const std::lock_guard lock(mutex_);
    return synced_;
  }
  [[nodiscard]] std::vector<ServiceName> names() const {
    const std::lock_guard lock(mutex_);
    std::vector<ServiceName> names;
    for (const auto& [name, form] : wanted_) {
      names.push_back(name);
    }
    return names;
  }
  [[nodiscard]] WantedService service(const ServiceName& name, const GatewayRoutes* routes) const {
    const std::lock_guard lock(mutex_);
    WantedService wanted;
    const auto at = wanted_.find(name);
    if (at != wanted_.end() && !at->second.empty()) {
      wanted.service = service_message(name.name, form_for(at->second, routes));
    }
    if (const auto why_not = why_not_.find(name); why_not != why_not_.end()) {
      wanted.why_not = why_not->second;
      wanted.findings = findings_.at(name);
    }
    return wanted;
  }
  [[nodiscard]] ProviderRoutes routes() const {
    const std::lock_guard lock(mutex_);
    return routes_;
  }

  mutable std::mutex mutex_;
  std::map<ServiceName, std::string> wanted_;
  std::map<ServiceName, std::string> why_not_;
  std::map<ServiceName, std::vector<Finding>> findings_;
  ProviderRoutes routes_;
  bool synced_ = true;
  std::vector<Reported> reports_;
  std::unique_ptr<GatewaySender> sender_;  // last: it calls the others
};

}  // namespace sluice::kubernetes
