// SPDX-License-Identifier: Apache-2.0
// get, status, explain and version.
#include "controlplane/cli/session.h"
#include "controlplane/cli/views.h"
#include "controlplane/manifest/manifest.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace sluice::cli {
namespace {

using Gateway = v1::Gateway::StubInterface;

bool is_wide(const Session& session) {
  return session.options.output == Output::kWide;
}

Time now() {
  return std::chrono::system_clock::now();
}

void print_rows(const Session& session, const Table& table, const char* what) {
  if (table.rows.empty()) {
    session.err << "no " << what << " found\n";
    return;
  }
  session.out << render(table);
}

// -o name: "service/web", one a line, for scripts and completion.
template <typename Elements, typename NameOf>
bool print_name_lines(const Session& session, const Elements& elements, const char* kind,
                      NameOf name_of) {
  if (session.options.output != Output::kName) {
    return false;
  }
  for (const auto& element : elements) {
    session.out << kind << "/" << name_of(element) << "\n";
  }
  return true;
}

// Keeps the elements with one of the names asked for; false when a name is nobody's.
template <typename Elements, typename NameOf>
bool pick(const Session& session, Elements& elements, const char* kind, NameOf name_of) {
  const auto& names = session.options.names;
  if (names.empty()) {
    return true;
  }
  bool all_found = true;
  for (const std::string& name : names) {
    if (std::none_of(elements.begin(), elements.end(),
                     [&](const auto& element) { return name_of(element) == name; })) {
      session.err << fmt::format("error: there is no {} '{}'\n", kind, name);
      all_found = false;
    }
  }
  elements.erase(std::remove_if(elements.begin(), elements.end(),
                                [&](const auto& element) {
                                  return std::find(names.begin(), names.end(), name_of(element)) ==
                                         names.end();
                                }),
                 elements.end());
  return all_found;
}

// A single service as it could be applied again.
void print_manifest(const Session& session, const v1::Service& service) {
  if (session.options.output == Output::kYaml) {
    session.out << fmt::format("apiVersion: {}\nkind: Service\n", manifest::kApiVersion)
                << manifest::to_yaml(service);
    return;
  }
  const std::string json = manifest::to_json(service);
  const std::string_view rest = std::string_view(json).substr(1);
  session.out << fmt::format("{{\n \"apiVersion\": \"{}\",\n \"kind\": \"Service\"{}{}",
                             manifest::kApiVersion, rest.starts_with('}') ? "\n" : ",", rest);
}

bool is_structured(const Session& session) {
  return session.options.output == Output::kJson || session.options.output == Output::kYaml;
}

int get_one_service(const Session& session) {
  v1::GetServiceRequest request;
  request.set_provider(session.options.provider.value_or(""));
  request.mutable_name()->set_name(session.options.names[0]);
  request.mutable_name()->set_namespace_(session.options.namespace_filter());
  v1::Service service;
  if (const auto error = call(session, &Gateway::GetService, request, service)) {
    return report(session, *error);
  }
  print_manifest(session, service);
  return kOk;
}

// Of those served and those that are not, the ones asked for.
bool pick_services(const Session& session, v1::ListServicesResponse& response) {
  const auto name_of = [](const auto& entry) { return entry.service().metadata().name(); };
  auto both = response.services();
  both.MergeFrom(response.unserved());
  const bool all_found = pick(session, both, "service", name_of);
  const auto is_asked_for = [&](const auto& entry) {
    const auto& names = session.options.names;
    return names.empty() || std::find(names.begin(), names.end(), name_of(entry)) != names.end();
  };
  for (auto* entries : {response.mutable_services(), response.mutable_unserved()}) {
    entries->erase(std::remove_if(entries->begin(), entries->end(),
                                  [&](const auto& entry) { return !is_asked_for(entry); }),
                   entries->end());
  }
  return all_found;
}

int get_services(const Session& session) {
  const Options& options = session.options;
  if (options.names.size() == 1 && is_structured(session) && !options.all_namespaces) {
    return get_one_service(session);
  }
  v1::ListServicesRequest request;
  request.set_provider(options.provider.value_or(""));
  request.set_namespace_(options.namespace_filter());
  v1::ListServicesResponse response;
  if (const auto error = call(session, &Gateway::ListServices, request, response)) {
    return report(session, *error);
  }
  const auto name_of = [](const auto& entry) { return entry.service().metadata().name(); };
  const bool all_found = pick_services(session, response);
  if (!all_found && response.services().empty() && response.unserved().empty()) {
    return kRefused;
  }
  if (!print_name_lines(session, response.services(), "service", name_of) &&
      !print_message(session, response)) {
    print_rows(session, table_of(response, service_columns(session.options), now()), "services");
  }
  return all_found ? kOk : kRefused;
}

// The service that --service or the one name means; empty for all of the namespace.
void set_service(const Options& options, v1::ServiceName& name) {
  name.set_namespace_(options.namespace_filter());
  name.set_name(options.names.empty() ? options.service : options.names[0]);
}

int get_backends(const Session& session) {
  v1::ListBackendsRequest request;
  request.set_provider(session.options.provider.value_or(""));
  set_service(session.options, *request.mutable_service());
  v1::ListBackendsResponse response;
  if (const auto error = call(session, &Gateway::ListBackends, request, response)) {
    return report(session, *error);
  }
  const auto name_of = [](const auto& backend) { return backend.address(); };
  if (!print_name_lines(session, response.backends(), "backend", name_of) &&
      !print_message(session, response)) {
    print_rows(session, table_of(response, is_wide(session)), "backends");
  }
  return kOk;
}

int get_flows(const Session& session) {
  const Options& options = session.options;
  v1::ListFlowsRequest request;
  request.set_provider(options.provider.value_or(""));
  set_service(options, *request.mutable_service());
  request.set_client(options.client);
  request.set_backend(options.backend);
  request.set_state(options.state);
  request.set_limit(options.limit);
  v1::ListFlowsResponse response;
  if (const auto error = call(session, &Gateway::ListFlows, request, response)) {
    return report(session, *error);
  }
  const auto name_of = [](const auto& flow) { return flow.client(); };
  if (!print_name_lines(session, response.flows(), "flow", name_of) &&
      !print_message(session, response)) {
    print_rows(session, table_of(response, is_wide(session)), "flows");
    if (response.truncated()) {
      session.err << "there are more; see --limit\n";
    }
  }
  return kOk;
}

// A single element when one name was asked for, else the whole response.
template <typename Response, typename Elements>
bool print_picked(const Session& session, const Response& response, const Elements& elements) {
  return session.options.names.size() == 1 && elements.size() == 1
             ? print_message(session, elements[0])
             : print_message(session, response);
}

// Kinds that are listed whole and picked from by name. `elements`: of a response, to be changed.
template <typename Rpc, typename Request, typename Response, typename ElementsOf, typename TableOf>
int get_named(const Session& session, const std::string& kind, Rpc rpc, const Request& request,
              Response response, ElementsOf elements, TableOf table) {
  if (const auto error = call(session, rpc, request, response)) {
    return report(session, *error);
  }
  const auto name_of = [](const auto& element) { return element.name(); };
  const bool all_found = pick(session, elements(response), kind.c_str(), name_of);
  if (!all_found && elements(response).empty()) {
    return kRefused;
  }
  if (!print_name_lines(session, elements(response), kind.c_str(), name_of) &&
      !print_picked(session, response, elements(response))) {
    print_rows(session, table(response), (kind + "s").c_str());
  }
  return all_found ? kOk : kRefused;
}

int get_ports(const Session& session) {
  return get_named(
      session, "port", &Gateway::ListPorts, v1::ListPortsRequest{}, v1::ListPortsResponse{},
      [](auto& response) -> auto& { return *response.mutable_ports(); },
      [&](const auto& response) { return table_of(response, is_wide(session)); });
}

int get_drops(const Session& session) {
  v1::ListDropsResponse response;
  if (const auto error = call(session, &Gateway::ListDrops, v1::ListDropsRequest{}, response)) {
    return report(session, *error);
  }
  const auto name_of = [](const auto& drop) { return drop.reason(); };
  const bool all_found = pick(session, *response.mutable_drops(), "drop reason", name_of);
  if (!all_found && response.drops().empty()) {
    return kRefused;
  }
  if (!print_name_lines(session, response.drops(), "drop", name_of) &&
      !print_picked(session, response, response.drops())) {
    const bool with_zeros = is_wide(session) || !session.options.names.empty();
    const Table table = table_of(response, with_zeros);
    if (table.rows.empty()) {
      session.err << "nothing was dropped; -o wide shows every reason there is\n";
    } else {
      session.out << render(table);
    }
  }
  return all_found ? kOk : kRefused;
}

int get_providers(const Session& session) {
  return get_named(
      session, "provider", &Gateway::ListProviders, v1::ListProvidersRequest{},
      v1::ListProvidersResponse{},
      [](auto& response) -> auto& { return *response.mutable_providers(); },
      [&](const auto& response) { return table_of(response, is_wide(session)); });
}

int get_pools(const Session& session) {
  return get_named(
      session, "pool", &Gateway::ListAddressPools, v1::ListAddressPoolsRequest{},
      v1::ListAddressPoolsResponse{},
      [](auto& response) -> auto& { return *response.mutable_pools(); },
      [](const auto& response) { return table_of(response); });
}

int get_events(const Session& session) {
  v1::ListEventsRequest request;
  request.set_provider(session.options.provider.value_or(""));
  if (session.options.name_space || !session.options.names.empty()) {
    set_service(session.options, *request.mutable_service());
  }
  v1::ListEventsResponse response;
  if (const auto error = call(session, &Gateway::ListEvents, request, response)) {
    return report(session, *error);
  }
  const auto name_of = [](const auto& event) { return event.reason(); };
  if (!print_name_lines(session, response.events(), "event", name_of) &&
      !print_message(session, response)) {
    print_rows(session, table_of(response, now()), "events");
  }
  return kOk;
}

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

// What whoever waits for a gateway wants to know: one that has just started has nothing yet of what
// its providers want.
std::optional<client::Error> wrote_nothing(const Session& session) {
  const std::optional<std::string>& provider = session.options.provider;
  v1::ListProvidersResponse response;
  if (!provider) {
    return std::nullopt;
  }
  if (auto error = call(session, &Gateway::ListProviders, v1::ListProvidersRequest{}, response)) {
    return error;
  }
  const bool has_written = std::any_of(
      response.providers().begin(), response.providers().end(),
      [&](const v1::Provider& each) { return each.name() == *provider && each.revision() != 0; });
  if (has_written) {
    return std::nullopt;
  }
  client::Error error;
  error.code = grpc::StatusCode::FAILED_PRECONDITION;
  error.message = "provider '" + *provider + "' has written nothing yet since the gateway started";
  return error;
}

}  // namespace

