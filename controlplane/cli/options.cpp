// SPDX-License-Identifier: Apache-2.0
#include "controlplane/cli/options.h"

#include "controlplane/cli/options_check.h"
#include "controlplane/client/channel.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <memory>
#include <set>

namespace sluice::cli {
namespace {

constexpr std::chrono::milliseconds kDefaultTimeout{10'000};

constexpr const char* kExitCodes =
    "Exit codes:\n"
    "  0  done\n"
    "  1  refused by the gateway; every fault is printed, nothing was changed\n"
    "  2  wrong usage, or a file that cannot be read or has faults of form\n"
    "  3  the gateway does not answer\n"
    "  4  committed and in force, but an lcore has not confirmed it in time\n\n"
    "Address of the gateway: --server, else $SLUICE_SERVER, else unix:/run/sluice/sluice.sock.\n"
    "HOST:PORT is reached with TLS on both sides, for which the three files are needed.";

constexpr const char* kSeeGlobal =
    "--server and --timeout, and where they mean something -n, -A, -o and --provider, are\n"
    "understood here too: sluicectl --help";

const std::map<std::string, Output>& outputs() {
  static const std::map<std::string, Output> kOutputs = {{"table", Output::kTable},
                                                         {"wide", Output::kWide},
                                                         {"json", Output::kJson},
                                                         {"yaml", Output::kYaml},
                                                         {"name", Output::kName}};
  return kOutputs;
}

// What CLI11 fills in before it becomes the typed options.
struct Words {
  std::string name_space;
  std::string provider;
  std::string output = "table";
  std::string timeout;
  std::string expected_revision;
  std::string action;                  // of flows
  std::vector<std::string> targets;    // of get and delete: kind, names; or kind/name
  std::vector<std::string> exposed;    // NAME, KIND NAME or KIND/NAME
  std::vector<std::string> forwarded;  // service NAME or service/NAME, then ports
  std::string deadline;
  std::vector<std::string> selectors;
  std::vector<std::string> backends;
};

struct Subcommands {
  CLI::App* apply;
  CLI::App* expose;
  CLI::App* remove;
  CLI::App* get;
  CLI::App* describe;
  CLI::App* port_forward;
  CLI::App* role;
  CLI::App* drain;
  CLI::App* undrain;
  CLI::App* flows;
  CLI::App* status;
  CLI::App* explain;
  CLI::App* doctor;
  CLI::App* completion;
  CLI::App* version;
};

std::string check_output(const std::string& text) {
  return outputs().contains(text) ? std::string{} : "one of table, wide, json, yaml, name";
}

std::string check_timeout(const std::string& text) {
  return duration_of(text) ? std::string{} : "a positive time such as 500ms, 10s or 2m";
}

std::optional<std::uint64_t> revision_of(std::string_view text) {
  std::uint64_t revision = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), revision);
  const bool is_whole = error == std::errc{} && end == text.data() + text.size();
  return is_whole ? std::optional(revision) : std::nullopt;
}

std::string check_revision(const std::string& text) {
  return revision_of(text) ? std::string{} : "--expected-revision is a whole number";
}

std::string check_protocol(const std::string& text) {
  std::string lowered(text);
  std::transform(lowered.begin(), lowered.end(), lowered.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lowered == "tcp" || lowered == "udp" ? std::string{} : "tcp or udp";
}

void add_global(CLI::App& app, Options& options, Words& words) {
  app.add_option(
      "-n,--namespace", words.name_space,
      "Namespace; \"default\" when not given, all of them for get events and flows delete");
  app.add_flag("-A,--all-namespaces", options.all_namespaces, "get: all namespaces");
  app.add_option("-o,--output", words.output,
                 "table, json or yaml; for get also wide and name; version has a table only")
      ->check(check_output);
  app.add_option("--provider", words.provider,
                 "Whose services: \"cli\" for apply and delete, all of them for get; see status");
  app.add_option("--server", options.server, "Address of the gateway, unix:PATH or HOST:PORT")
      ->envname("SLUICE_SERVER");
  app.add_option("--certificate-authority", options.tls.authority,
                 "With HOST:PORT: whose certificate the gateway has, a PEM file")
      ->envname("SLUICE_CERTIFICATE_AUTHORITY");
  app.add_option("--client-certificate", options.tls.certificate, "Likewise: one's own certificate")
      ->envname("SLUICE_CLIENT_CERTIFICATE");
  app.add_option("--client-key", options.tls.key, "Likewise: its key")
      ->envname("SLUICE_CLIENT_KEY");
  app.add_option("--timeout", words.timeout, "Longest wait for an answer, 10s when not given")
      ->check(check_timeout);
}

void add_write_options(CLI::App& command, Options& options, Words& words) {
  command
      .add_option("-f,--filename", options.files, "A manifest, - for standard input; repeatable")
      ->expected(1)
      ->take_all();
  command.add_flag("--dry-run", options.dry_run, "Let the gateway check all of it; change nothing");
  command
      .add_option("--expected-revision", words.expected_revision,
                  "Refuse unless the provider is at this revision")
      ->check(check_revision);
}

void add_expose_options(CLI::App& command, Options& options, Words& words) {
  ExposeOptions& expose = options.expose;
  command.add_option("what", words.exposed, "NAME, or deployment NAME, or service/NAME")
      ->required()
      ->expected(1, 2);
  command.add_option("--port", expose.port, "Where clients connect")
      ->required()
      ->check(CLI::Range(1, 65'535));
  command.add_option("--target-port", expose.target_port, "Where backends listen; as --port")
      ->check(CLI::Range(1, 65'535));
  command.add_option("--node-port", expose.node_port, "Node port to be used")
      ->check(CLI::Range(1, 65'535));
  command.add_option("--protocol", expose.protocol, "TCP, UDP or SCTP")->capture_default_str();
  command.add_option("--type", expose.type, "ClusterIP, NodePort, LoadBalancer or ExternalName")
      ->capture_default_str();
  command.add_option("--load-balancer-ip", expose.load_balancer_ip, "The VIP to ask for");
  command.add_option("--external-name", expose.external_name,
                     "Of type ExternalName: the name whose addresses are its backends");
  command.add_option("--external-ip", expose.external_ips, "Served besides; repeatable")
      ->expected(1)
      ->take_all()
      ->delimiter(',');
  command
      .add_option("--selector", words.selectors,
                  "Labels of its backends, K=V; repeatable. Those of --backend get them")
      ->expected(1)
      ->take_all()
      ->delimiter(',');
  command
      .add_option("--backend", words.backends,
                  "ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT, and ,weight=N; repeatable")
      ->expected(1)
      ->take_all();
  command.add_flag("--dry-run", options.dry_run, "Let the gateway check all of it; change nothing");
}

void add_flow_filters(CLI::App& command, Options& options) {
  command.add_option("--client", options.client, "Flows of this client address");
  command.add_option("--backend", options.backend, "Flows to this backend address");
  command.add_option("--service", options.service, "Flows or backends of this service");
  command.add_option("--state", options.state, "Flows in this state")
      ->check(CLI::IsMember({"udp", "half_open", "established", "closing", "time_wait", "reset"}));
}

void add_more_commands(CLI::App& app, Options& options, Words& words, Subcommands& commands) {
  commands.describe =
      app.add_subcommand("describe", "All about services: endpoints, why not, recent events");
  commands.describe->add_option("target", words.targets, "service NAME..., or service/NAME...")
      ->required();

  commands.port_forward = app.add_subcommand(
      "port-forward", "Carry local connections to a service's backends, through the gateway");
  commands.port_forward
      ->add_option("target", words.forwarded, "service NAME or service/NAME, then [LOCAL:]PORT...")
      ->required();
  commands.port_forward
      ->add_option("--address", options.port_forward.addresses,
                   "Where to listen, localhost when not given; repeatable")
      ->expected(1)
      ->take_all()
      ->delimiter(',');
  commands.port_forward->add_flag("--through-vip", options.port_forward.through_vip,
                                  "Connect to the service's first VIP, through the lcores, as its "
                                  "clients do");

  commands.role = app.add_subcommand("role", "Make the gateway the active one, or a standby");
  commands.role->add_option("role", options.role, "active or standby")
      ->required()
      ->check(CLI::IsMember({"active", "standby"}));
  commands.drain = app.add_subcommand(
      "drain", "Take no new flows, withdraw routes, and wait until no flow is left");
  commands.drain
      ->add_option("--deadline", words.deadline, "Longest wait, 30s when not given; exit code 1")
      ->check(check_timeout);
  commands.undrain = app.add_subcommand("undrain", "Take new flows again");

  commands.doctor = app.add_subcommand(
      "doctor", "Say what keeps a cluster's services from being served, and the way out");
  commands.doctor
      ->add_flag("--kubernetes", options.kubernetes,
                 "Examine a Kubernetes cluster and its gateways")
      ->required();
  commands.doctor->add_option("--config", options.config, "sluice-k8s's configuration file")
      ->capture_default_str();
  commands.doctor->footer(
      "It looks at credentials, claims, pools, ports and routes, and connects to a pod or node\n"
      "port of each node through the lcores, which also tells how large packets these take.\n"
      "Meanwhile the provider sluice-doctor has a service.\n"
      "Exit codes: 0 no fault; 1 faults were found; 2 sluice-k8s cannot be run.");
}

Subcommands add_commands(CLI::App& app, Options& options, Words& words) {
  Subcommands commands{};
  commands.apply = app.add_subcommand("apply", "Create or change services, in one transaction");
  add_write_options(*commands.apply, options, words);
  commands.apply->add_flag("--replace", options.replace,
                           "Delete the provider's services that the files do not name");

  commands.expose = app.add_subcommand("expose", "Create a service from words");
  add_expose_options(*commands.expose, options, words);

  commands.remove = app.add_subcommand("delete", "Delete services, in one transaction");
  add_write_options(*commands.remove, options, words);
  commands.remove->add_option("target", words.targets, "service NAME..., or service/NAME...");

  commands.get = app.add_subcommand("get",
                                    "Show services, backends, ports, flows, drops, events, "
                                    "providers or pools (also svc, be, ...)");
  commands.get->add_option("resource", words.targets, "What to show, and names to pick from it")
      ->required();
  commands.get->add_flag("-w,--watch", options.watch, "Services: go on showing every change");
  add_flow_filters(*commands.get, options);
  commands.get->add_option("--limit", options.limit, "Flows at most, 1000 when not given")
      ->check(CLI::Range(1, 100'000));

  add_more_commands(app, options, words, commands);

  commands.flows = app.add_subcommand("flows", "List or delete flows, by filter");
  commands.flows
      ->add_option("action", words.action,
                   "list or delete; delete without -n and --service: of all namespaces")
      ->required()
      ->check(CLI::IsMember({"list", "delete"}));
  add_flow_filters(*commands.flows, options);
  commands.flows->add_option("--limit", options.limit, "list: flows at most, 1000 when not given")
      ->check(CLI::Range(1, 100'000));
  commands.flows->add_flag("--all", options.all, "delete: every flow there is");

  commands.status = app.add_subcommand(
      "status",
      "The gateway's state in numbers; with --provider, refused until that one has written");
  commands.explain =
      app.add_subcommand("explain", "What happens to a packet, asked of the gateway's own tables");
  commands.explain->add_option("from,--from", options.from, "Source, ADDRESS or ADDRESS:PORT")
      ->required();
  commands.explain->add_option("to,--to", options.to, "Destination, ADDRESS:PORT")->required();
  commands.explain->add_option("--protocol", options.protocol, "tcp or udp")
      ->check(check_protocol)
      ->capture_default_str();
  commands.explain->add_option("--port", options.port, "Gateway port it arrives on");

  commands.completion = app.add_subcommand("completion", "Print a completion script");
  commands.completion->add_option("shell", options.shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  commands.version = app.add_subcommand("version", "Version of sluicectl and of the gateway");
  for (CLI::App* command : app.get_subcommands(nullptr)) {
    command->fallthrough();
    if (command != commands.doctor && command != commands.completion) {  // which ask no gateway
      command->footer(kSeeGlobal);
    }
  }
  return commands;
}

std::string quoted_kinds() {
  return "services, backends, ports, flows, drops, events, providers and pools are known";
}

// "service web db", "service/web service/db" -> resource and names. Returns what is wrong, or
// nothing.
std::string take_targets(const std::vector<std::string>& targets, Options& options) {
  bool is_first = true;
  for (const std::string& target : targets) {
    const std::size_t slash = target.find('/');
    const std::string_view word = std::string_view(target).substr(0, slash);
    if (!is_first && slash == std::string::npos) {
      options.names.push_back(target);
      continue;
    }
    const std::optional<Resource> resource = resource_of(word);
    if (!resource) {
      return fmt::format("there are no '{}'; {}", word, quoted_kinds());
    }
    if (!is_first && *resource != options.resource) {
      return "one kind at a time";
    }
    options.resource = *resource;
    is_first = false;
    if (slash != std::string::npos) {
      options.names.push_back(target.substr(slash + 1));
    }
  }
  const bool has_empty = std::any_of(options.names.begin(), options.names.end(),
                                     [](const std::string& name) { return name.empty(); });
  return has_empty ? "a name is empty" : "";
}

// "web", "deployment web", "svc/web": which kind is said is kubectl's matter. Returns what is
// wrong.
std::string take_exposed(const Words& words, Options& options) {
  static const std::set<std::string> kKinds{"deploy",  "deployment", "deployments",
                                            "service", "services",   "svc"};
  std::vector<std::string> parts = words.exposed;
  if (parts.size() == 1) {
    const std::size_t slash = parts[0].find('/');
    if (slash != std::string::npos) {
      parts = {parts[0].substr(0, slash), parts[0].substr(slash + 1)};
    }
  }
  if (parts.size() == 2 && !kKinds.contains(parts[0])) {
    return fmt::format("'{}' cannot be exposed; name a deployment or a service", parts[0]);
  }
  options.names = {parts.back()};
  for (const std::string& text : words.selectors) {
    const std::size_t equals = text.find('=');
    if (equals == 0 || equals == std::string::npos) {
      return fmt::format("--selector '{}' is not KEY=VALUE", text);
    }
    options.expose.selector[text.substr(0, equals)] = text.substr(equals + 1);
  }
  for (const std::string& text : words.backends) {
    const auto backend = backend_of(text);
    if (!backend) {
      return fmt::format(
          "--backend '{}' is not ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT, with or "
          "without ,weight=N",
          text);
    }
    options.expose.backends.push_back(*backend);
  }
  return {};
}

// "service web 8001:80", "svc/web 80 8443:443". Returns what is wrong.
std::string take_forwarded(const Words& words, Options& options) {
  std::vector<std::string> parts = words.forwarded;
  const std::size_t slash = parts[0].find('/');
  if (slash != std::string::npos) {
    parts.insert(parts.begin() + 1, parts[0].substr(slash + 1));
    parts[0].resize(slash);
  }
  if (resource_of(parts[0]) != Resource::kServices) {
    return fmt::format("'{}' cannot be forwarded to; name a service", parts[0]);
  }
  if (parts.size() < 2 || parts[1].empty()) {
    return "which service? port-forward service/NAME [LOCAL:]PORT";
  }
  if (parts.size() < 3) {
    return "which port? port-forward service/NAME [LOCAL:]PORT";
  }
  options.names = {parts[1]};
  options.port_forward.ports.assign(parts.begin() + 2, parts.end());
  return {};
}

Command command_of(const Subcommands& commands) {
  const std::pair<CLI::App*, Command> table[] = {
      {commands.apply, Command::kApply},       {commands.expose, Command::kExpose},
      {commands.remove, Command::kDelete},     {commands.get, Command::kGet},
      {commands.flows, Command::kGet},         {commands.status, Command::kStatus},
      {commands.explain, Command::kExplain},   {commands.completion, Command::kCompletion},
      {commands.describe, Command::kDescribe}, {commands.port_forward, Command::kPortForward},
      {commands.role, Command::kRole},         {commands.drain, Command::kDrain},
      {commands.undrain, Command::kUndrain},   {commands.doctor, Command::kDoctor},
  };
  for (const auto& [app, command] : table) {
    if (app->parsed()) {
      return command;
    }
  }
  return Command::kVersion;
}

}  // namespace

std::string Options::namespace_filter() const {
  return all_namespaces ? std::string{} : name_space.value_or("default");
}

std::chrono::milliseconds Options::timeout_or_default() const {
  return timeout.value_or(kDefaultTimeout);
}

std::optional<Resource> resource_of(std::string_view word) {
  static const std::map<std::string_view, Resource> kWords = {
      {"services", Resource::kServices},  {"service", Resource::kServices},
      {"svc", Resource::kServices},       {"backends", Resource::kBackends},
      {"backend", Resource::kBackends},   {"be", Resource::kBackends},
      {"ports", Resource::kPorts},        {"port", Resource::kPorts},
      {"po", Resource::kPorts},           {"flows", Resource::kFlows},
      {"flow", Resource::kFlows},         {"fl", Resource::kFlows},
      {"drops", Resource::kDrops},        {"drop", Resource::kDrops},
      {"dr", Resource::kDrops},           {"providers", Resource::kProviders},
      {"provider", Resource::kProviders}, {"pr", Resource::kProviders},
      {"pools", Resource::kPools},        {"pool", Resource::kPools},
      {"events", Resource::kEvents},      {"event", Resource::kEvents},
      {"ev", Resource::kEvents},
  };
  const auto found = kWords.find(word);
  return found == kWords.end() ? std::nullopt : std::optional(found->second);
}

std::optional<std::chrono::milliseconds> duration_of(std::string_view text) {
  std::uint32_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc{} || count == 0) {
    return std::nullopt;
  }
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  static const std::map<std::string_view, std::int64_t> kUnits = {
      {"ms", 1}, {"", 1000}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}};
  const auto found = kUnits.find(unit);
  if (found == kUnits.end()) {
    return std::nullopt;
  }
  return std::chrono::milliseconds(count * found->second);
}

Parsed parse(const std::vector<std::string>& arguments, std::ostream& out, std::ostream& err) {
  Options options;
  options.server = client::kDefaultServer;
  Words words;
  CLI::App app("sluicectl: the command line of the Sluice gateway", "sluicectl");
  app.require_subcommand(1, 1);
  app.footer(kExitCodes);
  add_global(app, options, words);
  const Subcommands commands = add_commands(app, options, words);
  try {
    // CLI11 takes them last first.
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
  } catch (const CLI::ParseError& error) {
    const std::vector<std::string> unknown = app.remaining();
    if (error.get_name() == "RequiredError" && !unknown.empty() && app.get_subcommands().empty()) {
      err << "error: there is no command '" << unknown[0] << "'; see sluicectl --help\n";
      return {std::nullopt, kUsage};
    }
    const int code = app.exit(error, out, err);
    return {std::nullopt, code == 0 ? kOk : kUsage};
  }
  options.command = command_of(commands);
  options.output = outputs().at(words.output);
  if (app.count("--namespace") != 0) {
    options.name_space = words.name_space;
  }
  if (app.count("--provider") != 0) {
    options.provider = words.provider;
  }
  if (!words.timeout.empty()) {
    options.timeout = duration_of(words.timeout);
  }
  if (!words.expected_revision.empty()) {
    options.expected_revision = revision_of(words.expected_revision);
  }
  if (commands.flows->parsed()) {
    options.resource = Resource::kFlows;
    options.command = words.action == "delete" ? Command::kDeleteFlows : Command::kGet;
  }
  if (!words.deadline.empty()) {
    options.deadline = *duration_of(words.deadline);
  }
  std::string fault = options.command == Command::kExpose ? take_exposed(words, options)
                      : options.command == Command::kPortForward
                          ? take_forwarded(words, options)
                          : take_targets(words.targets, options);
  if (fault.empty() &&
      (options.command == Command::kDoctor || options.command == Command::kCompletion)) {
    fault = check_asks_no_gateway(arguments);
  }
  if (fault.empty()) {
    fault = check(options);
  }
  if (!fault.empty()) {
    err << "error: " << fault << "\n";
    return {std::nullopt, kUsage};
  }
  return {options, kOk};
}

}  // namespace sluice::cli
