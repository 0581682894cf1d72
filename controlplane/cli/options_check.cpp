// SPDX-License-Identifier: Apache-2.0
#include "controlplane/cli/options_check.h"

#include <algorithm>

namespace sluice::cli {
namespace {

std::string check_delete_flows(const Options& options) {
  const bool filtered = !options.client.empty() || !options.backend.empty() ||
                        !options.service.empty() || !options.state.empty() || options.provider ||
                        options.name_space;
  if (options.limit != 0) {
    return "--limit is for flows list";
  }
  if (filtered && options.all) {
    return "--all excludes every filter";
  }
  return filtered || options.all ? "" : "a filter is required, or --all for every flow";
}

std::string check_get(const Options& options) {
  const bool is_flows = options.resource == Resource::kFlows;
  const bool is_backends = options.resource == Resource::kBackends;
  const bool is_events = options.resource == Resource::kEvents;
  if (options.watch && (options.resource != Resource::kServices || !options.names.empty())) {
    return "--watch is for all services only";
  }
  if (!is_flows && (!options.client.empty() || !options.backend.empty() || !options.state.empty() ||
                    options.limit != 0)) {
    return "--client, --backend, --state and --limit are for flows";
  }
  if (!is_flows && !is_backends && !options.service.empty()) {
    return "--service is for flows and backends";
  }
  if ((is_flows || is_backends) && !options.names.empty() &&
      (!options.service.empty() || options.names.size() > 1)) {
    return "flows and backends are of one service: its name, or --service";
  }
  if (options.all_namespaces &&
      (!options.service.empty() ||
       (!options.names.empty() && (is_flows || is_backends || is_events)))) {
    return "a service by name is of one namespace: leave -A out";
  }
  return {};
}

// Which of the global options mean something to a command.
struct Understood {
  bool name_space = false;      // -n
  bool all_namespaces = false;  // -A
  bool provider = false;
  std::vector<Output> outputs;
};

Understood understood_by(const Options& options) {
  const std::vector<Output> structured{Output::kTable, Output::kJson, Output::kYaml};
  const std::vector<Output> every{Output::kTable, Output::kWide, Output::kJson, Output::kYaml,
                                  Output::kName};
  switch (options.command) {
    case Command::kApply:
    case Command::kDelete:
    case Command::kExpose:
      return {true, false, true, structured};
    case Command::kGet: {
      const bool of_services =
          options.resource == Resource::kServices || options.resource == Resource::kBackends ||
          options.resource == Resource::kEvents || options.resource == Resource::kFlows;
      return {of_services, of_services, of_services, every};
    }
    case Command::kDeleteFlows:
      return {true, false, true, structured};
    case Command::kDescribe:
    case Command::kPortForward:
      return {true, false, true, {Output::kTable}};
    case Command::kStatus:
      return {false, false, true, structured};
    case Command::kExplain:
      return {false, false, false, structured};
    case Command::kRole:
    case Command::kDrain:
    case Command::kUndrain:
    case Command::kDoctor:
    case Command::kCompletion:
    case Command::kVersion:
      break;
  }
  return {false, false, false, {Output::kTable}};
}

// A global option that the command would not look at is a mistake of whoever typed it.
std::string check_globals(const Options& options) {
  const Understood understood = understood_by(options);
  if (options.name_space && options.name_space->empty()) {
    return "-n needs the name of a namespace; -A is all of them";
  }
  if (options.all_namespaces && options.name_space) {
    return "-n and -A exclude each other";
  }
  if (options.name_space && !understood.name_space) {
    return "-n means nothing here: this is not about services";
  }
  if (options.all_namespaces && !understood.all_namespaces) {
    return "-A means nothing here; it is for get services, backends, flows and events";
  }
  if (options.provider && !understood.provider) {
    return "--provider means nothing here: this is not about services";
  }
  const auto& outputs = understood.outputs;
  return std::find(outputs.begin(), outputs.end(), options.output) != outputs.end()
             ? ""
             : "this command has no such output; see -o in sluicectl --help";
}

}  // namespace

std::string check_asks_no_gateway(const std::vector<std::string>& arguments) {
  for (const std::string& argument : arguments) {
    const std::string word = argument.substr(0, argument.find('='));
    if (word == "--server" || word == "--timeout" || word == "--certificate-authority" ||
        word == "--client-certificate" || word == "--client-key") {
      return word + " means nothing here: this asks no gateway";
    }
  }
  return {};
}

std::string check(const Options& options) {
  if (std::string fault = check_globals(options); !fault.empty()) {
    return fault;
  }
  switch (options.command) {
    case Command::kApply:
      return options.files.empty() ? "-f FILE is required" : "";
    case Command::kDelete:
      if (options.files.empty() == options.names.empty()) {
        return "either service NAME... or -f FILE";
      }
      return options.resource == Resource::kServices ? "" : "only services can be deleted";
    case Command::kDescribe:
      if (options.names.empty()) {
        return "which service? describe service NAME";
      }
      return options.resource == Resource::kServices ? "" : "only services can be described";
    case Command::kGet:
      return options.all ? "--all is for flows delete" : check_get(options);
    case Command::kDeleteFlows:
      return check_delete_flows(options);
    default:
      return {};
  }
}

}  // namespace sluice::cli
