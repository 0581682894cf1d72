// SPDX-License-Identifier: Apache-2.0
// The handlers about the gateway's role, its draining, and its events.
#include "controlplane/api/convert.h"
#include "controlplane/api/error.h"
#include "controlplane/api/gateway_service.h"

namespace sluice::api {
namespace {

grpc::Status done_or_not(bool done) {
  return done ? grpc::Status::OK
              : to_status({.code = model::Code::kResourceExhausted,
                           .message = "nothing was done: the gateway is stopping, or too many "
                                      "questions wait; try again"});
}

}  // namespace

grpc::Status GatewayService::ListEvents(grpc::ServerContext* /*context*/,
                                        const v1::ListEventsRequest* request,
                                        v1::ListEventsResponse* response) {
  const v1::ServiceName& wanted = request->service();
  const model::ServiceName name{
      wanted.namespace_().empty() && !wanted.name().empty() ? "default" : wanted.namespace_(),
      wanted.name()};
  for (const runtime::Event& seen : reconciler_.events(request->provider(), name)) {
    v1::Event& event = *response->add_events();
    event.set_type(seen.warning ? "Warning" : "Normal");
    event.set_reason(seen.reason);
    event.set_provider(seen.provider);
    if (!seen.provider.empty()) {
      fill(seen.service, *event.mutable_service());
    }
    event.set_message(seen.message);
    event.set_count(seen.count);
    event.mutable_first_seen()->set_seconds(seen.first_seconds);
    event.mutable_last_seen()->set_seconds(seen.last_seconds);
  }
  return grpc::Status::OK;
}

grpc::Status GatewayService::SetRole(grpc::ServerContext* /*context*/,
                                     const v1::SetRoleRequest* request,
                                     v1::SetRoleResponse* /*response*/) {
  if (request->role() != "active" && request->role() != "standby") {
    model::Faults faults;
    faults.add("role", "'" + request->role() + "' is unknown; use active or standby");
    return to_status(faults.to_error());
  }
  return done_or_not(reconciler_.set_standby(request->role() == "standby"));
}

grpc::Status GatewayService::Drain(grpc::ServerContext* /*context*/,
                                   const v1::DrainRequest* /*request*/,
                                   v1::DrainResponse* /*response*/) {
  return done_or_not(reconciler_.set_draining(true));
}

grpc::Status GatewayService::Undrain(grpc::ServerContext* /*context*/,
                                     const v1::UndrainRequest* /*request*/,
                                     v1::UndrainResponse* /*response*/) {
  return done_or_not(reconciler_.set_draining(false));
}

}  // namespace sluice::api
