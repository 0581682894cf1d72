// SPDX-License-Identifier: Apache-2.0
// The API's messages as tables and text for people. Pure: `now` is a parameter.
#pragma once

#include "controlplane/cli/options.h"
#include "controlplane/cli/table.h"

#include <chrono>
#include <string>

#include "sluice/v1/gateway.pb.h"

namespace sluice::cli {

using Time = std::chrono::system_clock::time_point;

// kubectl's columns, then ours.
struct ServiceColumns {
  bool wide = false;
  bool namespaces = false;  // of several; else one is meant
};
[[nodiscard]] ServiceColumns service_columns(const Options& options);
[[nodiscard]] Row service_header(ServiceColumns columns);
[[nodiscard]] Row service_row(const v1::ServiceEntry& entry, ServiceColumns columns, Time now);

[[nodiscard]] Table table_of(const v1::ListServicesResponse& response, ServiceColumns columns,
                             Time now);
[[nodiscard]] Table table_of(const v1::ListBackendsResponse& response, bool wide);
[[nodiscard]] Table table_of(const v1::ListPortsResponse& response, bool wide);
[[nodiscard]] Table table_of(const v1::ListFlowsResponse& response, bool wide);
// Reasons that never happened are shown only when wide.
[[nodiscard]] Table table_of(const v1::ListDropsResponse& response, bool wide);
// As "used/bound" where there is a quota; wide: those of namespaces too.
[[nodiscard]] Table table_of(const v1::ListProvidersResponse& response, bool wide);
[[nodiscard]] Table table_of(const v1::ListAddressPoolsResponse& response);

[[nodiscard]] Table table_of(const v1::ListEventsResponse& response, Time now);

[[nodiscard]] std::string text_of(const v1::GatewayStatus& status, Time now);
// As `describe` prints it.
[[nodiscard]] std::string describe_text(const v1::Service& service,
                                        const v1::ListEventsResponse& events, Time now);
[[nodiscard]] std::string text_of(const v1::ExplainResponse& response);

// "web", or "shop/web" outside of the namespace "default".
[[nodiscard]] std::string text_of(const v1::ServiceName& name);

}  // namespace sluice::cli
