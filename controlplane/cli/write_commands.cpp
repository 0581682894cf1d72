// SPDX-License-Identifier: Apache-2.0
// apply, delete and flows delete.
#include "controlplane/cli/manifests.h"
#include "controlplane/cli/session.h"
#include "controlplane/cli/table.h"

#include <fmt/format.h>

#include <algorithm>

namespace sluice::cli {
namespace {

constexpr const char* kDefaultProvider = "cli";

using Names = google::protobuf::RepeatedPtrField<v1::ServiceName>;

// -n fills in what a document leaves open and must not contradict what it says.
void settle_namespaces(const Options& options, Manifests& manifests) {
  if (!options.name_space) {
    return;
  }
  for (Source& source : manifests.sources) {
    auto& meta = *source.document.service.mutable_metadata();
    if (meta.namespace_().empty()) {
      meta.set_namespace_(*options.name_space);
    } else if (meta.namespace_() != *options.name_space) {
      manifests.faults.push_back({source.file, source.document.index + 1, "metadata.namespace",
                                  fmt::format("'{}' is not the namespace of -n, '{}'",
                                              meta.namespace_(), *options.name_space),
                                  manifest::line_of(source.document.node, "metadata.namespace"),
                                  true});
    }
  }
}

void print_faults(const Session& session, const std::vector<FileFault>& faults) {
  for (const FileFault& fault : faults) {
    session.err << to_string(fault) << "\n";
  }
}

// The gateway's faults with their places in the files; what has none goes to `rest`.
std::vector<FileFault> located(const client::Error& error, const std::vector<Source>& sources,
                               std::vector<std::string>& rest) {
  std::vector<FileFault> found;
  for (const client::FieldViolation& violation : error.violations) {
    if (auto fault = locate(violation, sources)) {
      found.push_back(std::move(*fault));
    } else {
      rest.push_back(client::line_of(violation));
    }
  }
  return found;
}

// The files have faults of form. The gateway still looks at what could be read, so that one
// answer holds them all.
int refuse_form(const Session& session, v1::ApplyRequest request, Manifests& manifests) {
  std::vector<std::string> rest;
  if (!manifests.sources.empty()) {
    request.set_dry_run(true);
    v1::ApplyResponse ignored;
    const auto error = call(session, &v1::Gateway::StubInterface::Apply, request, ignored);
    if (error && error->is_unreachable()) {
      rest.emplace_back("the gateway does not answer, so only faults of form are listed");
    } else if (error) {
      merge(manifests.faults, located(*error, manifests.sources, rest));
      client::Error beside = *error;
      beside.violations.clear();
      if (!beside.resources.empty() || error->violations.empty()) {
        const std::vector<std::string> lines = client::lines_of(beside);
        rest.insert(rest.end(), lines.begin(), lines.end());
      }
    }
  }
  session.err << "error: the files have faults; nothing was changed\n";
  merge(manifests.faults, {});
  print_faults(session, manifests.faults);
  for (const std::string& line : rest) {
    session.err << line << "\n";
  }
  return kUsage;
}

// The gateway refused a transaction whose files were well formed.
int report_refusal(const Session& session, const client::Error& error,
                   const std::vector<Source>& sources) {
  if (error.violations.empty() || sources.empty()) {
    return report(session, error);
  }
  client::Error beside = error;
  beside.violations.clear();
  if (client::repeats_violation(error)) {
    beside.message = "the gateway refused it; nothing was changed";
  }
  const int code = report(session, beside);
  std::vector<std::string> rest;
  std::vector<FileFault> faults;
  merge(faults, located(error, sources, rest));
  print_faults(session, faults);
  for (const std::string& line : rest) {
    session.err << line << "\n";
  }
  return code;
}

void print_names(const Session& session, const Names& names, const char* what) {
  const char* suffix = session.options.dry_run ? " (dry run)" : "";
  for (const v1::ServiceName& name : names) {
    const bool is_default = name.namespace_().empty() || name.namespace_() == "default";
    const std::string place =
        is_default ? std::string{} : fmt::format(" in namespace {}", name.namespace_());
    session.out << fmt::format("service/{} {}{}{}\n", name.name(), what, place, suffix);
  }
}

void print_result(const Session& session, const v1::ApplyRequest& request,
                  const v1::ApplyResponse& response) {
  if (print_message(session, response)) {
    return;
  }
  print_names(session, response.created(), "created");
  print_names(session, response.changed(), "configured");
  print_names(session, response.unchanged(), "unchanged");
  print_names(session, response.deleted(), "deleted");
  if (session.options.dry_run) {
    session.out << fmt::format("nothing was changed: provider {} stays at revision {}\n",
                               request.provider(), response.revision());
    return;
  }
  if (response.publish_ns() == 0) {
    session.out << fmt::format("provider {} stays at revision {}\n", request.provider(),
                               response.revision());
    return;
  }
  session.out << fmt::format("provider {} at revision {}; epoch {} seen by every lcore in {}\n",
                             request.provider(), response.revision(), response.epoch(),
                             nanoseconds_text(response.publish_ns()));
}

// Services that were named on the command line are called by their names, not by an index.
void name_targets(const v1::ApplyRequest& request, client::Error& error) {
  for (client::FieldViolation& violation : error.violations) {
    for (int i = 0; i < request.delete__size(); ++i) {
      if (violation.field.starts_with(fmt::format("delete[{}]", i))) {
        violation.field = fmt::format("service/{}", request.delete_(i).name());
        break;
      }
    }
  }
}

int send(const Session& session, const v1::ApplyRequest& request,
         const std::vector<Source>& sources) {
  v1::ApplyResponse response;
  if (auto error = call(session, &v1::Gateway::StubInterface::Apply, request, response)) {
    if (sources.empty()) {
      name_targets(request, *error);
    }
    return report_refusal(session, *error, sources);
  }
  print_result(session, request, response);
  return kOk;
}

}  // namespace

v1::ApplyRequest request_of(const Options& options) {
  v1::ApplyRequest request;
  request.set_provider(options.provider.value_or(kDefaultProvider));
  request.set_dry_run(options.dry_run);
  if (options.expected_revision) {
    request.set_expected_revision(*options.expected_revision);
  }
  return request;
}

int apply(const Session& session) {
  Manifests manifests = read_manifests(session.options.files);
  settle_namespaces(session.options, manifests);
  v1::ApplyRequest request = request_of(session.options);
  request.set_replace(session.options.replace);
  for (const Source& source : manifests.sources) {
    *request.add_upsert() = source.document.service;
  }
  if (!manifests.faults.empty()) {
    return refuse_form(session, std::move(request), manifests);
  }
  return send(session, request, manifests.sources);
}

int delete_flows(const Session& session) {
  const Options& options = session.options;
  v1::DeleteFlowsRequest request;
  request.set_provider(options.provider.value_or(""));
  if (!options.service.empty() || options.name_space) {
    request.mutable_service()->set_namespace_(options.namespace_filter());
    request.mutable_service()->set_name(options.service);
  }
  request.set_client(options.client);
  request.set_backend(options.backend);
  request.set_state(options.state);
  request.set_all(options.all);
  v1::DeleteFlowsResponse response;
  if (const auto error =
          call(session, &v1::Gateway::StubInterface::DeleteFlows, request, response)) {
    return report(session, *error);
  }
  if (!print_message(session, response)) {
    session.out << fmt::format("{} flow{} deleted\n", response.deleted(),
                               response.deleted() == 1 ? "" : "s");
  }
  return kOk;
}

int remove(const Session& session) {
  Manifests manifests = read_manifests(session.options.files);
  settle_namespaces(session.options, manifests);
  v1::ApplyRequest request = request_of(session.options);
  for (const Source& source : manifests.sources) {
    v1::ServiceName* name = request.add_delete_();
    name->set_namespace_(source.document.service.metadata().namespace_());
    name->set_name(source.document.service.metadata().name());
  }
  for (const std::string& target : session.options.names) {
    v1::ServiceName* name = request.add_delete_();
    name->set_namespace_(session.options.namespace_filter());
    name->set_name(target);
  }
  if (!manifests.faults.empty()) {
    return refuse_form(session, std::move(request), manifests);
  }
  return send(session, request, manifests.sources);
}

}  // namespace sluice::cli
