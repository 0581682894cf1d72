// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "controlplane/client/channel.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/v1/service.pb.h"

namespace sluice::cli {

enum ExitCode : int {
  kOk = 0,
  kRefused = 1,      // by the gateway: invalid, not found, held by another, wrong revision
  kUsage = 2,        // command line, or a file that cannot be read
  kUnreachable = 3,  // no answer from the gateway
  kNotConfirmed = 4  // committed, but not every lcore has reported to have seen it
};

enum class Command {
  kApply,
  kExpose,
  kDelete,
  kGet,
  kDescribe,
  kPortForward,
  kRole,
  kDrain,
  kUndrain,
  kDeleteFlows,
  kStatus,
  kExplain,
  kDoctor,
  kCompletion,
  kVersion
};
enum class Output { kTable, kWide, kJson, kYaml, kName };
enum class Resource { kServices, kBackends, kPorts, kFlows, kDrops, kProviders, kPools, kEvents };

// What `expose` makes a service of.
struct ExposeOptions {
  std::int32_t port = 0;
  std::int32_t target_port = 0;  // 0: the same
  std::int32_t node_port = 0;    // 0: none asked for
  std::string protocol = "TCP";
  std::string type = "ClusterIP";
  std::string load_balancer_ip;
  std::string external_name;
  std::vector<std::string> external_ips;
  std::map<std::string, std::string> selector;
  std::vector<v1::Endpoint> backends;
};
// What `port-forward` listens on, and for what.
struct PortForwardOptions {
  std::vector<std::string> ports;      // "[LOCAL:]PORT"
  std::vector<std::string> addresses;  // empty: localhost
  bool through_vip = false;            // as clients go, not to the backend
};
// What a backend's own port is called by, and then the service's.
inline constexpr const char* kExposedPortName = "port-1";

// "10.0.0.1:8080,weight=2"; nothing for what is none. An own port stands under kExposedPortName.
[[nodiscard]] std::optional<v1::Endpoint> backend_of(const std::string& text);

struct Options {
  Command command = Command::kVersion;
  std::string server;
  client::TlsFiles tls;                   // with a server on TCP
  std::optional<std::string> name_space;  // -n; nothing: "default"
  bool all_namespaces = false;
  std::optional<std::string> provider;
  Output output = Output::kTable;
  std::optional<std::chrono::milliseconds> timeout;

  // apply, delete
  std::vector<std::string> files;
  bool replace = false;
  bool dry_run = false;
  std::optional<std::uint64_t> expected_revision;

  // get, delete
  Resource resource = Resource::kServices;
  std::vector<std::string> names;
  bool watch = false;
  std::string client;
  std::string backend;
  std::string service;
  std::string state;
  std::uint32_t limit = 0;
  bool all = false;  // flows delete

  // explain
  std::string from;
  std::string to;
  std::string protocol = "tcp";
  std::string port;

  ExposeOptions expose;
  PortForwardOptions port_forward;
  std::string role;                            // "active", "standby"
  std::chrono::milliseconds deadline{30'000};  // drain: how long it waits for flows to end

  bool kubernetes = false;  // doctor: there is no other cluster it knows
  std::string config = "/etc/sluice/sluice-k8s.yaml";  // doctor: the adapter's
  std::string shell;                                   // completion

  // "default", that of -n, or empty for all.
  [[nodiscard]] std::string namespace_filter() const;
  [[nodiscard]] std::chrono::milliseconds timeout_or_default() const;
};

struct Parsed {
  std::optional<Options> options;  // nothing: everything is said, leave with `exit_code`
  int exit_code = kOk;
};

// `arguments` without the program's name. Help goes to `out`, complaints to `err`.
[[nodiscard]] Parsed parse(const std::vector<std::string>& arguments, std::ostream& out,
                           std::ostream& err);

// "services", "service", "svc" ...; nothing for a word that is none.
[[nodiscard]] std::optional<Resource> resource_of(std::string_view word);

// "500ms", "10s", "2m"; a bare number is seconds. Positive.
[[nodiscard]] std::optional<std::chrono::milliseconds> duration_of(std::string_view text);

}  // namespace sluice::cli
