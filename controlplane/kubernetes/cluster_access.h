// SPDX-License-Identifier: Apache-2.0
// Where a cluster's API server is and as whom to speak to it: a kubeconfig, or what a pod has of
// its service account.
#pragma once

#include "controlplane/model/result.h"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace sluice::kubernetes {

// A program that knows credentials: client.authentication.k8s.io/v1 (or v1beta1), not interactive.
struct ExecPlugin {
  std::string api_version;
  std::string command;
  std::vector<std::string> arguments;
  std::map<std::string, std::string> environment;  // besides the adapter's own
  bool wants_cluster = false;                      // provideClusterInfo
};

// PEM text, or a file that is read again for each connection, so that it can be rotated.
struct Pem {
  std::string text;
  std::string file;
  [[nodiscard]] bool empty() const { return text.empty() && file.empty(); }
};

struct ClusterAccess {
  std::string server;  // "https://HOST:PORT", without a slash at its end
  Pem ca;              // empty: the system's
  bool insecure = false;
  std::string tls_server_name;
  std::string proxy;
  std::string token;
  std::string token_file;  // before `token`; read again for each request
  Pem certificate;
  Pem key;
  std::optional<ExecPlugin> exec;
  std::string space;  // namespace of the context, or of the pod
};

// `context` empty: current-context. Paths in it are relative to its folder. The error names the
// entry that is missing or cannot be used.
model::Result<ClusterAccess> read_kubeconfig(const std::string& file, const std::string& context);

inline constexpr const char* kServiceAccount = "/var/run/secrets/kubernetes.io/serviceaccount";
// The host and port are of the environment (KUBERNETES_SERVICE_HOST, ..._PORT).
model::Result<ClusterAccess> read_service_account(const std::string& folder = kServiceAccount);

}  // namespace sluice::kubernetes
