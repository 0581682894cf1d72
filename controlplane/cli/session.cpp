// SPDX-License-Identifier: Apache-2.0
#include "controlplane/cli/session.h"

#include "controlplane/cli/completion.h"
#include "controlplane/cli/views.h"
#include "controlplane/manifest/manifest.h"

#include <fmt/format.h>

namespace sluice::cli {
namespace {

int dispatch(const Session& session) {
  switch (session.options.command) {
    case Command::kApply:
      return apply(session);
    case Command::kDelete:
      return remove(session);
    case Command::kGet:
      return session.options.watch ? watch_services(session) : get(session);
    case Command::kStatus:
      return status(session);
    case Command::kExpose:
      return expose(session);
    case Command::kDescribe:
      return describe(session);
    case Command::kPortForward:
      return port_forward(session);
    case Command::kRole:
      return role(session);
    case Command::kDrain:
      return drain(session);
    case Command::kUndrain:
      return undrain(session);
    case Command::kDeleteFlows:
      return delete_flows(session);
    case Command::kExplain:
      return explain(session);
    case Command::kVersion:
      return version(session);
    case Command::kCompletion:
    case Command::kDoctor:  // need no gateway, and are done
      break;
  }
  return kUsage;
}

}  // namespace

int exit_code_of(const client::Error& error) {
  if (error.is_committed_not_confirmed()) {
    return kNotConfirmed;
  }
  return error.is_unreachable() ? kUnreachable : kRefused;
}

int report(const Session& session, const client::Error& error) {
  const int code = exit_code_of(error);
  if (error.code == grpc::StatusCode::UNAVAILABLE) {
    session.err << fmt::format("error: no gateway answers at {}: {}\n", session.options.server,
                               error.message);
    return code;
  }
  if (code == kUnreachable) {
    session.err << fmt::format("error: the gateway at {} did not answer within {} ms\n",
                               session.options.server,
                               session.options.timeout_or_default().count());
    return code;
  }
  const char* prefix = "error: ";
  for (const std::string& line : client::lines_of(error)) {
    session.err << prefix << line << "\n";
    prefix = "  ";
  }
  return code;
}

bool print_message(const Session& session, const google::protobuf::Message& message) {
  if (session.options.output == Output::kJson) {
    session.out << manifest::to_json(message);
    return true;
  }
  if (session.options.output == Output::kYaml) {
    session.out << manifest::to_yaml(message);
    return true;
  }
  return false;
}

int run(const std::vector<std::string>& arguments, std::ostream& out, std::ostream& err) {
  const Parsed parsed = parse(arguments, out, err);
  if (!parsed.options) {
    return parsed.exit_code;
  }
  const Options& options = *parsed.options;
  if (options.command == Command::kCompletion) {
    out << completion_script(options.shell);
    return kOk;
  }
  if (options.command == Command::kDoctor) {
    return doctor(options, out, err);
  }
  const client::Connection connection = client::connect(options.server, options.tls);
  if (!connection.channel) {
    err << "error: --server " << connection.fault << "\n";
    return kUsage;
  }
  const auto gateway = v1::Gateway::NewStub(connection.channel);
  return dispatch({options, *gateway, out, err});
}

}  // namespace sluice::cli
