// SPDX-License-Identifier: Apache-2.0
// A gateway in this process: it keeps what one provider writes, as gateways do, and refuses what a
// test tells it to. Any thread.
#pragma once

#include "tests/unit/controlplane/kubernetes/gateway_stub.h"

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace sluice::kubernetes {

class FakeGateway final : public GatewayStub {
 public:
  using Verdict = std::function<grpc::Status(const v1::ApplyRequest&)>;

  // OK: it does what it is asked.
  void set_verdict(Verdict verdict);
  // Writes are done and answered by COMMITTED_NOT_CONFIRMED.
  void set_confirms(bool confirms);
  // Nobody answers.
  void set_away(bool away);
  // Who asks for revisions is not answered.
  void set_answers_revisions(bool answers);
  // Writes wait, until their deadline at most.
  void set_hangs(bool hangs);
  // As after a start without a store.
  void forget();
  // As after a start with one: services are kept, and nothing else is.
  void restart();
  // It knows nothing of routes and reports.
  void set_old(bool old);
  // Routes that it has from elsewhere.
  void set_destinations(std::vector<std::string> destinations);
  // The provider's routes to these destinations are refused.
  void set_refused_routes(std::vector<std::string> destinations);
  // The kernel takes the provider's routes, and the gateway hears of them. True at first.
  void set_hears_of_routes(bool hears);
  // OK: it does what it is asked.
  void set_routes_verdict(grpc::Status status);  // ListRoutes and SetRoutes
  void set_reports_verdict(grpc::Status status);
  // Somebody else writes as this provider.
  void put(const v1::Service& service);
  void remove(const std::string& name);

  // By name without namespace: the name of its first port, by which tests tell forms apart.
  [[nodiscard]] std::map<std::string, std::string> forms() const;
  // All writes until now, refused ones included.
  [[nodiscard]] std::vector<v1::ApplyRequest> applied() const;
  [[nodiscard]] std::size_t writes() const;
  [[nodiscard]] std::size_t polls() const;       // how often its revision was asked
  [[nodiscard]] std::size_t unanswered() const;  // calls while it was away
  // "10.244.1.0/24 via 192.0.2.11": the provider's.
  [[nodiscard]] std::vector<std::string> routes() const;
  // By name without namespace: "REASON: MESSAGE".
  [[nodiscard]] std::map<std::string, std::string> reports() const;
  // How often each of them was called: "ListRoutes".
  [[nodiscard]] std::size_t calls(const std::string& method) const;
  // SetRoutes, ListRoutes, Apply and ReportServices in their order, what repeats once.
  [[nodiscard]] std::vector<std::string> order() const;
  [[nodiscard]] std::vector<v1::ReportServicesRequest> reported() const;

  grpc::Status Apply(grpc::ClientContext* context, const v1::ApplyRequest& request,
                     v1::ApplyResponse* response) override;
  grpc::Status ListServices(grpc::ClientContext* context, const v1::ListServicesRequest& request,
                            v1::ListServicesResponse* response) override;
  grpc::Status ListProviders(grpc::ClientContext* context, const v1::ListProvidersRequest& request,
                             v1::ListProvidersResponse* response) override;
  grpc::Status ListRoutes(grpc::ClientContext* context, const v1::ListRoutesRequest& request,
                          v1::ListRoutesResponse* response) override;
  grpc::Status SetRoutes(grpc::ClientContext* context, const v1::SetRoutesRequest& request,
                         v1::SetRoutesResponse* response) override;
  grpc::Status ReportServices(grpc::ClientContext* context,
                              const v1::ReportServicesRequest& request,
                              v1::ReportServicesResponse* response) override;
  grpc::Status GetStatus(grpc::ClientContext* context, const v1::GetStatusRequest& request,
                         v1::GatewayStatus* response) override;

 private:
  void note(const std::string& method);
  // OK: go on.
  grpc::Status answer(const std::string& method, const grpc::Status& verdict);
  grpc::Status commit(const v1::ApplyRequest& request);

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  Verdict verdict_;
  bool confirms_ = true;
  bool away_ = false;
  bool answers_revisions_ = true;
  bool hangs_ = false;
  std::map<std::string, v1::Service> services_;
  std::uint64_t revision_ = 0;
  std::size_t polls_ = 0;
  std::size_t unanswered_ = 0;
  std::vector<v1::ApplyRequest> applied_;
  bool old_ = false;
  bool hears_of_routes_ = true;
  grpc::Status routes_verdict_;
  grpc::Status reports_verdict_;
  std::int64_t started_ = 1;
  std::uint64_t routes_revision_ = 1;
  std::vector<std::string> destinations_;
  std::vector<std::string> refused_routes_;
  std::map<std::string, std::string> routes_;  // the provider's: the next hop by destination
  std::map<std::string, std::string> reports_;
  std::vector<v1::ReportServicesRequest> reported_;
  std::map<std::string, std::size_t> calls_;
  std::vector<std::string> order_;
};

// INVALID_ARGUMENT about the upserts with these names, each by its place in the request.
[[nodiscard]] grpc::Status refuse(const v1::ApplyRequest& request,
                                  const std::vector<std::string>& names);
// ALREADY_EXISTS, which names a frontend and not whose, if one of the upserts has this name.
[[nodiscard]] grpc::Status conflict(const v1::ApplyRequest& request, const std::string& name);

}  // namespace sluice::kubernetes
