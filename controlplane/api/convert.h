// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/model/config.h"
#include "controlplane/model/service.h"
#include "controlplane/runtime/service_reports.h"
#include "controlplane/runtime/views.h"

#include "sluice/v1/config.pb.h"
#include "sluice/v1/gateway.pb.h"

// Between the API's messages and the values of the model, in both directions. Nothing is judged
// here: what a message says is carried over, and model/validate speaks about it.
namespace sluice::api {

model::ServiceInput to_input(const v1::Service& service);
// The fields that the gateway sets and a writer may at most send back.
model::Identity to_identity(const v1::ObjectMeta& metadata);
model::ConfigInput to_input(const v1::GatewayConfig& config);
model::ServiceName to_name(const v1::ServiceName& name);

void fill(const model::ServiceName& name, v1::ServiceName& message);
// Spec and status; defaults spelt out where Kubernetes does.
void fill(const runtime::ServiceView& view, v1::Service& message);
void fill(const runtime::ServiceView& view, v1::ServiceEntry& message);
// One Backend for each endpoint of each port.
void fill(const runtime::ServiceView& view, v1::ListBackendsResponse& message);

void fill(const runtime::ServiceReport& report, v1::ServiceReport& message);

// "active", "draining", "removed", "unused".
std::string name_of(const model::CompiledEndpoint& endpoint);

// Paths of all fields in `message` and below that are on the wire but not in our schema.
std::vector<std::string> unknown_fields(const google::protobuf::Message& message);
// Each of them is a fault.
void check_unknown(const google::protobuf::Message& message, model::Faults& faults);

}  // namespace sluice::api