int get(const Session& session) {
  switch (session.options.resource) {
    case Resource::kServices:
      return get_services(session);
    case Resource::kBackends:
      return get_backends(session);
    case Resource::kPorts:
      return get_ports(session);
    case Resource::kFlows:
      return get_flows(session);
    case Resource::kDrops:
      return get_drops(session);
    case Resource::kProviders:
      return get_providers(session);
    case Resource::kPools:
      return get_pools(session);
    case Resource::kEvents:
      return get_events(session);
  }
  return kUsage;
}

int status(const Session& session) {
  v1::GatewayStatus response;
  if (const auto error = call(session, &Gateway::GetStatus, v1::GetStatusRequest{}, response)) {
    return report(session, *error);
  }
  if (const auto error = wrote_nothing(session)) {
    return report(session, *error);
  }
  if (!print_message(session, response)) {
    session.out << text_of(response, now());
  }
  return kOk;
}

int explain(const Session& session) {
  v1::ExplainRequest request;
  request.set_source(session.options.from);
  request.set_destination(session.options.to);
  request.set_protocol(upper(session.options.protocol));
  request.set_port(session.options.port);
  v1::ExplainResponse response;
  if (const auto error = call(session, &Gateway::Explain, request, response)) {
    return report(session, *error);
  }
  if (!print_message(session, response)) {
    session.out << text_of(response);
  }
  return kOk;
}

int version(const Session& session) {
  session.out << "sluicectl " << SLUICE_VERSION << "\n";
  v1::GatewayStatus response;
  if (const auto error = call(session, &Gateway::GetStatus, v1::GetStatusRequest{}, response)) {
    return report(session, *error);
  }
  session.out << "sluiced   " << response.version() << " (" << response.name() << ")\n";
  return kOk;
}

}  // namespace sluice::cli
